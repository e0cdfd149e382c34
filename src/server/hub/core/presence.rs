//! Entering, leaving, changing names, typing.

use std::sync::Arc;
use std::time::Instant;

use super::super::output::LogPosition;
use super::crowd::Presence;
use super::room::Room;
use super::{Audience, Core, Effect, Enter, Entered, Except, GRACE, Output, Rename, SeatId, TYPING_EVERY};
use crate::protocol::frame::Typing;
use crate::protocol::{CloseCode, ErrorCode, MAX_MEMBERS, Message, MessageChange, ServerFrame, User, UserId};
use crate::server::history::History;
use crate::server::id::{ConnId, RoomId};
use crate::server::name_key::Nick;

impl<O: Clone> Core<O> {
    pub(super) fn enter(&mut self, now: Instant, enter: Enter<O>) -> Result<(), ErrorCode> {
        let (seat, user) = (SeatId { conn: enter.conn, room: enter.room.id }, enter.user);
        if let Some(code) = self.conflict_in(seat.room, user, &enter.nick.key) {
            return Err(code);
        }
        let room = self.rooms.entry(seat.room).or_insert_with(|| Room::new(enter.room.clone()));
        let history = room.recent_history(enter.after.as_ref());
        if room.seats.get(seat.conn).is_none() {
            self.conns.entry(seat.conn).or_default().push(seat.room);
        }
        if room.take_seat(enter) {
            self.users.entry(user).or_default().push(seat.room);
        }
        if let Some(history) = history {
            self.admit(now, seat, history);
            self.used_tail(seat.room);
        }
        Ok(())
    }

    pub(super) fn history_loaded(&mut self, now: Instant, seat: SeatId, mut history: History) {
        if let Some(room) = self.rooms.get_mut(&seat.room)
            && room.seed(&mut history)
        {
            self.admit(now, seat, history);
            self.used_tail(seat.room);
        }
    }

    /// Answers a connection that waits for its history, and sends it every message and change after that. The connection
    /// waits on if the tail does not reach back to this history: then too much was posted while it was read.
    fn admit(&mut self, now: Instant, SeatId { conn, room: id }: SeatId, history: History) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let (head, tail) = (history.head, &room.tail);
        let Some(seat) = room.seats.get_mut(conn) else { return };
        let Some(loading) = seat.loading else { return };
        let answered = LogPosition { up_to: head, rev: history.rev };
        // Without an id there is no answer, so its history reaches nobody.
        let received = if loading.id.is_some() { answered } else { loading.received.unwrap_or(answered) };
        let missed = if tail.head().is_some_and(|tail| received.up_to <= tail) {
            let Some(missed) = tail.since(received.up_to) else { return };
            missed.cloned().collect()
        } else {
            Vec::new()
        };
        let Some(missed_changes) = room.changes.since(received.rev) else { return };
        let missed_changes: Vec<_> = missed_changes.cloned().collect();
        seat.loading = None;
        seat.delivered = received;
        let (user, outbox) = (seat.user, seat.outbox.clone());
        let arrived = !room.is_announced(user);
        if let Some(person) = room.people.get(&user) {
            room.announced.insert(person.arrival, user);
        }
        self.note_crowd(now, id);
        let Some(room) = self.rooms.get(&id) else { return };
        let (row, count, user) = (room.row.clone(), room.count(), room.user(user));
        if let Some(id) = loading.id {
            let (people, you) = (room.member_page(0, MAX_MEMBERS), user.clone());
            let entered = Entered { id, room: row.clone(), people, you, history, call: Vec::new() };
            self.outputs.push_back(Output::Entered(outbox.clone(), Box::new(entered)));
        }
        self.send_missed(&outbox, missed, missed_changes);
        if let Some(user) = user.filter(|_| arrived) {
            self.announce(id, user, Presence::Came(Except::Connection(conn)));
            self.effect(Effect::MemberCount(row, count));
        }
    }

    pub(super) fn history_failed(&mut self, now: Instant, SeatId { conn, room: id }: SeatId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(seat) = room.seats.get_mut(conn) else { return };
        let Some(loading) = seat.loading.take() else { return };
        let Some(received) = loading.received else {
            // It is in the room, so this is not refused.
            let _ = self.leave(now, SeatId { conn, room: id });
            return;
        };
        let outbox = seat.outbox.clone();
        // The connection may have received messages whose delivery is still queued.
        let is_ahead = room.tail.head().is_none_or(|head| head < received.up_to);
        let missed = room.tail.since(received.up_to).map(|missed| missed.cloned().collect::<Vec<_>>());
        let missed = if is_ahead { Some(Vec::new()) } else { missed };
        let changes = room.changes.since(received.rev).map(|missed| missed.cloned().collect::<Vec<_>>());
        match missed.zip(changes) {
            Some((missed, changes)) => self.send_missed(&outbox, missed, changes),
            None => self.outputs.push_back(Output::Close(outbox, CloseCode::SlowConsumer)),
        }
    }

    /// Sends a connection the messages and changes that it missed while its history was read.
    fn send_missed(&mut self, outbox: &O, messages: Vec<Arc<Message>>, changes: Vec<Arc<MessageChange>>) {
        for message in messages {
            self.send(outbox, ServerFrame::NewMessage((*message).clone()));
        }
        for change in changes {
            self.send(outbox, ServerFrame::MessageChanged((*change).clone()));
        }
    }

    pub(super) fn leave(&mut self, now: Instant, SeatId { conn, room }: SeatId) -> Result<(), ErrorCode> {
        let rooms = self.conns.get_mut(&conn).ok_or(ErrorCode::NotInRoom)?;
        let index = rooms.iter().position(|id| *id == room).ok_or(ErrorCode::NotInRoom)?;
        rooms.swap_remove(index);
        if rooms.is_empty() {
            self.conns.remove(&conn);
        }
        self.vacate(conn, room, now, None);
        Ok(())
    }

    pub(super) fn disconnect(&mut self, now: Instant, conn: ConnId) {
        for room in self.conns.remove(&conn).unwrap_or_default() {
            self.vacate(conn, room, now, Some(now + GRACE));
        }
    }

    /// Takes a connection out of a room. If it was the user's last one there, the user leaves at once or at
    /// `leaves_at`.
    fn vacate(&mut self, conn: ConnId, id: RoomId, now: Instant, leaves_at: Option<Instant>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(user) = room.seats.remove(conn).map(|seat| seat.user) else { return };
        let is_announced = room.is_announced(user);
        let Some(person) = room.people.get_mut(&user) else { return };
        person.seats -= 1;
        if person.seats > 0 {
            return;
        }
        match leaves_at.filter(|_| is_announced) {
            Some(at) => {
                person.leaves_at = Some(at);
                self.departures.push_back((at, id, user));
            }
            None => self.depart(now, id, user),
        }
    }

    /// Takes a user out of a room, and announces it if the others know of the user.
    pub(super) fn depart(&mut self, now: Instant, id: RoomId, user: UserId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(person) = room.people.remove(&user) else { return };
        room.names.release(user, &person.nick.key);
        if room.people.is_empty() {
            room.empty_since = Some(now);
        }
        let was_announced = room.announced.remove(&person.arrival).is_some();
        let (row, count) = (room.row.clone(), room.count());
        if let Some(rooms) = self.users.get_mut(&user) {
            rooms.retain(|room| *room != id);
            if rooms.is_empty() {
                self.users.remove(&user);
            }
        }
        if was_announced {
            let user = User { id: user, nickname: person.nick.text };
            self.announce(id, user, Presence::Left);
            self.effect(Effect::MemberCount(row, count));
        }
    }

    pub(super) fn hold_name(&mut self, now: Instant, room: RoomId, user: UserId, nick: Nick) -> Result<(), ErrorCode> {
        match self.conflict_in(room, user, &nick.key) {
            Some(code) => Err(code),
            None => {
                self.holds.hold(now, room, user, nick.key);
                Ok(())
            }
        }
    }

    pub(super) fn rename(&mut self, Rename { user, nick, asker }: Rename) -> Result<(), ErrorCode> {
        if let Some(code) = self.name_conflict(None, user, &nick.key) {
            return Err(code);
        }
        self.holds.release(user);
        for id in self.users.get(&user).cloned().unwrap_or_default() {
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            let is_announced = room.is_announced(user);
            let Some(person) = room.people.get_mut(&user) else { continue };
            let old = std::mem::replace(&mut person.nick, nick.clone());
            room.names.release(user, &old.key);
            room.names.claim(user, nick.key.clone());
            if is_announced && old.text != nick.text {
                let user = User { id: user, nickname: nick.text.clone() };
                self.announce_name(id, user, asker.map_or(Except::Nobody, Except::Connection));
            }
        }
        Ok(())
    }

    pub(super) fn typing(&mut self, now: Instant, SeatId { conn, room: id }: SeatId) -> Result<(), ErrorCode> {
        let room = self.rooms.get_mut(&id).ok_or(ErrorCode::NotInRoom)?;
        let seat = room.seats.get_mut(conn).ok_or(ErrorCode::NotInRoom)?;
        if seat.typed_at.is_some_and(|at| now < at + TYPING_EVERY) {
            return Ok(());
        }
        seat.typed_at = Some(now);
        let user = seat.user;
        let user = room.user(user).ok_or(ErrorCode::NotInRoom)?;
        if room.crowd.is_none() {
            let audience = Audience::Loaded(Except::User(user.id));
            self.broadcast_to(id, audience, ServerFrame::Typing(Typing { room: id, user }));
        }
        Ok(())
    }
}
