//! The unread messages that mention users. Pure.

use std::collections::BTreeSet;

use super::MyRooms;
use crate::protocol::{MAX_UNREAD, UserId};
use crate::server::id::RoomId;

/// The mentions that are kept while lists are being read.
const MOST_MENTIONS: usize = 100_000;

/// A message that mentions a user, or does not any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mention {
    user: UserId,
    room: RoomId,
    seq: u64,
    is_added: bool,
}

impl<O: Clone> MyRooms<O> {
    /// A message of a room mentions a user (`is_added`), or does not any more. Of a room with [`MAX_UNREAD`] of them, further
    /// ones are known when the list is read again.
    pub fn mentioned(&mut self, user: UserId, room: RoomId, seq: u64, is_added: bool) {
        if self.loading > 0 && self.mentioned_while_loading.len() < MOST_MENTIONS {
            self.mentioned_while_loading.push(Mention { user, room, seq, is_added });
        }
        let Some(owner) = self.users.get_mut(&user) else { return };
        let is_elsewhere = owner.watchers.iter().any(|watcher| !watcher.seats.contains(&room));
        let Some(entry) = owner.rooms.get_mut(&room).filter(|entry| seq > entry.read) else { return };
        let has_changed = match is_added {
            true => (entry.mentions.len() as u64) < MAX_UNREAD && entry.mentions.insert(seq),
            false => entry.mentions.remove(&seq),
        };
        // A watcher that is in the room has the message, and is told when it leaves.
        if has_changed && is_elsewhere {
            self.changed(user, room);
        }
    }

    /// Adds what has happened while the list of a user was being read.
    pub(super) fn add_mentions_while_loading(&self, user: UserId, room: RoomId, mentions: &mut BTreeSet<u64>) {
        let is_of_room = |mention: &&Mention| mention.user == user && mention.room == room;
        for Mention { seq, is_added, .. } in self.mentioned_while_loading.iter().filter(is_of_room) {
            if *is_added {
                mentions.insert(*seq)
            } else {
                mentions.remove(seq)
            };
        }
    }
}
