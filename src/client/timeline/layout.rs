//! The layout of rows in chunks, and of chunks in sections.
//!
//! Each chunk and section has a signal of its own, so that a new message changes one chunk of at most [`CHUNK_ROWS`]
//! rows, however long the timeline is. A browser lays out each section, and the chunks and rows near the visible part,
//! and skips the rest.

use leptos::prelude::*;

use super::Timeline;
use super::row::{Chunk, Row, Section};

/// The most rows in a chunk: as many messages as the server renders at first, and half of a page of history.
pub(super) const CHUNK_ROWS: usize = 50;
/// The most chunks in a section: with 10,000 rows there are about as many sections as chunks in each.
const SECTION_CHUNKS: usize = 16;

impl Timeline {
    /// All chunks, oldest first, as they are now.
    pub fn chunks(self) -> impl DoubleEndedIterator<Item = Chunk> {
        let sections = self.sections.try_get_untracked().unwrap_or_default();
        sections.into_iter().flat_map(|section| section.chunks.try_get_untracked().unwrap_or_default())
    }

    pub(super) fn last_chunk(self) -> Option<Chunk> {
        self.last_section()?.chunks.try_with_untracked(|chunks| chunks.last().copied())?
    }

    fn last_section(self) -> Option<Section> {
        self.sections.try_with_untracked(|sections| sections.last().copied())?
    }

    /// Adds a row after the newest.
    pub(super) fn push_row(self, row: Row) {
        let has_capacity =
            |rows: &Vec<Row>| rows.len() < CHUNK_ROWS && !rows.last().is_some_and(|last| last.entry.is_gap());
        match self.last_chunk().filter(|chunk| chunk.rows.try_with_untracked(has_capacity) == Some(true)) {
            Some(chunk) => drop(chunk.rows.try_update(|rows| rows.push(row))),
            None => self.push_chunk(self.new_chunk(vec![row])),
        }
    }

    fn push_chunk(self, chunk: Chunk) {
        let ends_in_gap = self.last_entry().is_some_and(|entry| entry.is_gap());
        let has_capacity = |section: &Section| {
            !ends_in_gap && section.chunks.try_with_untracked(|chunks| chunks.len() < SECTION_CHUNKS) == Some(true)
        };
        match self.last_section().filter(has_capacity) {
            Some(section) => drop(section.chunks.try_update(|chunks| chunks.push(chunk))),
            None => drop(self.sections.try_update(|sections| sections.push(self.new_section(vec![chunk])))),
        }
    }

    /// Inserts rows before those of the section at `index`: into that section while it has capacity, starting with the
    /// newest, and into new sections.
    pub(super) fn insert_rows(self, index: usize, rows: &[Row]) {
        let mut chunks: Vec<_> = rows.chunks(CHUNK_ROWS).map(|rows| self.new_chunk(rows.to_vec())).collect();
        let section = self.section(index);
        let len = section.and_then(|section| section.chunks.try_with_untracked(Vec::len)).unwrap_or(SECTION_CHUNKS);
        let capacity = SECTION_CHUNKS.saturating_sub(len);
        let fitting = chunks.split_off(chunks.len().saturating_sub(capacity));
        if let Some(section) = section.filter(|_| !fitting.is_empty()) {
            section.chunks.try_update(|chunks| drop(chunks.splice(0..0, fitting)));
        }
        if !chunks.is_empty() {
            let new: Vec<_> =
                chunks.rchunks(SECTION_CHUNKS).rev().map(|chunks| self.new_section(chunks.to_vec())).collect();
            self.sections.try_update(|sections| drop(sections.splice(index..index, new)));
        }
    }

    /// Inserts rows that end in a gap after those of the section at `index`, into that section if it has the capacity
    /// and `may_join` it, otherwise into new sections.
    pub(super) fn append_rows(self, index: usize, rows: &[Row], may_join: bool) {
        let mut new: Vec<_> = rows.chunks(CHUNK_ROWS).map(|rows| self.new_chunk(rows.to_vec())).collect();
        let fits = |chunks: &Vec<Chunk>| may_join && chunks.len() + new.len() <= SECTION_CHUNKS;
        match self.section(index).filter(|section| section.chunks.try_with_untracked(fits) == Some(true)) {
            Some(section) => drop(section.chunks.try_update(|chunks| chunks.append(&mut new))),
            None => {
                let new = new.chunks(SECTION_CHUNKS).map(|chunks| self.new_section(chunks.to_vec()));
                let new: Vec<_> = new.collect();
                self.sections.try_update(|sections| drop(sections.splice(index + 1..index + 1, new)));
            }
        }
    }

    /// Removes empty chunks of a section, and the section with them if it has no other.
    pub(super) fn remove_if_empty(self, index: usize) {
        let Some(section) = self.section(index) else { return };
        let is_empty = |chunk: &Chunk| chunk.rows.with_untracked(Vec::is_empty);
        if section.chunks.with_untracked(|chunks| chunks.iter().any(is_empty)) {
            section.chunks.try_update(|chunks| chunks.retain(|chunk| !is_empty(chunk)));
        }
        if section.chunks.with_untracked(Vec::is_empty) {
            self.sections.try_update(|sections| sections.remove(index));
        }
    }

    fn section(self, index: usize) -> Option<Section> {
        self.sections.try_with_untracked(|sections| sections.get(index).copied())?
    }

    fn new_chunk(self, rows: Vec<Row>) -> Chunk {
        Chunk { id: self.new_id(), rows: RwSignal::new(rows) }
    }

    pub(super) fn new_section(self, chunks: Vec<Chunk>) -> Section {
        Section { id: self.new_id(), chunks: RwSignal::new(chunks) }
    }

    /// An id that is unique in this timeline.
    pub(super) fn new_id(self) -> u64 {
        self.last_id
            .try_update_value(|id| {
                *id += 1;
                *id
            })
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::client::timeline::fixture::{gap, joined, message, message_entry, messages, seqs};
    use crate::client::timeline::row::entries;

    #[test]
    fn long_timeline_is_split_into_chunks_without_loss() {
        Owner::new().with(|| {
            let timeline = Timeline::new(messages(101..301));
            timeline.prepend(messages(1..101));
            timeline.append(vec![joined(), message_entry(301, 301)]);
            assert_eq!(seqs(timeline), (1..=301).collect::<Vec<_>>());
            assert!(timeline.chunks().all(|chunk| chunk.rows.with_untracked(Vec::len) <= CHUNK_ROWS));
            let ids: HashSet<_> = timeline.chunks().map(|chunk| chunk.id).collect();
            assert_eq!(ids.len(), timeline.chunks().count());
        });
    }

    #[test]
    fn sections_stay_within_their_limit_wherever_rows_are_inserted() {
        Owner::new().with(|| {
            let timeline = Timeline::new(messages(20_000..22_000));
            timeline.append(vec![gap()]);
            timeline.append(entries(messages(30_000..32_000)));
            (1..=20).rev().for_each(|page| timeline.prepend(messages(page * 100 + 17_900..page * 100 + 18_000)));
            let fill = |page: u64| timeline.fill((page + 1) * 100, Some(messages(page * 100..(page + 1) * 100)));
            (220..300).rev().for_each(fill);
            assert_eq!(seqs(timeline), (18_000..32_000).collect::<Vec<_>>());
            let sections = timeline.sections.get_untracked().into_iter();
            let lens: Vec<_> = sections.map(|section| section.chunks.get_untracked().len()).collect();
            assert!(lens.iter().all(|len| (1..=SECTION_CHUNKS).contains(len)), "{lens:?}");
            assert!(lens.len() <= timeline.chunks().count() / SECTION_CHUNKS + 5, "{lens:?}");
            assert!(timeline.chunks().all(|chunk| !chunk.rows.get_untracked().is_empty()));
        });
    }

    #[test]
    fn filled_gap_leaves_no_empty_chunk_or_section() {
        Owner::new().with(|| {
            let full = SECTION_CHUNKS as u64 * CHUNK_ROWS as u64;
            let timeline = Timeline::new(messages(1..full + 1));
            timeline.append(vec![gap()]);
            timeline.append(entries(vec![message(full + 2, 1, 0)]));
            assert_eq!(timeline.sections.with_untracked(Vec::len), 3);
            timeline.fill(full + 2, Some(vec![message(full + 1, 1, 0)]));
            assert_eq!(timeline.sections.with_untracked(Vec::len), 2);
            assert!(timeline.chunks().all(|chunk| !chunk.rows.get_untracked().is_empty()));
            assert_eq!(seqs(timeline), (1..=full + 2).collect::<Vec<_>>());
        });
    }
}
