//! Forty people behind one address.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::json;

use crate::start;
use crate::support::{Client, Received, Server};

const PEOPLE: usize = 40;
/// The files of a page, and its icon.
const FILES: usize = 8;

/// One person: reads the lobby and the room's page, connects, takes a name, enters, and talks.
async fn arrive(server: Arc<Server>, n: usize, cookie: Option<String>) -> (Client, String) {
    let server = &*server;
    let room = "lesson";
    let known = cookie.clone().unwrap_or_default();
    let page = tokio::task::block_in_place(|| server.request("GET", "/", &format!("Cookie: {known}\r\n")));
    assert_eq!(page.status, 200);
    let cookie = cookie.unwrap_or_else(|| page.cookie());
    assert!(!cookie.is_empty(), "person {n} is known from now on");
    let headers = format!("Cookie: {cookie}\r\n");
    tokio::task::block_in_place(|| {
        assert_eq!(server.request("GET", &format!("/r/{room}"), &headers).status, 200);
        for file in 0..FILES {
            assert_eq!(server.request("GET", &format!("/pkg/{file}"), &headers).status, 404);
        }
    });
    // Some networks block WebSocket.
    let mut client = match n % 4 {
        0 => Client::over_events(server, &cookie).await,
        _ => Client::with_cookie(server, &cookie).await,
    };
    client.ask("hello", json!({"protocol": 2})).await;
    client.ask("watch_rooms", json!({})).await;
    client.ask("unwatch_rooms", json!({})).await;
    client.ask("nickname", json!({"nickname": format!("Person {n}")})).await;
    client.ask("enter_room", json!({"room": room})).await;
    // A room of their own, too.
    client.ask("enter_room", json!({"room": format!("group {n}")})).await;
    client.ask("leave_room", json!({"room": format!("group {n}")})).await;
    for text in ["Hello!", "I am here."] {
        client.ask("typing", json!({"room": room})).await;
        client.post(room, text).await;
    }
    client.ask("history", json!({"room": room, "before": 50, "limit": 50})).await;
    (client, cookie)
}

/// All at once, which is harder than within a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forty_people_who_arrive_behind_one_address_meet_no_limit() {
    let folder = tempfile::tempdir().unwrap();
    let server = Arc::new(start(&folder));
    let arrive_all = async |cookies: Vec<Option<String>>| {
        let people = cookies.into_iter().enumerate().map(|(n, cookie)| tokio::spawn(arrive(server.clone(), n, cookie)));
        join_all(people).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let people = arrive_all(vec![None; PEOPLE]).await;
    // The network of the school drops all connections, and everyone comes back.
    let people = arrive_all(people.into_iter().map(|(_, cookie)| Some(cookie)).collect()).await;
    let mut people: Vec<_> = people.into_iter().map(|(person, _)| person).collect();
    let last = people[0].post("lesson", "That is all of us.").await;
    assert_eq!(last["seq"], 2 * 2 * PEOPLE + 1);
    for person in &mut people {
        loop {
            match person.receive().await {
                Received::Frame(frame) if frame["payload"]["seq"] == last["seq"] => break,
                Received::Frame(frame) => assert_ne!(frame["type"], "error", "{frame}"),
                end => panic!("{end:?}"),
            }
        }
        assert!(person.skipped.iter().all(|frame| frame["type"] != "error"));
    }
}
