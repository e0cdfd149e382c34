//! The marks that are not stored yet. Pure.

use std::collections::BTreeSet;
use std::mem::take;

use super::{MyRooms, Unsaved};
use crate::protocol::UserId;
use crate::server::id::RoomRow;
use crate::server::membership::{Mark, MarkChange};

/// The marks that are kept while they cannot be stored.
const MOST_UNSAVED: usize = 100_000;

impl<O: Clone> MyRooms<O> {
    pub(super) fn note(&mut self, user: UserId, room: &RoomRow, change: MarkChange) {
        let unsaved = self.unsaved.entry((user, room.id)).or_insert_with(|| Unsaved { change, room: room.clone() });
        unsaved.change = unsaved.change.then(change);
    }

    /// The marks to store, at most `limit`. [`MyRooms::saved`] must follow before the next call.
    pub fn take_marks(&mut self, limit: usize) -> Vec<Mark> {
        while self.saving.len() < limit
            && let Some(((user, room), unsaved)) = self.unsaved.pop_first()
        {
            self.saving.push((user, room, unsaved));
        }
        self.saving
            .iter()
            .map(|(user, room, unsaved)| Mark { user: *user, room: *room, change: unsaved.change })
            .collect()
    }

    /// The marks were stored, or could not be.
    pub fn saved(&mut self, is_saved: bool) {
        let marks = take(&mut self.saving);
        let users: BTreeSet<_> = marks.iter().map(|(user, ..)| *user).collect();
        if !is_saved && self.unsaved.len() < MOST_UNSAVED {
            for (user, room, mut earlier) in marks {
                if let Some(later) = self.unsaved.remove(&(user, room)) {
                    earlier.change = earlier.change.then(later.change);
                }
                self.unsaved.insert((user, room), earlier);
            }
        }
        users.into_iter().for_each(|user| self.forget_unless_needed(user));
    }
}
