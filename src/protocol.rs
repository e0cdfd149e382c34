//! The wire protocol, version 1: every type, limit, error code and close code that passes between
//! a client and the server. Compiled into both. PROTOCOL.md is its text for people.
//!
//! Pure: imports std, itself and crates that do no I/O.

pub mod call;
pub mod chat;
pub mod codec;
pub mod error;
pub mod frame;
pub mod id;
pub mod name;

pub use call::{JoinCallAck, Media, Peer};
pub use chat::{
    EnterRoomAck, HelloAck, HistoryAck, Limits, Message, NicknameAck, Position, PostAck, RoomCount, RoomList,
    Unrecovered, User,
};
pub use codec::{Fault, FromJson, Json};
pub use error::{CloseCode, ErrorCode};
pub use frame::{Ack, AckKind, ClientFrame, Command, Refusal, ServerFrame};
pub use id::{MessageKey, PeerId, UserId};

/// The version that `hello` names.
pub const VERSION: u64 = 1;

/// The build that `hello` names: the version, and a number made from the sources by build.rs. Program and page
/// of one build have the same.
pub const BUILD: &str = env!("NOOM_BUILD");

/// The longest frame that a client may send, in bytes of UTF-8.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// The longest body of a POST that carries frames, in bytes.
pub const MAX_BATCH_BYTES: usize = 2 * MAX_FRAME_BYTES;
/// The longest message, in Unicode code points.
pub const MAX_TEXT_CHARS: usize = 4_000;
/// The longest nickname, in extended grapheme clusters (UAX #29).
pub const MAX_NICKNAME_GRAPHEMES: usize = 32;
/// The longest room name, in extended grapheme clusters (UAX #29).
pub const MAX_ROOM_GRAPHEMES: usize = 64;
/// The longest nickname in Unicode code points: a grapheme may have any number of them.
pub const MAX_NICKNAME_CHARS: usize = 128;
/// The longest room name in Unicode code points.
pub const MAX_ROOM_CHARS: usize = 256;
/// Whole numbers on the wire stay below 2^53, so that JavaScript reads them exactly (RFC 8259, 6).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// How many messages `enter_room` answers with when nothing is resumed.
pub const RECENT_MESSAGES: usize = 50;
/// The most messages that one `history` answers with.
pub const MAX_HISTORY: u64 = 100;
/// An answer with history stops at this many encoded bytes and says `more`.
pub const MAX_HISTORY_BYTES: usize = 256 * 1024;
/// A resume that would replay more messages than this is refused with `GAP_TOO_LARGE`.
pub const MAX_REPLAY: u64 = 1_000;
/// A resume that would replay more encoded bytes than this is refused with `GAP_TOO_LARGE`.
pub const MAX_REPLAY_BYTES: usize = 512 * 1024;
/// The most rooms that `room_change` lists.
pub const MAX_LISTED_ROOMS: usize = 200;

/// A client that has heard nothing for this long sends `ping`.
pub const HEARTBEAT_MS: u64 = 25_000;
/// A client whose `ping` brings no frame for this long reconnects.
pub const PONG_TIMEOUT_MS: u64 = 10_000;

/// Checks a message's text: not empty, not too long, nothing that no terminal, log or page should
/// ever see.
///
/// # Errors
/// `TEXT_EMPTY`, `TEXT_TOO_LONG` (above [`MAX_TEXT_CHARS`]), `TEXT_INVALID` (a control character
/// other than line feed, carriage return and tab).
pub fn check_text(text: &str) -> Result<(), ErrorCode> {
    let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        Err(ErrorCode::TextTooLong)
    } else if !text.chars().all(allowed) {
        Err(ErrorCode::TextInvalid)
    } else if text.chars().all(|c| c.is_whitespace() || name::is_invisible(c)) {
        Err(ErrorCode::TextEmpty)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_judged_by_what_a_reader_would_see() {
        let long = "가".repeat(MAX_TEXT_CHARS + 1);
        let cases: [(&str, &str, Result<(), ErrorCode>); 8] = [
            ("plain", "hello", Ok(())),
            ("lines and tabs", "a\n\tb\r\n", Ok(())),
            ("the longest", &long[..long.len() - 3], Ok(())),
            ("one too long", &long, Err(ErrorCode::TextTooLong)),
            ("spaces", "  \n ", Err(ErrorCode::TextEmpty)),
            ("a zero-width space", "\u{200b}", Err(ErrorCode::TextEmpty)),
            ("NUL", "a\0b", Err(ErrorCode::TextInvalid)),
            ("escape", "\u{1b}[31m", Err(ErrorCode::TextInvalid)),
        ];
        for (case, text, expected) in cases {
            assert_eq!(check_text(text), expected, "{case}");
        }
    }
}
