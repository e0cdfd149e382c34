//! Rows of the database as values.

use crate::protocol::{Message, MessageKey, User, UserId};

/// A row of `messages`: seq, user, key, nickname, text, at.
pub(super) fn message(room: &str, row: &rusqlite::Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        room: room.to_owned(),
        seq: row.get::<_, i64>(0)? as u64,
        user: User { id: UserId(row.get::<_, i64>(1)? as u64), nickname: row.get(3)? },
        key: MessageKey(u128::from_be_bytes(row.get(2)?)),
        text: row.get(4)?,
        at: row.get::<_, i64>(5)? as u64,
    })
}
