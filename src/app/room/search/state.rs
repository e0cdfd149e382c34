//! The state of the search.

use leptos::html::A;
use leptos::prelude::*;

use crate::app::focus::dialog_is_open;
use crate::protocol::{Found, Place, Refusal};

/// The search of a room. It outlives the view of the room, which is built again when the address changes.
#[derive(Clone, Copy)]
pub(in crate::app::room) struct Search {
    pub(in crate::app::room) is_open: RwSignal<bool>,
    /// The room, because the reader may go to another.
    room: StoredValue<String>,
    pub(super) text: RwSignal<String>,
    /// All rooms of the user are searched.
    pub(super) in_all: RwSignal<bool>,
    /// The user has asked for the results of the text at once.
    pub(super) submitted: Trigger,
    pub(super) found: RwSignal<Vec<Found>>,
    /// There are older results, before this place.
    pub(super) older: RwSignal<Option<Place>>,
    pub(super) status: RwSignal<Status>,
    /// The field takes the focus when the panel is there.
    pub(super) takes_focus: StoredValue<bool>,
    pub(super) opener: StoredValue<Option<NodeRef<A>>>,
}

/// The progress of a search.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Status {
    /// There is nothing to find.
    Idle,
    /// There is nothing to find, and the pinned messages are shown meanwhile.
    Pins,
    Searching,
    Done,
    /// The client is offline. It searches when it is connected again.
    Offline,
    Refused(Refusal),
}

impl Search {
    /// A search that is not open.
    pub(in crate::app::room) fn new() -> Self {
        Self {
            is_open: RwSignal::new(false),
            room: StoredValue::new(String::new()),
            text: RwSignal::new(String::new()),
            in_all: RwSignal::new(false),
            submitted: Trigger::new(),
            found: RwSignal::new(Vec::new()),
            older: RwSignal::new(None),
            status: RwSignal::new(Status::Idle),
            takes_focus: StoredValue::new(false),
            opener: StoredValue::new(None),
        }
    }

    /// The page shows a room. The search of another room ends, but that of all rooms goes on. `asked`: the search in the
    /// address, with which it begins.
    pub(in crate::app::room) fn enter(self, room: &str, asked: Option<(String, bool)>) {
        if self.room.with_value(|shown| shown != room) {
            self.room.set_value(room.to_owned());
            if !self.in_all.get_untracked() {
                self.is_open.set(false);
                self.text.set(String::new());
                self.clear();
            }
        }
        Effect::new(move |_| {
            if let Some((text, in_all)) = &asked {
                self.text.set(text.clone());
                self.in_all.set(*in_all);
                self.is_open.set(true);
            }
        });
        // Not a single key, which dictation could press (WCAG 2.1.4), and not the browser's own search.
        Effect::new(move |_| {
            let handle = window_event_listener(leptos::ev::keydown, move |event| {
                let command = event.shift_key() && (event.ctrl_key() || event.meta_key());
                if event.code() == "KeyF" && command && !dialog_is_open() && !event.default_prevented() {
                    event.prevent_default();
                    self.open();
                }
            });
            on_cleanup(move || handle.remove());
        });
    }

    pub(super) fn open(self) {
        self.takes_focus.set_value(true);
        // Also notifies a panel that is open, which takes the focus.
        self.is_open.set(true);
    }

    /// Opens the panel with the pinned messages, which it shows while there is nothing to find.
    pub(in crate::app::room) fn open_pins(self) {
        self.text.set(String::new());
        self.in_all.set(false);
        self.open();
    }

    /// Closes the panel, and returns the focus.
    pub(super) fn close(self) {
        self.is_open.set(false);
        if let Some(opener) = self.opener.get_value().and_then(|opener| opener.get_untracked()) {
            let _ = opener.focus();
        }
    }

    pub(super) fn clear(self) {
        self.found.set(Vec::new());
        self.older.set(None);
        self.status.set(Status::Idle);
    }
}
