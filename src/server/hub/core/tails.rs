//! The memory of all tails together: those of the rooms that were used least recently are forgotten.

use super::Core;
use crate::server::id::RoomId;

/// The memory that the tails of all rooms hold.
#[derive(Debug)]
pub(super) struct Tails {
    limit: usize,
    bytes: usize,
    /// Counts the uses of tails.
    uses: u64,
}

/// The use of one tail.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TailUse {
    /// Its size, as it is counted in [`Tails`].
    bytes: usize,
    /// Orders tails by their last use.
    used_at: u64,
}

impl Tails {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, uses: 0 }
    }

    /// The room has left memory.
    pub(super) fn remove(&mut self, tail: &TailUse) {
        self.bytes -= tail.bytes;
    }
}

impl<O> Core<O> {
    /// The size of all tails, in bytes.
    pub fn tail_bytes(&self) -> usize {
        self.tails.bytes
    }

    /// Counts the tail of a room after its use. Forgets the tails that were not used for longest if there is too much
    /// in memory: the store has it all.
    pub(super) fn used_tail(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        self.tails.uses += 1;
        let tail = TailUse { bytes: room.tail_bytes(), used_at: self.tails.uses };
        self.tails.bytes = self.tails.bytes - room.tail_use.bytes + tail.bytes;
        room.tail_use = tail;
        if self.tails.bytes > self.tails.limit {
            self.forget_tails();
        }
    }

    /// Forgets tails until half of the memory is free, so that this is rare.
    fn forget_tails(&mut self) {
        let filled = self.rooms.iter().filter(|(_, room)| room.tail_use.bytes > 0);
        let mut by_use: Vec<_> = filled.map(|(id, room)| (room.tail_use.used_at, *id)).collect();
        by_use.sort_unstable_by_key(|(used_at, _)| *used_at);
        for (_, id) in by_use {
            if self.tails.bytes <= self.tails.limit / 2 {
                break;
            }
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            room.forget_tail();
            self.tails.bytes = self.tails.bytes - room.tail_use.bytes + room.tail_bytes();
            room.tail_use.bytes = room.tail_bytes();
        }
    }
}
