//! The messages between the meeting and the task of a peer connection.

use web_sys::MediaStream;

use super::rtc::{LocalTracks, RtcEvent};
use crate::client::call::negotiation::{self, Initiator, Role};
use crate::client::call::quality::{Encoding, Quality};
use crate::client::session::Signal;
use crate::protocol::call::IceServer;
use crate::protocol::peer::PeerFrame;
use crate::protocol::{PeerId, RoomId};

/// The state of the connection to a peer, as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerState {
    /// It has not connected yet.
    Connecting,
    Connected,
    /// It was connected, and an ICE restart is under way.
    Interrupted,
    /// No candidate pair works so far. Attempts go on.
    Unreachable,
}

/// A peer's address for signals.
#[derive(Clone, Debug)]
pub(crate) struct PeerAddress {
    pub(crate) room: RoomId,
    pub(crate) peer: PeerId,
}

/// The parameters of a connection.
#[derive(Debug)]
pub(crate) struct PeerSetup {
    pub(crate) address: PeerAddress,
    pub(crate) role: Role,
    pub(crate) initiator: Initiator,
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) tracks: LocalTracks,
    pub(crate) encoding: Encoding,
}

/// A report of the task to the meeting.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// A signal to send to the peer through the server.
    Signal(Signal),
    State(PeerState),
    /// The received video.
    Video(MediaStream),
    /// All received audio so far.
    Audio(Vec<MediaStream>),
    /// Frames can be sent over the data channel now.
    ChannelOpen,
    /// A frame of the peer.
    Frame(PeerFrame),
    Quality(Quality),
}

/// An input of the task.
#[derive(Debug)]
pub(super) enum Command {
    Negotiate(negotiation::Event),
    SendTracks(LocalTracks),
    SetEncoding(Encoding),
    SetIceServers(Vec<IceServer>),
    SendFrame(PeerFrame),
    RestartIce,
    Measure,
    /// An event of the browser's connection.
    Rtc(RtcEvent),
    Close,
}
