//! The index of the search: an FTS5 table in the database, which the writer fills beside the commits.
//!
//! A message is not indexed by the transaction that stores it, so that posting costs what it did without a search. The
//! writer indexes many messages at once, while it has nothing else to do or in a small part of its time. A room's row
//! has the `seq` up to which it is indexed, and a search reads the messages after it.
//!
//! A change of an indexed message changes the index in its own transaction: a deleted text is gone everywhere at once,
//! except for a trace that is removed later ([`separators`]).

mod separators;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::StoreError;
use super::checkpoint::Writing;
use super::failure::report;
use super::write::{Write, Written};
use crate::server::search::{TOKENS_VERSION, tokens};
use separators::Place;

/// Fewer messages than this are left to the searches, which read them. Each transaction of the index begins a segment of
/// it, so that many small ones would cost more.
const ENOUGH: u64 = 128;
/// The most messages in a transaction while nothing else is to be written.
const IDLE_MESSAGES: u64 = 512;
/// The most messages in a transaction while writes wait for it.
const BUSY_MESSAGES: u64 = 64;
/// The most text in a transaction, in bytes.
const BATCH_BYTES: usize = 128 * 1024;
/// The writer counts as idle after this time without a write.
const QUIET: Duration = Duration::from_millis(5);
/// While the writer is busy, indexing pauses this many times as long as it took.
const BUSY_PAUSE: u32 = 20;
/// The interval between two attempts that fail.
const RETRY_FAILED: Duration = Duration::from_secs(10);

/// The interval between two looks for traces of removed words.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The most separators in a step of a look.
const SEPARATORS: usize = 256;

/// The part of the writer that fills the index.
#[derive(Debug)]
pub(super) struct Indexer {
    /// The rooms with messages that are not indexed.
    rooms: BTreeMap<i64, Pending>,
    /// The number of those messages.
    messages: u64,
    /// The room that is next.
    next_room: i64,
    /// Nothing is indexed before this time while the writer is busy.
    busy_at: Instant,
    /// After a failure: nothing is indexed before this time.
    retry_at: Option<Instant>,
    /// Words may have been removed since the last look for their traces began. At the start that is not known.
    is_dirty: bool,
    /// The place that a look for traces has reached.
    looking: Option<Place>,
    /// The next look does not begin before this time.
    look_at: Instant,
}

/// The messages of a room that are not indexed: those after `indexed` up to `head`.
#[derive(Clone, Copy, Debug)]
struct Pending {
    indexed: u64,
    head: u64,
}

impl Indexer {
    /// Looks for what is not indexed. Empties the index if it has the tokens of another version.
    pub(super) fn open(connection: &mut Connection) -> rusqlite::Result<Self> {
        let version: i64 = connection.query_row("SELECT tokens FROM search_version", [], |row| row.get(0))?;
        if version != TOKENS_VERSION {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(
                "INSERT INTO search (search) VALUES ('delete-all'); UPDATE rooms SET indexed = floor - 1",
            )?;
            transaction.execute("UPDATE search_version SET tokens = ?1", [TOKENS_VERSION])?;
            transaction.commit()?;
        }
        let mut select = connection.prepare("SELECT id, indexed, head FROM rooms WHERE indexed < head")?;
        let rooms = select.query_map([], |row| {
            Ok((row.get(0)?, Pending { indexed: row.get::<_, i64>(1)? as u64, head: row.get::<_, i64>(2)? as u64 }))
        })?;
        let rooms: BTreeMap<i64, Pending> = rooms.collect::<rusqlite::Result<_>>()?;
        let messages = rooms.values().map(|room| room.head - room.indexed).sum();
        Ok(Self {
            rooms,
            messages,
            next_room: 0,
            busy_at: Instant::now(),
            retry_at: None,
            is_dirty: true,
            looking: None,
            look_at: Instant::now(),
        })
    }

    /// Notes the new messages of a batch, and whether it has changed others.
    pub(super) fn committed(&mut self, batch: &[Write], results: &[Result<Written, StoreError>]) {
        for (write, result) in batch.iter().zip(results) {
            let text_changed = matches!(write, Write::Change(request) if request.change.replaces_text());
            self.is_dirty |= text_changed && matches!(result, Ok(Written::Change(Ok(_))));
            if let (Write::Expire(expiry), Ok(Written::Expired(expired))) = (write, result) {
                self.is_dirty = true;
                self.expired(expiry.room.number, expired.floor);
            }
            let (Write::Append(append), Ok(Written::Append(Ok(stored)))) = (write, result) else { continue };
            if !stored.dup {
                let head = stored.message.seq;
                // A room that is not listed is indexed up to the message before.
                self.rooms.entry(append.room.number).or_insert(Pending { indexed: head - 1, head }).head = head;
                self.messages += 1;
            }
        }
    }

    /// The messages of a room before `floor` are gone.
    fn expired(&mut self, room: i64, floor: u64) {
        let Some(pending) = self.rooms.get_mut(&room).filter(|pending| pending.indexed + 1 < floor) else { return };
        self.messages -= floor - 1 - pending.indexed;
        pending.indexed = floor - 1;
        if pending.indexed == pending.head {
            self.rooms.remove(&room);
        }
    }

    /// The time after which there is something to do for an idle writer.
    pub(super) fn pause(&self) -> Option<Duration> {
        let now = Instant::now();
        let looks_at = if self.looking.is_some() { Some(now) } else { self.is_dirty.then_some(self.look_at) };
        let indexes_at = (self.messages >= ENOUGH).then_some(now);
        let at = looks_at.into_iter().chain(indexes_at).min()?;
        let at = self.retry_at.map_or(at, |retry_at| retry_at.max(at));
        Some(at.saturating_duration_since(now).max(QUIET))
    }

    /// Indexes some messages, if there are enough, in a transaction of the writer's connection. An idle writer also removes
    /// traces.
    pub(super) fn tend(&mut self, connection: &mut Connection, writing: Writing) {
        let start = Instant::now();
        if self.retry_at.is_some_and(|at| at > start) {
            return;
        }
        let result = match writing {
            Writing::Idle if self.messages >= ENOUGH => self.index(connection, IDLE_MESSAGES),
            Writing::Idle => self.look(connection, start),
            Writing::Busy if self.messages >= ENOUGH && start >= self.busy_at => {
                let result = self.index(connection, BUSY_MESSAGES);
                self.busy_at = Instant::now() + start.elapsed() * BUSY_PAUSE;
                result
            }
            Writing::Busy => Ok(()),
        };
        self.retry_at = result.err().map(|error| {
            report(&error, "cannot index messages for the search");
            start + RETRY_FAILED
        });
    }

    /// Removes all traces, before the database is closed.
    pub(super) fn finish(&mut self, connection: &mut Connection) {
        while self.is_dirty || self.looking.is_some() {
            self.look_at = Instant::now();
            if let Err(error) = self.look(connection, self.look_at) {
                return report(&error, "cannot remove traces of words from the search");
            }
        }
    }

    /// Looks for traces of removed words, a step at a time.
    fn look(&mut self, connection: &mut Connection, now: Instant) -> rusqlite::Result<()> {
        if self.looking.is_none() {
            if !self.is_dirty || now < self.look_at {
                return Ok(());
            }
            (self.is_dirty, self.look_at, self.looking) = (false, now + LOOK_EVERY, Some(Place::default()));
        }
        if let Some(after) = self.looking.take() {
            // After a failure it begins again.
            let next = separators::check(connection, &after, SEPARATORS).inspect_err(|_| self.is_dirty = true);
            self.looking = next?;
        }
        Ok(())
    }

    /// Indexes at most `limit` messages.
    fn index(&mut self, connection: &mut Connection, limit: u64) -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut done, mut count, mut bytes) = (Vec::new(), 0, 0);
        // In the order of their rowids: the index writes a segment whenever the order is broken.
        for (id, room) in self.rooms.range(self.next_room..) {
            let mut indexed = room.indexed;
            while indexed < room.head && count < limit && bytes < BATCH_BYTES {
                indexed += 1;
                bytes += index_message(&transaction, *id, indexed)?;
                count += 1;
            }
            transaction
                .prepare_cached("UPDATE rooms SET indexed = ?2 WHERE id = ?1")?
                .execute(params![id, indexed as i64])?;
            done.push((*id, indexed));
            if indexed < room.head || count == limit || bytes >= BATCH_BYTES {
                break;
            }
        }
        transaction.commit()?;
        self.messages -= count;
        self.next_room = 0;
        for (id, indexed) in done {
            if self.rooms.get(&id).is_some_and(|room| room.head == indexed) {
                self.rooms.remove(&id);
            } else if let Some(room) = self.rooms.get_mut(&id) {
                room.indexed = indexed;
            }
            if count == limit || bytes >= BATCH_BYTES {
                self.next_room = id;
            }
        }
        Ok(())
    }
}

/// Adds a message to the index. Returns the size of its text.
fn index_message(transaction: &Transaction<'_>, room: i64, seq: u64) -> rusqlite::Result<usize> {
    let mut select = transaction.prepare_cached("SELECT text FROM messages WHERE room = ?1 AND seq = ?2")?;
    let text: String = select.query_row(params![room, seq as i64], |row| row.get(0))?;
    insert(transaction, rowid(room, seq), &text)?;
    Ok(text.len())
}

/// Replaces the text of a message in the index, if it is there.
pub(super) fn replace(
    transaction: &Transaction<'_>,
    room: i64,
    seq: u64,
    before: &str,
    after: &str,
) -> rusqlite::Result<()> {
    let mut select = transaction.prepare_cached("SELECT 1 FROM rooms WHERE id = ?1 AND indexed >= ?2")?;
    if select.query_row(params![room, seq as i64], |_| Ok(())).optional()?.is_none() {
        return Ok(());
    }
    let (rowid, before) = (rowid(room, seq), tokens(before));
    if !before.is_empty() {
        // The index has no copy of the text, so that it has to be told what to remove.
        let delete = "INSERT INTO search (search, rowid, tokens) VALUES ('delete', ?1, ?2)";
        transaction.prepare_cached(delete)?.execute(params![rowid, before])?;
    }
    insert(transaction, rowid, after)
}

fn insert(transaction: &Transaction<'_>, rowid: i64, text: &str) -> rusqlite::Result<()> {
    let tokens = tokens(text);
    if tokens.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO search (rowid, tokens) VALUES (?1, ?2)";
    transaction.prepare_cached(insert)?.execute(params![rowid, tokens]).map(drop)
}

/// The number of a message in the index: the messages of a room follow one another. Rooms are numbered from 1 and
/// messages by a room from 1, and neither comes near to 2^31.
pub(super) const fn rowid(room: i64, seq: u64) -> i64 {
    room << 32 | seq as i64
}
