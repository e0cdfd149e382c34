//! Changes of messages, in the transaction of their batch.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::super::row::{message, reactions, select_messages};
use super::super::usage::{ROW, StoredInRoom};
use super::super::{AppendError, ChangeOutcome, ChangeRequest};
use super::Work;
use crate::protocol::{Message, MessageChange, MessageState};
use crate::server::change::{Change, ChangeError, Changed, Decision, Reacted, Target, decide};

impl Work<'_> {
    pub(super) fn change(&mut self, request: &ChangeRequest) -> rusqlite::Result<ChangeOutcome> {
        let (transaction, id) = (self.transaction, request.room.id.0);
        let mut find = transaction.prepare_cached(select_messages!("WHERE room = ?1 AND seq = ?2"))?;
        let find = find.query_row(params![id, request.seq as i64], |row| message(transaction, &request.room, row));
        let Some(mut target) = find.optional()? else { return Ok(Err(ChangeError::NotFound)) };
        let reacted = match &request.change {
            Change::React(emoji) | Change::Unreact(emoji) => self.reacted(request, emoji)?,
            Change::Edit { .. } | Change::Delete => Reacted::default(),
        };
        let edits = target.edits();
        let decided = decide(
            &request.change,
            request.user.id,
            &Target {
                author: target.user.id,
                text: &target.text,
                edits,
                is_deleted: target.is_deleted(),
                reactions: reacted,
            },
        );
        match decided {
            Err(error) => return Ok(Err(error)),
            Ok(Decision::Unchanged) => return Ok(Ok(Changed { rev: target.rev(), change: None })),
            Ok(Decision::Changed) => {}
        }
        let mut room = match self.rooms.get(&id) {
            Some(known) => *known,
            None => self.room(id)?,
        };
        if let Err(error) = self.account(&mut room.stored, request, &target)? {
            return Ok(Err(error));
        }
        room.rev += 1;
        let (rev, at) = (room.rev as u64, self.at as u64);
        let mut state = target.state.take().map_or_else(|| empty_state(rev), |state| MessageState { rev, ..*state });
        let mut text = None;
        match &request.change {
            Change::Edit { text: new, .. } => {
                (state.edits, state.edited_at) = (edits + 1, Some(at));
                text = Some(new.clone());
            }
            Change::Delete => state.deleted_at = Some(at),
            Change::React(_) | Change::Unreact(_) => {}
        }
        self.write_change(request, &state)?;
        state.reactions = reactions(transaction, &request.room, request.seq)?;
        self.rooms.insert(id, room);
        let change = MessageChange { room: request.room.name.to_string(), seq: request.seq, text, state };
        Ok(Ok(Changed { rev, change: Some(Arc::new(change)) }))
    }

    /// Counts what a change adds and frees, unless a quota forbids it.
    fn account(
        &mut self,
        room: &mut StoredInRoom,
        request: &ChangeRequest,
        target: &Message,
    ) -> rusqlite::Result<Result<(), ChangeError>> {
        let reaction = |emoji: &str, nickname: &str| (ROW as usize + emoji.len() + nickname.len()) as u64;
        let (old, new) = match &request.change {
            Change::Edit { text, .. } => (target.text.len() as u64, text.len() as u64),
            Change::React(emoji) => (0, reaction(emoji, &request.user.nickname)),
            Change::Unreact(emoji) => (self.bytes_of_reactions(request, Some(emoji))?, 0),
            Change::Delete => (target.text.len() as u64 + self.bytes_of_reactions(request, None)?, 0),
        };
        Ok(self.stored.change_message(room, old, new, self.at, self.quotas).map_err(|full| match full {
            AppendError::ServerFull { retry_after_ms } => ChangeError::ServerFull { retry_after_ms },
            AppendError::RoomFull | AppendError::KeyConflict | AppendError::NotFound | AppendError::Unavailable => {
                ChangeError::RoomFull
            }
        }))
    }

    /// The size of the reactions to a message: of the user's own with an emoji, or of all.
    fn bytes_of_reactions(&self, request: &ChangeRequest, emoji: Option<&str>) -> rusqlite::Result<u64> {
        let mut sum = self.transaction.prepare_cached(
            "SELECT COALESCE(SUM(octet_length(emoji) + octet_length(nickname) + ?5), 0) FROM reactions \
             WHERE room = ?1 AND seq = ?2 AND (?3 IS NULL OR (emoji = ?3 AND user = ?4))",
        )?;
        let params = params![request.room.id.0, request.seq as i64, emoji, request.user.id.0 as i64, ROW as i64];
        sum.query_row(params, |row| row.get::<_, i64>(0)).map(|bytes| bytes as u64)
    }

    /// Writes a change. `state` is that of the message afterwards.
    fn write_change(&self, request: &ChangeRequest, state: &MessageState) -> rusqlite::Result<()> {
        let (transaction, room, seq) = (self.transaction, request.room.id.0, request.seq as i64);
        let (user, rev) = (request.user.id.0 as i64, state.rev as i64);
        let text = match &request.change {
            Change::Edit { text, .. } => Some(text.as_str()),
            Change::Delete => {
                let delete = "DELETE FROM reactions WHERE room = ?1 AND seq = ?2";
                transaction.prepare_cached(delete)?.execute(params![room, seq])?;
                Some("")
            }
            Change::React(emoji) => {
                let insert =
                    "INSERT INTO reactions (room, seq, emoji, user, nickname, rev) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let values = params![room, seq, emoji, user, request.user.nickname, rev];
                transaction.prepare_cached(insert)?.execute(values)?;
                None
            }
            Change::Unreact(emoji) => {
                let delete = "DELETE FROM reactions WHERE room = ?1 AND seq = ?2 AND emoji = ?3 AND user = ?4";
                transaction.prepare_cached(delete)?.execute(params![room, seq, emoji, user])?;
                None
            }
        };
        let update = "UPDATE messages SET rev = ?3, edits = ?4, edited_at = ?5, deleted_at = ?6, text = COALESCE(?7, text) \
             WHERE room = ?1 AND seq = ?2";
        let (edited_at, deleted_at) = (state.edited_at.map(|at| at as i64), state.deleted_at.map(|at| at as i64));
        let values = params![room, seq, rev, state.edits as i64, edited_at, deleted_at, text];
        transaction.prepare_cached(update)?.execute(values).map(drop)
    }

    /// The reactions to a message, as far as a reaction with this emoji depends on them.
    fn reacted(&self, request: &ChangeRequest, emoji: &str) -> rusqlite::Result<Reacted> {
        let mut count = self.transaction.prepare_cached(
            "SELECT COUNT(*), COUNT(DISTINCT emoji), COALESCE(SUM(emoji = ?3), 0), \
             COALESCE(SUM(emoji = ?3 AND user = ?4), 0), COALESCE(SUM(user = ?4), 0) FROM reactions WHERE room = ?1 AND seq = ?2",
        )?;
        let params = params![request.room.id.0, request.seq as i64, emoji, request.user.id.0 as i64];
        count.query_row(params, |row| {
            let is_some = |index| row.get::<_, i64>(index).map(|count| count > 0);
            let (count, emoji) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as usize);
            let emoji_of_user = row.get::<_, i64>(4)? as usize;
            Ok(Reacted { by_user: is_some(3)?, by_any: is_some(2)?, emoji, emoji_of_user, count })
        })
    }
}

/// The state of a message at its first change.
fn empty_state(rev: u64) -> MessageState {
    MessageState { rev, edits: 0, edited_at: None, deleted_at: None, reactions: Vec::new() }
}
