//! What a room shows, from the oldest loaded message to the newest: messages and small notices,
//! grouped by author and day.
//!
//! Rows are kept in chunks, and chunks in sections, each with a signal of its own: a new message touches one
//! chunk of at most [`CHUNK`] rows however long the list is. A browser looks at each section, and at each
//! chunk and row near what can be seen, and passes over the rest.

use std::sync::Arc;

use leptos::prelude::*;

use crate::protocol::{Message, MessageKey, UserId};

/// The most rows in a chunk: as many as the server gives at first, and half of what it gives then.
const CHUNK: usize = 50;
/// The most chunks in a section: of 10,000 rows there are about as many sections as chunks in each.
const SECTION: usize = 16;
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
    /// What was missed here was not given with the rest; it can be asked for.
    Gap(Gap),
    /// From here on the server tells another history: its database was restored, say.
    OtherHistory,
}

/// How it stands with what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Nobody has asked.
    Open,
    /// It was asked for, and could not be had now.
    Failed,
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
    /// The rows, never none.
    pub rows: RwSignal<Vec<Row>>,
}

/// Some chunks that follow each other. What is missing is missing at the end of a section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Unique in its timeline.
    pub id: u64,
    /// The chunks, never none.
    pub chunks: RwSignal<Vec<Chunk>>,
}

/// All rows of a room. A handle: copies show the same.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    /// The sections, oldest first.
    pub sections: RwSignal<Vec<Section>>,
    clock: RwSignal<Clock>,
    next_id: StoredValue<u64>,
}

impl Timeline {
    /// A timeline of these messages, oldest first, as the server renders it.
    pub fn new(messages: Vec<Message>) -> Self {
        let this = Self {
            sections: RwSignal::new(Vec::new()),
            clock: RwSignal::new(Clock::Utc),
            next_id: StoredValue::new(0),
        };
        this.append(said(messages));
        this
    }

    /// How times are shown now.
    pub fn clock(self) -> Clock {
        self.clock.try_get().unwrap_or(Clock::Utc)
    }

    /// Shows times as the reader's clock does.
    pub fn use_local_time(self) {
        self.clock.set(Clock::Local);
        let mut before = Before::default();
        for chunk in self.chunks() {
            chunk.rows.update(|rows| rows.iter_mut().for_each(|row| before.mark(row, Clock::Local)));
        }
    }

    /// Adds entries after the newest.
    pub fn append(self, entries: Vec<Entry>) {
        let mut before = Before { entry: self.last(), at: self.last_at() };
        for row in self.rows(entries, &mut before) {
            let last =
                self.last_chunk().filter(|chunk| chunk.rows.try_with_untracked(|rows| has_room(rows)) == Some(true));
            match last {
                Some(chunk) => drop(chunk.rows.try_update(|rows| rows.push(row))),
                None => self.push(self.chunk(vec![row])),
            }
        }
    }

    /// Adds older messages, oldest first, before all others.
    pub fn prepend(self, messages: Vec<Message>) {
        let mut before = Before::default();
        let rows = self.rows(said(messages), &mut before);
        // The row that was first has a neighbour now.
        if let Some(first) = self.chunks().next() {
            let clock = self.clock.try_get_untracked().unwrap_or(Clock::Utc);
            first.rows.try_update(|rows| rows.first_mut().map(|row| before.mark(row, clock)));
        }
        self.insert(0, self.in_chunks(&rows));
    }

    /// Puts messages where some are missing, before the place `before`; `None`: they could not be had.
    /// The gap stays while there are more.
    pub fn fill(self, before: u64, messages: Option<Vec<Message>>) {
        let Some((place, chunk, mut neighbour, known)) = self.find_gap(before) else { return };
        // A new row: what shows it looks at it once.
        let gap = |gap| self.rows(vec![Entry::Gap(gap)], &mut Before::default());
        let Some(messages) = messages else {
            chunk.rows.try_update(|rows| drop(rows.splice(rows.len() - 1.., gap(Gap::Failed))));
            return;
        };
        let new: Vec<_> = messages.into_iter().filter(|message| message.seq > known).collect();
        let is_whole = new.first().is_none_or(|first| first.seq == known + 1);
        let left = if is_whole { Vec::new() } else { gap(Gap::Open) };
        if let Some(gap) = left.first() {
            neighbour.entry = Some(gap.entry.clone());
        }
        let new = self.rows(said(new), &mut neighbour);
        chunk.rows.try_update(|rows| drop(rows.splice(rows.len() - 1.., left)));
        self.insert(place + 1, self.in_chunks(&new));
        self.drop_empty(place);
        // The row that followed the gap has another neighbour now.
        let clock = self.clock.try_get_untracked().unwrap_or(Clock::Utc);
        let follows = |row: &Row| row.seq() == Some(before);
        for chunk in self.chunks() {
            if chunk.rows.with_untracked(|rows| rows.iter().any(follows)) {
                chunk.rows.update(|rows| {
                    rows.iter_mut().filter(|row| follows(row)).for_each(|row| neighbour.mark(row, clock))
                });
            }
        }
    }

    /// The gap before a place: where its section stands, its chunk, what comes before it, and the last place
    /// before it.
    fn find_gap(self, before: u64) -> Option<(usize, Chunk, Before, u64)> {
        let (mut neighbour, mut known, mut gap) = (Before::default(), 0, None);
        for (place, section) in self.sections.try_get_untracked()?.into_iter().enumerate() {
            for chunk in section.chunks.try_get_untracked()? {
                for row in chunk.rows.try_get_untracked()? {
                    match &row.entry {
                        Entry::Gap(_) => gap = Some((place, chunk, neighbour.clone(), known)),
                        Entry::Message(message) if message.seq == before => return gap,
                        Entry::Message(message) => (known, gap) = (message.seq, None),
                        _ => {}
                    }
                    neighbour.pass(&row);
                }
            }
        }
        None
    }

    /// The place that follows a gap.
    pub fn after_gap(self, row: u64) -> Option<u64> {
        let rows = self.chunks().flat_map(|chunk| chunk.rows.get_untracked());
        rows.skip_while(|other| other.id != row).find_map(|row| row.seq())
    }

    /// Whether the message of that key is shown.
    pub fn has(self, key: MessageKey) -> bool {
        let is_it = |row: &Row| matches!(&row.entry, Entry::Message(message) if message.key == key);
        self.chunks().any(|chunk| chunk.rows.with_untracked(|rows| rows.iter().any(is_it)))
    }

    /// All chunks, oldest first, as they are now.
    pub fn chunks(self) -> impl DoubleEndedIterator<Item = Chunk> {
        let sections = self.sections.try_get_untracked().unwrap_or_default();
        sections.into_iter().flat_map(|section| section.chunks.try_get_untracked().unwrap_or_default())
    }

    fn last_chunk(self) -> Option<Chunk> {
        self.last_section()?.chunks.try_with_untracked(|chunks| chunks.last().copied())?
    }

    fn last_section(self) -> Option<Section> {
        self.sections.try_with_untracked(|sections| sections.last().copied())?
    }

    /// Puts a chunk after the newest.
    fn push(self, chunk: Chunk) {
        let ends_in_gap = self.last().is_some_and(|entry| matches!(entry, Entry::Gap(_)));
        let has_room = |section: &Section| {
            !ends_in_gap && section.chunks.try_with_untracked(|chunks| chunks.len() < SECTION) == Some(true)
        };
        match self.last_section().filter(has_room) {
            Some(section) => drop(section.chunks.try_update(|chunks| chunks.push(chunk))),
            None => drop(self.sections.try_update(|sections| sections.push(self.section(vec![chunk])))),
        }
    }

    /// Puts chunks before those of a section: into it while it has room, from the newest on, and into new ones.
    fn insert(self, place: usize, mut chunks: Vec<Chunk>) {
        let section = self.sections.try_with_untracked(|sections| sections.get(place).copied()).flatten();
        let room = section.and_then(|section| section.chunks.try_with_untracked(Vec::len));
        let here = chunks.split_off(chunks.len().saturating_sub(SECTION.saturating_sub(room.unwrap_or(SECTION))));
        if let Some(section) = section.filter(|_| !here.is_empty()) {
            section.chunks.try_update(|chunks| drop(chunks.splice(0..0, here)));
        }
        if !chunks.is_empty() {
            let new: Vec<_> = chunks.rchunks(SECTION).rev().map(|chunks| self.section(chunks.to_vec())).collect();
            self.sections.try_update(|sections| drop(sections.splice(place..place, new)));
        }
    }

    /// Takes out what a gap leaves behind that had a chunk to itself.
    fn drop_empty(self, place: usize) {
        let Some(section) = self.sections.try_with_untracked(|all| all.get(place).copied()).flatten() else { return };
        if section
            .chunks
            .with_untracked(|chunks| chunks.last().is_some_and(|last| last.rows.with_untracked(Vec::is_empty)))
        {
            section.chunks.try_update(Vec::pop);
        }
        if section.chunks.with_untracked(Vec::is_empty) {
            self.sections.try_update(|sections| sections.remove(place));
        }
    }

    fn rows(self, entries: Vec<Entry>, before: &mut Before) -> Vec<Row> {
        let clock = self.clock.try_get_untracked().unwrap_or(Clock::Utc);
        let row = |entry| {
            let mut row = Row { id: self.id(), entry, starts_day: false, starts_group: true };
            before.mark(&mut row, clock);
            row
        };
        entries.into_iter().map(row).collect()
    }

    fn in_chunks(self, rows: &[Row]) -> Vec<Chunk> {
        rows.chunks(CHUNK).map(|rows| self.chunk(rows.to_vec())).collect()
    }

    fn chunk(self, rows: Vec<Row>) -> Chunk {
        Chunk { id: self.id(), rows: RwSignal::new(rows) }
    }

    fn section(self, chunks: Vec<Chunk>) -> Section {
        Section { id: self.id(), chunks: RwSignal::new(chunks) }
    }

    /// Shows these messages and nothing else.
    pub fn replace(self, messages: Vec<Message>) {
        self.sections.try_update(Vec::clear);
        self.append(said(messages));
    }

    /// The place of the oldest message shown, for a view: it looks again when others come before.
    pub fn oldest_now(self) -> Option<u64> {
        self.sections.with(|sections| sections.first().copied())?.chunks.track();
        self.oldest_seq()
    }

    /// The place of the oldest message shown.
    pub fn oldest_seq(self) -> Option<u64> {
        self.chunks().find_map(|chunk| chunk.rows.with_untracked(|rows| rows.iter().find_map(Row::seq)))
    }

    /// The place of the newest message shown.
    pub fn newest_seq(self) -> Option<u64> {
        self.of_newest(|row| row.seq())
    }

    fn last(self) -> Option<Entry> {
        self.of_newest(|row| Some(row.entry.clone()))
    }

    /// When the newest message was stored.
    fn last_at(self) -> Option<u64> {
        self.of_newest(|row| row.entry.at())
    }

    /// What the newest row says that says something.
    fn of_newest<T>(self, says: impl Fn(&Row) -> Option<T>) -> Option<T> {
        let of = |chunk: Chunk| chunk.rows.try_with_untracked(|rows| rows.iter().rev().find_map(&says)).flatten();
        // Nearly always the last chunk knows.
        self.last_chunk().and_then(of).or_else(|| self.chunks().rev().find_map(of))
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

/// Whether a row more may follow: a gap is the last of its chunk, so that what is missing is put before a chunk.
fn has_room(rows: &[Row]) -> bool {
    rows.len() < CHUNK && rows.last().is_none_or(|last| !matches!(last.entry, Entry::Gap(_)))
}

fn said(messages: Vec<Message>) -> Vec<Entry> {
    messages.into_iter().map(|message| Entry::Message(Arc::new(message))).collect()
}

/// What comes before a row.
#[derive(Clone, Debug, Default)]
struct Before {
    entry: Option<Entry>,
    /// When the last message was stored.
    at: Option<u64>,
}

impl Before {
    /// Says what stands above a row, which then is what comes before the next.
    fn mark(&mut self, row: &mut Row, clock: Clock) {
        if let Entry::Message(message) = &row.entry {
            let before = match &self.entry {
                Some(Entry::Message(before)) => Some(before),
                _ => None,
            };
            // A notice between two messages begins a new group, but no new day: it has no time of its own.
            row.starts_day = self.at.is_none_or(|at| clock.day(at) != clock.day(message.at));
            row.starts_group = row.starts_day || before.is_none_or(|before| !continues(before, message));
        }
        self.pass(row);
    }

    fn pass(&mut self, row: &Row) {
        self.at = row.entry.at().or(self.at);
        self.entry = Some(row.entry.clone());
    }
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
        let rows = timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
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
    fn what_is_missing_in_the_middle_is_filled_in_until_nothing_is() {
        let owner = Owner::new();
        owner.with(|| {
            let gaps = |timeline: Timeline| {
                let rows = timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
                rows.filter_map(|row| if let Entry::Gap(gap) = row.entry { Some(gap) } else { None })
                    .collect::<Vec<_>>()
            };
            let seqs =
                |timeline| marks(timeline).into_iter().map(|(seq, ..)| seq).filter(|seq| *seq > 0).collect::<Vec<_>>();
            let timeline = Timeline::new((1..=100).map(|seq| message(seq, 1, seq)).collect());
            timeline.append(vec![Entry::Came("n".into()), Entry::Gap(Gap::Open)]);
            timeline.append(said((300..=310).map(|seq| message(seq, 1, seq)).collect()));
            assert_eq!((gaps(timeline), timeline.has(MessageKey(305))), (vec![Gap::Open], true));
            timeline.fill(300, None);
            assert_eq!(gaps(timeline), [Gap::Failed]);
            timeline.fill(300, Some((200..300).map(|seq| message(seq, 1, seq)).collect()));
            assert_eq!(gaps(timeline), [Gap::Open]);
            assert_eq!(seqs(timeline), (1..=100).chain(200..=310).collect::<Vec<_>>());
            timeline.fill(300, Some(vec![message(299, 1, 299)]));
            assert_eq!(seqs(timeline).len(), 211, "there is no gap any more before that place");
            timeline.fill(200, Some((90..200).map(|seq| message(seq, 1, seq)).collect()));
            assert_eq!((gaps(timeline), seqs(timeline)), (vec![], (1..=310).collect::<Vec<_>>()));
            assert!(timeline.chunks().all(|chunk| chunk.rows.with_untracked(Vec::len) <= CHUNK));
            // One group again, but for the day and the notice.
            let groups: Vec<_> =
                marks(timeline).into_iter().filter(|(seq, _, group)| *seq > 0 && *group).map(|(seq, ..)| seq).collect();
            assert_eq!(groups, [1, 101]);
        });
    }

    #[test]
    fn chunks_are_kept_in_sections_wherever_they_are_put() {
        let owner = Owner::new();
        owner.with(|| {
            let all = |seqs: std::ops::Range<u64>| seqs.map(|seq| message(seq, 1, seq)).collect::<Vec<_>>();
            let timeline = Timeline::new(all(20_000..22_000));
            timeline.append(vec![Entry::Gap(Gap::Open)]);
            timeline.append(said(all(30_000..32_000)));
            (1..=20).rev().for_each(|page| timeline.prepend(all(page * 100 + 17_900..page * 100 + 18_000)));
            (220..300).rev().for_each(|page| timeline.fill((page + 1) * 100, Some(all(page * 100..(page + 1) * 100))));
            let seqs: Vec<_> = marks(timeline).into_iter().map(|(seq, ..)| seq).collect();
            assert_eq!(seqs, (18_000..32_000).collect::<Vec<_>>());
            let lens =
                timeline.sections.get_untracked().into_iter().map(|section| section.chunks.get_untracked().len());
            let lens: Vec<_> = lens.collect();
            assert!(lens.iter().all(|len| (1..=SECTION).contains(len)), "{lens:?}");
            assert!(lens.len() <= timeline.chunks().count() / SECTION + 5, "{lens:?}");
            assert!(timeline.chunks().all(|chunk| !chunk.rows.get_untracked().is_empty()));
        });
    }

    #[test]
    fn a_gap_that_had_a_chunk_to_itself_leaves_none_behind() {
        let owner = Owner::new();
        owner.with(|| {
            let full = SECTION as u64 * CHUNK as u64;
            let timeline = Timeline::new((1..=full).map(|seq| message(seq, 1, seq)).collect());
            timeline.append(vec![Entry::Gap(Gap::Open)]);
            timeline.append(said(vec![message(full + 2, 1, 0)]));
            assert_eq!(timeline.sections.with_untracked(Vec::len), 3);
            timeline.fill(full + 2, Some(vec![message(full + 1, 1, 0)]));
            assert_eq!(timeline.sections.with_untracked(Vec::len), 2);
            assert!(timeline.chunks().all(|chunk| !chunk.rows.get_untracked().is_empty()));
            assert_eq!((timeline.newest_seq(), marks(timeline).len() as u64), (Some(full + 2), full + 2));
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
            assert!(timeline.chunks().all(|chunk| chunk.rows.with_untracked(Vec::len) <= CHUNK));
            let ids: std::collections::HashSet<_> = timeline.chunks().map(|chunk| chunk.id).collect();
            assert_eq!(ids.len(), timeline.chunks().count());
        });
    }
}
