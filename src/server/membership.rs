//! The rooms of a user as the store keeps them. Pure.

use std::collections::BTreeSet;

use crate::protocol::{MAX_UNREAD, MyRoom, UserId};
use crate::server::id::{RoomId, RoomRow};

/// A room in the list of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The room.
    pub room: RoomRow,
    /// The `seq` of its last message; 0 for an empty room.
    pub head: u64,
    /// The `seq` up to which the user has read.
    pub read: u64,
    /// The messages after that which mention the user, the first [`MAX_UNREAD`] of them.
    pub mentions: BTreeSet<u64>,
}

impl From<Membership> for MyRoom {
    fn from(membership: Membership) -> Self {
        let Membership { room, head, read, mentions } = membership;
        Self { room: room.id, name: room.name.to_string(), head, read: read.min(head), mentions: count(&mentions) }
    }
}

/// The number of messages that mention a user, as it is sent.
pub fn count(mentions: &BTreeSet<u64>) -> Option<u64> {
    (!mentions.is_empty()).then_some((mentions.len() as u64).min(MAX_UNREAD))
}

/// A change of a membership to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The user.
    pub user: UserId,
    /// The room.
    pub room: RoomId,
    /// The change.
    pub change: MarkChange,
}

/// The change of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkChange {
    /// The user has read up to this `seq`. Without effect if the room is not in the list.
    Read(u64),
    /// The same, and the room is added if it is not in the list, unless the list is full.
    Join(u64),
    /// The room is removed.
    Leave,
}

impl MarkChange {
    /// The change that does the same as this one and then `later`.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        match (self, later) {
            (Self::Read(a), Self::Read(b)) => Self::Read(a.max(b)),
            (Self::Join(a) | Self::Read(a), Self::Join(b)) | (Self::Join(a), Self::Read(b)) => Self::Join(a.max(b)),
            (Self::Leave, Self::Read(_)) | (_, Self::Leave) => Self::Leave,
            (Self::Leave, Self::Join(read)) => Self::Join(read),
        }
    }
}
