//! Removing many messages at once: those of a user, and those of a room.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

#[allow(dead_code, reason = "the tests of files use the rest")]
mod files {
    pub(crate) mod uploader;
}
mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use files::uploader::{Visitor, eventually};
use noom::protocol::UserId;
use noom::server::call::ice::IceSettings;
use noom::server::config::LimitSettings;
use noom::server::environment::SystemEnvironment;
use noom::server::history::Extent;
use noom::server::hub::Hub;
use noom::server::hub::purger::{Pause, Purger};
use noom::server::name_key::RoomName;
use noom::server::store::Store;
use serde_json::{Value, json};
use support::store::{bytes_of_messages, database, files_with, number, post_all, stop};
use support::{Client, Server, Setup};

/// The messages of a room that are not deleted.
const LEFT: &str = "SELECT COUNT(*) FROM messages WHERE deleted_at IS NULL";
const PURGES: &str = "SELECT COUNT(*) FROM purges";

/// Runs `noom purge` with these arguments.
fn purge(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_noom"))
        .env("NOOM_CONFIG", support::project().join("Leptos.toml"))
        .env("NOOM_DATA_DIR", folder)
        .arg("purge")
        .args(arguments)
        .output()
        .unwrap()
}

/// The output of a `noom purge` that succeeds.
fn purged(folder: &Path, arguments: &[&str]) -> String {
    let output = purge(folder, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn states(history: &Value) -> Vec<(u64, bool)> {
    let state = |message: &Value| (message["seq"].as_u64().unwrap(), message["state"]["deleted_at"].is_u64());
    history["messages"].as_array().unwrap().iter().map(state).collect()
}

#[tokio::test]
async fn own_messages_are_deleted_for_everyone_with_all_that_belongs_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Setup::generous(folder.path()).limit("collect_seconds", 1).start();
    let mut ann = Visitor::enter(&server, "garden").await;
    let mut bob = Client::in_room(&server, "garden").await;
    let mut elsewhere = Visitor::again(&server, ann.cookie.clone(), "kitchen").await;
    elsewhere.client.post("kitchen", "rosemary").await;
    let file = ann.upload("mistletoe.txt", b"kept in mistletoe");
    ann.send("mistletoe file", &[&file]).await;
    ann.client.flood("garden", 120, "mistletoe").await;
    bob.post("garden", "rosemary").await;
    let entered = bob.ask("enter_room", json!({"room": "garden"})).await;
    let target = |seq: u64| json!({"epoch": entered["epoch"], "seq": seq});
    bob.ask("react", json!({"room": "garden", "target": target(5), "emoji": "🌿", "on": true})).await;
    bob.ask("pin_message", json!({"room": "garden", "target": target(6), "on": true})).await;
    let gone = json!({"room": "garden", "target": target(7)});
    ann.client.ask("delete_message", gone.clone()).await;

    ann.client.ask("delete_messages", json!({"room": "garden"})).await;
    ann.client.post("garden", "rosemary after it").await;
    // 121 messages of Ann, of which one had been deleted, and the changes before: 3.
    let last = bob.until(|frame| frame["type"] == "message_changed" && frame["payload"]["state"]["rev"] == 123).await;
    assert_eq!(last["payload"]["seq"], 1, "the newest are deleted first");
    let resumed = json!({"room": "garden", "after": {"epoch": entered["epoch"], "seq": 122, "rev": 3}});
    let resumed = ann.client.ask("enter_room", resumed).await;
    assert_eq!(resumed["changes"].as_array().map(Vec::len), Some(120));
    let history = bob.ask("history", json!({"room": "garden", "before": 124, "limit": 100})).await;
    let expected: Vec<_> = (24..124).map(|seq| (seq, seq < 122)).collect();
    assert_eq!(states(&history), expected);
    assert_eq!(bob.ask("pins", json!({"room": "garden"})).await["messages"], json!([]));
    let found = bob.ask("search", json!({"room": "garden", "text": "mistletoe", "limit": 50})).await;
    assert_eq!(found["found"], json!([]));
    assert_eq!(ann.read(&file).status, 404);
    assert_eq!(
        bob.refusal("react", json!({"room": "garden", "target": target(9), "emoji": "🌿", "on": true})).await,
        "MESSAGE_NOT_FOUND"
    );
    // Again, with nothing left but the message after it.
    ann.client.ask("delete_messages", json!({"room": "garden"})).await;
    eventually("the message after it is deleted", || number(&database(folder.path()), LEFT) == 2).await;
    eventually("the requests are finished", || number(&database(folder.path()), PURGES) == 0).await;
    let contents = folder.path().join("files");
    eventually("the content is collected", || files_with(&contents, "mistletoe").is_empty()).await;

    drop((ann, bob, elsewhere));
    server.terminate();
    server.wait();
    assert_eq!(files_with(folder.path(), "mistletoe"), [""; 0]);
    let database = database(folder.path());
    let names = number(&database, "SELECT SUM(octet_length(name) + octet_length(folded) + 100) FROM rooms");
    assert_eq!(number(&database, "SELECT SUM(bytes) FROM rooms"), names + bytes_of_messages(&database));
}

#[tokio::test]
async fn requested_deletion_goes_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "garden").await;
    ann.flood("garden", 130, "mistletoe").await;
    ann.ask("delete_messages", json!({"room": "garden"})).await;
    server.kill();
    assert_eq!((number(&database(folder.path()), PURGES), number(&database(folder.path()), LEFT) > 0), (1, true));
    let server = Server::generous(folder.path());
    let mut bob = Client::in_room(&server, "garden").await;
    bob.post("garden", "rosemary").await;
    eventually("all are deleted", || number(&database(folder.path()), LEFT) == 1).await;
    eventually("the request is finished", || number(&database(folder.path()), PURGES) == 0).await;
}

#[tokio::test]
async fn room_is_cleared_on_the_command_line_while_people_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let (mut ann, mut bob) = (Client::in_room(&server, "Garden").await, Client::in_room(&server, "kitchen").await);
    ann.flood("Garden", 250, "mistletoe").await;
    bob.post("kitchen", "rosemary").await;
    assert_eq!(purged(folder.path(), &["--room", "garden"]), "the messages in 1 room will be removed\n");
    ann.until(|frame| frame["type"] == "messages_expired" && frame["payload"]["floor"] == 251).await;
    assert_eq!(ann.post("Garden", "lavender").await["seq"], 251);
    let entered = ann.ask("enter_room", json!({"room": "Garden"})).await;
    assert_eq!(
        (states(&entered), &entered["more"], &entered["floor"]),
        (vec![(251, false)], &json!(false), &json!(251))
    );
    let position = json!({"epoch": entered["epoch"], "seq": 250, "rev": 0});
    let resumed = ann.ask("enter_room", json!({"room": "Garden", "after": position})).await;
    assert_eq!((&resumed["recovered"], states(&resumed)), (&json!(true), vec![(251, false)]));
    let position = json!({"epoch": entered["epoch"], "seq": 249, "rev": 0});
    let resumed = ann.ask("enter_room", json!({"room": "Garden", "after": position})).await;
    assert_eq!(resumed["reason"], "EXPIRED");
    assert_eq!(purged(folder.path(), &["--room", "garden"]), "the messages in 1 room will be removed\n");
    ann.until(|frame| frame["type"] == "messages_expired" && frame["payload"]["floor"] == 252).await;
    assert_eq!(purged(folder.path(), &["--room", "garden"]), "there are no such messages\n");
    drop((ann, bob));
    server.terminate();
    server.wait();
    assert_eq!(files_with(folder.path(), "mistletoe"), [""; 0]);
    assert_eq!(number(&database(folder.path()), LEFT), 1);
}

#[tokio::test]
async fn messages_of_a_user_are_deleted_in_all_rooms_or_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "garden").await;
    let me = ann.ask("enter_room", json!({"room": "garden"})).await["you"]["id"].as_str().unwrap().to_owned();
    ann.ask("enter_room", json!({"room": "kitchen"})).await;
    let mut bob = Client::in_room(&server, "kitchen").await;
    for room in ["garden", "kitchen"] {
        ann.post(room, "mistletoe").await;
    }
    bob.post("kitchen", "rosemary").await;
    assert_eq!(
        purged(folder.path(), &["--room", "kitchen", "--user", &me]),
        "the messages in 1 room will be removed\n"
    );
    let changed = bob.until_type("message_changed").await;
    assert_eq!((&changed["payload"]["seq"], changed["payload"]["state"]["deleted_at"].is_u64()), (&json!(1), true));
    drop((ann, bob));
    server.terminate();
    server.wait();

    // Before the next start. In the kitchen there is a message of the user, which was deleted.
    assert_eq!(number(&database(folder.path()), LEFT), 2);
    assert_eq!(purged(folder.path(), &["--user", &me]), "the messages in 2 rooms will be removed\n");
    assert_eq!(purged(folder.path(), &["--user", "00000000000000ff"]), "there are no such messages\n");
    let server = Server::generous(folder.path());
    eventually("the message is deleted", || number(&database(folder.path()), LEFT) == 1).await;
    eventually("the requests are finished", || number(&database(folder.path()), PURGES) == 0).await;
    drop(server);
}

#[tokio::test]
async fn deletion_that_cannot_be_requested_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "garden").await;
    ann.post("garden", "rosemary").await;
    let mut bob = Client::greeted(&server).await;
    let room = json!({"room": ann.room_id("garden")});
    assert_eq!(bob.refusal("delete_messages", room).await, "NOT_IN_ROOM");
    bob.ask("enter_room", json!({"room": "garden"})).await;
    bob.ask("delete_messages", json!({"room": "garden"})).await;
    let not_exported = tempfile::tempdir().unwrap();
    for (folder, arguments, reason) in [
        (folder.path(), [].as_slice(), "--room"),
        (folder.path(), &["--room", "attic"], "there is no room"),
        (folder.path(), &["--room", "\u{202e}"], "there is no room"),
        (folder.path(), &["--user", "Ann"], "--user"),
        (not_exported.path(), &["--room", "garden"], "there is no database"),
    ] {
        let output = purge(folder, arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(reason), "{arguments:?}: {error}");
    }
    let form = server.post("/api/delete_own", &server.get("/").cookie(), "room=nowhere");
    assert_eq!((form.status, form.header("location")), (303, "/r/nowhere"));
    eventually("the requests are finished", || number(&database(folder.path()), PURGES) == 0).await;
    assert_eq!(number(&database(folder.path()), LEFT), 1);
}

/// Carries out all purges, without the pauses in which other writes have their turn.
async fn purge_all(hub: &Hub, folder: &Path) {
    let mut purger = Purger::default();
    while number(&database(folder), PURGES) > 0 {
        if let Pause::Idle(pause) = purger.step(hub).await.unwrap() {
            tokio::time::sleep(pause).await;
        }
    }
}

#[tokio::test]
async fn large_and_small_purges_take_turns_and_later_requests_only_concern_later_messages() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "first").unwrap());
    let limits = LimitSettings::default();
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    let workers = hub.spawn_workers();
    let mut rooms = Vec::new();
    for name in ["a", "b", "c"] {
        let room = store.create_room(RoomName::parse(name).unwrap()).await.unwrap();
        let count = if name == "c" { 3 } else { 430 };
        post_all(&store, &room, (0..count).map(|n| n.to_string())).await;
        rooms.push(room);
    }
    hub.request_purge(&rooms[1], UserId(1)).await.unwrap();
    hub.request_purge(&rooms[1], UserId(2)).await.unwrap();
    hub.request_purge(&rooms[2], UserId(1)).await.unwrap();
    let mut purger = Purger::default();
    let left = |room: i64| number(&database(folder.path()), &format!("{LEFT} AND room = {room}"));
    while left(3) > 0 {
        if let Pause::Idle(pause) = purger.step(&hub).await.unwrap() {
            tokio::time::sleep(pause).await;
        }
    }
    assert!(left(2) >= 330, "the small one does not wait for the large one: {}", left(2));
    // The request is there already, until there are later messages.
    hub.request_purge(&rooms[1], UserId(1)).await.unwrap();
    post_all(&store, &rooms[1], ["more".into()]).await;
    hub.request_purge(&rooms[1], UserId(1)).await.unwrap();
    let ranges = "SELECT group_concat(above || '-' || up_to) FROM purges WHERE room = 2 AND user = 1 AND above > 0";
    let ranges: String = database(folder.path()).query_row(ranges, [], |row| row.get(0)).unwrap();
    assert_eq!(ranges, "430-431");
    post_all(&store, &rooms[1], ["later".into()]).await;
    purge_all(&hub, folder.path()).await;
    assert_eq!([1, 2, 3].map(left), [430, 1, 0]);
    assert_eq!(number(&database(folder.path()), "SELECT rev FROM rooms WHERE name = 'b'"), 431);
    assert_eq!(store.extent(rooms[1].clone()).await, Ok(Extent { floor: 1, head: 432 }));
    store.close();
    stop(workers).await;
}

#[tokio::test]
async fn step_of_a_purge_is_small_however_long_the_messages_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "first").unwrap());
    let limits = LimitSettings::default();
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    let workers = hub.spawn_workers();
    let room = store.create_room(RoomName::parse("a").unwrap()).await.unwrap();
    post_all(&store, &room, (0..60).map(|_| "가".repeat(4_000))).await;
    hub.request_purge(&room, UserId(1)).await.unwrap();
    let (mut purger, mut steps) = (Purger::default(), Vec::new());
    let mut before = number(&database(folder.path()), LEFT);
    while steps.len() < 3 {
        if let Pause::Idle(pause) = purger.step(&hub).await.unwrap() {
            tokio::time::sleep(pause).await;
        }
        let left = number(&database(folder.path()), LEFT);
        steps.extend(Some(before - left).filter(|deleted| *deleted > 0));
        before = left;
    }
    assert_eq!(steps, [5, 5, 5], "messages of 12 KB");
    store.close();
    stop(workers).await;
}

#[tokio::test]
async fn message_that_cannot_be_deleted_holds_up_neither_older_ones_nor_other_purges() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "first").unwrap());
    let limits = LimitSettings::default();
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    let workers = hub.spawn_workers();
    for name in ["a", "b"] {
        let room = store.create_room(RoomName::parse(name).unwrap()).await.unwrap();
        // The last message is alone in its step, because the one before it is long.
        let text = |n: u64| if n == 118 { "가".repeat(30_000) } else { n.to_string() };
        post_all(&store, &room, (0..120).map(text)).await;
        hub.request_purge(&room, UserId(1)).await.unwrap();
    }
    let damage = "CREATE TRIGGER damage BEFORE UPDATE ON messages WHEN OLD.room = 1 AND OLD.seq IN (40, 120) \
         BEGIN SELECT RAISE(ABORT, 'damaged'); END";
    database(folder.path()).execute_batch(damage).unwrap();
    let mut purger = Purger::default();
    loop {
        match purger.step(&hub).await.unwrap() {
            // Longer than between two steps: only the one that has failed is left.
            Pause::Idle(pause) if pause > Duration::from_secs(1) => break,
            Pause::Idle(pause) => tokio::time::sleep(pause).await,
            Pause::Needed(_) => {}
        }
    }
    assert_eq!((number(&database(folder.path()), LEFT), number(&database(folder.path()), PURGES)), (2, 1));
    database(folder.path()).execute_batch("DROP TRIGGER damage").unwrap();
    purge_all(&hub, folder.path()).await;
    assert_eq!(number(&database(folder.path()), LEFT), 0);
    store.close();
    stop(workers).await;
}
