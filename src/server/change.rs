//! The rules of changes: who may change which message, and how. Pure, so that every store has the same.

use std::sync::Arc;

use crate::protocol::{
    ErrorCode, MAX_EMOJI, MAX_EMOJI_PER_USER, MAX_PINS, MAX_REACTION_USERS, MAX_REACTIONS, Message, MessageChange,
    Reaction, Refusal, User, UserId, begins_mention,
};

/// A user whom a message mentions, if its text has the nickname.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The user.
    pub id: UserId,
    /// The nickname, if the user is in the room. Otherwise the store looks for it.
    pub nickname: Option<String>,
}

/// Returns whether a text mentions a nickname. Letters may follow it: in many languages words have endings.
pub fn mentions(text: &str, nickname: &str) -> bool {
    text.match_indices('@').any(|(at, _)| begins_mention(&text[..at]) && text[at + 1..].starts_with(nickname))
}

/// A change of a message that a user asks for. Texts and emoji have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replace the text.
    Edit {
        /// The number of edits of the message that the user has edited.
        edits: u64,
        /// The new text.
        text: String,
        /// The users whom it may mention.
        mentions: Vec<Candidate>,
    },
    /// Delete the message.
    Delete,
    /// Add a reaction.
    React(String),
    /// Take a reaction back.
    Unreact(String),
    /// Pin the message.
    Pin,
    /// Unpin it.
    Unpin,
}

impl Change {
    /// Returns whether it replaces or removes the text.
    pub fn replaces_text(&self) -> bool {
        match self {
            Self::Edit { .. } | Self::Delete => true,
            Self::React(_) | Self::Unreact(_) | Self::Pin | Self::Unpin => false,
        }
    }
}

/// The decision about a change that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The message has the requested state already. Nothing is written.
    Unchanged,
    /// The change is carried out, and has a revision of its own.
    Changed,
}

/// The reason why a message was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// There is no such message, or it was deleted.
    NotFound,
    /// The user is not the author.
    NotYours,
    /// The message was edited meanwhile.
    EditConflict,
    /// It has too many reactions.
    ReactionsFull,
    /// The room has too many pinned messages.
    PinsFull,
    /// The quota of the room is used up.
    RoomFull,
    /// The quota of the day or the total quota is used up.
    ServerFull {
        /// The time until the quota of the day is renewed.
        retry_after_ms: Option<u64>,
    },
    /// The store cannot write now.
    Unavailable,
}

/// The outcome of a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changed {
    /// The revision of the message.
    pub rev: u64,
    /// Its state, for the room. `None` if the change had no effect.
    pub change: Option<Arc<MessageChange>>,
    /// The users whom the message did not mention before, and those whom it does not mention any more.
    pub mentions: MentionsChanged,
}

/// A change of the users whom a message mentions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MentionsChanged {
    /// New ones.
    pub added: Vec<UserId>,
    /// Those who are no longer mentioned.
    pub removed: Vec<UserId>,
}

/// Decides about a change by a user. Every change is idempotent: sent again, it has no effect. `pins`: the number of pinned
/// messages in the room, which only [`Change::Pin`] needs.
///
/// # Errors
/// [`ChangeError::NotFound`], [`ChangeError::NotYours`], [`ChangeError::EditConflict`], [`ChangeError::ReactionsFull`],
/// [`ChangeError::PinsFull`].
pub fn decide(change: &Change, user: UserId, message: &Message, pins: u64) -> Result<Decision, ChangeError> {
    let (is_own, is_deleted) = (message.user.id == user, message.is_deleted());
    match change {
        Change::Delete if !is_own => Err(ChangeError::NotYours),
        Change::Delete if is_deleted => Ok(Decision::Unchanged),
        Change::Delete => Ok(Decision::Changed),
        Change::Edit { .. } | Change::React(_) | Change::Unreact(_) | Change::Pin | Change::Unpin if is_deleted => {
            Err(ChangeError::NotFound)
        }
        Change::Edit { .. } if !is_own => Err(ChangeError::NotYours),
        Change::Edit { text, .. } if message.text == *text => Ok(Decision::Unchanged),
        Change::Edit { edits, .. } if *edits != message.edits() => Err(ChangeError::EditConflict),
        Change::Edit { .. } => Ok(Decision::Changed),
        Change::React(emoji) => match message.reaction(emoji) {
            Some(reaction) if reaction.has(user) => Ok(Decision::Unchanged),
            reaction => check_room(message.reactions(), user, reaction.is_none()).map(|()| Decision::Changed),
        },
        Change::Unreact(emoji) => {
            let has_reacted = message.reaction(emoji).is_some_and(|reaction| reaction.has(user));
            Ok(if has_reacted { Decision::Changed } else { Decision::Unchanged })
        }
        // Like a reaction, a pin is not its author's alone: anyone in the room may take it away.
        Change::Pin if message.pinned().is_some() => Ok(Decision::Unchanged),
        Change::Pin if pins >= MAX_PINS => Err(ChangeError::PinsFull),
        Change::Unpin if message.pinned().is_none() => Ok(Decision::Unchanged),
        Change::Pin | Change::Unpin => Ok(Decision::Changed),
    }
}

/// Checks that a message can have one more reaction of a user.
fn check_room(reactions: &[Reaction], user: UserId, is_new_emoji: bool) -> Result<(), ChangeError> {
    let count: u64 = reactions.iter().map(|reaction| reaction.count).sum();
    let emoji_of_user = reactions.iter().filter(|reaction| reaction.has(user)).count();
    let is_full =
        count >= MAX_REACTIONS || emoji_of_user >= MAX_EMOJI_PER_USER || (is_new_emoji && reactions.len() >= MAX_EMOJI);
    if is_full { Err(ChangeError::ReactionsFull) } else { Ok(()) }
}

/// Groups the reactions to a message by emoji. They come in the order in which they were made.
pub fn group_reactions(reactions: impl Iterator<Item = (String, User)>) -> Vec<Reaction> {
    let mut groups: Vec<Reaction> = Vec::new();
    for (emoji, user) in reactions {
        let index = groups.iter().position(|group| group.emoji == emoji).unwrap_or_else(|| {
            groups.push(Reaction { emoji, count: 0, users: Vec::new(), others: None });
            groups.len() - 1
        });
        let group = &mut groups[index];
        group.count += 1;
        if group.users.len() < MAX_REACTION_USERS {
            group.users.push(user);
        } else {
            group.others.get_or_insert_default().push(user.id);
        }
    }
    groups
}

impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => ErrorCode::MessageNotFound.into(),
            ChangeError::NotYours => ErrorCode::NotYours.into(),
            ChangeError::EditConflict => ErrorCode::EditConflict.into(),
            ChangeError::ReactionsFull => ErrorCode::ReactionsFull.into(),
            ChangeError::PinsFull => ErrorCode::PinsFull.into(),
            ChangeError::RoomFull => ErrorCode::RoomFull.into(),
            ChangeError::ServerFull { retry_after_ms } => Self { retry_after_ms, ..ErrorCode::ServerFull.into() },
            ChangeError::Unavailable => ErrorCode::StoreUnavailable.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{MessageKey, MessageState, Pin, RoomId};

    const ANN: UserId = UserId(1);
    const BEN: UserId = UserId(2);

    fn user(id: u64) -> User {
        User { id: UserId(id), nickname: format!("n{id}") }
    }

    /// A message of Ann, edited once, with these reactions.
    fn message(made: impl IntoIterator<Item = (String, u64)>) -> Message {
        let reactions = group_reactions(made.into_iter().map(|(emoji, id)| (emoji, user(id))));
        let state = MessageState { rev: 1, edits: 1, edited_at: Some(1), reactions, ..MessageState::default() };
        let (room, text) = (RoomId(1), "hello".into());
        let state = Some(Box::new(state));
        Message { state, ..Message::of_text(room, 1, MessageKey(1), user(ANN.0), text, 0) }
    }

    fn deleted() -> Message {
        let mut message = message([]);
        let state = MessageState { rev: 2, deleted_at: Some(2), ..*message.state.clone().unwrap() };
        message.apply(&MessageChange { room: RoomId(1), seq: 1, text: None, mentions: None, state });
        message
    }

    fn emoji(n: usize) -> String {
        format!("emoji {n}")
    }

    fn edit(edits: u64, text: &str) -> Change {
        Change::Edit { edits, text: text.into(), mentions: Vec::new() }
    }

    #[test]
    fn only_the_author_edits_and_deletes_and_anyone_reacts() {
        let message = message([]);
        for change in [edit(1, "bye"), Change::Delete] {
            assert_eq!(decide(&change, ANN, &message, 0), Ok(Decision::Changed));
            assert_eq!(decide(&change, BEN, &message, 0), Err(ChangeError::NotYours));
        }
        assert_eq!(decide(&Change::React("👍".into()), BEN, &message, 0), Ok(Decision::Changed));
    }

    #[test]
    fn change_that_is_sent_again_has_no_effect() {
        let reacted = message([("👍".into(), ANN.0)]);
        assert_eq!(decide(&edit(0, "hello"), ANN, &reacted, 0), Ok(Decision::Unchanged));
        assert_eq!(decide(&Change::React("👍".into()), ANN, &reacted, 0), Ok(Decision::Unchanged));
        assert_eq!(decide(&Change::Unreact("👍".into()), ANN, &message([]), 0), Ok(Decision::Unchanged));
        assert_eq!(decide(&Change::Delete, ANN, &deleted(), 0), Ok(Decision::Unchanged));
    }

    #[test]
    fn edit_of_an_earlier_text_is_a_conflict() {
        assert_eq!(decide(&edit(0, "bye"), ANN, &message([]), 0), Err(ChangeError::EditConflict));
    }

    #[test]
    fn deleted_message_takes_neither_edits_nor_reactions() {
        let react = [Change::React("👍".into()), Change::Unreact("👍".into())];
        for change in react.into_iter().chain([edit(1, "bye"), Change::Pin, Change::Unpin]) {
            assert_eq!(decide(&change, ANN, &deleted(), 0), Err(ChangeError::NotFound));
        }
        assert_eq!(decide(&Change::Delete, BEN, &deleted(), 0), Err(ChangeError::NotYours));
    }

    #[test]
    fn reactions_are_bounded_in_emoji_and_number() {
        let react = Change::React("👍".into());
        let full = || (0..MAX_EMOJI).map(|n| (emoji(n), 7));
        assert_eq!(decide(&react, BEN, &message(full()), 0), Err(ChangeError::ReactionsFull));
        assert_eq!(decide(&Change::React(emoji(0)), BEN, &message(full()), 0), Ok(Decision::Changed));
        let own = (0..MAX_EMOJI_PER_USER).map(|n| (emoji(n), BEN.0));
        assert_eq!(decide(&react, BEN, &message(own), 0), Err(ChangeError::ReactionsFull));
        let many = (0..MAX_REACTIONS).map(|n| ("👍".into(), n + 7));
        assert_eq!(decide(&react, BEN, &message(many), 0), Err(ChangeError::ReactionsFull));
    }

    #[test]
    fn anyone_pins_and_unpins_and_a_room_has_at_most_50_pins() {
        let mut pinned = message([]);
        pinned.state.as_mut().unwrap().pinned = Some(Pin { user: user(ANN.0), at: 1 });
        assert_eq!(decide(&Change::Pin, BEN, &message([]), MAX_PINS - 1), Ok(Decision::Changed));
        assert_eq!(decide(&Change::Pin, BEN, &message([]), MAX_PINS), Err(ChangeError::PinsFull));
        assert_eq!(decide(&Change::Pin, BEN, &pinned, MAX_PINS), Ok(Decision::Unchanged));
        assert_eq!(decide(&Change::Unpin, BEN, &pinned, MAX_PINS), Ok(Decision::Changed));
        assert_eq!(decide(&Change::Unpin, BEN, &message([]), 0), Ok(Decision::Unchanged));
    }

    #[test]
    fn reactions_are_grouped_by_emoji_in_the_order_of_their_first_use() {
        let made = [("👍", 1), ("🎉", 1)].into_iter().chain((2..=60).map(|id| ("👍", id)));
        let groups = group_reactions(made.map(|(emoji, id)| (emoji.to_owned(), user(id))));
        let counts: Vec<_> = groups.iter().map(|group| (&*group.emoji, group.count, group.users.len())).collect();
        assert_eq!(counts, [("👍", 60, MAX_REACTION_USERS), ("🎉", 1, 1)]);
        assert_eq!(groups[0].users[2], user(3));
        assert_eq!(groups[0].others, Some((4..=60).map(UserId).collect()));
        assert!(groups[0].has(UserId(60)) && !groups[0].has(UserId(61)) && groups[1].has(UserId(1)));
    }
}
