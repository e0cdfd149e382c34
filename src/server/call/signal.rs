//! Who is in which call, and who may tell what to whom. Sans-I/O, like `hub::core`.
//!
//! A frame reaches peers of the same call only. An answer needs an offer. A peer whose connection
//! broke keeps its place for [`GRACE`], so that a call outlives a change of network: whoever comes
//! back in time as the same user gets the place again, and the others are told with `call_joined`, by
//! which both sides learn that what was on its way may be lost.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::protocol::call::{
    CallPresence, Candidate, Describe, Description, IceServer, JoinCallAck, MAX_CALL_PEERS, Media, Peer, SetMedia,
    Trickle,
};
use crate::protocol::{Ack, ErrorCode, PeerId, ServerFrame, User};
use crate::server::hub::core::{ConnId, GRACE, RoomId};

/// What happens to calls.
#[derive(Clone, Debug)]
pub enum Input<L> {
    /// A connection that is in the room joins its call. Again: it is answered again.
    Join {
        /// Which connection.
        conn: ConnId,
        /// How to reach it.
        link: L,
        /// Whose it is.
        user: User,
        /// The room's number.
        room: RoomId,
        /// The room's canonical name.
        name: Arc<str>,
        /// The place it had before its connection broke.
        wanted: Option<PeerId>,
        /// Names its place otherwise: never given before.
        fresh: PeerId,
        /// The id of its `join_call` frame; without one there is no answer.
        id: Option<u64>,
        /// What it is told to reach the others by.
        ice_servers: Vec<IceServer>,
    },
    /// A connection leaves a call, or the call's room.
    Leave {
        /// Which connection.
        conn: ConnId,
        /// Which room.
        room: RoomId,
    },
    /// A connection ended. With a farewell its places are free at once.
    Disconnect {
        /// Which connection.
        conn: ConnId,
        /// Whether it said so, as a page does that is closed.
        farewell: bool,
    },
    /// A connection tells one peer something.
    Signal {
        /// Which connection.
        conn: ConnId,
        /// In which room's call.
        room: RoomId,
        /// Whom.
        to: PeerId,
        /// What.
        signal: Signal,
    },
    /// A connection tells everyone in the call what it sends.
    SetMedia {
        /// Which connection.
        conn: ConnId,
        /// In which room's call.
        room: RoomId,
        /// What it sends.
        media: Media,
    },
    /// Somebody has a new name.
    Rename {
        /// Who, with the name.
        user: User,
    },
    /// Time has passed.
    Tick,
}

/// What one peer tells another.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// A proposal.
    Offer(Description),
    /// Its acceptance.
    Answer(Description),
    /// A way to be reached; `None`: there are no more.
    Ice(Option<Candidate>),
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<L> {
    /// Send a frame to one connection.
    Send {
        /// To whom.
        to: L,
        /// What.
        frame: ServerFrame,
    },
    /// Send a frame to everyone in the room, in the call or not.
    Tell {
        /// Which room.
        room: RoomId,
        /// Whom not to.
        except: Option<ConnId>,
        /// What.
        frame: ServerFrame,
    },
    /// So many are in the room's call now.
    Count {
        /// Which room.
        room: RoomId,
        /// How many; 0 when there is no call.
        count: u64,
    },
}

/// The calls of one shard's rooms.
#[derive(Clone, Debug)]
pub struct Calls<L> {
    calls: HashMap<RoomId, Call<L>>,
    /// Whose place is kept until when. In order of time, because the grace is constant.
    departures: VecDeque<(Instant, RoomId, PeerId)>,
    /// Places that were given up lately. The others have forgotten them, so nobody gets them again.
    given_up: VecDeque<PeerId>,
    outputs: VecDeque<Output<L>>,
}

/// So many places that were given up are remembered.
const MAX_GIVEN_UP: usize = 1_024;

#[derive(Clone, Debug)]
struct Call<L> {
    name: Arc<str>,
    /// In the order they came; at most [`MAX_CALL_PEERS`].
    seats: Vec<Seat<L>>,
    /// Offers without an answer yet: from, to.
    offers: HashSet<(PeerId, PeerId)>,
}

/// One peer's place.
#[derive(Clone, Debug)]
struct Seat<L> {
    peer: PeerId,
    user: User,
    media: Media,
    place: Place<L>,
}

#[derive(Clone, Debug)]
enum Place<L> {
    /// Over this connection.
    Here(ConnId, L),
    /// The connection broke; kept until then.
    Away(Instant),
}

impl<L> Default for Calls<L> {
    fn default() -> Self {
        Self { calls: HashMap::new(), departures: VecDeque::new(), given_up: VecDeque::new(), outputs: VecDeque::new() }
    }
}

impl<L: Clone> Calls<L> {
    /// Takes an input. Everything that follows from it is in [`Calls::poll_output`] afterwards.
    ///
    /// # Errors
    /// The refusal, when nothing was done: `CALL_FULL` from [`Input::Join`]; `NOT_IN_CALL` from
    /// [`Input::Leave`], [`Input::Signal`] and [`Input::SetMedia`]; `BAD_CALL_STATE` from
    /// [`Input::Signal`].
    pub fn handle(&mut self, now: Instant, input: Input<L>) -> Result<(), ErrorCode> {
        match input {
            Input::Join { conn, link, user, room, name, wanted, fresh, id, ice_servers } => {
                let peer = self.join(conn, &link, user, room, name, wanted, fresh)?;
                if let Some(id) = id {
                    let peers = self.peers(room).into_iter().filter(|other| other.peer != peer).collect();
                    let ack = Ack::JoinCall(JoinCallAck { peer, peers, ice_servers });
                    self.outputs.push_back(Output::Send { to: link, frame: ServerFrame::Ack { id, ack } });
                }
            }
            Input::Leave { conn, room } => {
                let peer = self.seat_of(conn, room).ok_or(ErrorCode::NotInCall)?.peer;
                self.remove(room, peer);
            }
            Input::Disconnect { conn, farewell } => self.disconnect(now, conn, farewell),
            Input::Signal { conn, room, to, signal } => self.signal(conn, room, to, signal)?,
            Input::SetMedia { conn, room, media } => self.set_media(conn, room, media)?,
            Input::Rename { user } => {
                let seats = self.calls.values_mut().flat_map(|call| &mut call.seats);
                seats.filter(|seat| seat.user.id == user.id).for_each(|seat| seat.user = user.clone());
            }
            Input::Tick => {
                while let Some((_, room, peer)) = self.departures.pop_front_if(|(at, ..)| *at <= now) {
                    // Otherwise they came back, and may be away anew.
                    if self
                        .seat(room, peer)
                        .is_some_and(|seat| matches!(seat.place, Place::Away(until) if until <= now))
                    {
                        self.remove(room, peer);
                    }
                }
            }
        }
        Ok(())
    }

    /// The rooms that an input is about.
    pub fn concerned(&self, input: &Input<L>) -> Vec<RoomId> {
        let rooms_with = |is_it: &dyn Fn(&Seat<L>) -> bool| {
            self.calls.iter().filter(|(_, call)| call.seats.iter().any(is_it)).map(|(room, _)| *room).collect()
        };
        match input {
            Input::Join { room, .. }
            | Input::Leave { room, .. }
            | Input::Signal { room, .. }
            | Input::SetMedia { room, .. } => vec![*room],
            Input::Disconnect { conn, .. } => {
                rooms_with(&|seat| matches!(seat.place, Place::Here(here, _) if here == *conn))
            }
            Input::Rename { user } => rooms_with(&|seat| seat.user.id == user.id),
            Input::Tick => Vec::new(),
        }
    }

    /// Forgets the call of a room whose connections are closed.
    pub fn evict(&mut self, room: RoomId) {
        if self.calls.remove(&room).is_some() {
            self.outputs.push_back(Output::Count { room, count: 0 });
        }
    }

    /// The next thing that follows from what was handled.
    pub fn poll_output(&mut self) -> Option<Output<L>> {
        self.outputs.pop_front()
    }

    /// Who is in a room's call, in the order they came.
    pub fn peers(&self, room: RoomId) -> Vec<Peer> {
        let seats = self.calls.get(&room).map(|call| call.seats.as_slice()).unwrap_or_default();
        seats.iter().map(|seat| Peer { peer: seat.peer, user: seat.user.clone(), media: seat.media }).collect()
    }

    /// Whether nothing is kept: no call, no place, no offer.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.outputs.is_empty()
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one input")]
    fn join(
        &mut self,
        conn: ConnId,
        link: &L,
        user: User,
        room: RoomId,
        name: Arc<str>,
        wanted: Option<PeerId>,
        fresh: PeerId,
    ) -> Result<PeerId, ErrorCode> {
        if let Some(seat) = self.seat_of(conn, room) {
            return Ok(seat.peer);
        }
        let here = Place::Here(conn, link.clone());
        let known = wanted.and_then(|wanted| self.seat_mut(room, wanted));
        let peer = match (known, wanted) {
            (Some(seat), _) if seat.user.id == user.id => {
                // Its earlier connection may not know yet that it is dead; if it lives, it is out.
                let (peer, earlier) = (seat.peer, std::mem::replace(&mut seat.place, here));
                if let Place::Here(_, link) = earlier {
                    let frame =
                        ServerFrame::CallLeft(CallPresence { room: name.to_string(), peer, user: user.clone() });
                    self.outputs.push_back(Output::Send { to: link, frame });
                }
                peer
            }
            (known, wanted) => {
                // After a restart of the server nobody has the place: whoever comes first, whose
                // user the others compare with the one they knew.
                let is_free = known.is_none();
                let peer = wanted.filter(|wanted| is_free && !self.given_up.contains(wanted)).unwrap_or(fresh);
                // Whoever is back with another name for their place does not hold two.
                let left_behind = |seat: &&Seat<L>| seat.user.id == user.id && matches!(seat.place, Place::Away(_));
                let seats = self.calls.get(&room).map(|call| call.seats.as_slice()).unwrap_or_default();
                for old in seats.iter().filter(left_behind).map(|seat| seat.peer).collect::<Vec<_>>() {
                    self.remove(room, old);
                }
                let call = self.calls.entry(room).or_insert_with(|| Call::new(name.clone()));
                if call.seats.len() >= MAX_CALL_PEERS {
                    return Err(ErrorCode::CallFull);
                }
                call.seats.push(Seat { peer, user: user.clone(), media: Media::default(), place: here });
                let count = call.seats.len() as u64;
                self.outputs.push_back(Output::Count { room, count });
                peer
            }
        };
        let frame = ServerFrame::CallJoined(CallPresence { room: name.to_string(), peer, user });
        self.outputs.push_back(Output::Tell { room, except: Some(conn), frame });
        Ok(peer)
    }

    fn disconnect(&mut self, now: Instant, conn: ConnId, farewell: bool) {
        let is_at = |seat: &&mut Seat<L>| matches!(seat.place, Place::Here(at, _) if at == conn);
        let mut gone = Vec::new();
        for (room, call) in &mut self.calls {
            if let Some(seat) = call.seats.iter_mut().find(is_at) {
                gone.push((*room, seat.peer));
                seat.place = Place::Away(now + GRACE);
            }
        }
        for (room, peer) in gone {
            if farewell {
                self.remove(room, peer);
            } else {
                self.departures.push_back((now + GRACE, room, peer));
            }
        }
    }

    fn signal(&mut self, conn: ConnId, id: RoomId, to: PeerId, signal: Signal) -> Result<(), ErrorCode> {
        let call = self.calls.get_mut(&id).ok_or(ErrorCode::NotInCall)?;
        let from = call.seats.iter().find(|seat| seat.is_at(conn)).ok_or(ErrorCode::NotInCall)?.peer;
        let target = call.seats.iter().find(|seat| seat.peer == to).ok_or(ErrorCode::NotInCall)?;
        if from == to {
            return Err(ErrorCode::BadCallState);
        }
        let (room, peer) = (call.name.to_string(), from);
        let frame = match signal {
            Signal::Offer(description) => {
                // Again, or against the other's: either may offer whenever it likes (RFC 8829).
                call.offers.insert((from, to));
                ServerFrame::Offer(Describe { room, peer, description })
            }
            Signal::Answer(description) => {
                if !call.offers.remove(&(to, from)) {
                    return Err(ErrorCode::BadCallState);
                }
                // Whoever answers has taken back what they offered themselves.
                call.offers.remove(&(from, to));
                ServerFrame::Answer(Describe { room, peer, description })
            }
            Signal::Ice(candidate) => ServerFrame::Ice(Trickle { room, peer, candidate }),
        };
        // Who is away hears of it when both sides begin anew.
        if let Place::Here(_, link) = &target.place {
            self.outputs.push_back(Output::Send { to: link.clone(), frame });
        }
        Ok(())
    }

    fn set_media(&mut self, conn: ConnId, id: RoomId, media: Media) -> Result<(), ErrorCode> {
        let call = self.calls.get_mut(&id).ok_or(ErrorCode::NotInCall)?;
        let seat = call.seats.iter_mut().find(|seat| seat.is_at(conn)).ok_or(ErrorCode::NotInCall)?;
        if std::mem::replace(&mut seat.media, media) == media {
            return Ok(());
        }
        let (room, peer) = (call.name.to_string(), Some(seat.peer));
        let Media { audio, video, screen } = media;
        let frame = ServerFrame::Media(SetMedia { room, peer, audio, video, screen });
        for seat in call.seats.iter().filter(|seat| Some(seat.peer) != peer) {
            if let Place::Here(_, link) = &seat.place {
                self.outputs.push_back(Output::Send { to: link.clone(), frame: frame.clone() });
            }
        }
        Ok(())
    }

    fn remove(&mut self, room: RoomId, peer: PeerId) {
        let Some(call) = self.calls.get_mut(&room) else { return };
        let Some(index) = call.seats.iter().position(|seat| seat.peer == peer) else { return };
        let seat = call.seats.remove(index);
        call.offers.retain(|(from, to)| *from != peer && *to != peer);
        self.given_up.push_back(peer);
        if self.given_up.len() > MAX_GIVEN_UP {
            self.given_up.pop_front();
        }
        let (name, count) = (call.name.to_string(), call.seats.len() as u64);
        if count == 0 {
            self.calls.remove(&room);
        }
        let except = match seat.place {
            Place::Here(conn, _) => Some(conn),
            Place::Away(_) => None,
        };
        let frame = ServerFrame::CallLeft(CallPresence { room: name, peer, user: seat.user });
        self.outputs.push_back(Output::Tell { room, except, frame });
        self.outputs.push_back(Output::Count { room, count });
    }

    fn seat_of(&self, conn: ConnId, room: RoomId) -> Option<&Seat<L>> {
        self.calls.get(&room)?.seats.iter().find(|seat| seat.is_at(conn))
    }

    fn seat(&self, room: RoomId, peer: PeerId) -> Option<&Seat<L>> {
        self.calls.get(&room)?.seats.iter().find(|seat| seat.peer == peer)
    }

    fn seat_mut(&mut self, room: RoomId, peer: PeerId) -> Option<&mut Seat<L>> {
        self.calls.get_mut(&room)?.seats.iter_mut().find(|seat| seat.peer == peer)
    }
}

impl<L> Call<L> {
    fn new(name: Arc<str>) -> Self {
        Self { name, seats: Vec::new(), offers: HashSet::new() }
    }
}

impl<L> Seat<L> {
    fn is_at(&self, conn: ConnId) -> bool {
        matches!(self.place, Place::Here(at, _) if at == conn)
    }
}
