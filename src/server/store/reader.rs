//! Reading: a few connections, each used by one blocking task at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use tokio::sync::Semaphore;

use super::{RoomRow, StoreError, message, open_connection};
use crate::protocol::{
    MAX_HISTORY_BYTES, MAX_REPLAY, MAX_REPLAY_BYTES, Message, Position, RECENT_MESSAGES, Unrecovered, UserId,
};
use crate::server::hub::core::{History, RoomId};

const CONNECTIONS: usize = 4;

#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        // Not read-only: a reader of a WAL database takes part in its shared memory file.
        let open = || open_connection(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        let idle = (0..CONNECTIONS).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(idle)), free: Arc::new(Semaphore::new(CONNECTIONS)) })
    }

    /// Runs `read` on a thread that may block, inside one read transaction.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.free.clone().acquire_owned().await.map_err(|_| StoreError::Unavailable)?;
        let idle = self.idle.clone();
        let result = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let take = || idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = take().ok_or(StoreError::Unavailable)?;
            // A connection that was lost with a panic would be missed by all who come later.
            let result = catch_unwind(AssertUnwindSafe(|| {
                let transaction = connection.transaction();
                transaction.and_then(|transaction| read(&transaction))
            }));
            let result = result.map_err(|_| StoreError::Unavailable).and_then(|result| {
                result.map_err(|error| {
                    tracing::error!(%error, "cannot read from the database");
                    StoreError::Unavailable
                })
            });
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        result.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

pub(super) fn nickname(connection: &Connection, user: UserId) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT nickname FROM users WHERE id = ?1")?;
    statement.query_row([user.0 as i64], |row| row.get(0)).optional()
}

pub(super) fn room(connection: &Connection, folded: &str) -> rusqlite::Result<Option<RoomRow>> {
    let mut statement = connection.prepare_cached("SELECT id, name FROM rooms WHERE folded = ?1")?;
    let row = |row: &rusqlite::Row<'_>| Ok(RoomRow { id: RoomId(row.get(0)?), name: row.get::<_, String>(1)?.into() });
    statement.query_row([folded], row).optional()
}

pub(super) fn history_for(
    connection: &Connection,
    room: &RoomRow,
    epoch: &str,
    after: Option<Position>,
) -> rusqlite::Result<History> {
    let mut statement = connection.prepare_cached("SELECT head FROM rooms WHERE id = ?1")?;
    let head = statement.query_row([room.id.0], |row| row.get::<_, i64>(0))? as u64;
    let mut history = History { epoch: epoch.to_owned(), head, ..History::default() };

    match after.map(|after| replay(connection, room, epoch, head, &after)).transpose()? {
        Some(Ok(messages)) => {
            history.messages = messages;
            history.recovered = true;
        }
        missed => {
            history.reason = missed.and_then(Result::err);
            (history.messages, history.more) = before(connection, room, head + 1, RECENT_MESSAGES as u64)?;
        }
    }
    Ok(history)
}

/// All messages since a position, or why they cannot be had.
fn replay(
    connection: &Connection,
    room: &RoomRow,
    epoch: &str,
    head: u64,
    after: &Position,
) -> rusqlite::Result<Result<Vec<Message>, Unrecovered>> {
    if after.epoch != epoch {
        return Ok(Err(Unrecovered::EpochChanged));
    }
    if after.seq > head {
        return Ok(Err(Unrecovered::PositionAhead));
    }
    if head - after.seq > MAX_REPLAY {
        return Ok(Err(Unrecovered::GapTooLarge));
    }
    let mut statement = connection.prepare_cached(
        "SELECT seq, user, key, nickname, text, at FROM messages WHERE room = ?1 AND seq > ?2 ORDER BY seq",
    )?;
    let rows = statement.query_map(params![room.id.0, after.seq as i64], |row| message(&room.name, row))?;
    let messages = rows.collect::<Result<Vec<_>, _>>()?;
    let bytes: usize = messages.iter().map(encoded_bytes).sum();
    Ok(if bytes > MAX_REPLAY_BYTES { Err(Unrecovered::GapTooLarge) } else { Ok(messages) })
}

pub(super) fn before(
    connection: &Connection,
    room: &RoomRow,
    before: u64,
    limit: u64,
) -> rusqlite::Result<(Vec<Message>, bool)> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, user, key, nickname, text, at FROM messages WHERE room = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
    )?;
    let mut rows = statement.query(params![room.id.0, before.min(i64::MAX as u64) as i64, limit as i64])?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let message = message(&room.name, row)?;
        bytes += encoded_bytes(&message);
        // One message always fits: its text is bounded.
        if bytes > MAX_HISTORY_BYTES {
            break;
        }
        messages.push(message);
    }
    messages.reverse();
    let more = messages.first().is_some_and(|oldest| oldest.seq > 1);
    Ok((messages, more))
}

/// At most what a message takes in a frame, without encoding it: JSON escapes a byte to at most
/// six, but only controls and few others; doubling covers what people write.
fn encoded_bytes(message: &Message) -> usize {
    let escaped = |text: &str| text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).count() * 5;
    160 + escaped(&message.room) + escaped(&message.user.nickname) + escaped(&message.text)
}
