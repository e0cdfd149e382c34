//! Delivery classes: what may happen to a frame while it waits.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::protocol::call::SetMedia;
use crate::protocol::{RoomId, ServerFrame};

/// The delivery guarantee of a frame in an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The frame is written, or the connection is closed.
    Reliable,
    /// A later frame on the same subject replaces it.
    Coalesced(u64),
    /// A later frame on the same subject replaces it, and it is dropped if the outbox is full.
    Volatile(u64),
}

impl Delivery {
    /// The delivery class of a frame.
    pub fn of(frame: &ServerFrame) -> Self {
        let subject = |kind: &str, room: Option<RoomId>, about: u64| {
            let mut hasher = DefaultHasher::new();
            (kind, room, about).hash(&mut hasher);
            hasher.finish()
        };
        match frame {
            ServerFrame::Welcome(presence) | ServerFrame::Bye(presence) => {
                Self::Coalesced(subject("presence", Some(presence.room), presence.user.id.0))
            }
            ServerFrame::Nickname(renamed) => {
                Self::Coalesced(subject("nickname", Some(renamed.room), renamed.user.id.0))
            }
            ServerFrame::Media(SetMedia { room, peer: Some(peer), .. }) => {
                Self::Coalesced(subject("media", Some(*room), peer.0))
            }
            ServerFrame::Crowd(crowd) => Self::Coalesced(subject("crowd", Some(crowd.room), 0)),
            ServerFrame::MessagesExpired(expired) => Self::Coalesced(subject("expired", Some(expired.room), 0)),
            ServerFrame::RoomChange(_) => Self::Coalesced(subject("rooms", None, 0)),
            ServerFrame::Typing(typing) => Self::Volatile(subject("typing", Some(typing.room), typing.user.id.0)),
            ServerFrame::Ack { .. }
            | ServerFrame::Error { .. }
            | ServerFrame::NewMessage(_)
            | ServerFrame::MessageChanged(_)
            | ServerFrame::RoomUpdate(_)
            | ServerFrame::MyRoomsChanged(_)
            | ServerFrame::GoingAway(_)
            | ServerFrame::CallJoined(_)
            | ServerFrame::CallLeft(_)
            | ServerFrame::Offer(_)
            | ServerFrame::Answer(_)
            | ServerFrame::Ice(_)
            | ServerFrame::Media(SetMedia { peer: None, .. }) => Self::Reliable,
        }
    }
}
