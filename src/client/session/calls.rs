//! Calls: the slot in the call of a room, and the signaling to other peers. Pure.

use super::Session;
use super::event::{CallUpdate, Signal, Update};
use super::outgoing::Outgoing;
use super::refusal::{DEFAULT_RETRY_MS, Recovery, recovery};
use super::request::PendingRequest;
use super::room::CallSlot;
use crate::protocol::call::{CallPresence, JoinCall};
use crate::protocol::{Command, JoinCallAck, Refusal};

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
        if self.outgoing.is_leaving_call(name) {
            return;
        }
        let Some(slot) = self.rooms.get(name).filter(|room| room.entered).and_then(|room| room.call) else { return };
        let command = Command::JoinCall(JoinCall { room: name.to_owned(), peer: slot.peer() });
        self.send(command, PendingRequest::JoinCall { room: name.to_owned() });
    }

    pub(super) fn leave_call(&mut self, name: String) {
        let Some(room) = self.rooms.get_mut(&name) else { return };
        if room.call.take().is_some() && room.entered {
            self.outgoing.push(Outgoing::LeaveCall(name));
        }
    }

    /// `join_call` was answered.
    pub(super) fn call_joined(&mut self, name: String, ack: JoinCallAck) {
        if self.outgoing.is_leaving_call(&name) {
            // The answer to a request from before the call was left.
            return;
        }
        let Some(slot) = self.rooms.get_mut(&name).and_then(|room| room.call.as_mut()) else { return };
        *slot = CallSlot::Held(ack.peer);
        self.emit_call(name, CallUpdate::Joined(ack));
    }

    /// `join_call` was refused.
    pub(super) fn call_refused(&mut self, now: u64, name: String, refusal: Refusal) {
        if self.outgoing.is_leaving_call(&name) {
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
        if let Some(room) = self.rooms.get_mut(&presence.room)
            && room.call.is_some_and(|slot| slot.peer() == Some(presence.peer))
        {
            room.call = None;
        }
        let CallPresence { room, peer, .. } = &presence;
        self.outgoing.drop_where(|command| command.is_to(room, *peer));
        self.emit_call(presence.room.clone(), CallUpdate::PeerLeft(presence));
    }

    /// Sends a signal to other peers. Without a slot in the call it is dropped.
    pub(super) fn signal(&mut self, signal: Signal) {
        if matches!(self.rooms.get(signal.room()).and_then(|room| room.call), Some(CallSlot::Held(_))) {
            self.outgoing.push(Outgoing::Signal(signal));
        }
    }

    /// A signal of another peer has arrived.
    pub(super) fn signaled(&mut self, signal: Signal) {
        self.emit_call(signal.room().to_owned(), CallUpdate::Signal(signal));
    }

    pub(super) fn emit_call(&mut self, room: String, update: CallUpdate) {
        self.emit(Update::Call { room, update });
    }
}
