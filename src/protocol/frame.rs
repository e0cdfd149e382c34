//! Frames: the unit that client, server and peers send. Each is one JSON object with `type`, `payload` and, for
//! commands and their answers, `id`.
//!
//! The three kinds of frame are declared by macros, one frame per line: [`Command`] (client to server),
//! [`ServerFrame`] (server to client) and [`PeerFrame`](super::peer::PeerFrame) (peer to peer). A line yields the
//! enum's variant, its encoding and decoding, and its entry in `NAMES`, so that none of them can be forgotten.

mod ack;
mod client;
mod envelope;
mod server;

pub use ack::{Ack, AckKind};
pub use client::{ClientFrame, Command, EnterRoom, FrameError, Hello, History, InRoom, Members, Post, SetNickname};
pub use envelope::Empty;
pub(super) use envelope::{Envelope, encode, frames};
pub use server::{Crowd, GoingAway, MessagesExpired, Refusal, Renamed, RoomPresence, ServerFrame, Typing};
