//! The purger: carries out the requested purges in turns of one step each, so that none holds up others.
//!
//! A step is small, because other writes wait for it, and is followed by a pause. After its step, a purge waits until the
//! connections in its room have had time to read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Hub;
use super::removal::PAUSE;
use crate::protocol::UserId;
use crate::server::history::Until;
use crate::server::storage::{Purge, StoreError, ToPurge};

/// The most messages that a step deletes, and the most text of them in bytes.
const STEP: usize = 50;
const STEP_BYTES: u64 = 64 * 1024;
/// The shortest time between two steps in a room. With it, a purge sends a room at most about 100 frames a second.
const STEP_EVERY: Duration = Duration::from_millis(500);
/// The most purges that take turns. Later ones wait.
const ACTIVE: usize = 1_000;
/// The longest time until a purge is noticed that was requested on the command line.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The delay after a purge has failed.
const RETRY: Duration = Duration::from_secs(30);

/// The purges that are being carried out.
#[derive(Debug, Default)]
pub struct Purger {
    active: Vec<Active>,
    /// The time to look for new ones.
    look_at: Option<Instant>,
}

/// A purge that is being carried out.
#[derive(Debug)]
struct Active {
    purge: Purge,
    /// The time of its next step.
    next_at: Instant,
    /// The messages that were found, in the order in which they are deleted, with the sizes of their texts.
    found: VecDeque<(u64, u64)>,
    /// The `seq` up to which messages remain, after those in `found`. `None` if none do.
    rest: Option<u64>,
    /// Some could not be deleted. It begins again when it has tried all.
    has_failed: bool,
}

/// The outcome of a step of a purge.
enum Stepped {
    /// Messages were deleted, and their connections were told.
    Deleted,
    /// Nothing was sent to the messages' room, or little.
    Quiet,
    /// All is removed.
    Finished,
    /// Something could not be removed, and the rest was tried.
    Failed,
}

/// The time until the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// A step was carried out, and other writes have their turn.
    Needed(Duration),
    /// No step is due. A new purge may be carried out at once.
    Idle(Duration),
}

impl Purger {
    /// Looks for new purges at the next step.
    pub fn look(&mut self) {
        self.look_at = None;
    }

    /// Carries out the next step that is due.
    ///
    /// # Errors
    /// The list of purges could not be read.
    pub async fn step(&mut self, hub: &Hub) -> Result<Pause, StoreError> {
        let began = hub.environment.now();
        if self.look_at.is_none_or(|at| at <= began) {
            self.find(hub, began).await?;
            self.look_at = Some(began + LOOK_EVERY);
        }
        let due = |active: &Active| active.next_at.saturating_duration_since(began);
        let Some(index) = (0..self.active.len()).min_by_key(|index| self.active[*index].next_at) else {
            return Ok(Pause::Idle(LOOK_EVERY));
        };
        if due(&self.active[index]) > Duration::ZERO {
            return Ok(Pause::Idle(due(&self.active[index]).min(LOOK_EVERY)));
        }
        let active = &mut self.active[index];
        let (stepped, room) = (active.step(hub).await, active.purge.room.id);
        let now = hub.environment.now();
        // Behind all others that are due.
        active.next_at = now;
        match stepped {
            Stepped::Quiet => {}
            Stepped::Deleted => {
                for other in self.active.iter_mut().filter(|other| other.purge.room.id == room) {
                    other.next_at = other.next_at.max(now + STEP_EVERY);
                }
            }
            Stepped::Finished => drop(self.active.swap_remove(index)),
            Stepped::Failed => {
                tracing::warn!(%room, "cannot carry out a purge; will try again");
                active.begin_at(now + RETRY);
            }
        }
        Ok(Pause::Needed(now.saturating_duration_since(began) * PAUSE))
    }

    /// Takes the purges that are not active yet.
    async fn find(&mut self, hub: &Hub, now: Instant) -> Result<(), StoreError> {
        for purge in hub.storage.purges(ACTIVE as u64).await? {
            if self.active.len() < ACTIVE && !self.active.iter().any(|active| active.purge.id == purge.id) {
                let mut active = Active { purge, next_at: now, found: VecDeque::new(), rest: None, has_failed: false };
                active.begin_at(now);
                self.active.push(active);
            }
        }
        Ok(())
    }
}

impl Active {
    /// Begins from its stored position.
    fn begin_at(&mut self, time: Instant) {
        self.next_at = time;
        self.found.clear();
        self.rest = Some(self.purge.up_to);
        self.has_failed = false;
    }

    async fn step(&mut self, hub: &Hub) -> Stepped {
        let result = match self.purge.user {
            None => self.clear(hub).await,
            Some(user) => self.delete(hub, user).await,
        };
        result.unwrap_or(Stepped::Failed)
    }

    /// Removes the oldest messages of the room.
    async fn clear(&mut self, hub: &Hub) -> Result<Stepped, StoreError> {
        let expired = hub.expire(&self.purge.room, Until::Seq(self.purge.up_to)).await?;
        if expired.is_more {
            return Ok(Stepped::Quiet);
        }
        hub.storage.purged(self.purge.clone(), None).await?;
        Ok(Stepped::Finished)
    }

    /// Looks for messages, or deletes those that were found.
    async fn delete(&mut self, hub: &Hub, user: UserId) -> Result<Stepped, StoreError> {
        let Some((_, first)) = self.found.front() else { return self.look(hub, user).await };
        let (mut seqs, mut bytes) = (Vec::new(), *first);
        while let Some((seq, _)) =
            self.found.pop_front_if(|_| seqs.is_empty() || (seqs.len() < STEP && bytes <= STEP_BYTES))
        {
            seqs.push(seq);
            bytes += self.found.front().map_or(0, |(_, next)| *next);
        }
        let failed = hub.delete_messages(&self.purge.room, user, &seqs).await;
        if failed.len() == seqs.len() && failed.len() > 1 {
            // Not the messages are at fault, but the store.
            return Ok(Stepped::Failed);
        }
        self.has_failed |= !failed.is_empty();
        Ok(Stepped::Deleted)
    }

    async fn look(&mut self, hub: &Hub, user: UserId) -> Result<Stepped, StoreError> {
        let Some(up_to) = self.rest else {
            if self.has_failed {
                return Ok(Stepped::Failed);
            }
            hub.storage.purged(self.purge.clone(), None).await?;
            return Ok(Stepped::Finished);
        };
        if up_to < self.purge.up_to && !self.has_failed {
            hub.storage.purged(self.purge.clone(), Some(up_to)).await?;
            self.purge.up_to = up_to;
        }
        let range = Purge { up_to, ..self.purge.clone() };
        let ToPurge { messages, rest } = hub.storage.messages_to_purge(range, user).await?;
        (self.found, self.rest) = (messages.into(), rest);
        Ok(Stepped::Quiet)
    }
}
