//! The state of the picker.

use leptos::html::Dialog;
use leptos::prelude::*;

use crate::app::room_context::RoomContext;

/// The state that the dialog and its grid share.
#[derive(Clone, Copy)]
pub(super) struct Picker {
    pub(super) room: RoomContext,
    pub(super) dialog: NodeRef<Dialog>,
    /// The words to find.
    pub(super) typed: RwSignal<String>,
    /// Enter in the field takes the first emoji that was found.
    pub(super) entered: Trigger,
}

impl Picker {
    pub(super) fn close(self) {
        if let Some(dialog) = self.dialog.get_untracked() {
            dialog.close();
        }
    }

    /// Reacts to the message, and closes the dialog.
    pub(super) fn pick(self, emoji: &str) {
        if let Some(seq) = self.room.picking_for.get_untracked() {
            self.room.client.react(self.room.state, seq, emoji, true);
        }
        self.close();
    }
}
