//! Removal of many messages: expiry at the beginning of a room, and requests for purges.
//!
//! Both are carried out in steps, because other writes wait for each, and connections receive what each has removed.
//! [`super::purger`] decides about the steps of purges.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Hub;
use super::fan_out::{Asker, Outcome, Written};
use super::posting::STATE_BYTES;
use crate::protocol::{Refusal, User, UserId};
use crate::server::change::{Change, ChangeError};
use crate::server::history::{Expired, Until};
use crate::server::id::RoomRow;
use crate::server::name_key::RoomName;
use crate::server::storage::{Expiry, StoreError};

/// The pause after a step is this many times as long as the step, so that removing takes a small part of the writer's time.
pub(super) const PAUSE: u32 = 4;

impl Hub {
    /// Removes the oldest messages of a room: a bounded number.
    ///
    /// # Errors
    /// Nothing was removed.
    pub async fn expire(&self, room: &RoomRow, until: Until) -> Result<Expired, StoreError> {
        let reserved = self.fan_out.reserve(0).await.map_err(|_| StoreError::Unavailable)?;
        let (sender, answer) = oneshot::channel();
        let (fan_out, of) = (self.fan_out.clone(), room.clone());
        let done = move |result| {
            fan_out.push(Outcome { room: of, result: Written::Expired { sender, result }, _reserved: reserved });
        };
        self.storage.expire(Expiry { room: room.clone(), until, done: Box::new(done) })?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Removes the oldest messages of a room. `pause` waits after each step. Returns the number of messages.
    ///
    /// # Errors
    /// Some messages may have been removed.
    pub async fn expire_all<F: Future>(
        &self,
        room: &RoomRow,
        until: Until,
        pause: impl Fn(Duration) -> F,
    ) -> Result<u64, StoreError> {
        let mut messages = 0;
        loop {
            let began = self.environment.now();
            let expired = self.expire(room, until).await?;
            messages += expired.messages;
            pause(self.environment.now().saturating_duration_since(began) * PAUSE).await;
            if !expired.is_more {
                return Ok(messages);
            }
        }
    }

    /// Requests that the messages of a user in a room are deleted: all that have been posted until now.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`, `RATE_LIMITED` if the store is busy.
    pub async fn request_purge(&self, room: &RoomRow, user: UserId) -> Result<(), Refusal> {
        Ok(self.storage.request_purge(room.clone(), user).await?)
    }

    /// The same by the name of the room, which may not exist.
    ///
    /// # Errors
    /// As above.
    pub async fn request_purge_by_name(&self, name: &RoomName, user: UserId) -> Result<(), Refusal> {
        match self.find(name).await? {
            Some(room) => self.request_purge(&room, user).await,
            None => Ok(()),
        }
    }

    /// Deletes messages of a user. Returns those that could not be deleted; a message that does not exist any more needs not
    /// be.
    pub(super) async fn delete_messages(&self, room: &RoomRow, author: UserId, seqs: &[u64]) -> Vec<u64> {
        self.wait_for_capacity().await;
        let mut answers = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let (sender, answer) = oneshot::channel();
            answers.push((seq, answer));
            let Ok(reserved) = self.fan_out.reserve(STATE_BYTES).await else { continue };
            // A deletion does not show the name of its author. If it is not taken, the sender is dropped.
            let user = User { id: author, nickname: String::new() };
            let _ = self.store_change(room, user, (*seq, Change::Delete), Asker::Purge(sender), reserved);
        }
        let mut failed = Vec::new();
        for (seq, answer) in answers {
            match answer.await.unwrap_or(Err(ChangeError::Unavailable)) {
                Ok(()) | Err(ChangeError::NotFound) => {}
                Err(_) => failed.push(*seq),
            }
        }
        failed
    }
}
