//! Perfect negotiation (W3C WebRTC 1.0, 10.7) with one peer, as a state machine. Pure.
//!
//! Either side may offer at any time. If both do, the polite side rolls its offer back. Usually that is not needed,
//! because the side that was in the call first lets the newcomer offer.
//!
//! The caller feeds events in the order in which they happen, and carries the steps out one after the other:
//!
//! ```
//! use noom::client::call::negotiation::{Event, Initiator, Negotiation, Role, Step};
//! use noom::protocol::call::{Description, DescriptionKind};
//!
//! let mut newcomer = Negotiation::new(Role::Polite, Initiator::Local);
//! let mut other = Negotiation::new(Role::Impolite, Initiator::Remote);
//!
//! // The browser of each side wants to negotiate its tracks. Only the newcomer may begin.
//! assert_eq!(newcomer.handle(Event::NegotiationNeeded), [Step::Offer]);
//! assert_eq!(other.handle(Event::NegotiationNeeded), []);
//!
//! // The caller has made the offer and sent it to the other side, which answers.
//! let offer = Description { kind: DescriptionKind::Offer, sdp: "v=0 …".into() };
//! assert_eq!(other.handle(Event::Description(offer.clone())), [Step::Accept(offer)]);
//! let answer = Description { kind: DescriptionKind::Answer, sdp: "v=0 …".into() };
//! assert_eq!(newcomer.handle(Event::Description(answer.clone())), [Step::Complete(answer)]);
//! assert!(newcomer.is_settled() && other.is_settled());
//! ```

use crate::protocol::call::{Candidate, Description, DescriptionKind};

/// The rule for offers that cross. Of two peers, exactly one is polite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rolls its own offer back and accepts that of the other side.
    Polite,
    /// Ignores the offer of the other side.
    Impolite,
}

/// The side that makes the first offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// This side.
    Local,
    /// The other side. This side offers only after [`Event::WaitExpired`].
    Remote,
}

/// An input of the negotiation.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The browser reports a change that needs a negotiation (`negotiationneeded`).
    NegotiationNeeded,
    /// A remote initiator had its time to offer.
    WaitExpired,
    /// A description of the other side has arrived.
    Description(Description),
    /// A candidate of the other side has arrived; `None`: the last one has (RFC 8838).
    Candidate(Option<Candidate>),
    /// One of the two had lost its connection to the server. Signals in either direction may be lost.
    Resync,
}

/// A step for the caller to carry out.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make an offer and send it.
    Offer,
    /// Send the current local description again.
    Resend,
    /// Apply an offer, which rolls back our own if there is one; make an answer and send it.
    Accept(Description),
    /// Apply the answer to our offer.
    Complete(Description),
    /// Add a candidate of the other side.
    AddCandidate(Option<Candidate>),
}

/// The state of the negotiation with one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiation {
    role: Role,
    /// True if a remote initiator may still make the first offer.
    waiting: bool,
    /// True if our offer has no answer yet.
    offering: bool,
    /// True if a description of the other side was applied.
    described: bool,
    /// True if the last offer of the other side was ignored. Its candidates are ignored too.
    ignoring: bool,
    /// Candidates that arrived before the description to which they belong.
    early: Vec<Option<Candidate>>,
}

/// The most candidates to keep for a description that has not arrived.
const MAX_EARLY_CANDIDATES: usize = 64;

impl Negotiation {
    /// Starts a negotiation with a peer.
    pub fn new(role: Role, initiator: Initiator) -> Self {
        Self {
            role,
            waiting: initiator == Initiator::Remote,
            offering: false,
            described: false,
            ignoring: false,
            early: Vec::new(),
        }
    }

    /// Returns whether both sides agree, as far as this side knows.
    pub fn is_settled(&self) -> bool {
        self.described && !self.offering
    }

    /// Starts again, after the peer connection was replaced by a new one.
    pub fn reset(&mut self) {
        *self = Self::new(self.role, Initiator::Local);
    }

    /// Handles an event; returns the steps to carry out, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Step> {
        match event {
            // While an offer is out, the browser reports again after the answer.
            Event::NegotiationNeeded if self.offering || self.waiting => Vec::new(),
            Event::NegotiationNeeded => self.offer(),
            Event::WaitExpired if std::mem::take(&mut self.waiting) && !self.offering => self.offer(),
            Event::WaitExpired => Vec::new(),
            Event::Description(description) => match description.kind {
                DescriptionKind::Offer => self.offered(description),
                DescriptionKind::Answer => self.answered(description),
            },
            Event::Candidate(_) if self.ignoring => Vec::new(),
            Event::Candidate(candidate) if self.described => vec![Step::AddCandidate(candidate)],
            Event::Candidate(candidate) => {
                if self.early.len() < MAX_EARLY_CANDIDATES {
                    self.early.push(candidate);
                }
                Vec::new()
            }
            // If the answer was lost, the other side sends it again when it gets the same offer again.
            Event::Resync if self.offering => vec![Step::Resend],
            Event::Resync => Vec::new(),
        }
    }

    fn offer(&mut self) -> Vec<Step> {
        self.offering = true;
        self.waiting = false;
        vec![Step::Offer]
    }

    fn offered(&mut self, offer: Description) -> Vec<Step> {
        if self.offering && self.role == Role::Impolite {
            self.ignoring = true;
            return Vec::new();
        }
        self.offering = false;
        self.apply(Step::Accept(offer))
    }

    fn answered(&mut self, answer: Description) -> Vec<Step> {
        // Without an offer of ours it is a duplicate, or answers an offer that was rolled back.
        if !std::mem::take(&mut self.offering) {
            return Vec::new();
        }
        self.apply(Step::Complete(answer))
    }

    fn apply(&mut self, step: Step) -> Vec<Step> {
        self.described = true;
        self.ignoring = false;
        self.waiting = false;
        std::iter::once(step).chain(self.early.drain(..).map(Step::AddCandidate)).collect()
    }
}
