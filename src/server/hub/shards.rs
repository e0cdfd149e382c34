//! Rooms spread over cores: each [`Core`] and its calls behind a lock of their own, and what follows
//! from their inputs carried out before the lock is let go, so that everyone hears things in one order.
//!
//! Nothing here waits: carrying out means to put bytes into outboxes and writes into the store's
//! queue. Whoever has something to tell a room does the work on its own thread; there is no task
//! per room to wake up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use axum::extract::ws::Utf8Bytes;

use super::account::lock;
use super::core::{ConnId, Core, History, Input, Output, RoomId};
use super::outbox::{Link, Waits};
use crate::protocol::{ErrorCode, Peer, ServerFrame, User, UserId};
use crate::server::call::signal::{self, Calls};
use crate::server::name_key::{NameKey, Nick};

/// All rooms.
#[derive(Debug)]
pub(super) struct Shards(Box<[Mutex<Shard>]>);

/// The rooms of one core, and their calls.
#[derive(Debug, Default)]
pub(super) struct Shard {
    core: Core<Link>,
    calls: Calls<Link>,
}

/// What a shard's driver needs done outside of it.
pub(super) trait Effects {
    /// Carries out [`Output::Append`], [`Output::Answer`] and [`Output::Count`]. An append that is
    /// not taken comes back as the input that says so.
    fn carry_out(&self, output: Output<Link>) -> Option<Input<Link>>;

    /// So many people are in a room's call now.
    fn count_call(&self, room: RoomId, count: u64);
}

impl Shards {
    /// So many empty shards.
    pub(super) fn new(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| Mutex::default()).collect())
    }

    /// Gives an input to the shard of a room.
    pub(super) fn handle(&self, room: RoomId, input: Input<Link>, effects: &impl Effects) -> Result<(), ErrorCode> {
        self.of(room).drive(input, effects)
    }

    /// Lets a connection through its gate, with the history that was read for it.
    pub(super) fn open(
        &self,
        conn: ConnId,
        room: RoomId,
        id: Option<u64>,
        history: History,
        effects: &impl Effects,
    ) -> Result<(), ErrorCode> {
        let mut shard = self.of(room);
        let call = shard.peers(room);
        shard.drive(Input::Opened { conn, room, id, history, call }, effects)
    }

    /// Takes a connection out of a room, and of its call.
    pub(super) fn leave(&self, conn: ConnId, room: RoomId, effects: &impl Effects) -> Result<(), ErrorCode> {
        let mut shard = self.of(room);
        // Most who leave are in no call.
        let _ = shard.drive_call(signal::Input::Leave { conn, room }, effects);
        shard.drive(Input::Leave { conn, room }, effects)
    }

    /// Tells every shard that a connection ended.
    pub(super) fn disconnect(&self, conn: ConnId, farewell: bool, effects: &impl Effects) {
        for shard in &self.0 {
            let mut shard = lock(shard);
            // Neither is ever refused.
            let _ = shard.drive_call(signal::Input::Disconnect { conn, farewell }, effects);
            let _ = shard.drive(Input::Disconnect { conn }, effects);
        }
    }

    /// Tells every shard that time has passed.
    pub(super) fn tick(&self, effects: &impl Effects) {
        for shard in &self.0 {
            let mut shard = lock(shard);
            // Neither is ever refused.
            let _ = shard.drive_call(signal::Input::Tick, effects);
            let _ = shard.drive(Input::Tick, effects);
        }
    }

    /// Renames somebody in all their rooms, or in none.
    pub(super) fn rename(
        &self,
        user: UserId,
        nick: &Nick,
        asker: Option<ConnId>,
        effects: &impl Effects,
    ) -> Result<(), ErrorCode> {
        // Always in the same order, so two renames cannot wait for each other.
        let mut shards: Vec<_> = self.0.iter().map(lock).collect();
        if let Some(code) = shards.iter().find_map(|shard| shard.core.name_conflict(None, user, &nick.key)) {
            return Err(code);
        }
        for shard in &mut shards {
            let renamed = User { id: user, nickname: nick.text.clone() };
            shard.drive_call(signal::Input::Rename { user: renamed }, effects)?;
            shard.drive(Input::Rename { user, nick: nick.clone(), asker }, effects)?;
        }
        Ok(())
    }

    /// Whether a name would clash in any room that somebody is in, or in this one.
    pub(super) fn name_conflict(&self, room: Option<RoomId>, user: UserId, key: &NameKey) -> Option<ErrorCode> {
        let here = room.and_then(|id| self.of(id).core.name_conflict(room, user, key));
        here.or_else(|| self.0.iter().find_map(|shard| lock(shard).core.name_conflict(None, user, key)))
    }

    /// The shard of a room.
    pub(super) fn of(&self, room: RoomId) -> MutexGuard<'_, Shard> {
        lock(&self.0[room.0.unsigned_abs() as usize % self.0.len()])
    }
}

impl Shard {
    /// The people in a room, in the order they came.
    pub(super) fn members(&self, room: RoomId) -> Vec<User> {
        self.core.members(room)
    }

    /// Who is in the room's call.
    pub(super) fn peers(&self, room: RoomId) -> Vec<Peer> {
        self.calls.peers(room)
    }

    /// Whether this connection is in this room.
    pub(super) fn is_in(&self, conn: ConnId, room: RoomId) -> bool {
        self.core.is_in(conn, room)
    }

    /// Gives an input to the core and carries out all that follows. A panic ends the rooms that the input is about, and
    /// nothing else.
    fn drive(&mut self, input: Input<Link>, effects: &impl Effects) -> Result<(), ErrorCode> {
        let concerned = self.core.concerned(&input);
        catch_unwind(AssertUnwindSafe(|| self.carry_through(input, effects)))
            .unwrap_or_else(|_| self.evict(&concerned, effects))
    }

    fn carry_through(&mut self, input: Input<Link>, effects: &impl Effects) -> Result<(), ErrorCode> {
        let result = self.core.handle(Instant::now(), input);
        self.carry_out(effects);
        result
    }

    fn carry_out(&mut self, effects: &impl Effects) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, frame } => to.push(frame.encode().into(), Waits::of(&frame)),
                Output::Close { link, code } => link.close(code),
                Output::Broadcast { room, except, frame } => {
                    push_to_all(self.core.audience(room, except, &frame), &frame);
                }
                other => {
                    if let Some(input) = effects.carry_out(other) {
                        // Stored is never refused.
                        let _ = self.core.handle(Instant::now(), input);
                    }
                }
            }
        }
    }

    /// Ends rooms in which something panicked. Whoever asked is closed with all the others there.
    fn evict(&mut self, rooms: &[RoomId], effects: &impl Effects) -> Result<(), ErrorCode> {
        // What waits to be carried out may be what panicked; then the next to come carries out the rest.
        let evicted = catch_unwind(AssertUnwindSafe(|| {
            for room in rooms {
                self.core.evict(*room);
                self.calls.evict(*room);
            }
            self.carry_out(effects);
            self.carry_out_calls(effects);
        }));
        drop(evicted);
        Err(ErrorCode::StoreUnavailable)
    }

    /// Gives an input to the calls and carries out all that follows.
    pub(super) fn drive_call(&mut self, input: signal::Input<Link>, effects: &impl Effects) -> Result<(), ErrorCode> {
        let concerned = self.calls.concerned(&input);
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let result = self.calls.handle(Instant::now(), input);
            self.carry_out_calls(effects);
            result
        }));
        handled.unwrap_or_else(|_| self.evict(&concerned, effects))
    }

    fn carry_out_calls(&mut self, effects: &impl Effects) {
        while let Some(output) = self.calls.poll_output() {
            match output {
                signal::Output::Send { to, frame } => to.push(frame.encode().into(), Waits::of(&frame)),
                signal::Output::Tell { room, except, frame } => {
                    push_to_all(self.core.everyone(room, except), &frame);
                }
                signal::Output::Count { room, count } => effects.count_call(room, count),
            }
        }
    }
}

/// Encodes a frame once for however many.
pub(super) fn push_to_all<'a>(links: impl Iterator<Item = &'a Link>, frame: &ServerFrame) {
    let (bytes, waits) = (Utf8Bytes::from(frame.encode()), Waits::of(frame));
    links.for_each(|link| link.push(bytes.clone(), waits));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::protocol::{CloseCode, MessageKey};
    use crate::server::hub::outbox::{Outbox, OutboxLimits};

    /// A store that panics at one text.
    struct Trap;

    impl Effects for Trap {
        fn carry_out(&self, output: Output<Link>) -> Option<Input<Link>> {
            assert!(!matches!(output, Output::Append { text, .. } if text == "boom"), "boom");
            None
        }

        fn count_call(&self, _: RoomId, _: u64) {}
    }

    fn seat(shards: &Shards, conn: u64, room: i64) -> Link {
        let outbox = Outbox::new(OutboxLimits { frames: 100, bytes: 100_000 });
        let nick = Nick::unchecked(format!("n{conn}"));
        let (conn, user, id) = (ConnId(conn), UserId(conn), RoomId(room));
        let enter = Input::Enter { conn, link: outbox.clone(), user, nick, room: id, name: Arc::from("r") };
        shards.handle(id, enter, &Trap).unwrap();
        shards.open(conn, id, Some(1), History::default(), &Trap).unwrap();
        outbox
    }

    fn post(shards: &Shards, conn: u64, room: i64, text: &str) -> Result<(), ErrorCode> {
        let (conn, room) = (ConnId(conn), RoomId(room));
        shards.handle(room, Input::Post { conn, room, id: None, key: MessageKey(1), text: text.into() }, &Trap)
    }

    #[test]
    fn a_room_that_panics_ends_alone_and_begins_anew() {
        let shards = Shards::new(1);
        let (ann, bob, cat) = (seat(&shards, 1, 1), seat(&shards, 2, 1), seat(&shards, 3, 2));
        assert!(post(&shards, 1, 1, "boom").is_err());
        for outbox in [&ann, &bob] {
            assert_eq!(outbox.take().close, Some(CloseCode::Internal));
        }
        assert_eq!(cat.take().close, None);
        assert_eq!(post(&shards, 3, 2, "still here"), Ok(()), "the shard's other rooms go on");
        assert_eq!(post(&shards, 1, 1, "hello"), Err(ErrorCode::NotInRoom));
        // What they say when they go changes nothing any more; then they are back.
        shards.disconnect(ConnId(1), false, &Trap);
        let back = seat(&shards, 4, 1);
        assert_eq!((post(&shards, 4, 1, "hello"), back.take().close), (Ok(()), None));
        assert_eq!(shards.of(RoomId(1)).members(RoomId(1)).len(), 1);
    }
}
