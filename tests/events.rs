//! The fallback transport, server-sent events and POSTs: it has the same promises and limits as WebSocket.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use serde_json::{Value, json};
use support::{Client, Events, Received, Server, Setup, fresh_key};
use tokio::io::AsyncWriteExt;

/// Connects over events and sends hello. Also returns the payload of its `ack`.
async fn greeted(server: &Server) -> (Client, Value) {
    let mut client = Client::over_events(server, "").await;
    let hello = client.ask("hello", json!({"protocol": 2})).await;
    (client, hello)
}

/// Connects over events, sends hello, and enters a room.
async fn in_room(server: &Server, room: &str) -> Client {
    let (mut client, _) = greeted(server).await;
    client.ask("enter_room", json!({"room": room})).await;
    client
}

fn message(room: &str, text: &str) -> String {
    json!({"type": "new_message", "payload": {"room": room, "key": fresh_key(), "text": text}}).to_string()
}

/// The next `count` messages, as (seq, text).
async fn messages(client: &mut Client, count: usize) -> Vec<(u64, String)> {
    let mut messages = Vec::new();
    for _ in 0..count {
        let message = client.until_type("new_message").await;
        let payload = &message["payload"];
        messages.push((payload["seq"].as_u64().unwrap(), payload["text"].as_str().unwrap().to_owned()));
    }
    messages
}

#[tokio::test]
async fn room_members_exchange_messages_over_different_transports() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = in_room(&server, "r").await;
    assert_eq!(ann.until_type("welcome").await["payload"]["count"], 2);
    let room = bob.room_id("r");
    bob.events().post(message(&room, "from the stream\nin two lines").as_bytes()).await;
    let first = (1, "from the stream\nin two lines".to_owned());
    assert_eq!(messages(&mut ann, 1).await, std::slice::from_ref(&first));
    ann.send_text(&message(&room, "from the socket")).await;
    assert_eq!(messages(&mut bob, 2).await, [first, (2, "from the socket".to_owned())]);
    assert_eq!(messages(&mut ann, 1).await.len(), 1, "the author receives the message, too");
    assert_eq!(bob.refusal("new_message", json!({"room": "r", "key": fresh_key(), "text": " "})).await, "TEXT_EMPTY");

    // The lines of one body are processed in order.
    let lines: Vec<_> = (3..=100).map(|n| message(&room, &n.to_string())).collect();
    assert_eq!(bob.events().post(lines.join("\n").as_bytes()).await, 204);
    let received = messages(&mut ann, 98).await;
    assert!(received.iter().zip(3..).all(|((seq, text), n)| *seq == n && *text == n.to_string()), "{received:?}");
}

#[tokio::test]
async fn concurrent_posts_are_processed_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = in_room(&server, "r").await;
    let room = bob.room_id("r");
    let batch = |name: &str| (0..100).map(|_| message(&room, name)).collect::<Vec<_>>().join("\n");
    let (first, second) = (batch("a"), batch("b"));
    let events = bob.events();
    assert_eq!(tokio::join!(events.post(first.as_bytes()), events.post(second.as_bytes())), (204, 204));
    let texts: Vec<_> = messages(&mut ann, 200).await.into_iter().map(|(_, text)| text).collect();
    assert!(texts[..100].iter().all(|text| *text == texts[0]), "{texts:?}");
    assert!(texts[100..].iter().all(|text| *text == texts[100] && *text != texts[0]), "{texts:?}");
}

#[tokio::test]
async fn missed_messages_are_recovered_over_the_other_transport() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = Client::connected(&server).await;
    let hello = bob.ask("hello", json!({"protocol": 2})).await;
    let entered = bob.ask("enter_room", json!({"room": "r"})).await;
    let resume = json!({"protocol": 2, "resume": hello["resume"]});
    for n in 1..=2 {
        drop(bob);
        for _ in 0..5 {
            ann.post("r", "missed").await;
        }
        bob = if n == 1 { Client::over_events(&server, "").await } else { Client::connected(&server).await };
        assert_eq!(bob.ask("hello", resume.clone()).await["user"], hello["user"]);
        let after = json!({"epoch": entered["epoch"], "seq": (n - 1) * 5, "rev": 0});
        let resumed = bob.ask("enter_room", json!({"room": "r", "after": after})).await;
        assert_eq!(resumed["recovered"], true);
        let seqs: Vec<_> = resumed["messages"].as_array().unwrap().iter().map(|missed| missed["seq"].clone()).collect();
        assert_eq!(seqs, (1..=5).map(|seq| json!((n - 1) * 5 + seq)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn connection_limits_cover_both_transports() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("connections_per_address", 2).start();
    let _socket = Client::greeted(&server).await;
    let (events, _) = greeted(&server).await;
    let ours = "Sec-Fetch-Site: same-origin\r\n";
    assert_eq!(server.request("GET", "/events", ours).status, 429);
    drop((events, server));

    let server = Setup::in_folder(folder.path()).limit("connections", 1).start();
    let mut socket = Client::greeted(&server).await;
    assert_eq!(Client::over_events(&server, "").await.end().await, Received::Closed(1013));
    socket.ask("ping", json!({})).await;
    drop(server);

    let server = Setup::in_folder(folder.path()).limit("connections_per_user", 1).start();
    let (mut first, hello) = greeted(&server).await;
    let mut second = Client::connected(&server).await;
    second.ask("hello", json!({"protocol": 2, "resume": hello["resume"]})).await;
    assert_eq!(first.end().await, Received::Closed(4409));
}

#[tokio::test]
async fn message_rate_limit_applies_over_events() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("messages_per_second", 1).limit("message_burst", 5).start();
    let mut bob = in_room(&server, "r").await;
    let room = bob.room_id("r");
    let lines: Vec<_> = (0..21).map(|n| message(&room, &n.to_string())).collect();
    bob.events().post(lines.join("\n").as_bytes()).await;
    assert_eq!(bob.until_type("error").await["payload"]["code"], "RATE_LIMITED");
}

/// Bodies that violate the protocol, with the status and the close code that they cause.
#[tokio::test]
async fn invalid_post_gets_its_status_and_close_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut witness = in_room(&server, "r").await;
    let hello = json!({"type": "hello", "payload": {"protocol": 99}}).to_string();
    let rows: [(&str, Vec<u8>, u16, u16); 5] = [
        ("a version from the future", hello.into_bytes(), 204, 4406),
        ("bytes that are not valid UTF-8", vec![0xc3, 0x28], 400, 1007),
        ("a line of 65,537 bytes", vec![b'x'; 65_537], 413, 1009),
        ("a body of 131,073 bytes", [vec![b'x'; 65_536], vec![b'\n'; 65_537]].concat(), 413, 1009),
        ("20 malformed frames", b"x\n".repeat(20), 204, 4400),
    ];
    for (what, body, status, code) in rows {
        let mut client = Client::over_events(&server, "").await;
        assert_eq!(client.events().post(&body).await, status, "{what}");
        assert_eq!(client.end().await, Received::Closed(code), "{what}");
        assert_eq!(client.receive().await, Received::Disconnected, "{what}");
        assert_eq!(client.events().post(b"").await, 404, "{what}");
    }
    witness.ask("ping", json!({})).await;
}

#[tokio::test]
async fn empty_post_flood_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("signal_burst", 20).limit("signals_per_second", 1).start();
    let mut client = Client::over_events(&server, "").await;
    client.ask("hello", json!({"protocol": 2})).await;
    while client.events().post(b"").await == 204 {}
    assert_eq!(client.end().await, Received::Closed(4429));
}

#[tokio::test]
async fn silent_peer_is_closed_and_responsive_peer_stays() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut silent = Client::over_events(&server, "").await;
    let (mut alive, _) = greeted(&server).await;
    let (mut dead, _) = greeted(&server).await;
    dead.events().answers_pings = false;
    assert_eq!(silent.end().await, Received::Closed(4450));
    tokio::select! {
        end = alive.events().receive() => panic!("{end:?}"),
        end = dead.events().receive() => assert_eq!(end, Received::Closed(4451)),
    }
    alive.ask("ping", json!({})).await;
}

#[tokio::test]
async fn cross_site_streams_and_posts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut client, _) = greeted(&server).await;
    let path = format!("/events/{}", client.events().token);
    for (headers, hint) in [
        ("Sec-Fetch-Site: cross-site\r\n".to_owned(), "ORIGIN_REJECTED"),
        ("Origin: http://evil.example\r\n".to_owned(), "ORIGIN_REJECTED"),
        ("Referer: http://evil.example/\r\n".to_owned(), "ORIGIN_REJECTED"),
        (String::new(), "ORIGIN_MISSING"),
    ] {
        let answer = server.request("GET", "/events", &headers);
        assert_eq!(answer.status, 403, "{headers}");
        assert!(answer.body.contains(hint), "{headers}: {}", answer.body);
        assert_eq!(server.post_with(&path, &headers, "").status, 403, "{headers}");
    }
    client.ask("ping", json!({})).await;
}

#[tokio::test]
async fn token_is_bound_to_connection_and_user() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (ann, bob) = (server.get("/").cookie(), server.get("/").cookie());
    let mut first = Client::over_events(&server, &ann).await;
    let mut second = Client::over_events(&server, &ann).await;
    let token = first.events().token.clone();
    assert!(token.len() == 32 && token != second.events().token, "{token}");
    assert_eq!(first.events().post_as(&bob, b"").await, 404);
    assert_eq!(first.events().post_as("", b"").await, 404);
    assert_eq!(first.events().post_as(&ann, b"").await, 204);
    let ours = "Sec-Fetch-Site: same-origin\r\n";
    for token in ["0", "00000000000000000000000000000000"] {
        assert_eq!(server.post_with(&format!("/events/{token}"), ours, "").status, 404, "{token}");
    }
    first.ask("hello", json!({"protocol": 2})).await;
    second.ask("hello", json!({"protocol": 2})).await;
}

#[tokio::test]
async fn event_stream_headers_disable_buffering_and_caching() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let head = Events::open(&server, "").await.head.to_lowercase();
    for line in ["content-type: text/event-stream", "cache-control: no-store, no-transform", "x-accel-buffering: no"] {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
    assert!(!head.contains("content-encoding"), "{head}");
}

#[tokio::test]
async fn incomplete_post_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut bob = in_room(&server, "r").await;
    let whole = message("r", "incomplete");
    let mut broken = bob.events().begin("", whole.len() + 1).await;
    broken.write_all(whole.as_bytes()).await.unwrap();
    drop(broken);
    assert_eq!(bob.post("r", "complete").await["seq"], 1);
}

#[tokio::test]
async fn closed_stream_leaves_its_rooms() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let bob = in_room(&server, "r").await;
    ann.until_type("welcome").await;
    drop(bob);
    assert_eq!(ann.until_type("bye").await["payload"]["count"], 1);
}

#[tokio::test]
async fn stuck_reader_is_closed_without_affecting_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut writer = Client::in_room(&server, "r").await;
    let mut reader = in_room(&server, "r").await;
    let mut stuck = in_room(&server, "r").await;
    let text = "x".repeat(4_000);
    // More than the buffers of the kernel and the outbox can hold.
    for n in 1..=4_000_u64 {
        writer.command("new_message", json!({"room": "r", "key": fresh_key(), "text": text})).await;
        if n % 100 == 0 {
            writer.until(|frame| frame["type"] == "new_message" && frame["payload"]["seq"] == n).await;
            reader.until(|frame| frame["payload"]["seq"] == n).await;
            writer.skipped.clear();
        }
    }
    assert_eq!(stuck.end().await, Received::Closed(4452));
    let seqs = stuck.skipped.iter().filter_map(|frame| frame["payload"]["seq"].as_u64());
    assert!(seqs.zip(1..).all(|(seq, n)| seq == n), "the messages before the close have no gap");
}

#[tokio::test]
async fn drain_closes_streams_and_sockets_alike() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let mut socket = Client::greeted(&server).await;
    let mut bob = in_room(&server, "r").await;
    server.terminate();
    let away = bob.until_type("going_away").await;
    assert!(away["payload"]["reconnect_in_ms"].as_u64().unwrap() <= 10_000);
    assert_eq!(server.request("GET", "/events", "Sec-Fetch-Site: same-origin\r\n").status, 503);
    assert_eq!(bob.end().await, Received::Closed(1012));
    assert_eq!(socket.end().await, Received::Closed(1012));
    assert_eq!(server.wait().code(), Some(0));
}
