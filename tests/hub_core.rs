//! The pure hub against a model that is obviously right: random inputs, replayed from a seed.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use noom::protocol::{Ack, CloseCode, ErrorCode, Message, MessageKey, ServerFrame, User, UserId};
use noom::server::hub::core::{
    Author, ConnId, Core, GATE_KEEPS, GRACE, History, Input, Output, RoomId, Stored, TYPING_EVERY,
};
use noom::server::name_key::Nick;
use proptest::prelude::*;

/// A link that keeps what it is sent, and why it was closed.
#[derive(Clone, Debug, Default)]
struct Ear(Rc<RefCell<Vec<ServerFrame>>>, Rc<Cell<Option<CloseCode>>>);

impl Ear {
    fn take(&self) -> Vec<ServerFrame> {
        self.0.take()
    }
}

/// A core with a store that is a list, driven by hand: the test says when a commit is seen by
/// readers, and when the core hears of it.
struct World {
    core: Core<Ear>,
    now: Instant,
    ears: BTreeMap<ConnId, Ear>,
    /// What is committed: readers see it.
    log: BTreeMap<RoomId, Vec<Message>>,
    /// What was handed to the store and is not committed yet.
    queue: Vec<(Author<Ear>, RoomId, Message)>,
    /// What is committed and not told to the core yet.
    untold: Vec<(Author<Ear>, RoomId, Message)>,
    next_key: u128,
}

impl World {
    fn new() -> Self {
        Self {
            core: Core::default(),
            now: Instant::now(),
            ears: BTreeMap::new(),
            log: BTreeMap::new(),
            queue: Vec::new(),
            untold: Vec::new(),
            next_key: 0,
        }
    }

    fn handle(&mut self, input: Input<Ear>) -> Result<(), ErrorCode> {
        let result = self.core.handle(self.now, input);
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Append { author, room, name, user, key, text } => {
                    let message = Message { room: name.to_string(), seq: 0, key, user, text, at: 0 };
                    self.queue.push((author, room, message));
                }
                Output::Send { to, frame } => to.0.borrow_mut().push(frame),
                Output::Broadcast { room, except, frame } => {
                    self.core.audience(room, except, &frame).for_each(|ear| ear.0.borrow_mut().push(frame.clone()));
                }
                Output::Close { link, code } => link.1.set(Some(code)),
                Output::Answer { .. } | Output::Count { .. } => {}
            }
        }
        result
    }

    fn ear(&mut self, conn: u64) -> Ear {
        self.ears.entry(ConnId(conn)).or_default().clone()
    }

    fn enter(&mut self, conn: u64, user: u64, name: &str, room: i64) -> Result<(), ErrorCode> {
        let link = self.ear(conn);
        let nick = Nick::unchecked(name.to_owned());
        let (conn, user, room) = (ConnId(conn), UserId(user), RoomId(room));
        self.handle(Input::Enter { conn, link, user, nick, room, name: Arc::from(format!("room {}", room.0)) })
    }

    /// Reads the history as the store does and opens the gate with it, resuming after `after`.
    fn open(&mut self, conn: u64, room: i64, after: u64) {
        let log = self.log.entry(RoomId(room)).or_default();
        let messages = log.iter().filter(|message| message.seq > after).cloned().collect();
        let history = History { head: log.len() as u64, messages, recovered: true, ..History::default() };
        self.handle(Input::Opened { conn: ConnId(conn), room: RoomId(room), id: Some(1), history, call: vec![] })
            .unwrap();
    }

    fn enter_and_open(&mut self, conn: u64, user: u64, name: &str, room: i64) {
        self.enter(conn, user, name, room).unwrap();
        self.open(conn, room, 0);
    }

    fn post(&mut self, conn: u64, room: i64, text: &str) -> Result<(), ErrorCode> {
        self.next_key += 1;
        let key = MessageKey(self.next_key);
        self.handle(Input::Post { conn: ConnId(conn), room: RoomId(room), id: Some(7), key, text: text.to_owned() })
    }

    fn commit(&mut self) {
        for (author, room, mut message) in std::mem::take(&mut self.queue) {
            let log = self.log.entry(room).or_default();
            message.seq = log.len() as u64 + 1;
            log.push(message.clone());
            self.untold.push((author, room, message));
        }
    }

    fn tell(&mut self) {
        for (author, room, message) in std::mem::take(&mut self.untold) {
            self.handle(Input::Stored { author, room, outcome: Ok(Stored { message, dup: false }) }).unwrap();
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.handle(Input::Tick).unwrap();
    }

    fn heard(&mut self, conn: u64) -> Vec<String> {
        self.ear(conn).take().iter().map(describe).collect()
    }
}

fn describe(frame: &ServerFrame) -> String {
    let name = |user: &User| user.nickname.clone();
    match frame {
        ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. } => {
            let seqs: Vec<_> = ack.messages.iter().map(|message| message.seq).collect();
            format!("entered with {} after {seqs:?}", ack.members.iter().map(name).collect::<Vec<_>>().join("+"))
        }
        ServerFrame::Ack { ack: Ack::NewMessage(ack), .. } => format!("stored {}", ack.seq),
        ServerFrame::Welcome(presence) => format!("welcome {} {}", name(&presence.user), presence.count),
        ServerFrame::Bye(presence) => format!("bye {} {}", name(&presence.user), presence.count),
        ServerFrame::Nickname(renamed) => format!("nickname {}", name(&renamed.user)),
        ServerFrame::NewMessage(message) => format!("{}: {}", message.seq, message.text),
        ServerFrame::Typing(typing) => format!("{} is writing", name(&typing.user)),
        ServerFrame::Error { refusal, .. } => format!("error {}", refusal.code),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_message_reaches_everyone_in_the_room_and_its_author_gets_the_ack_first() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ann", 1);
    world.enter_and_open(2, 2, "bob", 1);
    world.enter_and_open(3, 3, "cat", 2);
    (1..=3).for_each(|conn| drop(world.heard(conn)));
    world.post(1, 1, "hi").unwrap();
    assert!(world.heard(2).is_empty(), "nothing is visible before it is durable");
    world.commit();
    assert!(world.heard(2).is_empty());
    world.tell();
    assert_eq!(world.heard(1), ["stored 1", "1: hi"]);
    assert_eq!(world.heard(2), ["1: hi"]);
    assert!(world.heard(3).is_empty(), "another room");
}

#[test]
fn what_is_said_while_somebody_enters_is_neither_lost_nor_doubled() {
    // The commit falls before or after the history is read, and the core hears of it before or
    // after the gate opens.
    for (committed_before_reading, told_before_opening) in [(true, true), (true, false), (false, false)] {
        let mut world = World::new();
        world.enter_and_open(1, 1, "ann", 1);
        world.enter(2, 2, "bob", 1).unwrap();
        world.post(1, 1, "hi").unwrap();
        if committed_before_reading {
            world.commit();
        }
        if told_before_opening {
            world.tell();
        }
        world.open(2, 1, 0);
        world.commit();
        world.tell();
        let heard = world.heard(2).join(", ");
        let expected = if committed_before_reading {
            "entered with ann+bob after [1]"
        } else {
            "entered with ann+bob after [], 1: hi"
        };
        assert_eq!(heard, expected);
    }
}

#[test]
fn a_reload_is_not_announced_and_a_departure_is_after_the_grace() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ann", 1);
    world.enter_and_open(2, 2, "bob", 1);
    assert_eq!(world.heard(1), ["entered with ann after []", "welcome bob 2"]);
    world.handle(Input::Disconnect { conn: ConnId(2) }).unwrap();
    world.wait(GRACE / 2);
    world.enter_and_open(3, 2, "bob", 1);
    world.wait(GRACE * 2);
    assert!(world.heard(1).is_empty(), "bob reloaded");
    world.handle(Input::Disconnect { conn: ConnId(3) }).unwrap();
    world.wait(GRACE);
    assert_eq!(world.heard(1), ["bye bob 1"]);
}

#[test]
fn a_person_with_two_connections_is_one_person() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ann", 1);
    world.enter_and_open(2, 2, "bob", 1);
    world.heard(1);
    world.enter_and_open(3, 2, "bob", 1);
    world.handle(Input::Leave { conn: ConnId(2), room: RoomId(1) }).unwrap();
    assert!(world.heard(1).is_empty());
    assert_eq!(world.core.members(RoomId(1)).len(), 2);
    world.handle(Input::Leave { conn: ConnId(3), room: RoomId(1) }).unwrap();
    assert_eq!(world.heard(1), ["bye bob 1"], "at once, because it was said");
}

#[test]
fn entering_again_tells_the_others_nothing() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ann", 1);
    world.enter_and_open(2, 2, "bob", 1);
    world.heard(1);
    world.enter_and_open(2, 2, "bob", 1);
    assert!(world.heard(1).is_empty());
    assert_eq!(world.heard(2), ["entered with ann+bob after []", "entered with ann+bob after []"]);
}

#[test]
fn the_others_hear_that_somebody_writes_and_nobody_else() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ann", 1);
    world.enter_and_open(2, 1, "ann", 1);
    world.enter_and_open(3, 2, "bob", 1);
    world.enter_and_open(4, 3, "cat", 2);
    (1..=4).for_each(|conn| drop(world.heard(conn)));
    let typing = |conn| Input::Typing { conn: ConnId(conn), room: RoomId(1) };
    world.handle(typing(1)).unwrap();
    assert_eq!(world.handle(typing(4)), Err(ErrorCode::NotInRoom));
    let heard: Vec<_> = (1..=4).map(|conn| world.heard(conn)).collect();
    assert_eq!(heard, [vec![], vec![], vec!["ann is writing".to_owned()], vec![]]);
    // Who says it at every letter is heard as if it was said now and then.
    (0..5).for_each(|_| world.handle(typing(1)).unwrap());
    assert!(world.heard(3).is_empty());
    world.wait(TYPING_EVERY);
    (0..5).for_each(|_| world.handle(typing(1)).unwrap());
    assert_eq!(world.heard(3).len(), 1);
    world.post(1, 1, "said").unwrap();
    world.handle(typing(1)).unwrap();
    assert_eq!(world.heard(3), ["ann is writing"], "something else, after what was said");
}

#[test]
fn a_gate_that_stays_shut_keeps_only_so_much_and_then_the_reader_comes_back() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ann", 1);
    world.enter(2, 2, "bob", 1).unwrap();
    for n in 0..=GATE_KEEPS {
        assert_eq!(world.ear(2).1.get(), None, "after {n}");
        world.post(1, 1, "hi").unwrap();
        world.commit();
        world.tell();
    }
    assert_eq!(world.ear(2).1.get(), Some(CloseCode::SlowConsumer));
    assert_eq!(world.ear(1).1.get(), None);
}

#[test]
fn names_are_unique_in_a_room_and_free_again_afterwards() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ocean", 1);
    assert_eq!(world.enter(2, 2, "Ocean", 1), Err(ErrorCode::NickTaken));
    assert_eq!(world.enter(2, 2, "осеаn", 1), Err(ErrorCode::NickConfusable));
    assert_eq!(world.post(2, 1, "x"), Err(ErrorCode::NotInRoom), "nothing was done");
    world.enter_and_open(2, 2, "Ocean", 2);
    let nick = |name: &str| Nick::unchecked(name.to_owned());
    let rename = |user, name| Input::Rename { user: UserId(user), nick: nick(name), asker: None };
    world.heard(1);
    world.handle(rename(1, "river")).unwrap();
    assert_eq!(world.heard(1), ["nickname river"]);
    world.enter_and_open(3, 2, "Ocean", 1);
    assert_eq!(world.handle(rename(1, "OCEAN")), Err(ErrorCode::NickTaken));
    assert_eq!(world.handle(rename(2, "River")), Err(ErrorCode::NickTaken), "one room of several is enough");
}

#[test]
fn an_empty_room_leaves_memory_after_a_while() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ann", 1);
    world.handle(Input::Leave { conn: ConnId(1), room: RoomId(1) }).unwrap();
    world.wait(Duration::from_secs(59));
    assert_eq!(world.core.sizes(), (1, 0));
    world.wait(Duration::from_secs(1));
    assert_eq!(world.core.sizes(), (0, 0));
}

#[test]
fn a_refused_message_is_answered_and_shown_to_nobody() {
    let mut world = World::new();
    world.enter_and_open(1, 1, "ann", 1);
    world.enter_and_open(2, 2, "bob", 1);
    (1..=2).for_each(|conn| drop(world.heard(conn)));
    world.post(1, 1, "hi").unwrap();
    let (author, room, _) = world.queue.pop().unwrap();
    world.handle(Input::Stored { author, room, outcome: Err(ErrorCode::StoreUnavailable.into()) }).unwrap();
    assert_eq!(world.heard(1), ["error STORE_UNAVAILABLE"]);
    assert!(world.heard(2).is_empty());
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Enter { conn: u64, room: i64 },
    Open { conn: u64, room: i64 },
    Leave { conn: u64, room: i64 },
    Disconnect { conn: u64 },
    Post { conn: u64, room: i64 },
    Commit,
    Tell,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (conn, room) = (1..=6_u64, 1..=2_i64);
    let both = (conn.clone(), room);
    let step = prop_oneof![
        3 => both.clone().prop_map(|(conn, room)| Step::Enter { conn, room }),
        4 => both.clone().prop_map(|(conn, room)| Step::Open { conn, room }),
        1 => both.clone().prop_map(|(conn, room)| Step::Leave { conn, room }),
        1 => conn.prop_map(|conn| Step::Disconnect { conn }),
        5 => both.prop_map(|(conn, room)| Step::Post { conn, room }),
        2 => Just(Step::Commit),
        2 => Just(Step::Tell),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

/// What the model knows of one connection in one room.
#[derive(Default)]
struct Seen {
    gated: bool,
    /// The last message it was given or heard.
    seq: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two connections per person; whatever happens, everyone in a room sees its messages without
    /// gap or repetition, presence frames agree with who is there, and at the end nothing is left.
    #[test]
    fn everyone_sees_every_message_once_and_in_order(steps in steps()) {
        let mut world = World::new();
        let mut seats: BTreeMap<(u64, i64), Seen> = BTreeMap::new();
        let user = |conn: u64| conn.div_ceil(2);
        for step in steps {
            match step {
                Step::Enter { conn, room } => {
                    world.enter(conn, user(conn), &format!("person {}", user(conn)), room).unwrap();
                    seats.entry((conn, room)).or_default().gated = true;
                }
                Step::Open { conn, room } => {
                    if let Some(seen) = seats.get_mut(&(conn, room)).filter(|seen| seen.gated) {
                        seen.gated = false;
                        let after = seen.seq;
                        world.open(conn, room, after);
                    }
                }
                Step::Leave { conn, room } => {
                    let was_in = seats.remove(&(conn, room)).is_some();
                    prop_assert_eq!(world.handle(Input::Leave { conn: ConnId(conn), room: RoomId(room) }).is_ok(), was_in);
                }
                Step::Disconnect { conn } => {
                    world.handle(Input::Disconnect { conn: ConnId(conn) }).unwrap();
                    seats.retain(|(own, _), _| *own != conn);
                }
                Step::Post { conn, room } => {
                    let result = world.post(conn, room, "text");
                    prop_assert_eq!(result.is_ok(), seats.contains_key(&(conn, room)));
                }
                Step::Commit => world.commit(),
                Step::Tell => world.tell(),
                Step::Wait => world.wait(GRACE),
            }
            for conn in 1..=6 {
                for frame in world.ear(conn).take() {
                    let (room, seqs) = match &frame {
                        ServerFrame::NewMessage(message) => (&message.room, vec![message.seq]),
                        ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. } => {
                            (&ack.room, ack.messages.iter().map(|message| message.seq).collect())
                        }
                        _ => continue,
                    };
                    let room: i64 = room.strip_prefix("room ").unwrap().parse().unwrap();
                    let seen = seats.get_mut(&(conn, room));
                    prop_assert!(seen.is_some(), "conn {} hears of room {} that it is not in", conn, room);
                    let seen = seen.unwrap();
                    for seq in seqs {
                        prop_assert_eq!(seq, seen.seq + 1, "conn {} in room {}", conn, room);
                        seen.seq = seq;
                    }
                }
            }
        }
        // Everything is committed and told: whoever is in with an open gate has seen it all.
        world.commit();
        world.tell();
        for ((conn, room), seen) in &seats {
            let heard = world.ear(*conn).0.borrow().iter().filter_map(|frame| match frame {
                ServerFrame::NewMessage(message) if message.room == format!("room {room}") => Some(message.seq),
                _ => None,
            }).max().unwrap_or(seen.seq);
            if !seen.gated {
                prop_assert_eq!(heard as usize, world.log.get(&RoomId(*room)).map_or(0, Vec::len));
            }
        }
        // The members are the people with an open gate, now or in the last moments.
        for room in 1..=2 {
            let open: BTreeSet<_> = seats.iter().filter(|((_, own), seen)| *own == room && !seen.gated).map(|((conn, _), _)| UserId(user(*conn))).collect();
            let members: BTreeSet<_> = world.core.members(RoomId(room)).into_iter().map(|user| user.id).collect();
            prop_assert!(open.is_subset(&members));
        }
        for conn in 1..=6 {
            world.handle(Input::Disconnect { conn: ConnId(conn) }).unwrap();
        }
        world.wait(GRACE);
        world.wait(Duration::from_secs(60));
        prop_assert_eq!(world.core.sizes(), (0, 0));
    }
}
