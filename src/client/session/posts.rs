//! Messages of this user: queued, sent one at a time, settled. Pure.

use super::Session;
use super::event::{Action, SendStatus, Update};
use super::refusal::{DEFAULT_RETRY_MS, Recovery, recovery};
use super::request::PendingRequest;
use super::room::Room;
use super::unsent_message::UnsentMessage;
use crate::protocol::{Command, MessageKey, PostAck, Refusal};

impl Session {
    pub(super) fn post(&mut self, post: UnsentMessage) {
        if !self.queue.push(post.clone()) {
            return;
        }
        if let Some(room) = self.rooms.get_mut(&post.room) {
            room.typing.posted();
        }
        self.actions.push_back(Action::StoreUnsent(post.clone()));
        self.emit(Update::Unsent(post));
        self.enter_background_rooms();
    }

    pub(super) fn discard(&mut self, key: MessageKey) {
        self.queue.remove(key);
        self.actions.push_back(Action::RemoveUnsent(key));
    }

    /// Sends the first message whose room is entered, if none is in flight.
    pub(super) fn send_next_post(&mut self, now: u64) {
        if !self.is_online() {
            return;
        }
        let entered_id = |room: &str| self.rooms.get(room).and_then(Room::entered_id);
        if let Some((room, message)) = self.queue.start_next(now, self.requests.next_id(), entered_id) {
            self.send(Command::NewMessage(message.post_in(room)), PendingRequest::Post(message));
        }
    }

    /// The server has stored a message.
    pub(super) fn post_stored(&mut self, id: u64, post: UnsentMessage, ack: &PostAck) {
        let position = self.rooms.get(&post.room).and_then(|room| room.position.as_ref());
        let is_shown = position.is_some_and(|position| ack.seq <= position.seq);
        self.settle(id, post, if is_shown { SendStatus::Shown } else { SendStatus::Stored(ack.seq) });
    }

    /// The server has refused a message.
    pub(super) fn post_refused(&mut self, now: u64, id: u64, post: UnsentMessage, refusal: Refusal) {
        match recovery(&refusal) {
            Recovery::RateLimit | Recovery::Store => {
                let delay_ms = refusal.retry_after_ms.unwrap_or(DEFAULT_RETRY_MS).max(1);
                self.queue.retry(Some(now + delay_ms));
            }
            Recovery::EnterRoom if self.rooms.contains_key(&post.room) => {
                self.queue.retry(None);
                if let Some(room) = self.rooms.get_mut(&post.room) {
                    room.entered = false;
                }
                self.enter(&post.room);
            }
            // The author sees the failure and may retry. The session does not: nobody expects the message later.
            Recovery::Quota | Recovery::EnterRoom | Recovery::Never => {
                self.settle(id, post, SendStatus::Refused(refusal));
            }
        }
    }

    pub(super) fn settle(&mut self, id: u64, UnsentMessage { room, key, .. }: UnsentMessage, status: SendStatus) {
        self.queue.settle(id, key);
        self.actions.push_back(Action::RemoveUnsent(key));
        self.leave_finished_background_room(&room);
        self.emit(Update::Posted { room, key, status });
    }

    /// Emits the queued messages of a room that a page shows from now on.
    pub(super) fn emit_unsent(&mut self, room: &str) {
        for post in self.queue.of_room(room) {
            self.actions.push_back(Action::Emit(Update::Unsent(post.clone())));
        }
    }
}
