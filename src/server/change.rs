//! The rules of changes: who may change which message, and how. Pure, so that every store has the same.

use std::sync::Arc;

use crate::protocol::{
    ErrorCode, MAX_EMOJI, MAX_EMOJI_PER_USER, MAX_REACTION_USERS, MAX_REACTIONS, MessageChange, Reaction, Refusal,
    User, UserId,
};

/// A change of a message that a user asks for. Texts and emoji have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replace the text.
    Edit {
        /// The number of edits of the message that the user has edited.
        edits: u64,
        /// The new text.
        text: String,
    },
    /// Delete the message.
    Delete,
    /// Add a reaction.
    React(String),
    /// Take a reaction back.
    Unreact(String),
}

/// The message to change, as far as the decision depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The author.
    pub author: UserId,
    /// The text; empty if it was deleted.
    pub text: &'a str,
    /// The number of edits.
    pub edits: u64,
    /// It was deleted.
    pub is_deleted: bool,
    /// Its reactions with the emoji of the change, and all of them.
    pub reactions: Reacted,
}

/// The reactions to a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reacted {
    /// The user has reacted with the emoji.
    pub by_user: bool,
    /// At least one user has.
    pub by_any: bool,
    /// The number of different emoji.
    pub emoji: usize,
    /// The number of those that the user has reacted with.
    pub emoji_of_user: usize,
    /// The number of all reactions.
    pub count: u64,
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
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The revision of the message.
    pub rev: u64,
    /// Its state, for the room. `None` if the change had no effect.
    pub change: Option<Arc<MessageChange>>,
}

/// Decides about a change by a user. Every change can be sent again: the second one has no effect.
///
/// # Errors
/// [`ChangeError::NotFound`], [`ChangeError::NotYours`], [`ChangeError::EditConflict`], [`ChangeError::ReactionsFull`].
pub fn decide(change: &Change, user: UserId, target: &Target<'_>) -> Result<Decision, ChangeError> {
    let Target { author, text: current, edits: current_edits, is_deleted, reactions } = *target;
    match change {
        Change::Delete if author != user => Err(ChangeError::NotYours),
        Change::Delete if is_deleted => Ok(Decision::Unchanged),
        Change::Delete => Ok(Decision::Changed),
        Change::Edit { .. } | Change::React(_) | Change::Unreact(_) if is_deleted => Err(ChangeError::NotFound),
        Change::Edit { .. } if author != user => Err(ChangeError::NotYours),
        Change::Edit { text, .. } if current == text => Ok(Decision::Unchanged),
        Change::Edit { edits, .. } if *edits != current_edits => Err(ChangeError::EditConflict),
        Change::Edit { .. } => Ok(Decision::Changed),
        Change::React(_) if reactions.by_user => Ok(Decision::Unchanged),
        Change::React(_) if reactions.count >= MAX_REACTIONS => Err(ChangeError::ReactionsFull),
        Change::React(_) if reactions.emoji_of_user >= MAX_EMOJI_PER_USER => Err(ChangeError::ReactionsFull),
        Change::React(_) if !reactions.by_any && reactions.emoji >= MAX_EMOJI => Err(ChangeError::ReactionsFull),
        Change::Unreact(_) if !reactions.by_user => Ok(Decision::Unchanged),
        Change::React(_) | Change::Unreact(_) => Ok(Decision::Changed),
    }
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
            ChangeError::RoomFull => ErrorCode::RoomFull.into(),
            ChangeError::ServerFull { retry_after_ms } => Self { retry_after_ms, ..ErrorCode::ServerFull.into() },
            ChangeError::Unavailable => ErrorCode::StoreUnavailable.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BEN: UserId = UserId(2);

    fn target(reactions: Reacted) -> Target<'static> {
        Target { author: ANN, text: "hello", edits: 1, is_deleted: false, reactions }
    }

    fn edit(edits: u64, text: &str) -> Change {
        Change::Edit { edits, text: text.into() }
    }

    #[test]
    fn only_the_author_edits_and_deletes_and_anyone_reacts() {
        let target = target(Reacted::default());
        for change in [edit(1, "bye"), Change::Delete] {
            assert_eq!(decide(&change, ANN, &target), Ok(Decision::Changed));
            assert_eq!(decide(&change, BEN, &target), Err(ChangeError::NotYours));
        }
        assert_eq!(decide(&Change::React("👍".into()), BEN, &target), Ok(Decision::Changed));
    }

    #[test]
    fn change_that_is_sent_again_has_no_effect() {
        let reacted = target(Reacted { by_user: true, by_any: true, emoji: 1, emoji_of_user: 1, count: 1 });
        assert_eq!(decide(&edit(0, "hello"), ANN, &reacted), Ok(Decision::Unchanged));
        assert_eq!(decide(&Change::React("👍".into()), ANN, &reacted), Ok(Decision::Unchanged));
        assert_eq!(decide(&Change::Unreact("👍".into()), ANN, &target(Reacted::default())), Ok(Decision::Unchanged));
        let deleted = Target { is_deleted: true, text: "", ..reacted };
        assert_eq!(decide(&Change::Delete, ANN, &deleted), Ok(Decision::Unchanged));
    }

    #[test]
    fn edit_of_an_earlier_text_is_a_conflict() {
        assert_eq!(decide(&edit(0, "bye"), ANN, &target(Reacted::default())), Err(ChangeError::EditConflict));
    }

    #[test]
    fn deleted_message_takes_neither_edits_nor_reactions() {
        let deleted = Target { is_deleted: true, text: "", ..target(Reacted::default()) };
        for change in [edit(1, "bye"), Change::React("👍".into()), Change::Unreact("👍".into())] {
            assert_eq!(decide(&change, ANN, &deleted), Err(ChangeError::NotFound));
        }
        assert_eq!(decide(&Change::Delete, BEN, &deleted), Err(ChangeError::NotYours));
    }

    #[test]
    fn reactions_are_bounded_in_emoji_and_number() {
        let react = Change::React("👍".into());
        let full = Reacted { emoji: MAX_EMOJI, count: 20, ..Reacted::default() };
        assert_eq!(decide(&react, BEN, &target(full)), Err(ChangeError::ReactionsFull));
        assert_eq!(decide(&react, BEN, &target(Reacted { by_any: true, ..full })), Ok(Decision::Changed));
        let own = Reacted { emoji: 5, emoji_of_user: MAX_EMOJI_PER_USER, count: 5, ..Reacted::default() };
        assert_eq!(decide(&react, BEN, &target(own)), Err(ChangeError::ReactionsFull));
        let many = Reacted { by_any: true, emoji: 1, count: MAX_REACTIONS, ..Reacted::default() };
        assert_eq!(decide(&react, BEN, &target(many)), Err(ChangeError::ReactionsFull));
    }

    #[test]
    fn reactions_are_grouped_by_emoji_in_the_order_of_their_first_use() {
        let user = |id| User { id: UserId(id), nickname: format!("n{id}") };
        let made = [("👍", 1), ("🎉", 1)].into_iter().chain((2..=60).map(|id| ("👍", id)));
        let groups = group_reactions(made.map(|(emoji, id)| (emoji.to_owned(), user(id))));
        let counts: Vec<_> = groups.iter().map(|group| (&*group.emoji, group.count, group.users.len())).collect();
        assert_eq!(counts, [("👍", 60, MAX_REACTION_USERS), ("🎉", 1, 1)]);
        assert_eq!(groups[0].users[2], user(3));
        assert_eq!(groups[0].others, Some((4..=60).map(UserId).collect()));
        assert!(groups[0].has(UserId(60)) && !groups[0].has(UserId(61)) && groups[1].has(UserId(1)));
    }
}
