//! The hub's core: bytes are what six connections of three people do in two rooms.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use noom::protocol::{Ack, Message, MessageKey, ServerFrame, UserId};
use noom::server::hub::core::{Author, ConnId, Core, EMPTY_ROOM_STAYS, GRACE, History, Input, Output, RoomId, Stored};
use noom::server::name_key::Nick;

/// A link that keeps what it is sent.
#[derive(Clone, Debug, Default)]
struct Ear(Rc<RefCell<Vec<ServerFrame>>>);

#[derive(Default)]
struct World {
    core: Core<Ear>,
    waited: Duration,
    ears: BTreeMap<ConnId, Ear>,
    /// Who is in which room, and whether behind the gate.
    seats: BTreeMap<(ConnId, RoomId), bool>,
    /// The last message that each was given.
    seen: BTreeMap<(ConnId, RoomId), u64>,
    log: BTreeMap<RoomId, Vec<Message>>,
    /// What the store was given.
    queue: Vec<(Author<Ear>, RoomId, Message)>,
    /// What it has stored and not told.
    untold: Vec<(Author<Ear>, RoomId, Message)>,
}

/// Everyone in a room hears its messages once and in order, nobody else does, and when all have gone
/// nothing is left.
pub fn rooms(bytes: &[u8]) {
    let start = Instant::now();
    let mut world = World::default();
    for step in bytes.chunks_exact(2) {
        world.step(start, step[0], step[1]);
        world.listen();
    }
    for conn in 1..=6 {
        world.disconnect(start, ConnId(conn));
    }
    world.commit();
    world.tell(start);
    for pause in [GRACE, EMPTY_ROOM_STAYS] {
        world.waited += pause;
        world.handle(start, Input::Tick);
    }
    assert_eq!(world.core.sizes(), (0, 0));
}

impl World {
    fn step(&mut self, start: Instant, what: u8, whom: u8) {
        let (conn, room) = (ConnId(1 + u64::from(whom % 6)), RoomId(1 + i64::from(whom / 6 % 2)));
        let user = UserId(conn.0.div_ceil(2));
        match what % 10 {
            0 => {
                let (link, nick) =
                    (self.ears.entry(conn).or_default().clone(), Nick::unchecked(format!("n{}", user.0)));
                let name = Arc::from(room.0.to_string());
                if self.handle(start, Input::Enter { conn, link, user, nick, room, name }) {
                    self.seats.insert((conn, room), true);
                }
            }
            1 => self.open(start, conn, room),
            2 => {
                self.handle(start, Input::Leave { conn, room });
                self.seats.remove(&(conn, room));
            }
            3 => self.disconnect(start, conn),
            4 | 5 => {
                let key = MessageKey(self.queue.len() as u128);
                let text = "text".to_owned();
                let taken = self.handle(start, Input::Post { conn, room, id: Some(7), key, text });
                assert_eq!(taken, self.seats.contains_key(&(conn, room)));
            }
            6 => self.commit(),
            7 => self.tell(start),
            8 => {
                let nick = Nick::unchecked(format!("n{}", whom % 7));
                self.handle(start, Input::Rename { user, nick, asker: Some(conn) });
            }
            _ => {
                self.waited += Duration::from_millis(u64::from(whom) * 20);
                self.handle(start, Input::Tick);
            }
        }
    }

    fn handle(&mut self, start: Instant, input: Input<Ear>) -> bool {
        let taken = self.core.handle(start + self.waited, input).is_ok();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Append { author, room, name, user, key, text } => {
                    self.queue.push((author, room, Message { room: name.to_string(), seq: 0, key, user, text, at: 0 }));
                }
                Output::Send { to, frame } => to.0.borrow_mut().push(frame),
                Output::Broadcast { room, except, frame } => {
                    self.core.audience(room, except, &frame).for_each(|ear| ear.0.borrow_mut().push(frame.clone()));
                }
                Output::Close { .. } | Output::Answer { .. } | Output::Count { .. } => {}
            }
        }
        taken
    }

    /// Reads the history, as late as it can be, and opens the gate with it.
    fn open(&mut self, start: Instant, conn: ConnId, room: RoomId) {
        let Some(gated) = self.seats.get_mut(&(conn, room)).filter(|gated| **gated) else { return };
        *gated = false;
        let head = self.log.get(&room).map_or(0, Vec::len) as u64;
        let history = History { head, ..History::default() };
        self.handle(start, Input::Opened { conn, room, id: Some(1), history, call: vec![] });
    }

    fn disconnect(&mut self, start: Instant, conn: ConnId) {
        self.handle(start, Input::Disconnect { conn });
        self.seats.retain(|(own, _), _| *own != conn);
    }

    fn commit(&mut self) {
        for (author, room, mut message) in self.queue.drain(..) {
            let log = self.log.entry(room).or_default();
            message.seq = log.len() as u64 + 1;
            log.push(message.clone());
            self.untold.push((author, room, message));
        }
    }

    fn tell(&mut self, start: Instant) {
        for (author, room, message) in std::mem::take(&mut self.untold) {
            self.handle(start, Input::Stored { author, room, outcome: Ok(Stored { message, dup: false }) });
        }
    }

    /// Looks at what everyone heard.
    fn listen(&mut self) {
        for (conn, ear) in &self.ears {
            for frame in ear.0.take() {
                match frame {
                    ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. } => {
                        let room = RoomId(ack.room.parse().expect("a room of ours"));
                        assert_eq!(self.seats.get(&(*conn, room)), Some(&false));
                        self.seen.insert((*conn, room), ack.head);
                    }
                    ServerFrame::NewMessage(message) => {
                        let room = RoomId(message.room.parse().expect("a room of ours"));
                        assert_eq!(self.seats.get(&(*conn, room)), Some(&false), "told to who is not in");
                        let seen = self.seen.entry((*conn, room)).or_default();
                        assert_eq!(message.seq, *seen + 1);
                        *seen = message.seq;
                    }
                    _ => {}
                }
            }
        }
    }
}
