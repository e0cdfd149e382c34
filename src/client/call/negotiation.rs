//! Perfect negotiation (W3C WebRTC 1.0, 10.7) with one other peer, as a pure state machine: what to do
//! with the connection, step by step. Whoever carries the steps out does so one after the other, and
//! feeds events in the order they came.
//!
//! Either side may offer at any time. When both do, the polite one takes its offer back. Whoever was
//! there first lets the newcomer begin, so usually nobody has to.

use crate::protocol::call::{Candidate, Description, DescriptionKind};

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The browser says that something changed which the other side must agree to.
    Needed,
    /// The other side was given its time to begin.
    Waited,
    /// A description came.
    Description(Description),
    /// A candidate came, or that there are no more.
    Candidate(Option<Candidate>),
    /// One of the two was away: what was on its way, in either direction, is lost.
    Resync,
    /// The server did not pass on what was sent last.
    Refused,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make an offer and send it.
    Offer,
    /// Send the description that was made last, as it is now.
    SendAgain,
    /// Take an offer, taking back one's own if there is one; make an answer and send it.
    Accept(Description),
    /// Take the answer to one's offer.
    Complete(Description),
    /// Add a candidate of the other side.
    Add(Option<Candidate>),
}

/// How it stands with one other peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiation {
    polite: bool,
    /// Lets the other side begin.
    waiting: bool,
    /// Has an offer out.
    offering: bool,
    /// Knows a description of the other side.
    described: bool,
    /// Passed over an offer of the other side, so its candidates mean nothing.
    ignoring: bool,
    /// Candidates that came before any description.
    early: Vec<Option<Candidate>>,
}

/// As many candidates are kept for a description that has not come.
const MAX_EARLY: usize = 64;

impl Negotiation {
    /// With a peer that one is polite to, or not: of two, exactly one is. `waits`: the other side is
    /// to begin.
    pub fn new(polite: bool, waits: bool) -> Self {
        Self { polite, waiting: waits, offering: false, described: false, ignoring: false, early: Vec::new() }
    }

    /// Whether nothing is open between the two.
    pub fn is_settled(&self) -> bool {
        self.described && !self.offering
    }

    /// Begins anew, as after the connection was thrown away and another made.
    pub fn reset(&mut self) {
        *self = Self::new(self.polite, false);
    }

    /// Takes an event; what to do, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Step> {
        match event {
            // While an offer is out the browser asks again after its answer.
            Event::Needed if self.offering || self.waiting => Vec::new(),
            Event::Needed => self.offer(),
            Event::Waited if std::mem::take(&mut self.waiting) && !self.offering => self.offer(),
            Event::Waited => Vec::new(),
            Event::Description(offer) if offer.kind == DescriptionKind::Offer => {
                if self.offering && !self.polite {
                    self.ignoring = true;
                    return Vec::new();
                }
                self.offering = false;
                self.take(Step::Accept(offer))
            }
            Event::Description(answer) => {
                // An answer to what was taken back, or that came twice.
                if !std::mem::take(&mut self.offering) {
                    return Vec::new();
                }
                self.take(Step::Complete(answer))
            }
            Event::Candidate(_) if self.ignoring => Vec::new(),
            Event::Candidate(candidate) if self.described => vec![Step::Add(candidate)],
            Event::Candidate(candidate) => {
                if self.early.len() < MAX_EARLY {
                    self.early.push(candidate);
                }
                Vec::new()
            }
            // An answer that was lost is asked for by its offer, sent again.
            Event::Resync if self.offering => vec![Step::SendAgain],
            Event::Resync => Vec::new(),
            Event::Refused if self.offering || self.described => vec![Step::SendAgain],
            Event::Refused => Vec::new(),
        }
    }

    fn offer(&mut self) -> Vec<Step> {
        self.offering = true;
        self.waiting = false;
        vec![Step::Offer]
    }

    fn take(&mut self, step: Step) -> Vec<Step> {
        self.described = true;
        self.ignoring = false;
        self.waiting = false;
        std::iter::once(step).chain(self.early.drain(..).map(Step::Add)).collect()
    }
}
