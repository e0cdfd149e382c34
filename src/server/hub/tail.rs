//! The tail of a room's log: puts entries into order and remembers the most recent. Pure.
//!
//! Entries come from the store after their commit. A tail delivers each `seq` once and in order: it drops an entry
//! that it knows, and holds an entry that comes early until the ones before it have come. What is missing then is a
//! [`Gap`], which the owner reads from the store. Because the tail remembers the recent entries, most connections that
//! enter or resume need no database read.
//!
//! A new tail is not seeded: it does not know where the log ends, and holds everything until [`Tail::seed`].

use std::collections::{BTreeMap, VecDeque};

/// The number of early entries that are held. Further ones are dropped, and read again as part of the gap.
pub const MAX_HELD: usize = 512;
/// The size of all held entries together, in bytes.
pub const MAX_HELD_BYTES: usize = 2 * 1024 * 1024;
/// The number of recent entries that are remembered.
pub const MAX_RECENT: usize = 200;
/// The size of all remembered entries together, in bytes.
pub const MAX_RECENT_BYTES: usize = 256 * 1024;

/// An entry of a log whose entries are numbered 1, 2, 3 … without gaps.
pub trait Sequenced: Clone {
    /// The entry's number.
    fn seq(&self) -> u64;

    /// The entry's approximate size in a frame, in bytes.
    fn bytes(&self) -> usize;
}

/// Entries that have not come although later ones have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last entry before the gap.
    pub after: u64,
}

/// The ordered end of one room's log.
#[derive(Clone, Debug)]
pub struct Tail<E> {
    /// The last entry in order; `None` until seeded.
    head: Option<u64>,
    /// Consecutive entries that end at `head`.
    recent: VecDeque<E>,
    recent_bytes: usize,
    /// Early entries: all have a `seq` above `head` + 1, or the tail is not seeded.
    held: BTreeMap<u64, E>,
    held_bytes: usize,
    /// The highest `seq` that has been seen, also of entries that could not be held.
    highest: u64,
}

impl<E> Default for Tail<E> {
    fn default() -> Self {
        Self { head: None, recent: VecDeque::new(), recent_bytes: 0, held: BTreeMap::new(), held_bytes: 0, highest: 0 }
    }
}

impl<E: Sequenced> Tail<E> {
    /// The `seq` of the last entry in order; `None` until seeded.
    pub fn head(&self) -> Option<u64> {
        self.head
    }

    /// Takes an entry. Returns it if it is the next in order; then [`Tail::next_held`] may have more.
    pub fn receive(&mut self, entry: E) -> Option<E> {
        let seq = entry.seq();
        self.highest = self.highest.max(seq);
        match self.head {
            Some(head) if seq <= head => None,
            Some(head) if seq == head + 1 => {
                self.append(entry.clone());
                Some(entry)
            }
            Some(_) | None => {
                let bytes = entry.bytes();
                if self.held.len() < MAX_HELD && self.held_bytes + bytes <= MAX_HELD_BYTES {
                    let replaced = self.held.insert(seq, entry);
                    self.held_bytes += bytes;
                    self.held_bytes -= replaced.map_or(0, |entry| entry.bytes());
                }
                None
            }
        }
    }

    /// The next held entry that is in order by now.
    pub fn next_held(&mut self) -> Option<E> {
        let next = self.head? + 1;
        let entry = self.held.remove(&next)?;
        self.held_bytes -= entry.bytes();
        self.append(entry.clone());
        Some(entry)
    }

    /// The gap before the entries that came early, if the tail is seeded and there is one.
    pub fn gap(&self) -> Option<Gap> {
        self.head.filter(|head| *head < self.highest).map(|after| Gap { after })
    }

    /// Learns from a read of the store: consecutive entries that end at `head`. Sets the end of the log if the tail
    /// was not seeded; later reads can only extend what is remembered further back.
    pub fn seed(&mut self, head: u64, entries: &[E]) {
        if self.head.is_none() {
            self.head = Some(head);
            self.highest = self.highest.max(head);
            self.held = self.held.split_off(&(head + 1));
            self.held_bytes = self.held.values().map(Sequenced::bytes).sum();
        }
        let older = entries.iter().rev().skip_while(|entry| entry.seq() >= self.first());
        for entry in older.cloned().collect::<Vec<_>>() {
            let is_full = self.recent.len() >= MAX_RECENT || self.recent_bytes + entry.bytes() > MAX_RECENT_BYTES;
            if is_full || entry.seq() + 1 != self.first() {
                break;
            }
            self.recent_bytes += entry.bytes();
            self.recent.push_front(entry);
        }
        while self.next_held().is_some() {}
    }

    /// Changes an entry, if it is in memory.
    pub fn update(&mut self, seq: u64, change: impl FnOnce(&mut E)) {
        let index = seq.checked_sub(self.first()).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.recent.get_mut(index)) {
            self.recent_bytes -= entry.bytes();
            change(entry);
            self.recent_bytes += entry.bytes();
            self.drop_oldest();
        } else if let Some(entry) = self.held.get_mut(&seq) {
            self.held_bytes -= entry.bytes();
            change(entry);
            self.held_bytes += entry.bytes();
        }
    }

    /// The size of all entries, in bytes.
    pub fn bytes(&self) -> usize {
        self.recent_bytes + self.held_bytes
    }

    /// Forgets the entries that were delivered.
    pub fn forget(&mut self) {
        (self.recent, self.recent_bytes) = (VecDeque::new(), 0);
    }

    /// The entries after a `seq`, oldest first. `None` if the tail does not reach back so far, or not so far ahead.
    pub fn since(&self, after: u64) -> Option<impl ExactSizeIterator<Item = &E> + Clone> {
        let known = self.head.is_some_and(|head| after <= head) && after + 1 >= self.first();
        known.then(|| self.recent.range((after + 1 - self.first()) as usize..))
    }

    /// Forgets the entries before a `seq`: the log does not have them any more.
    pub fn forget_before(&mut self, floor: u64) {
        while let Some(oldest) = self.recent.pop_front_if(|oldest| oldest.seq() < floor) {
            self.recent_bytes -= oldest.bytes();
        }
    }

    /// The latest entries, oldest first: at most `limit`, and as many as fit into `max_bytes`. `None` if the log, which
    /// begins at `floor`, may have more of them than the tail remembers.
    pub fn latest(
        &self,
        limit: usize,
        max_bytes: usize,
        floor: u64,
    ) -> Option<impl ExactSizeIterator<Item = &E> + Clone> {
        self.head?;
        let (mut count, mut bytes) = (0, 0);
        for entry in self.recent.iter().rev().take(limit) {
            bytes += entry.bytes();
            if bytes > max_bytes {
                return Some(self.recent.range(self.recent.len() - count..));
            }
            count += 1;
        }
        let is_whole = count == limit || self.first() <= floor;
        is_whole.then(|| self.recent.range(self.recent.len() - count..))
    }

    /// The `seq` of the oldest entry that is remembered, or of the next entry if there is none.
    fn first(&self) -> u64 {
        self.head.unwrap_or_default() + 1 - self.recent.len() as u64
    }

    fn append(&mut self, entry: E) {
        self.head = Some(entry.seq());
        self.recent_bytes += entry.bytes();
        self.recent.push_back(entry);
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while self.recent.len() > MAX_RECENT || self.recent_bytes > MAX_RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Entry(u64, usize);

    impl Sequenced for Entry {
        fn seq(&self) -> u64 {
            self.0
        }

        fn bytes(&self) -> usize {
            self.1
        }
    }

    fn seqs<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<u64> {
        entries.map(|entry| entry.0).collect()
    }

    fn seeded(head: u64, first: u64) -> Tail<Entry> {
        let mut tail = Tail::default();
        tail.seed(head, &(first..=head).map(|seq| Entry(seq, 1)).collect::<Vec<_>>());
        tail
    }

    #[test]
    fn early_entry_is_held_until_the_gap_is_filled() {
        let mut tail = seeded(1, 1);
        assert_eq!((tail.receive(Entry(3, 1)), tail.gap()), (None, Some(Gap { after: 1 })));
        assert_eq!(tail.receive(Entry(2, 1)), Some(Entry(2, 1)));
        assert_eq!((tail.next_held(), tail.next_held()), (Some(Entry(3, 1)), None));
        assert_eq!((tail.receive(Entry(2, 1)), tail.gap(), tail.head()), (None, None, Some(3)));
    }

    #[test]
    fn held_entries_are_bounded_and_the_rest_stays_a_gap() {
        let mut tail = seeded(0, 1);
        let last = MAX_HELD as u64 + 10;
        (2..=last).for_each(|seq| assert_eq!(tail.receive(Entry(seq, 1)), None, "entry 1 is missing"));
        assert!(tail.receive(Entry(1, 1)).is_some());
        assert_eq!(std::iter::from_fn(|| tail.next_held()).count(), MAX_HELD);
        assert_eq!(tail.gap(), Some(Gap { after: MAX_HELD as u64 + 1 }), "{last} has been seen");
    }

    #[test]
    fn held_entries_are_bounded_in_bytes() {
        let mut tail = seeded(0, 1);
        for seq in 2..20 {
            tail.receive(Entry(seq, MAX_HELD_BYTES / 4));
            tail.receive(Entry(seq, MAX_HELD_BYTES / 4));
        }
        assert_eq!((tail.bytes(), tail.gap()), (MAX_HELD_BYTES, Some(Gap { after: 0 })));
        assert!(tail.receive(Entry(1, 1)).is_some());
        assert_eq!(std::iter::from_fn(|| tail.next_held()).count(), 4);
        assert_eq!(tail.gap(), Some(Gap { after: 5 }));
    }

    #[test]
    fn changed_entry_is_counted_with_its_new_size() {
        let mut tail = seeded(5, 4);
        tail.receive(Entry(7, 1));
        [3, 5, 6, 7].into_iter().for_each(|seq| tail.update(seq, |entry| entry.1 = 10));
        assert_eq!((tail.bytes(), tail.recent[1], tail.held[&7]), (21, Entry(5, 10), Entry(7, 10)));
        tail.update(5, |entry| entry.1 = MAX_RECENT_BYTES);
        assert_eq!((seqs(tail.since(4).unwrap()), tail.since(3).is_none()), (vec![5], true));
    }

    #[test]
    fn forgotten_entries_are_not_known_and_later_ones_are() {
        let mut tail = seeded(5, 1);
        tail.forget();
        assert_eq!((tail.bytes(), tail.head()), (0, Some(5)));
        assert!(tail.since(4).is_none() && tail.latest(1, 100, 1).is_none());
        assert_eq!(tail.since(5).unwrap().len(), 0);
        assert_eq!(tail.receive(Entry(6, 1)), Some(Entry(6, 1)));
        assert_eq!(seqs(tail.since(5).unwrap()), [6]);
    }

    #[test]
    fn unseeded_tail_knows_nothing_and_keeps_what_comes() {
        let mut tail = Tail::default();
        assert_eq!((tail.receive(Entry(5, 1)), tail.gap(), tail.head()), (None, None, None));
        assert!(tail.since(0).is_none() && tail.latest(1, 10, 1).is_none());
        tail.seed(4, &[Entry(3, 1), Entry(4, 1)]);
        assert_eq!((tail.head(), seqs(tail.since(2).unwrap())), (Some(5), vec![3, 4, 5]));
        assert!(tail.since(1).is_none());
    }

    #[test]
    fn older_read_extends_the_tail_backwards() {
        let mut tail = seeded(10, 9);
        tail.seed(10, &(5..=10).map(|seq| Entry(seq, 1)).collect::<Vec<_>>());
        assert_eq!(seqs(tail.since(4).unwrap()), [5, 6, 7, 8, 9, 10]);
        tail.seed(3, &[Entry(2, 1), Entry(3, 1)]);
        assert!(tail.since(2).is_none(), "the read does not connect");
    }

    #[test]
    fn latest_is_bounded_by_count_and_bytes_and_needs_enough() {
        let mut tail = seeded(5, 4);
        assert!(tail.latest(3, 100, 1).is_none(), "an older entry may be in the log");
        assert_eq!(seqs(tail.latest(2, 100, 1).unwrap()), [4, 5]);
        tail.receive(Entry(6, 50));
        assert_eq!(seqs(tail.latest(9, 51, 1).unwrap()), [5, 6]);
        assert_eq!(seqs(seeded(2, 1).latest(9, 100, 1).unwrap()), [1, 2]);
        assert_eq!(seeded(0, 1).latest(9, 100, 1).unwrap().len(), 0);
    }

    proptest! {
        /// In whatever order entries come, and however often, each is delivered once and in order; what is remembered
        /// is bounded and ends at the head.
        #[test]
        fn entries_are_delivered_once_and_in_order(
            start in 0..300_u64,
            comes in prop::collection::vec((1..60_u64, 0..20_000_usize), 1..400),
        ) {
            let mut tail = seeded(start, start.saturating_sub(40) + 1);
            let (mut head, mut came) = (start, std::collections::BTreeSet::new());
            for (offset, bytes) in comes {
                let seq = start + offset;
                came.insert(seq);
                let first = tail.receive(Entry(seq, bytes));
                let rest = std::iter::from_fn(|| tail.next_held()).collect::<Vec<_>>();
                for entry in first.into_iter().chain(rest) {
                    head += 1;
                    prop_assert_eq!(entry.0, head);
                }
                prop_assert!(!came.contains(&(head + 1)), "what can be delivered is");
                prop_assert_eq!(tail.head(), Some(head));
                prop_assert_eq!(tail.gap().is_some(), came.last().is_some_and(|last| *last > head));
                prop_assert!(tail.recent.len() <= MAX_RECENT && tail.recent_bytes <= MAX_RECENT_BYTES);
                prop_assert_eq!(tail.recent_bytes, tail.recent.iter().map(Sequenced::bytes).sum::<usize>());
                let reach = head - tail.recent.len() as u64;
                prop_assert_eq!(seqs(tail.since(reach).unwrap()), (reach + 1..=head).collect::<Vec<_>>());
                prop_assert_eq!(tail.since(reach.wrapping_sub(1)).is_some(), false);
            }
        }
    }
}
