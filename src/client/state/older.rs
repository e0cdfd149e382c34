//! Loading messages that are not new: older ones, and those of gaps.

use leptos::prelude::*;

use super::room::{Older, Room};
use crate::protocol::HistoryAck;

impl Room {
    /// Marks the gap before a position as being loaded. Returns whether it was not already.
    pub(crate) fn start_filling(self, before: u64) -> bool {
        self.filling.try_update(|filling| filling.insert(before)) == Some(true)
    }

    /// Returns whether messages are being loaded that are not new.
    pub fn loads_history(self) -> bool {
        self.older.get() == Older::Loading || self.filling.with(|filling| !filling.is_empty())
    }

    /// A request for messages before a position was answered, or has failed.
    pub(super) fn loaded(self, before: u64, mut history: Option<HistoryAck>) {
        if let Some(history) = &mut history {
            self.without_expired(history);
        }
        self.late_changes.with_value(|changes| {
            for message in history.iter_mut().flat_map(|history| &mut history.messages) {
                changes.iter().for_each(|change| {
                    message.apply(change);
                });
            }
        });
        self.filling.try_update(|filling| filling.remove(&before));
        let oldest = self.timeline.oldest_seq();
        if oldest.is_some_and(|oldest| before > oldest) {
            self.timeline.fill(before, history.map(|history| history.messages));
            self.let_go();
        } else if oldest == Some(before) {
            match history {
                Some(history) => {
                    self.timeline.prepend(history.messages);
                    self.older.set(Older::when(history.more));
                    self.let_go();
                }
                None => self.older.set(Older::Failed),
            }
        }
        // Otherwise the request belongs to an earlier page of the room.
        if !untrack(|| self.loads_history()) {
            self.late_changes.set_value(Vec::new());
        }
    }
}
