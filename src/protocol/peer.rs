//! Frames that peers in a call exchange directly, over a WebRTC data channel.

use super::codec::{DecodeError, Reading, wire};
use super::error::ErrorCode;
use super::frame::{Envelope, frames};
use super::limits::MAX_PEER_FRAME_BYTES;

/// The label of the data channel between two peers.
pub const CHANNEL_LABEL: &str = "noom";
/// The stream id of that channel, negotiated out of band (the in-band protocol of RFC 8832 is not used).
pub const CHANNEL_ID: u16 = 0;
/// The emoji that a `reaction` may carry.
pub const REACTIONS: [&str; 6] = ["👍", "❤️", "😂", "🎉", "😮", "👏"];

frames! {
    /// A frame between peers, which never goes through the server.
    pub enum PeerFrame {
        /// The sender started or stopped talking.
        "speaking" => Speaking(Switch),
        /// The sender raised or lowered their hand.
        "hand" => Hand(Switch),
        /// An emoji that is shown for a moment.
        "reaction" => Reaction(Reaction),
    }
}

wire! {
    /// Payload of `speaking` and `hand`.
    pub struct Switch {
        /// The new state.
        pub on: bool,
    }

    /// Payload of `reaction`.
    pub struct Reaction {
        /// One of [`REACTIONS`].
        pub emoji: String,
    }
}

impl PeerFrame {
    /// Decodes a frame, tolerantly: the other page may be newer. Peers are not trusted: the frame may contain anything.
    ///
    /// # Errors
    /// Any code of a bad frame ([`ErrorCode::is_bad_frame`]): `BAD_JSON` above [`MAX_PEER_FRAME_BYTES`], `BAD_TYPE`
    /// for an emoji that is not one of [`REACTIONS`].
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        if text.len() > MAX_PEER_FRAME_BYTES {
            return Err(ErrorCode::BadJson.into());
        }
        let reading = Reading::Tolerant;
        let (name, payload) = Envelope::parse(text, reading).map_err(|(_, error)| error)?.open()?;
        let frame = Self::decode_payload(&name, payload, reading)?;
        match &frame {
            Self::Reaction(reaction) if !REACTIONS.contains(&reaction.emoji.as_str()) => {
                Err(DecodeError::at(ErrorCode::BadType, "emoji"))
            }
            Self::Speaking(_) | Self::Hand(_) | Self::Reaction(_) => Ok(frame),
        }
    }

    /// Encodes a frame.
    pub fn encode(&self) -> String {
        self.encode_with(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_frames_round_trip() {
        for frame in [
            PeerFrame::Speaking(Switch { on: true }),
            PeerFrame::Hand(Switch { on: false }),
            PeerFrame::Reaction(Reaction { emoji: REACTIONS[1].into() }),
        ] {
            assert_eq!(PeerFrame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn invalid_peer_frames_are_refused() {
        let long = format!(r#"{{"type":"reaction","payload":{{"emoji":"{}"}}}}"#, "x".repeat(MAX_PEER_FRAME_BYTES));
        let cases = [
            ("", ErrorCode::BadJson),
            ("[]", ErrorCode::BadJson),
            (long.as_str(), ErrorCode::BadJson),
            (r#"{"type":"speaking"}"#, ErrorCode::MissingField),
            (r#"{"type":"speaking","payload":{"on":1}}"#, ErrorCode::BadType),
            (r#"{"type":"reaction","payload":{"emoji":"<img>"}}"#, ErrorCode::BadType),
            (r#"{"type":"offer","payload":{}}"#, ErrorCode::UnknownType),
        ];
        for (text, code) in cases {
            assert_eq!(PeerFrame::decode(text).map_err(|error| error.code), Err(code), "{text}");
        }
    }
}
