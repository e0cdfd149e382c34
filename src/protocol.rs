//! The wire protocol, version 2: every type, limit, error code and close code that client and server exchange.
//!
//! Compiled into both. PROTOCOL.md describes it for authors of clients; `tests/protocol_doc.rs` holds the two equal.
//! Frames are declared one per line in [`frame`], and their payloads as structs whose decoding a macro writes
//! ([`codec`]).
//!
//! Pure: imports std, itself and crates that do no I/O.

pub mod attachment;
pub mod call;
pub mod change;
pub mod chat;
pub mod codec;
mod emoji;
pub mod error;
pub mod frame;
pub mod id;
pub mod limits;
pub mod my_rooms;
pub mod name;
pub mod peer;
pub mod search;
mod text;
mod user;

pub use attachment::{Attachment, NewUpload, UploadState, check_file_name};
pub use call::{JoinCallAck, Media, Peer};
pub use change::{ChangeAck, MessageChange, MessageRef, MessageState, Pin, Reaction};
pub use chat::{
    EnterRoomAck, HelloAck, HistoryAck, Limits, MembersAck, Message, NicknameAck, PinsAck, Position, PostAck,
    RoomCount, RoomList, RoomUpdate, Unrecovered,
};
pub use codec::{DecodeError, FromJson, Json, Reading};
pub use emoji::check_emoji;
pub use error::{CloseCode, ErrorCode};
pub use frame::{Ack, AckKind, ClientFrame, Command, Refusal, ServerFrame};
pub use id::{AttachmentId, MessageKey, PeerId, RoomId, UserId};
pub use limits::*;
pub use my_rooms::{MyRoom, MyRooms, MyRoomsUpdate};
pub use search::{Found, Mark, Place, SearchAck};
pub use text::{begins_mention, check_text, clean_text};
pub use user::User;

/// The protocol version that `hello` names.
pub const VERSION: u64 = 2;

/// The build that the answer to `hello` names: the package version and a hash of the sources, computed by build.rs.
/// Program and page of one build have the same.
pub const BUILD: &str = env!("NOOM_BUILD");
