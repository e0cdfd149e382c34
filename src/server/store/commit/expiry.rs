//! Messages that expire, in the transaction of their batch.

use rusqlite::{Connection, params};

use super::super::RoomRow;
use super::super::index;
use super::super::usage::ROW;
use super::Work;
use super::attachment::release_contents;
use crate::server::history::{Expired, Until};

/// The most messages that a write removes, and the most text of them in bytes: other writes wait for it.
const MESSAGES: usize = 100;
const TEXT_BYTES: usize = 64 * 1024;

/// Of each table with rows of messages: the size of such a row, as it was counted.
const SIZES: [(&str, &str); 5] = [
    ("messages", "octet_length(text) + octet_length(nickname)"),
    ("reactions", "octet_length(emoji) + octet_length(nickname)"),
    ("pins", "octet_length(nickname)"),
    ("mentions", "octet_length(nickname)"),
    ("attachments", "bytes + octet_length(name)"),
];

impl Work<'_> {
    /// Removes the oldest messages of a room, with all that belongs to them.
    pub(super) fn expire(&mut self, room: &RoomRow, until: Until) -> rusqlite::Result<Expired> {
        let (transaction, number) = (self.transaction, room.number);
        let mut state = self.room(number)?;
        let first = state.floor;
        let mut select = transaction
            .prepare_cached("SELECT seq, at, text FROM messages WHERE room = ?1 AND seq >= ?2 ORDER BY seq")?;
        let mut rows = select.query(params![number, first])?;
        let (mut count, mut bytes, mut is_more) = (0, 0, false);
        while let Some(row) = rows.next()? {
            let is_kept = match until {
                Until::Time(time) => row.get::<_, i64>(1)? as u64 >= time,
                Until::Seq(last) => row.get::<_, i64>(0)? as u64 > last,
            };
            if is_kept {
                break;
            }
            is_more = count == MESSAGES || bytes >= TEXT_BYTES;
            if is_more {
                break;
            }
            let (seq, text): (i64, String) = (row.get(0)?, row.get(2)?);
            index::replace(transaction, number, seq as u64, &text, "")?;
            state.floor = seq + 1;
            (count, bytes) = (count + 1, bytes + text.len());
        }
        let expired = first..state.floor;
        if !expired.is_empty() {
            let size = bytes_of_messages(transaction, number, expired.start, expired.end)?;
            self.stored.free(&mut state.stored, size);
            remove(transaction, number, expired.start, expired.end)?;
            self.rooms.insert(number, state);
        }
        Ok(Expired { messages: count as u64, floor: state.floor as u64, is_more })
    }
}

/// The size of the messages from `first` to before `end`, with all that belongs to them.
fn bytes_of_messages(transaction: &Connection, room: i64, first: i64, end: i64) -> rusqlite::Result<u64> {
    SIZES.iter().try_fold(0, |sum, (table, size)| {
        let select =
            format!("SELECT COALESCE(SUM({size} + ?4), 0) FROM {table} WHERE room = ?1 AND seq >= ?2 AND seq < ?3");
        let params = params![room, first, end, ROW as i64];
        let bytes = transaction.prepare_cached(&select)?.query_row(params, |row| row.get::<_, i64>(0))?;
        Ok(sum + bytes as u64)
    })
}

fn remove(transaction: &Connection, room: i64, first: i64, end: i64) -> rusqlite::Result<()> {
    let range = params![room, first, end];
    release_contents(transaction, room, first, end)?;
    // The messages last: the other rows refer to them.
    for (table, _) in SIZES.iter().rev() {
        let delete = format!("DELETE FROM {table} WHERE room = ?1 AND seq >= ?2 AND seq < ?3");
        transaction.prepare_cached(&delete)?.execute(range)?;
    }
    // What is gone needs no index.
    let skip = "UPDATE rooms SET indexed = MAX(indexed, ?2 - 1) WHERE id = ?1";
    transaction.prepare_cached(skip)?.execute(params![room, end]).map(drop)
}
