//! Reading: a pool of connections, each used by one blocking task at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::connection::open_connection;
use super::row::{self, message, select_messages};
use super::{RoomRow, StoreError};
use crate::protocol::{
    MAX_CHANGES, MAX_CHANGES_BYTES, MAX_HISTORY_BYTES, MAX_REPLAY, MAX_REPLAY_BYTES, Message, MessageChange, Position,
    RECENT_MESSAGES, Unrecovered, UserId,
};
use crate::server::history::{Extent, History, check_position, encoded_bytes, encoded_change_bytes};
use crate::server::id::RoomId;
use crate::server::lock::lock;

const CONNECTIONS: usize = 4;
/// The most messages, and bytes of them, in a page of [`between`].
const PAGE_MESSAGES: usize = 100;
const PAGE_BYTES: usize = 64 * 1024;
/// The most rows of changed messages after a position that a read skips to find those before it.
const MAX_LATER_CHANGES: usize = 2_000;
/// The instructions of SQLite's virtual machine between two looks at the clock.
const LOOK_EVERY: i32 = 1_000;

/// The deadlines of a read. Together they are shorter than the time after which a client gives up its connection, which
/// is not written to while a command waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// For its turn. Reads take turns in the order of their arrival, and a connection has one at a time.
    pub(super) turn: Duration,
    /// For the read itself.
    pub(super) read: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { turn: Duration::from_secs(3), read: Duration::from_secs(4) }
    }
}

#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
    results: Semaphore,
    deadlines: Deadlines,
}

impl Readers {
    /// `results`: the reads whose results have not been taken yet, each of at most [`MAX_REPLAY_BYTES`].
    pub(super) fn open(path: &Path, results: usize, deadlines: Deadlines) -> rusqlite::Result<Self> {
        // Not read-only: a reader of a WAL database takes part in its shared memory file.
        let open = || open_connection(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        let idle = (0..CONNECTIONS).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        let (free, results) = (Arc::new(Semaphore::new(CONNECTIONS)), Semaphore::new(results));
        Ok(Self { idle: Arc::new(Mutex::new(idle)), free, results, deadlines })
    }

    /// Runs `read` on a blocking thread, in one read transaction.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if it did not get its turn in time, [`StoreError::Unavailable`] if it failed or took too
    /// long.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = async {
            // Held until the caller has the result.
            let place = self.results.acquire().await.map_err(|_| StoreError::Unavailable)?;
            let permit = self.free.clone().acquire_owned().await.map_err(|_| StoreError::Unavailable)?;
            Ok((place, permit))
        };
        let (_place, permit) = timeout(self.deadlines.turn, turn).await.unwrap_or(Err(StoreError::Busy))?;
        let (idle, deadline) = (self.idle.clone(), self.deadlines.read);
        let result = spawn_blocking(move || {
            let _permit = permit;
            let take = || lock(&idle).pop();
            let mut connection = take().ok_or(StoreError::Unavailable)?;
            let result = read_within(&mut connection, deadline, read);
            lock(&idle).push(connection);
            result
        });
        // A read that waits for the disk cannot be interrupted. It keeps its connection, but not its caller.
        let result = timeout(self.deadlines.read * 5 / 4, result).await;
        result.unwrap_or(Ok(Err(StoreError::Unavailable))).unwrap_or(Err(StoreError::Unavailable))
    }
}

/// Runs `read` in a transaction, and interrupts it at the deadline.
fn read_within<T>(
    connection: &mut Connection,
    deadline: Duration,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let until = Instant::now() + deadline;
    // Without catching it, a panic would remove the connection from the pool.
    let result = catch_unwind(AssertUnwindSafe(|| {
        connection.progress_handler(LOOK_EVERY, Some(move || Instant::now() >= until))?;
        read(&*connection.transaction()?)
    }));
    result.map_err(|_| StoreError::Unavailable)?.map_err(|error| {
        tracing::error!(%error, "cannot read from the database");
        StoreError::Unavailable
    })
}

pub(super) fn nickname(connection: &Connection, user: UserId) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT nickname FROM users WHERE id = ?1")?;
    statement.query_row([user.0 as i64], |row| row.get(0)).optional()
}

pub(super) fn room(connection: &Connection, folded: &str) -> rusqlite::Result<Option<RoomRow>> {
    let mut statement = connection.prepare_cached("SELECT id, public_id, name FROM rooms WHERE folded = ?1")?;
    statement.query_row([folded], |row| row::room(row, 0)).optional()
}

pub(super) fn room_with_id(connection: &Connection, id: RoomId) -> rusqlite::Result<Option<RoomRow>> {
    let mut statement = connection.prepare_cached("SELECT id, public_id, name FROM rooms WHERE public_id = ?1")?;
    statement.query_row([id.0 as i64], |row| row::room(row, 0)).optional()
}

pub(super) fn extent(connection: &Connection, room: &RoomRow) -> rusqlite::Result<Extent> {
    Ok(extent_and_rev(connection, room)?.0)
}

fn extent_and_rev(connection: &Connection, room: &RoomRow) -> rusqlite::Result<(Extent, u64)> {
    let mut statement = connection.prepare_cached("SELECT floor, head, rev FROM rooms WHERE id = ?1")?;
    statement.query_row([room.number], |row| {
        let number = |index| row.get::<_, i64>(index).map(|number| number as u64);
        Ok((Extent { floor: number(0)?, head: number(1)? }, number(2)?))
    })
}

pub(super) fn history_for(
    connection: &Connection,
    room: &RoomRow,
    epoch: &str,
    after: Option<Position>,
) -> rusqlite::Result<History> {
    let (Extent { floor, head }, rev) = extent_and_rev(connection, room)?;
    let mut history = History { epoch: epoch.to_owned(), head, rev, floor, ..History::default() };

    let Some(after) = after else {
        (history.messages, history.more) = before(connection, room, head + 1, RECENT_MESSAGES as u64)?;
        return Ok(history);
    };
    match replay(connection, room, &mut history, &after)? {
        Ok(messages) => {
            history.messages = messages;
            history.recovered = true;
        }
        Err(reason) => {
            history.reason = Some(reason);
            (history.messages, history.more) = before(connection, room, head + 1, RECENT_MESSAGES as u64)?;
        }
    }
    Ok(history)
}

/// All messages after a position, or the reason why they cannot be replayed. `history` is the room's end; its changes are
/// set.
fn replay(
    connection: &Connection,
    room: &RoomRow,
    history: &mut History,
    after: &Position,
) -> rusqlite::Result<Result<Vec<Arc<Message>>, Unrecovered>> {
    match check_position(after, history) {
        Ok(()) | Err(Unrecovered::GapTooLarge) => {}
        Err(reason @ (Unrecovered::EpochChanged | Unrecovered::PositionAhead | Unrecovered::Expired)) => {
            return Ok(Err(reason));
        }
    }
    history.changes = changes_since(connection, room, after.rev, after.seq)?;
    if history.changes.is_none() {
        return Ok(Err(Unrecovered::GapTooLarge));
    }
    if history.head - after.seq > MAX_REPLAY {
        return Ok(Err(Unrecovered::GapTooLarge));
    }
    let mut statement = connection.prepare_cached(select_messages!("WHERE room = ?1 AND seq > ?2 ORDER BY seq"))?;
    let mut rows = statement.query(params![room.number, after.seq as i64])?;
    let mut messages = Vec::new();
    let mut bytes = history.changes.iter().flatten().map(|change| encoded_change_bytes(change)).sum::<usize>();
    while let Some(row) = rows.next()? {
        let message = message(connection, room, row)?;
        bytes += encoded_bytes(&message);
        // At once: the gap can be many times as large.
        if bytes > MAX_REPLAY_BYTES {
            return Ok(Err(Unrecovered::GapTooLarge));
        }
        messages.push(Arc::new(message));
    }
    Ok(Ok(messages))
}

/// The states of the messages up to `seq` that were changed after a revision. `None`: too many.
fn changes_since(
    connection: &Connection,
    room: &RoomRow,
    rev: u64,
    seq: u64,
) -> rusqlite::Result<Option<Vec<Arc<MessageChange>>>> {
    // The condition `rev > 0` lets SQLite use the partial index.
    let mut statement =
        connection.prepare_cached(select_messages!("WHERE room = ?1 AND rev > ?2 AND rev > 0 ORDER BY rev"))?;
    let mut rows = statement.query(params![room.number, rev as i64])?;
    let (mut changes, mut bytes, mut later) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(0)? as u64 > seq {
            // Messages after the position come with their states. They cost a row each here.
            later += 1;
            if later > MAX_LATER_CHANGES {
                return Ok(None);
            }
            continue;
        }
        let Some(change) = change_of(message(connection, room, row)?) else { continue };
        bytes += encoded_change_bytes(&change);
        if bytes > MAX_CHANGES_BYTES || changes.len() >= MAX_CHANGES {
            return Ok(None);
        }
        changes.push(Arc::new(change));
    }
    Ok(Some(changes))
}

/// The state of a message that was changed, as it is sent to clients that have an earlier one.
fn change_of(message: Message) -> Option<MessageChange> {
    let Message { room, seq, text, mentions, state, .. } = message;
    let state = *state?;
    // A deleted message needs no text, and one that was not edited has the one that it was posted with.
    let text = (state.edits > 0 && state.deleted_at.is_none()).then_some(text);
    let mentions = mentions.filter(|_| text.is_some());
    Some(MessageChange { room, seq, text, mentions, state })
}

pub(super) fn before(
    connection: &Connection,
    room: &RoomRow,
    before: u64,
    limit: u64,
) -> rusqlite::Result<(Vec<Arc<Message>>, bool)> {
    let mut statement =
        connection.prepare_cached(select_messages!("WHERE room = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"))?;
    let mut rows = statement.query(params![room.number, before.min(i64::MAX as u64) as i64, limit as i64])?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let message = message(connection, room, row)?;
        bytes += encoded_bytes(&message);
        // One message always fits, because its text is bounded.
        if bytes > MAX_HISTORY_BYTES {
            break;
        }
        messages.push(Arc::new(message));
    }
    messages.reverse();
    let more = match messages.first() {
        Some(oldest) => oldest.seq > extent(connection, room)?.floor,
        None => false,
    };
    Ok((messages, more))
}

/// The pinned messages of a room, the last pinned first, as many as one answer may carry.
pub(super) fn pins(connection: &Connection, room: &RoomRow) -> rusqlite::Result<Vec<Message>> {
    let mut pins = connection.prepare_cached("SELECT seq FROM pins WHERE room = ?1 ORDER BY at DESC, seq DESC")?;
    let mut select = connection.prepare_cached(select_messages!("WHERE room = ?1 AND seq = ?2"))?;
    let mut rows = pins.query([room.number])?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let pinned =
            select.query_row(params![room.number, row.get::<_, i64>(0)?], |row| message(connection, room, row))?;
        bytes += encoded_bytes(&pinned);
        // One message always fits, because its text is bounded.
        if bytes > MAX_HISTORY_BYTES {
            break;
        }
        messages.push(pinned);
    }
    Ok(messages)
}

/// Messages with a `seq` above `after` and at most `up_to`, oldest first: a page, which has at least one if there is one.
pub(super) fn between(
    connection: &Connection,
    room: &RoomRow,
    after: u64,
    up_to: u64,
) -> rusqlite::Result<Vec<Message>> {
    let mut statement =
        connection.prepare_cached(select_messages!("WHERE room = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq"))?;
    let mut rows = statement.query(params![room.number, after as i64, up_to as i64])?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while messages.len() < PAGE_MESSAGES
        && bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let message = message(connection, room, row)?;
        bytes += encoded_bytes(&message);
        messages.push(message);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT SUM(i) FROM n";

    const RESULTS: usize = 16;
    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    fn readers(folder: &Path, turn: Duration, read: Duration) -> Readers {
        let path = folder.join("noom.sqlite3");
        open_connection(&path, OpenFlags::default()).unwrap();
        Readers::open(&path, RESULTS, Deadlines { turn, read }).unwrap()
    }

    fn number(connection: &Connection, query: &str) -> rusqlite::Result<i64> {
        connection.query_row(query, [], |row| row.get(0))
    }

    #[tokio::test]
    async fn endless_read_is_interrupted_and_its_connection_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut readers = readers(folder.path(), LONG, SHORT);
        for _ in 0..2 {
            let endless = (0..CONNECTIONS).map(|_| readers.run(|connection| number(connection, ENDLESS)));
            let results = futures::future::join_all(endless).await;
            assert!(results.iter().all(|result| *result == Err(StoreError::Unavailable)), "{results:?}");
        }
        readers.deadlines.read = LONG;
        assert_eq!(readers.run(|connection| number(connection, "SELECT 7")).await, Ok(7));
    }

    #[tokio::test]
    async fn read_that_does_not_get_its_turn_is_refused_as_busy() {
        let folder = tempfile::tempdir().unwrap();
        let mut readers = readers(folder.path(), SHORT, LONG);
        let taken = readers.free.acquire_many(CONNECTIONS as u32).await.unwrap();
        assert_eq!(readers.run(|connection| number(connection, "SELECT 7")).await, Err(StoreError::Busy));
        drop(taken);
        readers.deadlines.turn = LONG;
        assert_eq!(readers.run(|connection| number(connection, "SELECT 7")).await, Ok(7));
    }

    #[tokio::test]
    async fn results_that_nobody_takes_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let readers = readers(folder.path(), LONG, LONG);
        let read = || Box::pin(readers.run(|connection| number(connection, "SELECT 7")));
        let taken = readers.free.acquire_many(CONNECTIONS as u32).await.unwrap();
        let mut waiting: Vec<_> = (0..RESULTS + 4).map(|_| read()).collect();
        // Each begins, and is not polled again.
        assert!(waiting.iter_mut().all(|read| read.as_mut().now_or_never().is_none()));
        assert_eq!(readers.results.available_permits(), 0);
        drop(waiting.split_off(2));
        drop(taken);
        assert_eq!(read().await, Ok(7), "a caller that gave up leaves its place");
    }

    #[tokio::test]
    async fn panic_in_a_read_keeps_the_connection() {
        let folder = tempfile::tempdir().unwrap();
        let readers = readers(folder.path(), LONG, LONG);
        for _ in 0..=CONNECTIONS {
            let read = readers.run(|_| -> rusqlite::Result<i64> { panic!("boom") });
            assert_eq!(read.await, Err(StoreError::Unavailable));
        }
        assert_eq!(readers.run(|connection| number(connection, "SELECT 7")).await, Ok(7));
    }
}
