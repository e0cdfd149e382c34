//! Joining and leaving calls.

use std::time::Instant;

use super::participant::{Participant, Presence};
use super::{Calls, Join, MAX_GIVEN_UP, Output};
use crate::protocol::call::{CallPresence, JoinCallAck, Media};
use crate::protocol::{Ack, ErrorCode, MAX_CALL_PEERS, PeerId, ServerFrame};
use crate::server::hub::core::{Audience, Broadcast, Effect, Except, GRACE};
use crate::server::id::{ConnId, RoomId};

/// The slots that one user holds in a call: a page, and another device.
const MAX_SLOTS_PER_USER: usize = 2;

impl<O: Clone> Calls<O> {
    pub(super) fn join(&mut self, join: Join<O>) -> Result<(), ErrorCode> {
        let peer = self.take_slot(&join)?;
        if let Some(id) = join.id {
            let peers = self.peers(join.room.id).into_iter().filter(|other| other.peer != peer).collect();
            let Join { outbox, ice_servers, ice_seconds, .. } = join;
            let ack = Ack::JoinCall(JoinCallAck { peer, peers, ice_servers, ice_seconds });
            self.send(outbox, ServerFrame::Ack { id, ack });
        }
        Ok(())
    }

    fn take_slot(&mut self, join: &Join<O>) -> Result<PeerId, ErrorCode> {
        let room = join.room.id;
        let call = self.calls.get_mut(&room);
        if let Some(participant) = call.as_ref().and_then(|call| call.over(join.conn)) {
            return Ok(participant.peer);
        }
        let online = Presence::Online(join.conn, join.outbox.clone());
        let holder = call.zip(join.wanted).and_then(|(call, wanted)| call.get_mut(wanted));
        let is_free = holder.is_none();
        let peer = match holder.filter(|holder| holder.user.id == join.user.id) {
            Some(holder) => {
                let (peer, earlier) = (holder.peer, std::mem::replace(&mut holder.presence, online));
                // The earlier connection may not know yet that it is dead. If it is alive, it has left the call.
                if let Presence::Online(_, outbox) = earlier {
                    let left = CallPresence { room: join.room.id, peer, user: join.user.clone() };
                    self.send(outbox, ServerFrame::CallLeft(left));
                }
                peer
            }
            None => self.take_new_slot(join, online, is_free)?,
        };
        let joined = CallPresence { room: join.room.id, peer, user: join.user.clone() };
        self.broadcast(room, Except::Connection(join.conn), ServerFrame::CallJoined(joined));
        Ok(peer)
    }

    fn take_new_slot(&mut self, join: &Join<O>, online: Presence<O>, is_free: bool) -> Result<PeerId, ErrorCode> {
        let room = join.room.id;
        // After a restart of the server nobody holds the slot: the first to ask gets it, and the others compare its
        // user with the one that they knew.
        let wanted = join.wanted.filter(|wanted| is_free && !self.given_up.contains(wanted));
        let peer = wanted.unwrap_or(join.fresh);
        // A user who comes back under another peer id does not hold two slots.
        let is_left_behind = |other: &&Participant<O>| other.user.id == join.user.id && other.away_until().is_some();
        let participants = self.calls.get(&room).map(|call| call.participants.as_slice()).unwrap_or_default();
        for old in participants.iter().filter(is_left_behind).map(|other| other.peer).collect::<Vec<_>>() {
            self.remove(room, old);
        }
        self.make_room_for_user(join);
        let call = self.calls.entry(room).or_default();
        if call.participants.len() >= MAX_CALL_PEERS {
            return Err(ErrorCode::CallFull);
        }
        let (user, media) = (join.user.clone(), Media::default());
        call.participants.push(Participant { peer, user, media, presence: online });
        let count = call.participants.len() as u64;
        self.outputs.push_back(Output::Effect(Effect::CallCount(room, count)));
        Ok(peer)
    }

    /// Takes the earliest slot of a user who holds as many as one user may: otherwise six tabs fill a call.
    fn make_room_for_user(&mut self, join: &Join<O>) {
        let room = join.room.id;
        let participants = self.calls.get(&room).map(|call| call.participants.as_slice()).unwrap_or_default();
        let own: Vec<_> = participants.iter().filter(|other| other.user.id == join.user.id).collect();
        if own.len() < MAX_SLOTS_PER_USER {
            return;
        }
        let Some((peer, outbox)) = own.first().map(|first| (first.peer, first.outbox().cloned())) else { return };
        if let Some(outbox) = outbox {
            let left = CallPresence { room: join.room.id, peer, user: join.user.clone() };
            self.send(outbox, ServerFrame::CallLeft(left));
        }
        self.remove(room, peer);
    }

    pub(super) fn disconnect(&mut self, now: Instant, conn: ConnId, clean_close: bool) {
        let mut gone = Vec::new();
        for (room, call) in &mut self.calls {
            if let Some(participant) = call.over_mut(conn) {
                gone.push((*room, participant.peer));
                participant.presence = Presence::Away(now + GRACE);
            }
        }
        for (room, peer) in gone {
            if clean_close {
                self.remove(room, peer);
            } else {
                self.departures.push_back((now + GRACE, room, peer));
            }
        }
    }

    pub(super) fn remove(&mut self, room: RoomId, peer: PeerId) {
        let Some(call) = self.calls.get_mut(&room) else { return };
        let Some(index) = call.participants.iter().position(|other| other.peer == peer) else { return };
        let participant = call.participants.remove(index);
        call.offers.retain(|(from, to)| *from != peer && *to != peer);
        self.given_up.push_back(peer);
        if self.given_up.len() > MAX_GIVEN_UP {
            self.given_up.pop_front();
        }
        let count = call.participants.len() as u64;
        if count == 0 {
            self.calls.remove(&room);
        }
        let except = match participant.presence {
            Presence::Online(conn, _) => Except::Connection(conn),
            Presence::Away(_) => Except::Nobody,
        };
        self.broadcast(room, except, ServerFrame::CallLeft(CallPresence { room, peer, user: participant.user }));
        self.outputs.push_back(Output::Effect(Effect::CallCount(room, count)));
    }

    fn broadcast(&mut self, room: RoomId, except: Except, frame: ServerFrame) {
        let audience = Audience::Everyone(except);
        self.outputs.push_back(Output::Broadcast(Broadcast { room, audience, frame }));
    }
}
