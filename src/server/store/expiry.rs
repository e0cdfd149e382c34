//! Messages that expire: finding them.

use rusqlite::{Connection, OptionalExtension, params};

use super::{RoomRow, Store, StoreError, row};

/// The most rooms that a read looks at.
const ROOMS: i64 = 1_000;

/// The rooms that a read has looked at.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The room in which messages have expired, if one was found.
    pub found: Option<RoomRow>,
    /// The number of the last room. `None`: there are no more rooms.
    pub last: Option<i64>,
}

impl Store {
    /// Looks for a room whose oldest message was posted before a time, in milliseconds since 1970 UTC, among the rooms
    /// whose number is above `after`.
    ///
    /// # Errors
    /// As all reads.
    pub async fn find_expired(&self, after: i64, before: u64) -> Result<Looked, StoreError> {
        self.readers.run(move |connection| find_expired(connection, after, before)).await
    }
}

fn find_expired(connection: &Connection, after: i64, before: u64) -> rusqlite::Result<Looked> {
    let mut find = connection.prepare_cached(
        "SELECT id, public_id, name FROM rooms \
         WHERE id > ?1 AND id <= ?2 AND (SELECT at FROM messages WHERE room = rooms.id AND seq = floor) < ?3 \
         ORDER BY id LIMIT 1",
    )?;
    let mut end =
        connection.prepare_cached("SELECT MAX(id) FROM (SELECT id FROM rooms WHERE id > ?1 ORDER BY id LIMIT ?2)")?;
    let last: Option<i64> = end.query_row(params![after, ROOMS], |row| row.get(0))?;
    let Some(last) = last else { return Ok(Looked { found: None, last: None }) };
    let found = find.query_row(params![after, last, before as i64], |row| row::room(row, 0)).optional()?;
    let last = found.as_ref().map_or(last, |room| room.number);
    Ok(Looked { found, last: Some(last) })
}
