//! The channel from the page's state to the meeting.

use futures::channel::mpsc::UnboundedSender;
use leptos::prelude::*;

use super::event::Event;
use crate::client::session::CallUpdate;

/// Passes call updates on to the meeting, while there is one. Copies are handles to the same channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallChannel(StoredValue<Option<UnboundedSender<Event>>>);

impl CallChannel {
    pub(crate) fn new() -> Self {
        Self(StoredValue::new(None))
    }

    pub(crate) fn send(&self, update: CallUpdate) {
        self.0.try_with_value(|meeting| {
            if let Some(meeting) = meeting {
                // A meeting that has ended needs no updates.
                let _ = meeting.unbounded_send(Event::Call(update));
            }
        });
    }

    /// Returns whether there is a meeting.
    pub(crate) fn has_meeting(&self) -> bool {
        self.0.try_with_value(|meeting| meeting.as_ref().is_some_and(|meeting| !meeting.is_closed())).unwrap_or(false)
    }

    /// Passes further updates to this meeting.
    pub(super) fn connect(&self, meeting: UnboundedSender<Event>) {
        self.0.set_value(Some(meeting));
    }
}
