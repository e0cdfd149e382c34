//! The price list: the cost of each command and request, in budgets of users and networks. Pure.
//!
//! A price is an upper bound of what the command costs the server and the other clients. It is paid before the command
//! is carried out, so that a command that is refused costs as much as one that is accepted.

use crate::protocol::{Command, ErrorCode, MAX_MENTIONS, UserId};

/// A frame costs one more signal for each of these.
const SIGNAL_BYTES: usize = 4 * 1024;
/// A message costs its network one more of text for each of these.
const TEXT_BYTES: usize = 1024;
/// A reaction is paid like a text of this size. Few messages have more reactions.
const STATE_BYTES: usize = 4 * 1024;
/// The bytes of an upload that are paid at once.
pub const UPLOAD_BYTES: usize = 64 * 1024;
/// A request for history costs one more read for each of these messages.
const READ_MESSAGES: u64 = 50;

/// The budgets. A user pays from their own, and the networks of their address pay the same from theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Work of the server for a frame, and frames to few clients.
    Signals,
    /// Writes to the store that are delivered to a room.
    Messages,
    /// Text in the store, in KiB. Only networks have it.
    Text,
    /// Frames to a whole room that are not stored.
    Announcements,
    /// Reads from the store or of whole lists.
    Reads,
    /// Rooms entered.
    Joins,
    /// Rooms created, by the minute.
    Rooms,
    /// Rooms created, by the hour.
    RoomsPerHour,
    /// New guests. Only networks have it.
    Guests,
    /// HTTP requests. Only networks have it.
    Requests,
    /// Pages of exported messages.
    ExportPages,
    /// Bytes of uploads, in KiB.
    Uploads,
}

impl Budget {
    /// The number of budgets.
    pub const COUNT: usize = Self::ALL.len();
    /// Every budget, in the order of its number.
    pub const ALL: [Self; 12] = [
        Self::Signals,
        Self::Messages,
        Self::Text,
        Self::Announcements,
        Self::Reads,
        Self::Joins,
        Self::Rooms,
        Self::RoomsPerHour,
        Self::Guests,
        Self::Requests,
        Self::ExportPages,
        Self::Uploads,
    ];
}

/// An amount from each budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price([u32; Budget::COUNT]);

impl Price {
    /// A new guest.
    pub const GUEST: Self = Self::of(Budget::Guests, 1);
    /// A new room.
    pub const ROOM: Self = Self::of(Budget::Rooms, 1).and(Budget::RoomsPerHour, 1);
    /// A request that reads a file, or is refused.
    pub const REQUEST: Self = Self::of(Budget::Requests, 1);
    /// A page, or its data: the latest messages of a room, or the list of rooms.
    pub const PAGE: Self = Self::REQUEST.and(Budget::Reads, 2);
    /// A search. It examines more messages than a page of the history has.
    pub const SEARCH: Self = Self::of(Budget::Reads, 4);
    /// A search in all rooms of a user. Each of them is looked up in the index.
    pub const SEARCH_OWN: Self = Self::of(Budget::Reads, 8);
    /// The pinned messages of a room: as many as a short page of the history, each looked up on its own.
    pub const PINS: Self = Self::of(Budget::Reads, 2);
    /// A request to delete all messages of the user in a room.
    pub const DELETE_MESSAGES: Self = Self::of(Budget::Messages, 1).and(Budget::Reads, 4);
    /// The beginning of an export: it looks for the room and its last message. The messages are paid as they are read.
    pub const EXPORT: Self = Self::PAGE;
    /// A page of at most 100 messages of an export. It has a budget of its own, so that a person who exports a large room
    /// can still read, and so can the others at the address.
    pub const EXPORT_PAGE: Self = Self::of(Budget::ExportPages, 1);
    /// A request about an upload or a file: a look for the room, and a read.
    pub const FILE: Self = Self::REQUEST.and(Budget::Reads, 1);
    /// The beginning or the end of an upload: a write. Its bytes are paid as they arrive.
    pub const UPLOAD: Self = Self::of(Budget::Messages, 1);
    /// A new connection for frames: a WebSocket or an event stream.
    pub const CONNECTION: Self = Self::of(Budget::Requests, 10);
    /// A change of name: a write, a look at all rooms, and a frame to each of the user's rooms.
    pub const RENAME: Self = Self::of(Budget::Announcements, 5);

    /// A frame of this size, whatever it contains.
    pub fn frame(bytes: usize) -> Self {
        Self::of(Budget::Signals, 1 + whole(bytes / SIGNAL_BYTES))
    }

    /// A message of this size in bytes.
    pub fn message(bytes: usize) -> Self {
        Self::of(Budget::Messages, 1).and(Budget::Text, whole(bytes.div_ceil(TEXT_BYTES)))
    }

    /// Bytes of an upload.
    pub fn upload(bytes: usize) -> Self {
        Self::of(Budget::Uploads, whole(bytes / 1024))
    }

    /// A command, in addition to its frame. Leaving is paid on entering, so that it is never refused.
    pub fn command(command: &Command) -> Self {
        match command {
            Command::Hello(_)
            | Command::Ping(_)
            | Command::LeaveRoom(_)
            | Command::UnwatchRooms(_)
            | Command::LeaveCall(_)
            | Command::Offer(_)
            | Command::Answer(_)
            | Command::Ice(_) => Self::default(),
            // To a room at most once a second, and to the five other peers of a call.
            Command::Typing(_) | Command::Media(_) => Self::of(Budget::Signals, 4),
            Command::Nickname(_) => Self::RENAME,
            Command::EnterRoom(_) => Self::of(Budget::Joins, 1).and(Budget::Reads, 2).and(Budget::Announcements, 1),
            Command::NewMessage(post) => {
                // Each file is a small read and write, and so is each mention.
                let files = post.attachments.as_ref().map_or(0, Vec::len);
                Self::message(post.text.len() + (files + mentions(post.mentions.as_ref())) * TEXT_BYTES)
            }
            Command::EditMessage(edit) => {
                Self::message(edit.text.len() + mentions(edit.mentions.as_ref()) * TEXT_BYTES)
            }
            // A small write, and a frame to the room with all reactions to the message.
            Command::DeleteMessage(_) | Command::React(_) | Command::PinMessage(_) => Self::message(STATE_BYTES),
            // A small write, and a search for the user's messages. Deleting them takes no more than posting them did.
            Command::DeleteMessages(_) => Self::DELETE_MESSAGES,
            Command::History(wanted) => {
                Self::of(Budget::Reads, 1 + whole(wanted.limit.div_ceil(READ_MESSAGES).min(2) as usize))
            }
            Command::Search(wanted) => {
                if wanted.room.is_some() {
                    Self::SEARCH
                } else {
                    Self::SEARCH_OWN
                }
            }
            Command::Pins(_) => Self::PINS,
            Command::Members(_) => Self::of(Budget::Reads, 1),
            Command::WatchRooms(_) | Command::WatchMyRooms(_) => Self::of(Budget::Reads, 2),
            // Marks are stored later, many at once.
            Command::MarkRead(_) => Self::of(Budget::Signals, 2),
            // A small write, and a read if the list is not in memory.
            Command::KeepRoom(_) => Self::message(1).and(Budget::Reads, 1),
            Command::JoinCall(_) => Self::of(Budget::Announcements, 2),
        }
    }

    /// A frame that could not be decoded, by its error: as much as the command that it was meant to be, where that can be
    /// known.
    pub fn undecodable(code: ErrorCode) -> Self {
        if code == ErrorCode::KeyInvalid { Self::message(1) } else { Self::default() }
    }

    /// An amount from one budget.
    pub const fn of(budget: Budget, amount: u32) -> Self {
        Self([0; Budget::COUNT]).and(budget, amount)
    }

    /// The same, and an amount from another budget.
    pub const fn and(mut self, budget: Budget, amount: u32) -> Self {
        self.0[budget as usize] += amount;
        self
    }

    /// The amount from one budget.
    pub const fn amount(self, budget: Budget) -> u32 {
        self.0[budget as usize]
    }

    /// The amounts that are not zero.
    pub fn amounts(self) -> impl Iterator<Item = (Budget, u32)> {
        Budget::ALL.into_iter().zip(self.0).filter(|(_, amount)| *amount > 0)
    }
}

/// The number of users that a message may mention.
fn mentions(ids: Option<&Vec<UserId>>) -> usize {
    ids.map_or(0, |ids| ids.len().min(MAX_MENTIONS))
}

fn whole(amount: usize) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX / 2)
}
