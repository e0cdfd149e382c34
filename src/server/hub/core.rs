//! The rooms of one shard, as a state machine: people and connections, the order of messages, names.
//!
//! Sans-I/O, in the manner of str0m: [`Core::handle`] takes an input, [`Core::poll_output`] returns the resulting
//! actions. There is no clock, lock, task or random number here: time and identifiers are arguments, so that a run can
//! be replayed. The driver is a shard ([`super::shards`]); the run loop looks like this:
//!
//! ```
//! use std::time::Instant;
//!
//! use noom::protocol::UserId;
//! use noom::server::history::History;
//! use noom::server::hub::core::{Broadcast, Core, Enter, Input, Output, SeatId};
//! use noom::server::id::{ConnId, RoomId, RoomRow};
//! use noom::server::name_key::Nick;
//!
//! // An outbox is anything that can be cloned; here, a number.
//! let mut core = Core::<u32>::default();
//! let room = RoomRow { id: RoomId(7), number: 1, name: "book club".into() };
//! let seat = SeatId { conn: ConnId(7), room: room.id };
//! let (user, nick) = (UserId(1), Nick::unchecked("Ann".into()));
//! let enter = Enter { conn: seat.conn, outbox: 70, user, nick, room, id: Some(2), after: None };
//!
//! core.handle(Instant::now(), Input::Enter(enter))?;
//! // The room has just been created in memory: the driver reads its history from the store.
//! assert!(core.is_loading(seat));
//! core.handle(Instant::now(), Input::HistoryLoaded(seat, History::default()))?;
//! let mut answered = Vec::new();
//! while let Some(output) = core.poll_output() {
//!     match output {
//!         Output::Send(outbox, _) => answered.push(outbox),
//!         Output::Entered(outbox, entered) => {
//!             assert_eq!(entered.people.members[0].nickname, "Ann");
//!             answered.push(outbox);
//!         }
//!         Output::Broadcast(Broadcast { room, audience, .. }) => {
//!             assert_eq!(core.audience(room, audience).count(), 0, "nobody else is in the room");
//!         }
//!         Output::Deliver(room, message) => answered.extend(core.receivers(room, message.seq)),
//!         Output::DeliverChange(room, change) => answered.extend(core.change_receivers(room, change.state.rev)),
//!         Output::Close(..) | Output::Effect(_) => {}
//!     }
//! }
//! assert_eq!(answered, [70]);
//! # Ok::<(), noom::protocol::ErrorCode>(())
//! ```

mod crowd;
mod delivery;
mod holds;
mod input;
mod names;
mod presence;
mod room;
mod seats;
mod tails;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

pub use super::output::Entered;
pub use super::output::{Audience, Broadcast, Effect, Except, Output};
use crate::protocol::{CloseCode, ErrorCode, ServerFrame, User, UserId};
use crate::server::history::History;
use crate::server::id::{ConnId, RoomId};
use crate::server::name_key::NameKey;
pub use holds::FORM_HOLD;
use holds::Holds;
pub use input::{Enter, Input, Rename, SeatId};
use room::Room;
use tails::Tails;

/// The grace period: a user whose last connection broke is in the room for this long, so that a reload of the page is
/// not announced.
pub const GRACE: Duration = Duration::from_secs(3);
/// The time that an empty room stays in memory.
pub const EMPTY_ROOM_STAYS: Duration = Duration::from_secs(60);
/// The shortest interval between two typing notifications of one connection.
pub const TYPING_EVERY: Duration = Duration::from_secs(1);

/// The rooms of one shard. `O` is an outbox: the driver sends frames through it.
#[derive(Debug)]
pub struct Core<O> {
    rooms: HashMap<RoomId, Room<O>>,
    /// The rooms that a connection is in.
    conns: HashMap<ConnId, Vec<RoomId>>,
    /// The rooms that a user is in.
    users: HashMap<UserId, Vec<RoomId>>,
    /// The users who leave a room unless a connection comes back. Ordered by time, because the grace period is
    /// constant.
    departures: VecDeque<(Instant, RoomId, UserId)>,
    /// The names of users who post by forms.
    holds: Holds,
    /// The rooms that are crowded.
    crowded: BTreeSet<RoomId>,
    outputs: VecDeque<Output<O>>,
    tails: Tails,
}

impl<O> Default for Core<O> {
    fn default() -> Self {
        Self::with_tail_bytes(usize::MAX)
    }
}

impl<O> Core<O> {
    /// No rooms yet. The tails of all rooms together will have at most about `limit` bytes.
    pub fn with_tail_bytes(limit: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            conns: HashMap::new(),
            users: HashMap::new(),
            departures: VecDeque::new(),
            holds: Holds::default(),
            crowded: BTreeSet::new(),
            outputs: VecDeque::new(),
            tails: Tails::new(limit),
        }
    }
}

impl<O: Clone> Core<O> {
    /// Takes an input. The resulting actions are in [`Core::poll_output`] afterwards.
    ///
    /// # Errors
    /// The refusal; nothing has changed then. `NICK_TAKEN` or `NICK_CONFUSABLE` from [`Input::Enter`],
    /// [`Input::HoldName`] and [`Input::Rename`], `NOT_IN_ROOM` from [`Input::Leave`] and [`Input::Typing`].
    pub fn handle(&mut self, now: Instant, input: Input<O>) -> Result<(), ErrorCode> {
        match input {
            Input::Enter(enter) => return self.enter(now, enter),
            Input::HistoryLoaded(seat, history) => self.history_loaded(now, seat, history),
            Input::HistoryFailed(seat) => self.history_failed(now, seat),
            Input::Leave(seat) => return self.leave(now, seat),
            Input::Disconnect(conn) => self.disconnect(now, conn),
            Input::HoldName { room, user, nick } => return self.hold_name(now, room, user, nick),
            Input::Rename(rename) => return self.rename(rename),
            Input::Typing(seat) => return self.typing(now, seat),
            Input::Committed(room, message) => self.committed(room, message),
            Input::Changed(room, change) => self.changed(room, change),
            Input::Expired(room, floor) => self.expired(room, floor),
            Input::Fetched(room, history) => self.fetched(room, history),
            Input::Tick => self.tick(now),
        }
        Ok(())
    }

    /// The next action that results from the inputs.
    pub fn poll_output(&mut self) -> Option<Output<O>> {
        self.outputs.pop_front()
    }

    /// The rooms that an input concerns.
    pub fn rooms_of(&self, input: &Input<O>) -> Vec<RoomId> {
        match input {
            Input::Enter(enter) => vec![enter.room.id],
            Input::HistoryLoaded(seat, _) | Input::HistoryFailed(seat) | Input::Leave(seat) | Input::Typing(seat) => {
                vec![seat.room]
            }
            Input::HoldName { room, .. }
            | Input::Committed(room, _)
            | Input::Changed(room, _)
            | Input::Expired(room, _)
            | Input::Fetched(room, _) => vec![*room],
            Input::Disconnect(conn) => self.conns.get(conn).cloned().unwrap_or_default(),
            Input::Rename(rename) => self.users.get(&rename.user).cloned().unwrap_or_default(),
            Input::Tick => Vec::new(),
        }
    }

    /// Drops a room whose state cannot be trusted any more, and closes its connections. The room is created again when
    /// they come back: its messages are in the store.
    pub fn evict(&mut self, id: RoomId) {
        let Some(room) = self.rooms.remove(&id) else { return };
        self.tails.remove(&room.tail_use);
        for seat in room.seats.into_iter() {
            if let Some(rooms) = self.conns.get_mut(&seat.conn) {
                rooms.retain(|other| *other != id);
            }
            self.outputs.push_back(Output::Close(seat.outbox, CloseCode::Internal));
        }
        for rooms in self.users.values_mut() {
            rooms.retain(|other| *other != id);
        }
        self.conns.retain(|_, rooms| !rooms.is_empty());
        self.users.retain(|_, rooms| !rooms.is_empty());
        self.effect(Effect::MemberCount(room.row.clone(), 0));
        self.effect(Effect::Unloaded(room.row));
    }

    /// The outboxes that receive a broadcast.
    pub fn audience(&self, room: RoomId, audience: Audience) -> impl Iterator<Item = &O> {
        let seats = self.rooms.get(&room).into_iter().flat_map(move |room| room.seats.audience(audience));
        seats.map(|seat| &seat.outbox)
    }

    /// The outboxes that receive the message with this `seq`: those whose history has loaded and does not contain it.
    pub fn receivers(&self, room: RoomId, seq: u64) -> impl Iterator<Item = &O> {
        let seats = self.rooms.get(&room).into_iter().flat_map(|room| room.seats.iter());
        seats.filter(move |seat| seat.loading.is_none() && seat.delivered.up_to < seq).map(|seat| &seat.outbox)
    }

    /// The same for the change with this `rev`.
    pub fn change_receivers(&self, room: RoomId, rev: u64) -> impl Iterator<Item = &O> {
        let seats = self.rooms.get(&room).into_iter().flat_map(|room| room.seats.iter());
        seats.filter(move |seat| seat.loading.is_none() && seat.delivered.rev < rev).map(|seat| &seat.outbox)
    }

    /// The conflict of a name with another user's, in one room or in any room that the user is in.
    pub fn name_conflict(&self, room: Option<RoomId>, user: UserId, key: &NameKey) -> Option<ErrorCode> {
        let own = self.users.get(&user).map(Vec::as_slice).unwrap_or_default();
        own.iter().chain(room.iter()).find_map(|id| self.conflict_in(*id, user, key))
    }

    fn conflict_in(&self, room: RoomId, user: UserId, key: &NameKey) -> Option<ErrorCode> {
        let in_room = self.rooms.get(&room).and_then(|room| room.names.conflict(user, key));
        in_room.or_else(|| self.holds.conflict(room, user, key))
    }

    /// The people in a room, in the order of their arrival.
    pub fn members(&self, room: RoomId) -> Vec<User> {
        self.rooms.get(&room).map(Room::members).unwrap_or_default()
    }

    /// The latest messages of a room, if they are in memory.
    pub fn recent_history(&self, room: RoomId) -> Option<History> {
        self.rooms.get(&room)?.recent_history(None)
    }

    /// The `seq` of the last message of a room, if it is in memory.
    pub fn head(&self, room: RoomId) -> Option<u64> {
        self.rooms.get(&room)?.tail.head()
    }

    /// Returns whether a connection is in a room.
    pub fn is_in(&self, seat: SeatId) -> bool {
        self.rooms.get(&seat.room).is_some_and(|room| room.seats.get(seat.conn).is_some())
    }

    /// Returns whether a connection in a room waits for its history.
    pub fn is_loading(&self, seat: SeatId) -> bool {
        let found = self.rooms.get(&seat.room).and_then(|room| room.seats.get(seat.conn));
        found.is_some_and(|seat| seat.loading.is_some())
    }

    /// The author of a message that a connection is about to post.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`.
    pub fn begin_post(&mut self, seat: SeatId) -> Result<User, ErrorCode> {
        let room = self.rooms.get_mut(&seat.room).ok_or(ErrorCode::NotInRoom)?;
        let seat = room.seats.get_mut(seat.conn).ok_or(ErrorCode::NotInRoom)?;
        // The next typing notification is for another message: it is sent at once.
        seat.typed_at = None;
        let user = seat.user;
        room.user(user).ok_or(ErrorCode::NotInRoom)
    }

    /// The user behind a connection in a room.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`.
    pub fn member(&self, seat: SeatId) -> Result<User, ErrorCode> {
        let room = self.rooms.get(&seat.room).ok_or(ErrorCode::NotInRoom)?;
        let user = room.seats.get(seat.conn).ok_or(ErrorCode::NotInRoom)?.user;
        room.user(user).ok_or(ErrorCode::NotInRoom)
    }

    /// A user in a room.
    pub fn user(&self, room: RoomId, user: UserId) -> Option<User> {
        self.rooms.get(&room)?.user(user)
    }

    /// The numbers of rooms in memory and of connections in them.
    pub fn sizes(&self) -> (usize, usize) {
        (self.rooms.len(), self.conns.len())
    }

    fn tick(&mut self, now: Instant) {
        while let Some((at, room, user)) = self.departures.pop_front_if(|(at, ..)| *at <= now) {
            let person = self.rooms.get(&room).and_then(|room| room.people.get(&user));
            // Otherwise a connection came back, and the user may be leaving again.
            if person.is_some_and(|person| person.leaves_at == Some(at)) {
                self.depart(now, room, user);
            }
        }
        self.holds.tick(now);
        self.tick_crowds(now);
        let is_over =
            |_: &RoomId, room: &mut Room<O>| room.empty_since.is_some_and(|since| now >= since + EMPTY_ROOM_STAYS);
        for (_, room) in self.rooms.extract_if(is_over) {
            self.tails.remove(&room.tail_use);
            self.outputs.push_back(Output::Effect(Effect::Unloaded(room.row)));
        }
    }

    fn send(&mut self, to: &O, frame: ServerFrame) {
        self.outputs.push_back(Output::Send(to.clone(), frame));
    }

    fn broadcast_to(&mut self, room: RoomId, audience: Audience, frame: ServerFrame) {
        self.outputs.push_back(Output::Broadcast(Broadcast { room, audience, frame }));
    }

    fn effect(&mut self, effect: Effect) {
        self.outputs.push_back(Output::Effect(effect));
    }
}
