//! What one message costs in memory asked for. Alone in its file: allocations of the whole process are counted.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::alloc::System;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use noom::protocol::{MessageKey, UserId};
use noom::server::call::ice::IceSettings;
use noom::server::config::LimitSettings;
use noom::server::hub::{Hub, outbox};
use noom::server::name_key::RoomName;
use noom::server::store::Store;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATIONS: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PEOPLE: usize = 500;

/// Counts what is written to all connections.
#[derive(Debug, Default)]
struct Counter(AtomicUsize);

impl outbox::WriteNow for Counter {
    fn write_now(&self, frames: &VecDeque<Utf8Bytes>) -> bool {
        self.0.fetch_add(frames.len(), Ordering::Relaxed);
        true
    }
}

#[tokio::test]
async fn one_message_to_many_is_not_allocated_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), "0000000000000001").unwrap();
    let hub = Hub::new(store, LimitSettings::default(), IceSettings::default());
    for flusher in hub.flushers() {
        let flusher = flusher.clone();
        tokio::spawn(async move { flusher.run().await });
    }
    let written = Arc::<Counter>::default();
    let mut seats = Vec::new();
    let mut room = None;
    for n in 0..PEOPLE {
        let (account, seat) = (hub.account(UserId(n as u64)).await.unwrap(), hub.register().unwrap());
        seat.outbox.connect(written.clone(), hub.flusher(seat.conn));
        room = Some(hub.enter(&account, &seat, RoomName::parse("book club").unwrap(), None, None).await.unwrap());
        seats.push(seat);
    }
    let (room, speaker) = (room.unwrap(), seats[0].conn);
    let said = |n: u128| {
        written.0.store(0, Ordering::Relaxed);
        hub.post(speaker, &room, None, MessageKey(n), "the quick brown fox".into()).unwrap();
    };
    let heard = async || {
        while written.0.load(Ordering::Relaxed) < PEOPLE {
            tokio::task::yield_now().await;
        }
    };
    // Who has just come has still to hear of those who came after; then space that is used again is there.
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if written.0.swap(0, Ordering::Relaxed) == 0 {
            break;
        }
    }
    for n in 1..=3 {
        said(n);
        heard().await;
    }

    let region = Region::new(ALLOCATIONS);
    said(4);
    heard().await;
    let allocations = region.change().allocations;
    assert!(allocations < PEOPLE / 5, "{allocations} allocations for a message to {PEOPLE} people");
}
