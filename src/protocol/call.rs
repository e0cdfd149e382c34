//! Calls: who is in one, how peers find each other through the server, and what they tell each other
//! directly.

use super::chat::User;
use super::codec::{Fault, FromJson, Json, wire};
use super::error::ErrorCode;
use super::id::PeerId;

/// The most people in one call: each sends to every other.
pub const MAX_CALL_PEERS: usize = 6;
/// The longest session description (RFC 8866), bytes.
pub const MAX_SDP_BYTES: usize = 32 * 1024;
/// The longest ICE candidate line, bytes.
pub const MAX_CANDIDATE_BYTES: usize = 1024;
/// The longest frame between peers, bytes.
pub const MAX_PEER_FRAME_BYTES: usize = 1024;
/// The label of the data channel between two peers.
pub const CHANNEL_LABEL: &str = "noom";
/// The stream id of that channel, agreed on beforehand (RFC 8832 is not used).
pub const CHANNEL_ID: u16 = 0;
/// What one may react with.
pub const REACTIONS: [&str; 6] = ["👍", "❤️", "😂", "🎉", "😮", "👏"];

wire! {
    /// What somebody sends in a call.
    #[derive(Copy, Default, Hash)]
    pub struct Media {
        /// Whether their microphone can be heard.
        pub audio: bool,
        /// Whether their camera can be seen.
        pub video: bool,
        /// Whether they share a screen.
        pub screen: bool,
    }

    /// Somebody in a call, over one connection.
    pub struct Peer {
        /// Names this place in the call.
        pub peer: PeerId,
        /// Whose it is.
        pub user: User,
        /// What they send.
        pub media: Media,
    }

    /// A server that helps peers to reach each other (RFC 8445): STUN, or TURN with credentials.
    pub struct IceServer {
        /// `stun:` and `turn:` addresses (RFC 7064, RFC 7065).
        pub urls: Vec<String>,
        /// Valid for an hour at most.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub username: Option<String>,
        /// Goes with `username`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub credential: Option<String>,
    }

    /// Payload of `join_call`.
    pub struct JoinCall {
        /// The room; one must be in it.
        pub room: String,
        /// The peer one was before the connection broke.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub peer: Option<PeerId>,
    }

    /// Answer to `join_call`.
    pub struct JoinCallAck {
        /// Who one is in the call.
        pub peer: PeerId,
        /// The others.
        pub peers: Vec<Peer>,
        /// What helps to reach them.
        pub ice_servers: Vec<IceServer>,
    }

    /// Payload of `call_joined` and `call_left`.
    pub struct CallPresence {
        /// The room.
        pub room: String,
        /// Who came or went.
        pub peer: PeerId,
        /// Whose place it is.
        pub user: User,
    }

    /// Payload of `offer` and `answer`.
    pub struct Describe {
        /// The room.
        pub room: String,
        /// To whom; from whom when received.
        pub peer: PeerId,
        /// The session description.
        pub description: Description,
    }

    /// A session description (RFC 8829, JSEP).
    pub struct Description {
        /// What it is.
        pub kind as "type": DescriptionKind,
        /// The text (RFC 8866), at most [`MAX_SDP_BYTES`].
        pub sdp: String,
    }

    /// Payload of `ice`.
    pub struct Trickle {
        /// The room.
        pub room: String,
        /// To whom; from whom when received.
        pub peer: PeerId,
        /// A candidate; without one, there are no more (RFC 8838).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub candidate: Option<Candidate>,
    }

    /// An ICE candidate, as `RTCIceCandidate` has it.
    pub struct Candidate {
        /// The line (RFC 8839), at most [`MAX_CANDIDATE_BYTES`].
        pub candidate: String,
        /// Which part of the description it belongs to, by name …
        #[serde(skip_serializing_if = "Option::is_none")]
        pub sdp_mid as "sdpMid": Option<String>,
        /// … and by number.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub sdp_m_line_index as "sdpMLineIndex": Option<u64>,
    }

    /// Payload of `media`.
    pub struct SetMedia {
        /// The room.
        pub room: String,
        /// From whom, when received; the server knows who sends.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub peer: Option<PeerId>,
        /// As in [`Media`].
        pub audio: bool,
        /// As in [`Media`].
        pub video: bool,
        /// As in [`Media`].
        pub screen: bool,
    }
}

impl SetMedia {
    /// What is sent.
    pub fn media(&self) -> Media {
        Media { audio: self.audio, video: self.video, screen: self.screen }
    }
}

/// Which half of a negotiation a description is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DescriptionKind {
    /// Proposes.
    Offer,
    /// Accepts.
    Answer,
}

impl FromJson for DescriptionKind {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        match String::from_json(json)?.as_str() {
            "offer" => Ok(Self::Offer),
            "answer" => Ok(Self::Answer),
            // Others exist in JSEP (pranswer, rollback); none is for a peer.
            _ => Err(Fault { code: ErrorCode::SdpInvalid, field: None }),
        }
    }
}

/// What peers tell each other over their data channel: what need not pass the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerFrame {
    /// Whether one is talking.
    Speaking(Switch),
    /// Whether one's hand is raised.
    Hand(Switch),
    /// An emoji that floats up.
    Reaction(Reaction),
}

wire! {
    /// Payload of `speaking` and `hand`.
    pub struct Switch {
        /// Whether it is so now.
        pub on: bool,
    }

    /// Payload of `reaction`.
    pub struct Reaction {
        /// One of [`REACTIONS`].
        pub emoji: String,
    }
}

impl PeerFrame {
    /// Reads a frame from another peer, which may send anything.
    ///
    /// # Errors
    /// Any fault of form; `BAD_TYPE` for an emoji that is not one of [`REACTIONS`].
    pub fn decode(text: &str) -> Result<Self, Fault> {
        if text.len() > MAX_PEER_FRAME_BYTES {
            return Err(Fault { code: ErrorCode::BadJson, field: None });
        }
        let (name, payload, _) = super::frame::open(text)?;
        match name.as_str() {
            "speaking" => Switch::from_json(payload).map(Self::Speaking),
            "hand" => Switch::from_json(payload).map(Self::Hand),
            "reaction" => {
                let reaction = Reaction::from_json(payload)?;
                let known = REACTIONS.contains(&reaction.emoji.as_str());
                if known { Ok(Self::Reaction(reaction)) } else { Err(Fault::bad_type("emoji")) }
            }
            _ => Err(Fault::unknown_type()),
        }
    }

    /// Writes a frame.
    pub fn encode(&self) -> String {
        match self {
            Self::Speaking(payload) => super::frame::encode("speaking", payload, None),
            Self::Hand(payload) => super::frame::encode("hand", payload, None),
            Self::Reaction(payload) => super::frame::encode("reaction", payload, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_between_peers_survive_their_text() {
        for frame in [
            PeerFrame::Speaking(Switch { on: true }),
            PeerFrame::Hand(Switch { on: false }),
            PeerFrame::Reaction(Reaction { emoji: REACTIONS[1].into() }),
        ] {
            assert_eq!(PeerFrame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn what_a_strange_peer_says_is_refused() {
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
            assert_eq!(PeerFrame::decode(text).map_err(|fault| fault.code), Err(code), "{text}");
        }
    }
}
