//! The server process is killed a hundred times under load.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::killing::{Shared, first_ack};
use crate::support::{Client, Received, Server, fresh_key, record_figures};
use crate::{all_messages, integrity};

const KILLS: u64 = 100;
const ROOMS: [&str; 3] = ["one", "two", "three"];
/// Messages that one user has in flight.
const IN_FLIGHT: usize = 3;

/// A client that keeps the state of a page over lost connections.
struct User {
    room: &'static str,
    resume: Value,
    epoch: Value,
    /// Messages seen in the room, in order: `seq` and key.
    seen: Vec<(u64, String)>,
    /// Key and text of messages without an answer.
    unanswered: Vec<(String, String)>,
    acked: BTreeMap<String, u64>,
}

impl User {
    fn new(room: &'static str) -> Self {
        let (seen, unanswered, acked) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { room, resume: Value::Null, epoch: Value::Null, seen, unanswered, acked }
    }

    /// Posts over as many connections as necessary, until `settling` is set and every message is answered.
    async fn run(mut self, mut shared: Shared) -> Self {
        loop {
            let address = *shared.address.borrow_and_update();
            if let Some(mut client) = self.enter(address).await
                && self.converse(&mut client, &shared).await.is_some()
            {
                return self;
            }
            shared.address.changed().await.unwrap();
        }
    }

    /// Connects and enters the room from the last position. Returns `None` if the server was killed meanwhile.
    async fn enter(&mut self, address: SocketAddr) -> Option<Client> {
        let mut client = Client::connect(address, "").await?;
        client.command("hello", json!({"protocol": 2, "resume": self.resume})).await;
        self.resume = first_ack(&mut client).await?["resume"].clone();
        let last = self.seen.last().map_or(0, |(seq, _)| *seq);
        let known = !self.epoch.is_null();
        let after = if known { json!({"epoch": self.epoch, "seq": last, "rev": 0}) } else { Value::Null };
        client.command("enter_room", json!({"room": self.room, "after": after})).await;
        let entered = first_ack(&mut client).await?;
        assert_eq!(entered["recovered"], known, "the position is still valid: {entered}");
        self.epoch = entered["epoch"].clone();
        entered["messages"].as_array().unwrap().iter().for_each(|message| self.see(message));
        Some(client)
    }

    /// Sends the unanswered messages again, then new ones. Returns `None` if the server was killed.
    async fn converse(&mut self, client: &mut Client, shared: &Shared) -> Option<()> {
        for (key, text) in self.unanswered.clone() {
            self.send(client, &key, &text).await;
        }
        loop {
            let settling = shared.settling.load(Ordering::Relaxed);
            while !settling && self.unanswered.len() < IN_FLIGHT {
                let (key, text) = (fresh_key(), format!("message {}", self.acked.len()));
                self.unanswered.push((key.clone(), text.clone()));
                self.send(client, &key, &text).await;
            }
            if self.unanswered.is_empty() {
                return Some(());
            }
            match client.receive().await {
                Received::Frame(frame) if frame["type"] == "ack" => {
                    let key = frame["payload"]["key"].as_str().unwrap().to_owned();
                    self.unanswered.retain(|(unanswered, _)| *unanswered != key);
                    self.acked.insert(key, frame["payload"]["seq"].as_u64().unwrap());
                    shared.answers.fetch_add(1, Ordering::Relaxed);
                }
                Received::Frame(frame) if frame["type"] == "new_message" => self.see(&frame["payload"]),
                Received::Frame(frame) => assert!(frame["type"] == "welcome" || frame["type"] == "bye", "{frame}"),
                Received::Disconnected => return None,
                Received::Closed(code) => panic!("closed with {code}"),
            }
        }
    }

    async fn send(&self, client: &mut Client, key: &str, text: &str) {
        client.command("new_message", json!({"room": self.room, "key": key, "text": text})).await;
    }

    fn see(&mut self, message: &Value) {
        let seen = (message["seq"].as_u64().unwrap(), message["key"].as_str().unwrap().to_owned());
        assert_eq!(
            seen.0,
            self.seen.last().map_or(0, |(seq, _)| *seq) + 1,
            "without gap or repetition in {}",
            self.room
        );
        self.seen.push(seen);
    }
}

#[tokio::test]
async fn hundred_kills_under_load_lose_and_duplicate_no_acknowledged_message() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (shared, addresses) = Shared::of(&server);
    let mut users = Vec::new();
    for n in 0..9 {
        // All users enter before the first message is posted.
        let mut user = User::new(ROOMS[n % ROOMS.len()]);
        user.enter(server.address).await.expect("the server runs");
        users.push(user);
    }
    let users: Vec<_> = users.into_iter().map(|user| tokio::spawn(user.run(shared.clone()))).collect();

    let start = || Server::generous(folder.path());
    let server = shared.kill(KILLS, Duration::from_micros(3_000), server, start, &addresses).await;
    let mut settled = Vec::new();
    for user in users {
        settled.push(user.await.unwrap());
    }

    let mut logs = BTreeMap::new();
    let mut ann = Client::greeted(&server).await;
    for room in ROOMS {
        ann.ask("enter_room", json!({"room": room})).await;
        let pair = |message: &Value| (message["seq"].as_u64().unwrap(), message["key"].as_str().unwrap().to_owned());
        let log: Vec<_> = all_messages(&mut ann, room).await.iter().map(pair).collect();
        assert!(log.iter().zip(1..).all(|((seq, _), n)| *seq == n), "no gaps in {room}");
        logs.insert(room, log);
    }
    let (mut lost, mut acked) = (0, 0);
    for mut user in settled {
        let log = &logs[user.room];
        acked += user.acked.len();
        let stored = |(key, seq): &(&String, &u64)| log.get(**seq as usize - 1).is_some_and(|(_, own)| own == *key);
        lost += user.acked.iter().filter(|acked| !stored(acked)).count();
        // Receives the messages that were posted after its last answer.
        user.enter(server.address).await.expect("the server runs");
        assert_eq!(&user.seen, log, "every user sees every message once and in order");
    }
    let distinct = |log: &Vec<(u64, String)>| log.iter().map(|(_, key)| key).collect::<BTreeSet<_>>().len();
    let doubled: usize = logs.values().map(|log| log.len() - distinct(log)).sum();
    record_figures("kills.json", &json!({"kills": KILLS, "acked": acked, "lost": lost, "doubled": doubled}));
    eprintln!("{KILLS} kills, {acked} acknowledged, {lost} lost, {doubled} duplicated");
    assert_eq!((lost, doubled), (0, 0));
    assert!(acked as u64 > KILLS);
    server.kill();
    assert_eq!(integrity(folder.path()), "ok");
}
