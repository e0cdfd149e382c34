//! Exports of rooms, from the page's address and from the command line. These tests run the real server process.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;
mod export {
    mod command;
    mod places;
}

use std::path::Path;

use serde_json::{Value, json};
use support::{Client, Server, Setup};

/// Texts that a careless export would break on.
const HOSTILE: &[&str] = &[
    "</p></li></ol><script>alert(1)</script>",
    "<!-- & &amp; &lt; \" ' `",
    "two\nlines\r\nand a tab\t.",
    "one line for some\u{2028}two for others\u{2029}",
    "{\"end\":1}",
    "left \u{202e}right, \u{feff}invisible",
    "javascript:alert(1) https://noom.example/a?b=c&d='e' <https://noom.example/f>",
    "안녕하세요, 반가워요! 링크는 https://noom.example/방 입니다.",
    "😀 👩‍👩‍👧‍👦 e\u{301}",
];

/// The body of a complete answer with chunks (RFC 9112, 7.1); `None` if it was cut.
fn whole(body: &str) -> Option<String> {
    let (mut rest, mut whole) = (body, String::new());
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

fn export(server: &Server, room: &str, format: &str, headers: &str) -> String {
    let answer = server.request("GET", &format!("/r/{room}/export?format={format}"), headers);
    assert_eq!(answer.status, 200, "{answer:?}");
    whole(&answer.body).expect("the export is complete")
}

fn lines(export: &str) -> Vec<Value> {
    assert!(export.ends_with('\n'));
    export.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All messages of a room by the protocol, oldest first.
async fn history(client: &mut Client, room: &str) -> Vec<Value> {
    let mut messages = Vec::new();
    loop {
        let before = messages.first().map_or(1 << 50, |first: &Value| first["seq"].as_u64().unwrap());
        let page = client.ask("history", json!({"room": room, "before": before, "limit": 100})).await;
        messages.splice(0..0, page["messages"].as_array().unwrap().iter().cloned());
        if page["more"] == false {
            // An export has the ids of rooms, too.
            messages.iter_mut().for_each(|message| message["room"] = json!(client.room_id(room)));
            return messages;
        }
    }
}

/// The number of rooms in the database of a server.
fn rooms(folder: &Path) -> i64 {
    let database = rusqlite::Connection::open(folder.join("noom.sqlite3")).unwrap();
    database.query_row("SELECT COUNT(*) FROM rooms", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn json_lines_have_every_message_as_on_the_wire_and_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "한 방").await;
    ann.ask("nickname", json!({"nickname": "앤 <b>"})).await;
    for text in HOSTILE {
        ann.post("한 방", text).await;
    }
    ann.flood("한 방", 3_000 - HOSTILE.len() as u64, "").await;
    let mut bob = Client::in_room(&server, "another").await;
    bob.post("another", "not part of it").await;

    let posted = history(&mut ann, "한 방").await;
    let entered = ann.ask("enter_room", json!({"room": "한 방"})).await;
    let export = lines(&export(&server, "%ED%95%9C%20%EB%B0%A9", "jsonl", ""));
    let [begin, messages @ .., end] = export.as_slice() else { panic!("no lines") };
    assert_eq!((posted.len(), messages), (3_000, posted.as_slice()));
    assert!(messages.iter().zip(1..).all(|(message, seq)| message["seq"] == seq));
    assert!(messages.iter().zip(HOSTILE).all(|(message, text)| message["text"] == *text));
    assert_eq!(end, &json!({"end": 3_000}));
    let program = concat!("noom ", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        begin,
        &json!({"format": "noom-export", "version": 2, "room": ann.room_id("한 방"), "name": "한 방", "epoch": entered["epoch"], "head": 3_000,
                "at": begin["at"], "program": program})
    );
    let documented = include_str!("../PROTOCOL.md").split("```jsonl\n").nth(1).unwrap().split("```").next().unwrap();
    for (line, documented) in [begin, &messages[0], end].into_iter().zip(lines(documented)) {
        let keys = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(line), keys(&documented), "as in PROTOCOL.md");
    }
    assert!(begin["at"].as_u64().unwrap() >= messages[2_999]["at"].as_u64().unwrap());
}

#[tokio::test]
async fn page_shows_every_message_as_text_and_says_that_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    for text in HOSTILE {
        ann.post("r", text).await;
    }
    ann.flood("r", 500, "more").await;
    let page = export(&server, "r", "html", "Accept-Language: ko\r\n");
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"ko\" dir=\"ltr\">"));
    assert!(
        page.ends_with("<p>내보낸 내용의 끝이에요. 파일이 온전해요. 메시지 509개</p>\n</footer>\n</body>\n</html>\n")
    );
    assert_eq!(page.matches("<li id=\"m").count(), 509);
    for active in ["<script", "<img", "<link", " src=", " style=", "href=\"javascript", "url("] {
        assert!(!page.contains(active), "{active}");
    }
    assert!(page.contains("<a href=\"https://noom.example/a?b=c&amp;d=&#39;e\" dir=\"ltr\" rel="));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("two\nlines\n") || page.contains("two\nlines&#13;\n"));
}

#[tokio::test]
async fn export_is_a_download_that_is_not_stored_indexed_or_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    Client::in_room(&server, "한 방: \"a\"").await;
    let room = "%ED%95%9C%20%EB%B0%A9%3A%20%22a%22";
    for (format, kind) in [("jsonl", "application/jsonl; charset=utf-8"), ("html", "text/html; charset=utf-8")] {
        for method in ["GET", "HEAD"] {
            let answer = server.request(method, &format!("/r/{room}/export?format={format}"), "");
            assert_eq!((answer.status, answer.header("content-type")), (200, kind));
            assert_eq!(answer.body.is_empty(), method == "HEAD");
            let disposition = answer.header("content-disposition");
            assert!(disposition.starts_with("attachment; filename=\"noom-_ __ _a_-2"), "{disposition}");
            assert!(disposition.contains("; filename*=UTF-8''noom-%ED%95%9C%20%EB%B0%A9_%20_a_-2"), "{disposition}");
            assert!(disposition.ends_with(format), "{disposition}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert!(answer.header("x-robots-tag").contains("noindex"));
            let policy = answer.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none';") && policy.ends_with("sandbox"), "{policy}");
            assert_eq!(answer.header("set-cookie"), "");
        }
    }
}

#[tokio::test]
async fn refused_export_says_why_and_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    Client::in_room(&server, "r").await;
    for (path, status, text) in [
        ("/r/nowhere/export?format=jsonl", 404, "There is no room with this name."),
        ("/r/r/export", 400, "?format=html or ?format=jsonl"),
        ("/r/r/export?format=pdf", 400, "?format=html or ?format=jsonl"),
        ("/r/r/export?format=html&format=jsonl", 400, "?format=html or ?format=jsonl"),
        ("/r/a%2Fb/export?format=html", 400, "Room names have"),
        ("/r/%C3%28/export?format=html", 400, "Room names have"),
    ] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (status, "text/plain; charset=utf-8"), "{path}");
        assert!(answer.body.contains(text), "{path}: {}", answer.body);
        assert_eq!(server.request("HEAD", path, "").status, status, "{path}");
    }
    let korean = server.request("GET", "/r/nowhere/export?format=html", "Accept-Language: ko\r\n");
    assert!(korean.body.contains("이 이름의 방이 없어요."));
    assert_eq!(server.post("/r/r/export?format=html", "", "").status, 405);
    let foreign =
        server.raw(b"GET /r/r/export?format=html HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
    assert_eq!(rooms(folder.path()), 1);
}

#[tokio::test]
async fn other_spellings_of_a_room_export_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    Client::in_room(&server, "Book Club").await.post("Book Club", "hello").await;
    let export = lines(&export(&server, "BOOK%20club", "jsonl", ""));
    assert_eq!((export.len(), &export[0]["name"]), (3, &json!("Book Club")));
}

#[tokio::test]
async fn pages_of_an_export_have_a_budget_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::in_folder(folder.path()).limit("message_burst", 1_000).limit("signal_burst", 10_000);
    let setup = setup.limit("export_pages_per_second", 1).limit("export_page_burst", 2).limit("users_per_address", 1);
    let server = setup.start();
    Client::in_room(&server, "r").await.flood("r", 450, "x").await;
    let began = std::time::Instant::now();
    let export = lines(&export(&server, "r", "jsonl", ""));
    // Five pages: two at once, and one a second.
    assert!(began.elapsed() >= std::time::Duration::from_millis(2_000));
    assert_eq!(export.len(), 452);
    assert_eq!(server.get("/r/r").status, 200);
}

#[test]
fn asking_for_exports_is_paid_like_pages() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::in_folder(folder.path()).limit("users_per_address", 1);
    let server = setup.limit("reads_per_second", 1).limit("read_burst", 2).start();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let ask = || server.request("HEAD", "/r/nowhere/export?format=html", "").status;
        let requests: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        requests.into_iter().map(|request| request.join().unwrap()).collect()
    });
    let answered = statuses.iter().filter(|status| **status == 404).count();
    // One at once, and one for every two seconds of the longest wait.
    assert!((2..12).contains(&answered), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 12 - answered);
}
