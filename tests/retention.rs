//! Messages that are older than the operator wants to keep.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

#[allow(dead_code, reason = "the tests of files use the rest")]
mod files {
    pub(crate) mod uploader;
}
mod support;

use std::sync::Arc;
use std::time::Duration;

use files::uploader::{Visitor, eventually};
use noom::protocol::{Position, Unrecovered};
use noom::server::call::ice::IceSettings;
use noom::server::config::LimitSettings;
use noom::server::environment::SystemEnvironment;
use noom::server::history::Extent;
use noom::server::hub::Hub;
use noom::server::name_key::RoomName;
use noom::server::retention::expire_before;
use noom::server::search::Query;
use noom::server::store::Store;
use serde_json::{Value, json};
use support::store::{bytes_of_messages, database, files_with, number, post_all, stop};
use support::{Client, Server, Setup, fresh_key};

const DAY_MS: u64 = 24 * 3_600 * 1_000;

async fn enter_after(client: &mut Client, epoch: &Value, seq: u64, rev: &Value) -> Value {
    let after = json!({"epoch": epoch, "seq": seq, "rev": rev});
    client.ask("enter_room", json!({"room": "garden", "after": after})).await
}

fn seqs(messages: &Value) -> Vec<u64> {
    messages.as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn old_messages_are_removed_with_all_that_belongs_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    let cookie = ann.cookie.clone();
    let me = ann.client.ask("enter_room", json!({"room": "garden"})).await["you"].clone();
    let mention = format!("@{} mistletoe", me["nickname"].as_str().unwrap());
    let file = ann.upload("mistletoe.txt", b"kept in mistletoe");
    for (text, more) in [
        ("mistletoe one", json!({})),
        ("mistletoe two", json!({})),
        (&mention, json!({"mentions": [me["id"]]})),
        ("a file", json!({"attachments": [file["id"]]})),
        ("rosemary", json!({})),
        ("rosemary again", json!({})),
    ] {
        let mut post = json!({"room": "garden", "key": fresh_key(), "text": text});
        post.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ann.client.ask("new_message", post).await;
    }
    let entered = ann.client.ask("enter_room", json!({"room": "garden"})).await;
    let target = |seq: u64| json!({"epoch": entered["epoch"], "seq": seq});
    let pin = json!({"room": "garden", "target": target(1), "on": true});
    ann.client.ask("pin_message", pin).await;
    ann.client.ask("react", json!({"room": "garden", "target": target(2), "emoji": "🌿", "on": true})).await;
    let changed = json!({"room": "garden", "target": target(2), "edits": 0, "text": "mistletoe three"});
    let rev = ann.client.ask("edit_message", changed).await["rev"].clone();
    let mut bob = Client::in_room(&server, "garden").await;
    bob.ask("keep_room", json!({"room": "garden", "on": true})).await;
    drop((ann, bob));
    server.terminate();
    server.wait();

    database(folder.path()).execute("UPDATE messages SET at = at - ?1 WHERE seq <= 4", [10 * DAY_MS as i64]).unwrap();
    database(folder.path()).execute("UPDATE memberships SET read = 0", []).unwrap();
    let setup = Setup::generous(folder.path()).variable("NOOM_MESSAGE_DAYS", "5");
    let mut server = setup.limit("collect_seconds", 1).start();
    eventually("old messages are gone", || number(&database(folder.path()), "SELECT floor FROM rooms") == 5).await;

    let mut ann = Client::with_cookie(&server, &cookie).await;
    ann.ask("hello", json!({"protocol": 2})).await;
    let expired = enter_after(&mut ann, &entered["epoch"], 3, &rev).await;
    assert_eq!((&expired["recovered"], &expired["reason"]), (&json!(false), &json!("EXPIRED")));
    assert_eq!((&expired["floor"], &expired["more"], &expired["changes"]), (&json!(5), &json!(false), &Value::Null));
    assert_eq!(seqs(&expired["messages"]), [5, 6]);
    let resumed = enter_after(&mut ann, &entered["epoch"], 5, &rev).await;
    assert_eq!(
        (&resumed["recovered"], &resumed["floor"], seqs(&resumed["messages"])),
        (&json!(true), &json!(5), vec![6])
    );
    // Nothing was missed: the expired messages had arrived.
    let resumed = enter_after(&mut ann, &entered["epoch"], 4, &rev).await;
    assert_eq!((&resumed["recovered"], seqs(&resumed["messages"])), (&json!(true), vec![5, 6]));

    let older = ann.ask("history", json!({"room": "garden", "before": 5, "limit": 50})).await;
    assert_eq!((seqs(&older["messages"]), &older["more"]), (vec![], &json!(false)));
    let older = ann.ask("history", json!({"room": "garden", "before": 6, "limit": 50})).await;
    assert_eq!((seqs(&older["messages"]), &older["more"]), (vec![5], &json!(false)));
    assert_eq!(ann.ask("pins", json!({"room": "garden"})).await["messages"], json!([]));
    let found = ann.ask("search", json!({"room": "garden", "text": "mistletoe", "limit": 50})).await;
    assert_eq!(found["found"], json!([]));
    let own = ann.ask("watch_my_rooms", json!({})).await;
    assert_eq!((&own["rooms"][0]["head"], &own["rooms"][0]["read"]), (&json!(6), &json!(4)));
    assert_eq!(own["rooms"][0].get("mentions").and_then(Value::as_u64).unwrap_or(0), 0);

    for (command, payload) in [
        ("react", json!({"room": "garden", "target": target(2), "emoji": "🌿", "on": true})),
        ("edit_message", json!({"room": "garden", "target": target(2), "edits": 1, "text": "again"})),
        ("delete_message", json!({"room": "garden", "target": target(2)})),
        ("new_message", json!({"room": "garden", "key": fresh_key(), "text": "yes", "reply_to": target(2)})),
    ] {
        assert_eq!(ann.refusal(command, payload).await, "MESSAGE_NOT_FOUND", "{command}");
    }
    assert_eq!(ann.post("garden", "rosemary last").await["seq"], 7);

    let export = server.get("/r/garden/export?format=jsonl").body;
    assert!(export.contains("rosemary last") && !export.contains("mistletoe"), "{export}");
    let html = server.get("/r/garden/export?format=html").body;
    assert!(html.contains("3 messages ·") && html.contains("rosemary last"), "{html}");
    let page = server.get("/r/garden").body;
    assert!(page.contains("have been deleted") && !page.contains("mistletoe"), "{page}");
    eventually("the file is gone", || files_with(&folder.path().join("files"), "mistletoe").is_empty()).await;
    drop(ann);
    server.terminate();
    server.wait();
    assert_eq!(files_with(folder.path(), "mistletoe"), [""; 0]);
    let database = database(folder.path());
    let names = number(&database, "SELECT octet_length(name) + octet_length(folded) + 100 FROM rooms");
    assert_eq!(number(&database, "SELECT bytes FROM rooms"), names + bytes_of_messages(&database));
}

#[tokio::test]
async fn rooms_of_any_size_are_emptied_and_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "first").unwrap());
    let limits = LimitSettings::default();
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    let workers = hub.spawn_workers();
    let mut rooms = Vec::new();
    // The index of the search has the first messages of the largest room, and none of the others.
    for (name, messages) in [("empty", 0), ("small", 3), ("large", 450), ("last", 1)] {
        let room = store.create_room(RoomName::parse(name).unwrap()).await.unwrap();
        post_all(&store, &room, (0..messages).map(|n| format!("lavender {n}"))).await;
        rooms.push((room, messages));
    }
    let indexed = || number(&database(folder.path()), "SELECT MAX(indexed) FROM rooms");
    eventually("some messages are indexed", || indexed() > 0).await;
    post_all(&store, &rooms[2].0, (0..50).map(|n| format!("lavender late {n}"))).await;
    rooms[2].1 += 50;

    assert_eq!(expire_before(&store, &hub, Duration::from_millis(1)).await, Ok(0), "nothing is that old");
    let later = Duration::from_hours(24 * 365 * 100);
    assert_eq!(expire_before(&store, &hub, later).await, Ok(504));
    assert_eq!(expire_before(&store, &hub, later).await, Ok(0));
    for (room, messages) in &rooms {
        assert_eq!(store.extent(room.clone()).await, Ok(Extent { floor: messages + 1, head: *messages }));
        let found = store.search(vec![room.clone()], Query::parse("lavender").unwrap(), None, 50).await.unwrap();
        assert_eq!((found.found.len(), found.before), (0, None));
        let after = |seq| Some(Position { epoch: "first".into(), seq, rev: 0 });
        let history = store.history_for(room.clone(), after(*messages)).await.unwrap();
        assert_eq!((history.recovered, history.messages.len(), history.more), (true, 0, false));
        let history = store.history_for(room.clone(), after(0)).await.unwrap();
        let reason = (*messages > 0).then_some(Unrecovered::Expired);
        assert_eq!((history.reason, history.messages.len(), history.more), (reason, 0, false));
        post_all(&store, room, ["thyme".to_owned()]).await;
        let (messages, more) = store.history_before(room.clone(), u64::MAX, 50).await.unwrap();
        assert_eq!((messages.len(), more), (1, false));
    }
    assert_eq!(store.usage().stored_bytes as i64, number(&database(folder.path()), "SELECT SUM(bytes) FROM rooms"));
    store.close();
    stop(workers).await;
    drop((hub, store));
    let database = database(folder.path());
    database.execute("INSERT INTO search (search) VALUES ('integrity-check')", []).unwrap();
    let names = number(&database, "SELECT SUM(octet_length(name) + octet_length(folded) + 100) FROM rooms");
    assert_eq!(number(&database, "SELECT SUM(bytes) FROM rooms"), names + bytes_of_messages(&database));
    assert_eq!(files_with(folder.path(), "lavender"), [""; 0]);
    let store = Store::open(folder.path(), "second").unwrap();
    assert_eq!(store.epoch(), "first", "the database has as many messages as were stored");
}

#[tokio::test]
async fn copies_of_expired_messages_in_free_space_are_removed_at_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noom.sqlite3");
    let store = Arc::new(Store::open(folder.path(), "first").unwrap());
    let limits = LimitSettings::default();
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    let workers = hub.spawn_workers();
    let room = store.create_room(RoomName::parse("r").unwrap()).await.unwrap();
    post_all(&store, &room, (0..40).map(|n| format!("lavender {n}"))).await;
    expire_before(&store, &hub, Duration::from_hours(24 * 365 * 100)).await.unwrap();
    store.close();
    stop(workers).await;
    drop((hub, store));
    // A copy that SQLite has left between the pointers and the cells of a page, as it does when it divides pages.
    let mut file = std::fs::read(&path).unwrap();
    let page = file.chunks_exact_mut(4_096).skip(1).find(|page| page[0] == 10 && page[5..7] == [16, 0]).unwrap();
    page[1_000..1_008].copy_from_slice(b"lavender");
    std::fs::write(&path, file).unwrap();
    assert_eq!(files_with(folder.path(), "lavender").len(), 1);
    Store::open(folder.path(), "first").unwrap().close();
    assert_eq!(files_with(folder.path(), "lavender"), [""; 0]);
}

#[tokio::test]
async fn room_that_cannot_be_emptied_does_not_hold_up_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "first").unwrap());
    let limits = LimitSettings::default();
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    hub.spawn_workers();
    let mut rooms = Vec::new();
    for name in ["a", "b"] {
        let room = store.create_room(RoomName::parse(name).unwrap()).await.unwrap();
        post_all(&store, &room, ["lavender".to_owned()]).await;
        rooms.push(room);
    }
    let damage =
        "CREATE TRIGGER damage BEFORE DELETE ON messages WHEN OLD.room = 1 BEGIN SELECT RAISE(ABORT, 'damaged'); END";
    database(folder.path()).execute_batch(damage).unwrap();
    let later = Duration::from_hours(24 * 365 * 100);
    assert!(expire_before(&store, &hub, later).await.is_err());
    assert_eq!(store.extent(rooms[0].clone()).await, Ok(Extent { floor: 1, head: 1 }));
    assert_eq!(store.extent(rooms[1].clone()).await, Ok(Extent { floor: 2, head: 1 }));
    database(folder.path()).execute_batch("DROP TRIGGER damage").unwrap();
    assert_eq!(expire_before(&store, &hub, later).await, Ok(1));
    store.close();
}

#[tokio::test]
async fn room_with_expired_messages_is_indexed_again_for_new_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "first").unwrap());
    let limits = LimitSettings::default();
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    let workers = hub.spawn_workers();
    let room = store.create_room(RoomName::parse("r").unwrap()).await.unwrap();
    post_all(&store, &room, (0..400).map(|n| format!("lavender {n}"))).await;
    database(folder.path()).execute("UPDATE messages SET at = 0 WHERE seq <= 100", []).unwrap();
    assert_eq!(expire_before(&store, &hub, Duration::from_millis(1)).await, Ok(100));
    store.close();
    stop(workers).await;
    drop((hub, store));
    database(folder.path()).execute("UPDATE search_version SET tokens = 0", []).unwrap();
    let store = Store::open(folder.path(), "first").unwrap();
    let rest = || number(&database(folder.path()), "SELECT head - indexed FROM rooms");
    eventually("the messages are indexed", || rest() < 128).await;
    let found = store.search(vec![room], Query::parse("lavender").unwrap(), None, 50).await.unwrap();
    assert_eq!(found.found.len(), 50);
    store.close();
    drop(store);
    database(folder.path()).execute("INSERT INTO search (search) VALUES ('integrity-check')", []).unwrap();
}
