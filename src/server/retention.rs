//! Removing many messages in the background: those that are older than the operator wants to keep, and those of
//! requested purges.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::history::Until;
use super::hub::Hub;
use super::hub::purger::{Pause, Purger};
use super::storage::StoreError;
use super::store::Store;

/// The interval between two rounds of expiry.
const EXPIRE_EVERY: Duration = Duration::from_hours(1);
/// The delay after the list of purges could not be read.
const RETRY: Duration = Duration::from_secs(5);

/// Removes what is older than `keep`, as long as the server runs.
pub(super) async fn run(store: Arc<Store>, hub: Arc<Hub>, keep: Duration) {
    let mut rounds = interval(EXPIRE_EVERY);
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
        match hub.expire_all(&room, Until::Time(before), sleep).await {
            Ok(count) => messages += count,
            Err(error) => result = Err(error),
        }
    }
    result.map(|()| messages)
}

/// Carries out purges, as long as the server runs: also those that were requested before it started.
pub(super) async fn run_purges(store: Arc<Store>, hub: Arc<Hub>) {
    let mut purger = Purger::default();
    loop {
        let pause = match purger.step(&hub).await {
            Ok(Pause::Needed(pause)) => {
                sleep(pause).await;
                continue;
            }
            Ok(Pause::Idle(pause)) => pause,
            Err(error) => {
                tracing::warn!(?error, "cannot read the requests for purges; will try again");
                RETRY
            }
        };
        if timeout(pause, store.purge_requested()).await.is_ok() {
            purger.look();
        }
    }
}
