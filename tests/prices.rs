//! Prices: each command and request is paid by its user and its address. A stranger at the highest rate that the limits
//! allow costs ordinary people nothing, and ordinary people meet no limit.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;
mod prices {
    mod hostile;
    mod school;
}

use std::time::Instant;

use futures::future::join_all;
use serde_json::{Value, json};
use support::{Client, Received, Server, Setup, fresh_key};

/// A server with the default limits.
fn start(folder: &tempfile::TempDir) -> Server {
    Setup::in_folder(folder.path()).start()
}

/// Sends a command this many times without waiting, and returns the codes of the answers; an empty one for an `ack`.
async fn codes(client: &mut Client, count: usize, kind: &str, payload: impl Fn() -> Value) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(client.command(kind, payload()).await);
    }
    let mut codes = Vec::new();
    for id in ids {
        // An ack comes after the commit, and a refusal at once: a later command may be answered first.
        let early = client.skipped.iter().position(|frame| frame["id"] == id);
        let answer = match early {
            Some(index) => client.skipped.remove(index),
            None => client.until(|frame| frame["id"] == id).await,
        };
        codes.push(answer["payload"]["code"].as_str().unwrap_or_default().to_owned());
    }
    codes
}

#[tokio::test]
async fn refused_message_costs_as_much_as_stored_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    for (code, message) in [
        ("NOT_IN_ROOM", json!({"room": "other", "key": fresh_key(), "text": "x"})),
        ("TEXT_EMPTY", json!({"room": "r", "key": fresh_key(), "text": " "})),
        ("KEY_INVALID", json!({"room": "r", "key": "7", "text": "x"})),
    ] {
        let mut client = Client::in_room(&server, "r").await;
        let began = Instant::now();
        let codes = codes(&mut client, 60, "new_message", || message.clone()).await;
        // The burst, and what the rate adds while they are sent.
        let at_most = 20 + began.elapsed().as_secs() as usize * 5 + 5;
        let refused = codes.iter().filter(|answer| *answer == code).count();
        assert!((20..=at_most).contains(&refused), "{code}: {refused} of {}", codes.len());
        assert_eq!(codes.iter().filter(|code| *code == "RATE_LIMITED").count(), 60 - refused, "{code}");
    }
}

#[tokio::test]
async fn client_that_ignores_refusals_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    let mut witness = Client::in_room(&server, "r").await;
    let post = || json!({"room": "not entered", "key": fresh_key(), "text": "x"});
    for (kind, payload) in [("ping", &(|| json!({})) as &dyn Fn() -> Value), ("new_message", &post)] {
        let mut client = Client::greeted(&server).await;
        let began = Instant::now();
        for _ in 0..1_000 {
            client.command(kind, payload()).await;
        }
        assert_eq!(client.end().await, Received::Closed(4429), "{kind}");
        let seconds = began.elapsed().as_secs() as usize + 1;
        let limited = client.skipped.iter().filter(|frame| frame["payload"]["code"] == "RATE_LIMITED").count();
        assert!((100..=101 + seconds * 5).contains(&limited), "{kind}: {limited}");
    }
    witness.post("r", "still here").await;
}

#[tokio::test]
async fn user_without_joins_can_still_leave_and_post() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("joins_per_minute", 2).start();
    let mut client = Client::in_room(&server, "r").await;
    client.ask("enter_room", json!({"room": "s"})).await;
    assert_eq!(client.refusal("enter_room", json!({"room": "t"})).await, "RATE_LIMITED");
    client.ask("leave_room", json!({"room": "s"})).await;
    client.post("r", "messages have a budget of their own").await;
}

#[tokio::test]
async fn renames_reach_others_at_a_bounded_rate() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    let (mut bob, mut ann) = (Client::in_room(&server, "r").await, Client::in_room(&server, "r").await);
    let began = Instant::now();
    let mut n = 0;
    for _ in 0..100 {
        n += 1;
        ann.answer("nickname", json!({"nickname": format!("Ann {n}")})).await;
    }
    bob.ask("ping", json!({})).await;
    let heard = bob.skipped.iter().filter(|frame| frame["type"] == "nickname").count();
    let at_most = 12 + began.elapsed().as_secs() as usize + 1;
    assert!((1..=at_most).contains(&heard), "{heard}");
}

#[tokio::test]
async fn many_users_at_one_address_share_its_budgets() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    let began = Instant::now();
    let posting = (0..30).map(|_| {
        let arriving = Client::in_room_as_guest(&server, "r".to_owned());
        tokio::spawn(async move {
            let message = || json!({"room": "r", "key": fresh_key(), "text": "x"});
            let codes = codes(&mut arriving.await, 20, "new_message", message).await;
            codes.iter().filter(|code| code.is_empty()).count()
        })
    });
    let stored: usize = join_all(posting).await.into_iter().map(Result::unwrap).sum();
    let at_most = 200 + (began.elapsed().as_secs() as usize + 1) * 50;
    assert!((200..=at_most).contains(&stored), "{stored} of 600");
}

#[test]
fn requests_above_the_limit_wait_and_then_say_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("requests_per_second", 1).limit("request_burst", 2).start();
    let statuses = std::thread::scope(|scope| {
        let requests: Vec<_> =
            (0..12).map(|_| scope.spawn(|| server.request("GET", "/robots.txt", "Accept-Language: ko\r\n"))).collect();
        requests.into_iter().map(|request| request.join().unwrap()).collect::<Vec<_>>()
    });
    let (fine, refused): (Vec<_>, Vec<_>) = statuses.into_iter().partition(|answer| answer.status == 200);
    // Two at once, and one for each second of the longest wait.
    assert!((5..12).contains(&fine.len()), "{}", fine.len());
    for answer in refused {
        assert_eq!(answer.status, 429);
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!(answer.body.contains(&format!("{seconds}초")), "{}", answer.body);
    }
}
