//! Edits, deletions, reactions and replies, over real sockets and in the real store.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use noom::protocol::{Message, MessageChange, MessageKey, Position, User, UserId};
use noom::server::StartError;
use noom::server::change::{Candidate, Change, ChangeError, Changed};
use noom::server::id::RoomRow;
use noom::server::name_key::RoomName;
use noom::server::store::{Append, ChangeRequest, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Client, Server, fresh_key};
use tokio::sync::oneshot;

/// A client in the room "r", and the answer to its `enter_room`.
async fn in_room(server: &Server, after: Option<&Value>) -> (Client, Value) {
    let mut client = Client::connected(server).await;
    client.ask("hello", json!({"protocol": 2})).await;
    let enter = after.map_or_else(|| json!({"room": "r"}), |after| json!({"room": "r", "after": after}));
    let entered = client.ask("enter_room", enter).await;
    (client, entered)
}

fn target(entered: &Value, seq: u64) -> Value {
    json!({"epoch": entered["epoch"], "seq": seq})
}

async fn react(client: &mut Client, target: &Value, emoji: &str, on: bool) -> Value {
    client.ask("react", json!({"room": "r", "target": target, "emoji": emoji, "on": on})).await
}

/// The payloads of `message_changed` so far, up to the one with this `rev`.
async fn changes(client: &mut Client, rev: u64) -> Vec<Value> {
    let is_change = |frame: &Value| frame["type"] == "message_changed";
    let is_last = |frame: &Value| is_change(frame) && frame["payload"]["state"]["rev"] == rev;
    if !client.skipped.iter().any(is_last) {
        let last = client.until(is_last).await;
        client.skipped.push(last);
    }
    client.skipped.iter().filter(|frame| is_change(frame)).map(|frame| frame["payload"].clone()).collect()
}

async fn history(client: &mut Client) -> Vec<Value> {
    let page = client.ask("history", json!({"room": "r", "before": 1_000, "limit": 100})).await;
    page["messages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn changes_reach_everyone_in_the_room_and_those_who_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, entered) = in_room(&server, None).await;
    let (mut ben, _) = in_room(&server, None).await;
    for text in ["one", "two"] {
        ann.post("r", text).await;
    }
    let first = target(&entered, 1);
    let edit = json!({"room": "r", "target": first, "edits": 0, "text": "uno"});
    assert_eq!(ann.ask("edit_message", edit.clone()).await, json!({"room": "r", "seq": 1, "rev": 1}));
    assert_eq!(ann.ask("edit_message", edit).await["rev"], 1, "the same edit again has no effect");
    assert_eq!(react(&mut ben, &first, "👍", true).await["rev"], 2);
    assert_eq!(react(&mut ben, &first, "👍", true).await["rev"], 2);
    assert_eq!(react(&mut ann, &first, "👍", true).await["rev"], 3);
    assert_eq!(react(&mut ben, &first, "👍", false).await["rev"], 4);
    let delete = json!({"room": "r", "target": target(&entered, 2)});
    assert_eq!(ann.ask("delete_message", delete.clone()).await["rev"], 5);
    assert_eq!(ann.ask("delete_message", delete).await["rev"], 5);

    let received = changes(&mut ben, 5).await;
    let revs: Vec<_> = received.iter().map(|change| change["state"]["rev"].as_u64().unwrap()).collect();
    assert_eq!(revs, [1, 2, 3, 4, 5]);
    assert_eq!((&received[0]["text"], &received[0]["state"]["edits"]), (&json!("uno"), &json!(1)));
    assert_eq!(received[2]["state"]["reactions"][0]["count"], 2);
    assert!(received[2].get("text").is_none(), "a reaction does not repeat the text");
    assert!(received[4]["state"]["deleted_at"].is_u64());

    let (mut late, entered) = in_room(&server, None).await;
    assert_eq!(entered["rev"], 5);
    let messages = entered["messages"].as_array().unwrap();
    assert_eq!((&messages[0]["text"], &messages[0]["state"]), (&json!("uno"), &received[3]["state"]));
    assert_eq!((&messages[1]["text"], &messages[1]["state"]), (&json!(""), &received[4]["state"]));
    assert_eq!(history(&mut late).await, *messages, "the tail and the store agree");
}

#[tokio::test]
async fn change_during_an_absence_arrives_once_with_the_resume() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, entered) = in_room(&server, None).await;
    let (ben, _) = in_room(&server, None).await;
    ann.post("r", "one").await;
    drop(ben);
    let first = target(&entered, 1);
    for (edits, text) in ["uno", "eins"].into_iter().enumerate() {
        ann.ask("edit_message", json!({"room": "r", "target": first, "edits": edits, "text": text})).await;
    }
    ann.post("r", "two").await;
    react(&mut ann, &target(&entered, 2), "🎉", true).await;
    let position = json!({"epoch": entered["epoch"], "seq": 1, "rev": 0});
    let (mut ben, resumed) = in_room(&server, Some(&position)).await;
    assert_eq!((&resumed["recovered"], &resumed["rev"]), (&json!(true), &json!(3)));
    let latest = resumed["changes"].as_array().unwrap().last().unwrap();
    assert_eq!((&latest["seq"], &latest["text"]), (&json!(1), &json!("eins")));
    assert_eq!(resumed["messages"][0]["state"]["reactions"][0]["emoji"], "🎉", "a missed message has its state");
    react(&mut ann, &first, "👍", true).await;
    let next = ben.until_type("message_changed").await;
    assert_eq!(next["payload"]["state"]["rev"], 4);
    assert!(ben.skipped.iter().all(|frame| frame["type"] != "message_changed"), "nothing arrives twice");
    let position = json!({"epoch": entered["epoch"], "seq": 2, "rev": 4});
    assert_eq!(in_room(&server, Some(&position)).await.1["changes"], json!([]));
}

#[tokio::test]
async fn refused_change_has_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, entered) = in_room(&server, None).await;
    let (mut ben, _) = in_room(&server, None).await;
    ann.post("r", "one").await;
    let first = target(&entered, 1);
    let edit =
        |target: &Value, edits: u64, text: &str| json!({"room": "r", "target": target, "edits": edits, "text": text});
    let emoji = |emoji: &str| json!({"room": "r", "target": first, "emoji": emoji, "on": true});
    let other = json!({"epoch": "another", "seq": 1});
    let cases = [
        ("edit_message", edit(&first, 0, "mine"), "NOT_YOURS"),
        ("delete_message", json!({"room": "r", "target": first}), "NOT_YOURS"),
        ("edit_message", edit(&target(&entered, 2), 0, "x"), "MESSAGE_NOT_FOUND"),
        ("edit_message", edit(&target(&entered, 0), 0, "x"), "MESSAGE_NOT_FOUND"),
        ("edit_message", edit(&other, 0, "x"), "EPOCH_CHANGED"),
        ("edit_message", edit(&first, 0, " "), "TEXT_EMPTY"),
        ("react", emoji("a"), "EMOJI_INVALID"),
        ("react", emoji("👍👍"), "EMOJI_INVALID"),
        ("react", json!({"room": "elsewhere", "target": first, "emoji": "👍", "on": true}), "NOT_IN_ROOM"),
        (
            "new_message",
            json!({"room": "r", "key": fresh_key(), "text": "x", "reply_to": target(&entered, 9)}),
            "MESSAGE_NOT_FOUND",
        ),
        ("new_message", json!({"room": "r", "key": fresh_key(), "text": "x", "reply_to": other}), "EPOCH_CHANGED"),
    ];
    for (command, payload, code) in cases {
        assert_eq!(ben.refusal(command, payload.clone()).await, code, "{command} {payload}");
    }
    assert_eq!(ann.refusal("edit_message", edit(&first, 1, "later")).await, "EDIT_CONFLICT");
    let messages = history(&mut ben).await;
    assert!(messages.len() == 1 && messages[0]["text"] == "one" && messages[0].get("state").is_none());
}

#[tokio::test]
async fn message_has_at_most_20_different_emoji_and_5_of_each_user() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, entered) = in_room(&server, None).await;
    ann.post("r", "one").await;
    let first = target(&entered, 1);
    let emoji = |n: u32| char::from_u32(0x1f600 + n).unwrap().to_string();
    let with = |n: u32| json!({"room": "r", "target": first, "emoji": emoji(n), "on": true});
    for user in 0..4 {
        let (mut client, _) = in_room(&server, None).await;
        for n in 0..5 {
            react(&mut client, &first, &emoji(user * 5 + n), true).await;
        }
        assert_eq!(client.refusal("react", with(30)).await, "REACTIONS_FULL", "its sixth");
    }
    assert_eq!(ann.refusal("react", with(30)).await, "REACTIONS_FULL", "the twenty-first");
    assert_eq!(ann.ask("react", with(3)).await["rev"], 21, "an emoji that is there");
}

async fn pin(client: &mut Client, target: &Value, on: bool) -> Value {
    client.ask("pin_message", json!({"room": "r", "target": target, "on": on})).await
}

/// The positions of the pinned messages, as the server lists them.
async fn pins(client: &mut Client) -> Vec<u64> {
    let ack = client.ask("pins", json!({"room": "r"})).await;
    ack["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn pinned_messages_are_listed_last_pinned_first_until_they_are_unpinned_or_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, entered) = in_room(&server, None).await;
    let (mut ben, _) = in_room(&server, None).await;
    for text in ["one", "two", "three"] {
        ann.post("r", text).await;
    }
    for seq in [2, 1, 3] {
        pin(&mut ben, &target(&entered, seq), true).await;
        // The list is in the order of the times, in milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(pins(&mut ann).await, [3, 1, 2]);
    let received = changes(&mut ann, 3).await;
    assert!(received[0]["state"]["pinned"]["at"].is_u64() && received[0].get("text").is_none());
    assert_eq!(pin(&mut ann, &target(&entered, 3), true).await["rev"], 3, "it is pinned already");
    assert_eq!(pin(&mut ann, &target(&entered, 1), false).await["rev"], 4, "anyone unpins");
    ann.ask("delete_message", json!({"room": "r", "target": target(&entered, 3)})).await;
    assert_eq!(pins(&mut ben).await, [2]);
    let messages = history(&mut ben).await;
    let pinned: Vec<_> = messages.iter().map(|message| message["state"].get("pinned").is_some()).collect();
    assert_eq!(pinned, [false, true, false]);
    let gone = json!({"room": "r", "target": target(&entered, 3), "on": true});
    assert_eq!(ben.refusal("pin_message", gone).await, "MESSAGE_NOT_FOUND");
    assert_eq!(ben.refusal("pins", json!({"room": "elsewhere"})).await, "NOT_IN_ROOM");
}

#[tokio::test]
async fn room_has_at_most_50_pins_and_their_list_is_bounded_in_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, entered) = in_room(&server, None).await;
    let text = "가".repeat(4_000);
    for seq in 1..=51 {
        ann.post("r", &text).await;
        if seq <= 50 {
            pin(&mut ann, &target(&entered, seq), true).await;
        }
    }
    let next = json!({"room": "r", "target": target(&entered, 51), "on": true});
    assert_eq!(ann.refusal("pin_message", next.clone()).await, "PINS_FULL");
    assert_eq!(pins(&mut ann).await.len(), 21, "as much as a page of the history");
    pin(&mut ann, &target(&entered, 7), false).await;
    ann.ask("pin_message", next).await;
}

#[tokio::test]
async fn reply_names_its_message_and_repeated_post_of_an_edited_message_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, entered) = in_room(&server, None).await;
    ann.post("r", "one").await;
    let reply = json!({"room": "r", "key": fresh_key(), "text": "two", "reply_to": target(&entered, 1)});
    assert_eq!(ann.ask("new_message", reply.clone()).await["seq"], 2);
    ann.ask("edit_message", json!({"room": "r", "target": target(&entered, 2), "edits": 0, "text": "dos"})).await;
    let again = ann.ask("new_message", reply).await;
    assert_eq!((&again["seq"], &again["dup"]), (&json!(2), &json!(true)));
    let messages = history(&mut ann).await;
    assert_eq!((&messages[1]["reply_to"], &messages[1]["text"]), (&json!(1), &json!("dos")));
}

#[tokio::test]
async fn replaced_and_deleted_texts_leave_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let (mut ann, entered) = in_room(&server, None).await;
    let secret = |n: u64| format!("secret number {n} {}", "x".repeat(2_000));
    for n in 1..=2 {
        ann.post("r", &secret(n)).await;
    }
    ann.ask("edit_message", json!({"room": "r", "target": target(&entered, 1), "edits": 0, "text": "harmless"})).await;
    ann.ask("delete_message", json!({"room": "r", "target": target(&entered, 2)})).await;
    server.terminate();
    server.wait();
    let paths = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    // The folders are those of files in messages.
    for path in paths.filter(|path| path.is_file()) {
        let bytes = std::fs::read(path).unwrap();
        assert!(!bytes.windows(13).any(|window| window == b"secret number"));
    }
}

#[tokio::test]
async fn database_of_the_first_version_is_migrated_with_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    database.execute_batch(include_str!("../migrations/1-rooms.sql")).unwrap();
    database.execute("INSERT INTO history VALUES ('e')", []).unwrap();
    database.execute("INSERT INTO rooms (name, folded, head, created_at) VALUES ('r', 'r', 1, 0)", []).unwrap();
    database.execute("INSERT INTO messages VALUES (1, 1, 7, ?1, 'Ann', 'hello', 5)", [[1_u8; 16]]).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    drop(database);
    let server = Server::generous(folder.path());
    assert!(folder.path().join("noom.before-2.sqlite3").exists(), "it was copied first");
    let (mut ben, entered) = in_room(&server, None).await;
    assert_eq!((&entered["messages"][0]["text"], &entered["rev"]), (&json!("hello"), &json!(0)));
    assert_eq!(react(&mut ben, &target(&entered, 1), "👍", true).await["rev"], 1);
}

/// A user, or what happens to a page.
#[derive(Clone, Debug)]
enum Step {
    Post {
        user: u64,
    },
    Change {
        user: u64,
        back: u64,
        change: Change,
    },
    /// A page loads the latest messages.
    Load,
    /// A page that was away resumes.
    Resume {
        page: usize,
    },
    /// A page receives what the others do, twice or not at all.
    Listen {
        page: usize,
        listens: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 1..=3_u64;
    let emoji = || prop::sample::select(vec!["👍", "🎉", "❤️"]).prop_map(str::to_owned);
    let change = prop_oneof![
        3 => (0..3_u64, 0..100_u32).prop_map(|(edits, n)| {
            let text = format!("edit {n} @n{}", n % 3);
            let mentions = vec![Candidate { id: UserId(2), nickname: Some("n2".into()) }];
            Change::Edit { edits, text, mentions }
        }),
        1 => Just(Change::Delete),
        4 => emoji().prop_map(Change::React),
        2 => emoji().prop_map(Change::Unreact),
        2 => Just(Change::Pin),
        1 => Just(Change::Unpin),
    ];
    prop_oneof![
        3 => user().prop_map(|user| Step::Post { user }),
        8 => (user(), 0..5_u64, change).prop_map(|(user, back, change)| Step::Change { user, back, change }),
        1 => Just(Step::Load),
        1 => (0..4_usize).prop_map(|page| Step::Resume { page }),
        2 => (0..4_usize, any::<bool>()).prop_map(|(page, listens)| Step::Listen { page, listens }),
    ]
}

/// A page: its messages, and the position up to which it knows the room.
#[derive(Debug, Default)]
struct Page {
    messages: BTreeMap<u64, Message>,
    seq: u64,
    rev: u64,
    listens: bool,
}

impl Page {
    fn change(&mut self, change: &MessageChange) {
        self.rev = self.rev.max(change.state.rev);
        if let Some(message) = self.messages.get_mut(&change.seq) {
            message.apply(change);
        }
    }

    fn add(&mut self, messages: &[Arc<Message>]) {
        self.messages.extend(messages.iter().map(|message| (message.seq, (**message).clone())));
    }
}

/// Opens a store that may have just been closed. A test that starts a server in this moment keeps its lock until the
/// server's program runs, because a new process inherits open files.
fn open(folder: &Path, epoch: &str) -> Store {
    for _ in 0..1_000 {
        match Store::open(folder, epoch) {
            Err(StartError::DataFolderInUse(_)) => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
    panic!("the data folder stays in use");
}

async fn post(store: &Store, room: &RoomRow, user: u64, key: u128) -> Arc<Message> {
    let (done, answer) = oneshot::channel();
    let user = User { id: UserId(user), nickname: format!("n{user}") };
    let (key, text) = (MessageKey(key), format!("message {key}"));
    let done = move |outcome| drop(done.send(outcome));
    store.append(Append::of_text(room.clone(), user, key, text, done)).unwrap();
    answer.await.unwrap().unwrap().message
}

async fn change(store: &Store, room: &RoomRow, user: u64, seq: u64, change: Change) -> Result<Changed, ChangeError> {
    let (done, answer) = oneshot::channel();
    let user = User { id: UserId(user), nickname: format!("n{user}") };
    let done = Box::new(move |outcome| drop(done.send(outcome)));
    store.change(ChangeRequest { room: room.clone(), user, seq, change, done }).unwrap();
    answer.await.unwrap()
}

#[tokio::test]
async fn restored_copy_that_lacks_a_change_starts_a_new_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let react = async |emoji: &str, epoch: &str| {
        let store = open(folder.path(), epoch);
        let room = store.create_room(RoomName::parse("r").unwrap()).await.unwrap();
        post(&store, &room, 1, 1).await;
        change(&store, &room, 1, 1, Change::React(emoji.into())).await.unwrap();
        let epoch = store.epoch().to_owned();
        store.close();
        epoch
    };
    let (database, copy) = (folder.path().join("noom.sqlite3"), folder.path().join("copy"));
    assert_eq!(react("👍", "a").await, "a");
    std::fs::copy(&database, &copy).unwrap();
    assert_eq!(react("🎉", "b").await, "a");
    std::fs::copy(&copy, &database).unwrap();
    assert_eq!(react("❤️", "c").await, "c", "revision 2 would be another change");
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), "e");
    let room = store.create_room(RoomName::parse("r").unwrap()).await.unwrap();
    let (mut pages, mut head, mut rev) = (Vec::<Page>::new(), 0_u64, 0);
    for step in steps {
        match step {
            Step::Post { user } => {
                head += 1;
                let message = post(&store, &room, user, head.into()).await;
                for page in pages.iter_mut().filter(|page| page.listens) {
                    page.add(std::slice::from_ref(&message));
                    page.seq = message.seq;
                }
            }
            Step::Change { user, back, change: wanted } => {
                let Some(seq) = head.checked_sub(back).filter(|seq| *seq > 0) else { continue };
                let Ok(Changed { change: Some(change), .. }) = change(&store, &room, user, seq, wanted).await else {
                    continue;
                };
                rev += 1;
                prop_assert_eq!(change.state.rev, rev, "revisions have no gaps");
                for page in pages.iter_mut().filter(|page| page.listens) {
                    page.change(&change);
                    page.change(&change);
                }
            }
            Step::Load => {
                let history = store.history_for(room.clone(), None).await.unwrap();
                let mut page = Page { seq: history.head, rev: history.rev, listens: true, ..Page::default() };
                page.add(&history.messages);
                pages.push(page);
            }
            Step::Listen { page, listens } => {
                // Who stops listening is away, and comes back with a resume.
                if let Some(page) = pages.get_mut(page) {
                    page.listens &= listens;
                }
            }
            Step::Resume { page } => {
                let Some(page) = pages.get_mut(page) else { continue };
                resume(&store, &room, page).await?;
            }
        }
    }
    for page in &mut pages {
        resume(&store, &room, page).await?;
        for (seq, message) in &page.messages {
            let (stored, _) = store.history_before(room.clone(), seq + 1, 1).await.unwrap();
            prop_assert_eq!(&*stored[0], message);
        }
    }
    let pinned = store.pins(room.clone()).await.unwrap();
    let (all, _) = store.history_before(room.clone(), u64::MAX, 100).await.unwrap();
    prop_assert_eq!(pinned.len(), all.iter().filter(|message| message.pinned().is_some()).count());
    prop_assert!(pinned.iter().all(|message| message.pinned().is_some()));
    store.close();
    drop(store);
    // The same after a restart.
    let store = open(folder.path(), "e");
    let Some(page) = pages.last() else { return Ok(()) };
    let (stored, _) = store.history_before(room, u64::MAX, 100).await.unwrap();
    for message in stored.iter().filter(|message| page.messages.contains_key(&message.seq)) {
        prop_assert_eq!(&**message, &page.messages[&message.seq]);
    }
    Ok(())
}

async fn resume(store: &Store, room: &RoomRow, page: &mut Page) -> Result<(), TestCaseError> {
    let after = Position { epoch: "e".into(), seq: page.seq, rev: page.rev };
    let history = store.history_for(room.clone(), Some(after)).await.unwrap();
    prop_assert!(history.recovered);
    for change in history.changes.iter().flatten() {
        prop_assert!(change.seq <= page.seq && change.state.rev > page.rev, "only what was missed");
    }
    page.add(&history.messages);
    history.changes.iter().flatten().for_each(|change| page.change(change));
    (page.seq, page.rev, page.listens) = (history.head, history.rev, true);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever a page loads, and whatever it misses, repeats or resumes: applying the changes that it receives yields
    /// the stored states.
    #[test]
    fn applied_changes_equal_the_stored_states(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}
