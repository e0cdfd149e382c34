//! The search in messages: over real sockets, in the real index, and what is left of deleted texts.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use noom::protocol::{RoomId, User, UserId};
use noom::server::change::Change;
use noom::server::id::RoomRow;
use noom::server::name_key::RoomName;
use noom::server::search::Query;
use noom::server::store::{ChangeRequest, Store};
use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Value, json};
use support::store::post_all;
use support::{Client, Server};
use tokio::sync::oneshot;

/// The number of messages that are indexed without waiting for more.
const ENOUGH: u64 = 128;

async fn search(client: &mut Client, room: &str, text: &str) -> Vec<String> {
    let ack = client.ask("search", json!({"room": room, "text": text, "limit": 50})).await;
    let found = ack["found"].as_array().unwrap().iter();
    found.map(|found| found["message"]["text"].as_str().unwrap().to_owned()).collect()
}

fn database(folder: &Path) -> Connection {
    Connection::open(folder.join("noom.sqlite3")).unwrap()
}

/// Waits until the index contains all messages but those that are too few.
fn wait_for_index(folder: &Path) {
    let database = database(folder);
    let until = Instant::now() + Duration::from_secs(60);
    let rest = || -> u64 {
        database.query_row("SELECT SUM(head - indexed) FROM rooms", [], |row| row.get::<_, i64>(0)).unwrap() as u64
    };
    while rest() >= ENOUGH {
        assert!(Instant::now() < until, "{} messages are not indexed", rest());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn words_of_all_languages_are_found_newest_first_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let texts = [
        "내일 회의는 세 시에 합니다",
        "明日は東京都で会議です",
        "明天的会议改到三点",
        "Crème brûlée at the café",
        "The garden opens at NOON",
        "In the gardens at noon",
    ];
    for text in texts {
        ann.post("r", text).await;
    }
    for (query, expected) in [
        ("회의", vec![0]),
        ("회의 내일", vec![0]),
        ("東京", vec![1]),
        ("京", vec![1]),
        ("会议", vec![2]),
        ("creme CAFE", vec![3]),
        ("café", vec![3]),
        ("noon", vec![5, 4]),
        ("gard", vec![5, 4]),
        ("garden ", vec![4]),
        ("noon garden ", vec![4]),
        ("\"at noon\"", vec![5, 4]),
        ("\"noon at\"", vec![]),
        ("회사", vec![]),
        ("gardener", vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|index: usize| texts[index]).collect();
        assert_eq!(search(&mut ann, "r", query).await, expected, "{query:?}");
    }
    let ack = ann.ask("search", json!({"room": "r", "text": "회의", "limit": 1})).await;
    assert_eq!(ack["found"][0]["marks"], json!([{"start": 3, "end": 5}]));
    assert_eq!((&ack["found"][0]["message"]["seq"], &ack["before"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn pages_of_results_have_each_message_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    for n in 1..=7 {
        ann.post("r", if n == 3 { "nothing" } else { "something" }).await;
    }
    let (mut seqs, mut before) = (Vec::new(), Value::Null);
    loop {
        let ack = ann.ask("search", json!({"room": "r", "text": "something", "before": before, "limit": 2})).await;
        let found = ack["found"].as_array().unwrap();
        seqs.push(found.iter().map(|found| found["message"]["seq"].as_u64().unwrap()).collect::<Vec<_>>());
        before = ack["before"].clone();
        if before.is_null() {
            break;
        }
    }
    assert_eq!(seqs, [[7, 6], [5, 4], [2, 1]]);
}

#[tokio::test]
async fn only_rooms_that_were_entered_are_searched_and_bad_input_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut ben = Client::in_room(&server, "other").await;
    ann.post("r", "a secret NEAR here").await;
    ben.post("other", "another secret").await;
    assert_eq!(search(&mut ann, "r", "secret").await, ["a secret NEAR here"]);
    assert_eq!(search(&mut ben, "other", "secret").await, ["another secret"]);
    let long = "x".repeat(101);
    for (room, text, limit, code) in [
        ("other", "secret", 10, "NOT_IN_ROOM"),
        ("r", "", 10, "TEXT_EMPTY"),
        ("r", "\" * ^ ( ) :", 10, "TEXT_EMPTY"),
        ("r", "\0\u{1b}", 10, "TEXT_EMPTY"),
        ("r", long.as_str(), 10, "TEXT_TOO_LONG"),
        ("r", "secret", 0, "LIMIT_OUT_OF_RANGE"),
        ("r", "secret", 51, "LIMIT_OUT_OF_RANGE"),
    ] {
        let refusal = ann.refusal("search", json!({"room": room, "text": text, "limit": limit})).await;
        assert_eq!(refusal, code, "{text:?}");
    }
    // The language of the index means nothing here.
    for (text, expected) in [
        ("NEAR", 1),
        ("NEAR(here)", 1),
        ("NEAR(secret here)", 0),
        ("secret OR nothing", 0),
        ("secret NOT here", 0),
        ("tokens:secret", 0),
        ("-secret +here", 1),
        ("secret\"", 1),
        ("\"secret", 1),
        ("sec*", 1),
        ("' OR 1=1 --", 0),
    ] {
        assert_eq!(search(&mut ann, "r", text).await.len(), expected, "{text:?}");
    }
}

#[tokio::test]
async fn all_rooms_of_a_user_and_no_others_are_searched_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "Garden").await;
    ann.ask("enter_room", json!({"room": "kitchen"})).await;
    let mut bob = Client::in_room(&server, "attic").await;
    bob.post("attic", "the meeting of Bob").await;
    for (room, text) in [("Garden", "first meeting"), ("kitchen", "second meeting 회의"), ("Garden", "third meeting")]
    {
        ann.post(room, text).await;
        // Times of messages differ.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let found = async |client: &mut Client, text: &str| {
        let ack = client.ask("search", json!({"text": text, "limit": 50})).await;
        let entry = |found: &Value| format!("{}: {}", found["name"], found["message"]["text"]).replace('"', "");
        ack["found"].as_array().unwrap().iter().map(entry).collect::<Vec<_>>()
    };
    let expected = ["Garden: third meeting", "kitchen: second meeting 회의", "Garden: first meeting"];
    assert_eq!(found(&mut ann, "meeting").await, expected);
    assert_eq!(found(&mut ann, "meet").await, expected, "the beginning of the word");
    assert_eq!(found(&mut ann, "회의").await, expected[1..2]);
    assert_eq!(found(&mut bob, "meeting").await, ["attic: the meeting of Bob"]);
    let mut guest = Client::greeted(&server).await;
    assert_eq!(found(&mut guest, "meeting").await, [""; 0], "a user without rooms");

    let page = ann.ask("search", json!({"text": "meeting", "limit": 2})).await;
    assert_eq!(page["found"].as_array().unwrap().len(), 2);
    let rest = ann.ask("search", json!({"text": "meeting", "limit": 2, "before": page["before"]})).await;
    assert_eq!((&rest["found"][0]["message"]["text"], &rest["before"]), (&json!("first meeting"), &Value::Null));
    ann.ask("keep_room", json!({"room": "kitchen", "on": false})).await;
    assert_eq!(found(&mut ann, "meeting").await, ["Garden: third meeting", "Garden: first meeting"]);
    for (payload, code) in [
        (json!({"text": "회", "limit": 5}), "TEXT_EMPTY"),
        (json!({"text": "…", "limit": 5}), "TEXT_EMPTY"),
        (json!({"text": "meeting", "limit": 0}), "LIMIT_OUT_OF_RANGE"),
        (json!({"text": "meeting", "limit": 5, "before": 7}), "BAD_TYPE"),
    ] {
        assert_eq!(ann.refusal("search", payload.clone()).await, code, "{payload}");
    }
}

#[tokio::test]
async fn pages_of_results_from_several_rooms_have_each_message_once_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut rooms = Vec::new();
    for name in ["a", "b", "c", "empty"] {
        rooms.push(room(&store, name).await);
    }
    // Room c is not indexed to its end, and b begins with messages that have expired.
    for (room, count) in rooms.iter().zip([400, 90, 300]) {
        let text = |n| if n % 3 == 0 { format!("needle {n}") } else { format!("hay {n}") };
        post_all(&store, room, (0..count).map(text)).await;
    }
    wait_for_index(folder.path());
    post_all(&store, &rooms[2], (0..20).map(|n| format!("needle late {n}"))).await;
    // Many messages of different rooms have the same time.
    let database = database(folder.path());
    database.execute("UPDATE messages SET at = seq / 7 * 100 / room", []).unwrap();
    let mut expected: Vec<(u64, RoomId, u64)> = Vec::new();
    for room in &rooms {
        let mut select = database
            .prepare("SELECT at, seq FROM messages WHERE room = ?1 AND text LIKE 'needle%' ORDER BY seq")
            .unwrap();
        let rows =
            select.query_map([room.number], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)));
        expected.extend(rows.unwrap().map(|row| row.map(|(at, seq)| (at, room.id, seq)).unwrap()));
    }
    expected.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(expected.len(), 134 + 30 + 100 + 20);
    for limit in [1, 7, 50] {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let query = Query::parse("needle").unwrap();
            let page = store.search(rooms.clone(), query, before, limit).await.unwrap();
            assert!(page.found.len() as u64 <= limit);
            found.extend(page.found.iter().map(|it| (it.message.at, it.message.room, it.message.seq)));
            before = page.before;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{limit} at a time");
    }
    store.close();
}

#[tokio::test]
async fn search_in_several_rooms_that_examines_many_messages_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (a, b) = (room(&store, "a").await, room(&store, "b").await);
    // All have both words, and few have them one after the other.
    let text = |n: u64| if n == 5 { "green apple".to_owned() } else { format!("apple, but not green {n}") };
    post_all(&store, &a, (0..3_000).map(text)).await;
    post_all(&store, &b, (0..1_500).map(text)).await;
    wait_for_index(folder.path());
    let (mut found, mut pages, mut before) = (Vec::new(), 0, None);
    loop {
        let query = Query::parse("\"green apple\"").unwrap();
        let page = store.search(vec![a.clone(), b.clone()], query, before, 20).await.unwrap();
        found.extend(page.found.iter().map(|found| (found.message.room, found.message.seq)));
        pages += 1;
        before = page.before;
        if before.is_none() {
            break;
        }
    }
    found.sort_unstable();
    let mut expected = [(a.id, 6), (b.id, 6)];
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!((3..=4).contains(&pages), "{pages} searches");
    store.close();
}

fn open(folder: &Path) -> Store {
    Store::open(folder, "e").unwrap()
}

async fn room(store: &Store, name: &str) -> RoomRow {
    store.create_room(RoomName::parse(name).unwrap()).await.unwrap()
}

async fn change(store: &Store, room: &RoomRow, seq: u64, change: Change) {
    let (done, answer) = oneshot::channel();
    let user = User { id: UserId(1), nickname: "Ann".into() };
    let done = Box::new(move |outcome| drop(done.send(outcome)));
    store.change(ChangeRequest { room: room.clone(), user, seq, change, done }).unwrap();
    answer.await.unwrap().unwrap();
}

async fn found(store: &Store, room: &RoomRow, text: &str) -> Vec<u64> {
    let (mut seqs, mut before) = (Vec::new(), None);
    loop {
        let page = store.search(vec![room.clone()], Query::parse(text).unwrap(), before, 50).await.unwrap();
        seqs.extend(page.found.iter().map(|found| found.message.seq));
        match page.before {
            Some(next) => before = Some(next),
            None => return seqs,
        }
    }
}

#[tokio::test]
async fn indexed_message_is_found_by_its_new_words_only_after_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let room = room(&store, "r").await;
    post_all(&store, &room, (1..=300).map(|n| format!("message number{n} 번호{n} words"))).await;
    wait_for_index(folder.path());
    // The first is indexed, the last need not be.
    for seq in [7, 300] {
        change(
            &store,
            &room,
            seq,
            Change::Edit { edits: 0, text: "entirely different 다른 내용".into(), mentions: Vec::new() },
        )
        .await;
        assert_eq!(found(&store, &room, &format!("number{seq} ")).await, [] as [u64; 0]);
    }
    assert_eq!(found(&store, &room, "different").await, [300, 7]);
    assert_eq!(found(&store, &room, "내용").await, [300, 7]);
    change(&store, &room, 7, Change::Delete).await;
    assert_eq!(found(&store, &room, "different").await, [300]);
    assert_eq!(found(&store, &room, "words").await.len(), 298);
    // A search that meets a deleted message in the index would show it as empty.
    assert_eq!(found(&store, &room, "message").await.len(), 298);
    store.close();
    integrity(folder.path());
}

/// Checks the database, and the index.
fn integrity(folder: &Path) {
    let database = database(folder);
    let result: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(result, "ok");
    database.execute("INSERT INTO search (search) VALUES ('integrity-check')", []).unwrap();
}

#[tokio::test]
async fn words_of_replaced_and_deleted_texts_leave_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let room = room(&store, "r").await;
    let secret = |n: u64| format!("zqxjw{n:04} 숨긴말쌍 qzvbn{} Wvxqz{n}", n * 7);
    for _ in 0..3 {
        post_all(&store, &room, (0..400).map(secret)).await;
        wait_for_index(folder.path());
    }
    assert_eq!(found(&store, &room, "zqxjw0007").await.len(), 3);
    for seq in 1..=1_200 {
        let harmless = || Change::Edit { edits: 0, text: format!("harmless {seq}"), mentions: Vec::new() };
        change(&store, &room, seq, if seq % 2 == 0 { Change::Delete } else { harmless() }).await;
    }
    assert_eq!(found(&store, &room, "숨긴말쌍").await, [] as [u64; 0]);
    assert_eq!(found(&store, &room, "harmless").await.len(), 600);
    store.close();
    drop(store);
    integrity(folder.path());
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for trace in ["zqxjw", "qzvbn", "vxqz", "숨긴", "말쌍"] {
            assert!(memchr::memmem::find(&bytes, trace.as_bytes()).is_none(), "{trace} is left in {path:?}");
        }
    }
}

#[tokio::test]
async fn index_is_completed_after_a_restart_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    for n in 0..ENOUGH * 2 {
        ann.post("r", &format!("word{n} 낱말{n}")).await;
    }
    server.kill();
    let store = open(folder.path());
    let room = room(&store, "r").await;
    wait_for_index(folder.path());
    assert_eq!(found(&store, &room, "낱말").await.len() as u64, ENOUGH * 2);
    assert_eq!(found(&store, &room, "word17 ").await, [18]);
    store.close();
    integrity(folder.path());
}

/// Takes a database back to what it was before the search.
fn without_search(folder: &Path) {
    database(folder)
        .execute_batch(
            "DROP TABLE purges; ALTER TABLE rooms DROP COLUMN floor; DROP INDEX rooms_by_public_id; ALTER TABLE rooms DROP COLUMN public_id;
             DROP TABLE mentions; ALTER TABLE messages DROP COLUMN mentions; DROP TABLE pins; DROP TABLE attachments; DROP TABLE unclaimed_files; ALTER TABLE messages DROP COLUMN attachments;
             DROP TABLE search; DROP TABLE search_version; ALTER TABLE rooms DROP COLUMN indexed; PRAGMA user_version = 5",
        )
        .unwrap();
}

#[tokio::test]
async fn database_of_an_earlier_version_is_searched_at_once_and_indexed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let texts = |from: u64| (from..from + 3_000).map(|n| format!("message {n} 메시지"));
    let store = open(folder.path());
    let (a, b) = (room(&store, "a").await, room(&store, "b").await);
    post_all(&store, &a, texts(0)).await;
    post_all(&store, &b, texts(10_000)).await;
    store.close();
    drop(store);
    without_search(folder.path());

    let store = open(folder.path());
    assert_eq!(found(&store, &a, "0").await, [1], "a search may be answered in several parts");
    wait_for_index(folder.path());
    assert_eq!(found(&store, &a, "메시지").await.len(), 3_000);
    assert_eq!(found(&store, &b, "12345").await, [2_346]);
    assert_eq!(found(&store, &a, "12345").await, [] as [u64; 0]);
    store.close();
    integrity(folder.path());
}

#[tokio::test]
async fn index_of_other_tokens_is_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let r = room(&store, "r").await;
    post_all(&store, &r, (0..500).map(|n| format!("message {n}"))).await;
    wait_for_index(folder.path());
    store.close();
    drop(store);
    let earlier = database(folder.path());
    earlier.execute_batch("UPDATE search_version SET tokens = 0").unwrap();
    earlier.execute_batch("INSERT INTO search (rowid, tokens) VALUES (1 << 32 | 3, 'obsolete')").unwrap();
    drop(earlier);
    let store = open(folder.path());
    wait_for_index(folder.path());
    assert_eq!(found(&store, &r, "message").await.len(), 500);
    store.close();
    let matches = "SELECT COUNT(*) FROM search WHERE search MATCH ?1";
    let count = |token: &str| database(folder.path()).query_row(matches, [token], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count("obsolete"), count("message") >= 300), (0, true));
    integrity(folder.path());
}

fn text() -> impl Strategy<Value = String> {
    let word =
        prop::sample::select(vec!["red", "Green", "blüe", "초록", "초록색", "빨강", "東京", "東", "京都", "a", "🎉"]);
    prop::collection::vec(word, 1..5).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is indexed, and in whatever order messages are changed: a search finds what reading all texts finds.
    #[test]
    fn search_finds_what_reading_finds(
        batches in prop::collection::vec(prop::collection::vec(text(), 1..200), 1..4),
        changes in prop::collection::vec((1..400_u64, prop::option::of(text())), 0..20),
        queries in prop::collection::vec(text(), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            let (one, other) = (room(&store, "one").await, room(&store, "other").await);
            let mut texts: Vec<String> = Vec::new();
            for batch in batches {
                post_all(&store, &other, batch.iter().map(|text| format!("{text} red 東京 초록"))).await;
                post_all(&store, &one, batch.clone()).await;
                texts.extend(batch);
                wait_for_index(folder.path());
            }
            for (seq, new) in changes {
                let Some(text) = texts.get_mut(seq as usize - 1) else { continue };
                if text.is_empty() {
                    continue;
                }
                let edits = store.history_between(one.clone(), seq - 1, seq).await.unwrap()[0].edits();
                *text = new.clone().unwrap_or_default();
                change(&store, &one, seq, new.map_or(Change::Delete, |text| Change::Edit { edits, text, mentions: Vec::new() })).await;
            }
            for query in queries {
                let parsed = Query::parse(&query).unwrap();
                let expected = (1..=texts.len() as u64).rev().filter(|seq| parsed.find(&texts[*seq as usize - 1]).is_some());
                prop_assert_eq!(found(&store, &one, &query).await, expected.collect::<Vec<_>>(), "{:?}", query);
            }
            store.close();
            integrity(folder.path());
            Ok(())
        })?;
    }
}
