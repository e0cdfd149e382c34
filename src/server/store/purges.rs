//! Requests to remove many messages of a room, and the progress of those that are being carried out.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};

use super::beside::{self, path_in};
use super::connection::open_connection;
use super::write::Write;
use super::{RoomRow, Store, StoreError, reader, row};
use crate::protocol::UserId;
use crate::server::name_key::RoomName;
use crate::server::start_error::{Source, StartError};
use crate::server::storage::{Purge, ToPurge};

/// The most messages that a read returns.
const MESSAGES: usize = 200;
/// The most messages that a read examines to find them.
const EXAMINED: i64 = 10_000;

impl Store {
    /// Returns when a purge was requested since the last call. Those of the command line are not noticed.
    pub async fn purge_requested(&self) {
        self.purge_requested.notified().await;
    }

    pub(super) async fn request_purge(&self, room: RoomRow, user: UserId) -> Result<(), StoreError> {
        self.write(|done| Write::RequestPurge { room, user, done }).await?;
        self.purge_requested.notify_one();
        Ok(())
    }

    pub(super) async fn purges(&self, limit: u64) -> Result<Vec<Purge>, StoreError> {
        self.readers.run(move |connection| purges(connection, limit)).await
    }

    pub(super) async fn messages_to_purge(&self, purge: Purge, user: UserId) -> Result<ToPurge, StoreError> {
        self.readers.run(move |connection| messages_to_purge(connection, &purge, user)).await
    }

    pub(super) async fn purged(&self, purge: Purge, rest: Option<u64>) -> Result<(), StoreError> {
        self.write(|done| Write::Purged { purge, rest, done }).await
    }
}

fn purges(connection: &Connection, limit: u64) -> rusqlite::Result<Vec<Purge>> {
    let mut select = connection.prepare_cached(
        "SELECT purges.id, user, above, up_to, rooms.id, public_id, name FROM purges JOIN rooms ON rooms.id = room \
         ORDER BY purges.id LIMIT ?1",
    )?;
    let purge = |row: &rusqlite::Row<'_>| {
        let number = |index| row.get::<_, i64>(index).map(|number| number as u64);
        let user = row.get::<_, Option<i64>>(1)?.map(|user| UserId(user as u64));
        Ok(Purge { id: number(0)?, user, above: number(2)?, up_to: number(3)?, room: row::room(row, 4)? })
    };
    select.query_map([limit as i64], purge)?.collect()
}

fn messages_to_purge(connection: &Connection, purge: &Purge, user: UserId) -> rusqlite::Result<ToPurge> {
    // The index has the positions, so that only the messages that may be removed are read.
    let mut select = connection.prepare_cached(
        "SELECT seq, (SELECT CASE WHEN deleted_at IS NULL THEN octet_length(text) END FROM messages \
         WHERE room = ?1 AND seq = own.seq) \
         FROM (SELECT seq FROM messages INDEXED BY messages_by_key \
         WHERE room = ?1 AND user = ?2 AND seq > ?3 AND seq <= ?4 ORDER BY seq DESC LIMIT ?5) AS own ORDER BY seq DESC",
    )?;
    let (room, above, up_to) = (purge.room.number, purge.above as i64, purge.up_to as i64);
    let mut rows = select.query(params![room, user.0 as i64, above, up_to, EXAMINED])?;
    let (mut messages, mut examined, mut last) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        if messages.len() == MESSAGES {
            return Ok(ToPurge { messages, rest: Some(last - 1) });
        }
        last = row.get::<_, i64>(0)? as u64;
        examined += 1;
        if let Some(bytes) = row.get::<_, Option<i64>>(1)? {
            messages.push((last, bytes as u64));
        }
    }
    Ok(ToPurge { messages, rest: (examined == EXAMINED).then(|| last - 1) })
}

/// Requests a purge of a database that a server may use: of the messages of a room, of a user, or of a user in a room. The
/// server carries it out within seconds, otherwise after its start. Returns the number of rooms with such messages.
///
/// # Errors
/// There is no database or room, or the database cannot be written.
pub fn request_purge(folder: &Path, room: Option<&str>, user: Option<UserId>) -> Result<u64, StartError> {
    let no_room = |room: &str| StartError::NoRoom(room.to_owned());
    let name = room.map(|room| RoomName::parse(room).map_err(|_| no_room(room))).transpose()?;
    let path = path_in(folder)?;
    let failed = |error: rusqlite::Error| StartError::WriteDatabase { path: path.clone(), source: Source::from(error) };
    let connection = open_connection(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    beside::check_version(&connection, &path)?;
    let number = match &name {
        None => None,
        Some(name) => {
            let found = reader::room(&connection, &name.folded).map_err(failed)?;
            Some(found.ok_or_else(|| no_room(&name.canonical))?.number)
        }
    };
    let has_messages = match user {
        Some(_) => "EXISTS (SELECT 1 FROM messages WHERE room = rooms.id AND user = ?2)",
        None => "floor <= head",
    };
    let insert = format!(
        "INSERT INTO purges (room, user, above, up_to) SELECT id, ?2, 0, head FROM rooms \
         WHERE (?1 IS NULL OR id = ?1) AND {has_messages}"
    );
    let user = user.map(|user| user.0 as i64);
    connection.execute(&insert, params![number, user]).map(|rooms| rooms as u64).map_err(failed)
}
