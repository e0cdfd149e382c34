//! Retention: removes messages that are older than the operator wants to keep.
//!
//! Each room loses its oldest messages, in steps that are small because other writes wait for them. A step is followed by
//! a pause, so that removing a large history takes a small part of the writer's time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::hub::Hub;
use super::id::RoomRow;
use super::storage::StoreError;
use super::store::Store;

/// The interval between two rounds.
const EVERY: Duration = Duration::from_secs(3_600);
/// After a step there is a pause that is this many times as long.
const PAUSE: u32 = 4;

/// Removes what is older than `keep`, as long as the server runs.
pub(super) async fn run(store: Arc<Store>, hub: Arc<Hub>, keep: Duration) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let before = hub.environment().unix_time().saturating_sub(keep);
        match expire_before(&store, &hub, before).await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "removed messages that are older than message_days"),
            Err(error) => tracing::warn!(?error, "cannot remove old messages; will try again"),
        }
    }
}

/// Removes the messages that were posted before a time, since 1970 UTC. Returns their number.
///
/// # Errors
/// The messages of some rooms may have been removed. A room whose messages cannot be removed does not hold up others.
pub async fn expire_before(store: &Store, hub: &Hub, before: Duration) -> Result<u64, StoreError> {
    let before = before.as_millis() as u64;
    let (mut messages, mut result, mut last) = (0, Ok(()), Some(0));
    while let Some(after) = last {
        let looked = store.find_expired(after, before).await?;
        last = looked.last;
        let Some(room) = looked.found else { continue };
        match expire_room(store, hub, &room, before).await {
            Ok(count) => messages += count,
            Err(error) => result = Err(error),
        }
    }
    result.map(|()| messages)
}

/// The same in one room. `before`: in milliseconds.
async fn expire_room(store: &Store, hub: &Hub, room: &RoomRow, before: u64) -> Result<u64, StoreError> {
    let mut messages = 0;
    loop {
        let began = Instant::now();
        let expired = store.expire(room.clone(), before).await?;
        hub.expired(room.id, expired.floor);
        messages += expired.messages;
        sleep(began.elapsed() * PAUSE).await;
        if !expired.is_more {
            return Ok(messages);
        }
    }
}
