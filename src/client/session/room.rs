//! The session's record of one room. Pure.

use super::own_rooms::ReadMark;
use super::typing::TypingUsers;
use crate::protocol::{PeerId, Position, RoomId};

/// A room that a page shows, or in which messages are left to send.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Its id, once it was entered.
    pub(super) id: Option<RoomId>,
    /// The last message that the page shows.
    pub(super) position: Option<Position>,
    /// True if this connection is in the room.
    pub(super) entered: bool,
    /// The id of the latest `enter_room`. Answers to earlier ones are out of date.
    pub(super) enter_request: Option<u64>,
    /// The time of the next attempt, after a refusal that is only temporary.
    pub(super) retry_at: Option<u64>,
    /// The slot in the room's call, while the page takes part in it.
    pub(super) call: Option<CallSlot>,
    /// A background room is not shown by any page. It is entered only to send the messages that are left.
    pub(super) background: bool,
    pub(super) typing: TypingUsers,
    /// The mark of the user.
    pub(super) read: ReadMark,
}

impl Room {
    /// The connection is lost, and with it the membership.
    pub(super) fn disconnected(&mut self) {
        self.entered = false;
        self.enter_request = None;
        self.retry_at = None;
        self.read.disconnected();
        if let Some(slot) = &mut self.call {
            *slot = CallSlot::Requested(slot.peer());
        }
    }

    /// Its id, if this connection is in the room.
    pub(super) fn entered_id(&self) -> Option<RoomId> {
        self.id.filter(|_| self.entered)
    }

    /// Returns whether the page wants to be in the call and this connection is not.
    pub(super) fn needs_to_join_call(&self) -> bool {
        matches!(self.call, Some(CallSlot::Requested(_)))
    }
}

/// A slot in the call of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallSlot {
    /// Not joined on this connection. The peer id is that of the slot before the connection was lost: a rejoin asks
    /// for it.
    Requested(Option<PeerId>),
    /// Joined on this connection.
    Held(PeerId),
}

impl CallSlot {
    pub(super) fn peer(self) -> Option<PeerId> {
        match self {
            Self::Requested(peer) => peer,
            Self::Held(peer) => Some(peer),
        }
    }
}
