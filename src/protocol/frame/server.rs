//! Frames that the server sends.

use super::ack::{Ack, AckKind};
use super::client::FrameError;
use super::envelope::{Envelope, encode};
use crate::protocol::call::{CallPresence, Describe, SetMedia, Trickle};
use crate::protocol::change::MessageChange;
use crate::protocol::chat::{Message, RoomList, RoomUpdate};
use crate::protocol::codec::{DecodeError, FromJson, Json, Reading, wire};
use crate::protocol::error::ErrorCode;
use crate::protocol::id::RoomId;
use crate::protocol::my_rooms::MyRoomsUpdate;
use crate::protocol::user::User;

/// Declares [`ServerFrame`]: `ack` and `error`, which answer a command by its `id`, and the events, one per line:
/// `"type" => Variant(Payload)`.
macro_rules! server_frames {
    ($($(#[$meta:meta])* $name:literal => $Variant:ident($Payload:ty),)*) => {
        /// One frame from the server.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum ServerFrame {
            /// The command was carried out.
            Ack {
                /// The command's `id`.
                id: u64,
                /// The payload.
                ack: Ack,
            },
            /// The command was refused and had no effect.
            Error {
                /// The command's `id`, if it had one that could be read.
                id: Option<u64>,
                /// The payload.
                refusal: Refusal,
            },
            $($(#[$meta])* $Variant($Payload),)*
        }

        impl ServerFrame {
            /// The `type` of every frame, in the order of the declaration.
            pub const NAMES: &[&str] = &["ack", "error", $($name,)*];

            /// Decodes a frame. `expected` returns the kind of `ack` that the command with that `id` gets.
            ///
            /// A tolerant reader takes a frame of an unknown type that has a `room` and a `seq` for a message that it
            /// cannot show: a newer server has other kinds of entries in its history.
            ///
            /// # Errors
            /// Any code of a bad frame ([`ErrorCode::is_bad_frame`]); `UNKNOWN_TYPE` also for an `ack` that is not
            /// expected. The `id` is that of an answer.
            pub fn decode(
                text: &str,
                reading: Reading,
                expected: impl FnOnce(u64) -> Option<AckKind>,
            ) -> Result<Self, FrameError> {
                let envelope = Envelope::parse(text, reading).map_err(|(id, error)| FrameError { id, error })?;
                let id = envelope.id;
                let decode = |(name, payload): (String, Json<'_>)| match name.as_str() {
                    "ack" => {
                        let id = id.ok_or_else(|| DecodeError::at(ErrorCode::MissingField, "id"))?;
                        let kind = expected(id).ok_or(ErrorCode::UnknownType)?;
                        Ok(Self::Ack { id, ack: Ack::decode(kind, payload, reading)? })
                    }
                    "error" => Ok(Self::Error { id, refusal: Refusal::from_json(payload, reading)? }),
                    $($name => <$Payload>::from_json(payload, reading).map(Self::$Variant),)*
                    _ if reading == Reading::Tolerant => {
                        let entry = Message::from_json(payload, reading).map_err(|_| ErrorCode::UnknownType)?;
                        Ok(Self::NewMessage(Message { text: String::new(), ..entry }))
                    }
                    _ => Err(ErrorCode::UnknownType.into()),
                };
                envelope.open().and_then(decode).map_err(|error| FrameError { id, error })
            }

            /// Encodes a frame.
            pub fn encode(&self) -> String {
                match self {
                    Self::Ack { id, ack } => encode("ack", ack, Some(*id)),
                    Self::Error { id, refusal } => encode("error", refusal, *id),
                    $(Self::$Variant(payload) => encode($name, payload, None),)*
                }
            }
        }
    };
}

server_frames! {
    /// A user entered a room that this connection is in.
    "welcome" => Welcome(RoomPresence),
    /// A user left a room that this connection is in.
    "bye" => Bye(RoomPresence),
    /// The number of users in a crowded room changed, instead of `welcome` and `bye`.
    "crowd" => Crowd(Crowd),
    /// A user in a shared room changed their nickname.
    "nickname" => Nickname(Renamed),
    /// A message was stored.
    "new_message" => NewMessage(Message),
    /// A message was edited, deleted, reacted to or pinned.
    "message_changed" => MessageChanged(MessageChange),
    /// The oldest messages of a room are no longer kept.
    "messages_expired" => MessagesExpired(MessagesExpired),
    /// A user in a shared room is typing.
    "typing" => Typing(Typing),
    /// The whole list of rooms, when a difference would not do.
    "room_change" => RoomChange(RoomList),
    /// The list of rooms changed.
    "room_update" => RoomUpdate(RoomUpdate),
    /// The user's own list of rooms changed, for connections that watch it.
    "my_rooms_changed" => MyRoomsChanged(MyRoomsUpdate),
    /// The server is about to restart.
    "going_away" => GoingAway(GoingAway),
    /// A peer joined the call of a room, or is back in it over a new connection.
    "call_joined" => CallJoined(CallPresence),
    /// A peer left the call of a room.
    "call_left" => CallLeft(CallPresence),
    /// A WebRTC offer from another peer.
    "offer" => Offer(Describe),
    /// A WebRTC answer from another peer.
    "answer" => Answer(Describe),
    /// An ICE candidate from another peer.
    "ice" => Ice(Trickle),
    /// The media that another peer in the call sends changed.
    "media" => Media(SetMedia),
}

wire! {
    /// Payload of `welcome` and `bye`.
    pub struct RoomPresence {
        /// The room.
        pub room: RoomId,
        /// The user who entered or left.
        pub user: User,
        /// The number of users in the room afterwards.
        pub count: u64,
    }

    /// Payload of `crowd`.
    pub struct Crowd {
        /// The room.
        pub room: RoomId,
        /// The number of users in the room.
        pub count: u64,
        /// The whole list of members, if the room is no longer crowded.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub members: Option<Vec<User>>,
    }

    /// Payload of `messages_expired`.
    pub struct MessagesExpired {
        /// The room.
        pub room: RoomId,
        /// The `seq` of the oldest message that is kept; above that of the last one if none is.
        pub floor: u64,
    }

    /// Payload of `nickname` from the server.
    pub struct Renamed {
        /// The room.
        pub room: RoomId,
        /// The user, with the new nickname.
        pub user: User,
    }

    /// Payload of `typing` from the server.
    pub struct Typing {
        /// The room.
        pub room: RoomId,
        /// The user who is typing.
        pub user: User,
    }

    /// Payload of `going_away`.
    pub struct GoingAway {
        /// The delay before reconnecting, in milliseconds. Random per connection, to spread the load.
        pub reconnect_in_ms: u64,
    }

    /// Payload of `error`.
    pub struct Refusal {
        /// The reason.
        pub code: ErrorCode = ErrorCode::Unknown,
        /// An English explanation for developers.
        pub message: String = String::new(),
        /// The delay, in milliseconds, after which the command may succeed.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub retry_after_ms: Option<u64>,
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: code.message().to_owned(), retry_after_ms: None }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self { code: error.code, message: error.to_string(), retry_after_ms: None }
    }
}
