//! Committed messages and changes, through the room's tail to its connections.

use std::sync::Arc;

use super::super::recent_changes::Arrival;
use super::{Audience, Core, Effect, Except, Output};
use crate::protocol::frame::MessagesExpired;
use crate::protocol::{Message, MessageChange, ServerFrame};
use crate::server::history::History;
use crate::server::id::RoomId;

impl<O: Clone> Core<O> {
    pub(super) fn committed(&mut self, id: RoomId, message: Arc<Message>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if let Some(next) = room.tail.receive(message) {
            self.outputs.push_back(Output::Deliver(id, next));
        }
        while let Some(next) = room.tail.next_held() {
            self.outputs.push_back(Output::Deliver(id, next));
        }
        room.forget_expired();
        if let Some(gap) = room.tail.gap().filter(|_| !room.is_fetching) {
            room.is_fetching = true;
            let (row, after) = (room.row.clone(), room.known_up_to(gap.after));
            self.effect(Effect::Fetch(row, after));
        }
        self.used_tail(id);
    }

    pub(super) fn changed(&mut self, id: RoomId, change: Arc<MessageChange>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let arrival = room.changes.receive(change.clone());
        if arrival == Arrival::AfterGap {
            // The changes in the gap may be of messages in memory.
            room.tail.forget();
        }
        if arrival != Arrival::Known {
            room.tail.update(change.seq, |message| {
                Arc::make_mut(message).apply(&change);
            });
            self.outputs.push_back(Output::DeliverChange(id, change));
            self.used_tail(id);
        }
    }

    pub(super) fn expired(&mut self, id: RoomId, floor: u64) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.expire_before(floor);
        // Also if a read of the store was ahead, so that the room knows it. A seat that is loading learns it with the history.
        let frame = ServerFrame::MessagesExpired(MessagesExpired { room: id, floor });
        self.broadcast_to(id, Audience::Loaded(Except::Nobody), frame);
        self.used_tail(id);
    }

    pub(super) fn fetched(&mut self, id: RoomId, mut history: Option<History>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let before = room.tail.head();
        // Otherwise so much was changed during the read that it has to be repeated.
        let is_current = history.as_mut().is_none_or(|history| room.update(history));
        for message in history.filter(|_| is_current).into_iter().flat_map(|history| history.messages) {
            self.committed(id, message);
        }
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.is_fetching = false;
        match room.tail.gap() {
            None => {}
            // The store does not have the missing messages either: the connections start again from what it has.
            Some(_) if room.tail.head() == before && is_current => self.evict(id),
            Some(gap) => {
                room.is_fetching = true;
                let (row, after) = (room.row.clone(), room.known_up_to(gap.after));
                self.effect(Effect::Fetch(row, after));
            }
        }
    }
}
