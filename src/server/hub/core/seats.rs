//! The connections in one room.

use std::collections::HashMap;
use std::time::Instant;

use super::super::output::{Audience, Except};
use crate::protocol::{Feature, Features, UserId};
use crate::server::id::ConnId;

/// One connection in one room.
#[derive(Debug)]
pub(super) struct Seat<O> {
    pub(super) conn: ConnId,
    pub(super) user: UserId,
    pub(super) outbox: O,
    /// The features of the connection.
    pub(super) features: Features,
    /// Set while the connection's history is being read. It receives no messages until then; what it misses is in the
    /// room's tail. Of the room's other frames it receives those that concern people, if it was in the room before.
    pub(super) loading: Option<Loading>,
    /// The end of the history that the connection received. The store may have returned messages and changes whose
    /// delivery is still queued.
    pub(super) delivered: Received,
    /// The time of the last typing notification from here.
    pub(super) typed_at: Option<Instant>,
}

/// An `enter_room` that waits for its history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loading {
    /// The id of the frame.
    pub(super) id: Option<u64>,
    /// Set if the connection was in the room before.
    pub(super) received: Option<Received>,
}

/// The part of a room's log that a connection has received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// The last message.
    pub(super) up_to: u64,
    /// The revision of the last change.
    pub(super) rev: u64,
}

/// All seats of a room: two lists to walk for broadcasts, and an index by connection.
#[derive(Debug)]
pub(super) struct Seats<O> {
    /// Those that are told of each arrival and departure.
    each: Vec<Seat<O>>,
    /// Those with the feature `crowds`: in a crowded room they receive counts. In a list of their own, so that an
    /// arrival in a crowd costs nothing for them.
    counted: Vec<Seat<O>>,
    index: HashMap<ConnId, Place>,
}

/// The place of a seat.
#[derive(Clone, Copy, Debug)]
enum Place {
    Each(usize),
    Counted(usize),
}

impl<O> Default for Seats<O> {
    fn default() -> Self {
        Self { each: Vec::new(), counted: Vec::new(), index: HashMap::new() }
    }
}

impl<O> Seats<O> {
    pub(super) fn get(&self, conn: ConnId) -> Option<&Seat<O>> {
        match *self.index.get(&conn)? {
            Place::Each(index) => self.each.get(index),
            Place::Counted(index) => self.counted.get(index),
        }
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Seat<O>> {
        match *self.index.get(&conn)? {
            Place::Each(index) => self.each.get_mut(index),
            Place::Counted(index) => self.counted.get_mut(index),
        }
    }

    /// Adds a seat for a connection that has none.
    pub(super) fn insert(&mut self, seat: Seat<O>) {
        let (list, place) = if seat.features.has(Feature::Crowds) {
            let place = Place::Counted(self.counted.len());
            (&mut self.counted, place)
        } else {
            let place = Place::Each(self.each.len());
            (&mut self.each, place)
        };
        self.index.insert(seat.conn, place);
        list.push(seat);
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Seat<O>> {
        let place = self.index.remove(&conn)?;
        let (list, index) = match place {
            Place::Each(index) => (&mut self.each, index),
            Place::Counted(index) => (&mut self.counted, index),
        };
        let seat = list.swap_remove(index);
        if let Some(moved) = list.get(index) {
            self.index.insert(moved.conn, place);
        }
        Some(seat)
    }

    /// The seats that receive a broadcast.
    pub(super) fn audience(&self, audience: Audience) -> impl Iterator<Item = &Seat<O>> {
        let none: &[Seat<O>] = &[];
        let (each, counted) = (self.each.as_slice(), self.counted.as_slice());
        let (lists, except, user) = match audience {
            Audience::Loaded(except) | Audience::Everyone(except) => ([each, counted], except, None),
            Audience::Each(except) => ([each, none], except, None),
            Audience::Counted(except) => ([none, counted], except, None),
            Audience::CountedOf(user, except) => ([none, counted], except, Some(user)),
        };
        let with_new = matches!(audience, Audience::Everyone(_));
        // A connection that enters again hears of everything meanwhile: its read may fail.
        let is_new = |seat: &Seat<O>| seat.loading.is_some_and(|loading| loading.received.is_none());
        let receives = move |seat: &&Seat<O>| {
            (with_new || !is_new(seat)) && !except.covers(seat) && user.is_none_or(|user| user == seat.user)
        };
        lists.into_iter().flatten().filter(receives)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Seat<O>> {
        self.each.iter().chain(&self.counted)
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = Seat<O>> {
        self.each.into_iter().chain(self.counted)
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
