//! Rooms spread over cores: each shard has a lock, a [`Core`] and its calls. The outputs of an input are carried out
//! before the lock is released, so that all connections see one order.
//!
//! Nothing here waits: carrying out an output puts a frame into an outbox or changes a map.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::core::{self, Core, Effect, Output, SeatId};
use super::outbox::{Delivery, Outbox};
use crate::protocol::{ErrorCode, MAX_MENTIONS, MembersAck, Peer, ServerFrame, User, UserId};
use crate::server::call::signal::{self, Calls};
use crate::server::change::Candidate;
use crate::server::history::History;
use crate::server::id::{ConnId, RoomId};
use crate::server::lock::lock;
use crate::server::name_key::{NameKey, Nick};

/// All shards.
#[derive(Debug)]
pub(super) struct Shards(Box<[Mutex<Shard>]>);

/// The rooms of one shard, and their calls.
#[derive(Debug)]
pub(super) struct Shard {
    core: Core<Arc<Outbox>>,
    calls: Calls<Arc<Outbox>>,
}

/// An input for one of a shard's state machines.
pub(super) enum Input {
    Room(core::Input<Arc<Outbox>>),
    Call(signal::Input<Arc<Outbox>>),
}

impl From<core::Input<Arc<Outbox>>> for Input {
    fn from(input: core::Input<Arc<Outbox>>) -> Self {
        Self::Room(input)
    }
}

impl From<signal::Input<Arc<Outbox>>> for Input {
    fn from(input: signal::Input<Arc<Outbox>>) -> Self {
        Self::Call(input)
    }
}

/// The surroundings of a shard.
pub(super) trait Context {
    /// The current time.
    fn now(&self) -> Instant;

    /// Carries out an effect outside of the shard. Called with the shard locked.
    fn carry_out(&self, effect: Effect);
}

impl Shards {
    /// The tails of all rooms together have at most `tail_bytes`.
    pub(super) fn new(count: usize, tail_bytes: usize) -> Self {
        let count = count.max(1);
        let shard = || Shard { core: Core::with_tail_bytes(tail_bytes / count), calls: Calls::default() };
        Self((0..count).map(|_| Mutex::new(shard())).collect())
    }

    /// The index of the shard that has a room.
    pub(super) fn index(room: RoomId, shards: usize) -> usize {
        (room.0 % shards as u64) as usize
    }

    /// The shard with this index.
    pub(super) fn get(&self, index: usize) -> MutexGuard<'_, Shard> {
        lock(&self.0[index])
    }

    /// The shard that has a room.
    pub(super) fn of(&self, room: RoomId) -> MutexGuard<'_, Shard> {
        self.get(Self::index(room, self.0.len()))
    }

    /// Gives an input to the shard that has a room.
    pub(super) fn handle(
        &self,
        room: RoomId,
        input: impl Into<Input>,
        context: &impl Context,
    ) -> Result<(), ErrorCode> {
        self.of(room).drive(input, context)
    }

    /// Takes a connection out of a room, and of its call.
    pub(super) fn leave(&self, seat: SeatId, context: &impl Context) -> Result<(), ErrorCode> {
        let mut shard = self.of(seat.room);
        // Most connections that leave are not in a call.
        let _ = shard.drive(signal::Input::Leave(seat), context);
        shard.drive(core::Input::Leave(seat), context)
    }

    /// Takes a connection that has ended out of all rooms and calls.
    pub(super) fn disconnect(&self, conn: ConnId, clean_close: bool, context: &impl Context) {
        for shard in &self.0 {
            let mut shard = lock(shard);
            // Neither is ever refused.
            let _ = shard.drive(signal::Input::Disconnect { conn, clean_close }, context);
            let _ = shard.drive(core::Input::Disconnect(conn), context);
        }
    }

    /// Lets time pass in every shard.
    pub(super) fn tick(&self, context: &impl Context) {
        for shard in &self.0 {
            let mut shard = lock(shard);
            // Neither is ever refused.
            let _ = shard.drive(signal::Input::Tick, context);
            let _ = shard.drive(core::Input::Tick, context);
        }
    }

    /// Renames a user in all rooms, or in none.
    pub(super) fn rename(&self, rename: &core::Rename, context: &impl Context) -> Result<(), ErrorCode> {
        // Always locked in the same order, so that two renames cannot deadlock.
        let mut shards: Vec<_> = self.0.iter().map(lock).collect();
        let (user, nick) = (rename.user, &rename.nick);
        if let Some(code) = shards.iter().find_map(|shard| shard.core.name_conflict(None, user, &nick.key)) {
            return Err(code);
        }
        for shard in &mut shards {
            shard.drive(signal::Input::Rename(User { id: user, nickname: nick.text.clone() }), context)?;
            shard.drive(core::Input::Rename(rename.clone()), context)?;
        }
        Ok(())
    }

    /// The conflict of a name with another user's, in this room or in any room that the user is in.
    pub(super) fn name_conflict(&self, room: Option<RoomId>, user: UserId, nick: &Nick) -> Option<ErrorCode> {
        let key: &NameKey = &nick.key;
        let here = room.and_then(|id| self.of(id).core.name_conflict(room, user, key));
        here.or_else(|| self.0.iter().find_map(|shard| lock(shard).core.name_conflict(None, user, key)))
    }
}

impl Shard {
    /// A page of the people in a room, in the order of their arrival.
    pub(super) fn member_page(&self, room: RoomId, after: u64, limit: u64) -> MembersAck {
        self.core.member_page(room, after, limit)
    }

    /// The peers in a room's call.
    pub(super) fn peers(&self, room: RoomId) -> Vec<Peer> {
        self.calls.peers(room)
    }

    /// The latest messages of a room, if they are in memory.
    pub(super) fn recent_history(&self, room: RoomId) -> Option<History> {
        self.core.recent_history(room)
    }

    /// The `seq` of the last message of a room, if it is in memory.
    pub(super) fn head(&self, room: RoomId) -> Option<u64> {
        self.core.head(room)
    }

    /// Returns whether a connection is in a room.
    pub(super) fn is_in(&self, seat: SeatId) -> bool {
        self.core.is_in(seat)
    }

    /// Returns whether a connection in a room waits for its history.
    pub(super) fn is_loading(&self, seat: SeatId) -> bool {
        self.core.is_loading(seat)
    }

    /// The author of a message that a connection is about to post.
    pub(super) fn begin_post(&mut self, seat: SeatId) -> Result<User, ErrorCode> {
        self.core.begin_post(seat)
    }

    /// The users whom a message in a room may mention: the first of these ids, with the names of those in the room.
    pub(super) fn candidates(&self, room: RoomId, ids: &[UserId]) -> Vec<Candidate> {
        let nickname = |id| self.core.user(room, id).map(|user| user.nickname);
        ids.iter().take(MAX_MENTIONS).map(|id| Candidate { id: *id, nickname: nickname(*id) }).collect()
    }

    /// The user behind a connection in a room.
    pub(super) fn member(&self, seat: SeatId) -> Result<User, ErrorCode> {
        self.core.member(seat)
    }

    /// Gives an input to its state machine and carries out all outputs. A panic ends the rooms that the input
    /// concerns, and nothing else.
    pub(super) fn drive(&mut self, input: impl Into<Input>, context: &impl Context) -> Result<(), ErrorCode> {
        let input = input.into();
        let rooms = match &input {
            Input::Room(input) => self.core.rooms_of(input),
            Input::Call(input) => self.calls.rooms_of(input),
        };
        let handled = catch_unwind(AssertUnwindSafe(|| {
            let result = match input {
                Input::Room(input) => self.core.handle(context.now(), input),
                Input::Call(input) => self.calls.handle(context.now(), input),
            };
            self.carry_out(context);
            result
        }));
        handled.unwrap_or_else(|_| self.evict(&rooms, context))
    }

    fn carry_out(&mut self, context: &impl Context) {
        while let Some(output) = self.core.poll_output().or_else(|| self.calls.poll_output()) {
            match output {
                Output::Send(outbox, frame) => outbox.send(&frame),
                Output::Entered(outbox, mut entered) => {
                    entered.call = self.calls.peers(entered.room.id);
                    outbox.push_deferred(entered.estimated_bytes(), move || entered.into_frame().encode());
                }
                Output::Broadcast(broadcast) => {
                    push_to_all(self.core.audience(broadcast.room, broadcast.audience), &broadcast.frame);
                }
                Output::Deliver(room, message) => {
                    let seq = message.seq;
                    let frame = ServerFrame::NewMessage(Arc::unwrap_or_clone(message));
                    push_to_all(self.core.receivers(room, seq), &frame);
                }
                Output::DeliverChange(room, change) => {
                    let rev = change.state.rev;
                    let frame = ServerFrame::MessageChanged(Arc::unwrap_or_clone(change));
                    push_to_all(self.core.change_receivers(room, rev), &frame);
                }
                Output::Close(outbox, code) => outbox.close(code),
                Output::Effect(effect) => context.carry_out(effect),
            }
        }
    }

    /// Ends rooms in which something panicked, and closes their connections.
    fn evict(&mut self, rooms: &[RoomId], context: &impl Context) -> Result<(), ErrorCode> {
        // A remaining output may be what panicked; then the next input carries out the others.
        let evicted = catch_unwind(AssertUnwindSafe(|| {
            for room in rooms {
                self.core.evict(*room);
                self.calls.evict(*room);
            }
            self.carry_out(context);
        }));
        drop(evicted);
        Err(ErrorCode::StoreUnavailable)
    }
}

/// Encodes a frame once, for many outboxes.
pub(super) fn push_to_all<'a>(outboxes: impl Iterator<Item = &'a Arc<Outbox>>, frame: &ServerFrame) {
    let mut outboxes = outboxes.peekable();
    let Some(first) = outboxes.peek() else { return };
    // All outboxes have the same budget.
    let (bytes, delivery) = (first.budget().frame(frame.encode()), Delivery::of(frame));
    outboxes.for_each(|outbox| outbox.push(bytes.clone(), delivery));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CloseCode, UserId};
    use crate::server::hub::core::Enter;
    use crate::server::hub::outbox::OutboxLimits;
    use crate::server::id::RoomRow;

    /// Surroundings that panic when the third user enters a room.
    struct Trap;

    impl Context for Trap {
        fn now(&self) -> Instant {
            Instant::now()
        }

        fn carry_out(&self, effect: Effect) {
            assert!(!matches!(effect, Effect::MemberCount(_, 3)), "boom");
        }
    }

    fn enter(shards: &Shards, conn: u64, room: u64) -> (Arc<Outbox>, Result<(), ErrorCode>) {
        let outbox = Outbox::new(OutboxLimits { frames: 100, bytes: 100_000 });
        let (nick, room) =
            (Nick::unchecked(format!("n{conn}")), RoomRow { id: RoomId(room), number: 1, name: "r".into() });
        let (conn, user, id) = (ConnId(conn), UserId(conn), room.id);
        let enter = Enter { conn, outbox: outbox.clone(), user, nick, room, id: Some(1), after: None };
        let loaded = core::Input::HistoryLoaded(SeatId { conn, room: id }, History::default());
        let entered = shards.handle(id, core::Input::Enter(enter), &Trap);
        (outbox, entered.and_then(|()| shards.handle(id, loaded, &Trap)))
    }

    #[test]
    fn panicking_room_is_evicted_alone_and_recreated() {
        let shards = Shards::new(1, usize::MAX);
        let (ann, bob, cat) = (enter(&shards, 1, 1), enter(&shards, 2, 1), enter(&shards, 3, 2));
        assert_eq!((ann.1, bob.1, cat.1), (Ok(()), Ok(()), Ok(())));
        assert!(enter(&shards, 4, 1).1.is_err());
        for outbox in [&ann.0, &bob.0] {
            assert_eq!(outbox.take().close, Some(CloseCode::Internal));
        }
        assert_eq!(cat.0.take().close, None, "the shard's other rooms go on");
        let typing = |conn, room| core::Input::Typing(SeatId { conn: ConnId(conn), room: RoomId(room) });
        assert_eq!(shards.handle(RoomId(2), typing(3, 2), &Trap), Ok(()));
        assert_eq!(shards.handle(RoomId(1), typing(1, 1), &Trap), Err(ErrorCode::NotInRoom));
        // The end of its connections changes nothing any more. The room is created again.
        shards.disconnect(ConnId(1), false, &Trap);
        let (back, entered) = enter(&shards, 5, 1);
        assert_eq!((entered, back.take().close), (Ok(()), None));
        assert_eq!(shards.of(RoomId(1)).member_page(RoomId(1), 0, 9).count, 1);
    }
}
