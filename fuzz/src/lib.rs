//! What holds for whatever comes from outside. Fuzzers look for bytes for which it does not; a test
//! of the project (tests/fuzz_corpus.rs) goes through what is known.

pub mod rooms;
pub mod session;

use noom::protocol::call::PeerFrame;
use noom::protocol::{AckKind, ClientFrame, ServerFrame};
use noom::server::name_key::{Nick, RoomName};

/// What a target runs.
pub type Check = fn(&[u8]);

/// The name of each target, as of its folder in `corpus`, and its check.
pub const TARGETS: [(&str, Check); 4] =
    [("frames", frames), ("names", names), ("rooms", rooms::rooms), ("session", session::session)];

/// Frames are read or refused, and what was read is read again from what is written.
pub fn frames(bytes: &[u8]) {
    // The WebSocket refuses other bytes.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(frame) = ClientFrame::decode(text) {
        assert_eq!(ClientFrame::decode(&frame.encode()), Ok(frame));
    }
    if let Ok(frame) = PeerFrame::decode(text) {
        assert_eq!(PeerFrame::decode(&frame.encode()), Ok(frame));
    }
    let kinds = [
        AckKind::Hello,
        AckKind::Nothing,
        AckKind::Nickname,
        AckKind::EnterRoom,
        AckKind::NewMessage,
        AckKind::History,
        AckKind::Rooms,
        AckKind::JoinCall,
    ];
    for kind in kinds.map(Some).into_iter().chain([None]) {
        if let Ok(frame) = ServerFrame::decode(text, |_| kind) {
            assert_eq!(ServerFrame::decode(&frame.encode(), |_| kind), Ok(frame));
        }
    }
}

/// Names are taken or refused, and what was taken is taken again as it is.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(nick) = Nick::choose(text) {
        assert_eq!(Nick::choose(&nick.text), Ok(nick));
    }
    if let Ok(name) = RoomName::parse(text) {
        assert_eq!(RoomName::parse(&name.canonical), Ok(name));
    }
}
