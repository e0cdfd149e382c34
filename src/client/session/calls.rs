//! Calls: the slot in the call of a room, and the signaling to other peers. Pure.

use super::Session;
use super::event::{CallUpdate, Signal, Update};
use super::outgoing::Outgoing;
use super::refusal::{DEFAULT_RETRY_MS, Recovery, recovery};
use super::request::PendingRequest;
use super::room::CallSlot;
use crate::protocol::call::{CallPresence, JoinCall};
use crate::protocol::{Command, JoinCallAck, Refusal, RoomId};

impl Session {
    /// The page takes part in the call of a room from now on.
    pub(super) fn want_call(&mut self, name: &str) {
        if let Some(room) = self.rooms.get_mut(name) {
            room.call.get_or_insert(CallSlot::Requested(None));
            self.join_call(name);
        }
    }

    /// Joins the call, in the earlier slot if there was one. Repeated, it renews the TURN credentials. A slot that is
    /// still to be left is left first.
    pub(super) fn join_call(&mut self, name: &str) {
        let Some(room) = self.rooms.get(name) else { return };
        let Some((id, slot)) = room.entered_id().zip(room.call) else { return };
        if self.outgoing.is_leaving_call(id) {
            return;
        }
        let command = Command::JoinCall(JoinCall { room: id, peer: slot.peer() });
        self.send(command, PendingRequest::JoinCall { room: name.to_owned() });
    }

    pub(super) fn leave_call(&mut self, name: String) {
        let Some(room) = self.rooms.get_mut(&name) else { return };
        if let Some(id) = room.entered_id()
            && room.call.is_some()
        {
            self.outgoing.push(Outgoing::LeaveCall(id));
        }
        room.call = None;
    }

    /// `join_call` was answered.
    pub(super) fn call_joined(&mut self, name: String, ack: JoinCallAck) {
        if self.is_leaving_call(&name) {
            // The answer to a request from before the call was left.
            return;
        }
        let Some(slot) = self.rooms.get_mut(&name).and_then(|room| room.call.as_mut()) else { return };
        *slot = CallSlot::Held(ack.peer);
        self.emit_call(name, CallUpdate::Joined(ack));
    }

    /// `join_call` was refused.
    pub(super) fn call_refused(&mut self, now: u64, name: String, refusal: Refusal) {
        if self.is_leaving_call(&name) {
            return;
        }
        match recovery(&refusal) {
            Recovery::RateLimit => {
                // A slot that is held stays. Without one, the call is joined after the room is entered again.
                if let Some(room) = self.rooms.get_mut(&name).filter(|room| room.needs_to_join_call()) {
                    room.retry_at = Some(now + refusal.retry_after_ms.unwrap_or(DEFAULT_RETRY_MS));
                }
            }
            Recovery::Store | Recovery::Quota | Recovery::EnterRoom | Recovery::Never => {
                if let Some(room) = self.rooms.get_mut(&name) {
                    room.call = None;
                }
                self.emit_call(name, CallUpdate::NotJoined(refusal));
            }
        }
    }

    /// A peer has left the call. If it is our own, another connection has taken the slot.
    pub(super) fn peer_left(&mut self, presence: CallPresence) {
        if let Some((_, room)) = self.room_with_id(presence.room)
            && room.call.is_some_and(|slot| slot.peer() == Some(presence.peer))
        {
            room.call = None;
        }
        let CallPresence { room, peer, .. } = &presence;
        self.outgoing.drop_where(|command| command.is_to(*room, *peer));
        self.emit_call_in(presence.room, CallUpdate::PeerLeft(presence));
    }

    /// Sends a signal to other peers. Without a slot in the call it is dropped.
    pub(super) fn signal(&mut self, signal: Signal) {
        let slot = self.room_with_id(signal.room()).and_then(|(_, room)| room.call);
        if matches!(slot, Some(CallSlot::Held(_))) {
            self.outgoing.push(Outgoing::Signal(signal));
        }
    }

    /// A signal of another peer has arrived.
    pub(super) fn signaled(&mut self, signal: Signal) {
        self.emit_call_in(signal.room(), CallUpdate::Signal(signal));
    }

    /// Returns whether the call of this room is still to be left.
    fn is_leaving_call(&self, name: &str) -> bool {
        let id = self.rooms.get(name).and_then(|room| room.id);
        id.is_some_and(|id| self.outgoing.is_leaving_call(id))
    }

    /// Emits a change of a call that the server has announced.
    pub(super) fn emit_call_in(&mut self, room: RoomId, update: CallUpdate) {
        if let Some((name, _)) = self.room_with_id(room) {
            self.emit_call(name, update);
        }
    }

    pub(super) fn emit_call(&mut self, room: String, update: CallUpdate) {
        self.emit(Update::Call { room, update });
    }
}
