//! Writing: one thread, one transaction for all that queued up during the last (group commit).

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::epoch::Mark;
use super::{Outcome, RoomRow, StoreError, message};
use crate::protocol::{ErrorCode, Message, MessageKey, User, UserId};
use crate::server::hub::core::{RoomId, Stored};
use crate::server::name_key::RoomName;

/// The exit code when it is not known what reached the disk (EX_IOERR of sysexits.h).
const UNSURE: i32 = 74;
/// What may wait for the writer. At the rate of a slow disk this is some seconds of work.
const QUEUE: usize = 8_192;
/// And how much text, in bytes.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// The most writes in one transaction. All of them are answered at once: more would fill the outbox
/// of a connection that reads as fast as it can.
const BATCH: usize = 128;
/// And the most text, in bytes, for the same reason.
const BATCH_BYTES: usize = 256 * 1024;
/// How many pages of the log wait at least before they are copied into the database, when nothing
/// else is to be done.
const LOG_PAGES: i64 = 1_000;
/// And at most, even when there is.
const MOST_LOG_PAGES: i64 = 8_000;

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
    /// How much text is in the queue, in bytes.
    waiting: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. `stored` messages are in the database.
    pub(super) fn start(connection: Connection, mark: Mark, stored: u64) -> std::io::Result<Self> {
        let (queue, writes) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let work = Work { connection, writes, waiting: waiting.clone(), mark, stored };
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
            // Without this thread nothing is ever stored again. A new process begins with what is there.
            if catch_unwind(AssertUnwindSafe(|| work.run())).is_err() {
                std::process::exit(UNSURE);
            }
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), waiting, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn send(&self, write: Write) -> Result<(), StoreError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(StoreError::Unavailable)?;
        let bytes = write.text_bytes();
        if self.waiting.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            return Err(StoreError::Busy);
        }
        // Counted first: the thread may take it at once.
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        queue.try_send(write).map_err(|error| {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Unavailable,
            }
        })
    }

    pub(super) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It panicked already if this fails, and the panic was reported.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Work {
    connection: Connection,
    writes: Receiver<Write>,
    waiting: Arc<AtomicUsize>,
    mark: Mark,
    stored: u64,
}

impl Work {
    fn run(mut self) {
        while let Some(first) = self.next() {
            let batch = self.gather(first);
            match commit(&mut self.connection, &batch) {
                Ok(results) => {
                    self.count(&results);
                    batch.into_iter().zip(results).for_each(|(write, result)| answer(write, Ok(result)));
                }
                Err(error) => {
                    report(&error, "cannot write to the database");
                    batch.into_iter().for_each(|write| answer(write, Err(StoreError::Unavailable)));
                }
            }
            self.shorten_log(MOST_LOG_PAGES);
        }
        // The database is whole without a log then; a copy of the one file is a copy of everything.
        self.checkpoint("TRUNCATE");
    }

    /// Waits for the next write; `None` when there will be none.
    fn next(&mut self) -> Option<Write> {
        let write = match self.writes.try_recv() {
            Err(TryRecvError::Empty) => {
                self.shorten_log(LOG_PAGES);
                self.writes.recv().ok()
            }
            write => write.ok(),
        };
        write.inspect(|write| self.take(write))
    }

    /// Takes what waits, up to the bounds of a batch.
    fn gather(&mut self, first: Write) -> Vec<Write> {
        let (mut bytes, mut batch) = (first.text_bytes(), vec![first]);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Ok(write) = self.writes.try_recv() else { break };
            self.take(&write);
            bytes += write.text_bytes();
            batch.push(write);
        }
        batch
    }

    fn take(&self, write: &Write) {
        self.waiting.fetch_sub(write.text_bytes(), Ordering::Relaxed);
    }

    /// Marks what is stored, before anyone hears of it.
    fn count(&mut self, results: &[Written]) {
        let new = |result: &&Written| matches!(result, Written::Append(Ok(stored)) if !stored.dup);
        match results.iter().filter(new).count() {
            0 => return,
            new => self.stored += new as u64,
        }
        if let Err(error) = self.mark.claim(self.stored) {
            tracing::warn!(%error, "cannot write to noom.mark: an older copy of the database may pass for this one");
        }
    }

    /// Copies the log into the database when so many pages wait for it.
    fn shorten_log(&self, pages: i64) {
        let waiting = self
            .connection
            .prepare_cached("PRAGMA wal_checkpoint(NOOP)")
            .and_then(|mut statement| statement.query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)));
        match waiting {
            Ok(waiting) if waiting < pages => {}
            Ok(_) => self.checkpoint("PASSIVE"),
            Err(error) => report(&error, "cannot look at the database's log"),
        }
    }

    fn checkpoint(&self, mode: &str) {
        // Another's reading may keep it from being complete; then the next one is.
        let done = self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
        if let Err(error) = done {
            report(&error, "cannot copy the log into the database");
        }
        if let Err(error) = self.mark.sync() {
            tracing::warn!(%error, "cannot write to noom.mark");
        }
    }
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

/// Logs an error. One of syncing ends the process.
fn report(error: &rusqlite::Error, what: &str) {
    const FAILED_SYNCS: [i32; 2] = [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC];
    tracing::error!(%error, "{what}");
    if error.sqlite_error().is_some_and(|error| FAILED_SYNCS.contains(&error.extended_code)) {
        // Whether the pages reached the disk is unknown, and asking again may wrongly say yes. Only
        // a new process, reading what is there, can tell.
        std::process::exit(UNSURE);
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
