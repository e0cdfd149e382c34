//! Frames: what a client may say, and what the server may.

use serde::Serialize;

use super::call::{CallPresence, Describe, JoinCall, JoinCallAck, SetMedia, Trickle};
use super::chat::{EnterRoomAck, HelloAck, HistoryAck, Message, NicknameAck, Position, PostAck, RoomList, User};
use super::codec::{Fault, Fields, FromJson, Json, wire};
use super::error::ErrorCode;
use super::id::MessageKey;

/// One frame from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// Named again in the answer. Without it there is no `ack`.
    pub id: Option<u64>,
    /// What is asked.
    pub command: Command,
}

/// A frame that could not be read: the fault, and the `id` to answer to, where that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The frame's `id`.
    pub id: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

/// Declares [`Command`]: what a client may ask, by the name on the wire.
macro_rules! commands {
    ($($(#[$meta:meta])* $wire:literal => $variant:ident($payload:ty) -> $ack:ident,)*) => {
        /// What a client may ask.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Command {
            $($(#[$meta])* $variant($payload),)*
        }

        impl Command {
            /// The `type` on the wire.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $wire,)* }
            }

            /// What kind of `ack` answers it.
            pub const fn ack_kind(&self) -> AckKind {
                match self { $(Self::$variant(_) => AckKind::$ack,)* }
            }

            fn decode(name: &str, payload: Json<'_>) -> Result<Self, Fault> {
                match name {
                    $($wire => <$payload>::from_json(payload).map(Self::$variant),)*
                    _ => Err(Fault::unknown_type()),
                }
            }

            fn is_known(name: &str) -> bool {
                matches!(name, $($wire)|*)
            }

            fn encode(&self, id: Option<u64>) -> String {
                match self { $(Self::$variant(payload) => encode($wire, payload, id),)* }
            }
        }
    };
}

commands! {
    /// Greets: the first frame.
    "hello" => Hello(Hello) -> Hello,
    /// Asks for a sign of life.
    "ping" => Ping(Nothing) -> Nothing,
    /// Takes a nickname.
    "nickname" => Nickname(SetNickname) -> Nickname,
    /// Enters a room, perhaps resuming.
    "enter_room" => EnterRoom(EnterRoom) -> EnterRoom,
    /// Leaves a room.
    "leave_room" => LeaveRoom(InRoom) -> Nothing,
    /// Says something.
    "new_message" => NewMessage(Post) -> NewMessage,
    /// Asks for older messages.
    "history" => History(History) -> History,
    /// Says that one is writing.
    "typing" => Typing(InRoom) -> Nothing,
    /// Asks for the list of rooms, now and whenever it changes.
    "watch_rooms" => WatchRooms(Nothing) -> Rooms,
    /// Ends `watch_rooms`.
    "unwatch_rooms" => UnwatchRooms(Nothing) -> Nothing,
    /// Joins the call of a room, perhaps in one's earlier place.
    "join_call" => JoinCall(JoinCall) -> JoinCall,
    /// Leaves the call of a room.
    "leave_call" => LeaveCall(InRoom) -> Nothing,
    /// Proposes a session to another peer.
    "offer" => Offer(Describe) -> Nothing,
    /// Accepts one.
    "answer" => Answer(Describe) -> Nothing,
    /// Tells another peer a way to reach one.
    "ice" => Ice(Trickle) -> Nothing,
    /// Tells everyone in the call what one sends.
    "media" => Media(SetMedia) -> Nothing,
}

wire! {
    /// A payload without fields.
    pub struct Nothing {}

    /// Payload of `hello`.
    pub struct Hello {
        /// The version that the client speaks: [`super::VERSION`].
        pub protocol: u64,
        /// From an earlier answer to `hello`; beats the cookie.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub resume: Option<String>,
    }

    /// Payload of `nickname`.
    pub struct SetNickname {
        /// The name wanted.
        pub nickname: String,
    }

    /// Payload of `enter_room`.
    pub struct EnterRoom {
        /// The room, in any form of its name.
        pub room: String,
        /// Where to resume.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub after: Option<Position>,
    }

    /// Payload of commands about a room that say no more.
    pub struct InRoom {
        /// The room.
        pub room: String,
    }

    /// Payload of `new_message` from a client.
    pub struct Post {
        /// The room; one must be in it.
        pub room: String,
        /// Made by the client, new for each message, the same when it is sent again.
        pub key: MessageKey,
        /// The text.
        pub text: String,
    }

    /// Payload of `history`.
    pub struct History {
        /// The room; one must be in it.
        pub room: String,
        /// Only messages before this place.
        pub before: u64,
        /// At most so many: 1 to [`super::MAX_HISTORY`].
        pub limit: u64,
    }
}

impl ClientFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// Any fault of form, and `KEY_INVALID`.
    pub fn decode(text: &str) -> Result<Self, Unreadable> {
        let (mut fields, name, id) = envelope(text)?;
        let read = || -> Result<Command, Fault> {
            if !Command::is_known(&name) {
                return Err(Fault::unknown_type());
            }
            let payload = fields.raw("payload").unwrap_or(Json::Null);
            if payload == Json::Null {
                return Err(Fault { code: ErrorCode::MissingField, field: Some("payload".into()) });
            }
            fields.finish()?;
            Command::decode(&name, payload)
        };
        read().map(|command| Self { id, command }).map_err(|fault| Unreadable { id, fault })
    }

    /// Writes a frame.
    pub fn encode(&self) -> String {
        self.command.encode(self.id)
    }
}

/// The parts that every frame has: what is left of its fields, its `type`, its `id`.
fn envelope(text: &str) -> Result<(Fields<'_>, String, Option<u64>), Unreadable> {
    let unreadable = |fault| Unreadable { id: None, fault };
    let json = Json::parse(text).map_err(unreadable)?;
    if !matches!(json, Json::Object(_)) {
        return Err(unreadable(Fault { code: ErrorCode::BadJson, field: None }));
    }
    let mut fields = Fields::of(json).map_err(unreadable)?;
    let id: Option<u64> = fields.take("id").map_err(unreadable)?;
    let name = fields.take("type").map_err(|fault| Unreadable { id, fault })?;
    Ok((fields, name, id))
}

/// One frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// A command was carried out.
    Ack {
        /// The command's `id`.
        id: u64,
        /// What it answers.
        ack: Ack,
    },
    /// A command was refused; nothing was done.
    Error {
        /// The command's `id`, if it had one.
        id: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
    /// Somebody entered a room one is in.
    Welcome(Presence),
    /// Somebody left a room one is in.
    Bye(Presence),
    /// Somebody in a room one is in has a new name.
    Nickname(Renamed),
    /// A message, stored and in its place.
    NewMessage(Message),
    /// Somebody in a room one is in is writing.
    Typing(Typing),
    /// The list of rooms changed.
    RoomChange(RoomList),
    /// The server is about to restart.
    GoingAway(GoingAway),
    /// Somebody joined the call of a room one is in, or is back in it on another connection.
    CallJoined(CallPresence),
    /// Somebody left it.
    CallLeft(CallPresence),
    /// Another peer proposes a session.
    Offer(Describe),
    /// Another peer accepts one.
    Answer(Describe),
    /// Another peer tells a way to reach it.
    Ice(Trickle),
    /// What somebody in the call sends now.
    Media(SetMedia),
}

/// What an `ack` carries; which one follows from the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Ack {
    /// To `hello`.
    Hello(HelloAck),
    /// To commands that have nothing to answer.
    Nothing(Nothing),
    /// To `nickname`.
    Nickname(NicknameAck),
    /// To `enter_room`.
    EnterRoom(EnterRoomAck),
    /// To `new_message`.
    NewMessage(PostAck),
    /// To `history`.
    History(HistoryAck),
    /// To `watch_rooms`.
    Rooms(RoomList),
    /// To `join_call`.
    JoinCall(JoinCallAck),
}

/// The kinds of [`Ack`], to read one by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AckKind {
    Hello,
    Nothing,
    Nickname,
    EnterRoom,
    NewMessage,
    History,
    Rooms,
    JoinCall,
}

impl Ack {
    fn decode(kind: AckKind, payload: Json<'_>) -> Result<Self, Fault> {
        Ok(match kind {
            AckKind::Hello => Self::Hello(HelloAck::from_json(payload)?),
            AckKind::Nothing => Self::Nothing(Nothing::from_json(payload)?),
            AckKind::Nickname => Self::Nickname(NicknameAck::from_json(payload)?),
            AckKind::EnterRoom => Self::EnterRoom(EnterRoomAck::from_json(payload)?),
            AckKind::NewMessage => Self::NewMessage(PostAck::from_json(payload)?),
            AckKind::History => Self::History(HistoryAck::from_json(payload)?),
            AckKind::Rooms => Self::Rooms(RoomList::from_json(payload)?),
            AckKind::JoinCall => Self::JoinCall(JoinCallAck::from_json(payload)?),
        })
    }
}

wire! {
    /// Payload of `welcome` and `bye`.
    pub struct Presence {
        /// The room.
        pub room: String,
        /// Who came or went.
        pub user: User,
        /// People in the room now.
        pub count: u64,
    }

    /// Payload of `nickname` from the server.
    pub struct Renamed {
        /// The room.
        pub room: String,
        /// The person, with the new name.
        pub user: User,
    }

    /// Payload of `typing` from the server.
    pub struct Typing {
        /// The room.
        pub room: String,
        /// Who writes.
        pub user: User,
    }

    /// Payload of `going_away`.
    pub struct GoingAway {
        /// Come back after this many milliseconds.
        pub reconnect_in_ms: u64,
    }

    /// Payload of `error`.
    pub struct Refusal {
        /// Why.
        pub code: ErrorCode,
        /// For developers, in English.
        pub message: String,
        /// When it may be worth trying again.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub retry_after_ms: Option<u64>,
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: code.message().to_owned(), retry_after_ms: None }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { code: fault.code, message: fault.message(), retry_after_ms: None }
    }
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::codec::deserialize(deserializer)
    }
}

impl FromJson for ErrorCode {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        Self::from_wire(&String::from_json(json)?).ok_or_else(|| Fault::bad_type("an error code"))
    }
}

impl ServerFrame {
    /// Writes a frame.
    pub fn encode(&self) -> String {
        match self {
            Self::Ack { id, ack } => encode("ack", ack, Some(*id)),
            Self::Error { id, refusal } => encode("error", refusal, *id),
            Self::Welcome(payload) => encode("welcome", payload, None),
            Self::Bye(payload) => encode("bye", payload, None),
            Self::Nickname(payload) => encode("nickname", payload, None),
            Self::NewMessage(payload) => encode("new_message", payload, None),
            Self::Typing(payload) => encode("typing", payload, None),
            Self::RoomChange(payload) => encode("room_change", payload, None),
            Self::GoingAway(payload) => encode("going_away", payload, None),
            Self::CallJoined(payload) => encode("call_joined", payload, None),
            Self::CallLeft(payload) => encode("call_left", payload, None),
            Self::Offer(payload) => encode("offer", payload, None),
            Self::Answer(payload) => encode("answer", payload, None),
            Self::Ice(payload) => encode("ice", payload, None),
            Self::Media(payload) => encode("media", payload, None),
        }
    }

    /// Reads a frame. `expected` tells what kind of `ack` the command with that `id` gets.
    ///
    /// # Errors
    /// Any fault of form; `UNKNOWN_TYPE` for an `ack` that nobody waits for.
    pub fn decode(text: &str, expected: impl FnOnce(u64) -> Option<AckKind>) -> Result<Self, Fault> {
        let (name, payload, id) = open(text)?;
        Ok(match name.as_str() {
            "ack" => {
                let id = id.ok_or_else(|| Fault { code: ErrorCode::MissingField, field: Some("id".into()) })?;
                let kind = expected(id).ok_or_else(Fault::unknown_type)?;
                Self::Ack { id, ack: Ack::decode(kind, payload)? }
            }
            "error" => Self::Error { id, refusal: Refusal::from_json(payload)? },
            "welcome" => Self::Welcome(Presence::from_json(payload)?),
            "bye" => Self::Bye(Presence::from_json(payload)?),
            "nickname" => Self::Nickname(Renamed::from_json(payload)?),
            "new_message" => Self::NewMessage(Message::from_json(payload)?),
            "typing" => Self::Typing(Typing::from_json(payload)?),
            "room_change" => Self::RoomChange(RoomList::from_json(payload)?),
            "going_away" => Self::GoingAway(GoingAway::from_json(payload)?),
            "call_joined" => Self::CallJoined(CallPresence::from_json(payload)?),
            "call_left" => Self::CallLeft(CallPresence::from_json(payload)?),
            "offer" => Self::Offer(Describe::from_json(payload)?),
            "answer" => Self::Answer(Describe::from_json(payload)?),
            "ice" => Self::Ice(Trickle::from_json(payload)?),
            "media" => Self::Media(SetMedia::from_json(payload)?),
            _ => return Err(Fault::unknown_type()),
        })
    }
}

/// Opens the envelope: `type`, payload, `id`.
pub(super) fn open(text: &str) -> Result<(String, Json<'_>, Option<u64>), Fault> {
    let (mut fields, name, id) = envelope(text).map_err(|unreadable| unreadable.fault)?;
    let payload =
        fields.raw("payload").ok_or(Fault { code: ErrorCode::MissingField, field: Some("payload".into()) })?;
    fields.finish()?;
    Ok((name, payload, id))
}

/// Writes the envelope around a payload.
pub(super) fn encode(name: &'static str, payload: &impl Serialize, id: Option<u64>) -> String {
    #[derive(Serialize)]
    struct Envelope<'a, P> {
        r#type: &'static str,
        payload: &'a P,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    }
    // Writing these types to memory cannot fail: no maps with strange keys, no I/O.
    serde_json::to_string(&Envelope { r#type: name, payload, id }).unwrap_or_default()
}
