//! Exports at the same time, and readers that are slow, stop or go away.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Server, Setup};
use crate::{lines, whole};

/// More than the buffers of a connection hold.
const MESSAGES: u64 = 4_000;

/// A server with a room whose export does not fit the buffers of a connection, and its member.
async fn large_room(setup: Setup) -> (Server, Client) {
    let setup = setup.limit("message_burst", 100_000).limit("outbox_bytes", 1 << 26).limit("outbox_frames", 10_000);
    let server = setup.limit("signal_burst", 100_000).start();
    let mut ann = Client::in_room(&server, "r").await;
    ann.flood("r", MESSAGES, &"x".repeat(3_000)).await;
    (server, ann)
}

fn setup(folder: &Path) -> Setup {
    Setup::in_folder(folder).limit("export_page_burst", 100_000)
}

/// Asks for an export and reads no more than its head and first line.
fn stalled(server: &Server, cookie: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (host, cookie) = (server.address, format!("Cookie: {cookie}\r\n"));
    let request = format!("GET /r/r/export?format=jsonl HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{cookie}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut received = Vec::new();
    while !String::from_utf8_lossy(&received).contains("\"head\":") {
        let mut buffer = [0; 512];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&received));
        received.extend(&buffer[..read]);
    }
    (stream, String::from_utf8(received).unwrap())
}

/// Asks for a small part of an export: the answer is refused or begins.
fn status(server: &Server, cookie: &str) -> String {
    let head = server.head("/r/r/export?format=jsonl", &format!("Connection: close\r\nCookie: {cookie}\r\n"));
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Waits until a person may export again.
fn until_free(server: &Server, cookie: &str) {
    for _ in 0..1_500 {
        if status(server, cookie) == "200" {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the place is not free");
}

#[tokio::test]
async fn person_exports_one_room_at_a_time_and_leaving_frees_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut ann) = large_room(setup(folder.path())).await;
    let (one, other) = (server.get("/").cookie(), server.get("/").cookie());
    let (running, received) = stalled(&server, &one);
    assert!(received.starts_with("HTTP/1.1 200"));

    let path = "/r/r/export?format=html";
    let refused = server.request("GET", path, &format!("Cookie: {one}\r\nAccept-Language: ko\r\n"));
    assert_eq!((refused.status, refused.header("retry-after")), (429, "10"));
    assert!(refused.body.contains("이미 방을 내보내고 있어요."), "{}", refused.body);
    assert_eq!(server.request("HEAD", path, &format!("Cookie: {one}\r\n")).status, 200, "it needs no place");
    assert_eq!(status(&server, &other), "200", "another person");
    assert_eq!(status(&server, ""), "200", "a client without a cookie");

    ann.post("r", "nothing waits for a reader").await;
    drop(running);
    until_free(&server, &one);
}

#[tokio::test]
async fn export_ends_at_the_head_that_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut ann) = large_room(setup(folder.path())).await;
    let (mut stream, mut received) = stalled(&server, "");
    ann.flood("r", 200, "posted meanwhile").await;
    stream.read_to_string(&mut received).unwrap();
    let (_, body) = received.split_once("\r\n\r\n").unwrap();
    let export = lines(&whole(body).unwrap());
    assert_eq!(export.len() as u64, MESSAGES + 2);
    assert_eq!((&export[0]["head"], export.last()), (&json!(MESSAGES), Some(&json!({"end": MESSAGES}))));
    assert!(export[1..].iter().all(|line| line["text"] != "posted meanwhile"));
}

#[tokio::test]
async fn address_and_server_run_a_number_of_exports() {
    let folder = tempfile::tempdir().unwrap();
    let limited = setup(folder.path()).limit("exports", 2).limit("exports_per_address", 3);
    let (server, _ann) = large_room(limited).await;
    let cookies: Vec<_> = (0..3).map(|_| server.get("/").cookie()).collect();
    let running: Vec<_> = cookies[..2].iter().map(|cookie| stalled(&server, cookie)).collect();
    let refused = server.request("GET", "/r/r/export?format=html", &format!("Cookie: {}\r\n", cookies[2]));
    assert_eq!((refused.status, refused.header("retry-after")), (503, "10"));
    drop(running);
    until_free(&server, &cookies[2]);
}

#[tokio::test]
async fn reader_that_stops_holds_neither_memory_nor_database_and_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let limited = setup(folder.path()).limit("exports_per_address", 16).limit("request_seconds", 3);
    let (server, mut ann) = large_room(limited).await;
    let cookies: Vec<_> = (0..16).map(|_| server.get("/").cookie()).collect();
    let before = server.resident_kib();
    let running: Vec<_> = cookies.iter().map(|cookie| stalled(&server, cookie)).collect();
    ann.flood("r", 1_000, "while they wait").await;
    // Every page in the WAL can be copied and overwritten: nobody reads an older state.
    let database = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    database.busy_timeout(Duration::from_secs(20)).unwrap();
    let busy: i64 = database.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
    let grown = server.resident_kib().saturating_sub(before);
    // The exports are 12 MB each.
    assert!(grown < 24 * 1024, "{grown} KiB");
    for cookie in &cookies {
        until_free(&server, cookie);
    }
    for (mut stream, mut received) in running {
        // What the buffers held, or an error.
        let _ = stream.read_to_string(&mut received);
        assert!(
            whole(received.split_once("\r\n\r\n").unwrap().1).is_none(),
            "a cut export can be told from a whole one"
        );
    }
}

#[tokio::test]
async fn server_that_shuts_down_does_not_wait_for_exports() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, _ann) = large_room(setup(folder.path())).await;
    let (stream, _) = stalled(&server, "");
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    let _ = stream.shutdown(Shutdown::Both);
}
