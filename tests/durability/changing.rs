//! The server process is killed while messages are edited, deleted, reacted to and pinned, and while files are uploaded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::killing::{Shared, first_ack};
use crate::support::random::Rng;
use crate::support::{Client, Received, Setup, fresh_key};
use crate::{all_messages, integrity};

const KILLS: u64 = 40;
const USERS: u64 = 6;
const ROOM: &str = "garden";
/// The time that the test waits for the users, and for the collector of files.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that keeps the state of a page over lost connections, and what it has done.
struct User {
    cookie: String,
    random: Rng,
    epoch: Value,
    /// The messages as a page shows them, by their position.
    shown: BTreeMap<u64, Value>,
    /// The last change that it has received.
    rev: u64,
    /// The command without an answer. It is sent again over the next connection.
    pending: Option<(Action, &'static str, Value)>,
    own: BTreeMap<u64, Own>,
    /// The reactions that were acknowledged and not taken back: the message, and the emoji.
    reactions: BTreeSet<(u64, &'static str)>,
}

/// A message of a user, as that user has left it.
struct Own {
    text: String,
    edits: u64,
    is_deleted: bool,
    content: Option<Vec<u8>>,
}

/// The meaning of a command for what is expected in the end.
#[derive(Clone)]
enum Action {
    Post { text: String, content: Option<Vec<u8>> },
    Edit { seq: u64, text: String },
    Delete { seq: u64 },
    React { seq: u64, emoji: &'static str, on: bool },
    Pin,
}

impl User {
    fn new(cookie: String, seed: u64) -> Self {
        Self {
            cookie,
            random: Rng::new(seed),
            epoch: Value::Null,
            shown: BTreeMap::new(),
            rev: 0,
            pending: None,
            own: BTreeMap::new(),
            reactions: BTreeSet::new(),
        }
    }

    /// Acts over as many connections as necessary, until `settling` is set and every command is answered.
    async fn run(mut self, mut shared: Shared) -> Self {
        loop {
            let address = *shared.address.borrow_and_update();
            if let Some(mut client) = self.enter(address).await
                && self.act(&mut client, address, &shared).await.is_some()
            {
                return self;
            }
            shared.address.changed().await.unwrap();
        }
    }

    /// Connects and enters the room from the last position. Returns `None` if the server was killed meanwhile.
    async fn enter(&mut self, address: SocketAddr) -> Option<Client> {
        let mut client = Client::connect(address, &self.cookie).await?;
        client.command("hello", json!({"protocol": 2})).await;
        first_ack(&mut client).await?;
        let newest = self.shown.keys().next_back().copied().unwrap_or_default();
        let known = !self.epoch.is_null();
        let after = if known { json!({"epoch": self.epoch, "seq": newest, "rev": self.rev}) } else { Value::Null };
        client.command("enter_room", json!({"room": ROOM, "after": after})).await;
        let entered = first_ack(&mut client).await?;
        assert_eq!(entered["recovered"], known, "the position is still valid: {entered}");
        self.epoch = entered["epoch"].clone();
        entered["messages"].as_array().unwrap().iter().for_each(|message| self.see(message));
        for change in entered["changes"].as_array().into_iter().flatten() {
            self.change(change);
        }
        self.rev = entered["rev"].as_u64().unwrap();
        Some(client)
    }

    /// Sends commands, one at a time. Returns `None` if the server was killed.
    async fn act(&mut self, client: &mut Client, address: SocketAddr, shared: &Shared) -> Option<()> {
        loop {
            if self.pending.is_none() {
                if shared.settling.load(Ordering::Relaxed) {
                    return Some(());
                }
                self.pending = Some(self.choose(address).await?);
            }
            let (action, kind, payload) = self.pending.clone()?;
            let id = client.command(kind, payload).await;
            let accepted = loop {
                match client.receive().await {
                    Received::Frame(frame) if frame["id"] == id => break self.answered(&action, &frame),
                    Received::Frame(frame) => self.receive(&frame),
                    Received::Disconnected => return None,
                    Received::Closed(code) => panic!("closed with {code}"),
                }
            };
            if let Some(seq) = accepted {
                self.accepted(action, seq);
            }
            self.pending = None;
            shared.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The position of the message if the command was accepted. Another user may have deleted it meanwhile.
    fn answered(&self, action: &Action, frame: &Value) -> Option<u64> {
        if frame["type"] == "ack" {
            return frame["payload"]["seq"].as_u64();
        }
        let is_of_others = matches!(action, Action::React { .. } | Action::Pin);
        let code = &frame["payload"]["code"];
        assert!(is_of_others && (code == "MESSAGE_NOT_FOUND" || code == "PINS_FULL"), "{frame}");
        None
    }

    fn accepted(&mut self, action: Action, acked: u64) {
        match action {
            Action::Post { text, content } => {
                self.own.insert(acked, Own { text, edits: 0, is_deleted: false, content });
            }
            Action::Edit { seq, text } => {
                let own = self.own.get_mut(&seq).unwrap();
                (own.text, own.edits) = (text, own.edits + 1);
            }
            Action::Delete { seq } => self.own.get_mut(&seq).unwrap().is_deleted = true,
            Action::React { seq, emoji, on: true } => drop(self.reactions.insert((seq, emoji))),
            Action::React { seq, emoji, on: false } => drop(self.reactions.remove(&(seq, emoji))),
            Action::Pin => {}
        }
    }

    /// The next command. Returns `None` if the server was killed during an upload.
    async fn choose(&mut self, address: SocketAddr) -> Option<(Action, &'static str, Value)> {
        let kind = self.random.below(12);
        let own: Vec<_> = self.own.iter().filter(|(_, own)| !own.is_deleted).map(|(seq, _)| *seq).collect();
        let pick = |from: &[u64], random: &mut Rng| from[random.below(from.len() as u64) as usize];
        let target = |seq: u64| json!({"epoch": self.epoch, "seq": seq});
        // The answer to a message comes before the message.
        if own.is_empty() || self.shown.is_empty() || kind < 4 {
            let text = format!("message {}", self.random.bits());
            let content = if kind == 0 { Some(self.content()) } else { None };
            let file = match &content {
                Some(content) => Some(self.upload(address, content).await?),
                None => None,
            };
            let attachments: Vec<_> = file.iter().map(|file| &file["id"]).collect();
            let payload = json!({"room": ROOM, "key": fresh_key(), "text": text, "attachments": attachments});
            return Some((Action::Post { text, content }, "new_message", payload));
        }
        let of_anyone: Vec<_> = self.shown.keys().copied().collect();
        Some(match kind {
            4..=6 => {
                let seq = pick(&own, &mut self.random);
                let text = format!("edit {}", self.random.bits());
                let payload = json!({"room": ROOM, "target": target(seq), "edits": self.own[&seq].edits, "text": text});
                (Action::Edit { seq, text }, "edit_message", payload)
            }
            7 => {
                let seq = pick(&own, &mut self.random);
                (Action::Delete { seq }, "delete_message", json!({"room": ROOM, "target": target(seq)}))
            }
            8 => {
                let seq = pick(&of_anyone, &mut self.random);
                let on = self.random.below(3) > 0;
                (Action::Pin, "pin_message", json!({"room": ROOM, "target": target(seq), "on": on}))
            }
            _ => {
                let seq = pick(&of_anyone, &mut self.random);
                let emoji = ["👍", "🎉"][self.random.below(2) as usize];
                let on = !self.reactions.contains(&(seq, emoji));
                let payload = json!({"room": ROOM, "target": target(seq), "emoji": emoji, "on": on});
                (Action::React { seq, emoji, on }, "react", payload)
            }
        })
    }

    /// A file that no other one equals.
    fn content(&mut self) -> Vec<u8> {
        let length = 1 + self.random.below(20_000);
        (0..length).flat_map(|_| self.random.bits().to_le_bytes()).collect()
    }

    /// Uploads a file, again if an upload is lost. Returns `None` if the server was killed.
    async fn upload(&self, address: SocketAddr, content: &[u8]) -> Option<Value> {
        let body = json!({"name": "a.bin", "bytes": content.len()}).to_string();
        let begun = self.request(address, "POST", &format!("/r/{ROOM}/files"), "", body.as_bytes()).await?;
        let path = format!("/r/{ROOM}/files/{}", json_of(201, &begun)["id"].as_str().unwrap());
        let sent = self.request(address, "PATCH", &path, "Upload-Offset: 0\r\n", content).await?;
        Some(json_of(200, &sent)["attachment"].clone())
    }

    /// Sends a request. Returns the status and the body, or `None` without a whole response.
    async fn request(
        &self,
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Option<(u16, Vec<u8>)> {
        let (cookie, length) = (&self.cookie, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: {cookie}\r\n\
             Connection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(body).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let body = answer[end + 4..].to_vec();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        (length.unwrap_or(0) == body.len()).then_some((status, body))
    }

    fn receive(&mut self, frame: &Value) {
        let payload = &frame["payload"];
        match frame["type"].as_str().unwrap() {
            "new_message" => self.see(payload),
            "message_changed" => {
                assert_eq!(payload["state"]["rev"], self.rev + 1, "each change comes once, in order: {frame}");
                self.rev += 1;
                self.change(payload);
            }
            kind => assert!(kind == "welcome" || kind == "bye", "{frame}"),
        }
    }

    fn see(&mut self, message: &Value) {
        let seq = message["seq"].as_u64().unwrap();
        let newest = self.shown.keys().next_back().copied().unwrap_or_default();
        assert_eq!(seq, newest + 1, "without gap or repetition");
        self.shown.insert(seq, message.clone());
    }

    /// Applies a state as PROTOCOL.md says.
    fn change(&mut self, change: &Value) {
        let message = self.shown.get_mut(&change["seq"].as_u64().unwrap()).unwrap();
        if change["state"]["rev"].as_u64() <= message["state"]["rev"].as_u64() {
            return;
        }
        if let Some(text) = change.get("text") {
            message["text"] = text.clone();
        }
        if change["state"].get("deleted_at").is_some() {
            message["text"] = json!("");
            message.as_object_mut().unwrap().remove("attachments");
        }
        message["state"] = change["state"].clone();
    }

    /// Compares what the user has done with the stored messages.
    async fn check(&self, address: SocketAddr, id: &Value, log: &[Value]) {
        for (seq, own) in &self.own {
            let stored = &log[*seq as usize - 1];
            let state = &stored["state"];
            let text = if own.is_deleted { "" } else { &own.text };
            assert_eq!(stored["text"], text, "{stored}");
            assert_eq!(state["edits"].as_u64().unwrap_or_default(), own.edits, "no edit twice: {stored}");
            assert_eq!(state.get("deleted_at").is_some(), own.is_deleted, "{stored}");
            let file = stored.pointer("/attachments/0/id").and_then(Value::as_str);
            assert_eq!(file.is_some(), own.content.is_some() && !own.is_deleted, "{stored}");
            if let (Some(file), Some(content)) = (file, &own.content) {
                let path = format!("/r/{ROOM}/files/{file}/a.bin");
                let (status, body) = self.request(address, "GET", &path, "", b"").await.unwrap();
                assert!(status == 200 && body == *content, "{stored}");
            }
        }
        for stored in log {
            for emoji in ["👍", "🎉"] {
                let expected = self.reactions.contains(&(stored["seq"].as_u64().unwrap(), emoji));
                let reactions = stored["state"]["reactions"].as_array().into_iter().flatten();
                let of_emoji: Vec<_> = reactions.filter(|reaction| reaction["emoji"] == emoji).collect();
                let users = of_emoji.iter().flat_map(|reaction| reaction["users"].as_array().unwrap());
                let others = of_emoji.iter().flat_map(|reaction| reaction["others"].as_array().into_iter().flatten());
                let count =
                    users.filter(|user| user["id"] == *id).count() + others.filter(|other| *other == id).count();
                let is_deleted = stored["state"].get("deleted_at").is_some();
                assert_eq!(count, usize::from(expected && !is_deleted), "{emoji}: {stored}");
            }
        }
    }
}

fn json_of(expected: u16, (status, body): &(u16, Vec<u8>)) -> Value {
    assert_eq!(*status, expected, "{}", String::from_utf8_lossy(body));
    serde_json::from_slice(body).unwrap()
}

/// The names of the files in the file store.
fn stored_files(data: &Path) -> BTreeSet<String> {
    let folders = std::fs::read_dir(data.join("files")).unwrap();
    let inner = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    inner.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn kills_during_changes_and_uploads_lose_and_repeat_nothing_and_leave_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let setup = Setup::generous(folder.path()).limit("uploads_per_user", 1_000);
        setup.limit("upload_kib_burst", 10_000_000).limit("upload_seconds", 20).limit("collect_seconds", 1).start()
    };
    let server = start();
    let (shared, addresses) = Shared::of(&server);
    let mut users = Vec::new();
    for seed in 0..USERS {
        // All users enter before the first message is posted.
        let mut user = User::new(server.get("/").cookie(), seed);
        user.enter(server.address).await.expect("the server runs");
        users.push(user);
    }
    let users: Vec<_> = users.into_iter().map(|user| tokio::spawn(user.run(shared.clone()))).collect();
    let server = shared.kill(KILLS, Duration::from_micros(5_000), server, &start, &addresses).await;
    let mut settled = Vec::new();
    for user in users {
        settled.push(timeout(PATIENCE, user).await.expect("every command is answered").unwrap());
    }

    let mut reader = Client::connect(server.address, "").await.unwrap();
    reader.ask("hello", json!({"protocol": 2})).await;
    reader.ask("enter_room", json!({"room": ROOM})).await;
    let log = all_messages(&mut reader, ROOM).await;
    assert!(log.iter().zip(1..).all(|(message, n)| message["seq"] == n), "no gaps");
    let keys: BTreeSet<_> = log.iter().map(|message| message["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), log.len(), "no message twice");
    let own: usize = settled.iter().map(|user| user.own.len()).sum();
    assert_eq!(own, log.len(), "every message has an author who knows of it");
    for user in &mut settled {
        // Receives what the others have done after its last answer.
        user.enter(server.address).await.unwrap();
        assert!(user.shown.values().eq(&log), "every page shows what is stored");
        let id = user.own.keys().next().map(|seq| log[*seq as usize - 1]["user"]["id"].clone());
        user.check(server.address, &id.unwrap(), &log).await;
    }

    let contents = settled.iter().flat_map(|user| user.own.values()).filter(|own| !own.is_deleted);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected: BTreeSet<_> =
        contents.filter_map(|own| own.content.as_ref()).map(|content| hex(digest(&SHA256, content).as_ref())).collect();
    assert!(expected.len() > 5, "files were sent");
    let until = Instant::now() + PATIENCE;
    while stored_files(folder.path()) != expected {
        assert!(Instant::now() < until, "left: {:?}", stored_files(folder.path()).difference(&expected));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("{KILLS} kills, {} messages, {} changes, {} files", log.len(), settled[0].rev, expected.len());
    server.kill();
    assert_eq!(integrity(folder.path()), "ok");
}
