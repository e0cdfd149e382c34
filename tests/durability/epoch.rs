//! Positions after crashes, restarts and restored copies of the data folder.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Server};

/// Starts a server, posts `messages` messages and kills it. Returns the last position.
pub(crate) async fn post_and_kill(folder: &Path, messages: u64) -> Value {
    let server = Server::generous(folder);
    let mut ann = Client::greeted(&server).await;
    let entered = ann.ask("enter_room", json!({"room": "r"})).await;
    let mut seq = entered["head"].clone();
    for n in 0..messages {
        seq = ann.post("r", &n.to_string()).await["seq"].clone();
    }
    server.kill();
    json!({"epoch": entered["epoch"], "seq": seq, "rev": 0})
}

/// Starts a server and enters the room with an old position. Returns the ack of `enter_room`.
pub(crate) async fn resume_from(folder: &Path, position: &Value) -> Value {
    let server = Server::generous(folder);
    let mut ann = Client::greeted(&server).await;
    ann.ask("enter_room", json!({"room": "r", "after": position})).await
}

/// Copies a database with its WAL into another data folder.
pub(crate) fn copy_database(from: &Path, to: &Path) {
    for name in ["noom.sqlite3", "noom.sqlite3-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let _ = std::fs::remove_file(to.join("noom.sqlite3-shm"));
}

pub(crate) fn assert_epoch_changed(entered: &Value) {
    assert_eq!((&entered["recovered"], &entered["reason"]), (&json!(false), &json!("EPOCH_CHANGED")), "{entered}");
}

#[tokio::test]
async fn position_survives_kill_and_drain() {
    let folder = tempfile::tempdir().unwrap();
    let position = post_and_kill(folder.path(), 3).await;
    post_and_kill(folder.path(), 2).await;
    let mut server = Server::generous(folder.path());
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    let entered = resume_from(folder.path(), &position).await;
    assert_eq!((&entered["recovered"], &entered["epoch"]), (&json!(true), &position["epoch"]), "{entered}");
    assert_eq!(entered["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn restoring_older_copy_of_same_run_invalidates_positions() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    ann.post("r", "in the copy").await;
    // Nothing is written meanwhile, so the two files are consistent.
    copy_database(folder.path(), copy.path());
    let seq = ann.post("r", "not in the copy").await["seq"].clone();
    let epoch = ann.ask("enter_room", json!({"room": "r"})).await["epoch"].clone();
    server.kill();

    copy_database(copy.path(), folder.path());
    // The number is assigned again before a client that saw the first message returns.
    post_and_kill(folder.path(), 1).await;
    assert_epoch_changed(&resume_from(folder.path(), &json!({"epoch": epoch, "seq": seq, "rev": 0})).await);
}

#[tokio::test]
async fn restoring_older_copy_of_earlier_run_invalidates_positions() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    post_and_kill(folder.path(), 1).await;
    copy_database(folder.path(), copy.path());
    let position = post_and_kill(folder.path(), 1).await;
    copy_database(copy.path(), folder.path());
    assert_epoch_changed(&resume_from(folder.path(), &position).await);
}
