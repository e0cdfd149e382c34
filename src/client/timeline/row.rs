//! The rows of a timeline, and the chunks and sections that hold them.

use std::sync::Arc;

use leptos::prelude::{ArcRwSignal, RwSignal, Update as _, WithUntracked};

use super::presence::Presence;
use crate::protocol::{Message, MessageChange};

/// The content of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A message.
    Message(Arc<Message>),
    /// Users have entered or left the room.
    Presence(Presence),
    /// An entry of a newer server at this position, which this page cannot show.
    Unreadable(u64),
    /// Messages are missing here. They can be loaded.
    Gap(Gap),
    /// The history restarts here, for example after a restored backup.
    OtherHistory,
}

/// The state of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The missing messages have not been requested, or more of them remain.
    Open,
    /// The last request has failed.
    Failed,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Unique in its timeline.
    pub id: u64,
    /// The content. The rule for groups needs it as it is; a view reads `message`.
    pub entry: Entry,
    /// The message, if it is one. It changes when the message is edited, deleted or reacted to.
    pub message: Option<ArcRwSignal<Arc<Message>>>,
    /// True if a line with the day is shown above.
    pub starts_day: bool,
    /// True if author and time are shown above.
    pub starts_group: bool,
}

/// Consecutive rows.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Unique in its timeline.
    pub id: u64,
    /// The rows, at least one. A gap is the last row of its chunk, so that missing messages go between chunks.
    pub rows: RwSignal<Vec<Row>>,
}

/// Consecutive chunks.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Unique in its timeline.
    pub id: u64,
    /// The chunks, at least one. A gap ends its section, so that missing messages are inserted between sections.
    pub chunks: RwSignal<Vec<Chunk>>,
}

impl Entry {
    pub(super) fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Self::Message(message) => Some(message),
            Self::Presence(_) | Self::Unreadable(_) | Self::Gap(_) | Self::OtherHistory => None,
        }
    }

    pub(super) fn is_gap(&self) -> bool {
        matches!(self, Self::Gap(_))
    }
}

impl Chunk {
    /// Returns whether one of its rows satisfies the condition.
    pub(super) fn has(self, condition: impl Fn(&Row) -> bool) -> bool {
        self.rows.try_with_untracked(|rows| rows.iter().any(condition)) == Some(true)
    }
}

impl From<Message> for Entry {
    fn from(message: Message) -> Self {
        if message.text.is_empty() && message.attachments().is_empty() && !message.is_deleted() {
            Self::Unreadable(message.seq)
        } else {
            Self::Message(Arc::new(message))
        }
    }
}

impl Row {
    pub(super) fn new(id: u64, entry: Entry) -> Self {
        let message = match &entry {
            Entry::Message(message) => Some(ArcRwSignal::new(message.clone())),
            Entry::Presence(_) | Entry::Unreadable(_) | Entry::Gap(_) | Entry::OtherHistory => None,
        };
        Self { id, entry, message, starts_day: false, starts_group: true }
    }

    /// Takes over the state after a change. Returns false if it is another message, or has that state already.
    pub(super) fn apply(&mut self, change: &MessageChange) -> bool {
        let Entry::Message(message) = &mut self.entry else { return false };
        if !Arc::make_mut(message).apply(change) {
            return false;
        }
        if let Some(signal) = &self.message {
            signal.update(|shown| shown.clone_from(message));
        }
        true
    }

    /// Its position in the room's history, if it has one.
    pub(super) fn seq(&self) -> Option<u64> {
        match &self.entry {
            Entry::Message(message) => Some(message.seq),
            Entry::Unreadable(seq) => Some(*seq),
            Entry::Presence(_) | Entry::Gap(_) | Entry::OtherHistory => None,
        }
    }
}

/// Turns messages into entries.
pub(super) fn entries(messages: Vec<Message>) -> Vec<Entry> {
    messages.into_iter().map(Entry::from).collect()
}
