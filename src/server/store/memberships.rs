//! The rooms in the lists of users, as they are read.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::protocol::{MAX_MY_ROOMS, MAX_UNREAD, UserId};
use crate::server::id::{RoomId, RoomRow};
use crate::server::membership::Membership;

/// The rooms in the list of a user, by name, with the unread messages that mention the user.
pub(super) fn memberships(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<Membership>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, head, read FROM memberships JOIN rooms ON id = room WHERE user = ?1 ORDER BY name LIMIT ?2",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        let room = RoomRow { id: RoomId(row.get(0)?), name: row.get::<_, String>(1)?.into() };
        let (head, read) = (row.get::<_, i64>(2)? as u64, row.get::<_, i64>(3)? as u64);
        Ok(Membership { room, head, read, mentions: BTreeSet::new() })
    };
    let mut memberships: Vec<_> =
        statement.query_map([user.0 as i64, MAX_MY_ROOMS as i64], row)?.collect::<rusqlite::Result<_>>()?;
    // One search in the index finds for most users that there are none.
    let mut statement = connection.prepare_cached(
        "SELECT room, seq FROM mentions JOIN memberships USING (user, room) \
         WHERE user = ?1 AND seq > read ORDER BY room, seq LIMIT ?2",
    )?;
    let limit = MAX_MY_ROOMS as i64 * MAX_UNREAD as i64;
    let mut rows = statement.query([user.0 as i64, limit])?;
    while let Some(row) = rows.next()? {
        let room = RoomId(row.get(0)?);
        if let Some(membership) = memberships.iter_mut().find(|membership| membership.room.id == room) {
            membership.mentions.insert(row.get::<_, i64>(1)? as u64);
        }
    }
    Ok(memberships)
}
