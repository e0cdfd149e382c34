//! The timeline of a room, from the oldest loaded message to the newest: messages and notices, grouped by author and
//! day.
//!
//! `row` has the rows, `grouping` decides what starts a group or a day, `layout` keeps rows in chunks and sections,
//! `gaps` fills in messages that are missing in the middle, `fold` joins arrivals and departures, and `trim` lets go of
//! rows far from view.

mod fold;
mod gaps;
mod grouping;
mod layout;
mod presence;
mod row;
mod trim;

use std::collections::BTreeMap;
use std::sync::Arc;

use leptos::prelude::*;

use crate::protocol::{Message, MessageChange, MessageKey, User};
use grouping::Previous;
use row::entries;

pub use grouping::Clock;
pub(crate) use presence::Change;
pub use presence::{People, Presence};
pub use row::{Chunk, Entry, Gap, Row, Section};

/// All rows of a room. Copies are handles to the same timeline.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    /// The sections, oldest first.
    pub sections: RwSignal<Vec<Section>>,
    clock: RwSignal<Clock>,
    last_id: StoredValue<u64>,
    /// The messages that others reply to, by their positions: as they are now, also after their rows were dropped.
    quoted: StoredValue<BTreeMap<u64, Quoted>>,
}

/// A message that others reply to; `None` until it is loaded.
pub type Quoted = ArcRwSignal<Option<Arc<Message>>>;

impl Timeline {
    /// Creates a timeline of these messages, oldest first, as the server renders it.
    pub fn new(messages: Vec<Message>) -> Self {
        let this = Self {
            sections: RwSignal::new(Vec::new()),
            clock: RwSignal::new(Clock::Utc),
            last_id: StoredValue::new(0),
            quoted: StoredValue::new(BTreeMap::new()),
        };
        this.append(entries(messages));
        this
    }

    /// The time zone in which times are shown.
    pub fn clock(self) -> Clock {
        self.clock.try_get().unwrap_or(Clock::Utc)
    }

    /// Shows times in the reader's time zone.
    pub fn use_local_time(self) {
        self.clock.set(Clock::Local);
        let mut previous = Previous::default();
        for chunk in self.chunks() {
            chunk.rows.update(|rows| rows.iter_mut().for_each(|row| previous.mark(row, Clock::Local)));
        }
    }

    /// Adds entries after the newest.
    pub fn append(self, entries: Vec<Entry>) {
        let mut previous = Previous {
            entry: self.last_entry(),
            at: self.find_newest(|row| row.entry.message().map(|message| message.at)),
        };
        self.rows(entries, &mut previous).into_iter().for_each(|row| self.push_row(row));
    }

    /// Adds older messages, oldest first, before all others.
    pub fn prepend(self, messages: Vec<Message>) {
        let mut previous = Previous::default();
        let rows = self.rows(entries(messages), &mut previous);
        // The row that was first has a row before it now.
        if let Some(first) = self.chunks().next() {
            let clock = self.clock.try_get_untracked().unwrap_or(Clock::Utc);
            first.rows.try_update(|rows| rows.first_mut().map(|row| previous.mark(row, clock)));
        }
        self.insert_rows(0, &rows);
    }

    /// Shows these messages and nothing else.
    pub fn replace(self, messages: Vec<Message>) {
        // Those that are among the messages are set again.
        self.forget_quoted_before(u64::MAX);
        self.drop_all();
        self.append(entries(messages));
    }

    /// Messages before a position that others reply to are not loaded any more.
    fn forget_quoted_before(self, end: u64) {
        let quoted = self.quoted.try_get_value().unwrap_or_default();
        quoted.range(..end).for_each(|(_, quoted)| quoted.set(None));
    }

    /// Changes a message, if it is loaded. Its row stays.
    pub fn apply(self, change: &MessageChange) {
        if let Some(quoted) = self.find_quoted(change.seq) {
            quoted.update(|message| {
                if let Some(message) = message {
                    Arc::make_mut(message).apply(change);
                }
            });
        }
        let Some(chunk) = self.chunk_of(change.seq) else { return };
        // The list of rows is the same: only the view of this message is told.
        chunk.rows.try_update_untracked(|rows| rows.iter_mut().any(|row| row.apply(change)));
    }

    /// The message at this position, if it is loaded.
    pub fn message(self, seq: u64) -> Option<Arc<Message>> {
        self.row_of(seq)?.1.message().cloned()
    }

    /// The message at this position as it is now, for those that reply to it.
    pub fn quoted(self, seq: u64) -> Quoted {
        if let Some(quoted) = self.find_quoted(seq) {
            return quoted;
        }
        let quoted = Quoted::new(self.message(seq));
        self.quoted.try_update_value(|all| all.insert(seq, quoted.clone()));
        quoted
    }

    fn find_quoted(self, seq: u64) -> Option<Quoted> {
        self.quoted.try_with_value(|quoted| quoted.get(&seq).cloned())?
    }

    /// The id of the row of the message at this position, and its entry.
    pub fn row_of(self, seq: u64) -> Option<(u64, Entry)> {
        let find =
            |rows: &Vec<Row>| rows.iter().find(|row| row.seq() == Some(seq)).map(|row| (row.id, row.entry.clone()));
        self.chunk_of(seq)?.rows.try_with_untracked(find)?
    }

    /// The newest message that satisfies a condition.
    pub fn newest(self, condition: impl Fn(&Message) -> bool) -> Option<Arc<Message>> {
        self.find_newest(|row| row.entry.message().filter(|message| condition(message)).cloned())
    }

    /// The authors of the messages, each with the nickname of the newest one.
    pub fn authors(self) -> Vec<User> {
        let mut authors = BTreeMap::new();
        for chunk in self.chunks().rev() {
            chunk.rows.with_untracked(|rows| {
                for message in rows.iter().rev().filter_map(|row| row.entry.message()) {
                    authors.entry(message.user.id).or_insert_with(|| message.user.clone());
                }
            });
        }
        authors.into_values().collect()
    }

    /// The chunk that has this position, if it is loaded.
    fn chunk_of(self, seq: u64) -> Option<Chunk> {
        let last = |chunk: &Chunk| chunk.rows.try_with_untracked(|rows| rows.iter().rev().find_map(Row::seq)).flatten();
        // Messages are in order, so the first chunk that ends at the position or later has it.
        self.chunks().find(|chunk| last(chunk).is_some_and(|last| last >= seq))
    }

    /// Returns whether the message with this key is shown.
    pub fn has(self, key: MessageKey) -> bool {
        let is_it = |row: &Row| row.entry.message().is_some_and(|message| message.key == key);
        self.chunks().any(|chunk| chunk.rows.with_untracked(|rows| rows.iter().any(is_it)))
    }

    /// The position of the oldest message shown. Tracked: a view reads it again when older messages are added.
    pub fn oldest_now(self) -> Option<u64> {
        self.sections.with(|sections| sections.first().copied())?.chunks.track();
        self.oldest_seq()
    }

    /// The position of the oldest message shown.
    pub fn oldest_seq(self) -> Option<u64> {
        self.chunks().find_map(|chunk| chunk.rows.with_untracked(|rows| rows.iter().find_map(Row::seq)))
    }

    /// The position of the newest message shown.
    pub fn newest_seq(self) -> Option<u64> {
        self.find_newest(Row::seq)
    }

    fn last_entry(self) -> Option<Entry> {
        self.find_newest(|row| Some(row.entry.clone()))
    }

    /// The first result of `find`, from the newest row to the oldest.
    fn find_newest<T>(self, find: impl Fn(&Row) -> Option<T>) -> Option<T> {
        let of = |chunk: Chunk| chunk.rows.try_with_untracked(|rows| rows.iter().rev().find_map(&find)).flatten();
        // Nearly always the last chunk has it.
        self.last_chunk().and_then(of).or_else(|| self.chunks().rev().find_map(of))
    }

    /// Creates rows for entries that follow `previous`.
    fn rows(self, entries: Vec<Entry>, previous: &mut Previous) -> Vec<Row> {
        let clock = self.clock.try_get_untracked().unwrap_or(Clock::Utc);
        let row = |entry: Entry| {
            if let Some(message) = entry.message()
                && let Some(quoted) = self.find_quoted(message.seq)
            {
                quoted.set(Some(message.clone()));
            }
            let mut row = Row::new(self.new_id(), entry);
            previous.mark(&mut row, clock);
            row
        };
        entries.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod fixture {
    //! Timelines for the tests of the child modules.

    use std::ops::Range;

    use super::*;
    use crate::protocol::{RoomId, UserId};

    pub(super) fn user(id: u64) -> User {
        User { id: UserId(id), nickname: format!("n{id}") }
    }

    fn presence(joined: &[u64], left: &[u64]) -> Entry {
        let people = |ids: &[u64]| People { named: ids.iter().map(|id| user(*id)).collect(), others: 0 };
        Entry::Presence(Presence { joined: people(joined), left: people(left) })
    }

    pub(super) fn message(seq: u64, author: u64, at: u64) -> Message {
        let key = MessageKey(u128::from(seq));
        Message::of_text(RoomId(1), seq, key, user(author), "t".into(), at)
    }

    pub(super) fn messages(seqs: Range<u64>) -> Vec<Message> {
        seqs.map(|seq| message(seq, 1, seq)).collect()
    }

    pub(super) fn message_entry(seq: u64, at: u64) -> Entry {
        Entry::Message(Arc::new(message(seq, 1, at)))
    }

    pub(super) fn joined() -> Entry {
        presence(&[1], &[])
    }

    pub(super) fn left() -> Entry {
        presence(&[], &[1])
    }

    pub(super) fn gap() -> Entry {
        Entry::Gap(Gap::Open)
    }

    /// Position, start of day and start of group of each row; the position of a notice is 0.
    pub(super) fn marks(timeline: Timeline) -> Vec<(u64, bool, bool)> {
        let rows = timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
        rows.map(|row| (row.seq().unwrap_or(0), row.starts_day, row.starts_group)).collect()
    }

    /// The same without notices and gaps.
    pub(super) fn message_marks(timeline: Timeline) -> Vec<(u64, bool, bool)> {
        marks(timeline).into_iter().filter(|(seq, ..)| *seq > 0).collect()
    }

    /// The positions of all messages.
    pub(super) fn seqs(timeline: Timeline) -> Vec<u64> {
        message_marks(timeline).into_iter().map(|(seq, ..)| seq).collect()
    }
}
