//! What a room shows, from the oldest loaded message to the newest: messages and small notices,
//! grouped by author and day.
//!
//! Rows are kept in chunks, each with a signal of its own: a new message touches one chunk of at
//! most [`CHUNK`] rows however long the list is.

use std::sync::Arc;

use leptos::prelude::*;

use crate::protocol::{Message, UserId};

/// The most rows in a chunk.
const CHUNK: usize = 64;
/// Messages of one author within this are one group.
const GROUP_MS: u64 = 5 * 60_000;
/// A day in milliseconds.
const DAY_MS: u64 = 24 * 3_600_000;

/// Which days a time falls on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// As the server renders: it does not know where the reader is.
    Utc,
    /// As the reader's clock shows.
    Local,
}

impl Clock {
    /// A number for the day that a time falls on; equal for equal days, nothing else.
    pub fn day(self, at: u64) -> u64 {
        match self {
            Self::Utc => at / DAY_MS,
            Self::Local => {
                let date = js_sys::Date::new(&(at as f64).into());
                u64::from(date.get_full_year()) * 372 + u64::from(date.get_month()) * 31 + u64::from(date.get_date())
            }
        }
    }
}

/// What a row shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A message.
    Message(Arc<Message>),
    /// Somebody came, in the words of the view.
    Came(String),
    /// Somebody left.
    Left(String),
    /// What was missed here could not be had.
    Gap,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Unique in its timeline.
    pub id: u64,
    /// What it shows.
    pub entry: Entry,
    /// Whether a line with the day stands above.
    pub starts_day: bool,
    /// Whether the author and time stand above.
    pub starts_group: bool,
}

/// Some rows that follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// Unique in its timeline.
    pub id: u64,
    /// The rows.
    pub rows: RwSignal<Vec<Row>>,
}

/// All rows of a room. A handle: copies show the same.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    /// The chunks, oldest first.
    pub chunks: RwSignal<Vec<Chunk>>,
    /// Goes up whenever something is added after the newest.
    pub appended: RwSignal<u64>,
    clock: RwSignal<Clock>,
    next_id: StoredValue<u64>,
}

impl Timeline {
    /// A timeline of these messages, oldest first, as the server renders it.
    pub fn new(messages: Vec<Message>) -> Self {
        let this = Self {
            chunks: RwSignal::new(Vec::new()),
            appended: RwSignal::new(0),
            clock: RwSignal::new(Clock::Utc),
            next_id: StoredValue::new(0),
        };
        this.append(messages.into_iter().map(|message| Entry::Message(Arc::new(message))).collect());
        this
    }

    /// How times are shown now.
    pub fn clock(self) -> Clock {
        self.clock.try_get().unwrap_or(Clock::Utc)
    }

    /// Shows times as the reader's clock does.
    pub fn use_local_time(self) {
        self.clock.set(Clock::Local);
        let (mut previous, mut last_at) = (None, None);
        for chunk in self.chunks.get_untracked() {
            chunk.rows.update(|rows| {
                for row in rows {
                    mark(row, previous.as_ref(), last_at, Clock::Local);
                    last_at = row.entry.at().or(last_at);
                    previous = Some(row.entry.clone());
                }
            });
        }
    }

    /// Adds entries after the newest.
    pub fn append(self, entries: Vec<Entry>) {
        let clock = self.clock.try_get_untracked().unwrap_or(Clock::Utc);
        let (mut previous, mut last_at) = (self.last(), self.last_at());
        for entry in entries {
            let mut row = Row { id: self.id(), entry: entry.clone(), starts_day: false, starts_group: true };
            mark(&mut row, previous.as_ref(), last_at, clock);
            let last = self.chunks.try_with_untracked(|chunks| chunks.last().copied()).flatten();
            match last.filter(|chunk| chunk.rows.try_with_untracked(Vec::len).is_some_and(|len| len < CHUNK)) {
                Some(chunk) => drop(chunk.rows.try_update(|rows| rows.push(row))),
                None => {
                    let chunk = Chunk { id: row.id, rows: RwSignal::new(vec![row]) };
                    self.chunks.try_update(|chunks| chunks.push(chunk));
                }
            }
            last_at = entry.at().or(last_at);
            previous = Some(entry);
        }
        self.appended.try_update(|appended| *appended += 1);
    }

    /// Adds older messages, oldest first, before all others.
    pub fn prepend(self, messages: Vec<Message>) {
        let clock = self.clock.try_get_untracked().unwrap_or(Clock::Utc);
        let (mut previous, mut last_at) = (None, None);
        let mut rows = Vec::with_capacity(messages.len());
        for message in messages {
            let entry = Entry::Message(Arc::new(message));
            let mut row = Row { id: self.id(), entry: entry.clone(), starts_day: false, starts_group: true };
            mark(&mut row, previous.as_ref(), last_at, clock);
            rows.push(row);
            last_at = entry.at().or(last_at);
            previous = Some(entry);
        }
        // The row that was first has a neighbour now.
        if let Some(first) = self.chunks.try_with_untracked(|chunks| chunks.first().copied()).flatten() {
            first.rows.try_update(|rows| rows.first_mut().map(|row| mark(row, previous.as_ref(), last_at, clock)));
        }
        let chunks: Vec<_> =
            rows.chunks(CHUNK).map(|rows| Chunk { id: self.id(), rows: RwSignal::new(rows.to_vec()) }).collect();
        self.chunks.try_update(|all| drop(all.splice(0..0, chunks)));
    }

    /// Shows these messages and nothing else.
    pub fn replace(self, messages: Vec<Message>) {
        self.chunks.try_update(Vec::clear);
        self.append(messages.into_iter().map(|message| Entry::Message(Arc::new(message))).collect());
    }

    /// The place of the oldest message shown.
    pub fn oldest_seq(self) -> Option<u64> {
        self.chunks.try_with_untracked(|chunks| {
            chunks.iter().find_map(|chunk| chunk.rows.with_untracked(|rows| rows.iter().find_map(Row::seq)))
        })?
    }

    /// The place of the newest message shown.
    pub fn newest_seq(self) -> Option<u64> {
        self.chunks.try_with_untracked(|chunks| {
            chunks.iter().rev().find_map(|chunk| chunk.rows.with_untracked(|rows| rows.iter().rev().find_map(Row::seq)))
        })?
    }

    fn last(self) -> Option<Entry> {
        self.chunks.try_with_untracked(|chunks| {
            chunks.last().and_then(|chunk| chunk.rows.with_untracked(|rows| rows.last().map(|row| row.entry.clone())))
        })?
    }

    /// When the newest message was stored.
    fn last_at(self) -> Option<u64> {
        self.chunks.try_with_untracked(|chunks| {
            let last_of = |rows: &Vec<Row>| rows.iter().rev().find_map(|row| row.entry.at());
            chunks.iter().rev().find_map(|chunk| chunk.rows.with_untracked(last_of))
        })?
    }

    fn id(self) -> u64 {
        self.next_id
            .try_update_value(|id| {
                *id += 1;
                *id
            })
            .unwrap_or_default()
    }
}

impl Entry {
    fn at(&self) -> Option<u64> {
        match self {
            Self::Message(message) => Some(message.at),
            _ => None,
        }
    }
}

impl Row {
    fn seq(&self) -> Option<u64> {
        match &self.entry {
            Entry::Message(message) => Some(message.seq),
            _ => None,
        }
    }
}

/// Says what stands above a row, by what comes before it: the entry, and the time of the last
/// message.
fn mark(row: &mut Row, previous: Option<&Entry>, last_at: Option<u64>, clock: Clock) {
    let Entry::Message(message) = &row.entry else { return };
    let before = match previous {
        Some(Entry::Message(before)) => Some(before),
        _ => None,
    };
    // A notice between two messages begins a new group, but no new day: it has no time of its own.
    row.starts_day = last_at.is_none_or(|at| clock.day(at) != clock.day(message.at));
    row.starts_group = row.starts_day || before.is_none_or(|before| !continues(before, message));
}

fn continues(before: &Message, message: &Message) -> bool {
    let author = |message: &Message| -> (UserId, String) { (message.user.id, message.user.nickname.clone()) };
    author(before) == author(message) && message.at.saturating_sub(before.at) < GROUP_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{MessageKey, User};

    fn message(seq: u64, author: u64, at: u64) -> Message {
        Message {
            room: "r".into(),
            seq,
            key: MessageKey(u128::from(seq)),
            user: User { id: UserId(author), nickname: format!("n{author}") },
            text: "t".into(),
            at,
        }
    }

    fn marks(timeline: Timeline) -> Vec<(u64, bool, bool)> {
        let rows = timeline.chunks.get_untracked().into_iter().flat_map(|chunk| chunk.rows.get_untracked());
        rows.map(|row| (row.seq().unwrap_or(0), row.starts_day, row.starts_group)).collect()
    }

    #[test]
    fn messages_are_grouped_by_author_pause_and_day() {
        let owner = Owner::new();
        owner.with(|| {
            let timeline = Timeline::new(vec![
                message(1, 1, 0),
                message(2, 1, 1_000),
                message(3, 2, 2_000),
                message(4, 2, 2_000 + GROUP_MS),
                message(5, 2, DAY_MS),
            ]);
            let expected = [(1, true, true), (2, false, false), (3, false, true), (4, false, true), (5, true, true)];
            assert_eq!(marks(timeline), expected);
        });
    }

    #[test]
    fn older_messages_join_the_group_that_they_belong_to() {
        let owner = Owner::new();
        owner.with(|| {
            let timeline = Timeline::new(vec![message(3, 1, 3_000)]);
            assert_eq!(marks(timeline), [(3, true, true)]);
            timeline.prepend(vec![message(1, 2, 1_000), message(2, 1, 2_000)]);
            assert_eq!(marks(timeline), [(1, true, true), (2, false, true), (3, false, false)]);
            assert_eq!((timeline.oldest_seq(), timeline.newest_seq()), (Some(1), Some(3)));
        });
    }

    #[test]
    fn a_notice_between_two_days_hides_neither() {
        let owner = Owner::new();
        owner.with(|| {
            let timeline = Timeline::new(vec![]);
            timeline.append(vec![Entry::Came("n".into()), Entry::Message(Arc::new(message(1, 1, 0)))]);
            timeline.append(vec![Entry::Left("n".into()), Entry::Message(Arc::new(message(2, 1, 1_000)))]);
            timeline.append(vec![Entry::Came("n".into()), Entry::Message(Arc::new(message(3, 1, DAY_MS)))]);
            let of_messages: Vec<_> = marks(timeline).into_iter().filter(|(seq, ..)| *seq > 0).collect();
            assert_eq!(of_messages, [(1, true, true), (2, false, true), (3, true, true)]);
        });
    }

    #[test]
    fn a_long_list_is_kept_in_chunks_and_loses_nothing() {
        let owner = Owner::new();
        owner.with(|| {
            let timeline = Timeline::new((101..=300).map(|seq| message(seq, 1, seq)).collect());
            timeline.prepend((1..=100).map(|seq| message(seq, 1, seq)).collect());
            timeline.append(vec![Entry::Came("n".into()), Entry::Message(Arc::new(message(301, 1, 301)))]);
            let seqs: Vec<_> = marks(timeline).into_iter().map(|(seq, ..)| seq).filter(|seq| *seq > 0).collect();
            assert_eq!(seqs, (1..=301).collect::<Vec<_>>());
            assert!(timeline.chunks.get_untracked().iter().all(|chunk| chunk.rows.with_untracked(Vec::len) <= CHUNK));
            let ids: std::collections::HashSet<_> =
                timeline.chunks.get_untracked().iter().map(|chunk| chunk.id).collect();
            assert_eq!(ids.len(), timeline.chunks.with_untracked(Vec::len));
        });
    }
}
