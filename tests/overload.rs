//! Overload: thousands of arrivals at once, and a graceful shutdown in the middle.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

mod support;

use std::collections::BTreeSet;
use std::time::Instant;

use futures::future::join_all;
use serde_json::json;
use support::{Client, Received, Server, fresh_key, record_figures};

const CROWD: usize = 5_000;
const ROOMS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_arrivals_are_answered_and_drained() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let room = |n: usize| format!("room {}", n % ROOMS);
    // The rooms exist before the crowd arrives.
    let mut host = Client::greeted(&server).await;
    for n in 0..ROOMS {
        host.ask("enter_room", json!({"room": room(n)})).await;
    }
    let began = Instant::now();
    let arrivals = (0..CROWD).map(|n| Client::in_room_as_guest(&server, room(n)));
    let mut crowd: Vec<_> = join_all(arrivals.map(tokio::spawn)).await.into_iter().map(Result::unwrap).collect();
    // Each client posts, and the shutdown begins before it is answered.
    for (n, client) in crowd.iter_mut().enumerate() {
        client.command("new_message", json!({"room": room(n), "key": fresh_key(), "text": n.to_string()})).await;
    }
    let arrived = began.elapsed();
    server.terminate();
    let began = Instant::now();
    let ends = join_all(crowd.into_iter().map(|mut client| {
        tokio::spawn(async move {
            let end = client.end().await;
            (client, end)
        })
    }));
    let mut answered = 0;
    let mut pauses = BTreeSet::new();
    for end in ends.await {
        let (client, end) = end.unwrap();
        assert_eq!(end, Received::Closed(1012));
        let away = client.skipped.iter().find(|frame| frame["type"] == "going_away").expect("told when to come back");
        pauses.insert(away["payload"]["reconnect_in_ms"].as_u64().unwrap());
        answered +=
            client.skipped.iter().filter(|frame| frame["type"] == "ack" && !frame["payload"]["seq"].is_null()).count();
    }
    assert_eq!(server.wait().code(), Some(0));
    record_figures(
        "crowd.json",
        &json!({
            "connections": CROWD,
            "arrived_within_ms": arrived.as_millis() as u64,
            "drained_within_ms": began.elapsed().as_millis() as u64,
            "different_pauses": pauses.len(),
        }),
    );
    // 5,000 clients reconnect over 5.5 s, not all at once.
    assert!(pauses.len() > 2_000 && *pauses.last().unwrap() > 4_000, "{} different pauses", pauses.len());

    // Every acknowledged message is stored.
    let server = Server::generous(folder.path());
    let mut reader = Client::greeted(&server).await;
    let mut stored = 0;
    for n in 0..ROOMS {
        stored += reader.ask("enter_room", json!({"room": room(n)})).await["head"].as_u64().unwrap() as usize;
    }
    assert!(answered > 0 && answered <= stored && stored <= CROWD, "{answered} acknowledged, {stored} stored");
}
