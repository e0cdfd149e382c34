//! The latest changes of a room's messages. Pure.
//!
//! Changes come from the store after their commit, in the order of their revisions. With the latest ones, most
//! connections that resume need no database read, and a read that is older than they are is brought up to date.
//!
//! Until [`RecentChanges::seed`] or the first change, the room's revision is not known.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::MessageChange;
use crate::server::history::encoded_change_bytes;

/// The number of changes that are remembered.
pub const MAX_RECENT_CHANGES: usize = 100;
/// The size of all of them together, in bytes.
pub const MAX_RECENT_CHANGE_BYTES: usize = 128 * 1024;

/// The latest changes of one room.
#[derive(Clone, Debug, Default)]
pub struct RecentChanges {
    /// The revision of the last change that has come; 0 if the room has none. `None` until it is known.
    rev: Option<u64>,
    /// Consecutive changes that end at `rev`.
    changes: VecDeque<Arc<MessageChange>>,
    bytes: usize,
}

/// The relation of a change to those that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is known: a read of the store was ahead of it.
    Known,
    /// It is the next one, or the first.
    Next,
    /// Others are missing before it. Clients see the gap and enter again.
    AfterGap,
}

impl RecentChanges {
    /// The revision of the last change that has come.
    pub fn rev(&self) -> Option<u64> {
        self.rev
    }

    /// Learns the room's revision from a read of the store, if it is not known.
    pub fn seed(&mut self, rev: u64) {
        self.rev.get_or_insert(rev);
    }

    /// Takes a change. The texts that it replaces are forgotten.
    pub fn receive(&mut self, change: Arc<MessageChange>) -> Arrival {
        let rev = change.state.rev;
        match self.rev {
            Some(known) if rev <= known => return Arrival::Known,
            Some(known) if rev == known + 1 => {}
            Some(_) | None => self.forget(),
        }
        let arrival = if self.rev.is_some_and(|known| rev > known + 1) { Arrival::AfterGap } else { Arrival::Next };
        self.rev = Some(rev);
        if change.text.is_some() || change.state.deleted_at.is_some() {
            for earlier in self.changes.iter_mut().filter(|earlier| earlier.seq == change.seq && earlier.text.is_some())
            {
                self.bytes -= encoded_change_bytes(earlier);
                Arc::make_mut(earlier).text = None;
                self.bytes += encoded_change_bytes(earlier);
            }
        }
        self.bytes += encoded_change_bytes(&change);
        self.changes.push_back(change);
        while self.changes.len() > MAX_RECENT_CHANGES || self.bytes > MAX_RECENT_CHANGE_BYTES {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= encoded_change_bytes(&oldest);
        }
        arrival
    }

    /// The changes after a revision. `None` if the room's revision is not known, or older changes are needed.
    pub fn since(&self, rev: u64) -> Option<impl ExactSizeIterator<Item = &Arc<MessageChange>> + Clone> {
        let missed = self.rev?.saturating_sub(rev);
        let known = self.changes.len() as u64;
        (missed <= known).then(|| self.changes.range((known - missed) as usize..))
    }

    /// The size of all changes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the changes, but not the revision.
    pub fn forget(&mut self) {
        (self.changes, self.bytes) = (VecDeque::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{MessageState, RoomId};

    /// A change of a message of its own.
    fn change(rev: u64, text: usize) -> Arc<MessageChange> {
        change_of(rev, rev, text)
    }

    fn change_of(seq: u64, rev: u64, text: usize) -> Arc<MessageChange> {
        let state = MessageState { rev, edits: 1, edited_at: Some(1), ..MessageState::default() };
        Arc::new(MessageChange { room: RoomId(1), seq, text: Some("x".repeat(text)), mentions: None, state })
    }

    fn revs(changes: &RecentChanges, rev: u64) -> Option<Vec<u64>> {
        Some(changes.since(rev)?.map(|change| change.state.rev).collect())
    }

    #[test]
    fn revision_is_unknown_until_it_is_read_or_a_change_comes() {
        let mut read = RecentChanges::default();
        assert_eq!((read.rev(), revs(&read, 0)), (None, None));
        read.seed(7);
        read.seed(9);
        assert_eq!((read.rev(), revs(&read, 7), revs(&read, 6)), (Some(7), Some(vec![]), None));
        let mut told = RecentChanges::default();
        assert_eq!(told.receive(change(5, 1)), Arrival::Next);
        assert_eq!((revs(&told, 4), revs(&told, 3)), (Some(vec![5]), None));
    }

    #[test]
    fn change_that_a_read_was_ahead_of_is_known() {
        let mut changes = RecentChanges::default();
        changes.seed(2);
        assert_eq!([2, 3].map(|rev| changes.receive(change(rev, 1))), [Arrival::Known, Arrival::Next]);
        assert_eq!((revs(&changes, 2), revs(&changes, 9)), (Some(vec![3]), Some(vec![])));
    }

    #[test]
    fn gap_forgets_what_was_before() {
        let mut changes = RecentChanges::default();
        changes.seed(0);
        assert_eq!([1, 3].map(|rev| changes.receive(change(rev, 1))), [Arrival::Next, Arrival::AfterGap]);
        assert_eq!((revs(&changes, 2), revs(&changes, 1)), (Some(vec![3]), None));
    }

    #[test]
    fn replaced_and_deleted_texts_are_forgotten() {
        let mut changes = RecentChanges::default();
        [(1, 1), (2, 2), (1, 3)].into_iter().for_each(|(seq, rev)| {
            changes.receive(change_of(seq, rev, 100));
        });
        let mut deleted = Arc::unwrap_or_clone(change_of(2, 4, 0));
        (deleted.text, deleted.state.deleted_at) = (None, Some(1));
        changes.receive(Arc::new(deleted));
        let texts: Vec<_> = changes.since(0).unwrap().map(|change| change.text.is_some()).collect();
        assert_eq!(texts, [false, false, true, false]);
        let bytes = changes.since(0).unwrap().map(|change| encoded_change_bytes(change)).sum::<usize>();
        assert_eq!(changes.bytes(), bytes);
    }

    #[test]
    fn changes_are_bounded_in_number_and_bytes() {
        let mut changes = RecentChanges::default();
        (1..=300).for_each(|rev| {
            changes.receive(change(rev, 1));
        });
        assert_eq!((revs(&changes, 200).unwrap().len(), revs(&changes, 199)), (MAX_RECENT_CHANGES, None));
        (301..=400).for_each(|rev| {
            changes.receive(change(rev, MAX_RECENT_CHANGE_BYTES / 10));
        });
        assert!(changes.bytes() <= MAX_RECENT_CHANGE_BYTES && revs(&changes, 395).unwrap().len() == 5);
        changes.forget();
        assert_eq!((changes.bytes(), changes.rev(), revs(&changes, 399)), (0, Some(400), None));
    }
}
