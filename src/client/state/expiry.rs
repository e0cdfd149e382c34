//! Messages that the server no longer keeps.

use leptos::prelude::*;

use super::room::{Older, Room};
use crate::protocol::HistoryAck;

impl Room {
    /// The messages before `floor` are no longer kept.
    pub(super) fn expired(self, floor: u64) {
        if self.floor.get_untracked() < floor {
            self.floor.set(floor);
            self.pins_changed.notify();
        }
        if self.first_unread.get_untracked().is_some_and(|first| first < floor) {
            self.first_unread.set(Some(floor).filter(|first| *first <= self.newest.get_untracked()));
        }
        if self.timeline.forget_before(floor) {
            let oldest = self.timeline.oldest_seq();
            self.older.set(Older::when(oldest.is_some_and(|oldest| oldest > floor)));
            // A page without messages has still read up to the last one.
            if oldest.is_some() {
                self.update_newest();
            }
        }
    }

    /// Removes messages from an answer that have expired since it was sent.
    pub(super) fn without_expired(self, history: &mut HistoryAck) {
        let floor = self.floor.get_untracked();
        history.more &= history.messages.first().is_none_or(|oldest| oldest.seq > floor);
        history.messages.retain(|message| message.seq >= floor);
    }
}
