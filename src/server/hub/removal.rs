//! Removal of many messages: expiry at the beginning of a room, and purges.
//!
//! Both are carried out in steps, because other writes wait for each, and connections receive what each has removed.

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
use crate::server::storage::{Expiry, Purge, StoreError};

/// The most messages that a step of a purge deletes. They are sent to the whole room at once.
const STEP: usize = 50;
/// The shortest pause after a step. With it, a purge sends a room at most about 100 frames a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// A pause is also this many times as long as the step, so that removing takes a small part of the writer's time.
const PAUSE: u32 = 4;

impl Hub {
    /// Removes the oldest messages of a room: a bounded number. Returns when the connections in the room have been told.
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

    /// Carries out a turn of each requested purge. `pause` waits after each step. Returns whether there is more to do.
    ///
    /// # Errors
    /// Those of the first purge that has failed. The others have had their turn.
    pub async fn purge<F: Future>(&self, pause: impl Fn(Duration) -> F + Copy) -> Result<bool, Refusal> {
        let (mut is_more, mut result, mut after) = (false, Ok(()), 0);
        loop {
            let purges = self.storage.purges(after).await?;
            let Some(last) = purges.last() else { return result.map(|()| is_more) };
            after = last.id;
            for purge in purges {
                match self.purge_in_turn(purge, pause).await {
                    Ok(is_finished) => is_more |= !is_finished,
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
    }

    /// Carries out a turn of a purge. Returns whether it is finished.
    async fn purge_in_turn<F: Future>(&self, purge: Purge, pause: impl Fn(Duration) -> F) -> Result<bool, Refusal> {
        let rest = match purge.user {
            None => {
                self.expire_all(&purge.room, Until::Seq(purge.up_to), pause).await?;
                None
            }
            Some(user) => {
                let found = self.storage.messages_to_purge(purge.room.clone(), user, purge.up_to).await?;
                for seqs in found.seqs.chunks(STEP) {
                    let began = self.environment.now();
                    self.delete_messages(&purge.room, user, seqs).await?;
                    let lasted = self.environment.now().saturating_duration_since(began);
                    pause((lasted * PAUSE).max(SHORTEST_PAUSE)).await;
                }
                found.rest
            }
        };
        self.storage.purged(purge, rest).await?;
        Ok(rest.is_none())
    }

    /// Deletes messages of a user. Returns when all of them have been delivered. Those that do not exist any more are
    /// skipped.
    async fn delete_messages(&self, room: &RoomRow, author: UserId, seqs: &[u64]) -> Result<(), Refusal> {
        self.wait_for_capacity().await;
        let mut answers = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let reserved = self.fan_out.reserve(STATE_BYTES).await?;
            let (sender, answer) = oneshot::channel();
            // A deletion does not show the name of its author.
            let user = User { id: author, nickname: String::new() };
            self.store_change(room, user, (*seq, Change::Delete), Asker::Purge(sender), reserved)?;
            answers.push(answer);
        }
        for answer in answers {
            match answer.await.unwrap_or(Err(ChangeError::Unavailable)) {
                Ok(()) | Err(ChangeError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
