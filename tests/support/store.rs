//! A store that a test writes to without a server, and the database of one that a server uses.

use std::path::Path;

use noom::protocol::{MessageKey, User, UserId};
use noom::server::id::RoomRow;
use noom::server::store::{Append, Store};
use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Posts messages together, with other keys each time.
pub async fn post_all(store: &Store, room: &RoomRow, texts: impl IntoIterator<Item = String>) {
    let mut answers = Vec::new();
    let head = store.extent(room.clone()).await.unwrap().head;
    for (number, text) in texts.into_iter().enumerate() {
        let (done, answer) = oneshot::channel();
        let (user, key) = (User { id: UserId(1), nickname: "Ann".into() }, u128::from(head) << 64 | number as u128);
        let append =
            Append::of_text(room.clone(), user, MessageKey(key), text, move |outcome| drop(done.send(outcome)));
        store.append(append).unwrap();
        answers.push(answer);
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
}

pub fn database(folder: &Path) -> Connection {
    Connection::open(folder.join("noom.sqlite3")).unwrap()
}

pub fn number(database: &Connection, query: &str) -> i64 {
    database.query_row(query, [], |row| row.get(0)).unwrap()
}

/// The files in a folder and below it that contain a text.
pub fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if memchr::memmem::find(&std::fs::read(&path).unwrap(), text.as_bytes()).is_some() {
            found.push(path.display().to_string());
        }
    }
    found
}

/// The size that the messages of all rooms have, with what belongs to them.
pub fn bytes_of_messages(database: &Connection) -> i64 {
    let tables = [
        ("messages", "octet_length(text) + octet_length(nickname)"),
        ("reactions", "octet_length(emoji) + octet_length(nickname)"),
        ("pins", "octet_length(nickname)"),
        ("mentions", "octet_length(nickname)"),
        ("attachments", "octet_length(name) + bytes"),
    ];
    let sum = |(table, size)| number(database, &format!("SELECT COALESCE(SUM({size} + 100), 0) FROM {table}"));
    tables.into_iter().map(sum).sum()
}

/// Stops the workers of a hub, which hold its store open.
pub async fn stop(workers: Vec<JoinHandle<()>>) {
    for worker in workers {
        worker.abort();
        assert!(worker.await.is_err_and(|error| error.is_cancelled()));
    }
}
