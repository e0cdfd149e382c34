//! The list of rooms with people in them, and its watchers. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::protocol::{MAX_LISTED_ROOMS, RoomCount, RoomList, RoomUpdate};
use crate::server::id::{ConnId, RoomId};

/// All rooms with people in them, of all shards.
#[derive(Debug)]
pub struct Lobby<O> {
    rooms: HashMap<RoomId, Entry>,
    /// The rooms in the order of the list: largest first, then by name.
    order: BTreeSet<(Reverse<u64>, Arc<str>, RoomId)>,
    watchers: BTreeMap<ConnId, Watcher<O>>,
    /// The list at the last [`Lobby::take_change`].
    sent: RoomList,
    changed: bool,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    count: u64,
    call: u64,
}

#[derive(Debug)]
struct Watcher<O> {
    outbox: O,
    /// It began to watch after the last [`Lobby::take_change`], so that its list may differ from the one before.
    is_new: bool,
}

/// A change of the list, and its receivers.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<O> {
    /// The new list.
    pub list: RoomList,
    /// The watchers that receive the list.
    pub lists_to: Vec<O>,
    /// The difference from the list before.
    pub update: RoomUpdate,
    /// The watchers that receive the difference.
    pub updates_to: Vec<O>,
}

impl<O> Default for Lobby<O> {
    fn default() -> Self {
        Self {
            rooms: HashMap::new(),
            order: BTreeSet::new(),
            watchers: BTreeMap::new(),
            sent: RoomList { rooms: Vec::new() },
            changed: false,
        }
    }
}

impl<O: Clone> Lobby<O> {
    /// Sets the number of people in a room. 0 removes it.
    pub fn count(&mut self, room: RoomId, name: Arc<str>, count: u64) {
        let before = self.rooms.remove(&room);
        if let Some(before) = &before {
            self.order.remove(&(Reverse(before.count), before.name.clone(), room));
        }
        if count > 0 {
            self.order.insert((Reverse(count), name.clone(), room));
            self.rooms.insert(room, Entry { name, count, call: before.map_or(0, |before| before.call) });
        }
        self.changed = true;
    }

    /// Sets the number of peers in a room's call.
    pub fn call(&mut self, room: RoomId, count: u64) {
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.call = count;
            self.changed = true;
        }
    }

    /// The list: largest rooms first, then by name.
    pub fn list(&self) -> RoomList {
        let entries = self.order.iter().filter_map(|(.., id)| Some((id, self.rooms.get(id)?)));
        let listed = |(id, entry): (&RoomId, &Entry)| RoomCount {
            room: *id,
            name: entry.name.to_string(),
            count: entry.count,
            call: (entry.call > 0).then_some(entry.call),
        };
        RoomList { rooms: entries.take(MAX_LISTED_ROOMS).map(listed).collect() }
    }

    /// Adds a watcher, who is sent every change from now on. Returns the list.
    pub fn watch(&mut self, conn: ConnId, outbox: O) -> RoomList {
        self.watchers.insert(conn, Watcher { outbox, is_new: self.changed });
        self.list()
    }

    /// Ends [`Lobby::watch`].
    pub fn unwatch(&mut self, conn: ConnId) {
        self.watchers.remove(&conn);
    }

    /// The change of the list since the last call, if there is one. The lobby is debounced by its caller.
    pub fn take_change(&mut self) -> Option<Change<O>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let list = self.list();
        let update = difference(&self.sent, &list);
        self.sent.clone_from(&list);
        let (mut lists_to, mut updates_to) = (Vec::new(), Vec::new());
        for watcher in self.watchers.values_mut() {
            let receivers = if std::mem::take(&mut watcher.is_new) { &mut lists_to } else { &mut updates_to };
            receivers.push(watcher.outbox.clone());
        }
        // A room below the end of the list has changed, or one is as it was before.
        if update.rooms.is_empty() && update.removed.is_empty() {
            updates_to.clear();
        }
        (!lists_to.is_empty() || !updates_to.is_empty()).then_some(Change { list, lists_to, update, updates_to })
    }
}

fn difference(old: &RoomList, new: &RoomList) -> RoomUpdate {
    let was: HashMap<_, _> = old.rooms.iter().map(|room| (room.room, room)).collect();
    let is: HashSet<_> = new.rooms.iter().map(|room| room.room).collect();
    let rooms = new.rooms.iter().filter(|room| was.get(&room.room) != Some(room)).cloned().collect();
    let removed = old.rooms.iter().map(|room| room.room).filter(|id| !is.contains(id)).collect();
    RoomUpdate { rooms, removed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lobby(counts: &[(u64, &str, u64)]) -> Lobby<u8> {
        let mut lobby = Lobby::default();
        for (id, name, count) in counts {
            lobby.count(RoomId(*id), Arc::from(*name), *count);
        }
        lobby
    }

    #[test]
    fn list_has_largest_room_first_and_no_empty_one() {
        let lobby = lobby(&[(1, "b", 1), (2, "big", 9), (3, "a", 1), (4, "left", 2), (4, "left", 0)]);
        let names: Vec<_> = lobby.list().rooms.into_iter().map(|room| room.name).collect();
        assert_eq!(names, ["big", "a", "b"]);
    }

    #[test]
    fn call_is_listed_until_it_ends() {
        let mut lobby = lobby(&[(1, "a", 2)]);
        lobby.watch(ConnId(1), 7);
        lobby.take_change();
        for (count, listed) in [(1, Some(1)), (2, Some(2)), (0, None)] {
            lobby.call(RoomId(1), count);
            assert_eq!(lobby.take_change().unwrap().list.rooms[0].call, listed);
        }
        lobby.call(RoomId(9), 1);
        assert_eq!(lobby.take_change(), None, "an empty room has no call");
    }

    #[test]
    fn many_changes_reach_watchers_once() {
        let mut lobby = lobby(&[(1, "a", 1)]);
        lobby.watch(ConnId(1), 7);
        lobby.count(RoomId(1), Arc::from("a"), 2);
        let change = lobby.take_change().unwrap();
        assert_eq!((change.list.rooms[0].count, change.lists_to), (2, vec![7]));
        assert_eq!(lobby.take_change(), None);
        lobby.unwatch(ConnId(1));
        lobby.count(RoomId(1), Arc::from("a"), 3);
        assert_eq!(lobby.take_change(), None);
    }

    #[test]
    fn list_is_bounded() {
        let mut lobby = Lobby::<u8>::default();
        for id in 0..=MAX_LISTED_ROOMS {
            lobby.count(RoomId(id as u64), Arc::from(format!("{id}")), 1);
        }
        assert_eq!(lobby.list().rooms.len(), MAX_LISTED_ROOMS);
    }

    /// Changes at random, and a watcher that applies the differences: its list is always the whole list.
    #[test]
    fn differences_lead_to_the_list() {
        let mut random = 7_u64;
        let mut below = |end: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % end
        };
        let mut lobby = Lobby::<u64>::default();
        let mut seen: BTreeMap<u64, Vec<RoomCount>> = BTreeMap::new();
        let (mut listed, mut updated) = (0, 0);
        for _ in 0..1_000 {
            for _ in 0..below(4) {
                let id = below(MAX_LISTED_ROOMS as u64 * 3 / 2);
                lobby.count(RoomId(id), Arc::from(format!("room {id}")), below(3));
                lobby.call(RoomId(id), below(2));
            }
            if below(4) == 0 {
                let watcher = below(3);
                seen.insert(watcher, lobby.watch(ConnId(watcher), watcher).rooms);
            }
            if below(2) == 0 {
                continue;
            }
            let Some(change) = lobby.take_change() else { continue };
            for watcher in change.lists_to {
                listed += 1;
                seen.insert(watcher, change.list.rooms.clone());
            }
            for watcher in change.updates_to {
                updated += 1;
                change.update.apply(seen.get_mut(&watcher).unwrap());
            }
            assert!(seen.values().all(|rooms| *rooms == lobby.list().rooms));
        }
        assert!(listed > 50 && updated > 100, "{listed} lists, {updated} differences");
    }
}
