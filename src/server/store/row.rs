//! Rows of the database as values.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::protocol::{
    Attachment, AttachmentId, Message, MessageKey, MessageState, Pin, Reaction, RoomId, User, UserId,
};
use crate::server::change::group_reactions;
use crate::server::id::RoomRow;

/// A query of messages with the columns that [`message`] reads, and the rest of the statement.
macro_rules! select_messages {
    ($rest:literal) => {
        concat!(
            "SELECT seq, user, key, nickname, text, at, reply_to, rev, edits, edited_at, deleted_at, attachments, ",
            "mentions ",
            "FROM messages ",
            $rest
        )
    };
}

pub(super) use select_messages;

/// A room, from three columns: its number, its id, and its name.
pub(super) fn room(row: &Row<'_>, first: usize) -> rusqlite::Result<RoomRow> {
    let id = RoomId(row.get::<_, i64>(first + 1)? as u64);
    Ok(RoomRow { number: row.get(first)?, id, name: row.get::<_, String>(first + 2)?.into() })
}

/// A row of [`select_messages`], with the reactions, the pin, the files and the mentions if there may be some.
pub(super) fn message(connection: &Connection, room: &RoomRow, row: &Row<'_>) -> rusqlite::Result<Message> {
    let number = |index| row.get::<_, i64>(index).map(|number| number as u64);
    let optional = |index| row.get::<_, Option<i64>>(index).map(|number| number.map(|number| number as u64));
    let (seq, rev) = (number(0)?, number(7)?);
    let state = if rev == 0 {
        None
    } else {
        let reactions = reactions(connection, room, seq)?;
        let (edited_at, deleted_at) = (optional(9)?, optional(10)?);
        let pinned = pin(connection, room, seq)?;
        Some(Box::new(MessageState { rev, edits: number(8)?, edited_at, deleted_at, reactions, pinned }))
    };
    let attachments = if number(11)? == 0 { None } else { Some(attachments(connection, room, seq)?) };
    let mentions = if number(12)? == 0 { None } else { Some(mentions(connection, room, seq)?) };
    Ok(Message {
        room: room.id,
        seq,
        key: MessageKey(u128::from_be_bytes(row.get(2)?)),
        user: user(row, 1, 3)?,
        text: row.get(4)?,
        at: number(5)?,
        reply_to: optional(6)?,
        state,
        attachments,
        mentions,
    })
}

/// A user, from the columns of the id and of the nickname.
fn user(row: &Row<'_>, id: usize, nickname: usize) -> rusqlite::Result<User> {
    Ok(User { id: UserId(row.get::<_, i64>(id)? as u64), nickname: row.get(nickname)? })
}

/// The users whom a message mentions.
fn mentions(connection: &Connection, room: &RoomRow, seq: u64) -> rusqlite::Result<Vec<User>> {
    let mut statement =
        connection.prepare_cached("SELECT user, nickname FROM mentions WHERE room = ?1 AND seq = ?2 ORDER BY user")?;
    statement.query_map(params![room.number, seq as i64], |row| user(row, 0, 1))?.collect()
}

/// The files of a message.
fn attachments(connection: &Connection, room: &RoomRow, seq: u64) -> rusqlite::Result<Vec<Attachment>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, name, type, bytes, width, height FROM attachments WHERE room = ?1 AND seq = ?2 ORDER BY place",
    )?;
    statement.query_map(params![room.number, seq as i64], attachment)?.collect()
}

/// A file, from the first six columns of a row.
pub(super) fn attachment(row: &Row<'_>) -> rusqlite::Result<Attachment> {
    let optional = |index| row.get::<_, Option<i64>>(index).map(|number| number.map(|number| number as u64));
    Ok(Attachment {
        id: AttachmentId(row.get::<_, i64>(0)? as u64),
        name: row.get(1)?,
        media_type: row.get(2)?,
        bytes: row.get::<_, i64>(3)? as u64,
        width: optional(4)?,
        height: optional(5)?,
    })
}

/// The reactions to a message.
pub(super) fn reactions(connection: &Connection, room: &RoomRow, seq: u64) -> rusqlite::Result<Vec<Reaction>> {
    let mut statement = connection
        .prepare_cached("SELECT emoji, user, nickname FROM reactions WHERE room = ?1 AND seq = ?2 ORDER BY rev")?;
    let reaction = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, user(row, 1, 2)?));
    let made =
        statement.query_map(params![room.number, seq as i64], reaction)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(group_reactions(made.into_iter()))
}

/// The pin of a message, if it is pinned.
pub(super) fn pin(connection: &Connection, room: &RoomRow, seq: u64) -> rusqlite::Result<Option<Pin>> {
    let mut statement =
        connection.prepare_cached("SELECT user, nickname, at FROM pins WHERE room = ?1 AND seq = ?2")?;
    let pin = |row: &Row<'_>| Ok(Pin { user: user(row, 0, 1)?, at: row.get::<_, i64>(2)? as u64 });
    statement.query_row(params![room.number, seq as i64], pin).optional()
}
