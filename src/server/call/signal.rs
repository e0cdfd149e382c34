//! Call signalling, as a state machine: who is in which call, and which signals are passed on. Sans-I/O, like
//! [`crate::server::hub::core`].
//!
//! Signals reach peers of the same call only, and an answer needs an offer. A participant whose connection broke keeps
//! the slot for [`GRACE`], so that calls survive network changes: a connection of the same user that asks for the slot
//! in time gets it, and the others receive `call_joined`. That tells both sides that signals may be lost.
//!
//! [`GRACE`]: crate::server::hub::core::GRACE

mod input;
mod membership;
mod participant;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::protocol::call::{Describe, Media, Peer, SetMedia, Trickle};
use crate::protocol::{ErrorCode, PeerId, ServerFrame};
use crate::server::hub::core::{Effect, Output, SeatId};
use crate::server::id::RoomId;
pub use input::{Input, Join, Signal};
use participant::Call;

/// The number of released slots that are remembered.
const MAX_GIVEN_UP: usize = 1_024;

/// The calls of one shard's rooms. `O` is an outbox.
#[derive(Clone, Debug)]
pub struct Calls<O> {
    calls: BTreeMap<RoomId, Call<O>>,
    /// The slots that are released unless a connection comes back. Ordered by time, because the grace period is
    /// constant.
    departures: VecDeque<(Instant, RoomId, PeerId)>,
    /// The slots that were released lately. The other peers have closed their connections to them, so they are not
    /// given out again.
    given_up: VecDeque<PeerId>,
    outputs: VecDeque<Output<O>>,
}

impl<O> Default for Calls<O> {
    fn default() -> Self {
        Self {
            calls: BTreeMap::new(),
            departures: VecDeque::new(),
            given_up: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }
}

impl<O: Clone> Calls<O> {
    /// Takes an input. The resulting actions are in [`Calls::poll_output`] afterwards.
    ///
    /// # Errors
    /// The refusal; nothing has changed then. `CALL_FULL` from [`Input::Join`]; `NOT_IN_CALL` from [`Input::Leave`],
    /// [`Input::Signal`] and [`Input::SetMedia`]; `BAD_CALL_STATE` from [`Input::Signal`].
    pub fn handle(&mut self, now: Instant, input: Input<O>) -> Result<(), ErrorCode> {
        match input {
            Input::Join(join) => self.join(join)?,
            Input::Leave(SeatId { conn, room }) => {
                let call = self.calls.get(&room).ok_or(ErrorCode::NotInCall)?;
                let peer = call.over(conn).ok_or(ErrorCode::NotInCall)?.peer;
                self.remove(room, peer);
            }
            Input::Disconnect { conn, clean_close } => self.disconnect(now, conn, clean_close),
            Input::Signal(seat, to, signal) => self.signal(seat, to, signal)?,
            Input::SetMedia(seat, media) => self.set_media(seat, media)?,
            Input::Rename(user) => {
                let participants = self.calls.values_mut().flat_map(|call| &mut call.participants);
                participants.filter(|other| other.user.id == user.id).for_each(|other| other.user = user.clone());
            }
            Input::Tick => self.tick(now),
        }
        Ok(())
    }

    /// The next action that results from the inputs.
    pub fn poll_output(&mut self) -> Option<Output<O>> {
        self.outputs.pop_front()
    }

    /// The rooms that an input concerns.
    pub fn rooms_of(&self, input: &Input<O>) -> Vec<RoomId> {
        let rooms_where = |is_concerned: &dyn Fn(&Call<O>) -> bool| {
            self.calls.iter().filter(|(_, call)| is_concerned(call)).map(|(room, _)| *room).collect()
        };
        match input {
            Input::Join(join) => vec![join.room.id],
            Input::Leave(seat) | Input::Signal(seat, ..) | Input::SetMedia(seat, _) => vec![seat.room],
            Input::Disconnect { conn, .. } => rooms_where(&|call| call.over(*conn).is_some()),
            Input::Rename(user) => rooms_where(&|call| call.participants.iter().any(|other| other.user.id == user.id)),
            Input::Tick => Vec::new(),
        }
    }

    /// Drops the call of a room whose connections are closed.
    pub fn evict(&mut self, room: RoomId) {
        if self.calls.remove(&room).is_some() {
            self.outputs.push_back(Output::Effect(Effect::CallCount(room, 0)));
        }
    }

    /// The peers in a room's call, in the order of their arrival.
    pub fn peers(&self, room: RoomId) -> Vec<Peer> {
        let participants = self.calls.get(&room).into_iter().flat_map(|call| &call.participants);
        participants.map(participant::Participant::as_peer).collect()
    }

    /// Returns whether there is no call and no output.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.outputs.is_empty()
    }

    fn tick(&mut self, now: Instant) {
        while let Some((_, room, peer)) = self.departures.pop_front_if(|(at, ..)| *at <= now) {
            let participant = self.calls.get(&room).and_then(|call| call.get(peer));
            // Otherwise a connection came back, and may be away again.
            if participant.and_then(|participant| participant.away_until()).is_some_and(|until| until <= now) {
                self.remove(room, peer);
            }
        }
    }

    fn signal(&mut self, SeatId { conn, room }: SeatId, to: PeerId, signal: Signal) -> Result<(), ErrorCode> {
        let call = self.calls.get_mut(&room).ok_or(ErrorCode::NotInCall)?;
        let from = call.over(conn).ok_or(ErrorCode::NotInCall)?.peer;
        let target = call.get(to).ok_or(ErrorCode::NotInCall)?.outbox().cloned();
        if from == to {
            return Err(ErrorCode::BadCallState);
        }
        let peer = from;
        let frame = match signal {
            Signal::Offer(description) => {
                // Also if there is one already, in either direction: a peer may offer at any time (RFC 8829).
                call.offers.insert((from, to));
                ServerFrame::Offer(Describe { room, peer, description })
            }
            Signal::Answer(description) => {
                if !call.offers.remove(&(to, from)) {
                    return Err(ErrorCode::BadCallState);
                }
                // A peer that answers has rolled back its own offer.
                call.offers.remove(&(from, to));
                ServerFrame::Answer(Describe { room, peer, description })
            }
            Signal::Ice(candidate) => ServerFrame::Ice(Trickle { room, peer, candidate }),
        };
        // A participant who is away negotiates again after coming back.
        if let Some(outbox) = target {
            self.send(outbox, frame);
        }
        Ok(())
    }

    fn set_media(&mut self, SeatId { conn, room }: SeatId, media: Media) -> Result<(), ErrorCode> {
        let call = self.calls.get_mut(&room).ok_or(ErrorCode::NotInCall)?;
        let participant = call.over_mut(conn).ok_or(ErrorCode::NotInCall)?;
        if std::mem::replace(&mut participant.media, media) == media {
            return Ok(());
        }
        let peer = participant.peer;
        let Media { audio, video, screen } = media;
        let frame = ServerFrame::Media(SetMedia { room, peer: Some(peer), audio, video, screen });
        let others = call.participants.iter().filter(|other| other.peer != peer);
        let sends = others.filter_map(|other| Some(Output::Send(other.outbox()?.clone(), frame.clone())));
        self.outputs.extend(sends);
        Ok(())
    }

    fn send(&mut self, to: O, frame: ServerFrame) {
        self.outputs.push_back(Output::Send(to, frame));
    }
}
