//! The session's record of the list of rooms. Pure.

use crate::protocol::{RoomCount, RoomUpdate};

/// The list of rooms, as far as the page shows it.
#[derive(Debug, Default)]
pub(super) struct ListedRooms {
    /// The page shows the list.
    pub(super) is_shown: bool,
    /// The time to ask again after a refusal that is only temporary.
    pub(super) retry_at: Option<u64>,
    rooms: Vec<RoomCount>,
}

impl ListedRooms {
    /// Returns whether the delay after a refusal is over.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// The whole list has arrived.
    pub(super) fn replace(&mut self, rooms: &[RoomCount]) {
        self.rooms = rooms.to_vec();
    }

    /// The list has changed. Returns the whole list.
    pub(super) fn change(&mut self, update: &RoomUpdate) -> Vec<RoomCount> {
        update.apply(&mut self.rooms);
        self.rooms.clone()
    }
}
