//! A room's stored messages, as the store returns them and the hub passes them on. Pure.

use std::sync::Arc;

use crate::protocol::{MAX_REPLAY, Message, Position, Unrecovered};

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
    /// Consecutive messages up to `head`, oldest first.
    pub messages: Vec<Arc<Message>>,
    /// There are older messages. Always `false` when `recovered`.
    pub more: bool,
    /// `messages` continues at the position that the connection resumes from.
    pub recovered: bool,
    /// The reason why not, when there was a position.
    pub reason: Option<Unrecovered>,
}

/// Decides whether a connection can resume after a position, in a room that ends at `head`.
///
/// # Errors
/// The reason why not. Too many bytes are found later: the caller has to measure the messages.
pub fn check_position(after: &Position, epoch: &str, head: u64) -> Result<(), Unrecovered> {
    if after.epoch != epoch {
        Err(Unrecovered::EpochChanged)
    } else if after.seq > head {
        Err(Unrecovered::PositionAhead)
    } else if head - after.seq > MAX_REPLAY {
        Err(Unrecovered::GapTooLarge)
    } else {
        Ok(())
    }
}

/// An estimate of a message's size in a frame, in bytes, without encoding it. JSON escapes a byte to at most six, but
/// only control characters and few others, which are counted.
pub fn encoded_bytes(message: &Message) -> usize {
    let escaped = |text: &str| text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).count() * 5;
    160 + escaped(&message.room) + escaped(&message.user.nickname) + escaped(&message.text)
}

/// Takes messages out of their `Arc`s, without a copy where nobody else holds them.
pub fn owned(messages: Vec<Arc<Message>>) -> Vec<Message> {
    messages.into_iter().map(Arc::unwrap_or_clone).collect()
}
