//! `noom backup FILE`, beside a server that is at work.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::epoch::{assert_changed, come_back, post_and_kill};
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
async fn a_backup_under_load_has_everything_that_was_acknowledged_before() {
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
    assert!(String::from_utf8(output.stdout).unwrap().contains("messages in 1 rooms are copied to"));
    let files: Vec<_> = std::fs::read_dir(elsewhere.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["noom.sqlite3"], "nothing else is left there");
    assert_eq!(integrity(elsewhere.path()), "ok");

    let other = Server::generous(elsewhere.path());
    let mut bob = Client::in_room(&other, "r").await;
    let copied = all_messages(&mut bob, "r").await;
    let original = all_messages(&mut ann, "r").await;
    assert_eq!(copied, original[..copied.len()], "the beginning of what there is");
    for (seq, key) in acked {
        assert_eq!(copied[seq.as_u64().unwrap() as usize - 1]["key"], key);
    }
    bob.post("r", "it goes on").await;
}

#[tokio::test]
async fn what_is_restored_is_another_history() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let position = post_and_kill(folder.path(), 2).await;
    let target = elsewhere.path().join("copy");
    assert!(backup(folder.path(), &target).status.success());
    // As nothing was said since, no other sign tells it from the original.
    std::fs::copy(&target, folder.path().join("noom.sqlite3")).unwrap();
    for name in ["noom.sqlite3-wal", "noom.sqlite3-shm"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    let entered = come_back(folder.path(), &position).await;
    assert_changed(&entered);
    assert_eq!(entered["messages"].as_array().unwrap().len(), 2, "the history is there");
    let again = json!({"epoch": entered["epoch"], "seq": entered["head"]});
    assert_eq!(come_back(folder.path(), &again).await["recovered"], true, "and it is another one only once");
}

#[tokio::test]
async fn a_copy_is_not_mixed_with_what_was_there_before() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    post_and_kill(folder.path(), 2).await;
    let log = std::fs::read(folder.path().join("noom.sqlite3-wal")).unwrap();
    let target = elsewhere.path().join("copy");
    assert!(backup(folder.path(), &target).status.success());
    std::fs::copy(&target, folder.path().join("noom.sqlite3")).unwrap();
    std::fs::write(folder.path().join("noom.sqlite3-wal"), log).unwrap();
    let output = Setup::in_folder(folder.path()).command().stderr(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.trim().lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("noom.sqlite3-wal"), "{said}");
}

#[test]
fn what_keeps_it_from_copying_is_one_clear_line() {
    let (folder, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let _server = Setup::in_folder(folder.path()).start();
    let taken = empty.path().join("taken");
    std::fs::write(&taken, "mine").unwrap();
    let cases = [
        (empty.path(), empty.path().join("copy"), "there is no database"),
        (folder.path(), taken.clone(), "exists already"),
        (folder.path(), empty.path().join("nowhere/copy"), "cannot make"),
    ];
    for (data, target, hint) in cases {
        let output = backup(data, &target);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.trim().lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains(hint), "{said}");
    }
    assert_eq!(std::fs::read_to_string(taken).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 1);
}
