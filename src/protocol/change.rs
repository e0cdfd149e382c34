//! Payloads about changes of messages: edits, deletions, reactions, pins.
//!
//! A room counts its changes: each has a revision (`rev`), 1, 2, 3 … without gaps, apart from the numbers of messages.
//! What is sent is the state of the message after the change, not the change itself. So a client that was away needs
//! only the latest state of each changed message, and applying a state twice is the same as once.

use super::codec::{DecodeError, FromJson, Json, Reading, wire};
use super::id::{RoomId, UserId};
use super::user::User;

wire! {
    /// The state of a message that was changed after it was posted.
    #[derive(Default)]
    pub struct MessageState {
        /// The revision of the room at the last change of this message.
        pub rev: u64,
        /// The number of edits.
        pub edits: u64,
        /// The time of the last edit, in milliseconds since 1970 UTC.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub edited_at: Option<u64>,
        /// The time at which it was deleted, in milliseconds since 1970 UTC. Then its text is empty, for good.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub deleted_at: Option<u64>,
        /// The reactions, in the order in which their emoji were first used. At most
        /// [`MAX_EMOJI`](super::MAX_EMOJI).
        pub reactions: Vec<Reaction>,
        /// Its pin, if it is pinned. A deleted message is not.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub pinned: Option<Pin>,
    }

    /// The pin of a message that the users of a room want to find again.
    pub struct Pin {
        /// The user who pinned it, with the nickname at that time.
        pub user: User,
        /// The time at which it was pinned, in milliseconds since 1970 UTC.
        pub at: u64,
    }

    /// The reactions to a message with one emoji.
    pub struct Reaction {
        /// The emoji ([`check_emoji`](super::check_emoji)).
        pub emoji: String,
        /// The number of users.
        pub count: u64,
        /// The first of them, at most [`MAX_REACTION_USERS`](super::MAX_REACTION_USERS), in the order of their
        /// reactions, with the nicknames that they had then.
        pub users: Vec<User>,
        /// The others.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub others: Option<Vec<UserId>>,
    }

    /// Payload of `message_changed`: the state of a message after a change.
    pub struct MessageChange {
        /// The room.
        pub room: RoomId,
        /// The message's position.
        pub seq: u64,
        /// The text, if the message was edited. Absent if the last change has not touched it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub text: Option<String>,
        /// See [`Message::mentions`](super::Message::mentions), for this text.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub mentions: Option<Vec<User>>,
        /// The state.
        pub state: MessageState,
    }

    /// A message that a command refers to.
    pub struct MessageRef {
        /// The history that `seq` counts in ([`Position::epoch`](super::Position::epoch)). If the room has another one
        /// by now, the command is refused.
        pub epoch: String,
        /// The message's position.
        pub seq: u64,
    }

    /// Payload of `edit_message`.
    pub struct EditMessage {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// The message, which must be the user's own.
        pub target: MessageRef,
        /// The number of edits ([`MessageState::edits`]) of the message that the user has edited. If it has more, another
        /// page of the user was faster, and the command is refused.
        pub edits: u64,
        /// The new text ([`check_text`](super::check_text)).
        pub text: String,
        /// As in `new_message`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub mentions: Option<Vec<UserId>>,
    }

    /// Payload of `delete_message`.
    pub struct DeleteMessage {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// The message, which must be the user's own.
        pub target: MessageRef,
    }

    /// Payload of `react`.
    pub struct React {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// The message.
        pub target: MessageRef,
        /// The emoji ([`check_emoji`](super::check_emoji)).
        pub emoji: String,
        /// Adds the reaction, or takes it back.
        pub on: bool,
    }

    /// Payload of `pin_message`.
    pub struct PinMessage {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// The message.
        pub target: MessageRef,
        /// Pins it, or unpins it.
        pub on: bool,
    }

    /// Answer to `edit_message`, `delete_message`, `react` and `pin_message`: the message has the requested state.
    pub struct ChangeAck {
        /// The room.
        pub room: RoomId,
        /// The message's position.
        pub seq: u64,
        /// The revision of the message ([`MessageState::rev`]). That of an earlier change if the command had no effect.
        pub rev: u64,
    }
}

impl FromJson for Box<MessageState> {
    fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
        MessageState::from_json(json, reading).map(Self::new)
    }
}

impl Reaction {
    /// Returns whether it is also of this user.
    pub fn has(&self, user: UserId) -> bool {
        self.users.iter().map(|user| user.id).chain(self.others.iter().flatten().copied()).any(|id| id == user)
    }
}
