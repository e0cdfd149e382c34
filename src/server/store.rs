//! The store: rooms, messages and nicknames in one SQLite file in the data folder.
//!
//! All writes are made by one thread ([`writer`]), in group commits. Reads use a small pool of connections ([`reader`]).
//! In WAL mode neither waits for the other. [`epoch`] decides whether earlier positions are still valid, [`mod@backup`] makes
//! copies, and [`room_reader`] reads one room beside a server.

mod attachment;
mod backup;
mod beside;
mod checkpoint;
mod commit;
mod connection;
mod epoch;
mod expiry;
mod failure;
mod files;
mod index;
mod memberships;
mod migration;
mod purges;
mod reader;
mod room_reader;
mod row;
mod scrub;
mod search;
mod usage;
mod write;
mod writer;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use rusqlite::OpenFlags;
use tokio::sync::{Notify, oneshot};

use crate::protocol::{Message, Place, Position, RoomId, SearchAck, UserId};
use crate::server::history::{Extent, History};
use crate::server::membership::{Mark, Membership};
use crate::server::name_key::RoomName;
use crate::server::search::Query;
use crate::server::start_error::{Source, StartError};
use crate::server::storage::{Expiry, Purge, Reply, Storage, ToPurge, Usage};

pub use crate::server::storage::{Append, AppendError, ChangeOutcome, ChangeRequest, Outcome, RoomRow, StoreError};
pub(in crate::server) use attachment::{FILES_FOLDER, open_files_lock};
pub use attachment::{FileHash, FileWrite, NewFile, StoredFile};
pub use backup::{BackupSummary, backup, files_beside};
use checkpoint::Checkpoints;
use connection::open_connection;
use index::Indexer;
pub use purges::request_purge;
use reader::{Deadlines, Readers};
pub use room_reader::RoomReader;
pub use usage::Quotas;
use usage::{Gauges, Stored};
use write::Write;
use writer::Writer;

/// The open database.
#[derive(Debug)]
pub struct Store {
    readers: Readers,
    writer: Writer,
    epoch: String,
    quotas: Quotas,
    gauges: Arc<Gauges>,
    /// Notified when a purge was requested.
    purge_requested: Notify,
    /// Dropped after all connections.
    _database: Arc<File>,
    /// Locked while the store is open, so that no second server writes here.
    _lock: File,
}

impl Store {
    /// [`Store::open_within`] without quotas.
    ///
    /// # Errors
    /// As there.
    pub fn open(folder: &Path, fresh_epoch: &str) -> Result<Self, StartError> {
        Self::open_within(folder, fresh_epoch, Quotas::UNLIMITED, 16)
    }

    /// Opens `noom.sqlite3` in `folder`, and creates or migrates it if necessary. `fresh_epoch` is the epoch of a new
    /// database, and of one that may have been replaced. `read_results`: the results of reads that may wait to be taken.
    ///
    /// # Errors
    /// One clear line: the file is read-only, in use by another server, damaged, newer, or a copy
    /// beside the log of another.
    pub fn open_within(
        folder: &Path,
        fresh_epoch: &str,
        quotas: Quotas,
        read_results: usize,
    ) -> Result<Self, StartError> {
        let path = folder.join("noom.sqlite3");
        let lock = lock(folder)?;
        let failed = |source: Source| StartError::OpenDatabase { path: path.clone(), source };
        // SQLite opens a read-only file without an error and fails at the first write.
        if path.exists() {
            File::options().append(true).open(&path).map_err(|error| failed(error.into()))?;
        }
        if backup::has_foreign_wal(&path).map_err(|error| failed(error.into()))? {
            return Err(failed("noom.sqlite3-wal belongs to a different database; delete it first".into()));
        }
        let mut connection = open_connection(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
            .map_err(|error| failed(error.into()))?;
        epoch::adopt_legacy(&connection, folder).map_err(|error| failed(error.into()))?;
        migration::migrate(&mut connection, &path)?;
        let (watermark, count) =
            epoch::resolve_epoch(&connection, folder, fresh_epoch).map_err(|error| failed(error.into()))?;
        let epoch = watermark.epoch().to_owned();
        let watermark = Arc::new(watermark);
        let database = File::options().read(true).write(true).open(&path).map_err(|error| failed(error.into()))?;
        let database = Arc::new(database);
        let readers = Readers::open(&path, read_results, Deadlines::default()).map_err(|error| failed(error.into()))?;
        let checkpoints = Checkpoints::start(&path, database.clone(), watermark.clone()).map_err(&failed)?;
        let indexer = Indexer::open(&mut connection).map_err(|error| failed(error.into()))?;
        let stored = Stored::read(&connection, commit::now()).map_err(|error| failed(error.into()))?;
        let gauges = Arc::<Gauges>::default();
        let usage = (stored, quotas, gauges.clone());
        let writer = Writer::start(connection, checkpoints, indexer, watermark, count, usage);
        let writer = writer.map_err(|error| failed(error.into()))?;
        let purge_requested = Notify::new();
        Ok(Self { readers, writer, epoch, quotas, gauges, purge_requested, _database: database, _lock: lock })
    }

    /// The epoch that positions count in.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The nickname that a user chose, if any.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]. The same for all reads.
    pub async fn nickname(&self, user: UserId) -> Result<Option<String>, StoreError> {
        self.readers.run(move |connection| reader::nickname(connection, user)).await
    }

    /// The room with this name, if it exists.
    ///
    /// # Errors
    /// As above.
    pub async fn find_room(&self, name: &RoomName) -> Result<Option<RoomRow>, StoreError> {
        let folded = name.folded.clone();
        self.readers.run(move |connection| reader::room(connection, &folded)).await
    }

    /// The room with this id, if it exists.
    ///
    /// # Errors
    /// As above.
    pub async fn find_room_with_id(&self, id: RoomId) -> Result<Option<RoomRow>, StoreError> {
        self.readers.run(move |connection| reader::room_with_id(connection, id)).await
    }

    /// The history for a connection that enters: every message after `after` if that can be recovered, else the latest
    /// messages and the reason.
    ///
    /// # Errors
    /// As above.
    pub async fn history_for(&self, room: RoomRow, after: Option<Position>) -> Result<History, StoreError> {
        let epoch = self.epoch.clone();
        self.readers.run(move |connection| reader::history_for(connection, &room, &epoch, after)).await
    }

    /// At most `limit` messages with a `seq` below `before`, oldest first, and whether there are older ones.
    ///
    /// # Errors
    /// As above.
    pub async fn history_before(
        &self,
        room: RoomRow,
        before: u64,
        limit: u64,
    ) -> Result<(Vec<Arc<Message>>, bool), StoreError> {
        self.readers.run(move |connection| reader::before(connection, &room, before, limit)).await
    }

    /// The newest messages of rooms before a place that match, at most `limit`.
    ///
    /// # Errors
    /// As above.
    pub async fn search(
        &self,
        rooms: Vec<RoomRow>,
        query: Query,
        before: Option<Place>,
        limit: u64,
    ) -> Result<SearchAck, StoreError> {
        self.readers.run(move |connection| search::search(connection, &rooms, &query, before, limit)).await
    }

    /// The pinned messages of a room, the last pinned first.
    ///
    /// # Errors
    /// As above.
    pub async fn pins(&self, room: RoomRow) -> Result<Vec<Message>, StoreError> {
        self.readers.run(move |connection| reader::pins(connection, &room)).await
    }

    /// The messages of a room that are kept.
    ///
    /// # Errors
    /// As above.
    pub async fn extent(&self, room: RoomRow) -> Result<Extent, StoreError> {
        self.readers.run(move |connection| reader::extent(connection, &room)).await
    }

    /// Messages with a `seq` above `after` and at most `up_to`, oldest first: a page of at most 100, with at least one
    /// if there is one.
    ///
    /// # Errors
    /// As above.
    pub async fn history_between(&self, room: RoomRow, after: u64, up_to: u64) -> Result<Vec<Message>, StoreError> {
        self.readers.run(move |connection| reader::between(connection, &room, after, up_to)).await
    }

    /// Creates the room unless it exists, and returns it.
    ///
    /// # Errors
    /// [`StoreError`]. The same for all writes.
    pub async fn create_room(&self, name: RoomName) -> Result<RoomRow, StoreError> {
        self.write(|done| Write::CreateRoom { name, done }).await
    }

    /// Stores the nickname that a user chose; `None` removes it.
    ///
    /// # Errors
    /// As above.
    pub async fn save_nickname(&self, user: UserId, nickname: Option<String>) -> Result<(), StoreError> {
        self.write(|done| Write::Nickname { user, nickname, done }).await
    }

    /// The rooms in the list of a user, by name.
    ///
    /// # Errors
    /// As all reads.
    pub async fn memberships(&self, user: UserId) -> Result<Vec<Membership>, StoreError> {
        self.readers.run(move |connection| memberships::memberships(connection, user)).await
    }

    /// Stores changes of memberships, in one transaction.
    ///
    /// # Errors
    /// As all writes.
    pub async fn save_marks(&self, marks: Vec<Mark>) -> Result<(), StoreError> {
        self.write(|done| Write::Marks { marks, done }).await
    }

    /// Queues a message. [`Append::done`] is called on the writer thread after the commit, for the messages of a room in
    /// the order of their `seq`.
    ///
    /// # Errors
    /// The message was not taken, and `done` is never called.
    pub fn append(&self, append: Append) -> Result<(), StoreError> {
        self.writer.send(Write::Append(append))
    }

    /// Queues a change of a message, in order with the messages.
    ///
    /// # Errors
    /// The change was not taken, and [`ChangeRequest::done`] is never called.
    pub fn change(&self, request: ChangeRequest) -> Result<(), StoreError> {
        self.writer.send(Write::Change(request))
    }

    /// The stored bytes and their quotas.
    pub fn usage(&self) -> Usage {
        self.gauges.read(self.quotas)
    }

    /// Commits the queued writes and ends the writer. Refuses all later writes.
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

impl Storage for Store {
    fn epoch(&self) -> &str {
        Self::epoch(self)
    }

    fn nickname(&self, user: UserId) -> Reply<'_, Option<String>> {
        Box::pin(Self::nickname(self, user))
    }

    fn find_room(&self, name: RoomName) -> Reply<'_, Option<RoomRow>> {
        Box::pin(async move { Self::find_room(self, &name).await })
    }

    fn find_room_with_id(&self, id: RoomId) -> Reply<'_, Option<RoomRow>> {
        Box::pin(Self::find_room_with_id(self, id))
    }

    fn create_room(&self, name: RoomName) -> Reply<'_, RoomRow> {
        Box::pin(Self::create_room(self, name))
    }

    fn history_for(&self, room: RoomRow, after: Option<Position>) -> Reply<'_, History> {
        Box::pin(Self::history_for(self, room, after))
    }

    fn history_before(&self, room: RoomRow, before: u64, limit: u64) -> Reply<'_, (Vec<Arc<Message>>, bool)> {
        Box::pin(Self::history_before(self, room, before, limit))
    }

    fn search(&self, rooms: Vec<RoomRow>, query: Query, before: Option<Place>, limit: u64) -> Reply<'_, SearchAck> {
        Box::pin(Self::search(self, rooms, query, before, limit))
    }

    fn pins(&self, room: RoomRow) -> Reply<'_, Vec<Message>> {
        Box::pin(Self::pins(self, room))
    }

    fn extent(&self, room: RoomRow) -> Reply<'_, Extent> {
        Box::pin(Self::extent(self, room))
    }

    fn history_between(&self, room: RoomRow, after: u64, up_to: u64) -> Reply<'_, Vec<Message>> {
        Box::pin(Self::history_between(self, room, after, up_to))
    }

    fn memberships(&self, user: UserId) -> Reply<'_, Vec<Membership>> {
        Box::pin(Self::memberships(self, user))
    }

    fn save_marks(&self, marks: Vec<Mark>) -> Reply<'_, ()> {
        Box::pin(Self::save_marks(self, marks))
    }

    fn save_nickname(&self, user: UserId, nickname: Option<String>) -> Reply<'_, ()> {
        Box::pin(Self::save_nickname(self, user, nickname))
    }

    fn append(&self, append: Append) -> Result<(), StoreError> {
        Self::append(self, append)
    }

    fn change(&self, request: ChangeRequest) -> Result<(), StoreError> {
        Self::change(self, request)
    }

    fn expire(&self, expiry: Expiry) -> Result<(), StoreError> {
        self.writer.send(Write::Expire(expiry))
    }

    fn request_purge(&self, room: RoomRow, user: UserId) -> Reply<'_, ()> {
        Box::pin(Self::request_purge(self, room, user))
    }

    fn purges(&self, limit: u64) -> Reply<'_, Vec<Purge>> {
        Box::pin(Self::purges(self, limit))
    }

    fn messages_to_purge(&self, purge: Purge, user: UserId) -> Reply<'_, ToPurge> {
        Box::pin(Self::messages_to_purge(self, purge, user))
    }

    fn purged(&self, purge: Purge, rest: Option<u64>) -> Reply<'_, ()> {
        Box::pin(Self::purged(self, purge, rest))
    }

    fn usage(&self) -> Usage {
        Self::usage(self)
    }

    fn close(&self) {
        Self::close(self);
    }
}

/// Locks the data folder for this process. The kernel releases the lock when the process ends.
fn lock(folder: &Path) -> Result<File, StartError> {
    let failed = |source| StartError::WriteDataFolder { path: folder.to_owned(), source };
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("noom.lock"));
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::DataFolderInUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
