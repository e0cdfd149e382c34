//! The users whom messages mention, in the transaction of their batch.

use rusqlite::{OptionalExtension, params};

use super::super::usage::bytes_of_row;
use super::Work;
use crate::protocol::{MAX_MENTIONS, User, UserId};
use crate::server::change::{Candidate, mentions};
use crate::server::id::RoomRow;

impl Work<'_> {
    /// The users whom a text of an author mentions, in the order of their ids.
    pub(super) fn mentioned(
        &self,
        room: &RoomRow,
        author: UserId,
        text: &str,
        candidates: &[Candidate],
    ) -> rusqlite::Result<Vec<User>> {
        let mut users = Vec::new();
        for Candidate { id, nickname } in candidates.iter().filter(|candidate| candidate.id != author) {
            let nickname = match nickname {
                Some(nickname) => Some(nickname.clone()),
                None => self.nickname_of_author(room, *id)?,
            };
            users.extend(
                nickname.filter(|nickname| mentions(text, nickname)).map(|nickname| User { id: *id, nickname }),
            );
        }
        users.sort_unstable_by_key(|user| user.id.0 as i64);
        users.dedup_by_key(|user| user.id);
        users.truncate(MAX_MENTIONS);
        Ok(users)
    }

    /// The nickname that a user who has written in the room has chosen.
    fn nickname_of_author(&self, room: &RoomRow, id: UserId) -> rusqlite::Result<Option<String>> {
        let mut find = self.transaction.prepare_cached(
            "SELECT nickname FROM users WHERE id = ?1 AND EXISTS (SELECT 1 FROM messages WHERE room = ?2 AND user = ?1)",
        )?;
        find.query_row(params![id.0 as i64, room.number], |row| row.get(0)).optional()
    }

    /// Removes whom a message mentions.
    pub(super) fn remove_mentions(&self, room: &RoomRow, seq: u64) -> rusqlite::Result<()> {
        let delete = "DELETE FROM mentions WHERE room = ?1 AND seq = ?2";
        self.transaction.prepare_cached(delete)?.execute(params![room.number, seq as i64]).map(drop)
    }

    /// Stores whom a message mentions.
    pub(super) fn add_mentions(&self, room: &RoomRow, seq: u64, users: &[User]) -> rusqlite::Result<()> {
        let (room, seq) = (room.number, seq as i64);
        let insert = "INSERT INTO mentions (room, seq, user, nickname) VALUES (?1, ?2, ?3, ?4)";
        let mut insert = self.transaction.prepare_cached(insert)?;
        for User { id, nickname } in users {
            insert.execute(params![room, seq, id.0 as i64, nickname])?;
        }
        Ok(())
    }
}

/// The size of mentions, for the quotas.
pub(super) fn bytes_of_mentions(users: &[User]) -> u64 {
    users.iter().map(bytes_of_row).sum()
}
