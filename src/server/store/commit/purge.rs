//! Requests to remove many messages, in the transaction of their batch.

use rusqlite::params;

use super::super::RoomRow;
use super::Work;
use crate::protocol::UserId;
use crate::server::storage::Purge;

impl Work<'_> {
    /// Notes that the messages of a user in a room are to be removed: those up to its head.
    pub(super) fn request_purge(&self, room: &RoomRow, user: UserId) -> rusqlite::Result<()> {
        let head = self.room(room.number)?.head;
        let insert = "INSERT INTO purges (room, user, up_to) VALUES (?1, ?2, ?3) \
             ON CONFLICT (room, user) DO UPDATE SET up_to = excluded.up_to";
        self.transaction.prepare_cached(insert)?.execute(params![room.number, user.0 as i64, head]).map(drop)
    }

    /// Notes the progress of a purge, unless it was requested again for later messages.
    pub(super) fn purged(&self, purge: &Purge, rest: Option<u64>) -> rusqlite::Result<()> {
        let (id, up_to) = (purge.id as i64, purge.up_to as i64);
        match rest {
            Some(rest) => {
                let update = "UPDATE purges SET up_to = ?3 WHERE id = ?1 AND up_to = ?2";
                self.transaction.prepare_cached(update)?.execute(params![id, up_to, rest as i64]).map(drop)
            }
            None => {
                let delete = "DELETE FROM purges WHERE id = ?1 AND up_to = ?2";
                self.transaction.prepare_cached(delete)?.execute([id, up_to]).map(drop)
            }
        }
    }
}
