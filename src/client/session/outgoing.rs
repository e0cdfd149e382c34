//! Commands that must reach the server although it may refuse them for a while: signaling in calls, and leaving rooms
//! and calls. Pure.
//!
//! Commands are kept until they are acknowledged. A newer command makes older ones obsolete: a description contains
//! the candidates that were found before it. After a refusal by the rate limit all of them pause, and continue one at a
//! time at the pace that the server asked for.

use super::event::Signal;
use crate::client::backoff::{Backoff, equal_jitter};
use crate::protocol::frame::InRoom;
use crate::protocol::{Command, PeerId, RoomId};

/// The most commands that wait for their answers at a time.
const MAX_IN_FLIGHT: usize = 16;
/// The first pause after a refusal, if the server asks for no longer one. It doubles with each refusal in a row.
const FIRST_PAUSE_MS: u64 = 250;
/// The limit of that pause.
const MAX_PAUSE_MS: u64 = 15_000;
/// After a refusal, this many commands are sent at the pace that the server asked for.
const PACED: u64 = 16;

/// A command of this module.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outgoing {
    LeaveRoom(RoomId),
    LeaveCall(RoomId),
    Signal(Signal),
}

/// A command that is not settled yet.
#[derive(Debug)]
struct Entry {
    command: Outgoing,
    /// The id of the request that waits for its answer.
    request: Option<u64>,
    /// A newer command has replaced it: it is not sent again.
    obsolete: bool,
}

/// The commands in the order in which they were pushed, and the pace at which they are sent. Candidates come last.
#[derive(Debug)]
pub(super) struct OutgoingQueue {
    entries: Vec<Entry>,
    /// The number of commands that may wait for their answers at present.
    window: usize,
    /// Nothing is sent before this time.
    paused_until: Option<u64>,
    /// After a refusal: the time between two commands, and the number of commands for which it still applies.
    pace: Option<(u64, u64)>,
    backoff: Backoff,
}

impl OutgoingQueue {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(FIRST_PAUSE_MS, MAX_PAUSE_MS);
        Self { entries: Vec::new(), window: MAX_IN_FLIGHT, paused_until: None, pace: None, backoff }
    }

    /// Appends a command, and drops those that it makes obsolete.
    pub(super) fn push(&mut self, command: Outgoing) {
        self.drop_where(|earlier| command.replaces(earlier));
        self.entries.push(Entry { command, request: None, obsolete: false });
    }

    /// Drops the commands for which `is_obsolete` is true. Those that wait for an answer are not sent again.
    pub(super) fn drop_where(&mut self, is_obsolete: impl Fn(&Outgoing) -> bool) {
        for entry in &mut self.entries {
            entry.obsolete |= is_obsolete(&entry.command);
        }
        self.entries.retain(|entry| entry.request.is_some() || !entry.obsolete);
    }

    /// Returns whether the call of this room is still to be left.
    pub(super) fn is_leaving_call(&self, room: RoomId) -> bool {
        self.entries.iter().any(|entry| entry.command == Outgoing::LeaveCall(room))
    }

    /// Returns whether a command waits to be sent.
    fn is_waiting(&self) -> bool {
        self.entries.iter().any(|entry| entry.request.is_none())
    }

    /// The end of the pause, if a command waits for it.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.paused_until.filter(|_| self.is_waiting())
    }

    /// The next command to send, under the request `id`.
    pub(super) fn start_next(&mut self, now: u64, id: u64) -> Option<Command> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        let in_flight = self.entries.iter().filter(|entry| entry.request.is_some()).count();
        if in_flight >= self.window {
            return None;
        }
        let is_free = |(index, entry): (usize, &Entry)| {
            let mut earlier = self.entries[..index].iter().filter(|earlier| !earlier.obsolete);
            entry.request.is_none() && !earlier.any(|earlier| entry.command.must_follow(&earlier.command))
        };
        // Candidates last: there may be many, and descriptions contain the most important ones.
        let free: Vec<_> = self.entries.iter().enumerate().filter(|indexed| is_free(*indexed)).collect();
        let (index, _) = *free.iter().find(|(_, entry)| !entry.command.is_candidate()).or(free.first())?;
        let entry = self.entries.get_mut(index)?;
        entry.request = Some(id);
        Some(entry.command.clone().into())
    }

    /// The command with this request is acknowledged, or was refused for good. Returns it.
    pub(super) fn settle(&mut self, id: u64) -> Option<Outgoing> {
        let index = self.entries.iter().position(|entry| entry.request == Some(id))?;
        Some(self.entries.remove(index).command)
    }

    /// The server accepts commands.
    pub(super) fn accepted(&mut self, now: u64) {
        self.backoff.reset();
        match self.pace {
            Some((interval_ms, left)) if left > 0 => {
                self.pace = Some((interval_ms, left - 1));
                self.paused_until.get_or_insert(now + interval_ms);
            }
            Some(_) | None => {
                self.pace = None;
                self.window = (self.window * 2).min(MAX_IN_FLIGHT);
            }
        }
    }

    /// The server has refused the command with this request for `retry_after_ms`. It is sent again after a pause.
    pub(super) fn refused(&mut self, now: u64, id: u64, retry_after_ms: u64, random: u64) {
        // One pause for all commands that were in flight together.
        if self.paused_until.is_none() {
            self.paused_until = Some(now + retry_after_ms.max(equal_jitter(self.backoff.delay_ms(), random)));
            self.backoff.grow();
            // The earlier pace was too fast by this much.
            let interval_ms = self.pace.map_or(0, |(interval_ms, _)| interval_ms) + retry_after_ms;
            self.pace = Some((interval_ms.min(MAX_PAUSE_MS), PACED));
        }
        self.window = 1;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.request == Some(id)) {
            entry.request = None;
        }
        self.drop_where(|_| false);
    }

    /// The connection is lost, and with it the memberships to leave and the slots to signal for.
    pub(super) fn disconnected(&mut self) {
        *self = Self::new();
    }
}

impl Outgoing {
    pub(super) fn room(&self) -> RoomId {
        match self {
            Self::LeaveRoom(room) | Self::LeaveCall(room) => *room,
            Self::Signal(signal) => signal.room(),
        }
    }

    /// The room and the peer to which a signal is addressed.
    fn peer(&self) -> Option<(RoomId, PeerId)> {
        match self {
            Self::Signal(Signal::Offer(sent) | Signal::Answer(sent)) => Some((sent.room, sent.peer)),
            Self::Signal(Signal::Ice(sent)) => Some((sent.room, sent.peer)),
            Self::Signal(Signal::Media(_)) | Self::LeaveRoom(_) | Self::LeaveCall(_) => None,
        }
    }

    /// Returns whether it is a signal to this peer.
    pub(super) fn is_to(&self, room: RoomId, peer: PeerId) -> bool {
        self.peer() == Some((room, peer))
    }

    /// Returns whether an earlier command need not be sent any more.
    fn replaces(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            // Leaving the room leaves its call, unless the room is entered again first: so the call is left, too.
            (Self::LeaveRoom(room), Self::LeaveRoom(_) | Self::Signal(_)) => earlier.room() == *room,
            (Self::LeaveCall(room), Self::LeaveCall(_) | Self::Signal(_)) => earlier.room() == *room,
            (Self::Signal(Signal::Media(sent)), Self::Signal(Signal::Media(before))) => sent.room == before.room,
            // An answer follows the roll-back of an own offer.
            (Self::Signal(Signal::Answer(_)), Self::Signal(_)) => self.peer() == earlier.peer(),
            // An answer that was not sent yet still belongs before the next offer.
            (Self::Signal(Signal::Offer(_)), Self::Signal(Signal::Offer(_) | Signal::Ice(_))) => {
                self.peer() == earlier.peer()
            }
            (Self::LeaveRoom(_) | Self::LeaveCall(_) | Self::Signal(_), _) => false,
        }
    }

    /// Returns whether it is a candidate, and not the end of candidates.
    fn is_candidate(&self) -> bool {
        let Self::Signal(Signal::Ice(sent)) = self else { return false };
        sent.candidate.as_ref().is_some_and(|candidate| !candidate.candidate.is_empty())
    }

    /// Returns whether an earlier command must be acknowledged first. Candidates follow the description to which they
    /// belong; among each other they have no order, except that the end of candidates is last.
    fn must_follow(&self, earlier: &Self) -> bool {
        match (self.peer(), earlier.peer()) {
            (Some(to), Some(earlier_to)) => to == earlier_to && !(self.is_candidate() && earlier.is_candidate()),
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}

impl From<Outgoing> for Command {
    fn from(outgoing: Outgoing) -> Self {
        match outgoing {
            Outgoing::LeaveRoom(room) => Self::LeaveRoom(InRoom { room }),
            Outgoing::LeaveCall(room) => Self::LeaveCall(InRoom { room }),
            Outgoing::Signal(Signal::Offer(sent)) => Self::Offer(sent),
            Outgoing::Signal(Signal::Answer(sent)) => Self::Answer(sent),
            Outgoing::Signal(Signal::Ice(sent)) => Self::Ice(sent),
            Outgoing::Signal(Signal::Media(sent)) => Self::Media(sent),
        }
    }
}
