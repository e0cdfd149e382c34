//! Chat between clients over real sockets.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

mod support;

use std::collections::BTreeSet;
use std::time::Instant;

use futures::future::join_all;
use serde_json::json;
use support::{Client, Received, Server, Setup, fresh_key, record_figures};

#[tokio::test]
async fn two_clients_receive_the_same_messages_in_the_same_order() {
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
        let messages = client.skipped.into_iter().filter(|frame| frame["type"] == "new_message");
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
async fn repeated_post_is_stored_once() {
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
async fn pipelined_posts_are_answered_once_and_in_order() {
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
async fn resume_returns_exactly_the_missed_messages() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut bob = Client::connected(&server).await;
    let hello = bob.ask("hello", json!({"protocol": 2})).await;
    let entered = bob.ask("enter_room", json!({"room": "r"})).await;
    assert_eq!((&entered["recovered"], &entered["head"]), (&json!(false), &json!(0)));
    ann.post("r", "one").await;
    bob.until_type("new_message").await;
    drop(bob);
    ann.post("r", "two").await;
    ann.post("r", "three").await;

    let mut bob = Client::connected(&server).await;
    let again = bob.ask("hello", json!({"protocol": 2, "resume": hello["resume"]})).await;
    assert_eq!(again["user"], hello["user"]);
    let entered =
        bob.ask("enter_room", json!({"room": "r", "after": {"epoch": entered["epoch"], "seq": 1, "rev": 0}})).await;
    assert_eq!(entered["recovered"], true);
    let texts: Vec<_> = entered["messages"].as_array().unwrap().iter().map(|message| message["text"].clone()).collect();
    assert_eq!(texts, ["two", "three"]);
}

#[tokio::test]
async fn unusable_position_gives_reason_and_latest_messages() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    ann.flood("r", 1_002, "").await;
    let epoch = ann.ask("enter_room", json!({"room": "r"})).await["epoch"].clone();
    for (after, reason, count) in [
        (json!({"epoch": epoch, "seq": 1_003, "rev": 0}), "POSITION_AHEAD", 50),
        (json!({"epoch": "other", "seq": 1_000, "rev": 0}), "EPOCH_CHANGED", 50),
        (json!({"epoch": epoch, "seq": 1, "rev": 0}), "GAP_TOO_LARGE", 50),
    ] {
        let entered = ann.ask("enter_room", json!({"room": "r", "after": after})).await;
        assert_eq!((&entered["recovered"], &entered["reason"]), (&json!(false), &json!(reason)));
        assert_eq!(entered["messages"].as_array().unwrap().len(), count);
        assert_eq!(entered["more"], true);
    }
    let entered = ann.ask("enter_room", json!({"room": "r", "after": {"epoch": epoch, "seq": 2, "rev": 0}})).await;
    assert_eq!(entered["messages"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn long_history_is_paged_without_gaps() {
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
async fn nickname_changes_in_all_rooms_or_none_and_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::connected(&server).await;
    let token = ann.ask("hello", json!({"protocol": 2})).await["resume"].clone();
    for room in ["a", "b", "c", "d"] {
        ann.ask("enter_room", json!({"room": room})).await;
    }
    let mut bob = Client::in_room(&server, "d").await;
    bob.ask("nickname", json!({"nickname": "Taken"})).await;
    assert_eq!(ann.refusal("nickname", json!({"nickname": "taken"})).await, "NICK_TAKEN");
    assert_eq!(ann.ask("nickname", json!({"nickname": "  Ann  Lee "})).await["nickname"], "Ann Lee");
    let renamed = bob.until_type("nickname").await;
    assert_eq!(renamed["payload"]["user"]["nickname"], "Ann Lee");

    let mut late = Client::connected(&server).await;
    late.ask("hello", json!({"protocol": 2})).await;
    late.ask("nickname", json!({"nickname": "ANN LEE"})).await;
    assert_eq!(late.refusal("enter_room", json!({"room": "a"})).await, "NICK_TAKEN");
    drop((ann, bob, late));
    server.kill();

    let server = Server::generous(folder.path());
    let mut ann = Client::connected(&server).await;
    let again = ann.ask("hello", json!({"protocol": 2, "resume": token})).await;
    assert_eq!(again["user"]["nickname"], "Ann Lee");
}

#[tokio::test]
async fn spellings_of_a_room_name_are_one_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::greeted(&server).await;
    let entered = ann.ask("enter_room", json!({"room": "  Cafe\u{301}  Club "})).await;
    assert_eq!(entered["name"], "Café Club");
    let mut bob = Client::greeted(&server).await;
    let entered = bob.ask("enter_room", json!({"room": "CAFÉ CLUB"})).await;
    assert_eq!((&entered["name"], &entered["count"]), (&json!("Café Club"), &json!(2)));
    assert_eq!(bob.room_id("CAFÉ CLUB"), ann.room_id("Café Club"));
    bob.post("Café Club", "hi").await;
    assert_eq!(ann.until_type("new_message").await["payload"]["text"], "hi");
}

#[tokio::test]
async fn watchers_receive_room_counts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut watcher = Client::greeted(&server).await;
    assert_eq!(watcher.ask("watch_rooms", json!({})).await, json!({"rooms": []}));
    let mut ann = Client::in_room(&server, "garden").await;
    // The first change may come as a whole list, because others may have happened just before the watching began.
    let change = watcher.until(|frame| frame["payload"]["rooms"][0]["name"] == "garden").await;
    assert_eq!(change["payload"]["rooms"], json!([{"name": "garden", "count": 1}]));
    ann.ask("leave_room", json!({"room": "garden"})).await;
    let change = watcher.until_type("room_update").await;
    assert_eq!(change["payload"], json!({"rooms": [], "removed": ["garden"]}));
}

#[tokio::test]
async fn client_of_another_version_is_closed_whatever_else_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    // The first two are those of pages of version 1.
    for hello in [
        json!({"protocol": 1}),
        json!({"protocol": 1, "resume": "x.y", "features": ["changes", "crowds"]}),
        json!({"protocol": 3, "resume": 7, "colour": {"of": [1.5]}}),
    ] {
        let mut client = Client::connected(&server).await;
        client.command("hello", hello).await;
        assert_eq!(client.end().await, Received::Closed(4406));
    }
    // Fields of a later version do not matter if the client speaks this one.
    let mut client = Client::connected(&server).await;
    client.ask("hello", json!({"protocol": 2, "colour": {"of": [1.5]}})).await;
    assert_eq!(client.refusal("ping", json!({"colour": 1})).await, "UNKNOWN_FIELD");
}

#[tokio::test]
async fn room_is_entered_by_its_id_before_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "garden").await;
    ann.post("garden", "hello").await;
    let garden = ann.room_id("garden");
    let mut bob = Client::greeted(&server).await;
    let entered = bob.ask("enter_room", json!({"name": "a new name", "room": garden})).await;
    assert_eq!((&entered["name"], &entered["head"]), (&json!("garden"), &json!(1)));
    let entered = bob.ask("enter_room", json!({"name": "kitchen", "room": "0123456789abcdef"})).await;
    assert_eq!((&entered["name"], &entered["head"]), (&json!("kitchen"), &json!(0)), "no room has that id");
    assert_ne!(bob.room_id("kitchen"), garden);
    // Another spelling is the same room, on every connection and after a restart.
    drop((ann, bob));
    server.kill();
    let server = Server::generous(folder.path());
    let mut ann = Client::greeted(&server).await;
    ann.ask("enter_room", json!({"room": "GARDEN"})).await;
    assert_eq!(ann.room_id("garden"), garden);
}

#[tokio::test]
async fn watcher_receives_differences() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let _host = Client::in_room(&server, "hall").await;
    let mut watcher = Client::connected(&server).await;
    watcher.ask("hello", json!({"protocol": 2})).await;
    assert_eq!(watcher.ask("watch_rooms", json!({})).await["rooms"], json!([{"name": "hall", "count": 1}]));
    let mut ann = Client::in_room(&server, "garden").await;
    // The first change may come as a whole list, because others may have happened just before the watching began.
    watcher.until(|frame| frame["payload"]["rooms"][0]["name"] == "garden").await;
    ann.ask("leave_room", json!({"room": "garden"})).await;
    let change = watcher.until_type("room_update").await;
    assert_eq!(change["payload"], json!({"rooms": [], "removed": ["garden"]}));
    ann.ask("enter_room", json!({"room": "garden"})).await;
    let change = watcher.until_type("room_update").await;
    assert_eq!(change["payload"], json!({"rooms": [{"name": "garden", "count": 1}], "removed": []}));
}

#[tokio::test]
async fn member_list_of_a_crowded_room_comes_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let _others = join_all((0..120).map(|_| Client::in_room_as_guest(&server, "hall".into()))).await;
    let mut ann = Client::connected(&server).await;
    let me = ann.ask("hello", json!({"protocol": 2})).await["user"]["id"].clone();
    assert_eq!(ann.refusal("members", json!({"room": "hall", "limit": 100})).await, "NOT_IN_ROOM");
    let entered = ann.ask("enter_room", json!({"room": "hall"})).await;
    assert_eq!((&entered["count"], &entered["crowded"], &entered["you"]["id"]), (&json!(121), &json!(true), &me));
    let first = entered["members"].as_array().unwrap();
    let ask = json!({"room": "hall", "after": entered["members_after"], "limit": 100});
    let page = ann.ask("members", ask).await;
    assert_eq!((&page["count"], page.get("members_after")), (&json!(121), None));
    let rest = page["members"].as_array().unwrap();
    let ids: BTreeSet<_> = first.iter().chain(rest).map(|user| user["id"].as_str().unwrap()).collect();
    assert_eq!((first.len(), rest.len(), ids.len()), (100, 21, 121));
    for limit in [0, 101] {
        assert_eq!(ann.refusal("members", json!({"room": "hall", "limit": limit})).await, "LIMIT_OUT_OF_RANGE");
    }
    let _late = join_all((0..2).map(|_| Client::in_room_as_guest(&server, "hall".into()))).await;
    ann.until(|frame| frame["type"] == "crowd" && frame["payload"]["count"] == 123).await;
    assert!(ann.skipped.iter().all(|frame| frame["type"] != "welcome"), "{:?}", ann.skipped);
}

#[tokio::test]
async fn lost_connection_departs_after_grace_period_and_leave_at_once() {
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
async fn ninth_connection_of_a_user_closes_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut first = Client::connected(&server).await;
    let token = first.ask("hello", json!({"protocol": 2})).await["resume"].clone();
    let mut others = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connected(&server).await;
        client.ask("hello", json!({"protocol": 2, "resume": token})).await;
        others.push(client);
    }
    assert_eq!(first.end().await, Received::Closed(4409));
    for client in &mut others {
        client.ask("ping", json!({})).await;
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("connections", 2).start();
    let mut first = Client::greeted(&server).await;
    let second = Client::greeted(&server).await;
    let mut third = Client::connected(&server).await;
    assert_eq!(third.end().await, Received::Closed(1013));
    drop(second);
    first.ask("ping", json!({})).await;
}

/// Posts 4,000 messages, a hundred at a time. Returns the latencies of the last of each hundred at the reader, in
/// microseconds.
async fn latencies(writer: &mut Client, reader: &mut Client, text: &str, after: u64) -> Vec<u64> {
    let mut latencies = Vec::new();
    for n in after + 1..=after + 4_000 {
        let posted = Instant::now();
        writer.command("new_message", json!({"room": "r", "key": fresh_key(), "text": text})).await;
        if n % 100 == 0 {
            reader.until(|frame| frame["payload"]["seq"] == n).await;
            latencies.push(posted.elapsed().as_micros() as u64);
            writer.until(|frame| frame["type"] == "new_message" && frame["payload"]["seq"] == n).await;
            writer.skipped.clear();
            reader.skipped.clear();
        }
    }
    latencies
}

#[tokio::test]
async fn stuck_reader_is_closed_without_delaying_others() {
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
    record_figures(
        "slow_reader.json",
        &json!({
            "others_wait_without_one_us_median": median(&mut alone),
            "others_wait_beside_one_us_median": median(&mut beside),
        }),
    );
    let end = stuck.end().await;
    assert_eq!(end, Received::Closed(4452));
    let seqs = stuck.skipped.iter().filter_map(|frame| frame["payload"]["seq"].as_u64()).filter(|seq| *seq > 4_000);
    assert!(seqs.zip(4_001..).all(|(seq, n)| seq == n), "there is no gap in what arrived");
}
