//! Rooms: entering, resuming, leaving, their messages and who is typing in them. Pure.

use super::Session;
use super::event::{Search, Update};
use super::outgoing::Outgoing;
use super::own_rooms::ReadMark;
use super::refusal::{DEFAULT_RETRY_MS, Recovery, recovery};
use super::request::PendingRequest;
use super::room::Room;
use super::typing::TypingUsers;
use crate::client::backoff::full_jitter;
use crate::protocol::frame::{EnterRoom, History, InRoom, Members, Typing};
use crate::protocol::{Command, EnterRoomAck, MAX_MEMBERS, Message, Position, Refusal, RoomId, UserId};

/// The messages on a page of search results.
const SEARCH_PAGE: u64 = 20;

impl Session {
    /// A page shows a room, up to the position `after`.
    pub(super) fn show_room(&mut self, room: String, after: Option<Position>) {
        self.emit_unsent(&room);
        let shown = Room { id: self.ids.get(&room).copied(), position: after, ..Room::default() };
        self.rooms.insert(room.clone(), shown);
        self.enter(&room);
    }

    /// No page shows a room any more. It is left, or stays as a background room while messages are queued for it.
    pub(super) fn hide_room(&mut self, now: u64, room: String) {
        // The page may not know the canonical name yet.
        let canonical = || self.rooms.iter().find(|(_, record)| record.id == self.ids.get(&room).copied());
        let room = match self.rooms.contains_key(&room) {
            true => room,
            false => canonical().map_or(room.clone(), |(name, _)| name.clone()),
        };
        self.send_mark(now, &room);
        // If its id is not known, it is left when it has been entered.
        let Some(Room { id, call, .. }) = self.rooms.remove(&room) else { return };
        if let Some(id) = id.filter(|_| call.is_some() && self.is_online()) {
            self.outgoing.push(Outgoing::LeaveCall(id));
        }
        if self.is_online() && self.queue.of_room(&room).next().is_some() {
            self.enter_background_rooms();
        } else if let Some(id) = id {
            self.leave(id);
        }
    }

    /// Enters all rooms, over a new connection.
    pub(super) fn enter_rooms(&mut self) {
        self.enter_all(|_| true);
    }

    /// Enters the rooms that refused the user's previous name.
    pub(super) fn enter_refused_rooms(&mut self) {
        self.enter_all(|room| !room.entered);
    }

    fn enter_all(&mut self, filter: impl Fn(&Room) -> bool) {
        let names: Vec<_> = self.rooms.iter().filter(|(_, room)| filter(room)).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.enter(name));
        self.enter_background_rooms();
    }

    /// Enters the rooms that no page shows and for which messages are queued.
    pub(super) fn enter_background_rooms(&mut self) {
        if !self.is_online() {
            return;
        }
        for name in self.queue.rooms() {
            if !self.rooms.contains_key(&name) {
                let id = self.ids.get(&name).copied();
                self.rooms.insert(name.clone(), Room { id, background: true, ..Room::default() });
                self.enter(&name);
            }
        }
    }

    /// Leaves a background room once its last message is settled.
    pub(super) fn leave_finished_background_room(&mut self, name: &str) {
        let is_finished = self.queue.of_room(name).next().is_none();
        if is_finished && self.rooms.get(name).is_some_and(|room| room.background) {
            let id = self.rooms.remove(name).and_then(|room| room.id);
            id.into_iter().for_each(|id| self.leave(id));
        }
    }

    /// Enters a room, or enters it again to fill a gap.
    pub(super) fn enter(&mut self, name: &str) {
        if !self.is_online() {
            return;
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        if let Some(id) = room.id {
            self.outgoing.drop_where(|command| *command == Outgoing::LeaveRoom(id));
        }
        room.enter_request = Some(self.requests.next_id());
        let enter = EnterRoom { name: name.to_owned(), room: room.id, after: room.position.clone() };
        let command = Command::EnterRoom(enter);
        self.send(command, PendingRequest::Enter { room: name.to_owned() });
    }

    fn leave(&mut self, room: RoomId) {
        if self.is_online() {
            self.outgoing.push(Outgoing::LeaveRoom(room));
        }
    }

    /// Enters the rooms whose retry delay is over.
    pub(super) fn retry_rooms(&mut self, now: u64) {
        let is_due = |room: &mut Room| room.retry_at.take_if(|at| *at <= now).is_some();
        let due: Vec<_> = self.rooms.iter_mut().filter_map(|(name, room)| is_due(room).then(|| name.clone())).collect();
        due.iter().for_each(|name| self.enter(name));
    }

    /// `enter_room` was answered.
    pub(super) fn entered(&mut self, id: u64, requested: String, ack: EnterRoomAck) {
        let was_known = self.ids.insert(requested.clone(), ack.room) == Some(ack.room);
        self.ids.insert(ack.name.clone(), ack.room);
        if self.is_latest_enter(id, &requested) {
            self.enter_answered(requested, ack);
        } else if !self.rooms.contains_key(&requested) && !was_known {
            self.left_early.insert(ack.room);
        }
        self.leave_early_rooms();
    }

    /// Leaves the rooms that pages left before they were entered: their ids were not known then. Waits while another
    /// room without a known id is being entered, because that may be the same one under another spelling.
    fn leave_early_rooms(&mut self) {
        if self.rooms.values().any(|room| room.id.is_none() && room.enter_request.is_some()) {
            return;
        }
        for id in std::mem::take(&mut self.left_early) {
            if self.room_with_id(id).is_none() {
                self.leave(id);
            }
        }
    }

    fn enter_answered(&mut self, requested: String, ack: EnterRoomAck) {
        let Some(mut room) = self.rooms.remove(&requested) else { return };
        if ack.name != requested {
            self.queue.rename_room(&requested, &ack.name);
            self.emit(Update::Named { requested, room: ack.name.clone() });
            self.emit_unsent(&ack.name);
            // A page shows the room under its canonical name already, and the queued messages are sent there. The
            // messages in this answer are not for that page, which resumes from its own position.
            if let Some(shown) = self.rooms.get_mut(&ack.name).filter(|_| room.background) {
                shown.entered = false;
                return self.enter(&ack.name);
            }
        }
        (room.entered, room.id) = (true, Some(ack.room));
        // A room has one record, whatever the server says.
        self.rooms.values_mut().filter(|other| other.id == Some(ack.room)).for_each(|other| {
            (other.entered, other.id) = (false, None);
        });
        if room.read.target.as_ref().is_some_and(|target| target.epoch != ack.epoch) {
            // It belongs to another history.
            room.read = ReadMark::default();
        }
        room.position = Some(Position { epoch: ack.epoch.clone(), seq: ack.head, rev: ack.rev });
        // A room that is entered again over the same connection is still in its call.
        let joins_call = room.needs_to_join_call();
        let name = ack.name.clone();
        self.rooms.insert(name.clone(), room);
        self.emit(Update::Entered(ack));
        if joins_call {
            self.join_call(&name);
        }
    }

    /// `enter_room` was refused.
    pub(super) fn enter_refused(&mut self, now: u64, id: u64, name: String, refusal: Refusal) {
        let is_latest = self.is_latest_enter(id, &name);
        if let Some(room) = self.rooms.get_mut(&name).filter(|_| is_latest) {
            room.enter_request = None;
        }
        self.leave_early_rooms();
        if !is_latest {
            return;
        }
        match recovery(&refusal) {
            Recovery::RateLimit | Recovery::Store | Recovery::Quota => {
                let delay_ms = refusal.retry_after_ms.unwrap_or(DEFAULT_RETRY_MS);
                let delay_ms = delay_ms + full_jitter(delay_ms / 2, self.rng.next());
                if let Some(room) = self.rooms.get_mut(&name) {
                    room.retry_at = Some(now + delay_ms);
                }
            }
            // The queued messages of a background room stay queued until a page shows the room.
            Recovery::EnterRoom | Recovery::Never => {
                if self.rooms.get(&name).is_some_and(|room| room.background) {
                    self.rooms.remove(&name);
                }
            }
        }
        self.emit(Update::NotEntered { room: name, refusal });
    }

    fn is_latest_enter(&self, id: u64, name: &str) -> bool {
        self.rooms.get(name).is_some_and(|room| room.enter_request == Some(id))
    }

    pub(super) fn load_older(&mut self, room: String, before: u64, limit: u64) {
        if let Some(id) = self.entered_id(&room) {
            let command = Command::History(History { room: id, before, limit });
            self.send(command, PendingRequest::Older { room, before });
        } else {
            self.emit(Update::Older { room, before, history: None });
        }
    }

    pub(super) fn search(&mut self, search: Search) {
        if let Some(id) = self.entered_id(&search.room) {
            let (room, text) = ((!search.in_all).then_some(id), search.text.clone());
            let wanted = crate::protocol::search::Search { room, text, before: search.before, limit: SEARCH_PAGE };
            self.send(Command::Search(wanted), PendingRequest::Search(search));
        } else {
            self.emit(Update::Found { search, result: Err(None) });
        }
    }

    pub(super) fn load_pins(&mut self, room: String) {
        if let Some(id) = self.entered_id(&room) {
            self.send(Command::Pins(InRoom { room: id }), PendingRequest::Pins { room });
        } else {
            self.emit(Update::Pins { room, result: Err(None) });
        }
    }

    pub(super) fn load_members(&mut self, room: String, after: u64) {
        if let Some(id) = self.entered_id(&room) {
            let page = Members { room: id, after: (after > 0).then_some(after), limit: MAX_MEMBERS };
            self.send(Command::Members(page), PendingRequest::Members { room, after });
        } else {
            self.emit(Update::Members { room, after, page: None });
        }
    }

    /// A message of a room has arrived.
    pub(super) fn message(&mut self, message: Message) {
        let Some((name, room)) = self.entered_room(message.room) else { return };
        let Some(position) = &mut room.position else { return };
        if message.seq <= position.seq {
            // A duplicate.
        } else if message.seq == position.seq + 1 {
            position.seq = message.seq;
            self.stopped_typing(message.room, message.user.id);
            self.emit(Update::Message(message));
        } else {
            // A gap should not happen. If it does, entering again resumes from the last message that arrived.
            room.entered = false;
            self.enter(&name);
        }
    }

    /// Announces a keystroke in a room, if the throttle allows it.
    pub(super) fn notify_typing(&mut self, now: u64, name: String) {
        let Some(room) = self.rooms.get_mut(&name) else { return };
        if let Some(id) = room.entered_id()
            && room.typing.should_notify(now)
        {
            self.send(Command::Typing(InRoom { room: id }), PendingRequest::Untracked);
        }
    }

    /// Another user is typing.
    pub(super) fn started_typing(&mut self, now: u64, Typing { room, user }: Typing) {
        let is_me = self.me == Some(user.id);
        if let Some((name, room)) = self.entered_room(room).filter(|_| !is_me)
            && room.typing.started(user, now)
        {
            let users = room.typing.users();
            self.emit(Update::Typing { room: name, users });
        }
    }

    pub(super) fn stopped_typing(&mut self, room: RoomId, user: UserId) {
        if let Some((name, room)) = self.room_with_id(room)
            && room.typing.stopped(user)
        {
            let users = room.typing.users();
            self.emit(Update::Typing { room: name, users });
        }
    }

    /// The name and the record of a room that was entered, over this connection or an earlier one.
    pub(super) fn room_with_id(&mut self, id: RoomId) -> Option<(String, &mut Room)> {
        let (name, room) = self.rooms.iter_mut().find(|(_, room)| room.id == Some(id))?;
        Some((name.clone(), room))
    }

    /// The same, if the latest `enter_room` over this connection was answered.
    pub(super) fn entered_room(&mut self, id: RoomId) -> Option<(String, &mut Room)> {
        self.room_with_id(id).filter(|(_, room)| room.entered)
    }

    /// The id of a room that this connection is in.
    pub(super) fn entered_id(&self, name: &str) -> Option<RoomId> {
        self.rooms.get(name).and_then(Room::entered_id)
    }

    /// Changes the typing users of each room, and emits those that are different from before.
    pub(super) fn update_typing(&mut self, change: impl Fn(&mut TypingUsers) -> bool) {
        let changed = self.rooms.iter_mut().filter_map(|(name, room)| {
            change(&mut room.typing).then(|| Update::Typing { room: name.clone(), users: room.typing.users() })
        });
        let changed: Vec<_> = changed.collect();
        changed.into_iter().for_each(|update| self.emit(update));
    }
}
