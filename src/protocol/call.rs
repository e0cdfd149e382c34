//! Payloads about calls: the peers in a call, and the signaling that connects them by WebRTC.

use super::codec::{DecodeError, FromJson, Json, Reading, wire};
use super::error::ErrorCode;
use super::id::{PeerId, RoomId};
use super::user::User;

wire! {
    /// The media that a peer sends in a call.
    #[derive(Copy, Default, Hash)]
    pub struct Media {
        /// The microphone is on.
        pub audio: bool,
        /// The camera is on.
        pub video: bool,
        /// A screen is shared.
        pub screen: bool,
    }

    /// A peer: a user's slot in a call, over one connection. A user with two pages in a call is two peers.
    pub struct Peer {
        /// Identifies the peer.
        pub peer: PeerId,
        /// The user behind it.
        pub user: User,
        /// The media that it sends.
        pub media: Media,
    }

    /// A server that helps peers to connect (ICE, RFC 8445): STUN, or TURN with credentials.
    pub struct IceServer {
        /// `stun:` and `turn:` URIs (RFC 7064, RFC 7065).
        pub urls: Vec<String>,
        /// For TURN. Valid for an hour at most.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub username: Option<String>,
        /// For TURN: the password of `username`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub credential: Option<String>,
    }

    /// Payload of `join_call`.
    pub struct JoinCall {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// The peer id from before a lost connection, to take back its slot.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub peer: Option<PeerId>,
    }

    /// Answer to `join_call`.
    pub struct JoinCallAck {
        /// The client's own peer id.
        pub peer: PeerId,
        /// The other peers.
        pub peers: Vec<Peer>,
        /// The STUN and TURN servers to use.
        pub ice_servers: Vec<IceServer>,
        /// The seconds for which the credentials are valid, if there are any.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub ice_seconds: Option<u64>,
    }

    /// Payload of `call_joined` and `call_left`.
    pub struct CallPresence {
        /// The room.
        pub room: RoomId,
        /// The peer that joined or left.
        pub peer: PeerId,
        /// The user behind it.
        pub user: User,
    }

    /// Payload of `offer` and `answer`.
    pub struct Describe {
        /// The room.
        pub room: RoomId,
        /// The recipient when sent by a client, the sender when received.
        pub peer: PeerId,
        /// The session description.
        pub description: Description,
    }

    /// A WebRTC session description (JSEP, RFC 8829).
    pub struct Description {
        /// Offer or answer.
        pub kind as "type": DescriptionKind,
        /// The SDP text (RFC 8866), at most [`MAX_SDP_BYTES`](super::MAX_SDP_BYTES).
        pub sdp: String,
    }

    /// Payload of `ice`.
    pub struct Trickle {
        /// The room.
        pub room: RoomId,
        /// The recipient when sent by a client, the sender when received.
        pub peer: PeerId,
        /// The candidate; `None` marks the end of candidates (RFC 8838).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub candidate: Option<Candidate>,
    }

    /// An ICE candidate, with the fields of `RTCIceCandidate`.
    pub struct Candidate {
        /// The candidate line (RFC 8839), at most [`MAX_CANDIDATE_BYTES`](super::MAX_CANDIDATE_BYTES).
        pub candidate: String,
        /// The media section of the description that it belongs to, by `mid`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub sdp_mid as "sdpMid": Option<String>,
        /// The media section, by index.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub sdp_m_line_index as "sdpMLineIndex": Option<u64>,
    }

    /// Payload of `media`.
    pub struct SetMedia {
        /// The room.
        pub room: RoomId,
        /// The sender. Set by the server; a client leaves it out.
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
    /// The media without the addressing.
    pub fn media(&self) -> Media {
        Media { audio: self.audio, video: self.video, screen: self.screen }
    }
}

/// The role of a description in the offer/answer exchange (RFC 3264).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DescriptionKind {
    /// Starts a negotiation.
    Offer,
    /// Completes it.
    Answer,
}

impl FromJson for DescriptionKind {
    fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
        match String::from_json(json, reading)?.as_str() {
            "offer" => Ok(Self::Offer),
            "answer" => Ok(Self::Answer),
            // JSEP also has pranswer and rollback; peers do not exchange them.
            _ => Err(ErrorCode::SdpInvalid.into()),
        }
    }
}
