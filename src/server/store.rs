//! What outlives the process: rooms, messages, chosen names. One SQLite file in the data folder.
//!
//! All writing happens on one thread ([`writer`]), which commits everything that queued up during
//! the last commit together. Reading happens on a small pool of connections ([`reader`]). With WAL
//! neither waits for the other. [`epoch`] knows whether positions still hold, [`backup`] makes
//! copies.

mod backup;
mod epoch;
mod reader;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};
use tokio::sync::oneshot;

use crate::protocol::{Message, MessageKey, Position, User, UserId};
use crate::server::hub::core::{History, RoomId, Stored};
use crate::server::name_key::RoomName;

pub use backup::{BackupError, Copied, backup};
use reader::Readers;
pub use writer::{Append, AppendError};
use writer::{Write, Writer};

const MIGRATIONS: &[M<'_>] =
    &[M::up(include_str!("../../migrations/1-rooms.sql")), M::up(include_str!("../../migrations/2-mark.sql"))];
/// How long a connection waits for another one, of a backup for example.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A room as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// Its number.
    pub id: RoomId,
    /// Its canonical name, as first entered.
    pub name: Arc<str>,
}

/// The store cannot do it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// It failed, and the log says why: a full disk, say.
    Unavailable,
    /// So much waits to be written that no more is taken.
    Busy,
}

/// The database could not be opened: one line for the person who started the server.
#[derive(Debug)]
pub struct OpenError(String);

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

/// The open database.
#[derive(Debug)]
pub struct Store {
    readers: Readers,
    writer: Writer,
    epoch: String,
    /// Held as long as the store is open, so that no second server writes here.
    _lock: File,
}

impl Store {
    /// Opens `noom.sqlite3` in `folder`, creating and migrating it as needed. `fresh_epoch` names
    /// the history of a new database, and of one that may have been another before.
    ///
    /// # Errors
    /// One clear line: the file is read-only, in use by another server, damaged, newer, or a copy
    /// beside the log of another.
    pub fn open(folder: &Path, fresh_epoch: &str) -> Result<Self, OpenError> {
        let path = folder.join("noom.sqlite3");
        let lock = lock(&folder.join("noom.lock"))?;
        let failed =
            |error: &dyn std::fmt::Display| OpenError(format!("cannot open the database {}: {error}", path.display()));
        // SQLite would open a read-only file without a word and fail at the first message.
        if path.exists() {
            File::options().append(true).open(&path).map_err(|error| failed(&error))?;
        }
        if backup::has_foreign_log(&path).map_err(|error| failed(&error))? {
            return Err(failed(&"it was put there, and noom.sqlite3-wal is of another one; remove that first"));
        }
        let mut connection = open_connection(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
            .map_err(|error| failed(&error))?;
        epoch::believe_once(&connection, folder).map_err(|error| failed(&error))?;
        Migrations::from_slice(MIGRATIONS).to_latest(&mut connection).map_err(|error| failed(&error))?;
        let (mark, stored) = epoch::settle(&connection, folder, fresh_epoch).map_err(|error| failed(&error))?;
        let epoch = mark.epoch().to_owned();
        let readers = Readers::open(&path).map_err(|error| failed(&error))?;
        let writer = Writer::start(connection, mark, stored).map_err(|error| failed(&error))?;
        Ok(Self { readers, writer, epoch, _lock: lock })
    }

    /// The history that positions count in.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The name somebody chose, if they did.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; so for all that read.
    pub async fn nickname(&self, user: UserId) -> Result<Option<String>, StoreError> {
        self.readers.run(move |connection| reader::nickname(connection, user)).await
    }

    /// The room of that name, if it exists.
    ///
    /// # Errors
    /// As above.
    pub async fn find_room(&self, name: &RoomName) -> Result<Option<RoomRow>, StoreError> {
        let folded = name.folded.clone();
        self.readers.run(move |connection| reader::room(connection, &folded)).await
    }

    /// What a connection that enters is given: all since `after` if that can be had, else the
    /// latest messages and the reason.
    ///
    /// # Errors
    /// As above.
    pub async fn history_for(&self, room: RoomRow, after: Option<Position>) -> Result<History, StoreError> {
        let epoch = self.epoch.clone();
        self.readers.run(move |connection| reader::history_for(connection, &room, &epoch, after)).await
    }

    /// At most `limit` messages before `before`, oldest first, and whether there are older ones.
    ///
    /// # Errors
    /// As above.
    pub async fn history_before(
        &self,
        room: RoomRow,
        before: u64,
        limit: u64,
    ) -> Result<(Vec<Message>, bool), StoreError> {
        self.readers.run(move |connection| reader::before(connection, &room, before, limit)).await
    }

    /// Creates the room unless it exists, and returns it.
    ///
    /// # Errors
    /// [`StoreError`]; so for all that write.
    pub async fn create_room(&self, name: RoomName) -> Result<RoomRow, StoreError> {
        self.write(|done| Write::CreateRoom { name, done }).await
    }

    /// Remembers the name somebody chose; `None` forgets it.
    ///
    /// # Errors
    /// As above.
    pub async fn save_nickname(&self, user: UserId, nickname: Option<String>) -> Result<(), StoreError> {
        self.write(|done| Write::Nickname { user, nickname, done }).await
    }

    /// Stores a message. `done` is called from the writer's thread after the commit, for the
    /// messages of a room in the order of their `seq`.
    ///
    /// # Errors
    /// [`StoreError::Busy`]: it was not taken, and `done` is never called.
    pub fn append(&self, append: Append) -> Result<(), StoreError> {
        self.writer.send(Write::Append(append))
    }

    /// Commits what waits and ends the writer. What is written afterwards is refused.
    pub fn close(&self) {
        self.writer.close();
    }

    async fn write<T>(
        &self,
        write: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Write,
    ) -> Result<T, StoreError> {
        let (done, answer) = oneshot::channel();
        self.writer.send(write(done))?;
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

/// Takes the folder for this process. The lock goes with the process, however it ends.
fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |error: &dyn std::fmt::Display| {
        OpenError(format!("cannot write to the data folder ({}): {error}", path.display()))
    };
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let folder: PathBuf = path.parent().map(Path::to_path_buf).unwrap_or_default();
            Err(OpenError(format!("another Noom is using the data folder {}", folder.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(&error)),
    }
}

fn open_connection(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // An acknowledged message survives the loss of power: the log is synced at every commit (FULL).
    // EXTRA syncs the folder as well when a journal is removed, which there is until the log is used
    // for the first time. Found again after a loss of power, it would take back everything.
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The writer copies the log into the database by itself: automatically, SQLite would keep to
    // itself when that fails.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// A row of `messages`: seq, user, key, nickname, text, at.
fn message(room: &str, row: &rusqlite::Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        room: room.to_owned(),
        seq: row.get::<_, i64>(0)? as u64,
        user: User { id: UserId(row.get::<_, i64>(1)? as u64), nickname: row.get(3)? },
        key: MessageKey(u128::from_be_bytes(row.get(2)?)),
        text: row.get(4)?,
        at: row.get::<_, i64>(5)? as u64,
    })
}

/// The outcome of [`Store::append`], for the core.
pub type Outcome = Result<Stored, AppendError>;
