//! `noom export`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::support::{Client, Server, Setup, project};
use crate::{HOSTILE, export, lines};

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noom"));
    command.arg("export").args(arguments).arg("--data-dir").arg(data);
    command.arg("--config").arg(project().join("Leptos.toml"));
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    command(data, arguments).output().unwrap()
}

/// The text that a successful command printed.
fn printed(output: Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that a command failed with exit code 1 and one line.
fn assert_fails(output: &Output, hint: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.trim().lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains(hint), "{stderr}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn export_beside_a_running_server_equals_the_one_from_the_page() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "한 방").await;
    for text in HOSTILE {
        ann.post("한 방", text).await;
    }
    ann.flood("한 방", 1_000, "").await;
    let mut expected = lines(&export(&server, "%ED%95%9C%20%EB%B0%A9", "jsonl", ""));
    let mut check = |text: &str| {
        let found = lines(text);
        assert!(found[0]["at"].as_u64() >= expected[0]["at"].as_u64());
        expected[0]["at"] = found[0]["at"].clone();
        assert_eq!(found, expected);
    };
    check(&printed(run(folder.path(), &["한 방"])));
    check(&printed(run(folder.path(), &[" 한  방 ", "--format", "jsonl"])));

    let file = elsewhere.path().join("room.jsonl");
    let said = printed(run(folder.path(), &["한 방", "--output", file.to_str().unwrap()]));
    assert_eq!(said, format!("exported 1009 messages to {}\n", file.display()));
    check(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(names(elsewhere.path()), ["room.jsonl"], "no temporary file is left");

    let page = printed(run(folder.path(), &["한 방", "--format", "html", "--lang", "ko"]));
    assert!(page.contains("<html lang=\"ko\"") && page.contains("파일이 온전해요. 메시지 1,009개"));
    ann.post("한 방", "still here").await;
    server.kill();
    assert_eq!(
        lines(&printed(run(folder.path(), &["한 방"]))).len(),
        1_012,
        "from the log of a server that was killed"
    );
    let before = names(folder.path());
    let mut server = Server::generous(folder.path());
    server.terminate();
    server.wait();
    assert_eq!(lines(&printed(run(folder.path(), &["한 방"]))).len(), 1_012, "of a server that has ended");
    assert!(names(folder.path()).iter().all(|name| before.contains(name)));
    Client::in_room(&Server::generous(folder.path()), "한 방").await;
}

#[tokio::test]
async fn export_of_a_backup_has_no_epoch() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::generous(folder.path());
    Client::in_room(&server, "r").await.post("r", "hello").await;
    let copy = elsewhere.path().join("noom.sqlite3");
    let mut backup = Command::new(env!("CARGO_BIN_EXE_noom"));
    backup.arg("backup").arg(&copy).arg("--data-dir").arg(folder.path());
    assert!(backup.arg("--config").arg(project().join("Leptos.toml")).output().unwrap().status.success());
    let export = lines(&printed(run(elsewhere.path(), &["r"])));
    assert_eq!((export.len(), export[0].get("epoch")), (3, None));
}

#[tokio::test]
async fn failing_export_prints_one_line_and_leaves_no_file() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Setup::in_folder(folder.path()).start();
    Client::in_room(&server, "r").await.post("r", "hello").await;
    let (taken, nowhere) = (other.path().join("taken"), other.path().join("nowhere/file"));
    std::fs::write(&taken, "mine").unwrap();
    let (taken, nowhere) = (taken.to_str().unwrap(), nowhere.to_str().unwrap());
    assert_fails(&run(folder.path(), &["unknown"]), "there is no room \"unknown\"");
    assert_fails(&run(folder.path(), &["a/b", "--output", nowhere]), "there is no room \"a/b\"");
    assert_fails(&run(other.path(), &["r"]), "there is no database");
    assert_fails(&run(folder.path(), &["r", "--output", taken]), "already exists");
    assert_fails(&run(folder.path(), &["r", "--output", nowhere]), "cannot write the export");
    let full = command(folder.path(), &["r"]).stdout(File::options().write(true).open("/dev/full").unwrap()).output();
    assert_fails(&full.unwrap(), "cannot write the export to standard output: No space left on device");
    for arguments in [&["r", "--format", "pdf"][..], &["r", "--lang", "xx"], &[]] {
        assert_eq!(run(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(std::fs::read_to_string(taken).unwrap(), "mine");
    std::fs::write(other.path().join("noom.sqlite3"), "this is not a database, and long enough to be seen as such")
        .unwrap();
    assert_fails(&run(other.path(), &["r"]), "cannot read the database");
    assert_eq!(names(other.path()), ["noom.sqlite3", "taken"]);
    assert_eq!(crate::rooms(folder.path()), 1, "nothing was created");
}

#[tokio::test]
async fn database_of_a_newer_version_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).start();
    Client::in_room(&server, "r").await;
    drop(server);
    let database = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    database.pragma_update(None, "user_version", 1_000).unwrap();
    drop(database);
    assert_fails(&run(folder.path(), &["r"]), "newer version");
}

#[tokio::test]
async fn closed_pipe_ends_the_export_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    // More than a pipe holds.
    ann.flood("r", 1_000, &"x".repeat(500)).await;
    let mut child = command(folder.path(), &["r"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert_eq!(lines(&first)[0]["format"], json!("noom-export"));
    drop(reader);
    assert_fails(&child.wait_with_output().unwrap(), "cannot write the export to standard output: Broken pipe");
}
