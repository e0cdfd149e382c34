//! The rooms in the lists of users, as they are read.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::row::room;
use crate::protocol::{MAX_MY_ROOMS, MAX_UNREAD, UserId};
use crate::server::membership::Membership;

/// The rooms in the list of a user, by name, with the unread messages that mention the user. What has expired counts as
/// read.
pub(super) fn memberships(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<Membership>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, public_id, name, head, MAX(read, floor - 1) FROM memberships JOIN rooms ON id = room WHERE user = ?1 ORDER BY name LIMIT ?2",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        let (head, read) = (row.get::<_, i64>(3)? as u64, row.get::<_, i64>(4)? as u64);
        Ok(Membership { room: room(row, 0)?, head, read, mentions: BTreeSet::new() })
    };
    let mut memberships: Vec<_> =
        statement.query_map([user.0 as i64, MAX_MY_ROOMS as i64], row)?.collect::<rusqlite::Result<_>>()?;
    // A search in the index for each room, so that those that were read cost nothing.
    let mut statement = connection
        .prepare_cached("SELECT seq FROM mentions WHERE user = ?1 AND room = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4")?;
    for Membership { room, read, mentions, .. } in &mut memberships {
        let mut rows = statement.query(params![user.0 as i64, room.number, *read as i64, MAX_UNREAD as i64])?;
        while let Some(row) = rows.next()? {
            mentions.insert(row.get::<_, i64>(0)? as u64);
        }
    }
    Ok(memberships)
}
