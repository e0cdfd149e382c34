//! The process is killed a hundred times while people talk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::random::Random;
use crate::support::{Client, Heard, Server, fresh_key, keep_figures};
use crate::{all_messages, integrity};

const KILLS: u64 = 100;
const ROOMS: [&str; 3] = ["one", "two", "three"];
/// How many messages of one person are on their way at once.
const UNANSWERED: usize = 3;

/// Somebody who keeps over a lost connection what a page keeps.
struct Person {
    room: &'static str,
    resume: Value,
    epoch: Value,
    /// What was seen in the room, in that order: `seq` and key.
    seen: Vec<(u64, String)>,
    /// Key and text of what no answer came to.
    unanswered: Vec<(String, String)>,
    acked: BTreeMap<String, u64>,
}

/// What all of them look at.
#[derive(Clone)]
struct Scene {
    address: watch::Receiver<SocketAddr>,
    /// How many messages were acknowledged.
    acks: Arc<AtomicU64>,
    /// Whether to come to an end.
    settling: Arc<AtomicBool>,
}

impl Person {
    fn new(room: &'static str) -> Self {
        let (seen, unanswered, acked) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { room, resume: Value::Null, epoch: Value::Null, seen, unanswered, acked }
    }

    /// Talks over as many connections as it takes, until it is time to settle and all is answered.
    async fn talk(mut self, mut scene: Scene) -> Self {
        loop {
            let address = *scene.address.borrow_and_update();
            if let Some(mut client) = self.enter(address).await
                && self.converse(&mut client, &scene).await.is_some()
            {
                return self;
            }
            scene.address.changed().await.unwrap();
        }
    }

    /// Connects and enters the room where it was left. `None` when the server ended meanwhile.
    async fn enter(&mut self, address: SocketAddr) -> Option<Client> {
        let mut client = Client::connect(address, "").await?;
        client.command("hello", json!({"protocol": 1, "resume": self.resume})).await;
        self.resume = self.until_ack(&mut client).await?["resume"].clone();
        let last = self.seen.last().map_or(0, |(seq, _)| *seq);
        let known = !self.epoch.is_null();
        let after = if known { json!({"epoch": self.epoch, "seq": last}) } else { Value::Null };
        client.command("enter_room", json!({"room": self.room, "after": after})).await;
        let entered = self.until_ack(&mut client).await?;
        assert_eq!(entered["recovered"], known, "a position holds: {entered}");
        self.epoch = entered["epoch"].clone();
        entered["messages"].as_array().unwrap().iter().for_each(|message| self.see(message));
        Some(client)
    }

    async fn until_ack(&self, client: &mut Client) -> Option<Value> {
        match client.hear().await {
            Heard::Frame(frame) if frame["type"] == "ack" => Some(frame["payload"].clone()),
            Heard::Cut => None,
            other => panic!("{other:?} before the answer"),
        }
    }

    /// Sends what has no answer, then more. `None` when the server ended.
    async fn converse(&mut self, client: &mut Client, scene: &Scene) -> Option<()> {
        for (key, text) in self.unanswered.clone() {
            self.send(client, &key, &text).await;
        }
        loop {
            let settling = scene.settling.load(Ordering::Relaxed);
            while !settling && self.unanswered.len() < UNANSWERED {
                let (key, text) = (fresh_key(), format!("{} of mine", self.acked.len()));
                self.unanswered.push((key.clone(), text.clone()));
                self.send(client, &key, &text).await;
            }
            if self.unanswered.is_empty() {
                return Some(());
            }
            match client.hear().await {
                Heard::Frame(frame) if frame["type"] == "ack" => {
                    let key = frame["payload"]["key"].as_str().unwrap().to_owned();
                    self.unanswered.retain(|(unanswered, _)| *unanswered != key);
                    self.acked.insert(key, frame["payload"]["seq"].as_u64().unwrap());
                    scene.acks.fetch_add(1, Ordering::Relaxed);
                }
                Heard::Frame(frame) if frame["type"] == "new_message" => self.see(&frame["payload"]),
                Heard::Frame(frame) => assert!(frame["type"] == "welcome" || frame["type"] == "bye", "{frame}"),
                Heard::Cut => return None,
                Heard::Closed(code) => panic!("closed with {code}"),
            }
        }
    }

    async fn send(&self, client: &mut Client, key: &str, text: &str) {
        client.command("new_message", json!({"room": self.room, "key": key, "text": text})).await;
    }

    fn see(&mut self, message: &Value) {
        let seen = (message["seq"].as_u64().unwrap(), message["key"].as_str().unwrap().to_owned());
        assert_eq!(seen.0, self.seen.last().map_or(0, |(seq, _)| *seq) + 1, "one after the other, in {}", self.room);
        self.seen.push(seen);
    }
}

#[tokio::test]
async fn a_hundred_kills_under_load_lose_and_double_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::generous(folder.path());
    let (address, addresses) = watch::channel(server.address);
    let scene = Scene { address: addresses, acks: Arc::default(), settling: Arc::default() };
    let mut people = Vec::new();
    for n in 0..9 {
        // Everyone is there before the first word.
        let mut person = Person::new(ROOMS[n % ROOMS.len()]);
        person.enter(server.address).await.expect("the server runs");
        people.push(person);
    }
    let people: Vec<_> = people.into_iter().map(|person| tokio::spawn(person.talk(scene.clone()))).collect();

    let mut random = Random::new(1);
    for _ in 0..KILLS {
        // Sometimes before anyone is back, sometimes in the middle of a storm.
        let enough = scene.acks.load(Ordering::Relaxed) + random.below(60);
        while scene.acks.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.below(3_000))).await;
        server.kill();
        server = Server::generous(folder.path());
        address.send_replace(server.address);
    }
    scene.settling.store(true, Ordering::Relaxed);
    let mut settled = Vec::new();
    for person in people {
        settled.push(person.await.unwrap());
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
    for mut person in settled {
        let log = &logs[person.room];
        acked += person.acked.len();
        let stored = |(key, seq): &(&String, &u64)| log.get(**seq as usize - 1).is_some_and(|(_, own)| own == *key);
        lost += person.acked.iter().filter(|acked| !stored(acked)).count();
        // What was said after they had their last answer.
        person.enter(server.address).await.expect("the server runs");
        assert_eq!(&person.seen, log, "everyone sees everything once, in order");
    }
    let distinct = |log: &Vec<(u64, String)>| log.iter().map(|(_, key)| key).collect::<BTreeSet<_>>().len();
    let doubled: usize = logs.values().map(|log| log.len() - distinct(log)).sum();
    keep_figures("kills.json", &json!({"kills": KILLS, "acked": acked, "lost": lost, "doubled": doubled}));
    eprintln!("{KILLS} kills, {acked} acknowledged, {lost} lost, {doubled} doubled");
    assert_eq!((lost, doubled), (0, 0));
    assert!(acked as u64 > KILLS);
    server.kill();
    assert_eq!(integrity(folder.path()), "ok");
}
