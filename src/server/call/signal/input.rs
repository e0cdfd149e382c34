//! The inputs of [`super::Calls`].

use crate::protocol::call::{Candidate, Description, IceServer, Media};
use crate::protocol::{PeerId, User};
use crate::server::hub::core::SeatId;
use crate::server::id::{ConnId, RoomRow};

/// An event in a call, or for all of them.
#[derive(Clone, Debug)]
pub enum Input<O> {
    /// A connection that is in a room joins the room's call. Repeated, it is answered again.
    Join(Join<O>),
    /// A connection leaves a call, or the call's room.
    Leave(SeatId),
    /// A connection ended.
    Disconnect {
        /// The connection.
        conn: ConnId,
        /// The peer closed it, as a page does when it is left. Its slots are free at once then.
        clean_close: bool,
    },
    /// A connection sends a signal to one peer of the call.
    Signal(SeatId, PeerId, Signal),
    /// A connection announces the media that it sends.
    SetMedia(SeatId, Media),
    /// A user has a new name.
    Rename(User),
    /// Time has passed.
    Tick,
}

/// A request to join a call.
#[derive(Clone, Debug)]
pub struct Join<O> {
    /// The connection.
    pub conn: ConnId,
    /// The connection's outbox.
    pub outbox: O,
    /// The connection's user.
    pub user: User,
    /// The room.
    pub room: RoomRow,
    /// The slot that the connection had before it broke.
    pub wanted: Option<PeerId>,
    /// The name of a new slot: never used before.
    pub fresh: PeerId,
    /// The id of the `join_call` frame. Without one there is no answer.
    pub id: Option<u64>,
    /// The ICE servers for the answer.
    pub ice_servers: Vec<IceServer>,
    /// The lifetime of their credentials, for a connection that asked for it.
    pub ice_seconds: Option<u64>,
}

/// A signal from one peer to another.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// A session description that is proposed.
    Offer(Description),
    /// A session description that accepts an offer.
    Answer(Description),
    /// An ICE candidate; `None`: there are no more.
    Ice(Option<Candidate>),
}
