//! The list of the user's own rooms, and the marks of what the user has read: asking, telling, sending. Pure.

use super::Session;
use super::event::Update;
use super::refusal::list_retry_at;
use super::request::PendingRequest;
use super::room::Room;
use crate::protocol::frame::Empty;
use crate::protocol::my_rooms::{KeepRoom, MarkRead};
use crate::protocol::{Command, MessageRef, MyRoom, MyRoomsUpdate, Refusal, RoomId};

/// A mark is sent at most this often for each room, and when the room is left.
const MARK_EVERY_MS: u64 = 5_000;

impl Session {
    /// The page shows the list from now on.
    pub(super) fn show_my_rooms(&mut self) {
        self.own_rooms.is_wanted = true;
        self.watch_my_rooms();
    }

    /// Subscribes to the list, if the page shows it.
    pub(super) fn watch_my_rooms(&mut self) {
        self.own_rooms.retry_at = None;
        if self.own_rooms.is_wanted && self.is_online() {
            self.send(Command::WatchMyRooms(Empty {}), PendingRequest::WatchMyRooms);
        }
    }

    /// `watch_my_rooms` was refused.
    pub(super) fn my_rooms_refused(&mut self, now: u64, refusal: &Refusal) {
        self.own_rooms.retry_at = list_retry_at(now, refusal);
    }

    /// The whole list has arrived.
    pub(super) fn my_rooms_listed(&mut self, rooms: Vec<MyRoom>) {
        self.own_rooms.rooms.clear();
        self.own_rooms.is_current = true;
        self.my_rooms_changed(&MyRoomsUpdate { rooms, removed: Vec::new() });
    }

    /// The list has changed.
    pub(super) fn my_rooms_changed(&mut self, update: &MyRoomsUpdate) {
        update.apply(&mut self.own_rooms.rooms);
        // The server may not know yet what the user has read on this page.
        for room in &mut self.own_rooms.rooms {
            let shown = self.rooms.values().find(|shown| shown.id == Some(room.room));
            let read = shown.map_or(0, |shown| shown.read.seq());
            room.read = room.read.max(read.min(room.head));
            forget_read_mentions(room);
        }
        self.emit_my_rooms();
    }

    fn emit_my_rooms(&mut self) {
        self.emit(Update::MyRooms(self.own_rooms.rooms.clone()));
    }

    /// Adds a room to the list, or removes it.
    pub(super) fn keep_room(&mut self, room: RoomId, on: bool) {
        if self.is_online() {
            self.send(Command::KeepRoom(KeepRoom { room, on }), PendingRequest::Untracked);
        }
    }

    /// The user has read a room up to a message.
    pub(super) fn mark_read(&mut self, name: &str, target: MessageRef) {
        let Some(shown) = self.rooms.get_mut(name) else { return };
        if shown.read.target.as_ref().is_some_and(|known| known.epoch == target.epoch && known.seq >= target.seq) {
            return;
        }
        let seq = target.seq;
        shown.read.target = Some(target);
        if let Some(room) = shown.id.and_then(|id| self.own_rooms.find(id)) {
            let unread = room.unread();
            room.head = room.head.max(seq);
            room.read = room.read.max(seq);
            forget_read_mentions(room);
            if room.unread() != unread {
                self.emit_my_rooms();
            }
        }
    }

    /// Sends the marks whose time has come. The server keeps those of the rooms in the list.
    pub(super) fn send_due_marks(&mut self, now: u64) {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let due = self.rooms.iter().filter(|(_, room)| room.entered && is_due(room.read.due_at()));
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        due.iter().for_each(|name| self.send_mark(now, name));
    }

    /// Sends all marks. The page may be closed, and would lose them.
    pub(super) fn send_all_marks(&mut self, now: u64) {
        let names: Vec<_> = self.rooms.keys().cloned().collect();
        names.iter().for_each(|name| self.send_mark(now, name));
    }

    /// Sends the mark of a room, if there is something to send.
    pub(super) fn send_mark(&mut self, now: u64, name: &str) {
        let Some(room) = self.rooms.get_mut(name).filter(|room| room.read.due_at().is_some()) else { return };
        let Some(id) = room.entered_id().filter(|id| self.own_rooms.is_current && self.own_rooms.has(*id)) else {
            return;
        };
        let Some(target) = room.read.target.clone() else { return };
        (room.read.sent, room.read.next_at) = (target.seq, now + MARK_EVERY_MS);
        self.send(Command::MarkRead(MarkRead { room: id, target }), PendingRequest::Untracked);
    }

    /// The time at which the next mark has to be sent.
    pub(super) fn marks_wake(&self) -> Option<u64> {
        if !self.own_rooms.is_current {
            return None;
        }
        let is_own = |room: &&Room| room.entered_id().is_some_and(|id| self.own_rooms.has(id));
        self.rooms.values().filter(is_own).filter_map(|room| room.read.due_at()).min()
    }
}

/// A room that was read to its end has no unread mentions, whatever the server has told.
fn forget_read_mentions(room: &mut MyRoom) {
    room.mentions.take_if(|_| room.read >= room.head);
}
