//! Rooms: entering, resuming, leaving, their messages and who is typing in them. Pure.

use super::Session;
use super::event::Update;
use super::outgoing::Outgoing;
use super::own_rooms::ReadMark;
use super::refusal::{DEFAULT_RETRY_MS, Recovery, recovery};
use super::request::PendingRequest;
use super::room::Room;
use super::typing::TypingUsers;
use crate::client::backoff::full_jitter;
use crate::protocol::frame::{EnterRoom, History, InRoom, Members, Search, Typing};
use crate::protocol::{Command, EnterRoomAck, Feature, MAX_MEMBERS, Message, PinsAck, Position, Refusal, UserId};

/// The messages on a page of search results.
const SEARCH_PAGE: u64 = 20;

impl Session {
    /// A page shows a room, up to the position `after`.
    pub(super) fn show_room(&mut self, room: String, after: Option<Position>) {
        self.emit_unsent(&room);
        self.rooms.insert(room.clone(), Room::shown(after));
        self.enter(&room);
    }

    /// No page shows a room any more. It is left, or stays as a background room while messages are queued for it.
    pub(super) fn hide_room(&mut self, now: u64, room: String) {
        self.send_mark(now, &room);
        let was_in_call = self.rooms.remove(&room).is_some_and(|room| room.call.is_some());
        if was_in_call && self.is_online() {
            self.outgoing.push(Outgoing::LeaveCall(room.clone()));
        }
        if self.is_online() && self.queue.of_room(&room).next().is_some() {
            self.enter_background_rooms();
        } else {
            self.leave(room);
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
                self.rooms.insert(name.clone(), Room::background());
                self.enter(&name);
            }
        }
    }

    /// Leaves a background room once its last message is settled.
    pub(super) fn leave_finished_background_room(&mut self, name: &str) {
        let is_finished = self.queue.of_room(name).next().is_none();
        if is_finished && self.rooms.get(name).is_some_and(|room| room.background) {
            self.rooms.remove(name);
            self.leave(name.to_owned());
        }
    }

    /// Enters a room, or enters it again to fill a gap.
    pub(super) fn enter(&mut self, name: &str) {
        if !self.is_online() {
            return;
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        self.outgoing.drop_where(|command| *command == Outgoing::LeaveRoom(name.to_owned()));
        room.enter_request = Some(self.requests.next_id());
        // A server that does not know of changes would refuse the field.
        let has_changes = self.features.has(Feature::Changes);
        let after = room.position.clone().map(|after| Position { rev: after.rev.filter(|_| has_changes), ..after });
        let command = Command::EnterRoom(EnterRoom { room: name.to_owned(), after });
        self.send(command, PendingRequest::Enter { room: name.to_owned() });
    }

    fn leave(&mut self, room: String) {
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
        if !self.is_latest_enter(id, &requested) {
            return;
        }
        let Some(mut room) = self.rooms.remove(&requested) else { return };
        if ack.room != requested {
            self.queue.rename_room(&requested, &ack.room);
            self.emit(Update::Named { requested, room: ack.room.clone() });
            self.emit_unsent(&ack.room);
            // A page shows the room under its canonical name already, and the queued messages are sent there. The
            // messages in this answer are not for that page, which resumes from its own position.
            if let Some(shown) = self.rooms.get_mut(&ack.room).filter(|_| room.background) {
                shown.entered = false;
                return self.enter(&ack.room);
            }
        }
        room.entered = true;
        if room.read.target.as_ref().is_some_and(|target| target.epoch != ack.epoch) {
            // It belongs to another history.
            room.read = ReadMark::default();
        }
        room.position = Some(Position { epoch: ack.epoch.clone(), seq: ack.head, rev: ack.rev });
        // A room that is entered again over the same connection is still in its call.
        let joins_call = room.needs_to_join_call();
        let name = ack.room.clone();
        self.rooms.insert(name.clone(), room);
        self.emit(Update::Entered(ack));
        if joins_call {
            self.join_call(&name);
        }
    }

    /// `enter_room` was refused.
    pub(super) fn enter_refused(&mut self, now: u64, id: u64, name: String, refusal: Refusal) {
        if !self.is_latest_enter(id, &name) {
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
        if self.rooms.get(&room).is_some_and(|room| room.entered) {
            let command = Command::History(History { room: room.clone(), before, limit });
            self.send(command, PendingRequest::Older { room, before });
        } else {
            self.emit(Update::Older { room, before, history: None });
        }
    }

    pub(super) fn search(&mut self, room: String, text: String, before: Option<u64>) {
        if self.rooms.get(&room).is_some_and(|room| room.entered) {
            let command = Search { room: room.clone(), text: text.clone(), before, limit: SEARCH_PAGE };
            self.send(Command::Search(command), PendingRequest::Search { room, text, before });
        } else {
            self.emit(Update::Found { room, text, before, result: Err(None) });
        }
    }

    pub(super) fn load_pins(&mut self, room: String) {
        if !self.rooms.get(&room).is_some_and(|room| room.entered) {
            self.emit(Update::Pins { room, result: Err(None) });
        } else if self.features.has(Feature::Pins) {
            self.send(Command::Pins(InRoom { room: room.clone() }), PendingRequest::Pins { room });
        } else {
            // A server of an earlier build, which has none.
            self.emit(Update::Pins { room, result: Ok(PinsAck::default()) });
        }
    }

    pub(super) fn load_members(&mut self, room: String, after: u64) {
        if self.rooms.get(&room).is_some_and(|room| room.entered) {
            let page = Members { room: room.clone(), after: (after > 0).then_some(after), limit: MAX_MEMBERS };
            self.send(Command::Members(page), PendingRequest::Members { room, after });
        } else {
            self.emit(Update::Members { room, after, page: None });
        }
    }

    /// A message of a room has arrived.
    pub(super) fn message(&mut self, message: Message) {
        let Some(room) = self.rooms.get_mut(&message.room) else { return };
        let Some(position) = room.position.as_mut().filter(|_| room.entered) else { return };
        if message.seq <= position.seq {
            // A duplicate.
        } else if message.seq == position.seq + 1 {
            position.seq = message.seq;
            self.stopped_typing(&message.room, message.user.id);
            self.emit(Update::Message(message));
        } else {
            // A gap should not happen. If it does, entering again resumes from the last message that arrived.
            room.entered = false;
            self.enter(&message.room);
        }
    }

    /// Announces a keystroke in a room, if the throttle allows it.
    pub(super) fn notify_typing(&mut self, now: u64, name: String) {
        let room = self.rooms.get_mut(&name).filter(|room| room.entered);
        if room.is_some_and(|room| room.typing.should_notify(now)) {
            self.send(Command::Typing(InRoom { room: name }), PendingRequest::Untracked);
        }
    }

    /// Another user is typing.
    pub(super) fn started_typing(&mut self, now: u64, Typing { room: name, user }: Typing) {
        let is_me = self.me == Some(user.id);
        if let Some(room) = self.rooms.get_mut(&name).filter(|room| room.entered && !is_me)
            && room.typing.started(user, now)
        {
            let users = room.typing.users();
            self.emit(Update::Typing { room: name, users });
        }
    }

    pub(super) fn stopped_typing(&mut self, name: &str, user: UserId) {
        if let Some(room) = self.rooms.get_mut(name)
            && room.typing.stopped(user)
        {
            let (room, users) = (name.to_owned(), room.typing.users());
            self.emit(Update::Typing { room, users });
        }
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
