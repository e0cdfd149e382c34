//! Files in messages: a real server process, and visitors who upload well and badly.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test with its location")]

mod files {
    pub(crate) mod bucket;
    pub(crate) mod pictures;
    pub(crate) mod uploader;
}
mod support;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use files::bucket::S3;
use files::pictures::{
    SECRET, bomb, encoded, gif_with_place, jpeg_with_place, photo, png_with_place, sticker, webp_with_place,
};
use files::uploader::{Visitor, eventually, send};
use image::{ImageFormat, ImageReader};
use serde_json::{Value, json};
use support::{Server, Setup, fresh_key};

/// The names of all files below a folder.
fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
    let entries: Vec<_> = entries.unwrap_or_default();
    let inner = |path: &std::path::PathBuf| {
        if path.is_dir() { files_in(path) } else { vec![path.file_name().unwrap().to_string_lossy().into_owned()] }
    };
    entries.iter().flat_map(inner).collect()
}

/// Asserts that nothing is left of an upload that was refused.
fn assert_nothing_kept(data: &Path) {
    assert_eq!(files_in(&data.join("uploads")), [""; 0]);
    assert_eq!(files_in(&data.join("files")), [""; 0]);
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn file_is_uploaded_in_parts_sent_and_read_by_others() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    let mut bob = Visitor::enter(&server, "garden").await;
    let content: Vec<u8> = (0..7_000_000_u32).map(|n| (n % 251) as u8).collect();

    let upload = ann.begin("notes (1).bin", content.len());
    let first = ann.append(&upload, 0, &content[..3_000_000]).json();
    assert_eq!((&first["offset"], &first["attachment"]), (&json!(3_000_000), &Value::Null));
    let file = ann.append(&upload, 3_000_000, &content[3_000_000..]).json()["attachment"].clone();
    let expected =
        json!({"id": file["id"], "name": "notes (1).bin", "type": "application/octet-stream", "bytes": 7_000_000});
    assert_eq!(file, expected);

    ann.send("", &[&file]).await;
    let received = bob.client.until_type("new_message").await["payload"].clone();
    assert_eq!((&received["text"], &received["attachments"]), (&json!(""), &json!([file])));
    let read = bob.read(&file);
    assert_eq!((read.status, read.body.len()), (200, content.len()));
    assert!(read.body == content);
    assert!(read.header("content-disposition").starts_with("attachment; filename=\"notes (1).bin\""));
    assert_eq!(read.header("cache-control"), "private, max-age=31536000, immutable");
    let again = bob.request("GET", &bob.address(&file), &format!("If-None-Match: {}\r\n", read.header("etag")), b"");
    assert_eq!((again.status, again.body.len()), (304, 0));

    let range = bob.request("GET", &bob.address(&file), "Range: bytes=5000000-5000009\r\n", b"");
    assert_eq!((range.status, &range.body[..]), (206, &content[5_000_000..5_000_010]));
    assert_eq!(range.header("content-range"), "bytes 5000000-5000009/7000000");
    let beyond = bob.request("GET", &bob.address(&file), "Range: bytes=7000000-\r\n", b"");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */7000000"));
    let head = bob.request("HEAD", &bob.address(&file), "", b"");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "7000000", 0));

    // It is in the history, and reading it needs no cookie: as the room.
    let carol = Visitor::enter(&server, "garden").await;
    assert_eq!(send(&server, "GET", &carol.address(&file), "", b"").body.len(), content.len());
    let entered = bob.client.ask("enter_room", json!({"room": "garden"})).await;
    assert_eq!(entered["messages"][0]["attachments"], json!([file]));
    assert_eq!(files_in(&data.path().join("uploads")), [""; 0]);
}

#[tokio::test]
async fn upload_continues_after_a_cut_connection() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    let content = vec![7; 100_000];
    let upload = ann.begin("a.bin", content.len());

    // The connection stays open, as if the network was gone: the server still waits for its bytes.
    let mut dead = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nOrigin: {}\r\nUpload-Offset: 0\r\nContent-Length: 100000\r\n\r\n",
        server.address,
        ann.cookie,
        server.origin()
    );
    dead.write_all(head.as_bytes()).unwrap();
    dead.write_all(&content[..40_000]).unwrap();
    let file = data.path().join("uploads");
    let size = || {
        let mut entries = std::fs::read_dir(&file).unwrap();
        entries.next().map_or(0, |entry| entry.unwrap().metadata().unwrap().len())
    };
    eventually("the first bytes arrive", || size() == 40_000).await;

    assert_eq!(ann.state(&upload).json()["offset"], 40_000);
    assert_eq!(ann.append(&upload, 0, &content).refusal(), (409, "UPLOAD_OFFSET".into()));
    let done = ann.append(&upload, 40_000, &content[40_000..]).json();
    // The answer may be lost, too.
    assert_eq!(ann.state(&upload).json(), done);
    assert_eq!(ann.append(&upload, 100_000, b"").json(), done);
    let file = done["attachment"].clone();
    ann.send("here", &[&file]).await;
    assert!(ann.read(&file).body == content);
    assert_eq!(ann.state(&upload).refusal(), (404, "UPLOAD_NOT_FOUND".into()), "a message has it");
}

#[tokio::test]
async fn file_that_is_not_as_announced_is_refused_and_nothing_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(data.path()).limit("file_bytes", 1_000).start();
    let ann = Visitor::enter(&server, "garden").await;

    for (name, bytes, code) in [
        ("a.bin", 0, "FILE_TOO_LARGE"),
        ("../a.bin", 10, "FILE_NAME_INVALID"),
        ("C:\\a.bin", 10, "FILE_NAME_INVALID"),
        ("a\n.bin", 10, "FILE_NAME_INVALID"),
        ("a\u{202e}nib.exe", 10, "FILE_NAME_INVALID"),
        ("..", 10, "FILE_NAME_INVALID"),
    ] {
        assert_eq!(ann.announce(name, bytes).refusal(), (if bytes == 0 { 413 } else { 400 }, code.into()), "{name:?}");
    }
    assert_eq!(ann.announce("a.bin", 1_001).refusal(), (413, "FILE_TOO_LARGE".into()));
    for body in
        ["", "[]", "{\"name\": \"a\"}", "{\"name\": \"a\", \"bytes\": -1}", "{\"name\": \"a\", \"bytes\": 1, \"x\": 1}"]
    {
        assert_eq!(ann.request("POST", "/r/garden/files", "", body.as_bytes()).status, 400, "{body}");
    }
    assert_nothing_kept(data.path());

    // Longer than announced, in one request and in two.
    let upload = ann.begin("a.bin", 10);
    assert_eq!(ann.append(&upload, 0, &[0; 11]).refusal(), (413, "FILE_TOO_LARGE".into()));
    let upload = ann.begin("a.bin", 10);
    assert_eq!(ann.append(&upload, 0, &[0; 6]).status, 200);
    assert_eq!(ann.append(&upload, 6, &[0; 6]).refusal(), (413, "FILE_TOO_LARGE".into()));
    assert_eq!(ann.state(&upload).refusal(), (404, "UPLOAD_NOT_FOUND".into()));
    assert_nothing_kept(data.path());

    // A cancelled one, at any time.
    let upload = ann.begin("a.bin", 10);
    assert_eq!(ann.append(&upload, 0, &[0; 6]).status, 200);
    assert_eq!(ann.request("DELETE", &upload, "", b"").status, 204);
    assert_eq!(ann.append(&upload, 6, &[0; 4]).refusal(), (404, "UPLOAD_NOT_FOUND".into()));
    assert_nothing_kept(data.path());
}

#[tokio::test]
async fn picture_that_cannot_be_shown_is_refused_and_nothing_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let ann = Visitor::enter(&server, "garden").await;
    let png = encoded(&photo(300, 200), ImageFormat::Png);
    let jpeg = encoded(&photo(300, 200), ImageFormat::Jpeg);
    let before = server.resident_kib();
    for (case, name, content, code) in [
        ("a bomb", "a.png", bomb(30_000, 30_000), "PICTURE_TOO_LARGE"),
        ("a bomb with another name", "a.txt", bomb(30_000, 30_000), "PICTURE_TOO_LARGE"),
        ("a wide bomb", "a.png", bomb(u32::MAX >> 1, 1), "PICTURE_TOO_LARGE"),
        ("without pixels", "a.png", bomb(0, 0), "PICTURE_INVALID"),
        ("with fewer pixels than it says", "a.png", bomb(2_000, 2_000), "PICTURE_INVALID"),
        ("a cut PNG", "a.png", png[..png.len() / 2].to_vec(), "PICTURE_INVALID"),
        ("a cut JPEG", "a.jpg", jpeg[..jpeg.len() / 2].to_vec(), "PICTURE_INVALID"),
        ("a page as a picture", "a.png", b"<!DOCTYPE html><script>alert(1)</script>".to_vec(), "PICTURE_INVALID"),
        (
            "a page after the mark of a GIF",
            "a.html",
            b"GIF89a\x01\0\x01\0<script>alert(1)</script>".to_vec(),
            "PICTURE_INVALID",
        ),
    ] {
        assert_eq!(ann.try_upload(name, &content).refusal(), (422, code.into()), "{case}");
        assert_nothing_kept(data.path());
    }
    let growth = server.resident_kib().saturating_sub(before);
    assert!(growth < 64 * 1024, "{growth} KiB");
}

#[tokio::test]
async fn picture_is_served_without_the_place_where_it_was_taken() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    for (name, content, size) in [
        // A camera that was held upright says so, and the pixels lie on their side.
        ("a.jpg", jpeg_with_place(6), (600, 900)),
        ("a.jpg", jpeg_with_place(1), (900, 600)),
        ("a.png", png_with_place(), (300, 200)),
        ("a.webp", webp_with_place(8), (200, 300)),
        ("a.gif", gif_with_place(), (40, 30)),
        // The name does not have to be right about the kind of picture.
        ("b.jpg", webp_with_place(1), (300, 200)),
    ] {
        assert!(contains(&content, SECRET));
        let file = ann.upload(name, &content);
        assert_eq!((&file["width"], &file["height"]), (&json!(size.0), &json!(size.1)), "{name}");
        ann.send("", &[&file]).await;
        let read = ann.read(&file);
        assert!(!contains(&read.body, SECRET), "{name}");
        assert!(!contains(&read.body, &[0x25, 0x88, 4, 0]), "{name}: the tag of GPS");
        assert_eq!(read.body.len(), file["bytes"].as_u64().unwrap() as usize);
        // The same pixels.
        let decode = |bytes: &[u8]| {
            ImageReader::new(std::io::Cursor::new(bytes.to_vec())).with_guessed_format().unwrap().decode().unwrap()
        };
        assert!(decode(&read.body) == decode(&content), "{name}");
        let oriented = |bytes: &[u8]| {
            let mut decoder = image::ImageReader::new(std::io::Cursor::new(bytes))
                .with_guessed_format()
                .unwrap()
                .into_decoder()
                .unwrap();
            image::ImageDecoder::orientation(&mut decoder).unwrap()
        };
        if name != "a.png" {
            assert_eq!(oriented(&read.body), oriented(&content), "{name}");
        }
        assert!(read.header("content-disposition").starts_with("inline"), "{name}");
        assert!(!contains(&ann.thumbnail(&file).body, SECRET), "{name}");
    }
}

#[tokio::test]
async fn thumbnail_is_small_and_upright() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    let small = encoded(&photo(30, 20), ImageFormat::Png);
    for (content, size, format) in [
        (jpeg_with_place(6), (427, 640), ImageFormat::Jpeg),
        (encoded(&sticker(1_000, 500), ImageFormat::Png), (640, 320), ImageFormat::WebP),
        (small.clone(), (30, 20), ImageFormat::Png),
        (encoded(&photo(3_000, 1), ImageFormat::Png), (640, 1), ImageFormat::Jpeg),
    ] {
        let file = ann.upload("a.png", &content);
        ann.send("", &[&file]).await;
        let thumbnail = ann.thumbnail(&file);
        let reader = ImageReader::new(std::io::Cursor::new(&thumbnail.body)).with_guessed_format().unwrap();
        assert_eq!(reader.format(), Some(format));
        assert_eq!(reader.into_dimensions().unwrap(), size);
        assert_eq!(thumbnail.header("content-length"), thumbnail.body.len().to_string());
        assert!(thumbnail.body.len() <= content.len());
    }
    let text = ann.upload("a.txt", b"hello");
    ann.send("", &[&text]).await;
    assert_eq!(ann.thumbnail(&text).refusal(), (404, "ATTACHMENT_NOT_FOUND".into()));
}

#[tokio::test]
async fn file_with_script_is_saved_and_never_run() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>"#;
    for (name, content) in [("휴가.svg", &svg[..]), ("a.html", b"<script>alert(1)</script>"), ("a.js", b"alert(1)")] {
        let file = ann.upload(name, content);
        assert_eq!(file["type"], "text/plain; charset=utf-8");
        ann.send("", &[&file]).await;
        let read = ann.read(&file);
        assert_eq!((read.status, &read.body[..]), (200, content));
        assert!(read.header("content-disposition").starts_with("attachment; "), "{read:?}");
        assert_eq!(read.header("x-content-type-options"), "nosniff");
        let policy = read.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';") && policy.ends_with("; sandbox"), "{policy}");
        assert_eq!(read.header("cross-origin-resource-policy"), "same-origin");
    }
}

#[tokio::test]
async fn upload_belongs_to_its_user_its_room_and_one_message() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    let mut bob = Visitor::enter(&server, "garden").await;
    let mut elsewhere = Visitor::again(&server, ann.cookie.clone(), "kitchen").await;
    let file = ann.upload("a.txt", b"secret");

    // Nobody sees it before it is sent, and only its user can send or cancel it, in its room.
    assert_eq!(bob.read(&file).status, 404);
    let upload = format!("/r/garden/files/{}", file["id"].as_str().unwrap());
    assert_eq!(bob.state(&upload).refusal(), (404, "UPLOAD_NOT_FOUND".into()));
    assert_eq!(bob.request("DELETE", &upload, "", b"").refusal(), (404, "UPLOAD_NOT_FOUND".into()));
    let stolen = bob.message("", &[&file]);
    assert_eq!(bob.client.refusal("new_message", stolen).await, "ATTACHMENT_NOT_FOUND");
    let moved = elsewhere.message("", &[&file]);
    assert_eq!(elsewhere.client.refusal("new_message", moved).await, "ATTACHMENT_NOT_FOUND");

    let message = ann.message("", &[&file]);
    let ack = ann.client.ask("new_message", message.clone()).await;
    assert_eq!(ann.client.ask("new_message", message.clone()).await["dup"], true);
    assert_eq!(elsewhere.read(&file).status, 404, "not below another room");
    assert_eq!(bob.read(&file).body, b"secret");
    // Not twice, not together with what does not exist, and not in two forms of one message.
    let again = ann.message("", &[&file]);
    assert_eq!(ann.client.refusal("new_message", again).await, "ATTACHMENT_NOT_FOUND");
    let second = ann.upload("b.txt", b"second");
    let mixed = ann.message("", &[&second, &json!({"id": "0000000000000001"})]);
    assert_eq!(ann.client.refusal("new_message", mixed).await, "ATTACHMENT_NOT_FOUND");
    let twice = ann.message("", &[&second, &second]);
    assert_eq!(ann.client.refusal("new_message", twice).await, "TOO_MANY_ATTACHMENTS");
    let changed = json!({"room": "garden", "key": message["key"], "text": "", "attachments": [second["id"]]});
    assert_eq!(ann.client.refusal("new_message", changed).await, "KEY_CONFLICT");
    let ids: Vec<_> = (0..11).map(|n| format!("{n:016x}")).collect();
    let many = json!({"room": "garden", "key": fresh_key(), "text": "", "attachments": ids});
    assert_eq!(ann.client.refusal("new_message", many).await, "TOO_MANY_ATTACHMENTS");
    let nothing = json!({"room": "garden", "key": fresh_key(), "text": "", "attachments": []});
    assert_eq!(ann.client.refusal("new_message", nothing).await, "TEXT_EMPTY");
    ann.send("the second", &[&second]).await;
    assert_eq!(ack["seq"], 1);
}

#[tokio::test]
async fn upload_without_cookie_or_from_another_site_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let ann = Visitor::enter(&server, "garden").await;
    let body = json!({"name": "a", "bytes": 1}).to_string();
    let post = |headers: &str| send(&server, "POST", "/r/garden/files", headers, body.as_bytes());
    let own = format!("Origin: {}\r\n", server.origin());
    assert_eq!(post(&own).refusal(), (403, "COOKIE_NEEDED".into()));
    let cookie = format!("Cookie: {}\r\n", ann.cookie);
    for other in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(post(&format!("{cookie}{other}")).refusal(), (403, "COOKIE_NEEDED".into()), "{other}");
    }
    assert_eq!(post(&format!("{cookie}{own}")).status, 201);
    let nowhere = ann.request("POST", "/r/nowhere/files", "", body.as_bytes());
    assert_eq!(nowhere.refusal(), (404, "NOT_IN_ROOM".into()));
    let put = ann.request("PUT", "/r/garden/files", "", body.as_bytes());
    assert_eq!((put.status, put.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn uploads_are_limited_per_user_address_and_server() {
    let limited = |key: &str| {
        let data = tempfile::tempdir().unwrap();
        let server = Setup::in_folder(data.path()).limit(key, 2).start();
        (data, server)
    };
    let refused = (429, "TOO_MANY_UPLOADS".to_owned());
    let (_data, server) = limited("uploads_per_user");
    let mut ann = Visitor::enter(&server, "garden").await;
    let bob = Visitor::enter(&server, "garden").await;
    ann.begin("a", 1);
    let file = ann.upload("b", b"b");
    assert_eq!(ann.announce("c", 1).refusal(), refused);
    bob.begin("c", 1);
    ann.send("", &[&file]).await;
    assert_eq!(ann.announce("c", 1).status, 201, "what was sent does not count");

    for key in ["uploads_per_address", "uploads"] {
        let (_data, server) = limited(key);
        let (ann, bob) = (Visitor::enter(&server, "garden").await, Visitor::enter(&server, "garden").await);
        let upload = ann.begin("a", 1);
        bob.begin("b", 1);
        assert_eq!(bob.announce("c", 1).refusal(), refused, "{key}");
        ann.request("DELETE", &upload, "", b"");
        assert_eq!(bob.announce("c", 1).status, 201, "{key}");
    }
}

#[tokio::test]
async fn files_use_half_of_a_quota_and_messages_the_rest() {
    let data = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(data.path()).limit("stored_bytes_per_room", 20_000).start();
    let mut ann = Visitor::enter(&server, "garden").await;
    let content = vec![1; 6_000];
    let file = ann.upload("a.bin", &content);
    ann.send("", &[&file]).await;
    // The same content again counts again: an uploader must not find out that another user has it already.
    assert_eq!(ann.try_upload("b.bin", &content).refusal(), (507, "ROOM_FULL".into()));
    assert_eq!(files_in(&data.path().join("uploads")), [""; 0]);
    ann.send("There is room for text.", &[]).await;
    ann.delete(&json!(1)).await;
    let file = ann.upload("c.bin", &content);
    ann.send("", &[&file]).await;
    assert!(ann.read(&file).body == content);
}

#[tokio::test]
async fn deleted_message_takes_its_files_with_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(data.path()).limit("collect_seconds", 1).start();
    let mut ann = Visitor::enter(&server, "garden").await;
    let mut bob = Visitor::enter(&server, "garden").await;
    let picture = encoded(&photo(700, 700), ImageFormat::Png);
    let (one, two, own) =
        (ann.upload("a.png", &picture), ann.upload("a.txt", b"shared"), bob.upload("b.txt", b"shared"));
    ann.send("", &[&one, &two]).await;
    bob.send("", &[&own]).await;
    let stored = || files_in(&data.path().join("files")).len();
    assert_eq!(stored(), 3, "a picture, its thumbnail, and one text for both");

    ann.delete(&json!(1)).await;
    assert_eq!((bob.read(&one).status, bob.thumbnail(&one).status), (404, 404));
    let changed = bob.client.until_type("message_changed").await;
    assert!(changed["payload"]["state"]["deleted_at"].is_u64());
    let entered = bob.client.ask("enter_room", json!({"room": "garden"})).await;
    assert_eq!(entered["messages"][0]["attachments"], Value::Null);
    eventually("the picture and its thumbnail are removed", || stored() == 1).await;
    assert_eq!(bob.read(&own).body, b"shared", "another message has the same content");
}

#[tokio::test]
async fn upload_that_is_never_sent_expires() {
    let data = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(data.path()).limit("collect_seconds", 1).limit("upload_seconds", 1).start();
    let mut ann = Visitor::enter(&server, "garden").await;
    let file = ann.upload("a.txt", b"never sent");
    let upload = ann.begin("b.txt", 10);
    ann.append(&upload, 0, b"half");
    eventually("both are removed", || {
        files_in(&data.path().join("uploads")).is_empty() && files_in(&data.path().join("files")).is_empty()
    })
    .await;
    assert_eq!(ann.state(&upload).refusal(), (404, "UPLOAD_NOT_FOUND".into()));
    let message = ann.message("", &[&file]);
    assert_eq!(ann.client.refusal("new_message", message).await, "ATTACHMENT_NOT_FOUND");
}

#[tokio::test]
async fn finished_upload_survives_a_kill_and_an_unfinished_one_is_cleaned_up() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let ann = Visitor::enter(&server, "garden").await;
    let (file, cookie) = (ann.upload("a.txt", b"kept"), ann.cookie.clone());
    let upload = ann.begin("b.txt", 10);
    ann.append(&upload, 0, b"half");
    drop(ann);
    server.kill();

    let server = Server::generous(data.path());
    assert_eq!(files_in(&data.path().join("uploads")), [""; 0]);
    let mut ann = Visitor::again(&server, cookie, "garden").await;
    assert_eq!(ann.state(&upload).refusal(), (404, "UPLOAD_NOT_FOUND".into()));
    ann.send("", &[&file]).await;
    assert_eq!(ann.read(&file).body, b"kept");
}

#[tokio::test]
async fn content_without_attachment_is_collected_after_a_crash() {
    let data = tempfile::tempdir().unwrap();
    drop(Visitor::enter(&Server::generous(data.path()), "garden").await);
    // As if the process had ended between the content and its attachment.
    let hash = "ab".repeat(32);
    let folder = data.path().join("files/ab");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&hash), "lost").unwrap();
    let database = rusqlite::Connection::open(data.path().join("noom.sqlite3")).unwrap();
    database.execute("INSERT INTO unclaimed_files (hash) VALUES (?1)", [[0xab_u8; 32]]).unwrap();
    drop(database);
    let _server = Setup::in_folder(data.path()).limit("collect_seconds", 1).start();
    eventually("it is removed", || files_in(&data.path().join("files")).is_empty()).await;
}

#[tokio::test]
async fn content_that_a_killed_server_was_writing_is_removed_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    let file = ann.upload("a.txt", b"kept");
    ann.send("", &[&file]).await;
    drop(ann);
    server.kill();
    let folder = data.path().join("files/ab");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{}#1", "ab".repeat(32))), "half").unwrap();
    let server = Server::generous(data.path());
    assert_eq!(files_in(&data.path().join("files")).len(), 1, "the complete one");
    assert_eq!(Visitor::enter(&server, "garden").await.read(&file).body, b"kept");
}

#[tokio::test]
async fn missing_file_is_reported_as_missing() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::generous(data.path());
    let mut ann = Visitor::enter(&server, "garden").await;
    let file = ann.upload("a.txt", b"soon gone");
    ann.send("", &[&file]).await;
    std::fs::remove_dir_all(data.path().join("files")).unwrap();
    let reply = ann.request("GET", &ann.address(&file), "Accept-Language: ko\r\n", b"");
    assert_eq!((reply.status, String::from_utf8(reply.body).unwrap().trim()), (404, "이 파일은 서버에 없어요."));
}

#[tokio::test]
async fn backup_has_the_files_of_its_messages() {
    let data = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(data.path()).limit("collect_seconds", 1).start();
    let mut ann = Visitor::enter(&server, "garden").await;
    let picture = encoded(&photo(700, 700), ImageFormat::Png);
    let (one, two) = (ann.upload("a.png", &picture), ann.upload("b.txt", b"text"));
    ann.send("", &[&one, &two]).await;
    let copy = copies.path().join("monday.sqlite3");
    let backup = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_noom"));
        command.arg("--data-dir").arg(data.path()).arg("backup").arg(&copy);
        command.output().unwrap()
    };
    let output = backup();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("copied 1 messages in 1 rooms") && text.contains("copied 2 files"), "{text}");
    assert!(!backup().status.success(), "the file exists");

    // While a backup copies files, the collector waits.
    let lock = std::fs::File::options().write(true).open(data.path().join("files.lock")).unwrap();
    lock.lock_shared().unwrap();
    ann.delete(&json!(1)).await;
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert_eq!(files_in(&data.path().join("files")).len(), 3);
    drop(lock);
    eventually("the collector goes on", || files_in(&data.path().join("files")).is_empty()).await;
    drop(ann);
    drop(server);

    // The backup as another server's data.
    let restored = tempfile::tempdir().unwrap();
    std::fs::copy(&copy, restored.path().join("noom.sqlite3")).unwrap();
    std::fs::rename(copies.path().join("monday.sqlite3.files"), restored.path().join("files")).unwrap();
    let server = Server::generous(restored.path());
    let bob = Visitor::enter(&server, "garden").await;
    assert_eq!(bob.read(&two).body, b"text");
    assert_eq!(bob.thumbnail(&one).status, 200);
}

#[tokio::test]
async fn files_in_a_bucket_are_stored_served_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let s3 = S3::start();
    let server = s3.configure(Setup::in_folder(data.path()).limit("collect_seconds", 1)).start();
    let mut ann = Visitor::enter(&server, "garden").await;
    // More than two parts.
    let large: Vec<u8> = (0..12_000_000_u32).map(|n| (n % 251) as u8).collect();
    let picture = encoded(&photo(700, 700), ImageFormat::Png);
    let (one, two) = (ann.upload("a.bin", &large), ann.upload("b.png", &picture));
    ann.send("", &[&one, &two]).await;
    assert!(ann.read(&one).body == large);
    let range = ann.request("GET", &ann.address(&one), "Range: bytes=7000000-7000099\r\n", b"");
    assert_eq!((range.status, &range.body[..]), (206, &large[7_000_000..7_000_100]));
    let head = ann.request("HEAD", &ann.address(&one), "", b"");
    assert_eq!((head.status, head.header("content-length")), (200, "12000000"));
    assert!(ann.thumbnail(&two).body.len() < picture.len());
    assert_eq!(files_in(&s3.bucket()).len(), 3);
    assert_nothing_kept(data.path());

    ann.delete(&json!(1)).await;
    eventually("the objects are removed", || files_in(&s3.bucket()).is_empty()).await;
}

#[tokio::test]
async fn upload_is_refused_while_the_bucket_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let s3 = S3::start();
    let server = s3.configure(Setup::in_folder(data.path())).start();
    let mut ann = Visitor::enter(&server, "garden").await;
    let file = ann.upload("a.txt", b"kept");
    ann.send("", &[&file]).await;
    let upload = ann.begin("b.txt", 4);
    let address = s3.stop();
    assert_eq!(ann.append(&upload, 0, b"half").refusal(), (503, "STORE_UNAVAILABLE".into()));
    assert_eq!(ann.read(&file).status, 503);
    ann.send("Text is not affected.", &[]).await;
    // The bytes are still there, and are stored as soon as the bucket is back.
    let _s3 = address.start_again();
    assert_eq!(ann.append(&upload, 4, b"").status, 200);
    assert_eq!(ann.read(&file).body, b"kept");
}
