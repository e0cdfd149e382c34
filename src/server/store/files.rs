//! The rows of files: writing and reading them.

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::oneshot;

use super::attachment::{FileHash, FileWrite, NewFile, StoredFile};
use super::row::attachment;
use super::write::Write;
use super::{AppendError, Store, StoreError};
use crate::protocol::{AttachmentId, Refusal, UserId};
use crate::server::id::RoomId;

impl Store {
    /// Writes about a file.
    ///
    /// # Errors
    /// `ROOM_FULL`, `SERVER_FULL`, `RATE_LIMITED` if the store is busy, `STORE_UNAVAILABLE`.
    pub async fn write_file(&self, write: FileWrite) -> Result<(), Refusal> {
        let (done, answer) = oneshot::channel();
        self.writer.send(Write::File { write, done })?;
        Ok(answer.await.unwrap_or(Err(AppendError::Unavailable))?)
    }

    /// The attachment with this id.
    ///
    /// # Errors
    /// [`StoreError`]. The same for all reads.
    pub async fn file(&self, id: AttachmentId) -> Result<Option<StoredFile>, StoreError> {
        let select = "SELECT attachments.id, attachments.name, type, attachments.bytes, width, height, public_id, user, hash, seq \
             FROM attachments JOIN rooms ON rooms.id = room WHERE attachments.id = ?1";
        self.readers
            .run(move |connection| connection.prepare_cached(select)?.query_row([id.0 as i64], stored_file).optional())
            .await
    }

    /// The number of uploads of a user that no message has taken.
    ///
    /// # Errors
    /// As above.
    pub async fn unsent_files(&self, user: UserId) -> Result<u64, StoreError> {
        let count = "SELECT COUNT(*) FROM attachments WHERE user = ?1 AND seq IS NULL";
        let count = move |connection: &Connection| {
            connection.prepare_cached(count)?.query_row([user.0 as i64], |row| row.get::<_, i64>(0))
        };
        Ok(self.readers.run(count).await? as u64)
    }

    /// Uploads that were complete before a time, in milliseconds since 1970 UTC, and that no message has taken: at most
    /// `limit`.
    ///
    /// # Errors
    /// As above.
    pub async fn unsent_files_before(&self, at: u64, limit: u64) -> Result<Vec<AttachmentId>, StoreError> {
        let select = "SELECT id FROM attachments WHERE seq IS NULL AND at < ?1 LIMIT ?2";
        let id = |row: &Row<'_>| row.get::<_, i64>(0).map(|id| AttachmentId(id as u64));
        let read = move |connection: &Connection| {
            connection.prepare_cached(select)?.query_map([at as i64, limit as i64], id)?.collect()
        };
        self.readers.run(read).await
    }

    /// Contents that may belong to no attachment: at most `limit`.
    ///
    /// # Errors
    /// As above.
    pub async fn unclaimed_files(&self, limit: u64) -> Result<Vec<FileHash>, StoreError> {
        let select = "SELECT hash FROM unclaimed_files LIMIT ?1";
        let hash = |row: &Row<'_>| row.get(0).map(FileHash);
        let read = move |connection: &Connection| {
            connection.prepare_cached(select)?.query_map([limit as i64], hash)?.collect()
        };
        self.readers.run(read).await
    }

    /// Returns whether a content belongs to an attachment.
    ///
    /// # Errors
    /// As above.
    pub async fn is_claimed(&self, hash: FileHash) -> Result<bool, StoreError> {
        let select = "SELECT EXISTS (SELECT 1 FROM attachments WHERE hash = ?1)";
        self.readers
            .run(move |connection| connection.prepare_cached(select)?.query_row([hash.0], |row| row.get(0)))
            .await
    }
}

fn stored_file(row: &Row<'_>) -> rusqlite::Result<StoredFile> {
    let file = NewFile {
        room: RoomId(row.get::<_, i64>(6)? as u64),
        user: UserId(row.get::<_, i64>(7)? as u64),
        hash: FileHash(row.get(8)?),
        attachment: attachment(row)?,
    };
    Ok(StoredFile { file, seq: row.get::<_, Option<i64>>(9)?.map(|seq| seq as u64) })
}

/// The contents of all files that a database names, for a copy of it. A database of an earlier version has none.
pub(super) fn hashes(connection: &Connection) -> rusqlite::Result<Vec<FileHash>> {
    if !connection.table_exists(None, "attachments")? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare("SELECT DISTINCT hash FROM attachments")?;
    statement.query_map(params![], |row| row.get(0).map(FileHash))?.collect()
}
