//! The queue of messages that are not stored yet. Pure.

use std::collections::{BTreeSet, VecDeque};

use super::unsent_message::UnsentMessage;
use crate::protocol::{MessageKey, RoomId};

/// Messages in the order in which they were posted. One at a time is in flight, so that the order is kept when one is
/// refused and retried.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    posts: VecDeque<UnsentMessage>,
    /// The id of the request that waits for its answer.
    in_flight: Option<u64>,
    /// Nothing is sent before this time, after the server refused a message for a while.
    held_until: Option<u64>,
}

impl SendQueue {
    /// Appends a message. Returns whether it was new: a key is queued once.
    pub(super) fn push(&mut self, post: UnsentMessage) -> bool {
        let is_new = !self.posts.iter().any(|queued| queued.key == post.key);
        if is_new {
            self.posts.push_back(post);
        }
        is_new
    }

    pub(super) fn remove(&mut self, key: MessageKey) {
        self.posts.retain(|post| post.key != key);
    }

    /// The request with this id is answered and its message is settled.
    pub(super) fn settle(&mut self, id: u64, key: MessageKey) {
        self.remove(key);
        if self.in_flight == Some(id) {
            self.in_flight = None;
        }
    }

    /// Releases the message in flight, to send it again later. It stays at its position, so the order is kept.
    pub(super) fn retry(&mut self, not_before: Option<u64>) {
        self.in_flight = None;
        self.held_until = not_before.or(self.held_until);
    }

    /// The connection is lost. The message in flight is sent again over the next one.
    pub(super) fn disconnected(&mut self) {
        self.in_flight = None;
    }

    /// Ends the pause when its time has come.
    pub(super) fn tick(&mut self, now: u64) {
        self.held_until.take_if(|until| *until <= now);
    }

    /// The end of the pause, if a message waits for it.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.held_until.filter(|_| self.in_flight.is_none() && !self.posts.is_empty())
    }

    /// The first message of a room with an `entered_id`, and that id, unless one is in flight or the queue pauses. It is in
    /// flight from now on, under the request `id`.
    pub(super) fn start_next(
        &mut self,
        now: u64,
        id: u64,
        entered_id: impl Fn(&str) -> Option<RoomId>,
    ) -> Option<(RoomId, UnsentMessage)> {
        if self.in_flight.is_some() || self.held_until.is_some_and(|until| now < until) {
            return None;
        }
        let next = self.posts.iter().find_map(|post| Some((entered_id(&post.room)?, post.clone())))?;
        self.in_flight = Some(id);
        Some(next)
    }

    /// The messages of one room, oldest first.
    pub(super) fn of_room<'a>(&'a self, room: &'a str) -> impl Iterator<Item = &'a UnsentMessage> {
        self.posts.iter().filter(move |post| post.room == room)
    }

    /// The rooms for which messages are queued.
    pub(super) fn rooms(&self) -> BTreeSet<String> {
        self.posts.iter().map(|post| post.room.clone()).collect()
    }

    /// Moves the messages of a room to its canonical name.
    pub(super) fn rename_room(&mut self, from: &str, to: &str) {
        for post in self.posts.iter_mut().filter(|post| post.room == from) {
            post.room = to.to_owned();
        }
    }
}
