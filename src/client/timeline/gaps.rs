//! Gaps: messages that are missing in the middle of a timeline, after an absence that was too long to replay.

use leptos::prelude::*;

use super::Timeline;
use super::grouping::{Clock, Previous};
use super::row::{Chunk, Entry, Gap, Row, entries};
use crate::protocol::Message;

/// A gap, and what is around it.
struct FoundGap {
    /// The index of its section.
    section: usize,
    /// The chunk whose last row it is.
    chunk: Chunk,
    /// The content before it.
    previous: Previous,
    /// The position of the last message before it.
    last_seq: u64,
    /// The position of the first message after it.
    next_seq: u64,
}

impl Timeline {
    /// Inserts missing messages before the position `before`, which ends a gap or is inside of it; `None`: they could not
    /// be loaded. The gap stays where more are missing.
    pub fn fill(self, before: u64, messages: Option<Vec<Message>>) {
        let Some(FoundGap { section, chunk, mut previous, last_seq, next_seq }) = self.find_gap(before) else { return };
        let replace_gap = |new: Vec<Row>| chunk.rows.try_update(|rows| drop(rows.splice(rows.len() - 1.., new)));
        let Some(messages) = messages else {
            replace_gap(self.gap_row(Gap::Failed, &mut previous));
            return;
        };
        let missing: Vec<_> =
            messages.into_iter().filter(|message| last_seq < message.seq && message.seq < next_seq).collect();
        let reaches_last = missing.first().is_none_or(|first| first.seq == last_seq + 1);
        let reaches_next = missing.last().is_none_or(|last| last.seq + 1 == next_seq);
        replace_gap(if reaches_last { Vec::new() } else { self.gap_row(Gap::Open, &mut previous) });
        let mut rows = self.rows(entries(missing), &mut previous);
        if reaches_next {
            self.insert_rows(section + 1, &rows);
        } else {
            rows.extend(self.gap_row(Gap::Open, &mut previous));
            self.append_rows(section, &rows, reaches_last);
        }
        self.remove_if_empty(section);
        self.mark_again(next_seq, previous);
    }

    /// A row for a gap after `previous`. Always a new one, because a view reads the state of a gap only once.
    pub(super) fn gap_row(self, gap: Gap, previous: &mut Previous) -> Vec<Row> {
        self.rows(vec![Entry::Gap(gap)], previous)
    }

    /// Marks the row of a message again, because other content is before it now.
    pub(super) fn mark_again(self, seq: u64, mut previous: Previous) {
        let clock = self.clock.try_get_untracked().unwrap_or(Clock::Utc);
        let is_it = |row: &Row| row.seq() == Some(seq);
        let holds_it = |chunk: &Chunk| chunk.rows.with_untracked(|rows| rows.iter().any(is_it));
        if let Some(chunk) = self.chunks().find(holds_it) {
            chunk.rows.update(|rows| {
                rows.iter_mut().filter(|row| is_it(row)).for_each(|row| previous.mark(row, clock));
            });
        }
    }

    /// Finds the gap that ends before a position, or has it inside.
    fn find_gap(self, before: u64) -> Option<FoundGap> {
        let (mut previous, mut last_seq, mut gap) = (Previous::default(), 0, None);
        for (section, chunks) in self.sections.try_get_untracked()?.into_iter().enumerate() {
            for chunk in chunks.chunks.try_get_untracked()? {
                for row in chunk.rows.try_get_untracked()? {
                    if row.entry.is_gap() {
                        let previous = previous.clone();
                        gap = Some(FoundGap { section, chunk, previous, last_seq, next_seq: 0 });
                    } else if let Some(seq) = row.seq() {
                        if seq >= before {
                            return gap.map(|gap| FoundGap { next_seq: seq, ..gap });
                        }
                        (last_seq, gap) = (seq, None);
                    }
                    previous.advance(&row);
                }
            }
        }
        None
    }

    /// The position of the last message before the gap in this row, and that of the first one after it.
    pub fn around_gap(self, row: u64) -> Option<(u64, u64)> {
        let (mut last_seq, mut is_after) = (0, false);
        for other in self.chunks().flat_map(|chunk| chunk.rows.get_untracked()) {
            is_after |= other.id == row;
            match other.seq() {
                Some(seq) if is_after => return Some((last_seq, seq)),
                Some(seq) => last_seq = seq,
                None => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::timeline::fixture::{gap, joined, message, message_marks, messages, seqs};
    use crate::client::timeline::layout::CHUNK_ROWS;
    use crate::protocol::MessageKey;

    fn gaps(timeline: Timeline) -> Vec<Gap> {
        let rows = timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
        rows.filter_map(|row| if let Entry::Gap(gap) = row.entry { Some(gap) } else { None }).collect()
    }

    #[test]
    fn gap_is_filled_page_by_page_until_nothing_is_missing() {
        Owner::new().with(|| {
            let timeline = Timeline::new(messages(1..101));
            timeline.append(vec![joined(), gap()]);
            timeline.append(entries(messages(300..311)));
            assert_eq!((gaps(timeline), timeline.has(MessageKey(305))), (vec![Gap::Open], true));
            timeline.fill(300, None);
            assert_eq!(gaps(timeline), [Gap::Failed]);
            timeline.fill(300, Some(messages(200..300)));
            assert_eq!(gaps(timeline), [Gap::Open]);
            assert_eq!(seqs(timeline), (1..=100).chain(200..=310).collect::<Vec<_>>());
            timeline.fill(300, Some(vec![message(299, 1, 299)]));
            assert_eq!(seqs(timeline).len(), 211, "there is no gap before that position any more");
            timeline.fill(200, Some(messages(90..200)));
            assert_eq!((gaps(timeline), seqs(timeline)), (vec![], (1..=310).collect::<Vec<_>>()));
            assert!(timeline.chunks().all(|chunk| chunk.rows.with_untracked(Vec::len) <= CHUNK_ROWS));
            // One group again, apart from the start of the day and the notice.
            let groups = message_marks(timeline).into_iter().filter(|(_, _, starts_group)| *starts_group);
            assert_eq!(groups.map(|(seq, ..)| seq).collect::<Vec<_>>(), [1, 101]);
        });
    }

    #[test]
    fn gap_is_filled_from_either_side() {
        Owner::new().with(|| {
            let timeline = Timeline::new(messages(1..51));
            timeline.append(vec![gap()]);
            timeline.append(entries(messages(1_000..1_051)));
            let around = || {
                let rows = timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
                rows.filter(|row| row.entry.is_gap())
                    .map(|row| timeline.around_gap(row.id).unwrap())
                    .collect::<Vec<_>>()
            };
            assert_eq!(around(), [(50, 1_000)]);
            timeline.fill(151, Some(messages(51..151)));
            timeline.fill(1_000, Some(messages(900..1_000)));
            assert_eq!(around(), [(150, 900)]);
            // The answer may stop early, at its limit of bytes.
            timeline.fill(251, Some(messages(240..251)));
            assert_eq!(around(), [(150, 240), (250, 900)]);
            timeline.fill(240, None);
            assert_eq!(gaps(timeline), [Gap::Failed, Gap::Open]);
            timeline.fill(240, Some(messages(151..240)));
            for from in (251..900).step_by(100) {
                let to = (from + 100).min(900);
                timeline.fill(to, Some(messages(from..to)));
            }
            assert!(around().is_empty() && seqs(timeline).into_iter().eq(1..1_051));
            let groups = message_marks(timeline).into_iter().filter(|(_, _, starts_group)| *starts_group);
            assert_eq!(groups.map(|(seq, ..)| seq).collect::<Vec<_>>(), [1]);
        });
    }
}
