//! Rooms spread over cores: each [`Core`] behind a lock of its own, and what follows from its
//! inputs carried out before the lock is let go, so that everyone hears things in one order.
//!
//! Nothing here waits: carrying out means to put bytes into outboxes and writes into the store's
//! queue. Whoever has something to tell a room does the work on its own thread; there is no task
//! per room to wake up.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use axum::extract::ws::Utf8Bytes;

use super::account::lock;
use super::core::{Core, Input, Output, RoomId};
use super::outbox::Link;
use crate::protocol::{ErrorCode, UserId};
use crate::server::name_key::{NameKey, Nick};

/// All rooms.
#[derive(Debug)]
pub(super) struct Shards(Box<[Mutex<Core<Link>>]>);

/// What a shard's driver needs done outside of it.
pub(super) trait Effects {
    /// Carries out [`Output::Append`], [`Output::Answer`] and [`Output::Count`]. An append that is
    /// not taken comes back as the input that says so.
    fn carry_out(&self, output: Output<Link>) -> Option<Input<Link>>;
}

impl Shards {
    /// So many empty shards.
    pub(super) fn new(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| Mutex::default()).collect())
    }

    /// Gives an input to the shard of a room.
    pub(super) fn handle(&self, room: RoomId, input: Input<Link>, effects: &impl Effects) -> Result<(), ErrorCode> {
        drive(&mut self.of(room), input, effects)
    }

    /// Gives an input to every shard, one after the other.
    pub(super) fn handle_everywhere(&self, input: &Input<Link>, effects: &impl Effects) {
        for shard in &self.0 {
            // Only Disconnect and Tick go everywhere, and neither is refused.
            let _ = drive(&mut lock(shard), input.clone(), effects);
        }
    }

    /// Renames somebody in all their rooms, or in none.
    pub(super) fn rename(
        &self,
        user: UserId,
        nick: &Nick,
        asker: Option<super::core::ConnId>,
        effects: &impl Effects,
    ) -> Result<(), ErrorCode> {
        // Always in the same order, so two renames cannot wait for each other.
        let mut shards: Vec<_> = self.0.iter().map(lock).collect();
        if let Some(code) = shards.iter().find_map(|core| core.name_conflict(None, user, &nick.key)) {
            return Err(code);
        }
        for core in &mut shards {
            drive(core, Input::Rename { user, nick: nick.clone(), asker }, effects)?;
        }
        Ok(())
    }

    /// Whether a name would clash in any room that somebody is in, or in this one.
    pub(super) fn name_conflict(&self, room: Option<RoomId>, user: UserId, key: &NameKey) -> Option<ErrorCode> {
        let here = room.and_then(|id| self.of(id).name_conflict(room, user, key));
        here.or_else(|| self.0.iter().find_map(|shard| lock(shard).name_conflict(None, user, key)))
    }

    /// The shard of a room.
    pub(super) fn of(&self, room: RoomId) -> MutexGuard<'_, Core<Link>> {
        lock(&self.0[room.0.unsigned_abs() as usize % self.0.len()])
    }
}

/// Gives an input to a core and carries out all that follows.
fn drive(core: &mut Core<Link>, input: Input<Link>, effects: &impl Effects) -> Result<(), ErrorCode> {
    let now = Instant::now();
    let result = core.handle(now, input);
    while let Some(output) = core.poll_output() {
        match output {
            Output::Send { to, frame } => to.push(frame.encode().into()),
            Output::Broadcast { room, except, frame } => {
                let bytes = Utf8Bytes::from(frame.encode());
                core.audience(room, except, &frame).for_each(|link| link.push(bytes.clone()));
            }
            other => {
                if let Some(input) = effects.carry_out(other) {
                    // Stored is never refused.
                    let _ = core.handle(now, input);
                }
            }
        }
    }
    result
}
