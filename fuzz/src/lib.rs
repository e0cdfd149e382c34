//! Properties that hold for every input from outside. Fuzz targets search for inputs that violate them;
//! tests/fuzz_corpus.rs checks them for the inputs that are stored in `corpus`.

pub mod rooms;
pub mod session;

use noom::protocol::peer::PeerFrame;
use noom::protocol::{AckKind, ClientFrame, Reading, ServerFrame};
use noom::server::name_key::{Nick, RoomName};

/// The check of a fuzz target: panics if the input violates a property.
pub type Check = fn(&[u8]);

/// The fuzz targets: the name, which is also the folder in `corpus`, and the check.
pub const TARGETS: [(&str, Check); 4] =
    [("frames", frames), ("names", names), ("rooms", rooms::rooms), ("session", session::session)];

/// Decoding a frame does not panic, and a decoded frame survives encoding and decoding. A tolerant reader agrees with a
/// strict one.
pub fn frames(bytes: &[u8]) {
    // The WebSocket layer refuses text that is not UTF-8.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(frame) = ClientFrame::decode(text) {
        assert_eq!(ClientFrame::decode(&frame.encode()), Ok(frame));
    }
    if let Ok(frame) = PeerFrame::decode(text) {
        assert_eq!(PeerFrame::decode(&frame.encode()), Ok(frame));
    }
    for kind in AckKind::ALL.iter().copied().map(Some).chain([None]) {
        let tolerant = ServerFrame::decode(text, Reading::Tolerant, |_| kind);
        if let Ok(frame) = ServerFrame::decode(text, Reading::Strict, |_| kind) {
            assert_eq!(tolerant.as_ref(), Ok(&frame));
            assert_eq!(ServerFrame::decode(&frame.encode(), Reading::Strict, |_| kind), Ok(frame));
        }
    }
}

/// Parsing a name does not panic, and the canonical form of a valid name is valid and stays the same.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(nick) = Nick::choose(text) {
        assert_eq!(Nick::choose(&nick.text), Ok(nick));
    }
    if let Ok(name) = RoomName::parse(text) {
        assert_eq!(RoomName::parse(&name.canonical), Ok(name));
    }
}
