//! The writes that wait for the writer, and their results.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::attachment::FileWrite;
use super::{Append, AppendError, ChangeOutcome, ChangeRequest, Outcome, RoomRow, StoreError};
use crate::protocol::UserId;
use crate::server::change::{Change, ChangeError};
use crate::server::history::Expired;
use crate::server::membership::Mark;
use crate::server::name_key::RoomName;
use crate::server::storage::{Expiry, Purge};

type FileDone = oneshot::Sender<Result<(), AppendError>>;
type Done<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(super) enum Write {
    Append(Append),
    Change(ChangeRequest),
    File { write: FileWrite, done: FileDone },
    CreateRoom { name: RoomName, done: Done<RoomRow> },
    Nickname { user: UserId, nickname: Option<String>, done: Done<()> },
    Marks { marks: Vec<Mark>, done: Done<()> },
    Expire(Expiry),
    RequestPurge { room: RoomRow, user: UserId, done: Done<()> },
    Purged { purge: Purge, rest: Option<u64>, done: Done<()> },
}

impl Write {
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.text.len(),
            Self::Change(request) => match &request.change {
                Change::Edit { text, .. } => text.len(),
                Change::React(emoji) | Change::Unreact(emoji) => emoji.len(),
                Change::Delete | Change::Pin | Change::Unpin => 0,
            },
            Self::File { .. }
            | Self::CreateRoom { .. }
            | Self::Nickname { .. }
            | Self::Expire(_)
            | Self::RequestPurge { .. }
            | Self::Purged { .. } => 0,
            Self::Marks { marks, .. } => marks.len() * size_of::<Mark>(),
        }
    }

    /// Answers the caller.
    pub(super) fn answer(self, result: Result<Written, StoreError>) {
        // The caller may have given up waiting. The write is stored all the same.
        match (self, result) {
            (Write::Append(append), Ok(Written::Append(outcome))) => report_outcome(append.done, outcome),
            (Write::Append(append), _) => report_outcome(append.done, Err(AppendError::Unavailable)),
            (Write::Change(request), Ok(Written::Change(outcome))) => report_outcome(request.done, outcome),
            (Write::Change(request), _) => report_outcome(request.done, Err(ChangeError::Unavailable)),
            (Write::File { done, .. }, Ok(Written::File(result))) => drop(done.send(result)),
            (Write::File { done, .. }, _) => drop(done.send(Err(AppendError::Unavailable))),
            (Write::CreateRoom { done, .. }, Ok(Written::Room(room))) => drop(done.send(Ok(room))),
            (Write::CreateRoom { done, .. }, result) => drop(done.send(Err(error_of(&result)))),
            (Write::Expire(expiry), Ok(Written::Expired(expired))) => report_outcome(expiry.done, Ok(expired)),
            (Write::Expire(expiry), result) => report_outcome(expiry.done, Err(error_of(&result))),
            (
                Write::Nickname { done, .. }
                | Write::Marks { done, .. }
                | Write::RequestPurge { done, .. }
                | Write::Purged { done, .. },
                result,
            ) => drop(done.send(result.map(|_| ()))),
        }
    }
}

/// The result of a write that did not fail.
pub(super) enum Written {
    Append(Outcome),
    Change(ChangeOutcome),
    File(Result<(), AppendError>),
    Room(RoomRow),
    Expired(Expired),
    Nothing,
}

impl Written {
    /// Returns whether a quota refused the write.
    pub(super) fn is_above_quota(result: &Result<Self, StoreError>) -> bool {
        matches!(
            result,
            Ok(Self::Append(Err(AppendError::RoomFull | AppendError::ServerFull { .. }))
                | Self::File(Err(AppendError::RoomFull | AppendError::ServerFull { .. }))
                | Self::Change(Err(ChangeError::RoomFull | ChangeError::ServerFull { .. })))
                | Err(StoreError::Full)
        )
    }
}

/// The error of a write that has not had its own kind of result.
fn error_of(result: &Result<Written, StoreError>) -> StoreError {
    result.as_ref().err().copied().unwrap_or(StoreError::Unavailable)
}

/// Reports an outcome. A panic in the callback must not end the writer.
fn report_outcome<T>(done: Box<dyn FnOnce(T) + Send>, outcome: T) {
    if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        tracing::error!("a callback panicked at the outcome of a write");
    }
}
