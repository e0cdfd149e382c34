//! The list of rooms with people in them, and who watches it. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::core::{ConnId, RoomId};
use crate::protocol::{MAX_LISTED_ROOMS, RoomCount, RoomList};

/// All rooms with people in them, whichever shard they are on.
#[derive(Debug)]
pub struct Lobby<L> {
    rooms: HashMap<RoomId, Entry>,
    watchers: HashMap<ConnId, L>,
    changed: bool,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    count: u64,
    call: u64,
}

impl<L> Default for Lobby<L> {
    fn default() -> Self {
        Self { rooms: HashMap::new(), watchers: HashMap::new(), changed: false }
    }
}

impl<L: Clone> Lobby<L> {
    /// Notes how many people are in a room.
    pub fn count(&mut self, room: RoomId, name: Arc<str>, count: u64) {
        if count == 0 {
            self.rooms.remove(&room);
        } else {
            self.rooms.entry(room).or_insert(Entry { name, count, call: 0 }).count = count;
        }
        self.changed = true;
    }

    /// Notes how many people are in a room's call.
    pub fn call(&mut self, room: RoomId, count: u64) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.call = count;
            self.changed = true;
        }
    }

    /// The list: largest first, then by name.
    pub fn list(&self) -> RoomList {
        let mut rooms: Vec<_> = self.rooms.values().collect();
        rooms.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        rooms.truncate(MAX_LISTED_ROOMS);
        let listed = |entry: &Entry| RoomCount {
            name: entry.name.to_string(),
            count: entry.count,
            call: (entry.call > 0).then_some(entry.call),
        };
        RoomList { rooms: rooms.into_iter().map(listed).collect() }
    }

    /// Tells a connection about changes from now on.
    pub fn watch(&mut self, conn: ConnId, link: L) {
        self.watchers.insert(conn, link);
    }

    /// Ends [`Lobby::watch`].
    pub fn unwatch(&mut self, conn: ConnId) {
        self.watchers.remove(&conn);
    }

    /// The list and whom to tell, if it changed since this was last asked.
    pub fn take_change(&mut self) -> Option<(RoomList, Vec<L>)> {
        let changed = std::mem::take(&mut self.changed);
        (changed && !self.watchers.is_empty()).then(|| (self.list(), self.watchers.values().cloned().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lobby(counts: &[(i64, &str, u64)]) -> Lobby<u8> {
        let mut lobby = Lobby::default();
        for (id, name, count) in counts {
            lobby.count(RoomId(*id), Arc::from(*name), *count);
        }
        lobby
    }

    #[test]
    fn the_list_has_the_largest_room_first_and_no_empty_one() {
        let lobby = lobby(&[(1, "b", 1), (2, "big", 9), (3, "a", 1), (4, "left", 2), (4, "left", 0)]);
        let names: Vec<_> = lobby.list().rooms.into_iter().map(|room| room.name).collect();
        assert_eq!(names, ["big", "a", "b"]);
    }

    #[test]
    fn a_call_is_listed_until_it_ends() {
        let mut lobby = lobby(&[(1, "a", 2)]);
        lobby.watch(ConnId(1), 7);
        lobby.take_change();
        for (count, listed) in [(1, Some(1)), (2, Some(2)), (0, None)] {
            lobby.call(RoomId(1), count);
            assert_eq!(lobby.take_change().unwrap().0.rooms[0].call, listed);
        }
        lobby.call(RoomId(9), 1);
        assert_eq!(lobby.take_change(), None, "a room that nobody is in has no call");
    }

    #[test]
    fn watchers_hear_once_of_many_changes() {
        let mut lobby = lobby(&[(1, "a", 1)]);
        lobby.watch(ConnId(1), 7);
        lobby.count(RoomId(1), Arc::from("a"), 2);
        let (list, watchers) = lobby.take_change().unwrap();
        assert_eq!((list.rooms[0].count, watchers), (2, vec![7]));
        assert_eq!(lobby.take_change(), None);
        lobby.unwatch(ConnId(1));
        lobby.count(RoomId(1), Arc::from("a"), 3);
        assert_eq!(lobby.take_change(), None);
    }

    #[test]
    fn the_list_is_bounded() {
        let mut lobby = Lobby::<u8>::default();
        for id in 0..=MAX_LISTED_ROOMS {
            lobby.count(RoomId(id as i64), Arc::from(format!("{id}")), 1);
        }
        assert_eq!(lobby.list().rooms.len(), MAX_LISTED_ROOMS);
    }
}
