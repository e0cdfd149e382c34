//! The hub's core: bytes are the actions of six connections of three users in two rooms.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use noom::protocol::{Ack, Message, MessageKey, Position, ServerFrame, UserId};
use noom::server::history::History;
use noom::server::hub::core::{Core, EMPTY_ROOM_STAYS, Effect, Enter, GRACE, Input, Output, Rename, SeatId};
use noom::server::id::{ConnId, RoomId, RoomRow};
use noom::server::name_key::Nick;

/// An outbox that keeps its frames.
#[derive(Clone, Debug, Default)]
struct FakeOutbox(Rc<RefCell<Vec<ServerFrame>>>);

#[derive(Default)]
struct World {
    core: Core<FakeOutbox>,
    waited: Duration,
    outboxes: BTreeMap<ConnId, FakeOutbox>,
    /// The last message that each connection in a room has received there.
    seen: BTreeMap<(ConnId, RoomId), u64>,
    /// The committed messages.
    log: BTreeMap<RoomId, Vec<Arc<Message>>>,
    /// Messages that are not committed yet.
    queue: Vec<(RoomId, Message)>,
    /// Messages that are committed and not delivered yet.
    undelivered: Vec<(RoomId, Arc<Message>)>,
}

/// Every connection in a room receives its messages once and in order, no other connection does, and nothing is left in
/// memory when all have gone.
pub fn rooms(bytes: &[u8]) {
    let start = Instant::now();
    let mut world = World::default();
    for step in bytes.chunks_exact(2) {
        world.step(start, step[0], step[1]);
        world.check();
    }
    for conn in 1..=6 {
        world.disconnect(start, ConnId(conn));
    }
    world.commit();
    world.deliver(start);
    for pause in [GRACE, EMPTY_ROOM_STAYS] {
        world.waited += pause;
        world.handle(start, Input::Tick);
    }
    assert_eq!(world.core.sizes(), (0, 0));
}

impl World {
    fn step(&mut self, start: Instant, action: u8, target: u8) {
        let (conn, room) = (ConnId(1 + u64::from(target % 6)), RoomId(1 + u64::from(target / 6 % 2)));
        let (seat, user) = (SeatId { conn, room }, UserId(conn.0.div_ceil(2)));
        match action % 10 {
            0 => self.enter(start, seat, user),
            1 => self.load(start, seat),
            2 => {
                self.handle(start, Input::Leave(seat));
                self.seen.remove(&(conn, room));
            }
            3 => self.disconnect(start, conn),
            4 | 5 => {
                let author = self.core.begin_post(seat);
                assert_eq!(author.is_ok(), self.seen.contains_key(&(conn, room)));
                let Ok(user) = author else { return };
                let (key, text) = (MessageKey(self.queue.len() as u128), "text".to_owned());
                self.queue.push((room, Message::of_text(room, 0, key, user, text, 0)));
            }
            6 => self.commit(),
            7 => self.deliver(start),
            8 => {
                let nick = Nick::unchecked(format!("n{}", target % 7));
                self.handle(start, Input::Rename(Rename { user, nick, asker: Some(conn) }));
            }
            _ => {
                self.waited += Duration::from_millis(u64::from(target) * 20);
                self.handle(start, Input::Tick);
            }
        }
    }

    fn enter(&mut self, start: Instant, SeatId { conn, room }: SeatId, user: UserId) {
        let outbox = self.outboxes.entry(conn).or_default().clone();
        let nick = Nick::unchecked(format!("n{}", user.0));
        let seq = self.seen.get(&(conn, room)).copied().unwrap_or_default();
        let after = Some(Position { epoch: String::new(), seq, rev: 0 });
        let row = RoomRow { id: room, number: 1, name: room.to_string().into() };
        let enter = Enter { conn, outbox, user, nick, room: row, id: Some(1), after };
        if self.handle(start, Input::Enter(enter)) {
            self.seen.entry((conn, room)).or_default();
        }
    }

    fn handle(&mut self, start: Instant, input: Input<FakeOutbox>) -> bool {
        let taken = self.core.handle(start + self.waited, input).is_ok();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(to, frame) => to.0.borrow_mut().push(frame),
                Output::Entered(to, entered) => to.0.borrow_mut().push(entered.into_frame()),
                Output::Broadcast(broadcast) => {
                    let audience = self.core.audience(broadcast.room, broadcast.audience);
                    audience.for_each(|to| to.0.borrow_mut().push(broadcast.frame.clone()));
                }
                Output::Deliver(room, message) => {
                    let frame = ServerFrame::NewMessage((*message).clone());
                    self.core.receivers(room, message.seq).for_each(|to| to.0.borrow_mut().push(frame.clone()));
                }
                Output::DeliverChange(room, change) => {
                    let frame = ServerFrame::MessageChanged((*change).clone());
                    let receivers = self.core.change_receivers(room, change.state.rev);
                    receivers.for_each(|to| to.0.borrow_mut().push(frame.clone()));
                }
                Output::Effect(Effect::Fetch(room, after)) => panic!("a gap in {room:?} after {after:?}"),
                Output::Close(..)
                | Output::Effect(Effect::MemberCount(..) | Effect::CallCount(..) | Effect::Unloaded(_)) => {}
            }
        }
        taken
    }

    /// Reads the history for a connection that waits for it, as late as possible.
    fn load(&mut self, start: Instant, seat: SeatId) {
        let Some(seen) = self.seen.get(&(seat.conn, seat.room)) else { return };
        let log = self.log.entry(seat.room).or_default();
        let messages = log.iter().filter(|message| message.seq > *seen).cloned().collect();
        let history = History { head: log.len() as u64, messages, recovered: true, ..History::default() };
        self.handle(start, Input::HistoryLoaded(seat, history));
    }

    fn disconnect(&mut self, start: Instant, conn: ConnId) {
        self.handle(start, Input::Disconnect(conn));
        self.seen.retain(|(own, _), _| *own != conn);
    }

    fn commit(&mut self) {
        for (room, mut message) in self.queue.drain(..) {
            let log = self.log.entry(room).or_default();
            message.seq = log.len() as u64 + 1;
            let message = Arc::new(message);
            log.push(message.clone());
            self.undelivered.push((room, message));
        }
    }

    fn deliver(&mut self, start: Instant) {
        for (room, message) in std::mem::take(&mut self.undelivered) {
            self.handle(start, Input::Committed(room, message));
        }
    }

    /// Checks the frames that were received since the last step.
    fn check(&mut self) {
        for (conn, outbox) in &self.outboxes {
            for frame in outbox.0.take() {
                match frame {
                    ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. } => {
                        let seen = self.seen.get_mut(&(*conn, ack.room)).expect("an answer in the room");
                        assert_eq!(ack.messages.len() as u64, ack.head - *seen);
                        *seen = ack.head;
                    }
                    ServerFrame::NewMessage(message) => {
                        let seen = self.seen.get_mut(&(*conn, message.room)).expect("a message in the room");
                        assert_eq!(message.seq, *seen + 1);
                        *seen = message.seq;
                    }
                    ServerFrame::Ack { .. }
                    | ServerFrame::MessageChanged(_)
                    | ServerFrame::MessagesExpired(_)
                    | ServerFrame::Welcome(_)
                    | ServerFrame::Bye(_)
                    | ServerFrame::Crowd(_)
                    | ServerFrame::Typing(_)
                    | ServerFrame::Error { .. }
                    | ServerFrame::Nickname(_)
                    | ServerFrame::RoomChange(_)
                    | ServerFrame::RoomUpdate(_)
                    | ServerFrame::MyRoomsChanged(_)
                    | ServerFrame::GoingAway(_)
                    | ServerFrame::CallJoined(_)
                    | ServerFrame::CallLeft(_)
                    | ServerFrame::Offer(_)
                    | ServerFrame::Answer(_)
                    | ServerFrame::Ice(_)
                    | ServerFrame::Media(_) => {}
                }
            }
        }
    }
}
