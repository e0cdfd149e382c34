//! Bad input gets a specific error and does not affect other clients. Each row of the contract's table is tested here.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Client, Received, Server, Setup, fresh_key, record_figures};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// Frames with the error code that they cause.
#[tokio::test]
async fn bad_frame_gets_its_code_and_connection_stays_open() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut witness = Client::in_room(&server, "r").await;
    witness.post("r", "before").await;
    let deep = format!("{}1{}", "[".repeat(129), "]".repeat(129));
    let room = witness.room_id("r");
    let post = |text: &str| {
        json!({"type": "new_message", "payload": {"room": room, "key": fresh_key(), "text": text}}).to_string()
    };
    let enter = |name: &str| json!({"type": "enter_room", "payload": {"name": name}}).to_string();
    let after = |seq: &str| {
        format!(r#"{{"type":"enter_room","payload":{{"name":"r","after":{{"epoch":"e","seq":{seq},"rev":0}}}}}}"#)
    };
    let nickname = |name: &str| json!({"type": "nickname", "payload": {"nickname": name}}).to_string();
    let history =
        |limit: u64| json!({"type": "history", "payload": {"room": room, "before": 9, "limit": limit}}).to_string();
    let stacked = format!("z{}", "\u{301}".repeat(9));
    let long_text = "가".repeat(4_001);
    let long_name = "가".repeat(33);
    let long_room = "가".repeat(65);
    let rows: Vec<(String, &str)> = vec![
        (r#"{"type":"#.into(), "BAD_JSON"),
        (deep, "BAD_JSON"),
        (r#"{"type":"ping","payload":{},"x":"\ud800"}"#.into(), "BAD_JSON"),
        ("[]".into(), "BAD_JSON"),
        ("7".into(), "BAD_JSON"),
        ("".into(), "BAD_JSON"),
        (r#"{"type":"ping","type":"ping","payload":{}}"#.into(), "DUPLICATE_KEY"),
        (r#"{"type":"ping","payload":{"a":{"b":1,"b":2}}}"#.into(), "DUPLICATE_KEY"),
        (r#"{"type":"dance","payload":{}}"#.into(), "UNKNOWN_TYPE"),
        (r#"{"payload":{}}"#.into(), "MISSING_FIELD"),
        (r#"{"type":"ping"}"#.into(), "MISSING_FIELD"),
        (r#"{"type":"ping","payload":null}"#.into(), "MISSING_FIELD"),
        (r#"{"type":"enter_room","payload":{}}"#.into(), "MISSING_FIELD"),
        (r#"{"type":"ping","payload":{"__proto__":{}}}"#.into(), "UNKNOWN_FIELD"),
        (r#"{"type":"ping","payload":{},"more":1}"#.into(), "UNKNOWN_FIELD"),
        (r#"{"type":7,"payload":{}}"#.into(), "BAD_TYPE"),
        (r#"{"type":"ping","payload":[]}"#.into(), "BAD_TYPE"),
        (r#"{"type":"enter_room","payload":{"name":7}}"#.into(), "BAD_TYPE"),
        (r#"{"type":"leave_room","payload":{"room":"r"}}"#.into(), "BAD_TYPE"),
        (r#"{"type":"enter_room","payload":{"name":"r","room":"r"}}"#.into(), "BAD_TYPE"),
        (r#"{"type":"ping","payload":{},"id":"7"}"#.into(), "BAD_TYPE"),
        (r#"{"type":"ping","payload":{},"id":1e3}"#.into(), "BAD_NUMBER"),
        (after("9007199254740993"), "BAD_NUMBER"),
        (after("1.5"), "BAD_NUMBER"),
        (after("-1"), "BAD_NUMBER"),
        (r#"{"type":"hello","payload":{"protocol":2}}"#.into(), "ALREADY_GREETED"),
        (post("before entering").replace(&room, "0123456789abcdef"), "NOT_IN_ROOM"),
        (r#"{"type":"leave_room","payload":{"room":"0123456789abcdef"}}"#.into(), "NOT_IN_ROOM"),
        (post("x").replacen(r#""key":""#, r#""key":"7"#, 1), "KEY_INVALID"),
        (post("   "), "TEXT_EMPTY"),
        (post("\u{200b}"), "TEXT_EMPTY"),
        (post(&long_text), "TEXT_TOO_LONG"),
        (post("a\0b"), "TEXT_INVALID"),
        (history(0), "LIMIT_OUT_OF_RANGE"),
        (history(1_000_000_000), "LIMIT_OUT_OF_RANGE"),
        (enter("..%2f..%2fetc"), "ROOM_NAME_INVALID"),
        (enter(""), "ROOM_NAME_INVALID"),
        (enter(&long_room), "ROOM_NAME_INVALID"),
        (enter("a\u{7}b"), "ROOM_NAME_INVALID"),
        (nickname("a\u{202e}b"), "NICK_BIDI"),
        (nickname("Аdmin"), "NICK_CONFUSABLE"), // Cyrillic А
        (nickname(&stacked), "NICK_COMBINING"),
        (nickname(&long_name), "NICK_TOO_LONG"),
        (nickname("admin"), "NICK_RESERVED"),
        (nickname("a\u{200b}b"), "NICK_INVALID"),
        (nickname("a\u{1}b"), "NICK_CONTROL"),
        (nickname("  "), "NICK_EMPTY"),
    ];
    // A new connection every few rows, because 20 malformed frames close a connection.
    for rows in rows.chunks(15) {
        let mut client = Client::in_room(&server, "r").await;
        for (text, code) in rows {
            client.send_text(text).await;
            let error = client.until_type("error").await;
            assert_eq!(error["payload"]["code"], *code, "{}", text.chars().take(90).collect::<String>());
        }
        client.ask("ping", json!({})).await;
    }
    // No other client has received any of it.
    witness.ask("ping", json!({})).await;
    assert!(witness.skipped.iter().all(|frame| frame["type"] != "error"));
    let entered = witness.ask("enter_room", json!({"room": "r"})).await;
    assert_eq!(entered["head"], 1);
}

#[test]
fn malformed_call_of_a_page_function_is_the_clients_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = server.get("/").cookie();
    let as_script = format!("Cookie: {cookie}\r\nAccept: application/json\r\nSec-Fetch-Site: same-origin\r\n");
    for (path, form) in [
        ("/api/room", ""),
        ("/api/room", "room=r&before=x"),
        ("/api/room", "room=a%2Fb"),
        ("/api/room", "room[x]=r"),
        ("/api/post", "room=r"),
        ("/api/nickname", "%FF=%FF"),
        ("/api/language", "lang=ko"),
    ] {
        assert_eq!(server.post_with(path, &as_script, form).status, 400, "{path} {form}");
        let by_form = server.post(path, &cookie, form).status;
        assert!(matches!(by_form, 302 | 303 | 400), "{path} {form}: {by_form}");
    }
}

#[tokio::test]
async fn reused_key_with_other_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut client = Client::in_room(&server, "r").await;
    let key = fresh_key();
    let message = |text: &str| json!({"room": "r", "key": key, "text": text});
    client.ask("new_message", message("one")).await;
    assert_eq!(client.refusal("new_message", message("another")).await, "KEY_CONFLICT");
}

#[tokio::test]
async fn unusable_position_gives_reason() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut client = Client::in_room(&server, "r").await;
    client.post("r", "one").await;
    let epoch = client.ask("enter_room", json!({"room": "r"})).await["epoch"].clone();
    for (epoch, seq, reason) in [(epoch, 2, "POSITION_AHEAD"), (json!("old"), 1, "EPOCH_CHANGED")] {
        let after = json!({"room": "r", "after": {"epoch": epoch, "seq": seq, "rev": 0}});
        let entered = client.ask("enter_room", after).await;
        assert_eq!((&entered["recovered"], &entered["reason"]), (&json!(false), &json!(reason)));
    }
}

#[tokio::test]
async fn error_has_id_of_its_frame() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut client = Client::greeted(&server).await;
    client.send_text(r#"{"type":"dance","payload":{},"id":77}"#).await;
    assert_eq!(client.until_type("error").await["id"], 77);
    client.send_text(r#"{"type":"ping","payload":{}}"#).await;
    client.send_text(r#"{"type":"dance","payload":{}}"#).await;
    let error = client.until(|frame| frame["type"] == "error").await;
    assert_eq!(error.get("id"), None);
    assert!(client.skipped.is_empty(), "a command without an id gets no ack: {:?}", client.skipped);
}

#[tokio::test]
async fn markup_in_names_and_texts_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut client = Client::in_room(&server, "r").await;
    let name = "<img src=x onerror=alert(1)>";
    assert_eq!(client.ask("nickname", json!({"nickname": name})).await["nickname"], name);
    client.post("r", "<b>hi</b>").await;
    let page = server.get("/r/r").body;
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;") && page.contains("&lt;b&gt;hi&lt;/b&gt;"));
    assert!(!page.contains("<img src=x"));
}

/// Messages that violate the protocol, with the close code that they cause.
#[tokio::test]
async fn websocket_violation_gets_its_close_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut witness = Client::in_room(&server, "r").await;
    let raw = |opcode: Data, bytes: &[u8]| Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(opcode), true));
    let hello = |version: u64| Message::text(json!({"type": "hello", "payload": {"protocol": version}}).to_string());
    let rows = [
        ("a version from the future", hello(99), 4406),
        ("a binary frame", Message::binary(vec![1, 2, 3]), 1003),
        ("bytes that are not valid UTF-8", raw(Data::Text, &[0xc3, 0x28]), 1007),
        ("65,537 bytes", Message::text("x".repeat(65_537)), 1009),
    ];
    for (what, message, code) in rows {
        let mut client = Client::connected(&server).await;
        client.send(message).await;
        assert_eq!(client.end().await, Received::Closed(code), "{what}");
    }
    // Frames that no client library sends: an unmasked text, and one with a reserved bit.
    for frame in [&[0x81, 0x02, b'{', b'}'][..], &[0xc1, 0x82, 0, 0, 0, 0, b'{', b'}'][..]] {
        assert_eq!(RawSocket::open(&server).exchange(frame), Some(1002), "{frame:?}");
    }
    witness.ask("ping", json!({})).await;
}

#[tokio::test]
async fn command_before_hello_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut client = Client::connected(&server).await;
    for (kind, payload) in [("ping", json!({})), ("enter_room", json!({"room": "r"}))] {
        assert_eq!(client.refusal(kind, payload).await, "HELLO_FIRST");
    }
    client.ask("hello", json!({"protocol": 2})).await;
}

#[tokio::test]
async fn connection_without_hello_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    assert_eq!(Client::connected(&server).await.end().await, Received::Closed(4450));
}

#[tokio::test]
async fn peer_without_pong_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut socket = RawSocket::open(&server);
    let hello = br#"{"type":"hello","payload":{"protocol":2}}"#;
    // A mask of zeros leaves the payload unchanged.
    let mut frame = vec![0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0];
    frame.extend(hello);
    let began = Instant::now();
    assert_eq!(socket.exchange(&frame), Some(4451));
    let detected = socket.received_at - began;
    record_figures("heartbeat.json", &json!({"dead_noticed_by_server_ms": detected.as_millis() as u64}));
}

#[tokio::test]
async fn twenty_malformed_frames_close_connection_but_refusals_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut client = Client::in_room(&server, "r").await;
    for _ in 0..30 {
        assert_eq!(client.refusal("leave_room", json!({"room": "other"})).await, "NOT_IN_ROOM");
    }
    for _ in 0..19 {
        client.send_text("x").await;
        client.until_type("error").await;
    }
    client.ask("ping", json!({})).await;
    client.send_text("x").await;
    assert_eq!(client.end().await, Received::Closed(4400));
    assert_eq!(
        client.skipped.iter().filter(|frame| frame["type"] == "error").count(),
        1,
        "the last frame gets its error, too"
    );
}

#[tokio::test]
async fn endless_fragments_are_closed_without_memory_growth() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut frames = vec![0x01, 0x81, 0, 0, 0, 0, b'x'];
    for _ in 1..100_000 {
        frames.extend([0x00, 0x81, 0, 0, 0, 0, b'x']);
    }
    let attack = || assert!(matches!(RawSocket::open(&server).exchange(&frames), Some(1009) | None));
    // The first attacks allocate what the allocator keeps. A leak grows with each further one.
    (0..4).for_each(|_| attack());
    let before = server.resident_kib();
    (0..16).for_each(|_| attack());
    let growth = server.resident_kib().saturating_sub(before);
    assert!(growth < 16 * 64, "16 attacks grew memory by {growth} KiB");
}

#[tokio::test]
async fn ping_flood_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).start();
    let mut witness = Client::greeted(&server).await;
    let mut client = Client::greeted(&server).await;
    for _ in 0..1_000 {
        client.send(Message::Ping(Default::default())).await;
    }
    assert_eq!(client.end().await, Received::Closed(4429));
    witness.ask("ping", json!({})).await;
}

#[tokio::test]
async fn message_burst_over_20_is_rate_limited() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).start();
    let mut client = Client::in_room(&server, "r").await;
    let mut ids = Vec::new();
    for n in 0..21 {
        ids.push(client.command("new_message", json!({"room": "r", "key": fresh_key(), "text": n.to_string()})).await);
    }
    let refused = client.until_type("error").await;
    assert_eq!((&refused["id"], &refused["payload"]["code"]), (&json!(ids[20]), &json!("RATE_LIMITED")));
    let wait = refused["payload"]["retry_after_ms"].as_u64().unwrap();
    assert!((1..=200).contains(&wait), "{wait}");
    client.until(|frame| frame["type"] == "new_message" && frame["payload"]["seq"] == 20).await;
    tokio::time::sleep(Duration::from_millis(wait)).await;
    assert_eq!(client.post("r", "after waiting").await["seq"], 21);
}

#[tokio::test]
async fn new_rooms_per_hour_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Setup::in_folder(folder.path()).limit("rooms_per_minute", 1_000).limit("rooms_per_connection", 1_000).start();
    let mut client = Client::greeted(&server).await;
    for n in 0..50 {
        client.ask("enter_room", json!({"room": format!("room {n}")})).await;
    }
    assert_eq!(client.refusal("enter_room", json!({"room": "room 50"})).await, "ROOM_QUOTA");
    client.ask("enter_room", json!({"room": "room 7"})).await;
}

#[tokio::test]
async fn new_guests_per_address_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("guests_per_minute", 2).start();
    let mut clients =
        [Client::connected(&server).await, Client::connected(&server).await, Client::connected(&server).await];
    let hello = json!({"protocol": 2});
    clients[0].ask("hello", hello.clone()).await;
    clients[1].ask("hello", hello.clone()).await;
    assert_eq!(clients[2].refusal("hello", hello).await, "RATE_LIMITED");
    assert_eq!(server.get("/").status, 200, "viewing pages is not limited");
    let form = format!("room=r&key={}&text=x", fresh_key());
    assert_eq!(server.post("/api/post", "", &form).status, 429, "posting is limited");
}

#[tokio::test]
async fn cross_site_websocket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let upgrade = |origin: &str| {
        let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let headers = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: noom=x\r\n{origin}"
        );
        server.raw_upgrade(&headers)
    };
    let address = server.address;
    for (origin, hint) in [
        ("http://evil.example".to_owned(), "ORIGIN_REJECTED"),
        (format!("http://{address}.evil.example"), "ORIGIN_REJECTED"),
        (format!("http://evil.{address}"), "ORIGIN_REJECTED"),
        ("null".to_owned(), "ORIGIN_REJECTED"),
        (String::new(), "ORIGIN_MISSING"),
    ] {
        let answer = upgrade(&origin);
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains(hint), "{origin}: {answer}");
    }
    assert!(upgrade(&server.origin()).starts_with("HTTP/1.1 101"));
}

#[tokio::test]
async fn request_heads_are_limited_in_size_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("header_seconds", 1).start();
    let answer = server.request("GET", "/", &format!("X-Long: {}\r\n", "x".repeat(20 * 1024)));
    assert!(matches!(answer.status, 431 | 0), "{answer:?}");
    // A head that never ends: the server closes the connection before the read of the test times out.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
    let trickle = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut trickle = trickle;
        while trickle.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    assert_eq!(server.get("/health/live").status, 200);
}

#[tokio::test]
async fn request_bodies_are_limited_in_size_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("request_seconds", 1).start();
    let head = |length: usize| {
        let address = server.address;
        format!(
            "POST /api/post HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
    };
    let large = server.raw(format!("{}{}", head(70_000), "x".repeat(70_000)).as_bytes());
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    // A slow, endless body: no pause exceeds its limit, but the total time does.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(head(60_000).as_bytes()).unwrap();
    let mut trickle = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while trickle.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
    assert_eq!(server.get("/health/live").status, 200);
}

#[tokio::test]
async fn half_open_connections_per_address_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("requests_per_address", 8).limit("header_seconds", 2).start();
    let mut sockets = [Client::in_room(&server, "r").await, Client::in_room(&server, "r").await];
    // Connections that send no request.
    let half_open: Vec<_> = (0..8).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let ninth = server.raw(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(ninth, "", "closed without a response");
    // Existing WebSockets are not affected.
    sockets[0].post("r", "hello").await;
    sockets[1].until_type("new_message").await;
    // The half-open connections time out, and free their slots.
    for mut stream in half_open {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(server.get("/health/live").status, 200);
}

#[tokio::test]
async fn rooms_per_connection_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("rooms_per_connection", 2).start();
    let mut client = Client::in_room(&server, "a").await;
    client.ask("enter_room", json!({"room": "b"})).await;
    assert_eq!(client.refusal("enter_room", json!({"room": "c"})).await, "ROOM_QUOTA");
    client.ask("enter_room", json!({"room": "a"})).await;
    client.ask("leave_room", json!({"room": "b"})).await;
    client.ask("enter_room", json!({"room": "c"})).await;
}

/// A WebSocket without a library: the test writes the bytes of the frames.
struct RawSocket {
    stream: TcpStream,
    /// The time of the last read.
    received_at: Instant,
}

impl RawSocket {
    fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (host, origin) = (server.address, server.origin());
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        Self { stream, received_at: Instant::now() }
    }

    /// Sends bytes and reads until the connection ends. Returns the code of the close frame, if there was one.
    fn exchange(&mut self, bytes: &[u8]) -> Option<u16> {
        let _ = self.stream.write_all(bytes);
        let (mut answer, mut chunk) = (Vec::new(), [0; 4_096]);
        while let Ok(read @ 1..) = self.stream.read(&mut chunk) {
            answer.extend(&chunk[..read]);
            self.received_at = Instant::now();
        }
        // Frame by frame: opcode, length (here always 7 or 16 bits), payload.
        let mut rest = answer.as_slice();
        while let [opcode, length, more @ ..] = rest {
            let (length, body) = match (length, more) {
                (126, [high, low, body @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), body),
                _ => (usize::from(*length), more),
            };
            if *opcode == 0x88 {
                return Some(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
            }
            rest = body.get(length..)?;
        }
        None
    }
}
