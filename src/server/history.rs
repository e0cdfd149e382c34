//! A room's stored messages, as the store returns them and the hub passes them on. Pure.

use std::sync::Arc;

use crate::protocol::{
    Attachment, MAX_REPLAY, Message, MessageChange, MessageState, Position, Reaction, Unrecovered, User, UserId,
};

/// A message that the store holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The message, with its `seq`.
    pub message: Arc<Message>,
    /// The message had been stored before, under the same key.
    pub dup: bool,
}

/// The messages that a connection receives when it enters a room.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The epoch that `head` counts in.
    pub epoch: String,
    /// The `seq` of the room's last message when this was read; 0 for an empty room.
    pub head: u64,
    /// The revision of the room's last change when this was read; 0 if there is none.
    pub rev: u64,
    /// The `seq` of the oldest message that is kept; `head` + 1 if none is. 0 counts as 1.
    pub floor: u64,
    /// Consecutive messages up to `head`, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// If there was a position: the states of messages up to the position that were changed after it, in
    /// the order of their revisions. `None` if they are not known or too many.
    pub changes: Option<Vec<Arc<MessageChange>>>,
    /// There are older messages. Always `false` when `recovered`.
    pub more: bool,
    /// `messages` continues at the position that the connection resumes from.
    pub recovered: bool,
    /// The reason why not, when there was a position.
    pub reason: Option<Unrecovered>,
}

/// The messages of a room that are kept: from `floor` to `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The `seq` of the oldest one; `head` + 1 if none is kept.
    pub floor: u64,
    /// The `seq` of the last one; 0 if there never was one.
    pub head: u64,
}

impl Extent {
    /// The number of messages.
    pub const fn count(self) -> u64 {
        self.head + 1 - self.floor
    }

    /// The `seq` of the first message of a page; after the head if the page is empty.
    pub fn start_of(self, page: &[Message]) -> u64 {
        page.first().map_or(self.head + 1, |message| message.seq)
    }

    /// The `seq` of the last message of a page; that of the head if the page is empty.
    pub fn end_of(self, page: &[Message]) -> u64 {
        page.last().map_or(self.head, |message| message.seq)
    }
}

/// The end of the messages that are removed at the beginning of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The first message that was posted at this time or later, in milliseconds since 1970 UTC, is kept.
    Time(u64),
    /// The message with this `seq` is the last one that is removed.
    Seq(u64),
}

/// A step of removing the messages of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The number of messages that were removed.
    pub messages: u64,
    /// The `seq` of the oldest message that is kept; above the head if none is.
    pub floor: u64,
    /// There are more to remove.
    pub is_more: bool,
}

/// Decides whether a connection can resume after a position, in a room of which `end` is known.
///
/// # Errors
/// The reason why not. Too many bytes are found later: the caller has to measure the messages.
pub fn check_position(after: &Position, end: &History) -> Result<(), Unrecovered> {
    if after.epoch != end.epoch {
        Err(Unrecovered::EpochChanged)
    } else if after.seq > end.head || after.rev > end.rev {
        Err(Unrecovered::PositionAhead)
    } else if after.seq + 1 < end.floor {
        Err(Unrecovered::Expired)
    } else if end.head - after.seq > MAX_REPLAY {
        Err(Unrecovered::GapTooLarge)
    } else {
        Ok(())
    }
}

/// An estimate of a message's size in a frame, in bytes, without encoding it. JSON escapes a byte to at most six, but
/// only control characters and few others, which are counted.
pub fn encoded_bytes(message: &Message) -> usize {
    let state = message.state.as_ref().map_or(0, |state| state_bytes(state));
    let file = |file: &Attachment| 100 + escaped(&file.name) + file.media_type.len();
    let files = message.attachments().iter().map(file).sum::<usize>();
    let mentions = users_bytes(message.mentions());
    180 + escaped(&message.user.nickname) + escaped(&message.text) + state + files + mentions
}

/// The same for a change.
pub fn encoded_change_bytes(change: &MessageChange) -> usize {
    let text = change.text.as_ref().map_or(0, |text| escaped(text));
    let mentions = users_bytes(change.mentions.as_deref().unwrap_or_default());
    100 + text + mentions + state_bytes(&change.state)
}

fn users_bytes(users: &[User]) -> usize {
    users.iter().map(|user| 48 + escaped(&user.nickname)).sum()
}

fn state_bytes(state: &MessageState) -> usize {
    let ids = |ids: &Option<Vec<UserId>>| ids.as_ref().map_or(0, |ids| 12 + ids.len() * 19);
    let reaction = |it: &Reaction| 48 + it.emoji.len() + users_bytes(&it.users) + ids(&it.others);
    let reactions = state.reactions.iter().map(reaction);
    let pin = state.pinned.as_ref().map_or(0, |pin| 88 + escaped(&pin.user.nickname));
    120 + reactions.sum::<usize>() + pin
}

/// The size of a text in JSON.
fn escaped(text: &str) -> usize {
    text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).count() * 5
}

/// Takes values out of their `Arc`s, without a copy where nobody else holds them.
pub fn owned<T: Clone>(values: Vec<Arc<T>>) -> Vec<T> {
    values.into_iter().map(Arc::unwrap_or_clone).collect()
}
