//! Payloads about chat: rooms, messages, positions, and the answers that carry them.

use super::attachment::Attachment;
use super::call::Peer;
use super::change::{MessageChange, MessageState, Pin, Reaction};
use super::codec::{DecodeError, FromJson, Json, Reading, wire};
use super::id::{MessageKey, RoomId, UserId};
use super::limits::HEARTBEAT_MS;
use super::user::User;

wire! {
    /// A stored message. A tolerant reader knows by an empty `text` without files that it cannot show it: a newer server
    /// has other kinds of entries in its history.
    pub struct Message {
        /// The room.
        pub room: RoomId,
        /// Its position in the room's history: 1, 2, 3 … without gaps.
        pub seq: u64,
        /// Chosen by the author's client; identifies the message among those of the author in this room.
        pub key: MessageKey = MessageKey(0),
        /// The author, with the nickname at the time of sending.
        pub user: User = User { id: UserId(0), nickname: String::new() },
        /// 1 to [`MAX_TEXT_CHARS`](super::MAX_TEXT_CHARS) code points. May be empty if there are files.
        pub text: String = String::new(),
        /// The time when the server stored it, in milliseconds since 1970 UTC.
        pub at: u64 = 0,
        /// The position of the message that it replies to.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reply_to: Option<u64>,
        /// Its state, if it was changed after it was posted. A deleted message has no text.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub state: Option<Box<MessageState>>,
        /// Its files, at most [`MAX_ATTACHMENTS`](super::MAX_ATTACHMENTS). A deleted message has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub attachments: Option<Vec<Attachment>>,
        /// The users whom its text mentions, at most [`MAX_MENTIONS`](super::MAX_MENTIONS): `@` and the nickname that is
        /// given here are in the text. A deleted message mentions nobody.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub mentions: Option<Vec<User>>,
    }

    /// A position in a room's history, to resume from.
    pub struct Position {
        /// Identifies the history that `seq` counts in. Changes only when earlier positions become invalid, for example
        /// after a restored backup.
        pub epoch: String,
        /// The `seq` of the last message seen; 0 for none.
        pub seq: u64,
        /// The revision of the last change seen; 0 for none.
        pub rev: u64,
    }

    /// A room in the list, with its number of users.
    pub struct RoomCount {
        /// The room.
        pub room: RoomId,
        /// Its canonical name.
        pub name: String,
        /// Users, not connections.
        pub count: u64,
        /// The number of peers in its call, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub call: Option<u64>,
    }

    /// The rooms with users in them, largest first, at most [`MAX_LISTED_ROOMS`](super::MAX_LISTED_ROOMS).
    pub struct RoomList {
        /// The whole list.
        pub rooms: Vec<RoomCount>,
    }

    /// The difference between two [`RoomList`]s.
    pub struct RoomUpdate {
        /// The rooms that are new in the list, or whose numbers changed.
        pub rooms: Vec<RoomCount>,
        /// The rooms that are no longer in the list.
        pub removed: Vec<RoomId>,
    }

    /// The limits that a client may need.
    #[derive(Default)]
    pub struct Limits {
        /// The longest frame from a client, in bytes.
        pub frame_bytes: u64,
        /// The longest message text, in code points.
        pub text_chars: u64,
        /// The longest nickname, in graphemes.
        pub nickname_graphemes: u64,
        /// The longest room name, in graphemes.
        pub room_graphemes: u64,
        /// The sustained message rate per user.
        pub messages_per_second: u64,
        /// The message burst per user.
        pub message_burst: u64,
    }

    /// Answer to `hello`.
    pub struct HelloAck {
        /// The user behind this connection.
        pub user: User,
        /// Identifies the user in a later `hello`. Secret.
        pub resume: String,
        /// The time without a frame, in milliseconds, after which the client sends `ping`.
        pub heartbeat_ms: u64 = HEARTBEAT_MS,
        /// The server's build, which lets a page detect that it is older.
        pub build: String = String::new(),
        /// The server's limits.
        pub limits: Limits = Limits::default(),
    }

    /// Answer to `nickname`.
    pub struct NicknameAck {
        /// The nickname as stored.
        pub nickname: String,
    }

    /// Answer to `enter_room`.
    #[derive(Default)]
    pub struct EnterRoomAck {
        /// The room.
        pub room: RoomId,
        /// Its canonical name.
        pub name: String,
        /// See [`Position::epoch`].
        pub epoch: String,
        /// The `seq` of the room's last message; 0 when there is none.
        pub head: u64,
        /// The revision of the room's last change; 0 when there is none.
        pub rev: u64,
        /// The `seq` of the oldest message that is kept, if earlier ones have expired. `head` + 1 if all have.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub floor: Option<u64>,
        /// The number of users in the room, including this one.
        pub count: u64 = 0,
        /// The first users in the room, in the order of arrival, at most [`MAX_MEMBERS`](super::MAX_MEMBERS).
        pub members: Vec<User> = Vec::new(),
        /// See [`MembersAck::members_after`].
        #[serde(skip_serializing_if = "Option::is_none")]
        pub members_after: Option<u64>,
        /// See [`MembersAck::crowded`].
        #[serde(skip_serializing_if = "Option::is_none")]
        pub crowded: Option<bool>,
        /// This user, who may not be among them.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub you: Option<User>,
        /// Oldest first. If `recovered`, all messages after the requested position; otherwise the latest.
        pub messages: Vec<Message>,
        /// The states of messages up to the requested position that were changed after it, in
        /// the order of their revisions. Absent without such a position, or if there are too many: then earlier messages
        /// may be out of date.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub changes: Option<Vec<MessageChange>>,
        /// There are older messages than these. Always false if `recovered`.
        pub more: bool = false,
        /// `messages` continues exactly at the requested position.
        pub recovered: bool = false,
        /// The reason why a requested position was not recovered.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reason: Option<Unrecovered>,
        /// The peers in the room's call, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub call: Option<Vec<Peer>>,
    }

    /// Answer to `members`.
    pub struct MembersAck {
        /// The number of users in the room.
        pub count: u64,
        /// Users in the room, in the order of arrival.
        pub members: Vec<User>,
        /// If there are more: the `after` of the next `members`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub members_after: Option<u64>,
        /// True if the room is crowded: changes of the list are not sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub crowded: Option<bool>,
    }

    /// Answer to `new_message`: the message is stored.
    pub struct PostAck {
        /// The room.
        pub room: RoomId,
        /// The key that the client sent.
        pub key: MessageKey,
        /// The message's position.
        pub seq: u64,
        /// See [`Message::at`].
        pub at: u64 = 0,
        /// `true` if the message had been stored before.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub dup: Option<bool>,
    }

    /// Answer to `history`.
    pub struct HistoryAck {
        /// Oldest first.
        pub messages: Vec<Message>,
        /// There are older messages than these.
        pub more: bool,
    }

    /// Answer to `pins`.
    #[derive(Default)]
    pub struct PinsAck {
        /// The pinned messages of the room, the last pinned first, at most [`MAX_PINS`](super::MAX_PINS) and at most
        /// [`MAX_HISTORY_BYTES`](super::MAX_HISTORY_BYTES) of them.
        pub messages: Vec<Message>,
    }
}

impl Message {
    /// A message that was just posted, with nothing but a text.
    pub fn of_text(room: RoomId, seq: u64, key: MessageKey, user: User, text: String, at: u64) -> Self {
        Self { room, seq, key, user, text, at, reply_to: None, state: None, attachments: None, mentions: None }
    }

    /// The revision of the last change; 0 if there is none.
    pub fn rev(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.rev)
    }

    /// The number of edits.
    pub fn edits(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.edits)
    }

    /// Returns whether its text is not the one that was posted.
    pub fn is_rewritten(&self) -> bool {
        self.edits() > 0 || self.is_deleted()
    }

    /// Its files.
    pub fn attachments(&self) -> &[Attachment] {
        self.attachments.as_deref().unwrap_or_default()
    }

    /// The users whom it mentions.
    pub fn mentions(&self) -> &[User] {
        self.mentions.as_deref().unwrap_or_default()
    }

    /// The reactions, by emoji.
    pub fn reactions(&self) -> &[Reaction] {
        self.state.as_ref().map_or(&[], |state| &state.reactions)
    }

    /// The reactions with an emoji, if there are any.
    pub fn reaction(&self, emoji: &str) -> Option<&Reaction> {
        self.reactions().iter().find(|reaction| reaction.emoji == emoji)
    }

    /// Returns whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.deleted_at.is_some())
    }

    /// Its pin, if it is pinned.
    pub fn pinned(&self) -> Option<&Pin> {
        self.state.as_ref().and_then(|state| state.pinned.as_ref())
    }

    /// Takes over the state after a change. Returns false if the message has that state or a later one already.
    ///
    /// This is the one rule by which states are updated, on the server and in pages.
    pub fn apply(&mut self, change: &MessageChange) -> bool {
        if change.seq != self.seq || change.state.rev <= self.rev() {
            return false;
        }
        if let Some(text) = &change.text {
            self.text.clone_from(text);
            self.mentions.clone_from(&change.mentions);
        }
        if change.state.deleted_at.is_some() {
            self.text.clear();
            self.attachments = None;
            self.mentions = None;
        }
        self.state = Some(Box::new(change.state.clone()));
        true
    }
}

impl Default for MembersAck {
    /// The members of a room with nobody in it.
    fn default() -> Self {
        Self { count: 0, members: Vec::new(), members_after: None, crowded: None }
    }
}

impl RoomUpdate {
    /// Changes a list accordingly.
    pub fn apply(&self, rooms: &mut Vec<RoomCount>) {
        rooms.retain(|room| {
            !self.removed.contains(&room.room) && !self.rooms.iter().any(|changed| changed.room == room.room)
        });
        rooms.extend(self.rooms.iter().cloned());
        rooms.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.name, a.room).cmp(&(&b.name, b.room))));
    }
}

/// The reason why a position could not be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Unrecovered {
    /// The position belongs to another history.
    EpochChanged,
    /// Messages after the position are no longer kept.
    Expired,
    /// More messages were missed than a replay may carry.
    GapTooLarge,
    /// The position is after the room's last message.
    PositionAhead,
}

impl FromJson for Unrecovered {
    fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
        match String::from_json(json, reading)?.as_str() {
            "EPOCH_CHANGED" => Ok(Self::EpochChanged),
            "EXPIRED" => Ok(Self::Expired),
            "GAP_TOO_LARGE" => Ok(Self::GapTooLarge),
            "POSITION_AHEAD" => Ok(Self::PositionAhead),
            _ => Err(DecodeError::bad_type("a reason")),
        }
    }
}
