//! Frames that a client sends.

use super::ack::AckKind;
use super::envelope::{Empty, Envelope, frames};
use crate::protocol::VERSION;
use crate::protocol::call::{Describe, JoinCall, SetMedia, Trickle};
use crate::protocol::change::{DeleteMessage, EditMessage, MessageRef, PinMessage, React};
use crate::protocol::chat::Position;
use crate::protocol::codec::{DecodeError, Fields, FromJson, Json, Reading, wire};
use crate::protocol::error::ErrorCode;
use crate::protocol::id::{AttachmentId, MessageKey, RoomId, UserId};
use crate::protocol::my_rooms::{KeepRoom, MarkRead};
use crate::protocol::search::Search;

/// One frame from a client: a command, and the `id` that its answer will carry.
///
/// ```
/// use noom::protocol::frame::InRoom;
/// use noom::protocol::{ClientFrame, Command, ErrorCode, RoomId};
///
/// let frame = ClientFrame { id: Some(6), command: Command::LeaveRoom(InRoom { room: RoomId(0x70c0) }) };
/// let text = frame.encode();
/// assert_eq!(text, r#"{"type":"leave_room","payload":{"room":"00000000000070c0"},"id":6}"#);
/// assert_eq!(ClientFrame::decode(&text), Ok(frame));
///
/// // Decoding is strict, and an error still names the `id` to answer to.
/// let invalid = ClientFrame::decode(r#"{"type":"leave_room","payload":{},"id":6}"#).unwrap_err();
/// assert_eq!((invalid.id, invalid.error.code), (Some(6), ErrorCode::MissingField));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// Chosen by the client and repeated in the answer. A command without it gets no `ack`.
    pub id: Option<u64>,
    /// The command.
    pub command: Command,
}

/// A frame that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct FrameError {
    /// The frame's `id`, if it could be read: the `error` frame carries it.
    pub id: Option<u64>,
    /// The error in the frame.
    pub error: DecodeError,
}

/// Declares [`Command`], one command per line: `"type" => Variant(Payload) -> kind of its ack`.
macro_rules! commands {
    ($($(#[$meta:meta])* $name:literal => $Variant:ident($Payload:ty) -> $Ack:ident,)*) => {
        frames! {
            /// A request from a client.
            pub enum Command {
                $($(#[$meta])* $name => $Variant($Payload),)*
            }
        }

        impl Command {
            /// The kind of `ack` that answers it.
            pub const fn ack_kind(&self) -> AckKind {
                match self { $(Self::$Variant(_) => AckKind::$Ack,)* }
            }
        }
    };
}

commands! {
    /// Greets the server: the first frame of a connection.
    "hello" => Hello(Hello) -> Hello,
    /// Asks for an answer, to check that the connection is alive.
    "ping" => Ping(Empty) -> Empty,
    /// Changes the nickname.
    "nickname" => Nickname(SetNickname) -> Nickname,
    /// Enters a room, or resumes from a position in it.
    "enter_room" => EnterRoom(EnterRoom) -> EnterRoom,
    /// Leaves a room.
    "leave_room" => LeaveRoom(InRoom) -> Empty,
    /// Asks for a page of the list of members.
    "members" => Members(Members) -> Members,
    /// Posts a message.
    "new_message" => NewMessage(Post) -> NewMessage,
    /// Replaces the text of an own message.
    "edit_message" => EditMessage(EditMessage) -> Change,
    /// Deletes an own message.
    "delete_message" => DeleteMessage(DeleteMessage) -> Change,
    /// Deletes all own messages of a room.
    "delete_messages" => DeleteMessages(InRoom) -> Empty,
    /// Adds a reaction to a message, or takes it back.
    "react" => React(React) -> Change,
    /// Pins a message, or unpins it.
    "pin_message" => PinMessage(PinMessage) -> Change,
    /// Asks for the pinned messages of a room.
    "pins" => Pins(InRoom) -> Pins,
    /// Asks for older messages.
    "history" => History(History) -> History,
    /// Searches the messages of a room, or of all rooms of the user.
    "search" => Search(Search) -> Search,
    /// Announces that the user is typing.
    "typing" => Typing(InRoom) -> Empty,
    /// Subscribes to the list of rooms.
    "watch_rooms" => WatchRooms(Empty) -> Rooms,
    /// Ends the subscription.
    "unwatch_rooms" => UnwatchRooms(Empty) -> Empty,
    /// Subscribes to the user's own list of rooms, until the connection ends.
    "watch_my_rooms" => WatchMyRooms(Empty) -> MyRooms,
    /// Adds a room to the user's own list, or removes it.
    "keep_room" => KeepRoom(KeepRoom) -> Empty,
    /// Notes how far the user has read.
    "mark_read" => MarkRead(MarkRead) -> Empty,
    /// Joins the call of a room, or takes back an earlier slot in it.
    "join_call" => JoinCall(JoinCall) -> JoinCall,
    /// Leaves the call of a room.
    "leave_call" => LeaveCall(InRoom) -> Empty,
    /// Sends a WebRTC offer to another peer.
    "offer" => Offer(Describe) -> Empty,
    /// Sends a WebRTC answer to another peer.
    "answer" => Answer(Describe) -> Empty,
    /// Sends an ICE candidate to another peer.
    "ice" => Ice(Trickle) -> Empty,
    /// Announces which media this peer sends.
    "media" => Media(SetMedia) -> Empty,
}

wire! {
    /// Payload of `hello`.
    pub struct Hello {
        /// The version that the client speaks: [`VERSION`].
        pub protocol: u64,
        /// The token of an earlier `ack` to `hello`. Takes precedence over the cookie.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub resume: Option<String>,
    }

    /// Payload of `nickname` from a client.
    pub struct SetNickname {
        /// The new nickname; the `ack` carries its normalized form.
        pub nickname: String,
    }

    /// Payload of `enter_room`.
    pub struct EnterRoom {
        /// The name of the room, in any form. The room is created if there is none.
        pub name: String,
        /// The room, if the client knows it. It may have another name by now; the name in this frame only counts if
        /// there is no such room.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub room: Option<RoomId>,
        /// The position to resume from.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub after: Option<Position>,
    }

    /// Payload of commands that need only the room.
    pub struct InRoom {
        /// The room.
        pub room: RoomId,
    }

    /// Payload of `members`.
    pub struct Members {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// The `members_after` of an earlier answer. Without it, the first members are returned.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub after: Option<u64>,
        /// The most members to return, from 1 to [`MAX_MEMBERS`](crate::protocol::MAX_MEMBERS).
        pub limit: u64,
    }

    /// Payload of `new_message` from a client.
    pub struct Post {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// Chosen by the client, unique per message. Makes a repeated post idempotent.
        pub key: MessageKey,
        /// The text ([`check_text`](crate::protocol::check_text)).
        pub text: String,
        /// The message that it replies to.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reply_to: Option<MessageRef>,
        /// Its files: finished uploads of the user for this room, at most
        /// [`MAX_ATTACHMENTS`](crate::protocol::MAX_ATTACHMENTS). The text may then be empty.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub attachments: Option<Vec<AttachmentId>>,
        /// The users whose nicknames follow an `@` in the text. The server takes the first
        /// [`MAX_MENTIONS`](crate::protocol::MAX_MENTIONS), and of these the ones who are in the room or have written in
        /// it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub mentions: Option<Vec<UserId>>,
    }

    /// Payload of `history`.
    pub struct History {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// Only messages with a smaller `seq` are returned.
        pub before: u64,
        /// The most messages to return, from 1 to [`MAX_HISTORY`](crate::protocol::MAX_HISTORY).
        pub limit: u64,
    }
}

impl Hello {
    /// Decodes a payload of which only `protocol` means the same in all versions.
    fn from_any_version(payload: Json<'_>) -> Result<Self, DecodeError> {
        let protocol = Fields::of(payload.clone(), Reading::Tolerant)?.take("protocol")?;
        if protocol == VERSION {
            Self::from_json(payload, Reading::Tolerant)
        } else {
            Ok(Self { protocol, resume: None })
        }
    }
}

impl Post {
    /// A message with nothing but a text.
    pub fn of_text(room: RoomId, key: MessageKey, text: String) -> Self {
        Self { room, key, text, reply_to: None, attachments: None, mentions: None }
    }
}

impl ClientFrame {
    /// Decodes a frame, strictly. Only `hello` may have unknown fields: its version decides what they mean. Of another
    /// version, only that number is read.
    ///
    /// # Errors
    /// Any code of a bad frame ([`ErrorCode::is_bad_frame`]), `KEY_INVALID`, and `SDP_INVALID`.
    pub fn decode(text: &str) -> Result<Self, FrameError> {
        let envelope = Envelope::parse(text, Reading::Strict).map_err(|(id, error)| FrameError { id, error })?;
        let id = envelope.id;
        let decode = |envelope: Envelope<'_>| {
            if !Command::NAMES.contains(&envelope.name.as_str()) {
                return Err(ErrorCode::UnknownType.into());
            }
            let (name, payload) = envelope.open()?;
            if name == "hello" {
                return Hello::from_any_version(payload).map(Command::Hello);
            }
            Command::decode_payload(&name, payload, Reading::Strict)
        };
        decode(envelope).map(|command| Self { id, command }).map_err(|error| FrameError { id, error })
    }

    /// Encodes a frame.
    pub fn encode(&self) -> String {
        self.command.encode_with(self.id)
    }
}
