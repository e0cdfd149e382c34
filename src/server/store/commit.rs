//! One transaction for a batch of writes.

mod attachment;
mod change;
mod expiry;
mod membership;
mod mention;
mod nickname;
mod purge;
mod room;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode as SqliteCode, OptionalExtension, Transaction, TransactionBehavior, params};

use mention::bytes_of_mentions;
use room::Room;

use super::failure::report;
use super::row::{message, select_messages};
use super::usage::{Quotas, Stored as StoredBytes, StoredInRoom};
use super::write::{Write, Written};
use super::{Append, AppendError, Outcome, StoreError};
use crate::protocol::Message;
use crate::server::history::Stored;

/// A committed batch.
pub(super) struct Committed {
    /// The result of each write.
    pub(super) results: Vec<Result<Written, StoreError>>,
    /// The stored bytes at the moment.
    pub(super) stored: StoredBytes,
    /// The rooms that have grown: their sizes before and afterwards.
    pub(super) grown: Vec<(i64, u64, u64)>,
}

/// Commits a batch. `stored`: what is stored before.
///
/// # Errors
/// Nothing was stored.
pub(super) fn commit(
    connection: &mut Connection,
    batch: &[Write],
    stored: StoredBytes,
    quotas: Quotas,
) -> rusqlite::Result<Committed> {
    let mut attempt = |isolation| attempt(connection, batch, isolation, stored, quotas);
    match attempt(Isolation::Together) {
        // Otherwise one bad write would refuse the others of its batch.
        Err(error) if batch.len() > 1 && is_of_one_write(&error) => attempt(Isolation::Each),
        result => result,
    }
}

/// The scope of an error of one write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Isolation {
    /// It fails the whole batch.
    Together,
    /// It fails this write: each has a savepoint. That costs time, so it is used only when something has failed.
    Each,
}

/// Returns whether an error may concern one write and not the others.
fn is_of_one_write(error: &rusqlite::Error) -> bool {
    let Some(code) = error.sqlite_error_code() else { return true };
    !matches!(
        code,
        SqliteCode::DiskFull
            | SqliteCode::SystemIoFailure
            | SqliteCode::OutOfMemory
            | SqliteCode::DatabaseBusy
            | SqliteCode::DatabaseLocked
            | SqliteCode::ReadOnly
            | SqliteCode::CannotOpen
    )
}

fn attempt(
    connection: &mut Connection,
    batch: &[Write],
    isolation: Isolation,
    stored: StoredBytes,
    quotas: Quotas,
) -> rusqlite::Result<Committed> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut work = Work { transaction: &transaction, at: now(), rooms: HashMap::new(), stored, quotas };
    let mut results = Vec::with_capacity(batch.len());
    for write in batch {
        results.push(match isolation {
            Isolation::Together => work.carry_out(write)?,
            Isolation::Each => work.carry_out_alone(write)?,
        });
    }
    let (stored, mut grown) = (work.stored, Vec::with_capacity(work.rooms.len()));
    for (id, Room { head, rev, floor, bytes_before, stored }) in work.rooms {
        let update =
            "UPDATE rooms SET head = ?2, bytes = ?3, day = ?4, day_bytes = ?5, rev = ?6, floor = ?7 WHERE id = ?1";
        let StoredInRoom { bytes, day, day_bytes } = stored;
        transaction.prepare_cached(update)?.execute(params![
            id,
            head,
            bytes as i64,
            day,
            day_bytes as i64,
            rev,
            floor
        ])?;
        grown.push((id, bytes_before, bytes));
    }
    transaction.commit()?;
    Ok(Committed { results, stored, grown })
}

/// A transaction in progress.
struct Work<'a> {
    transaction: &'a Transaction<'a>,
    at: i64,
    /// The rooms with new messages or changes.
    rooms: HashMap<i64, Room>,
    stored: StoredBytes,
    quotas: Quotas,
}

impl Work<'_> {
    fn carry_out(&mut self, write: &Write) -> rusqlite::Result<Result<Written, StoreError>> {
        Ok(match write {
            Write::Append(new) => Ok(Written::Append(self.append(new)?)),
            Write::Change(request) => Ok(Written::Change(self.change(request)?)),
            Write::CreateRoom { name, .. } => self.create_room(name)?.map(Written::Room),
            Write::File { write, .. } => Ok(Written::File(self.write_file(write)?)),
            Write::Nickname { user, nickname, .. } => {
                self.save_nickname(*user, nickname.as_deref())?.map(|()| Written::Nothing)
            }
            Write::Marks { marks, .. } => self.save_marks(marks)?.map(|()| Written::Nothing),
            Write::Expire(expiry) => Ok(Written::Expired(self.expire(&expiry.room, expiry.until)?)),
            Write::RequestPurge { room, user, .. } => {
                self.request_purge(room, *user)?;
                Ok(Written::Nothing)
            }
            Write::Purged { purge, rest, .. } => {
                self.purged(purge, *rest)?;
                Ok(Written::Nothing)
            }
        })
    }

    /// Carries out a write in a savepoint.
    ///
    /// # Errors
    /// The transaction cannot go on.
    fn carry_out_alone(&mut self, write: &Write) -> rusqlite::Result<Result<Written, StoreError>> {
        self.transaction.execute_batch("SAVEPOINT alone")?;
        let before = self.stored;
        match self.carry_out(write) {
            Ok(result) => {
                self.transaction.execute_batch("RELEASE alone")?;
                Ok(result)
            }
            Err(error) if self.transaction.is_autocommit() || !is_of_one_write(&error) => Err(error),
            Err(error) => {
                report(&error, "a write failed alone");
                self.stored = before;
                self.transaction.execute_batch("ROLLBACK TO alone; RELEASE alone")?;
                Ok(Err(StoreError::Unavailable))
            }
        }
    }

    fn append(&mut self, new: &Append) -> rusqlite::Result<Outcome> {
        let (transaction, at) = (self.transaction, self.at);
        let (room, user, key) = (new.room.number, new.user.id.0 as i64, new.key.0.to_be_bytes());
        let mut find = transaction.prepare_cached(select_messages!("WHERE room = ?1 AND user = ?2 AND key = ?3"))?;
        let find = find.query_row(params![room, user, key], |row| message(transaction, &new.room, row));
        if let Some(stored) = find.optional()? {
            // The content of a message that was changed since says nothing about the one that was sent.
            let ids = stored.attachments().iter().map(|file| file.id);
            let same = stored.text == new.text && ids.eq(new.attachments.iter().copied()) || stored.is_rewritten();
            return Ok(if same {
                Ok(Stored { message: Arc::new(stored), dup: true })
            } else {
                Err(AppendError::KeyConflict)
            });
        }
        let mut stored_room = self.room(room)?;
        let kept = stored_room.floor as u64..=stored_room.head as u64;
        if new.reply_to.is_some_and(|target| !kept.contains(&target)) {
            return Ok(Err(AppendError::NotFound));
        }
        let Some(attachments) = self.find_attachments(new)? else { return Ok(Err(AppendError::AttachmentNotFound)) };
        let mentions = self.mentioned(&new.room, new.user.id, &new.text, &new.mentions)?;
        let bytes = (new.user.nickname.len() + new.text.len()) as u64 + bytes_of_mentions(&mentions);
        if let Err(full) = self.stored.add_message(&mut stored_room.stored, bytes, at, self.quotas) {
            return Ok(Err(full));
        }
        stored_room.head += 1;
        let seq = stored_room.head;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO messages (room, seq, user, key, nickname, text, at, reply_to, attachments, mentions) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        let reply_to = new.reply_to.map(|target| target as i64);
        insert.execute(params![
            room,
            seq,
            user,
            key,
            new.user.nickname,
            new.text,
            at,
            reply_to,
            new.attachments.len() as i64,
            mentions.len() as i64
        ])?;
        self.take_attachments(new, seq)?;
        self.add_mentions(&new.room, seq as u64, &mentions)?;
        self.rooms.insert(room, stored_room);
        let message = Message {
            room: new.room.id,
            seq: seq as u64,
            key: new.key,
            user: new.user.clone(),
            text: new.text.clone(),
            at: at as u64,
            reply_to: new.reply_to,
            state: None,
            attachments,
            mentions: (!mentions.is_empty()).then_some(mentions),
        };
        Ok(Ok(Stored { message: Arc::new(message), dup: false }))
    }
}

/// The time in milliseconds since 1970 UTC.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rusqlite::OpenFlags;
    use rusqlite_migration::Migrations;
    use tokio::sync::oneshot::channel;

    use super::super::migration::MIGRATIONS;
    use super::super::{RoomRow, open_connection};
    use super::*;
    use crate::protocol::{MessageKey, User, UserId};
    use crate::server::id::RoomId;
    use crate::server::name_key::RoomName;

    /// Commits with these quotas.
    fn commit_within(connection: &mut Connection, batch: &[Write], quotas: Quotas) -> rusqlite::Result<Committed> {
        let stored = StoredBytes::read(connection, now())?;
        commit(connection, batch, stored, quotas)
    }

    fn commit_all(connection: &mut Connection, batch: &[Write]) -> rusqlite::Result<Vec<Result<Written, StoreError>>> {
        commit_within(connection, batch, Quotas::UNLIMITED).map(|committed| committed.results)
    }

    fn database(folder: &std::path::Path) -> Connection {
        let mut connection = open_connection(&folder.join("noom.sqlite3"), OpenFlags::default()).unwrap();
        Migrations::from_slice(MIGRATIONS).to_latest(&mut connection).unwrap();
        connection
    }

    fn create(name: &str) -> Write {
        Write::CreateRoom { name: RoomName::parse(name).unwrap(), done: channel().0 }
    }

    fn post(room: i64, key: u128) -> Write {
        Write::Append(Append::of_text(
            RoomRow { number: room, id: RoomId(room as u64), name: "r".into() },
            User { id: UserId(1), nickname: "Ann".into() },
            MessageKey(key),
            "x".into(),
            |_| (),
        ))
    }

    /// The `seq` of the message that was stored, if one was.
    fn seq(result: &Result<Written, StoreError>) -> Option<u64> {
        match result {
            Ok(Written::Append(Ok(stored))) => Some(stored.message.seq),
            Ok(
                Written::Append(Err(_))
                | Written::Change(_)
                | Written::File(_)
                | Written::Room(_)
                | Written::Expired(_)
                | Written::Nothing,
            )
            | Err(_) => None,
        }
    }

    #[test]
    fn bad_write_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = database(folder.path());
        commit_all(&mut connection, &[create("a"), create("b"), post(1, 1)]).unwrap();
        // A damaged room: the number of its next message is taken.
        connection.execute("UPDATE rooms SET head = 0 WHERE id = 1", []).unwrap();
        let nickname = Write::Nickname { user: UserId(1), nickname: Some("Ann".into()), done: channel().0 };
        let (no_such_room, damaged) = (post(99, 2), post(1, 2));
        let batch = [post(2, 2), no_such_room, nickname, damaged, create("c"), post(2, 3)];
        let results = commit_all(&mut connection, &batch).unwrap();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false, true, true]);
        assert_eq!((seq(&results[0]), seq(&results[5])), (Some(1), Some(2)));
        let count = |what: &str| connection.query_row(what, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT COUNT(*) FROM messages WHERE room = 2"), 2);
        assert_eq!(count("SELECT head FROM rooms WHERE id = 2"), 2);
        assert_eq!(count("SELECT COUNT(*) FROM users"), 1);
    }

    #[test]
    fn locked_database_fails_the_batch_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (mut connection, other) = (database(folder.path()), database(folder.path()));
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(commit_all(&mut connection, &[post(1, 1), post(1, 2)]).is_err());
    }

    #[test]
    fn counted_sizes_equal_those_that_the_database_sums_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = database(folder.path());
        let nickname = |name: &str| Write::Nickname { user: UserId(1), nickname: Some(name.into()), done: channel().0 };
        let batch =
            [create("방"), create("방"), create("b"), post(1, 1), post(1, 1), nickname("Ann"), nickname("Bernd")];
        let counted = commit_within(&mut connection, &batch, Quotas::UNLIMITED).unwrap();
        let read = StoredBytes::read(&connection, now()).unwrap();
        assert_eq!(counted.stored, read);
        assert_eq!(counted.grown, [(1, 106, 210)], "a message that is sent again is counted once");
        // The migration of a database without counters counts in the same way.
        let bytes = "SELECT group_concat(bytes) FROM rooms";
        let before: String = connection.query_row(bytes, [], |row| row.get(0)).unwrap();
        connection.execute("UPDATE rooms SET bytes = 0", []).unwrap();
        let migrations = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let migration = std::fs::read_to_string(migrations.join("3-usage.sql")).unwrap();
        connection.execute_batch(&migration[migration.find("UPDATE").unwrap()..]).unwrap();
        assert_eq!(connection.query_row(bytes, [], |row| row.get::<_, String>(0)).unwrap(), before);
    }

    #[test]
    fn write_above_a_quota_is_refused_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = database(folder.path());
        let quotas = Quotas { room: 300, day: u64::MAX, total: 500 };
        let batch = [create("a"), create("b"), post(1, 1), post(1, 2), post(2, 3), post(2, 4), create("c")];
        let Committed { results, .. } = commit_within(&mut connection, &batch, quotas).unwrap();
        assert_eq!(results[3..].iter().map(seq).collect::<Vec<_>>(), [None, Some(1), None, None]);
        assert!(matches!(results[3], Ok(Written::Append(Err(AppendError::RoomFull)))));
        assert!(matches!(results[6], Err(StoreError::Full)), "412 of 500 bytes are used");
    }
}
