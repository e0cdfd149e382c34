//! A call from its preview to its end.

mod local;
mod remote;
mod task;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use leptos::prelude::*;
use leptos::task::spawn_local;
use web_sys::MediaStream;

use super::event::Event;
use super::state::CallState;
use crate::client::Client;
use crate::client::state::Room;
use crate::protocol::User;
use task::MeetingTask;

pub(crate) use super::event::CallIntent;

/// A meeting, for views. Copies are handles to the same meeting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meeting {
    /// The state that views show.
    pub(crate) state: CallState,
    events: StoredValue<UnboundedSender<Event>>,
}

impl Meeting {
    /// Opens the devices for a preview. Only in the browser; it ends with [`CallIntent::Close`].
    pub(crate) fn open(client: Client, room: Room, me: User) -> Self {
        let (events, inbox) = unbounded();
        let state = CallState::new(me);
        client.state.calls.connect(events.clone());
        if let Some((stream, owner)) = MediaStream::new().ok().zip(Owner::current()) {
            spawn_local(MeetingTask::new(client, room, state, owner, events.clone(), stream).run(inbox));
        }
        Self { state, events: StoredValue::new(events) }
    }

    /// Passes an intent to the meeting's task.
    pub(crate) fn dispatch(&self, intent: CallIntent) {
        self.events.try_with_value(|events| {
            // A meeting that has ended ignores it.
            let _ = events.unbounded_send(Event::Intent(intent));
        });
    }
}
