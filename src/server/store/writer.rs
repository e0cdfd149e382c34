//! Writing: one thread, one transaction for all that queued up during the last (group commit).

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::{Outcome, RoomRow, StoreError, message};
use crate::protocol::{ErrorCode, Message, MessageKey, User, UserId};
use crate::server::hub::core::{RoomId, Stored};
use crate::server::name_key::RoomName;

/// What may wait for the writer. At the rate of a slow disk this is some seconds of work.
const QUEUE: usize = 8_192;
/// The most writes in one transaction. All of them are answered at once: more would fill the outbox
/// of a connection that reads as fast as it can.
const BATCH: usize = 128;
/// And the most text, in bytes, for the same reason.
const BATCH_BYTES: usize = 256 * 1024;

/// A message to store.
pub struct Append {
    /// Which room.
    pub room: RoomRow,
    /// The author, as named now.
    pub user: User,
    /// The key.
    pub key: MessageKey,
    /// The text, checked.
    pub text: String,
    /// Called once, after the commit or when it failed.
    pub done: Box<dyn FnOnce(Outcome) + Send>,
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Texts do not belong into logs.
        f.debug_struct("Append").field("room", &self.room.id).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why a message was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Its key belongs to another text.
    KeyConflict,
    /// The store cannot write now.
    Unavailable,
}

impl From<AppendError> for ErrorCode {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::KeyConflict => Self::KeyConflict,
            AppendError::Unavailable => Self::StoreUnavailable,
        }
    }
}

type Done<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(super) enum Write {
    Append(Append),
    CreateRoom { name: RoomName, done: Done<RoomRow> },
    Nickname { user: UserId, nickname: Option<String>, done: Done<()> },
}

impl Write {
    fn text_bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.text.len(),
            Self::CreateRoom { .. } | Self::Nickname { .. } => 0,
        }
    }
}

/// The way to the writer's thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Write>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (queue, writes) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || run(connection, &writes))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn send(&self, write: Write) -> Result<(), StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref().ok_or(StoreError::Unavailable)?.try_send(write) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Unavailable),
        }
    }

    pub(super) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It panicked already if this fails, and the panic was reported.
            let _ = thread.join();
        }
    }
}

fn run(mut connection: Connection, writes: &Receiver<Write>) {
    while let Ok(first) = writes.recv() {
        let batch = gather(first, writes);
        match commit(&mut connection, &batch) {
            Ok(results) => batch.into_iter().zip(results).for_each(|(write, result)| answer(write, Ok(result))),
            Err(error) => {
                tracing::error!(%error, "cannot write to the database");
                if is_failed_sync(&error) {
                    // Whether the pages reached the disk is unknown, and asking again may wrongly
                    // say yes. Only a new process, reading what is there, can tell.
                    std::process::exit(74);
                }
                batch.into_iter().for_each(|write| answer(write, Err(StoreError::Unavailable)));
            }
        }
    }
}

/// Takes what waits, up to the bounds of a batch.
fn gather(first: Write, writes: &Receiver<Write>) -> Vec<Write> {
    let (mut bytes, mut batch) = (first.text_bytes(), vec![first]);
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Ok(write) = writes.try_recv() else { break };
        bytes += write.text_bytes();
        batch.push(write);
    }
    batch
}

/// What a write came to.
enum Written {
    Append(Outcome),
    Room(RoomRow),
    Nothing,
}

fn commit(connection: &mut Connection, batch: &[Write]) -> rusqlite::Result<Vec<Written>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let at = now();
    let mut heads = HashMap::new();
    let mut results = Vec::with_capacity(batch.len());
    for write in batch {
        results.push(match write {
            Write::Append(new) => Written::Append(append(&transaction, &mut heads, new, at)?),
            Write::CreateRoom { name, .. } => Written::Room(create_room(&transaction, name, at)?),
            Write::Nickname { user, nickname, .. } => {
                save_nickname(&transaction, *user, nickname.as_deref(), at)?;
                Written::Nothing
            }
        });
    }
    for (room, head) in heads {
        transaction.prepare_cached("UPDATE rooms SET head = ?2 WHERE id = ?1")?.execute(params![room, head])?;
    }
    transaction.commit()?;
    Ok(results)
}

fn append(
    transaction: &Transaction<'_>,
    heads: &mut HashMap<i64, i64>,
    new: &Append,
    at: i64,
) -> rusqlite::Result<Outcome> {
    let (room, user, key) = (new.room.id.0, new.user.id.0 as i64, new.key.0.to_be_bytes());
    let mut find = transaction.prepare_cached(
        "SELECT seq, user, key, nickname, text, at FROM messages WHERE room = ?1 AND user = ?2 AND key = ?3",
    )?;
    if let Some(stored) = find.query_row(params![room, user, key], |row| message(&new.room.name, row)).optional()? {
        let same = stored.text == new.text;
        return Ok(if same { Ok(Stored { message: stored, dup: true }) } else { Err(AppendError::KeyConflict) });
    }
    let head = match heads.get(&room) {
        Some(head) => *head,
        None => {
            transaction.prepare_cached("SELECT head FROM rooms WHERE id = ?1")?.query_row([room], |row| row.get(0))?
        }
    };
    let seq = head + 1;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO messages (room, seq, user, key, nickname, text, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![room, seq, user, key, new.user.nickname, new.text, at])?;
    heads.insert(room, seq);
    let message = Message {
        room: new.room.name.to_string(),
        seq: seq as u64,
        key: new.key,
        user: new.user.clone(),
        text: new.text.clone(),
        at: at as u64,
    };
    Ok(Ok(Stored { message, dup: false }))
}

fn create_room(transaction: &Transaction<'_>, name: &RoomName, at: i64) -> rusqlite::Result<RoomRow> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO rooms (name, folded, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (folded) DO NOTHING",
    )?;
    insert.execute(params![name.canonical, name.folded, at])?;
    let mut find = transaction.prepare_cached("SELECT id, name FROM rooms WHERE folded = ?1")?;
    find.query_row([&name.folded], |row| Ok(RoomRow { id: RoomId(row.get(0)?), name: row.get::<_, String>(1)?.into() }))
}

fn save_nickname(transaction: &Transaction<'_>, user: UserId, nickname: Option<&str>, at: i64) -> rusqlite::Result<()> {
    let id = user.0 as i64;
    match nickname {
        Some(nickname) => transaction
            .prepare_cached("INSERT INTO users (id, nickname, changed_at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET nickname = ?2, changed_at = ?3")?
            .execute(params![id, nickname, at])?,
        None => transaction.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([id])?,
    };
    Ok(())
}

fn answer(write: Write, result: Result<Written, StoreError>) {
    // Whoever no longer waits for the answer has gone away; the write stands.
    match (write, result) {
        (Write::Append(append), Ok(Written::Append(outcome))) => tell(append.done, outcome),
        (Write::Append(append), _) => tell(append.done, Err(AppendError::Unavailable)),
        (Write::CreateRoom { done, .. }, Ok(Written::Room(room))) => drop(done.send(Ok(room))),
        (Write::CreateRoom { done, .. }, _) => drop(done.send(Err(StoreError::Unavailable))),
        (Write::Nickname { done, .. }, result) => drop(done.send(result.map(|_| ()))),
    }
}

/// What a room does with the outcome is not the store's: a panic there must not end the writer.
fn tell(done: Box<dyn FnOnce(Outcome) + Send>, outcome: Outcome) {
    if catch_unwind(AssertUnwindSafe(|| done(outcome))).is_err() {
        tracing::error!("a room panicked at a stored message");
    }
}

fn is_failed_sync(error: &rusqlite::Error) -> bool {
    const FAILED_SYNCS: [i32; 2] = [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC];
    error.sqlite_error().is_some_and(|error| FAILED_SYNCS.contains(&error.extended_code))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
