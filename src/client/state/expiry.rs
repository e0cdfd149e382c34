//! Messages that the server no longer keeps.

use leptos::prelude::*;

use super::room::{Older, Room};

impl Room {
    /// The messages before `floor` are no longer kept.
    pub(super) fn expired(self, floor: u64, head: u64) {
        if self.first_unread.get_untracked().is_some_and(|first| first < floor) {
            self.first_unread.set(Some(floor).filter(|first| *first <= head));
        }
        if self.timeline.forget_before(floor) {
            let oldest = self.timeline.oldest_seq();
            self.older.set(Older::when(oldest.is_some_and(|oldest| oldest > floor)));
            self.pins_changed.notify();
            self.update_newest();
        }
    }
}
