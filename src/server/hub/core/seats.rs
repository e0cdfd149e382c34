//! The connections in one room.

use std::collections::HashMap;
use std::time::Instant;

use super::super::output::{Audience, Except, LogPosition};
use crate::protocol::UserId;
use crate::server::id::ConnId;

/// One connection in one room.
#[derive(Debug)]
pub(super) struct Seat<O> {
    pub(super) conn: ConnId,
    pub(super) user: UserId,
    pub(super) outbox: O,
    /// Set while the connection's history is being read. It receives no messages until then; what it misses is in the
    /// room's tail. Of the room's other frames it receives those that concern people, if it was in the room before.
    pub(super) loading: Option<Loading>,
    /// The end of the history that the connection received. The store may have returned messages and changes whose
    /// delivery is still queued.
    pub(super) delivered: LogPosition,
    /// The time of the last typing notification from here.
    pub(super) typed_at: Option<Instant>,
}

/// An `enter_room` that waits for its history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loading {
    /// The id of the frame.
    pub(super) id: Option<u64>,
    /// Set if the connection was in the room before.
    pub(super) received: Option<LogPosition>,
}

/// All seats of a room: a list to walk for broadcasts, and an index by connection.
#[derive(Debug)]
pub(super) struct Seats<O> {
    list: Vec<Seat<O>>,
    index: HashMap<ConnId, usize>,
}

impl<O> Default for Seats<O> {
    fn default() -> Self {
        Self { list: Vec::new(), index: HashMap::new() }
    }
}

impl<O> Seats<O> {
    pub(super) fn get(&self, conn: ConnId) -> Option<&Seat<O>> {
        self.list.get(*self.index.get(&conn)?)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Seat<O>> {
        self.list.get_mut(*self.index.get(&conn)?)
    }

    /// Adds a seat for a connection that has none.
    pub(super) fn insert(&mut self, seat: Seat<O>) {
        self.index.insert(seat.conn, self.list.len());
        self.list.push(seat);
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Seat<O>> {
        let index = self.index.remove(&conn)?;
        let seat = self.list.swap_remove(index);
        if let Some(moved) = self.list.get(index) {
            self.index.insert(moved.conn, index);
        }
        Some(seat)
    }

    /// The seats that receive a broadcast.
    pub(super) fn audience(&self, audience: Audience) -> impl Iterator<Item = &Seat<O>> {
        let (except, user) = match audience {
            Audience::Loaded(except) | Audience::Everyone(except) => (except, None),
            Audience::Of(user, except) => (except, Some(user)),
        };
        let with_new = matches!(audience, Audience::Everyone(_));
        // A connection that enters again hears of everything meanwhile: its read may fail.
        let is_new = |seat: &Seat<O>| seat.loading.is_some_and(|loading| loading.received.is_none());
        let receives = move |seat: &&Seat<O>| {
            (with_new || !is_new(seat)) && !except.covers(seat) && user.is_none_or(|user| user == seat.user)
        };
        self.list.iter().filter(receives)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Seat<O>> {
        self.list.iter()
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = Seat<O>> {
        self.list.into_iter()
    }
}

impl Except {
    /// Returns whether the broadcast skips this seat.
    pub(super) fn covers<O>(self, seat: &Seat<O>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Connection(conn) => seat.conn == conn,
            Self::User(user) => seat.user == user,
        }
    }
}
