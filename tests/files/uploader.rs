//! A visitor who uploads files: plain HTTP, and a connection in a room.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Server, fresh_key};

/// The time that a test waits for the collector.
const PATIENCE: Duration = Duration::from_secs(30);

/// A response with the bytes of its body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The status, and the code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

/// A visitor with a cookie, in a room.
pub(crate) struct Visitor<'a> {
    pub(crate) server: &'a Server,
    pub(crate) cookie: String,
    pub(crate) room: &'static str,
    pub(crate) client: Client,
}

impl<'a> Visitor<'a> {
    pub(crate) async fn enter(server: &'a Server, room: &'static str) -> Self {
        Self::again(server, server.get("/").cookie(), room).await
    }

    /// The same visitor on a new connection.
    pub(crate) async fn again(server: &'a Server, cookie: String, room: &'static str) -> Self {
        let mut client = Client::with_cookie(server, &cookie).await;
        client.ask("hello", json!({"protocol": 2})).await;
        client.ask("enter_room", json!({"room": room})).await;
        Self { server, cookie, room, client }
    }

    /// Sends a request with a body as a page of the server does.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let headers = format!("Cookie: {}\r\nOrigin: {}\r\n{headers}", self.cookie, self.server.origin());
        send(self.server, method, path, &headers, body)
    }

    /// Announces a file.
    pub(crate) fn announce(&self, name: &str, bytes: usize) -> Reply {
        let body = json!({"name": name, "bytes": bytes}).to_string();
        self.request("POST", &format!("/r/{}/files", self.room), "", body.as_bytes())
    }

    /// Announces a file that is not refused yet, and returns its address.
    pub(crate) fn begin(&self, name: &str, bytes: usize) -> String {
        let reply = self.announce(name, bytes);
        assert_eq!(reply.status, 201, "{reply:?}");
        format!("/r/{}/files/{}", self.room, reply.json()["id"].as_str().unwrap())
    }

    /// Sends bytes of an upload.
    pub(crate) fn append(&self, upload: &str, offset: usize, bytes: &[u8]) -> Reply {
        self.request("PATCH", upload, &format!("Upload-Offset: {offset}\r\n"), bytes)
    }

    pub(crate) fn state(&self, upload: &str) -> Reply {
        self.request("GET", upload, "", b"")
    }

    /// Uploads a whole file.
    pub(crate) fn try_upload(&self, name: &str, content: &[u8]) -> Reply {
        let upload = self.begin(name, content.len());
        self.append(&upload, 0, content)
    }

    /// Uploads a file that is accepted, and returns its attachment.
    pub(crate) fn upload(&self, name: &str, content: &[u8]) -> Value {
        let reply = self.try_upload(name, content);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["attachment"].clone()
    }

    /// Posts a message with files, and returns its `ack`.
    pub(crate) async fn send(&mut self, text: &str, files: &[&Value]) -> Value {
        let payload = self.message(text, files);
        self.client.ask("new_message", payload).await
    }

    /// The payload of a new message with files.
    pub(crate) fn message(&self, text: &str, files: &[&Value]) -> Value {
        let ids: Vec<_> = files.iter().map(|file| &file["id"]).collect();
        json!({"room": self.room, "key": fresh_key(), "text": text, "attachments": ids})
    }

    /// Deletes a message.
    pub(crate) async fn delete(&mut self, seq: &Value) {
        let entered = self.client.ask("enter_room", json!({"room": self.room})).await;
        let target = json!({"epoch": entered["epoch"], "seq": seq});
        self.client.ask("delete_message", json!({"room": self.room, "target": target})).await;
    }

    /// Reads a file of a message.
    pub(crate) fn read(&self, file: &Value) -> Reply {
        self.request("GET", &self.address(file), "", b"")
    }

    pub(crate) fn thumbnail(&self, file: &Value) -> Reply {
        self.request("GET", &format!("/r/{}/thumbnails/{}", self.room, file["id"].as_str().unwrap()), "", b"")
    }

    pub(crate) fn address(&self, file: &Value) -> String {
        format!("/r/{}/files/{}/x", self.room, file["id"].as_str().unwrap())
    }
}

/// Sends a request.
pub(crate) fn send(server: &Server, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let (host, length) = (server.address, body.len());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    exchange(server, &[head.as_bytes(), body].concat())
}

/// Sends bytes and returns the response.
pub(crate) fn exchange(server: &Server, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a response");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: answer[end + 4..].to_vec() }
}

/// Waits until a condition is met.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
