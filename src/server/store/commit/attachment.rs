//! Files, in the transaction of their batch.

use rusqlite::{Connection, OptionalExtension, params};

use super::super::attachment::{FileHash, FileWrite, NewFile};
use super::super::row::attachment;
use super::super::usage::ROW;
use super::super::{Append, AppendError};
use super::Work;
use crate::protocol::{Attachment, AttachmentId};

impl Work<'_> {
    pub(super) fn write_file(&mut self, write: &FileWrite) -> rusqlite::Result<Result<(), AppendError>> {
        let transaction = self.transaction;
        match write {
            FileWrite::Begin(hash) => add_unclaimed(transaction, *hash)?,
            FileWrite::Add(file) => return self.add_file(file),
            FileWrite::Remove(id) => self.remove_file(*id)?,
            FileWrite::Forget(hash) => remove_unclaimed(transaction, *hash)?,
        }
        Ok(Ok(()))
    }

    fn add_file(&mut self, file: &NewFile) -> rusqlite::Result<Result<(), AppendError>> {
        let NewFile { room, user, hash, attachment: Attachment { id: file_id, name, media_type, bytes, .. } } = file;
        let number = self.room_number(*room)?;
        let mut room = self.room(number)?;
        if let Err(full) = self.stored.add_file(&mut room.stored, size(name, *bytes), self.at, self.quotas) {
            return Ok(Err(full));
        }
        let (width, height) = file.attachment.size().unzip();
        let (width, height) = (width.map(|pixels| pixels as i64), height.map(|pixels| pixels as i64));
        let insert = "INSERT INTO attachments (id, room, user, hash, name, type, bytes, width, height, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let (file_id, user, bytes) = (file_id.0 as i64, user.0 as i64, *bytes as i64);
        let values = params![file_id, number, user, hash.0, name, media_type, bytes, width, height, self.at];
        self.transaction.prepare_cached(insert)?.execute(values)?;
        remove_unclaimed(self.transaction, *hash)?;
        self.rooms.insert(number, room);
        Ok(Ok(()))
    }

    /// Removes an attachment, unless a message has taken it.
    fn remove_file(&mut self, file: AttachmentId) -> rusqlite::Result<()> {
        let remove = "DELETE FROM attachments WHERE id = ?1 AND seq IS NULL RETURNING room, name, bytes, hash, at";
        let removed = self.transaction.prepare_cached(remove)?.query_row([file.0 as i64], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)? as u64,
                row.get(3)?,
                row.get(4)?,
            ))
        });
        let Some((id, name, bytes, hash, added_at)): Option<(i64, String, u64, [u8; 32], i64)> = removed.optional()?
        else {
            return Ok(());
        };
        add_unclaimed(self.transaction, FileHash(hash))?;
        let mut room = self.room(id)?;
        self.stored.remove_file(&mut room.stored, size(&name, bytes), added_at, self.at);
        self.rooms.insert(id, room);
        Ok(())
    }

    /// The files of a new message. `None`: one is not a finished upload of its author for this room.
    pub(super) fn find_attachments(&self, new: &Append) -> rusqlite::Result<Option<Option<Vec<Attachment>>>> {
        if new.attachments.is_empty() {
            return Ok(Some(None));
        }
        let mut find = self.transaction.prepare_cached(
            "SELECT id, name, type, bytes, width, height FROM attachments \
             WHERE id = ?1 AND room = ?2 AND user = ?3 AND seq IS NULL",
        )?;
        let (room, user) = (new.room.number, new.user.id.0 as i64);
        let mut find = |id: &AttachmentId| find.query_row(params![id.0 as i64, room, user], attachment).optional();
        let found = new.attachments.iter().map(&mut find).collect::<rusqlite::Result<Option<Vec<_>>>>()?;
        Ok(found.map(Some))
    }

    /// Gives the files to their message.
    pub(super) fn take_attachments(&self, new: &Append, seq: i64) -> rusqlite::Result<()> {
        for (place, id) in new.attachments.iter().enumerate() {
            let take = "UPDATE attachments SET seq = ?2, place = ?3 WHERE id = ?1";
            self.transaction.prepare_cached(take)?.execute(params![id.0 as i64, seq, place as i64])?;
        }
        Ok(())
    }

    /// The size of the files of a message.
    pub(super) fn bytes_of_attachments(&self, room: i64, seq: u64) -> rusqlite::Result<u64> {
        let sum =
            "SELECT COALESCE(SUM(bytes + octet_length(name) + ?3), 0) FROM attachments WHERE room = ?1 AND seq = ?2";
        let sum = self
            .transaction
            .prepare_cached(sum)?
            .query_row(params![room, seq as i64, ROW as i64], |row| row.get::<_, i64>(0))?;
        Ok(sum as u64)
    }

    /// Removes the files of a message that is deleted. The collector removes their contents.
    pub(super) fn remove_attachments(&self, room: i64, seq: u64) -> rusqlite::Result<()> {
        let (transaction, seq) = (self.transaction, seq as i64);
        release_contents(transaction, room, seq, seq + 1)?;
        let remove = "DELETE FROM attachments WHERE room = ?1 AND seq = ?2";
        transaction.prepare_cached(remove)?.execute([room, seq])?;
        let update = "UPDATE messages SET attachments = 0 WHERE room = ?1 AND seq = ?2";
        transaction.prepare_cached(update)?.execute([room, seq]).map(drop)
    }
}

/// The collector will look at the contents of the files of messages from `first` to before `end`.
pub(super) fn release_contents(transaction: &Connection, room: i64, first: i64, end: i64) -> rusqlite::Result<()> {
    // `OR IGNORE`: two messages can have the same content.
    let release = "INSERT OR IGNORE INTO unclaimed_files (hash) \
         SELECT hash FROM attachments WHERE room = ?1 AND seq >= ?2 AND seq < ?3";
    transaction.prepare_cached(release)?.execute([room, first, end]).map(drop)
}

/// The collector will remove this content, unless an attachment has it.
fn add_unclaimed(transaction: &Connection, hash: FileHash) -> rusqlite::Result<()> {
    let insert = "INSERT INTO unclaimed_files (hash) VALUES (?1) ON CONFLICT DO NOTHING";
    transaction.prepare_cached(insert)?.execute([hash.0]).map(drop)
}

fn remove_unclaimed(transaction: &Connection, hash: FileHash) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM unclaimed_files WHERE hash = ?1")?.execute([hash.0]).map(drop)
}

/// The size that a file counts towards the quotas.
fn size(name: &str, bytes: u64) -> u64 {
    ROW + name.len() as u64 + bytes
}
