//! The pinned messages of the room that a page shows.

use leptos::prelude::*;

use super::room::{Room, SearchAnswer};
use crate::protocol::{MessageChange, PinsAck, Refusal, SearchAck};

impl Room {
    /// The answer to a request for the pinned messages. They are shown as what a search without words has found.
    pub(super) fn pins_loaded(self, result: Result<PinsAck, Option<Refusal>>) {
        if let Ok(pins) = &result {
            self.pinned.set_value(Some(pins.messages.iter().map(|message| message.seq).collect()));
        }
        let result = result.map(SearchAck::from);
        self.search_answer.set(Some(SearchAnswer { search: None, result }));
    }

    /// Notes a change that may concern the pinned messages.
    pub(super) fn pin_changed(self, change: &MessageChange) {
        let is_loaded = self.pinned.with_value(|pinned| pinned.as_ref().map(|pinned| pinned.contains(&change.seq)));
        let is_pinned = change.state.pinned.is_some();
        if is_loaded.is_some_and(|loaded| loaded != is_pinned || (loaded && change.text.is_some())) {
            self.pins_changed.notify();
        }
    }
}
