//! Searching in a room: in the index, and in the messages that are not in it yet.

use std::ops::ControlFlow;

use rusqlite::{Connection, params};

use super::RoomRow;
use super::index::rowid;
use super::row::{message, select_messages};
use crate::protocol::{Found, MAX_HISTORY_BYTES, Message, SearchAck};
use crate::server::history::encoded_bytes;
use crate::server::search::Query;

/// The most messages that a search reads to see if they match.
const EXAMINED_MESSAGES: usize = 2_000;
/// The most text of them, in bytes.
const EXAMINED_BYTES: usize = 1024 * 1024;

/// The newest messages with a `seq` below `before` that match, at most `limit`.
pub(super) fn search(
    connection: &Connection,
    room: &RoomRow,
    query: &Query,
    before: u64,
    limit: u64,
) -> rusqlite::Result<SearchAck> {
    let mut statement = connection.prepare_cached("SELECT head, indexed FROM rooms WHERE id = ?1")?;
    let (head, indexed) =
        statement.query_row([room.number], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let before = before.min(head as u64 + 1);
    let mut results = Results { query, limit: limit as usize, ack: SearchAck::default(), bytes: 0, examined: (0, 0) };

    let mut statement =
        connection.prepare_cached(select_messages!("WHERE room = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq DESC"))?;
    let mut rows = statement.query(params![room.number, indexed, before as i64])?;
    while let Some(row) = rows.next()? {
        if results.examine(message(connection, room, row)?).is_break() {
            return Ok(results.ack);
        }
    }

    let end = before.min(indexed as u64 + 1);
    let mut statement = connection.prepare_cached(
        "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid > ?2 AND rowid < ?3 ORDER BY rowid DESC",
    )?;
    let mut select = connection.prepare_cached(select_messages!("WHERE room = ?1 AND seq = ?2"))?;
    let mut rows = statement.query(params![query.expression(), rowid(room.number, 0), rowid(room.number, end)])?;
    while let Some(row) = rows.next()? {
        let seq = row.get::<_, i64>(0)? - rowid(room.number, 0);
        let candidate = select.query_row(params![room.number, seq], |row| message(connection, room, row))?;
        if results.examine(candidate).is_break() {
            break;
        }
    }
    Ok(results.ack)
}

/// The results of a search so far.
struct Results<'a> {
    query: &'a Query,
    limit: usize,
    ack: SearchAck,
    /// The size of the messages that were found.
    bytes: usize,
    /// The messages that were read, and the size of their texts.
    examined: (usize, usize),
}

impl Results<'_> {
    /// Examines the next older message. Breaks if the search has to stop.
    fn examine(&mut self, message: Message) -> ControlFlow<()> {
        self.examined = (self.examined.0 + 1, self.examined.1 + message.text.len());
        let seq = message.seq;
        if let Some(marks) = self.query.find(&message.text) {
            self.bytes += encoded_bytes(&message) + marks.len() * 32;
            let is_first = self.ack.found.is_empty();
            if !is_first && (self.ack.found.len() == self.limit || self.bytes > MAX_HISTORY_BYTES) {
                return self.stop_above(seq + 1);
            }
            self.ack.found.push(Found { message, marks });
        }
        if seq > 1 && (self.examined.0 == EXAMINED_MESSAGES || self.examined.1 >= EXAMINED_BYTES) {
            return self.stop_above(seq);
        }
        ControlFlow::Continue(())
    }

    /// The next search goes on with the messages below a `seq`.
    fn stop_above(&mut self, seq: u64) -> ControlFlow<()> {
        self.ack.before = Some(seq);
        ControlFlow::Break(())
    }
}
