//! The lists of users' own rooms, and what they have read in them. Pure.
//!
//! In memory are the lists of the users who watch theirs, and the marks of all users that are not stored yet. Watchers are
//! told at intervals, and each time only a bounded number of them: in a crowd the lists are late, and nothing else is.

mod marks;
mod mentions;
#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::take;
use std::sync::Arc;

use crate::protocol::{MAX_MY_ROOMS, MAX_UNREAD, MyRoom, MyRoomsUpdate, UserId};
use crate::server::id::{ConnId, RoomId, RoomRow};
use crate::server::membership::{self, MarkChange, Membership};
use mentions::Mention;

/// The users that one [`MyRooms::take_updates`] looks at because of new messages, unless a room has more.
const VISITS: usize = 2_000;
/// The users that it tells something.
const UPDATES: usize = 100;

/// The lists of all users who watch theirs.
#[derive(Debug)]
pub struct MyRooms<O> {
    users: BTreeMap<UserId, Owner<O>>,
    /// The rooms in these lists.
    rooms: BTreeMap<RoomId, Listed>,
    /// The rooms with new messages that nobody was told of.
    grown: VecDeque<RoomId>,
    /// The users who have to be told something.
    waiting: VecDeque<UserId>,
    /// The lists that are being read from the store.
    loading: usize,
    /// The rooms that have grown meanwhile.
    grown_while_loading: BTreeMap<RoomId, u64>,
    /// The mentions that were added or removed meanwhile.
    mentioned_while_loading: Vec<Mention>,
    /// The rooms in which messages have expired meanwhile: the first `seq` that is kept.
    expired_while_loading: BTreeMap<RoomId, u64>,
    unsaved: BTreeMap<(UserId, RoomId), Unsaved>,
    /// The marks that are being stored, oldest first in each room.
    saving: Vec<(UserId, RoomId, Unsaved)>,
}

/// A mark that is not stored yet.
#[derive(Clone, Debug)]
struct Unsaved {
    change: MarkChange,
    room: RoomRow,
}

/// A user with a list.
#[derive(Debug)]
struct Owner<O> {
    rooms: BTreeMap<RoomId, Progress>,
    watchers: Vec<Watcher<O>>,
    /// The rooms that the watchers have to be told of.
    changed: BTreeSet<RoomId>,
    /// The rooms that are no longer in the list.
    removed: BTreeSet<RoomId>,
    is_waiting: bool,
}

#[derive(Clone, Debug)]
struct Progress {
    read: u64,
    /// The messages after that which mention the user, the first ones.
    mentions: BTreeSet<u64>,
    /// The last message that the watchers were told of.
    told: u64,
}

/// A connection that watches the list.
#[derive(Debug)]
struct Watcher<O> {
    conn: ConnId,
    outbox: O,
    /// The rooms that it is in, whose messages it receives.
    seats: BTreeSet<RoomId>,
}

/// A room in the list of a user.
#[derive(Debug)]
struct Listed {
    name: Arc<str>,
    head: u64,
    users: BTreeSet<UserId>,
    has_grown: bool,
}

/// A change of a list, and its receivers.
#[derive(Debug, PartialEq)]
pub struct Update<O> {
    /// The watchers of the list.
    pub to: Vec<O>,
    /// The change.
    pub update: MyRoomsUpdate,
}

impl<O> Default for MyRooms<O> {
    fn default() -> Self {
        Self {
            users: BTreeMap::new(),
            rooms: BTreeMap::new(),
            grown: VecDeque::new(),
            waiting: VecDeque::new(),
            loading: 0,
            grown_while_loading: BTreeMap::new(),
            mentioned_while_loading: Vec::new(),
            expired_while_loading: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            saving: Vec::new(),
        }
    }
}

impl<O> Default for Owner<O> {
    fn default() -> Self {
        Self {
            rooms: BTreeMap::new(),
            watchers: Vec::new(),
            changed: BTreeSet::new(),
            removed: BTreeSet::new(),
            is_waiting: false,
        }
    }
}

impl<O: Clone> MyRooms<O> {
    /// The list of a user, if it is in memory.
    pub fn list(&self, user: UserId) -> Option<Vec<MyRoom>> {
        let owner = self.users.get(&user)?;
        let shown = |(id, entry): (&RoomId, &Progress)| Some(self.rooms.get(id)?.shown(*id, entry));
        let mut rooms: Vec<_> = owner.rooms.iter().filter_map(shown).collect();
        rooms.sort_unstable_by(MyRoom::order);
        Some(rooms)
    }

    /// A list is going to be read from the store. [`MyRooms::end_loading`] must follow.
    pub fn begin_loading(&mut self) {
        self.loading += 1;
    }

    /// The list was read, unless it has come into memory meanwhile.
    pub fn loaded(&mut self, user: UserId, memberships: Vec<Membership>) {
        if let Entry::Vacant(vacant) = self.users.entry(user) {
            vacant.insert(Owner::default());
            for Membership { room, head, read, mentions } in self.with_unsaved(user, memberships) {
                self.list_room(user, &room, head, read, mentions);
            }
        }
    }

    /// The list as it will be when the marks of the user are stored.
    pub fn with_unsaved(&self, user: UserId, mut memberships: Vec<Membership>) -> Vec<Membership> {
        for (id, Unsaved { change, room }) in self.unsaved_of(user) {
            let known = memberships.iter_mut().find(|membership| membership.room.id == id);
            match (*change, known) {
                (MarkChange::Read(read) | MarkChange::Join(read), Some(known)) => known.read = known.read.max(read),
                (MarkChange::Join(read), None) => {
                    memberships.push(Membership { room: room.clone(), head: read, read, mentions: BTreeSet::new() });
                }
                (MarkChange::Read(_), None) => {}
                (MarkChange::Leave, _) => memberships.retain(|membership| membership.room.id != id),
            }
        }
        for Membership { room, head, read, mentions } in &mut memberships {
            self.add_mentions_while_loading(user, room.id, mentions);
            let floor = self.expired_while_loading.get(&room.id).copied().unwrap_or_default();
            *read = floor.saturating_sub(1).max(*read);
            mentions.retain(|seq| *seq > *read);
            let grown = self.grown_while_loading.get(&room.id).copied().unwrap_or_default();
            let listed = self.rooms.get(&room.id).map_or(0, |listed| listed.head);
            *head = grown.max(listed).max(*head);
        }
        memberships.truncate(MAX_MY_ROOMS);
        memberships
    }

    /// The end of [`MyRooms::begin_loading`], whatever came of it.
    pub fn end_loading(&mut self) {
        self.loading -= 1;
        if self.loading == 0 {
            self.grown_while_loading.clear();
            self.mentioned_while_loading.clear();
            self.expired_while_loading.clear();
        }
    }

    fn list_room(&mut self, user: UserId, room: &RoomRow, head: u64, read: u64, mentions: BTreeSet<u64>) {
        let Some(owner) = self.users.get_mut(&user) else { return };
        let listed = self.rooms.entry(room.id).or_insert_with(|| Listed {
            name: room.name.clone(),
            head,
            users: BTreeSet::new(),
            has_grown: false,
        });
        listed.head = listed.head.max(head);
        listed.users.insert(user);
        owner.removed.remove(&room.id);
        owner.rooms.insert(room.id, Progress { read, mentions, told: listed.head });
    }

    /// Adds a watcher of a list in memory. `seats`: the rooms that it is in. Returns false if the list is not in memory.
    pub fn watch(&mut self, user: UserId, conn: ConnId, outbox: O, seats: impl Iterator<Item = RoomId>) -> bool {
        let Some(owner) = self.users.get_mut(&user) else { return false };
        owner.watchers.retain(|watcher| watcher.conn != conn);
        owner.watchers.push(Watcher { conn, outbox, seats: seats.collect() });
        true
    }

    /// Ends [`MyRooms::watch`].
    pub fn unwatch(&mut self, user: UserId, conn: ConnId) {
        if let Some(owner) = self.users.get_mut(&user) {
            owner.watchers.retain(|watcher| watcher.conn != conn);
            self.forget_unless_needed(user);
        }
    }

    /// Returns whether there are marks of a user that are not stored yet.
    pub fn has_unsaved(&self, user: UserId) -> bool {
        self.unsaved_of(user).next().is_some()
    }

    /// These marks, oldest first in each room.
    fn unsaved_of(&self, user: UserId) -> impl Iterator<Item = (RoomId, &Unsaved)> {
        let all = (user, RoomId(0))..=(user, RoomId(u64::MAX));
        let later = self.unsaved.range(all).map(|((_, room), unsaved)| (*room, unsaved));
        let saving = self.saving.iter().filter(move |(of, ..)| *of == user);
        saving.map(|(_, room, unsaved)| (*room, unsaved)).chain(later)
    }

    /// A list that nobody watches is needed until its marks are stored: it is read from the store the next time.
    fn forget_unless_needed(&mut self, user: UserId) {
        if self.has_unsaved(user) || self.users.get(&user).is_none_or(|owner| !owner.watchers.is_empty()) {
            return;
        }
        for room in self.users.remove(&user).into_iter().flat_map(|owner| owner.rooms.into_keys()) {
            self.unlist(user, room);
        }
    }

    fn unlist(&mut self, user: UserId, room: RoomId) {
        if let Some(listed) = self.rooms.get_mut(&room) {
            listed.users.remove(&user);
            if listed.users.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    /// A connection has entered a room.
    pub fn entered(&mut self, user: UserId, conn: ConnId, room: RoomId) {
        let watchers = self.users.get_mut(&user).into_iter().flat_map(|owner| &mut owner.watchers);
        watchers.filter(|watcher| watcher.conn == conn).for_each(|watcher| {
            watcher.seats.insert(room);
        });
    }

    /// A connection has left a room.
    pub fn left(&mut self, user: UserId, conn: ConnId, room: RoomId) {
        let Some(owner) = self.users.get_mut(&user) else { return };
        owner.watchers.iter_mut().filter(|watcher| watcher.conn == conn).for_each(|watcher| {
            watcher.seats.remove(&room);
        });
        // It has not been told of the messages since it entered.
        self.changed(user, room);
    }

    /// The message `head` of a room was stored.
    pub fn committed(&mut self, room: RoomId, head: u64) {
        if self.loading > 0 {
            let grown = self.grown_while_loading.entry(room).or_default();
            *grown = head.max(*grown);
        }
        if let Some(listed) = self.rooms.get_mut(&room) {
            listed.head = listed.head.max(head);
            if !std::mem::replace(&mut listed.has_grown, true) {
                self.grown.push_back(room);
            }
        }
    }

    /// The messages of a room before `floor` have expired: they count as read.
    pub fn expired(&mut self, room: RoomId, floor: u64) {
        if self.loading > 0 {
            self.expired_while_loading.insert(room, floor);
        }
        let users = self.rooms.get(&room).map(|listed| listed.users.clone()).unwrap_or_default();
        for user in users {
            let entry = self.users.get_mut(&user).and_then(|owner| owner.rooms.get_mut(&room));
            if let Some(entry) = entry.filter(|entry| entry.read + 1 < floor) {
                entry.read = floor - 1;
                entry.mentions.retain(|mention| *mention > entry.read);
                self.changed(user, room);
            }
        }
    }

    /// A user has taken part in a room, whose last message is `head`: the room is theirs, and read up to there. Whether the
    /// list of the user is in memory or not.
    pub fn took_part(&mut self, user: UserId, room: &RoomRow, head: u64) {
        let Some(owner) = self.users.get(&user) else { return self.note(user, room, MarkChange::Join(head)) };
        if owner.rooms.contains_key(&room.id) {
            self.rooms.entry(room.id).and_modify(|listed| listed.head = listed.head.max(head));
            self.read(user, room, head);
        } else if owner.rooms.len() < MAX_MY_ROOMS {
            self.list_room(user, room, head, head, BTreeSet::new());
            self.note(user, room, MarkChange::Join(head));
            self.changed(user, room.id);
        }
    }

    /// A user has read a room up to the message `seq`. Without effect in a room that is not in the user's list.
    pub fn read(&mut self, user: UserId, room: &RoomRow, seq: u64) {
        let Some(owner) = self.users.get_mut(&user) else { return self.note(user, room, MarkChange::Read(seq)) };
        let head = self.rooms.get(&room.id).map_or(0, |listed| listed.head);
        if let Some(entry) = owner.rooms.get_mut(&room.id).filter(|entry| entry.read < seq.min(head)) {
            entry.read = seq.min(head);
            entry.mentions.retain(|mention| *mention > entry.read);
            self.note(user, room, MarkChange::Read(seq.min(head)));
            self.changed(user, room.id);
        }
    }

    /// A room was removed from the stored list of a user.
    pub fn removed(&mut self, user: UserId, room: &RoomRow) {
        // Also in the marks: earlier ones of the user must not add it again, and a list that is being read may have it.
        self.note(user, room, MarkChange::Leave);
        let Some(owner) = self.users.get_mut(&user) else { return };
        if owner.rooms.remove(&room.id).is_some() {
            owner.removed.insert(room.id);
            self.unlist(user, room.id);
            self.changed(user, room.id);
        }
    }

    fn changed(&mut self, user: UserId, room: RoomId) {
        let Some(owner) = self.users.get_mut(&user) else { return };
        owner.changed.insert(room);
        if !std::mem::replace(&mut owner.is_waiting, true) {
            self.waiting.push_back(user);
        }
    }

    /// The changes of lists since the last call, or as many as are told at once.
    pub fn take_updates(&mut self) -> Vec<Update<O>> {
        let mut visits = 0;
        while visits < VISITS
            && let Some(room) = self.grown.pop_front()
        {
            let Some(listed) = self.rooms.get_mut(&room) else { continue };
            listed.has_grown = false;
            visits += listed.users.len();
            let users = &self.users;
            let is_interested = |user: &&UserId| users.get(user).is_some_and(|owner| owner.wants_to_know(room));
            let interested: Vec<_> = listed.users.iter().filter(is_interested).copied().collect();
            interested.into_iter().for_each(|user| self.changed(user, room));
        }
        let waiting: Vec<_> = self.waiting.drain(..self.waiting.len().min(UPDATES)).collect();
        waiting.into_iter().filter_map(|user| self.take_update(user)).collect()
    }

    fn take_update(&mut self, user: UserId) -> Option<Update<O>> {
        let owner = self.users.get_mut(&user)?;
        owner.is_waiting = false;
        let removed = take(&mut owner.removed).into_iter().collect();
        let mut rooms = Vec::new();
        for id in take(&mut owner.changed) {
            if let (Some(entry), Some(listed)) = (owner.rooms.get_mut(&id), self.rooms.get(&id)) {
                entry.told = listed.head;
                rooms.push(listed.shown(id, entry));
            }
        }
        let to = owner.watchers.iter().map(|watcher| watcher.outbox.clone()).collect();
        Some(Update { to, update: MyRoomsUpdate { rooms, removed } })
    }
}

impl Listed {
    /// The room in the list of a user.
    fn shown(&self, room: RoomId, Progress { read, mentions, .. }: &Progress) -> MyRoom {
        let (read, mentions) = ((*read).min(self.head), membership::count(mentions));
        MyRoom { room, name: self.name.to_string(), head: self.head, read, mentions }
    }
}

impl<O> Owner<O> {
    /// Returns whether a watcher shows the number of unread messages in a room, and another one would change it.
    fn wants_to_know(&self, room: RoomId) -> bool {
        self.watchers.iter().any(|watcher| !watcher.seats.contains(&room))
            && self.rooms.get(&room).is_some_and(|entry| entry.told < entry.read + MAX_UNREAD)
    }
}
