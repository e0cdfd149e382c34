//! One call and its participants.

use std::collections::HashSet;
use std::time::Instant;

use crate::protocol::call::{Media, Peer};
use crate::protocol::{PeerId, User};
use crate::server::id::ConnId;

#[derive(Clone, Debug)]
pub(super) struct Call<O> {
    /// In the order of their arrival; at most [`crate::protocol::MAX_CALL_PEERS`].
    pub(super) participants: Vec<Participant<O>>,
    /// The offers that have not been answered: from, to.
    pub(super) offers: HashSet<(PeerId, PeerId)>,
}

/// The holder of one slot.
#[derive(Clone, Debug)]
pub(super) struct Participant<O> {
    pub(super) peer: PeerId,
    pub(super) user: User,
    pub(super) media: Media,
    pub(super) presence: Presence<O>,
}

#[derive(Clone, Debug)]
pub(super) enum Presence<O> {
    /// Reachable over this connection.
    Online(ConnId, O),
    /// The connection broke. The slot is kept until then.
    Away(Instant),
}

impl<O> Default for Call<O> {
    fn default() -> Self {
        Self { participants: Vec::new(), offers: HashSet::new() }
    }
}

impl<O> Call<O> {
    pub(super) fn get(&self, peer: PeerId) -> Option<&Participant<O>> {
        self.participants.iter().find(|participant| participant.peer == peer)
    }

    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Participant<O>> {
        self.participants.iter_mut().find(|participant| participant.peer == peer)
    }

    /// The participant over this connection.
    pub(super) fn over(&self, conn: ConnId) -> Option<&Participant<O>> {
        self.participants.iter().find(|participant| participant.is_over(conn))
    }

    pub(super) fn over_mut(&mut self, conn: ConnId) -> Option<&mut Participant<O>> {
        self.participants.iter_mut().find(|participant| participant.is_over(conn))
    }
}

impl<O> Participant<O> {
    pub(super) fn is_over(&self, conn: ConnId) -> bool {
        match &self.presence {
            Presence::Online(id, _) => *id == conn,
            Presence::Away(_) => false,
        }
    }

    /// The outbox, unless the participant is away.
    pub(super) fn outbox(&self) -> Option<&O> {
        match &self.presence {
            Presence::Online(_, outbox) => Some(outbox),
            Presence::Away(_) => None,
        }
    }

    pub(super) fn away_until(&self) -> Option<Instant> {
        match &self.presence {
            Presence::Online(..) => None,
            Presence::Away(until) => Some(*until),
        }
    }

    pub(super) fn as_peer(&self) -> Peer {
        Peer { peer: self.peer, user: self.user.clone(), media: self.media }
    }
}
