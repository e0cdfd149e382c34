//! What chat is about: people, rooms, messages, positions; and the answers that carry them.

use super::call::Peer;
use super::codec::{Fault, FromJson, Json, wire};
use super::id::{MessageKey, UserId};

wire! {
    /// A person as others see them.
    pub struct User {
        /// Who it is.
        pub id: UserId,
        /// What they are called, in NFC. Not unique over all rooms, only among the people in one.
        pub nickname: String,
    }

    /// A chat message, stored and in its place.
    pub struct Message {
        /// The room's canonical name.
        pub room: String,
        /// Its place in the room: 1, 2, 3 … without gaps.
        pub seq: u64,
        /// What its author's client called it.
        pub key: MessageKey,
        /// The author, named as when it was sent.
        pub user: User,
        /// 1 to [`super::MAX_TEXT_CHARS`] code points.
        pub text: String,
        /// When the server stored it: milliseconds since 1970 UTC.
        pub at: u64,
    }

    /// A place in a room's history, to resume from.
    pub struct Position {
        /// The history it counts in; changes only when earlier positions no longer hold.
        pub epoch: String,
        /// The last message seen; 0 for none.
        pub seq: u64,
    }

    /// A room with people in it.
    pub struct RoomCount {
        /// The canonical name.
        pub name: String,
        /// People, not connections.
        pub count: u64,
        /// How many are in its call, when there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub call: Option<u64>,
    }

    /// The rooms with people in them, largest first, at most [`super::MAX_LISTED_ROOMS`].
    pub struct RoomList {
        /// The whole list.
        pub rooms: Vec<RoomCount>,
    }

    /// The limits that a client may want to know.
    pub struct Limits {
        /// Longest frame from a client, bytes.
        pub frame_bytes: u64,
        /// Longest message, code points.
        pub text_chars: u64,
        /// Longest nickname, graphemes.
        pub nickname_graphemes: u64,
        /// Longest room name, graphemes.
        pub room_graphemes: u64,
        /// Messages a second in the long run, per user.
        pub messages_per_second: u64,
        /// Messages at once, per user.
        pub message_burst: u64,
    }

    /// Answer to `hello`.
    pub struct HelloAck {
        /// Who one is.
        pub user: User,
        /// Says who one is in a later `hello`; keep it secret.
        pub resume: String,
        /// Send `ping` after this many milliseconds without a frame.
        pub heartbeat_ms: u64,
        /// The server's build, to notice that a page is older.
        pub build: String,
        /// What the server accepts.
        pub limits: Limits,
    }

    /// Answer to `nickname`.
    pub struct NicknameAck {
        /// The name as stored.
        pub nickname: String,
    }

    /// Answer to `enter_room`.
    pub struct EnterRoomAck {
        /// The canonical name.
        pub room: String,
        /// The history that `seq` counts in.
        pub epoch: String,
        /// The room's last `seq`; 0 when it is empty.
        pub head: u64,
        /// People in the room, oneself included.
        pub count: u64,
        /// Who they are, in the order they came.
        pub members: Vec<User>,
        /// Recovered: all since `after`. Otherwise the latest. Oldest first.
        pub messages: Vec<Message>,
        /// Whether there are older messages than these (not recovered).
        pub more: bool,
        /// Whether `messages` continues exactly where `after` stood.
        pub recovered: bool,
        /// Why not, when `after` was given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reason: Option<Unrecovered>,
        /// Who is in the room's call, when there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub call: Option<Vec<Peer>>,
    }

    /// Answer to `new_message`: it is stored.
    pub struct PostAck {
        /// The canonical name.
        pub room: String,
        /// As sent.
        pub key: MessageKey,
        /// Its place.
        pub seq: u64,
        /// When it was stored.
        pub at: u64,
        /// `true` when it had been stored before.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub dup: Option<bool>,
    }

    /// Answer to `history`.
    pub struct HistoryAck {
        /// Oldest first.
        pub messages: Vec<Message>,
        /// Whether there are older ones.
        pub more: bool,
    }
}

/// Why a position could not be resumed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Unrecovered {
    /// The position counts in another history.
    EpochChanged,
    /// More was missed than a replay carries.
    GapTooLarge,
    /// The position is beyond the room's last message.
    PositionAhead,
}

impl FromJson for Unrecovered {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        match String::from_json(json)?.as_str() {
            "EPOCH_CHANGED" => Ok(Self::EpochChanged),
            "GAP_TOO_LARGE" => Ok(Self::GapTooLarge),
            "POSITION_AHEAD" => Ok(Self::PositionAhead),
            _ => Err(Fault::bad_type("a reason")),
        }
    }
}
