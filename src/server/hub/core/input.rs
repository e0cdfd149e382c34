//! The inputs of [`super::Core`].

use std::sync::Arc;

use crate::protocol::{Message, MessageChange, Position, UserId};
use crate::server::history::History;
use crate::server::id::{ConnId, RoomId, RoomRow};
use crate::server::name_key::Nick;

/// An event in a room, or for all of them.
#[derive(Clone, Debug)]
pub enum Input<O> {
    /// A connection enters a room, or enters it again. Either it is answered at once from the room's tail, or its seat
    /// waits for [`Input::HistoryLoaded`]: see [`super::Core::is_loading`].
    Enter(Enter<O>),
    /// The history for a seat has been read from the store.
    HistoryLoaded(SeatId, History),
    /// The history for a seat could not be read. A connection that was in the room before stays there, unanswered; it
    /// has missed nothing.
    HistoryFailed(SeatId),
    /// A connection leaves a room.
    Leave(SeatId),
    /// A connection ended.
    Disconnect(ConnId),
    /// A user posts by a form. The name is held for a while, because no seat holds it.
    HoldName {
        /// The room.
        room: RoomId,
        /// The user.
        user: UserId,
        /// The user's name.
        nick: Nick,
    },
    /// A user has a new name. The earlier name is no longer held.
    Rename(Rename),
    /// A user is typing.
    Typing(SeatId),
    /// A message has been committed.
    Committed(RoomId, Arc<Message>),
    /// A change of a message has been committed.
    Changed(RoomId, Arc<MessageChange>),
    /// The messages before a `seq` have expired.
    Expired(RoomId, u64),
    /// The messages of a gap in the room's tail have been read from the store. `None` if that failed.
    Fetched(RoomId, Option<History>),
    /// Time has passed.
    Tick,
}

/// A connection in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatId {
    /// The connection.
    pub conn: ConnId,
    /// The room.
    pub room: RoomId,
}

/// A request to enter a room.
#[derive(Clone, Debug)]
pub struct Enter<O> {
    /// The connection.
    pub conn: ConnId,
    /// The connection's outbox.
    pub outbox: O,
    /// The connection's user.
    pub user: UserId,
    /// The user's name.
    pub nick: Nick,
    /// The room.
    pub room: RoomRow,
    /// The id of the `enter_room` frame. Without one there is no answer.
    pub id: Option<u64>,
    /// The position that the connection resumes from.
    pub after: Option<Position>,
}

/// A change of name.
#[derive(Clone, Debug)]
pub struct Rename {
    /// The user.
    pub user: UserId,
    /// The new name.
    pub nick: Nick,
    /// The connection that asked for it: it receives an `ack` instead of the broadcast.
    pub asker: Option<ConnId>,
}
