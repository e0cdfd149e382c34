//! The memory of many connections. Alone in its file, because allocations of the whole process are counted.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

use std::alloc::System;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::sync::Arc;

use noom::protocol::{CloseCode, MessageKey, UserId};
use noom::server::call::ice::IceSettings;
use noom::server::config::LimitSettings;
use noom::server::environment::SystemEnvironment;
use noom::server::hub::Hub;
use noom::server::identity::Identity;
use noom::server::session::{Session, Visitor};
use noom::server::store::Store;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATIONS: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const READERS: u64 = 1_000;
const ROOMS: u64 = 20;
const BUDGET: usize = 8 * 1024 * 1024;
/// The memory that a connection, its user and its session need besides, in bytes.
const EACH: usize = 8 * 1024;

struct Client {
    session: Session,
    next_id: u64,
}

impl Client {
    /// Connects as a user.
    async fn connect(hub: &Arc<Hub>, identity: &Arc<Identity>, user: u64) -> Self {
        let visitor =
            Visitor { cookie: Some(identity.without_cookie(UserId(user))), address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let session = Session::new(hub.clone(), identity.clone(), visitor, hub.register().unwrap());
        let mut client = Self { session, next_id: 1 };
        client.send("hello", json!({"protocol": 2})).await;
        client
    }

    /// Enters a room, and returns its id.
    async fn enter(&mut self, hub: &Hub, name: &str) -> String {
        self.send("enter_room", json!({"name": name})).await;
        hub.settle().await;
        loop {
            let frames = self.session.outbox().take().frames;
            assert!(!frames.is_empty(), "the answer names the room");
            let answer = frames.iter().find(|frame| frame.contains(r#""epoch""#));
            if let Some((_, rest)) = answer.and_then(|answer| answer.split_once(r#""room":""#)) {
                return rest[..16].to_owned();
            }
        }
    }

    async fn send(&mut self, kind: &str, payload: Value) {
        let frame = json!({"type": kind, "payload": payload, "id": self.next_id}).to_string();
        self.next_id += 1;
        assert_eq!(self.session.handle(&frame).await, ControlFlow::Continue(()));
    }

    /// Takes everything that was sent to it. Returns the code that it is closed with, if any.
    fn read(&self) -> Option<CloseCode> {
        loop {
            let waiting = self.session.outbox().take();
            if waiting.is_nothing() || waiting.close.is_some() {
                return waiting.close;
            }
        }
    }
}

fn room(user: u64) -> String {
    format!("room {}", user % ROOMS)
}

#[tokio::test]
async fn thousand_readers_that_never_read_stay_within_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "0000000000000001").unwrap());
    let limits = LimitSettings {
        buffered_bytes: BUDGET,
        message_burst: 1_000,
        announcement_burst: 1_000,
        signal_burst: 10_000,
        read_burst: 10_000,
        users_per_address: 1_000_000,
        rooms_per_minute: 1_000,
        rooms_per_hour: 1_000,
        joins_per_minute: 1_000,
        ..LimitSettings::default()
    };
    let hub = Hub::new(store, Arc::new(SystemEnvironment), limits, IceSettings::default());
    hub.spawn_workers();
    let identity = Arc::new(Identity::from_key(&[7; 64], false));

    // One user posts into all rooms, and reads what they receive.
    let mut author = Client::connect(&hub, &identity, READERS).await;
    for number in 0..ROOMS {
        let room = author.enter(&hub, &room(number)).await;
        for n in 0..4 {
            let key = MessageKey::from_random((u128::from(number) << 64) | n).to_string();
            let message = json!({"room": room, "key": key, "text": "한".repeat(4_000)});
            author.send("new_message", message).await;
        }
        hub.settle().await;
        assert_eq!(author.read(), None);
    }

    let region = Region::new(ALLOCATIONS);
    let mut readers = Vec::new();
    let mut most = 0;
    for user in 0..READERS {
        let mut reader = Client::connect(&hub, &identity, user).await;
        let room = reader.enter(&hub, &room(user)).await;
        assert_eq!(reader.read(), None, "it has read its answers so far");
        // And now it reads nothing any more.
        for _ in 0..2 {
            reader.send("history", json!({"room": room, "before": 5, "limit": 4})).await;
        }
        readers.push(reader);
        assert_eq!(author.read(), None, "a connection that reads is not closed");
        let change = region.change();
        let held = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
        most = most.max(held.saturating_sub(readers.len() * EACH));
        assert!(hub.buffered_bytes() <= BUDGET, "{} after {user} readers", hub.buffered_bytes());
    }
    assert!(most <= BUDGET, "{most} bytes for outboxes");
    let closed = readers.iter().filter(|reader| reader.read() == Some(CloseCode::SlowConsumer)).count();
    assert!(closed > 500, "{closed} of {READERS} are closed");
    drop((readers, author));
    assert_eq!(hub.buffered_bytes(), 0, "everything that was counted is released");
}
