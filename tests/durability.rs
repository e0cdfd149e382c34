//! Acknowledged messages survive crashes, restarts, restores and full disks. These tests run the real server process.

#![allow(clippy::unwrap_used, reason = "a panic shows the failing line")]

#[path = "durability/backup.rs"]
mod backup;
#[path = "durability/changing.rs"]
mod changing;
#[path = "durability/disk.rs"]
mod disk;
#[path = "durability/epoch.rs"]
mod epoch;
#[path = "durability/killing.rs"]
mod killing;
#[path = "durability/kills.rs"]
mod kills;
#[path = "durability/quota.rs"]
mod quota;
mod support;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Client, Received, Server, Setup, fresh_key};

/// Reads all messages of a room, oldest first.
async fn all_messages(client: &mut Client, room: &str) -> Vec<Value> {
    let mut messages = Vec::new();
    let mut before = 1_u64 << 50;
    loop {
        let page = client.ask("history", json!({"room": room, "before": before, "limit": 100})).await;
        messages.splice(0..0, page["messages"].as_array().unwrap().iter().cloned());
        match messages.first() {
            Some(oldest) if page["more"] == true => before = oldest["seq"].as_u64().unwrap(),
            _ => return messages,
        }
    }
}

/// Runs SQLite's integrity check on a database that no server uses. Returns `ok` or the first error.
fn integrity(folder: &Path) -> String {
    let database = rusqlite::Connection::open(folder.join("noom.sqlite3")).unwrap();
    database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn drain_answers_pending_commands_and_sends_reconnect_delay() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    let mut ids = Vec::new();
    for n in 0..100 {
        ids.push(ann.command("new_message", json!({"room": "r", "key": fresh_key(), "text": n.to_string()})).await);
    }
    server.terminate();
    assert_eq!(ann.end().await, Received::Closed(1012));
    let away =
        ann.skipped.iter().find(|frame| frame["type"] == "going_away").expect("going_away is sent before the close");
    assert!(away["payload"]["reconnect_in_ms"].as_u64().unwrap() <= 10_000);
    let acked = ann.skipped.iter().filter(|frame| frame["type"] == "ack").count();
    assert_eq!(server.wait().code(), Some(0));

    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    assert!(all_messages(&mut ann, "r").await.len() >= acked);
}

#[tokio::test]
async fn draining_server_serves_pages_and_refuses_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    // Peers that never answer the close frame keep the drain running for a second.
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::greeted(&server).await);
    }
    assert_eq!(server.get("/health/ready").status, 200);
    server.terminate();
    clients[0].until_type("going_away").await;
    assert_eq!(server.get("/health/ready").status, 503);
    assert_eq!(server.get("/health/live").status, 200);
    assert_eq!(server.get("/").status, 200);
    let upgrade = format!(
        "Origin: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        server.origin()
    );
    assert!(server.raw_upgrade(&upgrade).starts_with("HTTP/1.1 503"));
}

#[test]
fn startup_failure_prints_one_line() {
    let fails = |setup: &Setup, more: &[&str]| {
        let mut child = setup.command().args(more).stderr(std::process::Stdio::piped()).spawn().unwrap();
        for _ in 0..500 {
            if let Some(status) = child.try_wait().unwrap() {
                let mut stderr = String::new();
                child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                assert_eq!(status.code(), Some(1), "{stderr}");
                assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
                return stderr;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        panic!("the server started: {:?}", child.wait());
    };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::in_folder(folder.path());
    let running = setup.start();
    assert!(fails(&setup, &[]).contains("another Noom"));

    let elsewhere = tempfile::tempdir().unwrap();
    let taken = running.address.to_string();
    assert!(
        fails(&Setup::in_folder(elsewhere.path()).variable("NOOM_LIMITS_CONNECTIONS", "many"), &[])
            .contains("NOOM_LIMITS_CONNECTIONS")
    );
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_noom"))
        .env("NOOM_LISTEN", &taken)
        .env("NOOM_DATA_DIR", elsewhere.path())
        .env("NOOM_CONFIG", support::project().join("Leptos.toml"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("cannot listen on"), "{stderr}");
    assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");

    let unreadable = std::process::Command::new(env!("CARGO_BIN_EXE_noom"))
        .env("NOOM_CONFIG", "/nowhere/Leptos.toml")
        .output()
        .unwrap();
    let stderr = String::from_utf8(unreadable.stderr).unwrap();
    assert!(unreadable.status.code() == Some(1) && stderr.contains("cannot read the configuration"), "{stderr}");
    assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");

    drop(running);
    // The WAL alone would restore the database.
    std::fs::remove_file(folder.path().join("noom.sqlite3-wal")).unwrap();
    std::fs::write(
        folder.path().join("noom.sqlite3"),
        "this is not a database, and long enough to be recognised as such",
    )
    .unwrap();
    assert!(fails(&setup, &[]).contains("cannot open the database"));
    let file = elsewhere.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(fails(&Setup::in_folder(&file), &[]).contains("data folder"));
}

#[test]
fn read_only_database_fails_at_startup() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    Setup::in_folder(&data).start().kill();
    let database = data.join("noom.sqlite3");
    std::fs::set_permissions(&database, PermissionsExt::from_mode(0o444)).unwrap();
    let mut command = Setup::in_folder(&data).command();
    // Root can write to every file. Run by root, this test starts a copy of the server as the user `nobody`.
    let nobody = 65_534;
    if chown(&database, Some(nobody), Some(nobody)).is_ok() {
        let program = folder.path().join("noom");
        let config = folder.path().join("Leptos.toml");
        // By another process: while this one has the file open for writing, a test that starts a server passes it on, and
        // such a file cannot be executed (ETXTBSY).
        let copied = std::process::Command::new("cp").args([Path::new(env!("CARGO_BIN_EXE_noom")), &program]).status();
        assert!(copied.unwrap().success());
        std::fs::copy(support::project().join("Leptos.toml"), &config).unwrap();
        for path in std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .chain([data.clone(), folder.path().to_owned()])
        {
            chown(path, Some(nobody), Some(nobody)).unwrap();
        }
        command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&data).arg("--config").arg(&config);
    }
    let output = command
        .env("RUST_LOG", "warn")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot open the database") && stderr.trim().lines().count() == 1, "{stderr}");
}
