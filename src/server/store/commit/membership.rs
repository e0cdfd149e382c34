//! The lists of users' own rooms, in a transaction.

use rusqlite::params;

use super::Work;
use crate::protocol::MAX_MY_ROOMS;
use crate::server::membership::{Mark, MarkChange};
use crate::server::storage::StoreError;

impl Work<'_> {
    pub(super) fn save_marks(&mut self, marks: &[Mark]) -> rusqlite::Result<Result<(), StoreError>> {
        let mut result = Ok(());
        for mark in marks {
            let user = mark.user.0 as i64;
            let room = self.room_number(mark.room)?;
            match mark.change {
                MarkChange::Read(read) => drop(self.advance(user, room, read)?),
                MarkChange::Join(read) => {
                    if !self.advance(user, room, read)? && !self.join(user, room, read)? {
                        result = Err(StoreError::Full);
                    }
                }
                MarkChange::Leave => {
                    let mut delete =
                        self.transaction.prepare_cached("DELETE FROM memberships WHERE user = ?1 AND room = ?2")?;
                    if delete.execute([user, room])? > 0 {
                        self.stored.remove_membership();
                    }
                }
            }
        }
        Ok(result)
    }

    /// Returns whether the room is in the list.
    fn advance(&self, user: i64, room: i64, read: u64) -> rusqlite::Result<bool> {
        let update = "UPDATE memberships SET read = max(read, min(?3, (SELECT head FROM rooms WHERE id = ?2))) \
             WHERE user = ?1 AND room = ?2";
        Ok(self.transaction.prepare_cached(update)?.execute(params![user, room, read as i64])? > 0)
    }

    /// Adds a room that is not in the list. Returns false if the quota forbids it.
    fn join(&mut self, user: i64, room: i64, read: u64) -> rusqlite::Result<bool> {
        let mut count = self.transaction.prepare_cached("SELECT COUNT(*) FROM memberships WHERE user = ?1")?;
        if count.query_row([user], |row| row.get::<_, i64>(0))? >= MAX_MY_ROOMS as i64 {
            return Ok(true);
        }
        if !self.stored.add_membership(self.quotas) {
            return Ok(false);
        }
        let insert = "INSERT INTO memberships (user, room, read) VALUES (?1, ?2, ?3)";
        self.transaction.prepare_cached(insert)?.execute(params![user, room, read as i64])?;
        Ok(true)
    }
}
