//! Where WebSocket is blocked: the same conversation over an event stream and POSTs, with the same
//! promises and limits.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use serde_json::{Value, json};
use support::{Client, Events, Heard, Server, Setup, fresh_key};
use tokio::io::AsyncWriteExt;

/// Connects over events and says hello; returns the `ack`'s payload too.
async fn greeted(server: &Server) -> (Client, Value) {
    let mut client = Client::over_events(server, "").await;
    let hello = client.ask("hello", json!({"protocol": 1})).await;
    (client, hello)
}

/// Connects over events, says hello, and enters a room.
async fn in_room(server: &Server, room: &str) -> Client {
    let (mut client, _) = greeted(server).await;
    client.ask("enter_room", json!({"room": room})).await;
    client
}

fn message(room: &str, text: &str) -> String {
    json!({"type": "new_message", "payload": {"room": room, "key": fresh_key(), "text": text}}).to_string()
}

/// The next so many messages.
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
async fn people_talk_in_one_room_whatever_carries_their_frames() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = in_room(&server, "r").await;
    assert_eq!(ann.until_type("welcome").await["payload"]["count"], 2);
    bob.events().post(message("r", "from the stream\nin two lines").as_bytes()).await;
    let first = (1, "from the stream\nin two lines".to_owned());
    assert_eq!(messages(&mut ann, 1).await, std::slice::from_ref(&first));
    ann.say(&message("r", "from the socket")).await;
    assert_eq!(messages(&mut bob, 2).await, [first, (2, "from the socket".to_owned())]);
    assert_eq!(messages(&mut ann, 1).await.len(), 1, "one's own comes too");
    assert_eq!(bob.refusal("new_message", json!({"room": "r", "key": fresh_key(), "text": " "})).await, "TEXT_EMPTY");

    // What is posted at once is taken in the order of its lines.
    let lines: Vec<_> = (3..=100).map(|n| message("r", &n.to_string())).collect();
    assert_eq!(bob.events().post(lines.join("\n").as_bytes()).await, 204);
    let heard = messages(&mut ann, 98).await;
    assert!(heard.iter().zip(3..).all(|((seq, text), n)| *seq == n && *text == n.to_string()), "{heard:?}");
}

#[tokio::test]
async fn two_posts_at_once_are_taken_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = in_room(&server, "r").await;
    let batch = |name: &str| (0..100).map(|_| message("r", name)).collect::<Vec<_>>().join("\n");
    let (first, second) = (batch("a"), batch("b"));
    let events = bob.events();
    assert_eq!(tokio::join!(events.post(first.as_bytes()), events.post(second.as_bytes())), (204, 204));
    let texts: Vec<_> = messages(&mut ann, 200).await.into_iter().map(|(_, text)| text).collect();
    assert!(texts[..100].iter().all(|text| *text == texts[0]), "{texts:?}");
    assert!(texts[100..].iter().all(|text| *text == texts[100] && *text != texts[0]), "{texts:?}");
}

#[tokio::test]
async fn what_was_missed_is_had_over_the_other_way() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = Client::silent(&server).await;
    let hello = bob.ask("hello", json!({"protocol": 1})).await;
    let entered = bob.ask("enter_room", json!({"room": "r"})).await;
    let resume = json!({"protocol": 1, "resume": hello["resume"]});
    for n in 1..=2 {
        drop(bob);
        for _ in 0..5 {
            ann.post("r", "missed").await;
        }
        bob = if n == 1 { Client::over_events(&server, "").await } else { Client::silent(&server).await };
        assert_eq!(bob.ask("hello", resume.clone()).await["user"], hello["user"]);
        let after = json!({"epoch": entered["epoch"], "seq": (n - 1) * 5});
        let resumed = bob.ask("enter_room", json!({"room": "r", "after": after})).await;
        assert_eq!(resumed["recovered"], true);
        let seqs: Vec<_> = resumed["messages"].as_array().unwrap().iter().map(|missed| missed["seq"].clone()).collect();
        assert_eq!(seqs, (1..=5).map(|seq| json!((n - 1) * 5 + seq)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_connection_counts_whatever_carries_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("connections_per_address", 2).start();
    let _socket = Client::greeted(&server).await;
    let (events, _) = greeted(&server).await;
    let ours = "Sec-Fetch-Site: same-origin\r\n";
    assert_eq!(server.request("GET", "/events", ours).status, 429);
    drop((events, server));

    let server = Setup::in_folder(folder.path()).limit("connections", 1).start();
    let mut socket = Client::greeted(&server).await;
    assert_eq!(Client::over_events(&server, "").await.end().await, Heard::Closed(1013));
    socket.ask("ping", json!({})).await;
    drop(server);

    let server = Setup::in_folder(folder.path()).limit("connections_per_user", 1).start();
    let (mut first, hello) = greeted(&server).await;
    let mut second = Client::silent(&server).await;
    second.ask("hello", json!({"protocol": 1, "resume": hello["resume"]})).await;
    assert_eq!(first.end().await, Heard::Closed(4409));
}

#[tokio::test]
async fn messages_count_whatever_carries_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).start();
    let mut bob = in_room(&server, "r").await;
    let lines: Vec<_> = (0..21).map(|n| message("r", &n.to_string())).collect();
    bob.events().post(lines.join("\n").as_bytes()).await;
    assert_eq!(bob.until_type("error").await["payload"]["code"], "RATE_LIMITED");
}

/// The bodies that a client must not post, the status that answers them, and the code of the close.
#[tokio::test]
async fn every_breach_of_the_wire_has_its_close_code() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut witness = in_room(&server, "r").await;
    let hello = json!({"type": "hello", "payload": {"protocol": 99}}).to_string();
    let rows: [(&str, Vec<u8>, u16, u16); 5] = [
        ("a version from the future", hello.into_bytes(), 204, 4406),
        ("bytes that are no UTF-8", vec![0xc3, 0x28], 400, 1007),
        ("a line of 65,537 bytes", vec![b'x'; 65_537], 413, 1009),
        ("a body of 131,073 bytes", [vec![b'x'; 65_536], vec![b'\n'; 65_537]].concat(), 413, 1009),
        ("20 faults of form", b"x\n".repeat(20), 204, 4400),
    ];
    for (what, body, status, code) in rows {
        let mut client = Client::over_events(&server, "").await;
        assert_eq!(client.events().post(&body).await, status, "{what}");
        assert_eq!(client.end().await, Heard::Closed(code), "{what}");
        assert_eq!(client.hear().await, Heard::Cut, "{what}");
        assert_eq!(client.events().post(b"").await, 404, "{what}");
    }
    witness.ask("ping", json!({})).await;
}

#[tokio::test]
async fn a_flood_of_empty_posts_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("signal_burst", 20).limit("signals_per_second", 1).start();
    let mut client = Client::over_events(&server, "").await;
    client.ask("hello", json!({"protocol": 1})).await;
    while client.events().post(b"").await == 204 {}
    assert_eq!(client.end().await, Heard::Closed(4429));
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_ended_and_one_that_answers_pings_stays() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut silent = Client::over_events(&server, "").await;
    let (mut alive, _) = greeted(&server).await;
    let (mut dead, _) = greeted(&server).await;
    dead.events().answers = false;
    assert_eq!(silent.end().await, Heard::Closed(4450));
    tokio::select! {
        end = alive.events().hear() => panic!("{end:?}"),
        end = dead.events().hear() => assert_eq!(end, Heard::Closed(4451)),
    }
    alive.ask("ping", json!({})).await;
}

#[tokio::test]
async fn pages_of_other_sites_open_nothing_and_post_nothing() {
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
async fn a_token_is_good_for_one_connection_of_one_person() {
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
    first.ask("hello", json!({"protocol": 1})).await;
    second.ask("hello", json!({"protocol": 1})).await;
}

#[tokio::test]
async fn nothing_on_the_way_keeps_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let head = Events::open(&server, "").await.head.to_lowercase();
    for line in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
    assert!(!head.contains("content-encoding"), "{head}");
}

#[tokio::test]
async fn a_post_that_breaks_off_is_as_if_it_had_never_come() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut bob = in_room(&server, "r").await;
    let whole = message("r", "never said");
    let mut broken = bob.events().begin("", whole.len() + 1).await;
    broken.write_all(whole.as_bytes()).await.unwrap();
    drop(broken);
    assert_eq!(bob.post("r", "said").await["seq"], 1);
}

#[tokio::test]
async fn whoever_hangs_up_has_left_after_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let bob = in_room(&server, "r").await;
    ann.until_type("welcome").await;
    drop(bob);
    assert_eq!(ann.until_type("bye").await["payload"]["count"], 1);
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_closed_and_nobody_else_notices() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut writer = Client::in_room(&server, "r").await;
    let mut reader = in_room(&server, "r").await;
    let mut stuck = in_room(&server, "r").await;
    let text = "x".repeat(4_000);
    // More than the kernel's buffers and the outbox hold together.
    for n in 1..=4_000_u64 {
        writer.command("new_message", json!({"room": "r", "key": fresh_key(), "text": text})).await;
        if n % 100 == 0 {
            writer.until(|frame| frame["type"] == "new_message" && frame["payload"]["seq"] == n).await;
            reader.until(|frame| frame["payload"]["seq"] == n).await;
            writer.heard.clear();
        }
    }
    assert_eq!(stuck.end().await, Heard::Closed(4452));
    let seqs = stuck.heard.iter().filter_map(|frame| frame["payload"]["seq"].as_u64());
    assert!(seqs.zip(1..).all(|(seq, n)| seq == n), "what did arrive has no hole");
}

#[tokio::test]
async fn a_drain_ends_streams_as_it_ends_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let mut socket = Client::greeted(&server).await;
    let mut bob = in_room(&server, "r").await;
    server.terminate();
    let away = bob.until_type("going_away").await;
    assert!(away["payload"]["reconnect_in_ms"].as_u64().unwrap() <= 10_000);
    assert_eq!(server.request("GET", "/events", "Sec-Fetch-Site: same-origin\r\n").status, 503);
    assert_eq!(bob.end().await, Heard::Closed(1012));
    assert_eq!(socket.end().await, Heard::Closed(1012));
    assert_eq!(server.wait().code(), Some(0));
}
