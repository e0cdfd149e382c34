//! Call signalling for connections: validates what they send and hands it to the room's shard.

use std::sync::Arc;

use super::account::Account;
use super::core::SeatId;
use super::outbox::Outbox;
use super::{ConnectionHandle, Hub};
use crate::protocol::call::{Candidate, Description, DescriptionKind, Media};
use crate::protocol::{ErrorCode, PeerId, Refusal, User};
use crate::server::call::sdp;
use crate::server::call::signal::{Input, Join, Signal};
use crate::server::id::{ConnId, RoomRow};
use crate::server::lock::lock;

impl Hub {
    /// Lets a connection join the call of a room that it is in. The answer goes to the connection's outbox. `wanted`:
    /// the slot that it had before its connection broke.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`, `CALL_FULL`.
    pub fn join_call(
        &self,
        account: &Account,
        conn: &ConnectionHandle,
        room: &RoomRow,
        wanted: Option<PeerId>,
        id: Option<u64>,
    ) -> Result<(), Refusal> {
        // Locked, so that a change of name at the same time is not missed.
        let name = lock(&account.name);
        let join = Join {
            conn: conn.id,
            outbox: conn.outbox.clone(),
            user: User { id: account.id, nickname: name.text.clone() },
            room: room.clone(),
            wanted,
            fresh: PeerId(self.environment.random_bits()),
            id,
            ice_servers: self.ice.servers(account.id, self.environment.unix_time()),
            ice_seconds: self.ice.lifetime_seconds(),
        };
        let mut shard = self.shards.of(room.id);
        if !shard.is_in(SeatId { conn: conn.id, room: room.id }) {
            return Err(ErrorCode::NotInRoom.into());
        }
        shard.drive(Input::Join(join), self)?;
        if let Some(head) = shard.head(room.id) {
            self.reading.took_part(account.id, room, head);
        }
        Ok(())
    }

    /// Takes a connection out of a call.
    ///
    /// # Errors
    /// `NOT_IN_CALL`.
    pub fn leave_call(&self, conn: ConnId, room: &RoomRow) -> Result<(), Refusal> {
        self.call(room, Input::Leave(SeatId { conn, room: room.id }))
    }

    /// Passes a session description to another peer of the call.
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
        self.call(room, Input::Signal(SeatId { conn, room: room.id }, to, signal))
    }

    /// Passes an ICE candidate to another peer of the call, or that there are no more.
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
        self.call(room, Input::Signal(SeatId { conn, room: room.id }, to, Signal::Ice(candidate)))
    }

    /// Announces the media that a connection sends.
    ///
    /// # Errors
    /// `NOT_IN_CALL`.
    pub fn set_media(&self, conn: ConnId, room: &RoomRow, media: Media) -> Result<(), Refusal> {
        self.call(room, Input::SetMedia(SeatId { conn, room: room.id }, media))
    }

    fn call(&self, room: &RoomRow, input: Input<Arc<Outbox>>) -> Result<(), Refusal> {
        Ok(self.shards.handle(room.id, input, self)?)
    }
}
