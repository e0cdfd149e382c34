//! Whether positions still hold after what may happen to the data folder.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Server};

/// Starts a server, posts so many messages, and kills it. Returns the last position.
pub(crate) async fn post_and_kill(folder: &Path, messages: u64) -> Value {
    let server = Server::generous(folder);
    let mut ann = Client::greeted(&server).await;
    let entered = ann.ask("enter_room", json!({"room": "r"})).await;
    let mut seq = entered["head"].clone();
    for n in 0..messages {
        seq = ann.post("r", &n.to_string()).await["seq"].clone();
    }
    server.kill();
    json!({"epoch": entered["epoch"], "seq": seq})
}

/// What a client gets that comes back to a server with this folder.
pub(crate) async fn come_back(folder: &Path, position: &Value) -> Value {
    let server = Server::generous(folder);
    let mut ann = Client::greeted(&server).await;
    ann.ask("enter_room", json!({"room": "r", "after": position})).await
}

/// Puts the database of one folder into another, with its log.
pub(crate) fn copy_database(from: &Path, to: &Path) {
    for name in ["noom.sqlite3", "noom.sqlite3-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let _ = std::fs::remove_file(to.join("noom.sqlite3-shm"));
}

pub(crate) fn assert_changed(entered: &Value) {
    assert_eq!((&entered["recovered"], &entered["reason"]), (&json!(false), &json!("EPOCH_CHANGED")), "{entered}");
}

#[tokio::test]
async fn a_position_holds_over_kills_and_drains() {
    let folder = tempfile::tempdir().unwrap();
    let position = post_and_kill(folder.path(), 3).await;
    post_and_kill(folder.path(), 2).await;
    let mut server = Server::generous(folder.path());
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    let entered = come_back(folder.path(), &position).await;
    assert_eq!((&entered["recovered"], &entered["epoch"]), (&json!(true), &position["epoch"]), "{entered}");
    assert_eq!(entered["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_older_copy_of_the_same_run_is_another_history() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    ann.post("r", "in the copy").await;
    // Nothing is written meanwhile, so the two files fit.
    copy_database(folder.path(), copy.path());
    let seq = ann.post("r", "not in the copy").await["seq"].clone();
    let epoch = ann.ask("enter_room", json!({"room": "r"})).await["epoch"].clone();
    server.kill();

    copy_database(copy.path(), folder.path());
    // The number is given again before anyone who heard of the first comes back.
    post_and_kill(folder.path(), 1).await;
    assert_changed(&come_back(folder.path(), &json!({"epoch": epoch, "seq": seq})).await);
}

#[tokio::test]
async fn an_older_copy_of_an_earlier_run_is_another_history() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    post_and_kill(folder.path(), 1).await;
    copy_database(folder.path(), copy.path());
    let position = post_and_kill(folder.path(), 1).await;
    copy_database(copy.path(), folder.path());
    assert_changed(&come_back(folder.path(), &position).await);
}
