//! The memory allocations of one message. Alone in its file, because allocations of the whole process are counted.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

use std::alloc::System;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use noom::protocol::{MessageKey, UserId};
use noom::server::call::ice::IceSettings;
use noom::server::config::LimitSettings;
use noom::server::environment::SystemEnvironment;
use noom::server::hub::payer::Payer;
use noom::server::hub::{Hub, NewPost, outbox};
use noom::server::name_key::RoomName;
use noom::server::store::Store;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATIONS: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PEOPLE: usize = 500;

/// Counts the frames that are written to all connections.
#[derive(Debug, Default)]
struct Counter(AtomicUsize);

impl outbox::DirectSocket for Counter {
    fn try_write(&self, frames: &mut VecDeque<Utf8Bytes>) -> usize {
        self.0.fetch_add(frames.drain(..).len(), Ordering::Relaxed);
        0
    }
}

#[tokio::test]
async fn message_to_many_is_not_allocated_for_each_receiver() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), "0000000000000001").unwrap());
    let hub = Hub::new(store, Arc::new(SystemEnvironment), LimitSettings::default(), IceSettings::default());
    hub.spawn_workers();
    let written = Arc::<Counter>::default();
    let mut seats = Vec::new();
    let mut room = None;
    for n in 0..PEOPLE {
        let (account, seat) = (hub.account(UserId(n as u64)).await.unwrap(), hub.register().unwrap());
        seat.outbox.connect(written.clone(), hub.flusher(seat.id));
        let payer = Payer { account, address: hub.directory.address([127, 0, 0, 1].into()) };
        let name = RoomName::parse("book club").unwrap();
        room = Some(hub.enter(&payer, &seat, (None, name), None, None).await.unwrap());
        seats.push(seat);
    }
    let (room, author) = (room.unwrap(), &seats[0]);
    let post = async |n: u128| {
        written.0.store(0, Ordering::Relaxed);
        let post = NewPost::of_text(MessageKey(n), "the quick brown fox".into());
        hub.post(author, &room, None, post).await.unwrap();

        while written.0.load(Ordering::Relaxed) < PEOPLE {
            tokio::task::yield_now().await;
        }
    };
    // The welcomes are still being written. Afterwards the buffers have their final size.
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if written.0.swap(0, Ordering::Relaxed) == 0 {
            break;
        }
    }
    for n in 1..=3 {
        post(n).await;
    }

    let region = Region::new(ALLOCATIONS);
    post(4).await;
    let allocations = region.change().allocations;
    assert!(allocations < PEOPLE / 5, "{allocations} allocations for a message to {PEOPLE} connections");
}
