//! `noom backup FILE` while a server uses the database, and restoring the backup.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use noom::protocol::{MessageKey, User, UserId};
use noom::server::name_key::RoomName;
use noom::server::store::{Append, Outcome, RoomRow, Store};
use serde_json::json;

use crate::epoch::{assert_epoch_changed, post_and_kill, resume_from};
use crate::support::{Client, Server, Setup, fresh_key, project};
use crate::{all_messages, integrity};

fn backup(data: &Path, target: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_noom"))
        .arg("backup")
        .arg(target)
        .arg("--data-dir")
        .arg(data)
        .arg("--config")
        .arg(project().join("Leptos.toml"))
        .output()
        .unwrap()
}

#[tokio::test]
async fn backup_under_load_contains_all_messages_acknowledged_before() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::generous(folder.path());
    let done = Arc::new(AtomicBool::new(false));
    let mut authors = Vec::new();
    for _ in 0..4 {
        let mut author = Client::in_room(&server, "r").await;
        let done = done.clone();
        authors.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                author.post("r", "meanwhile").await;
            }
        }));
    }
    let mut ann = Client::in_room(&server, "r").await;
    let mut acked = Vec::new();
    for n in 0..50 {
        let key = fresh_key();
        let ack = ann.ask("new_message", json!({"room": "r", "key": key, "text": n.to_string()})).await;
        acked.push((ack["seq"].clone(), json!(key)));
    }

    let target = elsewhere.path().join("noom.sqlite3");
    let output = {
        let (folder, target) = (folder.path().to_owned(), target.clone());
        tokio::task::spawn_blocking(move || backup(&folder, &target)).await.unwrap()
    };
    done.store(true, Ordering::Relaxed);
    for author in authors {
        author.await.unwrap();
    }
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("messages in 1 rooms to"));
    let files: Vec<_> = std::fs::read_dir(elsewhere.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["noom.sqlite3"], "no temporary file is left");
    assert_eq!(integrity(elsewhere.path()), "ok");

    let other = Server::generous(elsewhere.path());
    let mut bob = Client::in_room(&other, "r").await;
    let copied = all_messages(&mut bob, "r").await;
    let original = all_messages(&mut ann, "r").await;
    assert_eq!(copied, original[..copied.len()], "the backup is a prefix of the log");
    for (seq, key) in acked {
        assert_eq!(copied[seq.as_u64().unwrap() as usize - 1]["key"], key);
    }
    bob.post("r", "after the restore").await;
}

#[tokio::test]
async fn restored_backup_starts_new_epoch() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let position = post_and_kill(folder.path(), 2).await;
    let target = elsewhere.path().join("copy");
    assert!(backup(folder.path(), &target).status.success());
    // No message was posted since, so nothing but the missing epoch distinguishes it from the original.
    std::fs::copy(&target, folder.path().join("noom.sqlite3")).unwrap();
    for name in ["noom.sqlite3-wal", "noom.sqlite3-shm"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    let entered = resume_from(folder.path(), &position).await;
    assert_epoch_changed(&entered);
    assert_eq!(entered["messages"].as_array().unwrap().len(), 2, "the messages are restored");
    let again = json!({"epoch": entered["epoch"], "seq": entered["head"], "rev": entered["rev"]});
    assert_eq!(resume_from(folder.path(), &again).await["recovered"], true, "the epoch changes only once");
}

#[tokio::test]
async fn backup_restored_beside_foreign_wal_is_refused() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    post_and_kill(folder.path(), 2).await;
    let wal = std::fs::read(folder.path().join("noom.sqlite3-wal")).unwrap();
    let target = elsewhere.path().join("copy");
    assert!(backup(folder.path(), &target).status.success());
    std::fs::copy(&target, folder.path().join("noom.sqlite3")).unwrap();
    std::fs::write(folder.path().join("noom.sqlite3-wal"), wal).unwrap();
    let output = Setup::in_folder(folder.path()).command().stderr(std::process::Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.trim().lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("noom.sqlite3-wal"), "{stderr}");
}

#[test]
fn failing_backup_prints_one_line_and_leaves_no_file() {
    let (folder, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let _server = Setup::in_folder(folder.path()).start();
    let taken = empty.path().join("taken");
    std::fs::write(&taken, "mine").unwrap();
    let cases = [
        (empty.path(), empty.path().join("copy"), "there is no database"),
        (folder.path(), taken.clone(), "already exists"),
        (folder.path(), empty.path().join("nowhere/copy"), "cannot write the backup"),
    ];
    for (data, target, hint) in cases {
        let output = backup(data, &target);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.trim().lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains(hint), "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(taken).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 1);
}

fn rand_bits() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    u128::from_ne_bytes(bytes)
}

/// Stores this many messages of 4,000 bytes, and returns the size of the WAL.
async fn fill(store: &Store, folder: &Path, room: &RoomRow, count: u64) -> u64 {
    let (done, answers) = std::sync::mpsc::channel();
    for _ in 0..count {
        let done = done.clone();
        let key = MessageKey::from_random(rand_bits());
        let user = User { id: UserId(1), nickname: "Ann".into() };
        let done = move |outcome: Outcome| done.send(outcome.map(drop)).unwrap_or_default();
        store.append(Append::of_text(room.clone(), user, key, "x".repeat(4_000), done)).unwrap();
    }
    drop(done);
    assert_eq!(answers.iter().filter(Result::is_ok).count() as u64, count);
    std::fs::metadata(folder.join("noom.sqlite3-wal")).unwrap().len()
}

#[tokio::test]
async fn wal_shrinks_after_a_long_reader() {
    const LARGE: u64 = 80 << 20;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "e").unwrap();
    let room = store.create_room(RoomName::parse("r").unwrap()).await.unwrap();
    // A snapshot of the database, as a backup holds it.
    let reader = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM rooms").unwrap();
    while fill(&store, folder.path(), &room, 1_000).await < LARGE {}
    drop(reader);
    // Even if nothing is written any more.
    let wal = || std::fs::metadata(folder.path().join("noom.sqlite3-wal")).unwrap().len();
    for _ in 0..300 {
        if wal() < LARGE {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(wal() < LARGE, "{} bytes", wal());
    store.close();
}
