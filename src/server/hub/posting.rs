//! Posting: the admission of a message, up to the store. [`super::fan_out`] has the way back.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::core::SeatId;
use super::fan_out::{Author, PostOutcome};
use super::payer::Payer;
use super::{ConnectionHandle, Hub};
use crate::protocol::{ErrorCode, MessageKey, PostAck, Refusal, User};
use crate::server::id::RoomRow;
use crate::server::name_key::RoomName;
use crate::server::storage::Append;

/// A message to post. The text has been checked.
#[derive(Clone, Debug)]
pub struct NewPost {
    /// Makes the post idempotent.
    pub key: MessageKey,
    /// The text.
    pub text: String,
}

impl Hub {
    /// Posts a message from a connection that is in the room. The answer to the frame with this `id` goes to the
    /// connection's outbox, after the commit.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`, `RATE_LIMITED` if the store is busy, `STORE_UNAVAILABLE`. Then there is no other answer.
    pub async fn post(
        &self,
        conn: &ConnectionHandle,
        room: &RoomRow,
        id: Option<u64>,
        post: NewPost,
    ) -> Result<(), Refusal> {
        let reserved = self.fan_out.reserve(&post.text).await?;
        let user = self.shards.of(room.id).begin_post(SeatId { conn: conn.id, room: room.id })?;
        let author = Author::Connection { outbox: conn.outbox.clone(), id };
        self.append(room, user, post, author, reserved)
    }

    /// Posts a message from a form, which has been paid: its user need not be in the room.
    ///
    /// # Errors
    /// Those of [`Hub::enter`], and `KEY_CONFLICT`.
    pub async fn post_form(&self, payer: &Payer, name: RoomName, post: NewPost) -> Result<PostAck, Refusal> {
        self.wait_for_capacity().await;
        let room = self.find_or_create(payer, name).await?;
        let reserved = self.fan_out.reserve(&post.text).await?;
        let user = self.hold_name(&payer.account, &room)?;
        let (sender, answer) = oneshot::channel();
        self.append(&room, user, post, Author::Form(sender), reserved)?;
        answer.await.unwrap_or(Err(ErrorCode::StoreUnavailable.into()))
    }

    fn append(
        &self,
        room: &RoomRow,
        user: User,
        post: NewPost,
        author: Author,
        reserved: OwnedSemaphorePermit,
    ) -> Result<(), Refusal> {
        let (fan_out, id) = (self.fan_out.clone(), room.id);
        let done = move |result| fan_out.push(PostOutcome { room: id, author, result, _reserved: reserved });
        let append = Append { room: room.clone(), user, key: post.key, text: post.text, done: Box::new(done) };
        Ok(self.storage.append(append)?)
    }
}
