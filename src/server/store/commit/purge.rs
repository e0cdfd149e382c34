//! Requests to remove many messages, in the transaction of their batch.

use super::super::RoomRow;
use super::Work;
use crate::protocol::UserId;
use crate::server::storage::Purge;

impl Work<'_> {
    /// Notes that the messages of a user in a room are to be removed: those up to its head that are not in an earlier request.
    pub(super) fn request_purge(&self, room: &RoomRow, user: UserId) -> rusqlite::Result<()> {
        let (number, user, head) = (room.number, user.0 as i64, self.room(room.number)?.head);
        let mut requested = self
            .transaction
            .prepare_cached("SELECT COALESCE(MAX(up_to), 0) FROM purges WHERE room = ?1 AND user = ?2")?;
        let above: i64 = requested.query_row([number, user], |row| row.get(0))?;
        if above < head {
            let insert = "INSERT INTO purges (room, user, above, up_to) VALUES (?1, ?2, ?3, ?4)";
            self.transaction.prepare_cached(insert)?.execute([number, user, above, head])?;
        }
        Ok(())
    }

    /// Notes the progress of a purge.
    pub(super) fn purged(&self, purge: &Purge, rest: Option<u64>) -> rusqlite::Result<()> {
        let id = purge.id as i64;
        match rest {
            Some(rest) => {
                let update = "UPDATE purges SET up_to = ?2 WHERE id = ?1";
                self.transaction.prepare_cached(update)?.execute([id, rest as i64]).map(drop)
            }
            None => self.transaction.prepare_cached("DELETE FROM purges WHERE id = ?1")?.execute([id]).map(drop),
        }
    }
}
