//! Two and more clients over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::time::Instant;

use serde_json::json;
use support::{Client, Heard, Server, Setup, fresh_key, keep_figures};

#[tokio::test]
async fn two_clients_talk_and_see_the_same_messages_in_the_same_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "garden").await;
    let mut bob = Client::in_room(&server, "garden").await;
    ann.until_type("welcome").await;
    for n in 0..50 {
        let (author, text) = if n % 2 == 0 { (&mut ann, "ann") } else { (&mut bob, "bob") };
        let ack = author.post("garden", &format!("{text} {n}")).await;
        assert_eq!(ack["seq"], n + 1);
    }
    let order = |client: Client| {
        let messages = client.heard.into_iter().filter(|frame| frame["type"] == "new_message");
        messages
            .map(|frame| (frame["payload"]["seq"].as_u64().unwrap(), frame["payload"]["text"].clone()))
            .collect::<Vec<_>>()
    };
    ann.until(|frame| frame["payload"]["seq"] == 50).await;
    bob.until(|frame| frame["payload"]["seq"] == 50).await;
    let (ann, bob) = (order(ann), order(bob));
    assert_eq!(ann, bob);
    assert_eq!(ann.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_sent_again_is_the_same_message() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let message = json!({"room": "r", "key": fresh_key(), "text": "once"});
    let first = ann.ask("new_message", message.clone()).await;
    let again = ann.ask("new_message", message.clone()).await;
    assert_eq!(again["dup"], true);
    assert_eq!((&again["seq"], &again["at"]), (&first["seq"], &first["at"]));
    let mut other = message;
    other["text"] = json!("twice");
    assert_eq!(ann.refusal("new_message", other).await, "KEY_CONFLICT");
    let history = ann.ask("history", json!({"room": "r", "before": 100, "limit": 100})).await;
    assert_eq!(history["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn frames_are_answered_once_each_and_in_order_without_waiting_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(ann.command("new_message", json!({"room": "r", "key": fresh_key(), "text": n.to_string()})).await);
    }
    let mut answered = Vec::new();
    while answered.len() < ids.len() {
        let frame = ann.until_type("ack").await;
        answered.push(frame["id"].as_u64().unwrap());
    }
    assert_eq!(answered, ids);
}

#[tokio::test]
async fn who_comes_back_gets_exactly_what_was_missed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = Client::silent(&server).await;
    let hello = bob.ask("hello", json!({"protocol": 1})).await;
    let entered = bob.ask("enter_room", json!({"room": "r"})).await;
    assert_eq!((&entered["recovered"], &entered["head"]), (&json!(false), &json!(0)));
    ann.post("r", "one").await;
    bob.until_type("new_message").await;
    drop(bob);
    ann.post("r", "two").await;
    ann.post("r", "three").await;

    let mut bob = Client::silent(&server).await;
    let again = bob.ask("hello", json!({"protocol": 1, "resume": hello["resume"]})).await;
    assert_eq!(again["user"], hello["user"]);
    let entered = bob.ask("enter_room", json!({"room": "r", "after": {"epoch": entered["epoch"], "seq": 1}})).await;
    assert_eq!(entered["recovered"], true);
    let texts: Vec<_> = entered["messages"].as_array().unwrap().iter().map(|message| message["text"].clone()).collect();
    assert_eq!(texts, ["two", "three"]);
}

#[tokio::test]
async fn what_cannot_be_resumed_is_said_and_the_latest_given() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    ann.flood("r", 1_002, "").await;
    let epoch = ann.ask("enter_room", json!({"room": "r"})).await["epoch"].clone();
    for (after, reason, count) in [
        (json!({"epoch": epoch, "seq": 1_003}), "POSITION_AHEAD", 50),
        (json!({"epoch": "other", "seq": 1_000}), "EPOCH_CHANGED", 50),
        (json!({"epoch": epoch, "seq": 1}), "GAP_TOO_LARGE", 50),
    ] {
        let entered = ann.ask("enter_room", json!({"room": "r", "after": after})).await;
        assert_eq!((&entered["recovered"], &entered["reason"]), (&json!(false), &json!(reason)));
        assert_eq!(entered["messages"].as_array().unwrap().len(), count);
        assert_eq!(entered["more"], true);
    }
    let entered = ann.ask("enter_room", json!({"room": "r", "after": {"epoch": epoch, "seq": 2}})).await;
    assert_eq!(entered["messages"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn long_histories_come_in_pieces_that_join() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let text = "글".repeat(4_000);
    for _ in 0..60 {
        ann.post("r", &text).await;
    }
    let (mut before, mut seqs) = (61, Vec::new());
    loop {
        let page = ann.ask("history", json!({"room": "r", "before": before, "limit": 100})).await;
        let messages = page["messages"].as_array().unwrap();
        assert!(page.to_string().len() <= 256 * 1024 && !messages.is_empty());
        seqs.splice(0..0, messages.iter().map(|message| message["seq"].as_u64().unwrap()));
        before = seqs[0];
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seqs, (1..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_name_holds_in_all_rooms_or_in_none_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::silent(&server).await;
    let token = ann.ask("hello", json!({"protocol": 1})).await["resume"].clone();
    for room in ["a", "b", "c", "d"] {
        ann.ask("enter_room", json!({"room": room})).await;
    }
    let mut bob = Client::in_room(&server, "d").await;
    bob.ask("nickname", json!({"nickname": "Taken"})).await;
    assert_eq!(ann.refusal("nickname", json!({"nickname": "taken"})).await, "NICK_TAKEN");
    assert_eq!(ann.ask("nickname", json!({"nickname": "  Ann  Lee "})).await["nickname"], "Ann Lee");
    let renamed = bob.until_type("nickname").await;
    assert_eq!(renamed["payload"]["user"]["nickname"], "Ann Lee");

    let mut late = Client::silent(&server).await;
    late.ask("hello", json!({"protocol": 1})).await;
    late.ask("nickname", json!({"nickname": "ANN LEE"})).await;
    assert_eq!(late.refusal("enter_room", json!({"room": "a"})).await, "NICK_TAKEN");
    drop((ann, bob, late));
    server.kill();

    let server = Server::generous(folder.path());
    let mut ann = Client::silent(&server).await;
    let again = ann.ask("hello", json!({"protocol": 1, "resume": token})).await;
    assert_eq!(again["user"]["nickname"], "Ann Lee");
}

#[tokio::test]
async fn a_room_has_one_name_in_every_spelling() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::greeted(&server).await;
    let entered = ann.ask("enter_room", json!({"room": "  Cafe\u{301}  Club "})).await;
    assert_eq!(entered["room"], "Café Club");
    let mut bob = Client::greeted(&server).await;
    let entered = bob.ask("enter_room", json!({"room": "CAFÉ CLUB"})).await;
    assert_eq!((&entered["room"], &entered["count"]), (&json!("Café Club"), &json!(2)));
    bob.post("café club", "hi").await;
    assert_eq!(ann.until_type("new_message").await["payload"]["room"], "Café Club");
}

#[tokio::test]
async fn watchers_see_rooms_fill_and_empty() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut watcher = Client::greeted(&server).await;
    assert_eq!(watcher.ask("watch_rooms", json!({})).await, json!({"rooms": []}));
    let mut ann = Client::in_room(&server, "garden").await;
    let change = watcher.until_type("room_change").await;
    assert_eq!(change["payload"], json!({"rooms": [{"name": "garden", "count": 1}]}));
    ann.ask("leave_room", json!({"room": "garden"})).await;
    let change = watcher.until_type("room_change").await;
    assert_eq!(change["payload"], json!({"rooms": []}));
}

#[tokio::test]
async fn a_lost_connection_is_a_departure_after_a_moment_but_leaving_is_one_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = Client::in_room(&server, "r").await;
    assert_eq!(ann.until_type("welcome").await["payload"]["count"], 2);
    bob.ask("leave_room", json!({"room": "r"})).await;
    assert_eq!(ann.until_type("bye").await["payload"]["count"], 1);
    let cat = Client::in_room(&server, "r").await;
    ann.until_type("welcome").await;
    drop(cat);
    assert_eq!(ann.until_type("bye").await["payload"]["count"], 1);
}

#[tokio::test]
async fn the_ninth_connection_of_a_user_closes_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut first = Client::silent(&server).await;
    let token = first.ask("hello", json!({"protocol": 1})).await["resume"].clone();
    let mut others = Vec::new();
    for _ in 0..8 {
        let mut client = Client::silent(&server).await;
        client.ask("hello", json!({"protocol": 1, "resume": token})).await;
        others.push(client);
    }
    assert_eq!(first.end().await, Heard::Closed(4409));
    for client in &mut others {
        client.ask("ping", json!({})).await;
    }
}

#[tokio::test]
async fn more_connections_than_configured_are_turned_away_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("connections", 2).start();
    let mut first = Client::greeted(&server).await;
    let second = Client::greeted(&server).await;
    let mut third = Client::silent(&server).await;
    assert_eq!(third.end().await, Heard::Closed(1013));
    drop(second);
    first.ask("ping", json!({})).await;
}

/// Says 4,000 things, a hundred at a time, and how long the last of each hundred took to reach the reader, in
/// microseconds.
async fn latencies(writer: &mut Client, reader: &mut Client, text: &str, after: u64) -> Vec<u64> {
    let mut latencies = Vec::new();
    for n in after + 1..=after + 4_000 {
        let said = Instant::now();
        writer.command("new_message", json!({"room": "r", "key": fresh_key(), "text": text})).await;
        if n % 100 == 0 {
            reader.until(|frame| frame["payload"]["seq"] == n).await;
            latencies.push(said.elapsed().as_micros() as u64);
            writer.until(|frame| frame["type"] == "new_message" && frame["payload"]["seq"] == n).await;
            writer.heard.clear();
            reader.heard.clear();
        }
    }
    latencies
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_closed_and_nobody_else_notices() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut writer = Client::in_room(&server, "r").await;
    let mut reader = Client::in_room(&server, "r").await;
    let text = "x".repeat(4_000);
    let mut alone = latencies(&mut writer, &mut reader, &text, 0).await;
    let mut stuck = Client::in_room(&server, "r").await;
    // More than the kernel's buffers and the outbox hold together.
    let mut beside = latencies(&mut writer, &mut reader, &text, 4_000).await;
    let median = |latencies: &mut Vec<u64>| *latencies.select_nth_unstable(20).1;
    keep_figures(
        "slow_reader.json",
        &json!({
            "others_wait_without_one_us_median": median(&mut alone),
            "others_wait_beside_one_us_median": median(&mut beside),
        }),
    );
    let end = stuck.end().await;
    assert_eq!(end, Heard::Closed(4452));
    let seqs = stuck.heard.iter().filter_map(|frame| frame["payload"]["seq"].as_u64()).filter(|seq| *seq > 4_000);
    assert!(seqs.zip(4_001..).all(|(seq, n)| seq == n), "what did arrive has no hole");
}
