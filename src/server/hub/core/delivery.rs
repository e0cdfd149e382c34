//! Committed messages, through the room's tail to its connections.

use std::sync::Arc;

use super::{Core, Effect, Output};
use crate::protocol::Message;
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
        if let Some(gap) = room.tail.gap().filter(|_| !room.is_fetching) {
            room.is_fetching = true;
            let row = room.row.clone();
            self.effect(Effect::Fetch(row, gap.after));
        }
        self.used_tail(id);
    }

    pub(super) fn fetched(&mut self, id: RoomId, messages: Vec<Arc<Message>>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let before = room.tail.head();
        for message in messages {
            self.committed(id, message);
        }
        let Some(room) = self.rooms.get_mut(&id) else { return };
        room.is_fetching = false;
        match room.tail.gap() {
            None => {}
            // The store does not have the missing messages either: the connections start again from what it has.
            Some(_) if room.tail.head() == before => self.evict(id),
            Some(gap) => {
                room.is_fetching = true;
                let row = room.row.clone();
                self.effect(Effect::Fetch(row, gap.after));
            }
        }
    }
}
