//! Letting go of rows far from view, so that a page that is open for days stays small. They are loaded again when the
//! reader comes near.

use std::collections::BTreeMap;

use leptos::prelude::*;

use super::Timeline;
use super::grouping::Previous;
use super::row::{Chunk, Gap, Row, Section};

/// A timeline with more chunks lets go of some.
const MAX_CHUNKS: usize = 60;
/// The same while the reader is further up: to drop rows between them and the end is rarely worth the work.
const MAX_CHUNKS_READING: usize = 200;
/// The chunks at the end that are kept while the reader follows the newest message.
const KEEP_NEWEST: usize = 40;
/// The chunks at the end that are kept while the reader is further up.
const KEEP_END: usize = 2;
/// The chunks that are kept before and after the one being read.
const KEEP_AROUND: usize = 20;

impl Timeline {
    /// Drops chunks far from the chunk `reading`, or from the newest message if the reader follows the room. A gap takes
    /// the place of messages in the middle. Returns whether the oldest rows were dropped.
    pub fn trim(self, reading: Option<u64>) -> bool {
        self.trim_above(if reading.is_some() { MAX_CHUNKS_READING } else { MAX_CHUNKS }, reading)
    }

    fn trim_above(self, max_chunks: usize, reading: Option<u64>) -> bool {
        // Asked after each message, so this must be cheap.
        let len = |section: &Section| section.chunks.try_with_untracked(Vec::len).unwrap_or(0);
        let count = self.sections.try_with_untracked(|sections| sections.iter().map(len).sum::<usize>());
        if count.is_none_or(|count| count <= max_chunks) {
            return false;
        }
        let chunks: Vec<_> = self.chunks().collect();
        // The newest position stays in any case: the room is resumed from it.
        let newest = chunks.iter().rposition(|chunk| chunk.has(|row| row.seq().is_some()));
        let read = reading.and_then(|id| chunks.iter().position(|chunk| chunk.id == id));
        let end = chunks.len() - if read.is_some() { KEEP_END } else { KEEP_NEWEST };
        let is_kept = |index: usize| {
            index >= end || newest == Some(index) || read.is_some_and(|read| read.abs_diff(index) <= KEEP_AROUND)
        };
        let mut drops_oldest = false;
        let mut from = 0;
        while from < chunks.len() {
            let to = (from..chunks.len()).find(|index| is_kept(*index)).unwrap_or(chunks.len());
            let dropped = &chunks[from..to];
            if from == 0 && to > 0 {
                drops_oldest = true;
                self.drop_oldest(dropped);
            } else if dropped.iter().any(|chunk| chunk.has(|row| row.seq().is_some() || row.entry.is_gap())) {
                self.drop_middle(dropped, chunks[from - 1]);
            } else {
                self.drop_chunks(dropped);
            }
            from = (to..chunks.len()).find(|index| !is_kept(*index)).unwrap_or(chunks.len());
        }
        drops_oldest
    }

    /// Drops everything: the page shows another room.
    pub(crate) fn clear(self) {
        self.quoted.try_update_value(BTreeMap::clear);
        self.drop_all();
    }

    pub(super) fn drop_all(self) {
        let chunks: Vec<_> = self.chunks().collect();
        self.drop_chunks(&chunks);
    }

    fn drop_oldest(self, chunks: &[Chunk]) {
        self.drop_chunks(chunks);
        // The row that is first now begins a day and a group.
        if let Some(first) = self.oldest_seq() {
            self.mark_again(first, Previous::default());
        }
    }

    /// Drops everything before the message at the position `floor`, because it has expired. Returns whether there was
    /// something.
    pub fn forget_before(self, floor: u64) -> bool {
        // Also of messages that were dropped before.
        self.forget_quoted_before(floor);
        if self.oldest_seq().is_none_or(|oldest| oldest >= floor) {
            return false;
        }
        let is_kept = |row: &Row| row.seq().is_some_and(|seq| seq >= floor);
        let chunks: Vec<_> = self.chunks().collect();
        let first = chunks.iter().position(|chunk| chunk.has(is_kept)).unwrap_or(chunks.len());
        if let Some(chunk) = chunks.get(first) {
            chunk.rows.update(|rows| drop(rows.drain(..rows.iter().position(is_kept).unwrap_or(0))));
        }
        self.drop_oldest(&chunks[..first]);
        true
    }

    /// Drops consecutive chunks after the chunk `last`, which ends in a gap from then on.
    fn drop_middle(self, dropped: &[Chunk], last: Chunk) {
        self.drop_chunks(dropped);
        self.end_section_after(last);
        let mut previous = Previous::default();
        last.rows.update(|rows| {
            // An earlier gap would not know what follows now.
            rows.pop_if(|row| row.entry.is_gap());
            rows.iter().for_each(|row| previous.advance(row));
        });
        let gap = self.gap_row(Gap::Open, &mut previous);
        let id = gap.first().map(|gap| gap.id);
        // One row beyond the limit of a chunk, for as long as the gap is there.
        last.rows.update(|rows| rows.extend(gap));
        if let Some((_, next)) = id.and_then(|id| self.around_gap(id)) {
            self.mark_again(next, previous);
        }
    }

    /// Moves the chunks after `last` in its section into one of their own, because a gap ends its section.
    fn end_section_after(self, last: Chunk) {
        for (index, section) in self.sections.try_get_untracked().unwrap_or_default().into_iter().enumerate() {
            let chunks = section.chunks.get_untracked();
            let Some(position) = chunks.iter().position(|chunk| chunk.id == last.id) else { continue };
            if position + 1 < chunks.len() {
                let rest = self.new_section(chunks[position + 1..].to_vec());
                section.chunks.update(|chunks| chunks.truncate(position + 1));
                self.sections.update(|sections| sections.insert(index + 1, rest));
            }
        }
    }

    /// Removes chunks, and sections that have no other, and frees their memory.
    fn drop_chunks(self, dropped: &[Chunk]) {
        let Some(sections) = self.sections.try_get_untracked().filter(|_| !dropped.is_empty()) else { return };
        let is_dropped = |chunk: &Chunk| dropped.iter().any(|other| other.id == chunk.id);
        let mut emptied = Vec::new();
        for section in sections {
            if section.chunks.try_with_untracked(|chunks| chunks.iter().any(is_dropped)) == Some(true) {
                section.chunks.try_update(|chunks| chunks.retain(|chunk| !is_dropped(chunk)));
                if section.chunks.try_with_untracked(Vec::is_empty) == Some(true) {
                    emptied.push(section);
                }
            }
        }
        if !emptied.is_empty() {
            let is_emptied = |section: &Section| emptied.iter().any(|other| other.id == section.id);
            self.sections.try_update(|sections| sections.retain(|section| !is_emptied(section)));
        }
        // Signals that were created outside of a component live until they are disposed.
        dropped.iter().for_each(|chunk| chunk.rows.dispose());
        emptied.into_iter().for_each(|section| section.chunks.dispose());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::timeline::Entry;
    use crate::client::timeline::fixture::{joined, message_entry, message_marks, messages, seqs};
    use crate::client::timeline::layout::CHUNK_ROWS;
    use crate::client::timeline::row::entries;

    /// The id of the chunk that shows this position.
    fn chunk_of(timeline: Timeline, seq: u64) -> u64 {
        let shows = |chunk: &Chunk| chunk.rows.get_untracked().iter().any(|row| row.seq() == Some(seq));
        timeline.chunks().find(shows).unwrap().id
    }

    fn check(timeline: Timeline) {
        for section in timeline.sections.get_untracked() {
            let chunks = section.chunks.get_untracked();
            assert!(!chunks.is_empty());
            for (index, chunk) in chunks.iter().enumerate() {
                let rows = chunk.rows.get_untracked();
                assert!((1..=CHUNK_ROWS + 1).contains(&rows.len()));
                for (row_index, _) in rows.iter().enumerate().filter(|(_, row)| row.entry.is_gap()) {
                    assert_eq!((index + 1, row_index + 1), (chunks.len(), rows.len()), "a gap ends chunk and section");
                }
            }
        }
    }

    #[test]
    fn following_reader_keeps_the_newest_rows() {
        Owner::new().with(|| {
            let timeline = Timeline::new(messages(1..3_001));
            assert!(!timeline.trim(None), "60 chunks are few enough");
            timeline.append(entries(messages(3_001..3_002)));
            assert!(timeline.trim(None));
            check(timeline);
            assert!(seqs(timeline).into_iter().eq(1_051..=3_001));
            assert_eq!(message_marks(timeline)[0], (1_051, true, true));
            // They come back page by page, and nothing is marked twice.
            timeline.prepend(messages(951..1_051));
            assert_eq!(message_marks(timeline)[100], (1_051, false, false));
            // Arrivals after the newest message do not push it out.
            (0..4_000).for_each(|_| {
                timeline.append(vec![joined()]);
                timeline.trim(None);
            });
            check(timeline);
            assert!(timeline.newest_seq() == Some(3_001) && timeline.chunks().count() <= MAX_CHUNKS);
        });
    }

    #[test]
    fn reader_further_up_keeps_rows_around_and_the_newest() {
        Owner::new().with(|| {
            let timeline = Timeline::new(messages(1..5_001));
            let reading = chunk_of(timeline, 2_000);
            assert!(timeline.trim_above(MAX_CHUNKS, Some(reading)));
            check(timeline);
            assert!(seqs(timeline).into_iter().eq((951..=3_000).chain(4_901..=5_000)));
            // More arrives: the gap grows, and is the same one.
            for seq in 5_001..9_000 {
                timeline.append(vec![message_entry(seq, seq)]);
                assert!(!timeline.trim_above(MAX_CHUNKS, Some(reading)));
            }
            check(timeline);
            let gaps = || {
                let rows = timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
                rows.filter(|row| matches!(row.entry, Entry::Gap(_))).map(|row| row.id).collect::<Vec<_>>()
            };
            let [gap] = gaps()[..] else { panic!("one gap") };
            let (last, next) = timeline.around_gap(gap).unwrap();
            assert!(last == 3_000 && next > 5_000 && timeline.newest_seq() == Some(8_999));
            assert!(timeline.chunks().count() <= MAX_CHUNKS);
            // The reader goes on downwards.
            let mut from = 3_001;
            while let [gap] = gaps()[..] {
                let (last, next) = timeline.around_gap(gap).unwrap();
                assert_eq!(last + 1, from);
                let to = (from + 100).min(next);
                timeline.fill(to, Some(messages(from..to)));
                timeline.trim_above(MAX_CHUNKS, Some(chunk_of(timeline, to - 1)));
                check(timeline);
                from = to;
            }
            let kept = seqs(timeline);
            assert!(kept.iter().copied().eq(kept[0]..=8_999), "nothing is missing in the middle");
        });
    }
}
