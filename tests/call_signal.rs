//! The pure signalling machine against a model that is obviously right: every state that two or three clients can
//! reach, each with every next step; and long random runs.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use noom::protocol::call::{Description, DescriptionKind, Media};
use noom::protocol::{Ack, ErrorCode, MAX_CALL_PEERS, PeerId, ServerFrame, User, UserId};
use noom::server::call::signal::{Calls, Input, Join, Signal};
use noom::server::hub::core::{Audience, Effect, GRACE, Output, SeatId};
use noom::server::id::{ConnId, RoomId, RoomRow};
use proptest::prelude::*;

const ROOM: RoomId = RoomId(0x70c0);

/// An action of a client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Join(usize),
    Leave(usize),
    /// The page is closed.
    Close(usize),
    /// The connection breaks.
    Cut(usize),
    /// It joins over a new connection and asks for its earlier slot; the old connection may still be open.
    Return(usize),
    Offer(usize, usize),
    Answer(usize, usize),
    Ice(usize, usize),
    Media(usize),
    /// More than the grace period passes.
    Wait,
}

/// The state of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Is {
    Out,
    In,
    Away,
}

/// The expected state of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Model {
    clients: Vec<Is>,
    offers: BTreeSet<(usize, usize)>,
}

/// The machine, driven beside its model.
#[derive(Clone)]
struct World {
    calls: Calls<ConnId>,
    now: Instant,
    model: Model,
    /// Each client's connection.
    conns: Vec<ConnId>,
    next_conn: u64,
    media: Media,
}

fn peer(client: usize) -> PeerId {
    PeerId(client as u64 + 1)
}

fn user(client: usize) -> User {
    User { id: UserId(client as u64 + 100), nickname: format!("user {client}") }
}

fn description(kind: DescriptionKind) -> Description {
    Description { kind, sdp: "v=0".into() }
}

impl World {
    fn new(clients: usize) -> Self {
        Self {
            calls: Calls::default(),
            now: Instant::now(),
            model: Model { clients: vec![Is::Out; clients], offers: BTreeSet::new() },
            conns: (0..clients as u64).map(ConnId).collect(),
            next_conn: clients as u64,
            media: Media::default(),
        }
    }

    fn is(&self, client: usize) -> Is {
        self.model.clients[client]
    }

    fn join_input(&self, client: usize, wanted: Option<PeerId>) -> Join<ConnId> {
        Join {
            conn: self.conns[client],
            outbox: self.conns[client],
            user: user(client),
            room: RoomRow { id: ROOM, number: 1, name: "room".into() },
            wanted,
            fresh: peer(client),
            id: Some(7),
            ice_servers: Vec::new(),
            ice_seconds: None,
        }
    }

    fn seat(&self, client: usize) -> SeatId {
        SeatId { conn: self.conns[client], room: ROOM }
    }

    fn gone(&mut self, client: usize) {
        self.model.clients[client] = Is::Out;
        self.model.offers.retain(|(from, to)| *from != client && *to != client);
    }

    /// Takes a step, compares the answer with the model's, and checks every frame that is sent.
    fn step(&mut self, step: Step) {
        let before = self.model.clone();
        let old_conns = self.conns.clone();
        let expected = self.expect(step);
        let input = match step {
            Step::Join(client) => Input::Join(self.join_input(client, None)),
            Step::Return(client) => Input::Join(self.join_input(client, Some(peer(client)))),
            Step::Leave(client) => Input::Leave(self.seat(client)),
            Step::Close(client) => Input::Disconnect { conn: old_conns[client], clean_close: true },
            Step::Cut(client) => Input::Disconnect { conn: old_conns[client], clean_close: false },
            Step::Offer(from, to) => self.signal(from, to, Signal::Offer(description(DescriptionKind::Offer))),
            Step::Answer(from, to) => self.signal(from, to, Signal::Answer(description(DescriptionKind::Answer))),
            Step::Ice(from, to) => self.signal(from, to, Signal::Ice(None)),
            Step::Media(client) => {
                self.media.audio = !self.media.audio;
                Input::SetMedia(self.seat(client), self.media)
            }
            Step::Wait => Input::Tick,
        };
        assert_eq!(self.calls.handle(self.now, input), expected, "{step:?} in {before:?}");

        let (mut sent, mut counted) = (Vec::new(), None);
        while let Some(output) = self.calls.poll_output() {
            match output {
                Output::Send(to, frame) => {
                    self.check_receiver(step, &before, &old_conns, to, &frame);
                    sent.push(frame);
                }
                // Everyone in the room may know the members of the call, and nothing else.
                Output::Broadcast(broadcast) => {
                    let frame = broadcast.frame;
                    assert!(matches!(broadcast.audience, Audience::Everyone(_)));
                    assert!(matches!(frame, ServerFrame::CallJoined(_) | ServerFrame::CallLeft(_)), "{frame:?}");
                    sent.push(frame);
                }
                Output::Effect(Effect::CallCount(_, count)) => counted = Some(count),
                other @ (Output::Entered(..)
                | Output::Deliver(..)
                | Output::DeliverChange(..)
                | Output::Close(..)
                | Output::Effect(_)) => {
                    panic!("{other:?}")
                }
            }
        }
        if expected.is_err() {
            assert!(sent.is_empty(), "{step:?} was refused, and {sent:?} sent");
        }
        let present: BTreeSet<_> = self.calls.peers(ROOM).iter().map(|peer| peer.peer).collect();
        let modelled: BTreeSet<_> =
            (0..self.model.clients.len()).filter(|client| self.is(*client) != Is::Out).map(peer).collect();
        assert_eq!(present, modelled, "after {step:?} in {before:?}");
        assert!(counted.is_none_or(|count| count == present.len() as u64), "the last count is right");
    }

    fn signal(&self, from: usize, to: usize, signal: Signal) -> Input<ConnId> {
        Input::Signal(self.seat(from), peer(to), signal)
    }

    /// The expected outcome. Advances the model.
    fn expect(&mut self, step: Step) -> Result<(), ErrorCode> {
        let present = self.model.clients.iter().filter(|is| **is != Is::Out).count();
        match step {
            Step::Join(client) | Step::Return(client) => {
                if self.is(client) != Is::In || matches!(step, Step::Return(_)) {
                    if self.is(client) == Is::Out && present >= MAX_CALL_PEERS {
                        return Err(ErrorCode::CallFull);
                    }
                    self.conns[client] = ConnId(self.next_conn);
                    self.next_conn += 1;
                }
                if matches!(step, Step::Join(_)) && self.is(client) == Is::Away {
                    // The earlier slot is given up unless it is requested.
                    self.gone(client);
                }
                self.model.clients[client] = Is::In;
            }
            Step::Leave(client) if self.is(client) == Is::In => self.gone(client),
            Step::Leave(_) => return Err(ErrorCode::NotInCall),
            Step::Close(client) => {
                if self.is(client) == Is::In {
                    self.gone(client);
                }
            }
            Step::Cut(client) => {
                if self.is(client) == Is::In {
                    self.model.clients[client] = Is::Away;
                }
            }
            Step::Offer(from, to) | Step::Answer(from, to) | Step::Ice(from, to) => {
                if self.is(from) != Is::In || self.is(to) == Is::Out {
                    return Err(ErrorCode::NotInCall);
                }
                if from == to {
                    return Err(ErrorCode::BadCallState);
                }
                match step {
                    Step::Offer(..) => {
                        self.model.offers.insert((from, to));
                    }
                    Step::Answer(..) => {
                        if !self.model.offers.remove(&(to, from)) {
                            return Err(ErrorCode::BadCallState);
                        }
                        self.model.offers.remove(&(from, to));
                    }
                    _ => {}
                }
            }
            Step::Media(client) if self.is(client) == Is::In => {}
            Step::Media(_) => return Err(ErrorCode::NotInCall),
            Step::Wait => {
                self.now += GRACE + Duration::from_millis(1);
                for client in 0..self.model.clients.len() {
                    if self.is(client) == Is::Away {
                        self.gone(client);
                    }
                }
            }
        }
        Ok(())
    }

    /// A signal reaches the peer that it is for, between two peers that are in the call.
    fn check_receiver(&self, step: Step, before: &Model, old: &[ConnId], to: ConnId, frame: &ServerFrame) {
        let client_at = |conn: ConnId| self.conns.iter().position(|own| *own == conn);
        match (step, frame) {
            (Step::Offer(from, target) | Step::Answer(from, target) | Step::Ice(from, target), frame) => {
                assert_eq!((before.clients[from], before.clients[target]), (Is::In, Is::In));
                assert_eq!(client_at(to), Some(target), "{step:?} reaches only {target}");
                let sender = match frame {
                    ServerFrame::Offer(sent) | ServerFrame::Answer(sent) => sent.peer,
                    ServerFrame::Ice(sent) => sent.peer,
                    other => panic!("{step:?} became {other:?}"),
                };
                assert_eq!(sender, peer(from), "the sender is not forged");
            }
            (Step::Media(from), ServerFrame::Media(sent)) => {
                let client = client_at(to).unwrap();
                assert!(before.clients[client] == Is::In && client != from);
                assert_eq!(sent.peer, Some(peer(from)));
            }
            (Step::Join(client) | Step::Return(client), ServerFrame::Ack { ack: Ack::JoinCall(ack), .. }) => {
                assert_eq!((client_at(to), ack.peer), (Some(client), peer(client)));
                assert!(ack.peers.iter().all(|other| other.peer != ack.peer));
            }
            // The connection whose slot another one took over.
            (Step::Return(client), ServerFrame::CallLeft(sent)) => {
                assert_eq!((before.clients[client], to, sent.peer), (Is::In, old[client], peer(client)));
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// From this state every client can join, and every two can negotiate.
    fn check_recovery(&self) {
        let mut world = self.clone();
        let clients = world.model.clients.len();
        (0..clients).for_each(|client| world.step(Step::Return(client)));
        for (a, b) in (0..clients).flat_map(|a| (0..clients).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            world.step(Step::Offer(a, b));
            world.step(Step::Answer(b, a));
        }
    }

    /// From this state nothing is left in memory when all clients have left.
    fn check_end(&self) {
        for end in [Step::Cut as fn(usize) -> Step, Step::Close] {
            let mut world = self.clone();
            (0..world.model.clients.len()).for_each(|client| world.step(end(client)));
            world.step(Step::Wait);
            assert!(world.calls.is_empty(), "left over: {:?}", world.calls);
        }
    }
}

fn steps(clients: usize) -> Vec<Step> {
    let alone = [Step::Join, Step::Leave, Step::Close, Step::Cut, Step::Return, Step::Media];
    let between = [Step::Offer, Step::Answer, Step::Ice];
    let mut steps = vec![Step::Wait];
    for a in 0..clients {
        steps.extend(alone.map(|step: fn(usize) -> Step| step(a)));
        for b in 0..clients {
            steps.extend(between.map(|step: fn(usize, usize) -> Step| step(a, b)));
        }
    }
    steps
}

/// Visits every reachable state and takes every step from there.
fn explore(clients: usize) -> usize {
    let mut seen = HashMap::new();
    let mut open = VecDeque::from([World::new(clients)]);
    while let Some(world) = open.pop_front() {
        if seen.insert(world.model.clone(), ()).is_some() {
            continue;
        }
        world.check_recovery();
        world.check_end();
        for step in steps(clients) {
            let mut next = world.clone();
            next.step(step);
            if !seen.contains_key(&next.model) {
                open.push_back(next);
            }
        }
    }
    seen.len()
}

#[test]
fn two_clients_keep_promises_in_every_state() {
    // Each is in, out or away; and two that are present can have any combination of offers.
    assert_eq!(explore(2), 3 * 3 - 4 + 4 * 4);
}

#[test]
fn three_clients_keep_promises_in_every_state() {
    assert!(explore(3) > 500);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn long_random_runs_keep_promises(run in prop::collection::vec(0..steps(3).len(), 1..80)) {
        let all = steps(3);
        let mut world = World::new(3);
        run.into_iter().for_each(|index| world.step(all[index]));
        world.check_recovery();
        world.check_end();
    }

    #[test]
    fn call_never_exceeds_its_limit(run in prop::collection::vec(0..steps(8).len(), 1..120)) {
        let all = steps(8);
        let mut world = World::new(8);
        for index in run {
            world.step(all[index]);
            prop_assert!(world.calls.peers(ROOM).len() <= MAX_CALL_PEERS);
        }
        world.check_end();
    }
}

#[test]
fn slot_is_given_back_to_its_user_only() {
    let mut world = World::new(2);
    world.step(Step::Join(0));
    world.step(Step::Cut(0));
    // Another user asks for it.
    let stolen = Join { fresh: PeerId(99), ..world.join_input(1, Some(peer(0))) };
    world.calls.handle(world.now, Input::Join(stolen)).unwrap();
    let peers: Vec<_> = world.calls.peers(ROOM).iter().map(|peer| (peer.peer, peer.user.id)).collect();
    assert_eq!(peers, [(peer(0), user(0).id), (PeerId(99), user(1).id)]);
}

#[test]
fn tabs_of_one_user_cannot_fill_a_call() {
    let mut world = World::new(8);
    let mut left = Vec::new();
    for tab in 0..6 {
        let join = Join { user: user(0), ..world.join_input(tab, None) };
        world.calls.handle(world.now, Input::Join(join)).unwrap();
        while let Some(output) = world.calls.poll_output() {
            if let Output::Send(outbox, frame) = output
                && let ServerFrame::CallLeft(presence) = frame
            {
                left.push((outbox, presence.peer));
            }
        }
    }
    let peers: Vec<_> = world.calls.peers(ROOM).iter().map(|other| other.peer).collect();
    assert_eq!(peers, [peer(4), peer(5)], "the two latest");
    let told: Vec<_> = (0..4).map(|tab| (world.conns[tab], peer(tab))).collect();
    assert_eq!(left, told, "each earlier tab is told that it has left");
    let bob = world.join_input(7, None);
    assert_eq!(world.calls.handle(world.now, Input::Join(bob)), Ok(()));
}
