//! The context of a room's page.

use leptos::prelude::*;

use super::room::files::list::Files;
use crate::client::Client;
use crate::client::state::Room;
use crate::protocol::{MessageRef, User};

/// Handles that every component of a room's page receives.
#[derive(Clone, Copy)]
pub(super) struct RoomContext {
    pub(super) client: Client,
    /// The room on this page.
    pub(super) state: Room,
    /// The user of this page.
    pub(super) me: Signal<User>,
    /// The purpose of the text in the composer.
    pub(super) compose: RwSignal<Compose>,
    /// The files of the message that is being written.
    pub(super) files: Files,
    /// The message whose actions are shown, by its position.
    pub(super) actions_of: RwSignal<Option<u64>>,
    /// The message for which the user chooses an emoji.
    pub(super) picking_for: RwSignal<Option<u64>>,
}

/// The purpose of the text in the composer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Compose {
    /// A new message.
    #[default]
    New,
    /// A reply to this message.
    Reply(MessageRef),
    /// A new text for a message of the user.
    Edit {
        /// The message.
        target: MessageRef,
        /// The number of its edits at the beginning.
        edits: u64,
    },
}

impl Compose {
    /// Returns whether it is the edit of this message.
    pub(super) fn is_edit_of(&self, message: &MessageRef) -> bool {
        matches!(self, Self::Edit { target, .. } if target == message)
    }
}

impl RoomContext {
    /// The context of a page that has just loaded.
    pub(super) fn new(client: Client, state: Room, me: Signal<User>) -> Self {
        Self {
            client,
            state,
            me,
            compose: RwSignal::default(),
            files: Files::new(),
            actions_of: RwSignal::new(None),
            picking_for: RwSignal::new(None),
        }
    }
}
