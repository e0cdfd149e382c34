//! Rooms, in the transaction of their batch.

use rusqlite::{OptionalExtension, params};

use super::super::usage::StoredInRoom;
use super::super::{RoomRow, StoreError, row};
use super::Work;
use crate::server::id::RoomId;
use crate::server::name_key::RoomName;

/// The row of a room with new messages or changes.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) head: i64,
    pub(super) rev: i64,
    pub(super) floor: i64,
    pub(super) bytes_before: u64,
    pub(super) stored: StoredInRoom,
}

impl Work<'_> {
    /// The row of a room, as it is in this transaction.
    pub(super) fn room(&self, id: i64) -> rusqlite::Result<Room> {
        if let Some(known) = self.rooms.get(&id) {
            return Ok(*known);
        }
        let mut find = self
            .transaction
            .prepare_cached("SELECT head, bytes, day, day_bytes, rev, floor FROM rooms WHERE id = ?1")?;
        find.query_row([id], |row| {
            let stored = StoredInRoom {
                bytes: row.get::<_, i64>(1)? as u64,
                day: row.get(2)?,
                day_bytes: row.get::<_, i64>(3)? as u64,
            };
            Ok(Room { head: row.get(0)?, rev: row.get(4)?, floor: row.get(5)?, bytes_before: stored.bytes, stored })
        })
    }

    /// The number of a room, which must exist.
    pub(super) fn room_number(&self, id: RoomId) -> rusqlite::Result<i64> {
        let mut find = self.transaction.prepare_cached("SELECT id FROM rooms WHERE public_id = ?1")?;
        find.query_row([id.0 as i64], |row| row.get(0))
    }

    pub(super) fn create_room(&mut self, name: &RoomName) -> rusqlite::Result<Result<RoomRow, StoreError>> {
        let mut find = self.transaction.prepare_cached("SELECT id, public_id, name FROM rooms WHERE folded = ?1")?;
        let row = |row: &rusqlite::Row<'_>| row::room(row, 0);
        if let Some(known) = find.query_row([&name.folded], row).optional()? {
            return Ok(Ok(known));
        }
        let Some(bytes) = self.stored.add_room(&name.canonical, &name.folded, self.quotas) else {
            return Ok(Err(StoreError::Full));
        };
        let mut insert = self.transaction.prepare_cached(
            "INSERT INTO rooms (public_id, name, folded, created_at, bytes) VALUES (random(), ?1, ?2, ?3, ?4) \
             RETURNING id, public_id, name",
        )?;
        insert.query_row(params![name.canonical, name.folded, self.at, bytes as i64], row).map(Ok)
    }
}
