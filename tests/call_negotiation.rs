//! Two negotiations against each other, over a network that delays and loses everything at will.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::VecDeque;

use noom::client::call::negotiation::{Event, Negotiation, Step};
use noom::protocol::call::{Candidate, Description, DescriptionKind};
use proptest::prelude::*;

fn description(kind: DescriptionKind, sdp: String) -> Description {
    Description { kind, sdp }
}

fn candidate(line: String) -> Option<Candidate> {
    Some(Candidate { candidate: line, sdp_mid: None, sdp_m_line_index: None })
}

/// A browser's connection, as far as negotiation goes (JSEP, RFC 8829): its state, and which
/// descriptions stand. It refuses what a browser refuses.
#[derive(Debug, Default)]
struct Connection {
    local: Option<Description>,
    /// An offer that waits for its answer.
    offered: Option<Description>,
    remote: Option<Description>,
    /// The offer that both hold to.
    agreed: Option<String>,
    candidates: usize,
}

#[derive(Debug)]
struct Side {
    name: char,
    negotiation: Negotiation,
    connection: Connection,
    /// The browser asks for a negotiation when it is stable again.
    needed: bool,
    /// What it has sent and the other has not received.
    out: VecDeque<Event>,
    /// How many offers it made.
    made: usize,
}

impl Side {
    fn new(name: char, polite: bool, waits: bool) -> Self {
        let negotiation = Negotiation::new(polite, waits);
        Self { name, negotiation, connection: Connection::default(), needed: false, out: VecDeque::new(), made: 0 }
    }

    fn handle(&mut self, event: Event) {
        let steps = self.negotiation.handle(event);
        steps.into_iter().for_each(|step| self.carry_out(step));
        // A browser asks again as soon as it is stable.
        if self.needed && self.connection.offered.is_none() {
            let steps = self.negotiation.handle(Event::Needed);
            self.needed &= steps.is_empty();
            steps.into_iter().for_each(|step| self.carry_out(step));
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Offer => {
                self.made += 1;
                let name = format!("{}{}", self.name, self.made);
                let offer = description(DescriptionKind::Offer, name.clone());
                self.connection.offered = Some(offer.clone());
                self.out.push_back(Event::Description(offer));
                self.out.push_back(Event::Candidate(candidate(name)));
            }
            Step::SendAgain => {
                let connection = &self.connection;
                let last = connection.offered.clone().or(connection.local.clone()).expect("something was made");
                self.out.push_back(Event::Description(last));
            }
            Step::Accept(offer) => {
                assert_eq!(offer.kind, DescriptionKind::Offer);
                let answer = description(DescriptionKind::Answer, offer.sdp.clone());
                let connection = &mut self.connection;
                // Rolled back, what it was for is still needed; otherwise the answer has all there is.
                self.needed = connection.offered.take().is_some();
                connection.agreed = Some(offer.sdp.clone());
                connection.remote = Some(offer);
                connection.local = Some(answer.clone());
                self.out.push_back(Event::Description(answer));
            }
            Step::Complete(answer) => {
                let connection = &mut self.connection;
                let offer = connection.offered.take().expect("an answer is taken to an offer");
                assert_eq!(answer.sdp, offer.sdp, "the answer is to the offer that is out");
                connection.agreed = Some(answer.sdp.clone());
                connection.local = Some(offer);
                connection.remote = Some(answer);
            }
            Step::Add(_) => {
                assert!(self.connection.remote.is_some(), "a candidate is added to a description");
                self.connection.candidates += 1;
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Move {
    /// One side changes a track.
    Change(bool),
    /// One frame of one side arrives.
    Deliver(bool),
    /// The time that a newcomer is given is over.
    Wait(bool),
    /// The connection to the server breaks: what is on its way is lost, both begin anew.
    Cut,
    /// The server refuses the next frame of one side, and says so.
    Refuse(bool),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => any::<bool>().prop_map(Move::Change),
        8 => any::<bool>().prop_map(Move::Deliver),
        1 => any::<bool>().prop_map(Move::Wait),
        1 => Just(Move::Cut),
        1 => any::<bool>().prop_map(Move::Refuse),
    ];
    prop::collection::vec(one, 0..60)
}

/// Refused is the first description on its way, and nobody sends another meanwhile.
fn refuse(side: &mut Side) {
    if side.out.len() == 1 && matches!(side.out[0], Event::Description(_)) {
        side.out.clear();
        side.handle(Event::Refused);
    }
}

fn deliver(from: &mut Side, to: &mut Side) -> bool {
    let Some(event) = from.out.pop_front() else { return false };
    to.handle(event);
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_happens_both_sides_agree_in_the_end(moves in moves(), a_is_polite: bool, b_waits: bool) {
        let mut a = Side::new('a', a_is_polite, false);
        let mut b = Side::new('b', !a_is_polite, b_waits);
        for step in moves {
            match step {
                Move::Change(true) => { a.needed = true; a.handle(Event::Candidate(None)); }
                Move::Change(false) => { b.needed = true; b.handle(Event::Candidate(None)); }
                Move::Deliver(true) => drop(deliver(&mut a, &mut b)),
                Move::Deliver(false) => drop(deliver(&mut b, &mut a)),
                Move::Wait(true) => a.handle(Event::Waited),
                Move::Wait(false) => b.handle(Event::Waited),
                Move::Refuse(true) => refuse(&mut a),
                Move::Refuse(false) => refuse(&mut b),
                Move::Cut => {
                    a.out.clear();
                    b.out.clear();
                    a.handle(Event::Resync);
                    b.handle(Event::Resync);
                }
            }
        }
        // A last change of each, and then all arrives.
        a.needed = true;
        b.needed = true;
        a.handle(Event::Waited);
        b.handle(Event::Waited);
        let mut delivered = 0;
        while deliver(&mut a, &mut b) | deliver(&mut b, &mut a) {
            delivered += 1;
            prop_assert!(delivered < 200, "they go on for ever: {a:?} {b:?}");
        }
        prop_assert!(a.negotiation.is_settled() && b.negotiation.is_settled(), "{:?} {:?}", a, b);
        prop_assert!(a.connection.agreed.is_some());
        prop_assert_eq!(&a.connection.agreed, &b.connection.agreed);
        prop_assert!(!a.needed && !b.needed);
    }
}

#[test]
fn when_both_offer_at_once_the_polite_one_gives_way() {
    let (mut polite, mut impolite) = (Side::new('p', true, false), Side::new('i', false, false));
    polite.needed = true;
    polite.handle(Event::Resync);
    impolite.needed = true;
    impolite.handle(Event::Resync);
    assert_eq!((polite.out.len(), impolite.out.len()), (2, 2), "each has sent an offer and a candidate");
    while deliver(&mut polite, &mut impolite) | deliver(&mut impolite, &mut polite) {}
    assert_eq!(polite.connection.agreed, impolite.connection.agreed);
    assert!(polite.made >= 2, "what was taken back is offered again");
    assert_eq!(impolite.made, 1);
}

#[test]
fn candidates_that_come_early_wait_for_the_description() {
    let mut negotiation = Negotiation::new(true, true);
    assert_eq!(negotiation.handle(Event::Candidate(candidate("early".into()))), []);
    let offer = description(DescriptionKind::Offer, "o".into());
    let steps = negotiation.handle(Event::Description(offer.clone()));
    assert_eq!(steps, [Step::Accept(offer), Step::Add(candidate("early".into()))]);
}

#[test]
fn whoever_was_there_first_lets_the_newcomer_begin_but_not_for_ever() {
    let mut negotiation = Negotiation::new(false, true);
    assert_eq!(negotiation.handle(Event::Needed), []);
    assert_eq!(negotiation.handle(Event::Waited), [Step::Offer]);
}
