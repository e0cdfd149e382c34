//! Calls, as connections ask for them: what they send is checked, then passed on by the shard of their
//! room.

use std::time::SystemTime;

use super::account::{Account, lock};
use super::core::ConnId;
use super::{Hub, Registered};
use crate::protocol::call::{Candidate, Description, DescriptionKind, Media};
use crate::protocol::{ErrorCode, PeerId, Refusal, User};
use crate::server::call::sdp;
use crate::server::call::signal::{Input, Signal};
use crate::server::random;
use crate::server::store::RoomRow;

impl Hub {
    /// Lets a connection into the call of a room that it is in. The answer goes to its outbox.
    /// `wanted`: the place it had before its connection broke.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`, `CALL_FULL`.
    pub fn join_call(
        &self,
        account: &Account,
        at: &Registered,
        room: &RoomRow,
        wanted: Option<PeerId>,
        id: Option<u64>,
    ) -> Result<(), Refusal> {
        // Held, so that a change of name does not pass by.
        let name = lock(&account.name);
        let input = Input::Join {
            conn: at.conn,
            link: at.outbox.clone(),
            user: User { id: account.id, nickname: name.text.clone() },
            room: room.id,
            name: room.name.clone(),
            wanted,
            fresh: PeerId(random::bits()),
            id,
            ice_servers: self.ice.servers(account.id, SystemTime::now()),
        };
        let mut shard = self.shards.of(room.id);
        if !shard.is_in(at.conn, room.id) {
            return Err(ErrorCode::NotInRoom.into());
        }
        Ok(shard.drive_call(input, self)?)
    }

    /// Takes a connection out of a call.
    ///
    /// # Errors
    /// `NOT_IN_CALL`.
    pub fn leave_call(&self, conn: ConnId, room: &RoomRow) -> Result<(), Refusal> {
        self.call(room, Input::Leave { conn, room: room.id })
    }

    /// Passes a description to another peer of the call.
    ///
    /// # Errors
    /// `SDP_TOO_LARGE`, `SDP_INVALID`, `NOT_IN_CALL`, `BAD_CALL_STATE`.
    pub fn describe(
        &self,
        conn: ConnId,
        room: &RoomRow,
        to: PeerId,
        sent_as: DescriptionKind,
        description: Description,
    ) -> Result<(), Refusal> {
        sdp::check_description(&description, sent_as)?;
        let signal = match sent_as {
            DescriptionKind::Offer => Signal::Offer(description),
            DescriptionKind::Answer => Signal::Answer(description),
        };
        self.call(room, Input::Signal { conn, room: room.id, to, signal })
    }

    /// Passes a candidate, or that there are no more, to another peer of the call.
    ///
    /// # Errors
    /// `SDP_TOO_LARGE`, `SDP_INVALID`, `NOT_IN_CALL`, `BAD_CALL_STATE`.
    pub fn trickle(
        &self,
        conn: ConnId,
        room: &RoomRow,
        to: PeerId,
        candidate: Option<Candidate>,
    ) -> Result<(), Refusal> {
        candidate.as_ref().map_or(Ok(()), sdp::check_candidate)?;
        self.call(room, Input::Signal { conn, room: room.id, to, signal: Signal::Ice(candidate) })
    }

    /// Tells the call what a connection sends.
    ///
    /// # Errors
    /// `NOT_IN_CALL`.
    pub fn set_media(&self, conn: ConnId, room: &RoomRow, media: Media) -> Result<(), Refusal> {
        self.call(room, Input::SetMedia { conn, room: room.id, media })
    }

    fn call(&self, room: &RoomRow, input: Input<super::outbox::Link>) -> Result<(), Refusal> {
        Ok(self.shards.of(room.id).drive_call(input, self)?)
    }
}
