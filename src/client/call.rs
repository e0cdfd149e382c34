//! A call, in the browser: devices, a connection to each of the others, and what the page shows of it.
//!
//! `negotiation` and `quality` are pure; `devices`, `level` and `peer` speak to the browser; `meeting`
//! holds it together; `state` is what views read.

pub mod devices;
pub mod meeting;
pub mod negotiation;
pub mod quality;
pub mod state;

mod level;
mod listening;
mod peer;

use futures::channel::mpsc::UnboundedSender;
use leptos::prelude::*;

use super::session::CallChange;
use meeting::Event;

/// Where the page's state sends what happens in calls: to the meeting, while there is one.
#[derive(Clone, Copy, Debug)]
pub struct Listener(StoredValue<Option<UnboundedSender<Event>>>);

impl Listener {
    /// Nobody listens.
    pub fn new() -> Self {
        Self(StoredValue::new(None))
    }

    /// Tells the meeting.
    pub fn tell(&self, change: CallChange) {
        self.0.try_with_value(|meeting| {
            if let Some(meeting) = meeting {
                // One that has ended does not care.
                let _ = meeting.unbounded_send(Event::Call(change));
            }
        });
    }

    /// Whether there is a meeting.
    pub fn has_meeting(&self) -> bool {
        self.0.try_with_value(|meeting| meeting.as_ref().is_some_and(|meeting| !meeting.is_closed())).unwrap_or(false)
    }

    fn attach(&self, meeting: UnboundedSender<Event>) {
        self.0.set_value(Some(meeting));
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::new()
    }
}
