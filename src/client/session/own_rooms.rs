//! The session's record of the user's own rooms, and of what the user has read. Pure.

use crate::protocol::{MessageRef, MyRoom, RoomId};

/// The list, once the page has asked for it.
#[derive(Debug, Default)]
pub(super) struct OwnRooms {
    pub(super) is_wanted: bool,
    /// The list has arrived over this connection.
    pub(super) is_current: bool,
    /// The time to ask again after a refusal that is only temporary.
    pub(super) retry_at: Option<u64>,
    pub(super) rooms: Vec<MyRoom>,
}

/// The mark of the user in a room that a page shows.
#[derive(Debug, Default)]
pub(super) struct ReadMark {
    pub(super) target: Option<MessageRef>,
    /// The position that was sent over this connection.
    pub(super) sent: u64,
    /// The time from which on the next one may be sent.
    pub(super) next_at: u64,
}

impl ReadMark {
    pub(super) fn disconnected(&mut self) {
        (self.sent, self.next_at) = (0, 0);
    }

    /// The time at which the mark has to be sent, if there is something to send.
    pub(super) fn due_at(&self) -> Option<u64> {
        self.target.as_ref().filter(|target| target.seq > self.sent).map(|_| self.next_at)
    }

    /// The position of the last message that was read; 0 for none.
    pub(super) fn seq(&self) -> u64 {
        self.target.as_ref().map_or(0, |target| target.seq)
    }
}

impl OwnRooms {
    /// Returns whether the delay after a refusal is over.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    pub(super) fn find(&mut self, room: RoomId) -> Option<&mut MyRoom> {
        self.rooms.iter_mut().find(|own| own.room == room)
    }

    pub(super) fn has(&self, room: RoomId) -> bool {
        self.rooms.iter().any(|own| own.room == room)
    }
}
