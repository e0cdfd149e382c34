//! Posting: the admission of messages and changes, up to the store. [`super::fan_out`] has the way back.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::core::SeatId;
use super::fan_out::{Asker, Author, Outcome, Written};
use super::payer::Payer;
use super::{ConnectionHandle, Hub};
use crate::protocol::change::EditMessage;
use crate::protocol::{AttachmentId, ErrorCode, MAX_MENTIONS, MessageKey, MessageRef, PostAck, Refusal, User, UserId};
use crate::server::change::{Candidate, Change};
use crate::server::id::RoomRow;
use crate::server::name_key::RoomName;
use crate::server::storage::{Append, ChangeRequest};

/// The size of the state of a message with many reactions, in bytes.
pub(super) const STATE_BYTES: usize = 4 * 1024;

/// The size of a file in a message, without its content, in bytes.
const ATTACHMENT_BYTES: usize = 512;

/// The size of a mention in a message, in bytes.
const MENTION_BYTES: usize = 576;

/// A message to post. The text has been checked.
#[derive(Clone, Debug)]
pub struct NewPost {
    /// Makes the post idempotent.
    pub key: MessageKey,
    /// The text.
    pub text: String,
    /// The message that it replies to.
    pub reply_to: Option<MessageRef>,
    /// Its files: finished uploads of the author for this room.
    pub attachments: Vec<AttachmentId>,
    /// The users whom the text may mention.
    pub mentions: Vec<UserId>,
}

impl NewPost {
    /// A message with nothing but a text.
    pub fn of_text(key: MessageKey, text: String) -> Self {
        Self { key, text, reply_to: None, attachments: Vec::new(), mentions: Vec::new() }
    }

    /// Its size until it is delivered, in bytes.
    fn bytes(&self) -> usize {
        self.text.len() + self.attachments.len() * ATTACHMENT_BYTES + mention_bytes(self.mentions.len())
    }
}

fn mention_bytes(count: usize) -> usize {
    count.min(MAX_MENTIONS) * MENTION_BYTES
}

impl Hub {
    /// Posts a message from a connection that is in the room. The answer to the frame with this `id` goes to the
    /// connection's outbox, after the commit.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`, `EPOCH_CHANGED`, `RATE_LIMITED` if the store is busy, `STORE_UNAVAILABLE`. Then there is no other answer.
    pub async fn post(
        &self,
        conn: &ConnectionHandle,
        room: &RoomRow,
        id: Option<u64>,
        post: NewPost,
    ) -> Result<(), Refusal> {
        let reserved = self.fan_out.reserve(post.bytes()).await?;
        let (user, mentions) = {
            let mut shard = self.shards.of(room.id);
            let user = shard.begin_post(SeatId { conn: conn.id, room: room.id })?;
            (user, shard.candidates(room.id, &post.mentions))
        };
        let author = Author::Connection { outbox: conn.outbox.clone(), id };
        self.append(room, user, (post, mentions), author, reserved)
    }

    /// Posts a message from a form, which has been paid: its user need not be in the room.
    ///
    /// # Errors
    /// Those of [`Hub::enter`], and `KEY_CONFLICT`.
    pub async fn post_form(&self, payer: &Payer, name: RoomName, post: NewPost) -> Result<PostAck, Refusal> {
        self.wait_for_capacity().await;
        let room = self.find_or_create(payer, name).await?;
        let reserved = self.fan_out.reserve(post.bytes()).await?;
        let user = self.hold_name(&payer.account, &room)?;
        let (sender, answer) = oneshot::channel();
        self.append(&room, user, (post, Vec::new()), Author::Form(sender), reserved)?;
        answer.await.unwrap_or(Err(ErrorCode::StoreUnavailable.into()))
    }

    fn append(
        &self,
        room: &RoomRow,
        user: User,
        (post, mentions): (NewPost, Vec<Candidate>),
        author: Author,
        reserved: OwnedSemaphorePermit,
    ) -> Result<(), Refusal> {
        let reply_to = post.reply_to.map(|target| self.seq_of(&target)).transpose()?;
        let (fan_out, of) = (self.fan_out.clone(), room.clone());
        let done = move |result| {
            fan_out.push(Outcome { room: of, result: Written::Post { author, result }, _reserved: reserved });
        };
        let append = Append {
            room: room.clone(),
            user,
            key: post.key,
            text: post.text,
            reply_to,
            attachments: post.attachments,
            mentions,
            done: Box::new(done),
        };
        Ok(self.storage.append(append)?)
    }

    /// Edits a message on behalf of a connection that is in the room. The answer to the frame with this `id` goes to the
    /// connection's outbox, after the commit.
    ///
    /// # Errors
    /// As [`Hub::post`].
    pub async fn edit(
        &self,
        conn: &ConnectionHandle,
        room: &RoomRow,
        id: Option<u64>,
        edit: EditMessage,
    ) -> Result<(), Refusal> {
        let mentioned = edit.mentions.unwrap_or_default();
        let mentions = self.shards.of(room.id).candidates(room.id, &mentioned);
        let change = Change::Edit { edits: edit.edits, text: edit.text, mentions };
        self.change(conn, room, id, &edit.target, change).await
    }

    /// Changes a message in another way.
    ///
    /// # Errors
    /// As [`Hub::post`].
    pub async fn change(
        &self,
        conn: &ConnectionHandle,
        room: &RoomRow,
        id: Option<u64>,
        target: &MessageRef,
        change: Change,
    ) -> Result<(), Refusal> {
        let seq = self.seq_of(target)?;
        let bytes = match &change {
            Change::Edit { text, mentions, .. } => text.len() + mention_bytes(mentions.len()) + STATE_BYTES,
            // The state of a message goes to the whole room.
            Change::Delete | Change::React(_) | Change::Unreact(_) | Change::Pin | Change::Unpin => STATE_BYTES,
        };
        let reserved = self.fan_out.reserve(bytes).await?;
        let user = self.shards.of(room.id).member(SeatId { conn: conn.id, room: room.id })?;
        let reacted = matches!(change, Change::React(_)).then_some(user.id);
        let asker = Asker::Connection { outbox: conn.outbox.clone(), id, reacted };
        self.store_change(room, user, (seq, change), asker, reserved)
    }

    pub(super) fn store_change(
        &self,
        room: &RoomRow,
        user: User,
        (seq, change): (u64, Change),
        asker: Asker,
        reserved: OwnedSemaphorePermit,
    ) -> Result<(), Refusal> {
        let (fan_out, of) = (self.fan_out.clone(), room.clone());
        let done = move |result| {
            fan_out.push(Outcome { room: of, result: Written::Change { asker, seq, result }, _reserved: reserved });
        };
        let request = ChangeRequest { room: room.clone(), user, seq, change, done: Box::new(done) };
        Ok(self.storage.change(request)?)
    }

    /// The position of a message that a client refers to.
    pub(super) fn seq_of(&self, target: &MessageRef) -> Result<u64, Refusal> {
        if target.epoch == self.storage.epoch() { Ok(target.seq) } else { Err(ErrorCode::EpochChanged.into()) }
    }
}
