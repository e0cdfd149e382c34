//! The protocol's constants: limits that a client and the server both check, and the heartbeat.
//!
//! Part of the protocol. Limits that an operator configures are in `server::config`.

/// The longest frame that a client may send, in bytes of UTF-8.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// The longest body of a POST that carries frames, in bytes.
pub const MAX_BATCH_BYTES: usize = 2 * MAX_FRAME_BYTES;
/// The longest message text, in Unicode code points.
pub const MAX_TEXT_CHARS: usize = 4_000;
/// The longest nickname, in extended grapheme clusters (UAX #29).
pub const MAX_NICKNAME_GRAPHEMES: usize = 32;
/// The longest room name, in extended grapheme clusters (UAX #29).
pub const MAX_ROOM_GRAPHEMES: usize = 64;
/// The longest nickname in Unicode code points, because a grapheme may have any number of them.
pub const MAX_NICKNAME_CHARS: usize = 128;
/// The longest room name in Unicode code points.
pub const MAX_ROOM_CHARS: usize = 256;
/// The largest number on the wire, 2^53 − 1: JavaScript reads it exactly (RFC 8259, section 6).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The number of messages in the answer to `enter_room` when nothing is resumed.
pub const RECENT_MESSAGES: usize = 50;
/// The most messages that one `history` returns.
pub const MAX_HISTORY: u64 = 100;
/// The size of encoded messages, in bytes, at which an answer to `history` stops and sets `more`.
pub const MAX_HISTORY_BYTES: usize = 256 * 1024;
/// The most messages that one `search` returns.
pub const MAX_SEARCH: u64 = 50;
/// The longest text to search for, in Unicode code points.
pub const MAX_SEARCH_CHARS: usize = 100;
/// The most messages that a resume replays; a longer gap is refused with `GAP_TOO_LARGE`.
pub const MAX_REPLAY: u64 = 1_000;
/// The most encoded bytes that a resume replays; a larger gap is refused with `GAP_TOO_LARGE`.
pub const MAX_REPLAY_BYTES: usize = 512 * 1024;
/// The most changed messages in the answer to `enter_room`; more are refused with `GAP_TOO_LARGE`.
pub const MAX_CHANGES: usize = 500;
/// The most encoded bytes of them.
pub const MAX_CHANGES_BYTES: usize = 256 * 1024;
/// A room with more users than this is crowded.
pub const CROWD: u64 = 100;
/// A crowded room is crowded until it has no more users than this.
pub const CROWD_ENDS: u64 = 80;
/// The most members that one answer lists.
pub const MAX_MEMBERS: u64 = 100;
/// The most different emoji in the reactions to a message.
pub const MAX_EMOJI: usize = 20;
/// The most different emoji of one user in them.
pub const MAX_EMOJI_PER_USER: usize = 5;
/// The most reactions to a message.
pub const MAX_REACTIONS: u64 = 500;
/// The most users that are named for each emoji.
pub const MAX_REACTION_USERS: usize = 3;
/// The most users that a message mentions.
pub const MAX_MENTIONS: usize = 20;
/// The most pinned messages in a room.
pub const MAX_PINS: u64 = 50;
/// The most files in a message.
pub const MAX_ATTACHMENTS: usize = 10;
/// The longest name of a file, in bytes of UTF-8: what file systems allow.
pub const MAX_FILE_NAME_BYTES: usize = 255;
/// The most rooms in the list of rooms.
pub const MAX_LISTED_ROOMS: usize = 200;
/// The most rooms in a user's own list. Further ones are not added.
pub const MAX_MY_ROOMS: usize = 200;
/// A client is told of this many unread messages in a room of the list, and of no more.
pub const MAX_UNREAD: u64 = 100;

/// A client that has received nothing for this long sends `ping`.
pub const HEARTBEAT_MS: u64 = 25_000;
/// A client that receives no frame within this time after its `ping` reconnects.
pub const PONG_TIMEOUT_MS: u64 = 10_000;

/// The most peers in one call, because each sends to every other.
pub const MAX_CALL_PEERS: usize = 6;
/// The longest session description (RFC 8866), in bytes.
pub const MAX_SDP_BYTES: usize = 32 * 1024;
/// The longest ICE candidate line, in bytes.
pub const MAX_CANDIDATE_BYTES: usize = 1024;
/// The longest frame on the data channel between peers, in bytes.
pub const MAX_PEER_FRAME_BYTES: usize = 1024;
