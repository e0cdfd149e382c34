//! The storage that the hub needs, as a trait. [`super::store::Store`] implements it over SQLite; tests and the
//! simulator have others.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::change::{Candidate, Change, ChangeError, Changed};
use super::history::{Expired, Extent, History, Stored, Until};
pub use super::id::RoomRow;
use super::membership::{Mark, Membership};
use super::name_key::RoomName;
use super::search::Query;
use crate::protocol::{
    AttachmentId, ErrorCode, Message, MessageKey, Place, Position, Refusal, RoomId, SearchAck, User, UserId,
};

/// A message to store.
pub struct Append {
    /// The room.
    pub room: RoomRow,
    /// The author, with the current nickname.
    pub user: User,
    /// Makes the post idempotent: a key is stored once per user and room.
    pub key: MessageKey,
    /// The text, checked.
    pub text: String,
    /// The `seq` of the message that it replies to.
    pub reply_to: Option<u64>,
    /// Its files: finished uploads of the author for this room.
    pub attachments: Vec<AttachmentId>,
    /// The users whom it may mention.
    pub mentions: Vec<Candidate>,
    /// Called once, after the commit or its failure. Must not block: it runs on the thread that commits.
    pub done: Box<dyn FnOnce(Outcome) + Send>,
}

impl Append {
    /// A message with nothing but a text.
    pub fn of_text(
        room: RoomRow,
        user: User,
        key: MessageKey,
        text: String,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> Self {
        let done = Box::new(done);
        Self { room, user, key, text, reply_to: None, attachments: Vec::new(), mentions: Vec::new(), done }
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Message texts must not appear in logs.
        f.debug_struct("Append").field("room", &self.room.id).field("key", &self.key).finish_non_exhaustive()
    }
}

/// A change of a message to store.
pub struct ChangeRequest {
    /// The room.
    pub room: RoomRow,
    /// The user who asks for it, with the current nickname.
    pub user: User,
    /// The `seq` of the message.
    pub seq: u64,
    /// The change.
    pub change: Change,
    /// Called once, after the commit or its failure. Must not block: it runs on the thread that commits.
    pub done: Box<dyn FnOnce(ChangeOutcome) + Send>,
}

impl fmt::Debug for ChangeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeRequest").field("room", &self.room.id).field("seq", &self.seq).finish_non_exhaustive()
    }
}

/// A step of removing the oldest messages of a room.
pub struct Expiry {
    /// The room.
    pub room: RoomRow,
    /// The end of the messages to remove. A step removes a bounded number of them.
    pub until: Until,
    /// Called once, after the commit or its failure. Must not block: it runs on the thread that commits.
    pub done: Box<dyn FnOnce(Result<Expired, StoreError>) + Send>,
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expiry").field("room", &self.room.id).field("until", &self.until).finish_non_exhaustive()
    }
}

/// A request to remove many messages of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Its number.
    pub id: u64,
    /// The room.
    pub room: RoomRow,
    /// The author, whose messages are deleted: a line stays in the place of each. `None`: all messages are removed as if
    /// they had expired.
    pub user: Option<UserId>,
    /// The messages with a higher `seq` are deleted. The others belong to an earlier request of the user.
    pub above: u64,
    /// The `seq` of the last message to remove.
    pub up_to: u64,
}

/// Messages that a purge deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToPurge {
    /// Their positions and the sizes of their texts in bytes. The newest are first, because those are in view.
    pub messages: Vec<(u64, u64)>,
    /// The last message of those that remain; `None` if none do.
    pub rest: Option<u64>,
}

/// The outcome of a [`ChangeRequest`].
pub type ChangeOutcome = Result<Changed, ChangeError>;

/// The outcome of an [`Append`].
pub type Outcome = Result<Stored, AppendError>;

/// The reason why a message was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Its key belongs to another text.
    KeyConflict,
    /// The message that it replies to does not exist.
    NotFound,
    /// One of its files is not a finished upload of the author for this room.
    AttachmentNotFound,
    /// The store cannot write now.
    Unavailable,
    /// The quota of the room is used up.
    RoomFull,
    /// The quota of the day or the total quota is used up.
    ServerFull {
        /// The time until the quota of the day is renewed.
        retry_after_ms: Option<u64>,
    },
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::KeyConflict => ErrorCode::KeyConflict.into(),
            AppendError::AttachmentNotFound => ErrorCode::AttachmentNotFound.into(),
            AppendError::NotFound => ErrorCode::MessageNotFound.into(),
            AppendError::Unavailable => ErrorCode::StoreUnavailable.into(),
            AppendError::RoomFull => ErrorCode::RoomFull.into(),
            AppendError::ServerFull { retry_after_ms } => Self { retry_after_ms, ..ErrorCode::ServerFull.into() },
        }
    }
}

/// The reason why the store did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// It failed, for example because the disk is full. The log has the details.
    Unavailable,
    /// The write queue is full, or there are too many reads.
    Busy,
    /// The total quota is used up.
    Full,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable => ErrorCode::StoreUnavailable.into(),
            StoreError::Busy => Self { retry_after_ms: Some(1_000), ..ErrorCode::RateLimited.into() },
            StoreError::Full => ErrorCode::ServerFull.into(),
        }
    }
}

/// The stored bytes and their quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In total.
    pub stored_bytes: u64,
    /// The most in total.
    pub stored_bytes_limit: u64,
    /// By the messages of today (UTC).
    pub stored_bytes_today: u64,
    /// The most by the messages of a day.
    pub stored_bytes_per_day_limit: u64,
}

/// The result of a storage operation that takes time.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Durable rooms, messages and nicknames.
pub trait Storage: fmt::Debug + Send + Sync {
    /// The epoch that positions count in.
    fn epoch(&self) -> &str;

    /// The nickname that a user chose, if any.
    fn nickname(&self, user: UserId) -> Reply<'_, Option<String>>;

    /// The room with this name, if it exists.
    fn find_room(&self, name: RoomName) -> Reply<'_, Option<RoomRow>>;

    /// The room with this id, if it exists.
    fn find_room_with_id(&self, id: RoomId) -> Reply<'_, Option<RoomRow>>;

    /// Creates the room unless it exists, and returns it.
    fn create_room(&self, name: RoomName) -> Reply<'_, RoomRow>;

    /// The history for a connection that enters: every message after `after`, and the messages that were changed since,
    /// if that can be recovered, else the latest messages and the reason.
    fn history_for(&self, room: RoomRow, after: Option<Position>) -> Reply<'_, History>;

    /// At most `limit` messages with a `seq` below `before`, oldest first, and whether there are older ones.
    fn history_before(&self, room: RoomRow, before: u64, limit: u64) -> Reply<'_, (Vec<Arc<Message>>, bool)>;

    /// The newest messages of rooms before a place that match, at most `limit`. In several rooms only what
    /// [`Query::expression_for_many_rooms`] finds.
    fn search(&self, rooms: Vec<RoomRow>, query: Query, before: Option<Place>, limit: u64) -> Reply<'_, SearchAck>;

    /// The pinned messages of a room, the last pinned first: at most [`MAX_PINS`](crate::protocol::MAX_PINS), and as many
    /// as one answer may carry.
    fn pins(&self, room: RoomRow) -> Reply<'_, Vec<Message>>;

    /// The messages of a room that are kept.
    fn extent(&self, room: RoomRow) -> Reply<'_, Extent>;

    /// Messages with a `seq` above `after` and at most `up_to`, oldest first: a page of at most 100, with at least one
    /// if there is one.
    fn history_between(&self, room: RoomRow, after: u64, up_to: u64) -> Reply<'_, Vec<Message>>;

    /// The rooms in the list of a user, by name.
    fn memberships(&self, user: UserId) -> Reply<'_, Vec<Membership>>;

    /// Stores changes of memberships, in one transaction. A room is not added to a list that is full.
    fn save_marks(&self, marks: Vec<Mark>) -> Reply<'_, ()>;

    /// Stores the nickname that a user chose; `None` removes it.
    fn save_nickname(&self, user: UserId, nickname: Option<String>) -> Reply<'_, ()>;

    /// Queues a message. [`Append::done`] is called after the commit, for the messages of a room in the order of
    /// their `seq`.
    ///
    /// # Errors
    /// The message was not taken, and `done` is never called.
    fn append(&self, append: Append) -> Result<(), StoreError>;

    /// Queues a change of a message. [`ChangeRequest::done`] is called after the commit, for the changes and messages of
    /// a room in the order in which they were queued.
    ///
    /// # Errors
    /// The change was not taken, and `done` is never called.
    fn change(&self, request: ChangeRequest) -> Result<(), StoreError>;

    /// Queues a step of removing the oldest messages of a room. [`Expiry::done`] is called after the commit, in order with
    /// the messages and changes of the room.
    ///
    /// # Errors
    /// The step was not taken, and `done` is never called.
    fn expire(&self, expiry: Expiry) -> Result<(), StoreError>;

    /// Requests a purge of the messages of a user in a room: all that have been posted until now. It is carried out later,
    /// even if the server is stopped meanwhile. Requested again, it only concerns later messages.
    fn request_purge(&self, room: RoomRow, user: UserId) -> Reply<'_, ()>;

    /// The purges that are not finished, at most `limit`, in the order in which they were requested.
    fn purges(&self, limit: u64) -> Reply<'_, Vec<Purge>>;

    /// The next messages of the user that a purge deletes.
    fn messages_to_purge(&self, purge: Purge, user: UserId) -> Reply<'_, ToPurge>;

    /// Notes that of a purge only the messages up to `rest` remain; `None`: it is finished.
    fn purged(&self, purge: Purge, rest: Option<u64>) -> Reply<'_, ()>;

    /// The stored bytes, if this storage counts them.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Commits the queued writes and refuses all later ones.
    fn close(&self);
}
