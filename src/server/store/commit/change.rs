//! Changes of messages, in the transaction of their batch.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::super::index;
use super::super::row::{message, pin, reactions, select_messages};
use super::super::usage::{ROW, StoredInRoom, bytes_of_row};
use super::super::{AppendError, ChangeOutcome, ChangeRequest};
use super::Work;
use super::mention::bytes_of_mentions;
use crate::protocol::{Message, MessageChange, MessageState, User};
use crate::server::change::{Candidate, Change, ChangeError, Changed, Decision, MentionsChanged, decide};

impl Work<'_> {
    pub(super) fn change(&mut self, request: &ChangeRequest) -> rusqlite::Result<ChangeOutcome> {
        let (transaction, id) = (self.transaction, request.room.number);
        let mut find = transaction.prepare_cached(select_messages!("WHERE room = ?1 AND seq = ?2"))?;
        let find = find.query_row(params![id, request.seq as i64], |row| message(transaction, &request.room, row));
        let Some(mut target) = find.optional()? else { return Ok(Err(ChangeError::NotFound)) };
        let pins = if request.change == Change::Pin { self.pins(request.room.number)? } else { 0 };
        match decide(&request.change, request.user.id, &target, pins) {
            Err(error) => return Ok(Err(error)),
            Ok(Decision::Unchanged) => {
                return Ok(Ok(Changed { rev: target.rev(), ..Changed::default() }));
            }
            Ok(Decision::Changed) => {}
        }
        let mut room = self.room(id)?;
        let mentions = match &request.change {
            Change::Edit { text, mentions, .. } => {
                // Those who are mentioned already stay, wherever they are now.
                let known = target.mentions().iter();
                let known = known.map(|user| Candidate { id: user.id, nickname: Some(user.nickname.clone()) });
                let candidates: Vec<_> = known.chain(mentions.iter().cloned()).collect();
                self.mentioned(&request.room, request.user.id, text, &candidates)?
            }
            Change::Delete | Change::React(_) | Change::Unreact(_) | Change::Pin | Change::Unpin => Vec::new(),
        };
        if let Err(error) = self.account(&mut room.stored, request, &target, &mentions)? {
            return Ok(Err(error));
        }
        room.rev += 1;
        let (rev, at) = (room.rev as u64, self.at as u64);
        let mut state = MessageState { rev, ..target.state.take().map(|state| *state).unwrap_or_default() };
        let mut text = None;
        match &request.change {
            Change::Edit { text: new, .. } => {
                state.edits += 1;
                state.edited_at = Some(at);
                text = Some(new.clone());
            }
            Change::Delete => state.deleted_at = Some(at),
            Change::React(_) | Change::Unreact(_) | Change::Pin | Change::Unpin => {}
        }
        let mentions_changed = self.change_mentions(request, &target, &mentions)?;
        self.write_change(request, &target.text, &state, mentions.len())?;
        state.reactions = reactions(transaction, &request.room, request.seq)?;
        state.pinned = pin(transaction, &request.room, request.seq)?;
        self.rooms.insert(id, room);
        let mentions = (!mentions.is_empty()).then_some(mentions);
        let change = MessageChange { room: request.room.id, seq: request.seq, text, mentions, state };
        Ok(Ok(Changed { rev, change: Some(Arc::new(change)), mentions: mentions_changed }))
    }

    /// Writes whom a message mentions after a change of its text.
    fn change_mentions(
        &self,
        request: &ChangeRequest,
        target: &Message,
        mentions: &[User],
    ) -> rusqlite::Result<MentionsChanged> {
        if !request.change.replaces_text() || (target.mentions().is_empty() && mentions.is_empty()) {
            return Ok(MentionsChanged::default());
        }
        self.remove_mentions(&request.room, request.seq)?;
        self.add_mentions(&request.room, request.seq, mentions)?;
        let without = |users: &[User], others: &[User]| {
            let is_other = |user: &&User| others.iter().all(|other| other.id != user.id);
            users.iter().filter(is_other).map(|user| user.id).collect()
        };
        Ok(MentionsChanged {
            added: without(mentions, target.mentions()),
            removed: without(target.mentions(), mentions),
        })
    }

    /// Counts what a change adds and frees, unless a quota forbids it.
    fn account(
        &mut self,
        room: &mut StoredInRoom,
        request: &ChangeRequest,
        target: &Message,
        mentions: &[User],
    ) -> rusqlite::Result<Result<(), ChangeError>> {
        let pinned = target.pinned().map_or(0, |pin| bytes_of_row(&pin.user));
        let (old, new) = match &request.change {
            Change::Edit { text, .. } => (
                target.text.len() as u64 + bytes_of_mentions(target.mentions()),
                text.len() as u64 + bytes_of_mentions(mentions),
            ),
            Change::React(emoji) => (0, bytes_of_row(&request.user) + emoji.len() as u64),
            Change::Unreact(emoji) => (self.bytes_of_reactions(request, Some(emoji))?, 0),
            Change::Delete => {
                let files = self.bytes_of_attachments(request.room.number, request.seq)?;
                let text = target.text.len() as u64 + bytes_of_mentions(target.mentions());
                (text + self.bytes_of_reactions(request, None)? + files + pinned, 0)
            }
            Change::Pin => (0, bytes_of_row(&request.user)),
            Change::Unpin => (pinned, 0),
        };
        Ok(self.stored.change_message(room, old, new, self.at, self.quotas).map_err(|full| match full {
            AppendError::ServerFull { retry_after_ms } => ChangeError::ServerFull { retry_after_ms },
            AppendError::RoomFull
            | AppendError::KeyConflict
            | AppendError::NotFound
            | AppendError::AttachmentNotFound
            | AppendError::Unavailable => ChangeError::RoomFull,
        }))
    }

    /// The size of the reactions to a message: of the user's own with an emoji, or of all.
    fn bytes_of_reactions(&self, request: &ChangeRequest, emoji: Option<&str>) -> rusqlite::Result<u64> {
        let mut sum = self.transaction.prepare_cached(
            "SELECT COALESCE(SUM(octet_length(emoji) + octet_length(nickname) + ?5), 0) FROM reactions \
             WHERE room = ?1 AND seq = ?2 AND (?3 IS NULL OR (emoji = ?3 AND user = ?4))",
        )?;
        let params = params![request.room.number, request.seq as i64, emoji, request.user.id.0 as i64, ROW as i64];
        sum.query_row(params, |row| row.get::<_, i64>(0)).map(|bytes| bytes as u64)
    }

    /// The number of pinned messages in a room.
    fn pins(&self, room: i64) -> rusqlite::Result<u64> {
        let mut count = self.transaction.prepare_cached("SELECT COUNT(*) FROM pins WHERE room = ?1")?;
        count.query_row([room], |row| row.get::<_, i64>(0)).map(|count| count as u64)
    }

    /// Writes a change. `before` is the text of the message, `state` its state afterwards, and `mentions` the number of users
    /// whom a new text mentions.
    fn write_change(
        &self,
        request: &ChangeRequest,
        before: &str,
        state: &MessageState,
        mentions: usize,
    ) -> rusqlite::Result<()> {
        const UNPIN: &str = "DELETE FROM pins WHERE room = ?1 AND seq = ?2";
        let (transaction, room, seq) = (self.transaction, request.room.number, request.seq as i64);
        let (user, rev) = (request.user.id.0 as i64, state.rev as i64);
        let text = match &request.change {
            Change::Edit { text, .. } => Some(text.as_str()),
            Change::Delete => {
                let delete = "DELETE FROM reactions WHERE room = ?1 AND seq = ?2";
                transaction.prepare_cached(delete)?.execute(params![room, seq])?;
                transaction.prepare_cached(UNPIN)?.execute(params![room, seq])?;
                self.remove_attachments(request.room.number, request.seq)?;
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
            Change::Pin => {
                let insert = "INSERT INTO pins (room, seq, user, nickname, at) VALUES (?1, ?2, ?3, ?4, ?5)";
                let values = params![room, seq, user, request.user.nickname, self.at];
                transaction.prepare_cached(insert)?.execute(values)?;
                None
            }
            Change::Unpin => {
                transaction.prepare_cached(UNPIN)?.execute(params![room, seq])?;
                None
            }
        };
        if let Some(text) = text {
            index::replace(transaction, room, request.seq, before, text)?;
        }
        let update = "UPDATE messages SET rev = ?3, edits = ?4, edited_at = ?5, deleted_at = ?6, \
             text = COALESCE(?7, text), mentions = CASE WHEN ?7 IS NULL THEN mentions ELSE ?8 END WHERE room = ?1 AND seq = ?2";
        let (edited_at, deleted_at) = (state.edited_at.map(|at| at as i64), state.deleted_at.map(|at| at as i64));
        let values = params![room, seq, rev, state.edits as i64, edited_at, deleted_at, text, mentions as i64];
        transaction.prepare_cached(update)?.execute(values).map(drop)
    }
}
