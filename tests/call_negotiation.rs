//! Two negotiations with each other, over a network that delays and loses signals.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::VecDeque;

use noom::client::call::negotiation::{Event, Initiator, Negotiation, Role, Step};
use noom::protocol::call::{Candidate, Description, DescriptionKind};
use proptest::prelude::*;

fn description(kind: DescriptionKind, sdp: String) -> Description {
    Description { kind, sdp }
}

fn candidate(line: String) -> Option<Candidate> {
    Some(Candidate { candidate: line, sdp_mid: None, sdp_m_line_index: None })
}

/// The negotiation state of a browser's connection (JSEP, RFC 8829). It panics where a browser would return an error.
#[derive(Debug, Default)]
struct Connection {
    local: Option<Description>,
    /// The local offer that waits for its answer.
    offered: Option<Description>,
    remote: Option<Description>,
    /// The offer on which both sides agree.
    agreed: Option<String>,
    candidates: usize,
}

#[derive(Debug)]
struct Side {
    name: char,
    negotiation: Negotiation,
    connection: Connection,
    /// True if the browser reports `negotiationneeded` once its state is stable.
    needed: bool,
    /// The signals that the other side has not received yet.
    out: VecDeque<Event>,
    /// The number of offers so far.
    offers: usize,
}

impl Side {
    fn new(name: char, role: Role, initiator: Initiator) -> Self {
        let negotiation = Negotiation::new(role, initiator);
        Self { name, negotiation, connection: Connection::default(), needed: false, out: VecDeque::new(), offers: 0 }
    }

    fn handle(&mut self, event: Event) {
        let steps = self.negotiation.handle(event);
        steps.into_iter().for_each(|step| self.carry_out(step));
        // A browser reports again as soon as its state is stable.
        if self.needed && self.connection.offered.is_none() {
            let steps = self.negotiation.handle(Event::NegotiationNeeded);
            self.needed &= steps.is_empty();
            steps.into_iter().for_each(|step| self.carry_out(step));
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Offer => {
                self.offers += 1;
                let name = format!("{}{}", self.name, self.offers);
                let offer = description(DescriptionKind::Offer, name.clone());
                self.connection.offered = Some(offer.clone());
                self.out.push_back(Event::Description(offer));
                self.out.push_back(Event::Candidate(candidate(name)));
            }
            Step::Resend => {
                let connection = &self.connection;
                let last = connection
                    .offered
                    .clone()
                    .or(connection.local.clone())
                    .expect("a description was made before it is sent again");
                self.out.push_back(Event::Description(last));
            }
            Step::Accept(offer) => {
                assert_eq!(offer.kind, DescriptionKind::Offer);
                let answer = description(DescriptionKind::Answer, offer.sdp.clone());
                let connection = &mut self.connection;
                // What a rolled-back offer was for is still needed. Otherwise the answer covers it.
                self.needed = connection.offered.take().is_some();
                connection.agreed = Some(offer.sdp.clone());
                connection.remote = Some(offer);
                connection.local = Some(answer.clone());
                self.out.push_back(Event::Description(answer));
            }
            Step::Complete(answer) => {
                let connection = &mut self.connection;
                let offer = connection.offered.take().expect("an answer follows an offer");
                assert_eq!(answer.sdp, offer.sdp, "the answer is for the current offer");
                connection.agreed = Some(answer.sdp.clone());
                connection.local = Some(offer);
                connection.remote = Some(answer);
            }
            Step::AddCandidate(_) => {
                assert!(self.connection.remote.is_some(), "a candidate is added after a description");
                self.connection.candidates += 1;
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Move {
    /// One side changes a track.
    Change(bool),
    /// A signal of one side arrives.
    Deliver(bool),
    /// The time for a remote initiator is over.
    Wait(bool),
    /// The connection to the server is lost, and with it the signals in transit.
    Cut,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => any::<bool>().prop_map(Move::Change),
        8 => any::<bool>().prop_map(Move::Deliver),
        1 => any::<bool>().prop_map(Move::Wait),
        1 => Just(Move::Cut),
    ];
    prop::collection::vec(one, 0..60)
}

fn deliver(from: &mut Side, to: &mut Side) -> bool {
    let Some(event) = from.out.pop_front() else { return false };
    to.handle(event);
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_sides_agree_after_any_loss_and_delay(moves in moves(), a_is_polite: bool, b_waits: bool) {
        let role = |polite| if polite { Role::Polite } else { Role::Impolite };
        let initiator = if b_waits { Initiator::Remote } else { Initiator::Local };
        let mut a = Side::new('a', role(a_is_polite), Initiator::Local);
        let mut b = Side::new('b', role(!a_is_polite), initiator);
        for step in moves {
            match step {
                Move::Change(true) => { a.needed = true; a.handle(Event::Candidate(None)); }
                Move::Change(false) => { b.needed = true; b.handle(Event::Candidate(None)); }
                Move::Deliver(true) => drop(deliver(&mut a, &mut b)),
                Move::Deliver(false) => drop(deliver(&mut b, &mut a)),
                Move::Wait(true) => a.handle(Event::WaitExpired),
                Move::Wait(false) => b.handle(Event::WaitExpired),
                Move::Cut => {
                    a.out.clear();
                    b.out.clear();
                    a.handle(Event::Resync);
                    b.handle(Event::Resync);
                }
            }
        }
        // Each side changes a track once more, and then every signal arrives.
        a.needed = true;
        b.needed = true;
        a.handle(Event::WaitExpired);
        b.handle(Event::WaitExpired);
        let mut delivered = 0;
        while deliver(&mut a, &mut b) | deliver(&mut b, &mut a) {
            delivered += 1;
            prop_assert!(delivered < 200, "the negotiation does not end: {a:?} {b:?}");
        }
        prop_assert!(a.negotiation.is_settled() && b.negotiation.is_settled(), "{:?} {:?}", a, b);
        prop_assert!(a.connection.agreed.is_some());
        prop_assert_eq!(&a.connection.agreed, &b.connection.agreed);
        prop_assert!(!a.needed && !b.needed);
    }
}

#[test]
fn crossing_offers_are_resolved_by_the_polite_side() {
    let (mut polite, mut impolite) =
        (Side::new('p', Role::Polite, Initiator::Local), Side::new('i', Role::Impolite, Initiator::Local));
    polite.needed = true;
    polite.handle(Event::Resync);
    impolite.needed = true;
    impolite.handle(Event::Resync);
    assert_eq!((polite.out.len(), impolite.out.len()), (2, 2), "each side has sent an offer and a candidate");
    while deliver(&mut polite, &mut impolite) | deliver(&mut impolite, &mut polite) {}
    assert_eq!(polite.connection.agreed, impolite.connection.agreed);
    assert!(polite.offers >= 2, "the rolled-back offer is made again");
    assert_eq!(impolite.offers, 1);
}

#[test]
fn early_candidates_wait_for_the_description() {
    let mut negotiation = Negotiation::new(Role::Polite, Initiator::Remote);
    assert_eq!(negotiation.handle(Event::Candidate(candidate("early".into()))), []);
    let offer = description(DescriptionKind::Offer, "o".into());
    let steps = negotiation.handle(Event::Description(offer.clone()));
    assert_eq!(steps, [Step::Accept(offer), Step::AddCandidate(candidate("early".into()))]);
}

#[test]
fn local_side_offers_when_the_remote_initiator_times_out() {
    let mut negotiation = Negotiation::new(Role::Impolite, Initiator::Remote);
    assert_eq!(negotiation.handle(Event::NegotiationNeeded), []);
    assert_eq!(negotiation.handle(Event::WaitExpired), [Step::Offer]);
}
