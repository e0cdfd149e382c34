//! The context of a room's page.

use leptos::prelude::*;

use crate::client::Client;
use crate::client::state::Room;
use crate::protocol::User;

/// Handles that every component of a room's page receives.
#[derive(Clone, Copy)]
pub(super) struct RoomContext {
    pub(super) client: Client,
    /// The room on this page.
    pub(super) state: Room,
    /// The user of this page.
    pub(super) me: Signal<User>,
}
