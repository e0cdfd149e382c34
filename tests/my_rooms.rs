//! The lists of users' own rooms, over real sockets and in the real store.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Client, Server, Setup, fresh_key};

/// A client that watches the list of its user's rooms, and the list. `cookie`: the user.
async fn watching(server: &Server, cookie: &str) -> (Client, Value) {
    let mut client = Client::with_cookie(server, cookie).await;
    client.ask("hello", json!({"protocol": 2})).await;
    let list = client.ask("watch_my_rooms", json!({})).await;
    (client, list["rooms"].clone())
}

/// The list once the user is told of this room in this state. `None`: it was removed.
async fn told(client: &mut Client, name: &str, state: Option<(u64, u64)>) {
    let expected = state.map(|(head, read)| json!({"name": name, "head": head, "read": read}));
    let is_it = |frame: &Value| {
        let (rooms, removed) = (&frame["payload"]["rooms"], &frame["payload"]["removed"]);
        let has = |list: &Value, item: &Value| list.as_array().is_some_and(|list| list.contains(item));
        frame["type"] == "my_rooms_changed"
            && expected.as_ref().map_or_else(|| has(removed, &json!(name)), |expected| has(rooms, expected))
    };
    if !client.skipped.iter().any(is_it) {
        client.until(is_it).await;
    }
}

fn new_visitor(server: &Server) -> String {
    server.get("/").cookie()
}

#[tokio::test]
async fn room_is_listed_after_the_first_post_and_counts_what_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = new_visitor(&server);
    let (mut ann, list) = watching(&server, &cookie).await;
    assert_eq!(list, json!([]));
    ann.ask("enter_room", json!({"room": "a"})).await;
    ann.ask("enter_room", json!({"room": "b"})).await;
    ann.post("a", "mine").await;
    told(&mut ann, "a", Some((1, 1))).await;
    ann.ask("leave_room", json!({"room": "a"})).await;

    let mut ben = Client::in_room(&server, "a").await;
    ben.post("a", "one").await;
    ben.post("a", "two").await;
    told(&mut ann, "a", Some((3, 1))).await;
    // Ann's other device sees the same, and what the first one reads.
    let (mut phone, list) = watching(&server, &cookie).await;
    assert_eq!(list, json!([{"name": "a", "head": 3, "read": 1}]), "a room that was only looked at is not listed");
    let entered = phone.ask("enter_room", json!({"room": "a"})).await;
    let target = json!({"epoch": entered["epoch"], "seq": 2});
    assert_eq!(phone.ask("mark_read", json!({"room": "a", "target": target})).await, json!({}));
    told(&mut ann, "a", Some((3, 2))).await;
}

#[tokio::test]
async fn list_and_marks_survive_a_restart_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let cookie = new_visitor(&server);
    let (mut ann, _) = watching(&server, &cookie).await;
    let mut ben = Client::in_room(&server, "a").await;
    for text in ["one", "two", "three"] {
        ben.post("a", text).await;
    }
    let entered = ann.ask("enter_room", json!({"room": "a"})).await;
    ann.ask("keep_room", json!({"room": "a", "on": true})).await;
    ben.post("a", "four").await;
    ben.post("a", "five").await;
    let target = json!({"epoch": entered["epoch"], "seq": 4});
    ann.ask("mark_read", json!({"room": "a", "target": target})).await;
    server.terminate();
    assert!(server.wait().success());

    let server = Server::generous(folder.path());
    let (mut ann, list) = watching(&server, &cookie).await;
    assert_eq!(list, json!([{"name": "a", "head": 5, "read": 4}]));
    let page = server.request("GET", "/", &format!("Cookie: {cookie}\r\n"));
    assert!(page.body.contains(">a<"), "{}", page.body);
    ann.ask("keep_room", json!({"room": "a", "on": false})).await;
    told(&mut ann, "a", None).await;
    let (_, list) = watching(&server, &cookie).await;
    assert_eq!(list, json!([]));
}

#[tokio::test]
async fn post_by_a_form_adds_the_room_to_the_next_page() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let cookie = new_visitor(&server);
    let form = format!("room=book+club&key={}&text=hello", fresh_key());
    assert_eq!(server.post("/api/post", &cookie, &form).status, 303);
    let (_, list) = watching(&server, &cookie).await;
    assert_eq!(list, json!([{"name": "book club", "head": 1, "read": 1}]));
}

#[tokio::test]
async fn bad_commands_about_own_rooms_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, _) = watching(&server, &new_visitor(&server)).await;
    let target = json!({"epoch": "e", "seq": 1});
    assert_eq!(ann.refusal("mark_read", json!({"room": "a", "target": target})).await, "NOT_IN_ROOM");
    assert_eq!(ann.refusal("keep_room", json!({"room": "a", "on": true})).await, "NOT_IN_ROOM");
    assert_eq!(ann.answer("keep_room", json!({"room": "a", "on": false})).await["type"], "ack");
    ann.ask("enter_room", json!({"room": "a"})).await;
    assert_eq!(ann.refusal("mark_read", json!({"room": "a", "target": target})).await, "EPOCH_CHANGED");
}

/// A database of the version before lists of rooms.
fn earlier(folder: &Path) {
    let database = rusqlite::Connection::open(folder.join("noom.sqlite3")).unwrap();
    for migration in ["1-rooms", "2-mark", "3-usage", "4-changes"] {
        let file = support::project().join(format!("migrations/{migration}.sql"));
        database.execute_batch(&std::fs::read_to_string(file).unwrap()).unwrap();
    }
    database.execute_batch("PRAGMA user_version = 4; INSERT INTO history VALUES ('e');").unwrap();
    let user = 7_i64;
    database.execute("INSERT INTO rooms (id, name, folded, head, created_at) VALUES (1, 'a', 'a', 2, 0)", []).unwrap();
    for seq in 1..=2 {
        let insert =
            "INSERT INTO messages (room, seq, user, key, nickname, text, at) VALUES (1, ?1, ?2, ?3, 'Ann', 'x', 0)";
        database.execute(insert, rusqlite::params![seq, user, [seq as u8; 16]]).unwrap();
    }
}

#[tokio::test]
async fn authors_in_an_earlier_database_have_their_rooms_and_nothing_unread() {
    let folder = tempfile::tempdir().unwrap();
    earlier(folder.path());
    let server = Setup::in_folder(folder.path()).start();
    drop(server);
    let database = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let found = database.query_row("SELECT user, room, read FROM memberships", [], row).unwrap();
    assert_eq!(found, (7, 1, 2));
}

#[tokio::test]
async fn mentions_are_counted_until_they_are_read_edited_away_or_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let cookie = new_visitor(&server);
    let (mut ann, _) = watching(&server, &cookie).await;
    ann.ask("nickname", json!({"nickname": "Ann"})).await;
    let entered = ann.ask("enter_room", json!({"room": "a"})).await;
    let id = entered["members"][0]["id"].clone();
    // Only those can be mentioned in their absence who have written in the room.
    ann.post("a", "hello").await;
    ann.ask("keep_room", json!({"room": "a", "on": true})).await;
    ann.ask("leave_room", json!({"room": "a"})).await;
    let mut ben = Client::connected(&server).await;
    ben.ask("hello", json!({"protocol": 2})).await;
    ben.ask("enter_room", json!({"room": "a"})).await;
    let target = |seq: u64| json!({"epoch": entered["epoch"], "seq": seq});
    let edit = |seq: u64, edits: u64, text: &str| json!({"room": "a", "target": target(seq), "edits": edits, "text": text, "mentions": [id]});
    let post = |text: &str, ids: &[&Value]| json!({"room": "a", "key": fresh_key(), "text": text, "mentions": ids});
    let state = |head: u64, read: u64, mentions: u64| {
        let mut room = json!({"name": "a", "head": head, "read": read});
        if mentions > 0 {
            room["mentions"] = json!(mentions);
        }
        room
    };
    let told = async |ann: &mut Client, room: Value| {
        let has_it = |frame: &Value| frame["payload"]["rooms"].as_array().is_some_and(|rooms| rooms.contains(&room));
        ann.until(has_it).await;
    };

    ben.ask("new_message", post("@Ann, one", &[&id])).await;
    told(&mut ann, state(2, 1, 1)).await;
    let received = ben.until_type("new_message").await["payload"].clone();
    assert_eq!(received["mentions"], json!([{"id": id, "nickname": "Ann"}]));
    ben.ask("new_message", post("two", &[])).await;
    ben.ask("edit_message", edit(3, 0, "@Annie and @Ann, two")).await;
    told(&mut ann, state(3, 1, 2)).await;
    ben.ask("delete_message", json!({"room": "a", "target": target(2)})).await;
    told(&mut ann, state(3, 1, 1)).await;
    ben.ask("edit_message", edit(3, 1, "two")).await;
    told(&mut ann, state(3, 1, 0)).await;
    let stranger = json!("0123456789abcdef");
    for (text, ids) in [("@nobody", [&stranger]), ("Ann", [&id])] {
        ben.ask("new_message", post(text, &ids)).await;
    }
    ben.ask("new_message", post("@Ann, five", &[&id, &id, &stranger])).await;
    told(&mut ann, state(6, 1, 1)).await;
    let history = ben.ask("history", json!({"room": "a", "before": 99, "limit": 9})).await;
    let mentions: Vec<_> =
        history["messages"].as_array().unwrap().iter().map(|message| message.get("mentions").is_some()).collect();
    assert_eq!(mentions, [false, false, false, false, false, true]);

    server.terminate();
    server.wait();
    let server = Server::generous(folder.path());
    let (mut ann, list) = watching(&server, &cookie).await;
    assert_eq!(list, json!([state(6, 1, 1)]));
    ann.ask("enter_room", json!({"room": "a"})).await;
    ann.ask("mark_read", json!({"room": "a", "target": target(6)})).await;
    told(&mut ann, state(6, 6, 0)).await;
}
