//! The pure hub against a model that is obviously right: random inputs, replayed from a seed. And its answers from
//! memory against those of the store.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use noom::protocol::{
    Ack, CROWD, CROWD_ENDS, CloseCode, ErrorCode, MAX_MEMBERS, MembersAck, Message, MessageChange, MessageKey,
    MessageState, Position, ServerFrame, Unrecovered, User, UserId,
};
use noom::server::call::ice::IceSettings;
use noom::server::config::LimitSettings;
use noom::server::environment::SystemEnvironment;
use noom::server::history::{Extent, History};
use noom::server::hub::core::{
    Core, Effect, Enter, Entered, FORM_HOLD, GRACE, Input, Output, Rename, SeatId, TYPING_EVERY,
};
use noom::server::hub::payer::Payer;
use noom::server::hub::tail::MAX_RECENT;
use noom::server::hub::{Hub, NewPost};
use noom::server::id::{ConnId, RoomId, RoomRow};
use noom::server::name_key::{Nick, RoomName};
use noom::server::retention::expire_before;
use noom::server::store::Store;
use proptest::prelude::*;

const EPOCH: &str = "epoch";

/// An outbox that keeps its frames, and the code that it was closed with.
#[derive(Clone, Debug, Default)]
struct FakeOutbox(Rc<RefCell<Vec<ServerFrame>>>, Rc<Cell<Option<CloseCode>>>);

impl FakeOutbox {
    fn push(&self, frame: ServerFrame) {
        self.0.borrow_mut().push(frame);
    }

    fn take(&self) -> Vec<ServerFrame> {
        self.0.take()
    }
}

/// A core with a store that is a list. The test decides when a message is committed, so that readers see it, and when
/// the core learns of it.
struct World {
    core: Core<FakeOutbox>,
    now: Instant,
    outboxes: BTreeMap<ConnId, FakeOutbox>,
    /// The committed messages, by room.
    log: BTreeMap<RoomId, Vec<Arc<Message>>>,
    /// Messages that were handed to the store and are not committed yet.
    queue: Vec<(RoomId, Message)>,
    /// Messages that are committed and not delivered yet.
    undelivered: Vec<(RoomId, Arc<Message>)>,
    /// The number of changes of messages, by room.
    revs: BTreeMap<RoomId, u64>,
    /// Changes that are committed and not delivered yet.
    undelivered_changes: Vec<(RoomId, Arc<MessageChange>)>,
    /// Gaps that the core wants to be read: the last message and the last change before it.
    gaps: Vec<(RoomId, u64, u64)>,
    next_key: u128,
}

impl World {
    fn new() -> Self {
        Self {
            core: Core::default(),
            now: Instant::now(),
            outboxes: BTreeMap::new(),
            log: BTreeMap::new(),
            queue: Vec::new(),
            undelivered: Vec::new(),
            revs: BTreeMap::new(),
            undelivered_changes: Vec::new(),
            gaps: Vec::new(),
            next_key: 0,
        }
    }

    fn handle(&mut self, input: Input<FakeOutbox>) -> Result<(), ErrorCode> {
        let result = self.core.handle(self.now, input);
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(to, frame) => to.push(frame),
                Output::Entered(to, entered) => to.push(entered.into_frame()),
                Output::Broadcast(broadcast) => {
                    let audience = self.core.audience(broadcast.room, broadcast.audience);
                    audience.for_each(|to| to.push(broadcast.frame.clone()));
                }
                Output::Deliver(room, message) => {
                    let frame = ServerFrame::NewMessage((*message).clone());
                    self.core.receivers(room, message.seq).for_each(|to| to.push(frame.clone()));
                }
                Output::DeliverChange(room, change) => {
                    let frame = ServerFrame::MessageChanged((*change).clone());
                    self.core.change_receivers(room, change.state.rev).for_each(|to| to.push(frame.clone()));
                }
                Output::Close(outbox, code) => outbox.1.set(Some(code)),
                Output::Effect(Effect::Fetch(room, after)) => self.gaps.push((room.id, after.up_to, after.rev)),
                Output::Effect(Effect::MemberCount(..) | Effect::CallCount(..) | Effect::Unloaded(_)) => {}
            }
        }
        result
    }

    fn outbox(&mut self, conn: u64) -> FakeOutbox {
        self.outboxes.entry(ConnId(conn)).or_default().clone()
    }

    fn enter(&mut self, conn: u64, user: u64, name: &str, room: u64) -> Result<(), ErrorCode> {
        self.resume(conn, user, name, room, None)
    }

    fn resume(&mut self, conn: u64, user: u64, name: &str, room: u64, after: Option<u64>) -> Result<(), ErrorCode> {
        let outbox = self.outbox(conn);
        let nick = Nick::unchecked(name.to_owned());
        let room = RoomRow { id: RoomId(room), number: room as i64, name: Arc::from(format!("room {room}")) };
        let after = after.map(|seq| Position { epoch: EPOCH.into(), seq, rev: 0 });
        let (conn, user) = (ConnId(conn), UserId(user));
        self.handle(Input::Enter(Enter { conn, outbox, user, nick, room, id: Some(1), after }))
    }

    /// Reads the history after a message, as the store does.
    fn read(&mut self, room: u64, after: u64) -> History {
        let log = self.log.entry(RoomId(room)).or_default();
        let messages = log.iter().filter(|message| message.seq > after).cloned().collect();
        let (head, rev) = (log.len() as u64, self.revs.get(&RoomId(room)).copied().unwrap_or_default());
        History { epoch: EPOCH.into(), head, rev, messages, recovered: true, ..History::default() }
    }

    /// Reads the history for a connection and hands it to the core.
    fn load(&mut self, conn: u64, room: u64, after: u64) {
        let history = self.read(room, after);
        self.handle(Input::HistoryLoaded(seat(conn, room), history)).unwrap();
    }

    fn enter_and_load(&mut self, conn: u64, user: u64, name: &str, room: u64) {
        self.enter(conn, user, name, room).unwrap();
        if self.core.is_loading(seat(conn, room)) {
            self.load(conn, room, 0);
        }
    }

    fn post(&mut self, conn: u64, room: u64, text: &str) -> Result<(), ErrorCode> {
        let user = self.core.begin_post(seat(conn, room))?;
        self.next_key += 1;
        let (key, id, text) = (MessageKey(self.next_key), RoomId(room), text.to_owned());
        self.queue.push((id, Message::of_text(id, 0, key, user, text, 0)));
        Ok(())
    }

    fn commit(&mut self) {
        for (room, mut message) in std::mem::take(&mut self.queue) {
            let log = self.log.entry(room).or_default();
            message.seq = log.len() as u64 + 1;
            let message = Arc::new(message);
            log.push(message.clone());
            self.undelivered.push((room, message));
        }
    }

    /// Edits a committed message. The change is committed at once.
    fn edit(&mut self, room: u64, seq: u64, text: &str) {
        let rev = self.revs.entry(RoomId(room)).or_default();
        *rev += 1;
        let state = MessageState { rev: *rev, edits: 1, edited_at: Some(1), ..MessageState::default() };
        let change = MessageChange { room: RoomId(room), seq, text: Some(text.into()), mentions: None, state };
        Arc::make_mut(&mut self.log.get_mut(&RoomId(room)).unwrap()[seq as usize - 1]).apply(&change);
        self.undelivered_changes.push((RoomId(room), Arc::new(change)));
    }

    fn deliver_changes(&mut self) {
        for (room, change) in std::mem::take(&mut self.undelivered_changes) {
            self.handle(Input::Changed(room, change)).unwrap();
        }
    }

    fn deliver(&mut self) {
        for (room, message) in std::mem::take(&mut self.undelivered) {
            self.handle(Input::Committed(room, message)).unwrap();
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.handle(Input::Tick).unwrap();
    }

    fn received(&mut self, conn: u64) -> Vec<String> {
        self.outbox(conn).take().iter().map(describe).collect()
    }

    /// The revision and the texts in the answer to `enter_room`, and the frames after it.
    fn received_texts(&mut self, conn: u64) -> (u64, Vec<String>, Vec<String>) {
        let mut frames = self.outbox(conn).take().into_iter();
        let Some(ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. }) = frames.next() else {
            panic!("connection {conn} was not answered")
        };
        let texts = ack.messages.into_iter().map(|message| message.text).collect();
        (ack.rev, texts, frames.map(|frame| describe(&frame)).collect())
    }
}

fn seat(conn: u64, room: u64) -> SeatId {
    SeatId { conn: ConnId(conn), room: RoomId(room) }
}

fn describe(frame: &ServerFrame) -> String {
    let name = |user: &User| user.nickname.clone();
    match frame {
        ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. } => {
            let seqs: Vec<_> = ack.messages.iter().map(|message| message.seq).collect();
            format!("entered with {} after {seqs:?}", ack.members.iter().map(name).collect::<Vec<_>>().join("+"))
        }
        ServerFrame::Welcome(presence) => format!("welcome {} {}", name(&presence.user), presence.count),
        ServerFrame::Bye(presence) => format!("bye {} {}", name(&presence.user), presence.count),
        ServerFrame::Crowd(crowd) => match &crowd.members {
            None => format!("crowd of {}", crowd.count),
            Some(members) => format!("{} of {}", members.len(), crowd.count),
        },
        ServerFrame::Nickname(renamed) => format!("nickname {}", name(&renamed.user)),
        ServerFrame::NewMessage(message) => format!("{}: {}", message.seq, message.text),
        ServerFrame::MessageChanged(change) => {
            format!("{}: {} at rev {}", change.seq, change.text.as_deref().unwrap_or_default(), change.state.rev)
        }
        ServerFrame::MessagesExpired(expired) => format!("kept from {}", expired.floor),
        ServerFrame::Typing(typing) => format!("{} is typing", name(&typing.user)),
        ServerFrame::Ack { .. }
        | ServerFrame::Error { .. }
        | ServerFrame::RoomChange(_)
        | ServerFrame::RoomUpdate(_)
        | ServerFrame::MyRoomsChanged(_)
        | ServerFrame::GoingAway(_)
        | ServerFrame::CallJoined(_)
        | ServerFrame::CallLeft(_)
        | ServerFrame::Offer(_)
        | ServerFrame::Answer(_)
        | ServerFrame::Ice(_)
        | ServerFrame::Media(_) => {
            format!("{frame:?}")
        }
    }
}

#[test]
fn message_reaches_everyone_in_its_room_after_the_commit() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.enter_and_load(2, 2, "bob", 1);
    world.enter_and_load(3, 3, "cat", 2);
    (1..=3).for_each(|conn| drop(world.received(conn)));
    world.post(1, 1, "hi").unwrap();
    assert!(world.received(2).is_empty(), "nothing is visible before it is durable");
    world.commit();
    assert!(world.received(2).is_empty());
    world.deliver();
    assert_eq!(world.received(1), ["1: hi"]);
    assert_eq!(world.received(2), ["1: hi"]);
    assert!(world.received(3).is_empty(), "another room");
}

/// A room with two messages and two connections. A third connection is in another room.
fn world_with_messages() -> World {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.enter_and_load(2, 2, "bob", 1);
    world.enter_and_load(3, 3, "cat", 2);
    for text in ["a", "b"] {
        world.post(1, 1, text).unwrap();
    }
    world.commit();
    world.deliver();
    (1..=3).for_each(|conn| drop(world.received(conn)));
    world
}

#[test]
fn change_reaches_everyone_in_its_room_once() {
    let mut world = world_with_messages();
    world.edit(1, 1, "A");
    let twice = world.undelivered_changes.clone();
    world.deliver_changes();
    world.undelivered_changes = twice;
    world.deliver_changes();
    assert_eq!(world.received(1), ["1: A at rev 1"]);
    assert_eq!(world.received(2), ["1: A at rev 1"]);
    assert!(world.received(3).is_empty(), "another room");
    world.enter(4, 4, "dan", 1).unwrap();
    let new_text = (1, vec!["A".to_owned(), "b".to_owned()], vec![]);
    assert_eq!(world.received_texts(4), new_text, "the tail has the new text");
}

#[test]
fn change_during_enter_is_neither_lost_nor_doubled() {
    // The commit falls before or after the history is read, and the delivery before or after it has loaded.
    for (committed_before_reading, delivered_before_loading) in
        [(true, true), (true, false), (false, false), (false, true)]
    {
        let mut world = World::new();
        world.log.insert(RoomId(1), Vec::new());
        world.enter_and_load(1, 1, "ann", 1);
        world.post(1, 1, "a").unwrap();
        world.commit();
        world.core = Core::default();
        world.undelivered.clear();
        world.enter(2, 2, "bob", 1).unwrap();
        let mut history = world.read(1, 0);
        world.edit(1, 1, "A");
        if committed_before_reading {
            history = world.read(1, 0);
        }
        if delivered_before_loading {
            world.deliver_changes();
        }
        world.handle(Input::HistoryLoaded(seat(2, 1), history)).unwrap();
        world.deliver_changes();
        let case = format!("committed {committed_before_reading}, delivered {delivered_before_loading}");
        let changed = (1, vec!["A".to_owned()], vec![]);
        if committed_before_reading || delivered_before_loading {
            assert_eq!(world.received_texts(2), changed, "{case}");
        } else {
            let change = "1: A at rev 1".to_owned();
            assert_eq!(world.received_texts(2), (0, vec!["a".to_owned()], vec![change]), "{case}");
        }
        world.enter(3, 3, "cat", 1).unwrap();
        assert_eq!(world.received_texts(3), changed, "{case}: the tail is up to date");
    }
}

#[test]
fn gap_in_the_tail_is_filled_with_messages_as_they_are_now() {
    let mut world = world_with_messages();
    world.edit(1, 1, "A");
    world.deliver_changes();
    (1..=2).for_each(|conn| drop(world.received(conn)));
    for text in ["c", "d"] {
        world.post(1, 1, text).unwrap();
    }
    world.commit();
    world.undelivered.remove(0);
    world.deliver();
    assert_eq!(world.gaps, [(RoomId(1), 2, 1)], "what is in memory is not read again");
    let read = world.read(1, 2);
    world.edit(1, 3, "C");
    world.deliver_changes();
    world.handle(Input::Fetched(RoomId(1), Some(read))).unwrap();
    for conn in 1..=2 {
        assert_eq!(world.received(conn), ["3: C at rev 2", "3: C", "4: d"]);
    }
}

#[test]
fn message_during_enter_is_neither_lost_nor_doubled() {
    // The commit falls before or after the history is read, and the delivery before or after it has loaded. Another
    // connection of the room may have loaded its history before.
    for (committed_before_reading, delivered_before_loading) in [(true, true), (true, false), (false, false)] {
        let mut world = World::new();
        world.enter(1, 1, "ann", 1).unwrap();
        world.enter(2, 2, "bob", 1).unwrap();
        world.post(1, 1, "hi").unwrap();
        if committed_before_reading {
            world.commit();
        }
        let history = world.read(1, 0);
        if delivered_before_loading {
            world.deliver();
        }
        for conn in 1..=2 {
            world.handle(Input::HistoryLoaded(seat(conn, 1), history.clone())).unwrap();
        }
        world.commit();
        world.deliver();
        let expected = if committed_before_reading {
            "entered with ann+bob after [1]"
        } else {
            "entered with ann+bob after [], 1: hi"
        };
        assert_eq!(world.received(2).join(", "), expected);
    }
}

#[test]
fn warm_room_answers_enter_and_resume_without_reading() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    for _ in 0..3 {
        world.post(1, 1, "hi").unwrap();
    }
    world.commit();
    world.deliver();
    world.enter(2, 2, "bob", 1).unwrap();
    assert_eq!(world.received(2), ["entered with ann+bob after [1, 2, 3]"]);
    world.resume(3, 3, "cat", 1, Some(2)).unwrap();
    assert_eq!(world.received(3), ["entered with ann+bob+cat after [3]"]);
    // The store may be ahead of the deliveries: it decides whether this position exists.
    world.resume(4, 4, "dan", 1, Some(4)).unwrap();
    assert!(world.core.is_loading(seat(4, 1)));
}

#[test]
fn history_older_than_the_tail_is_read_again() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    // A position that the tail does not reach.
    (0..=MAX_RECENT).for_each(|_| world.post(1, 1, "hi").unwrap());
    world.commit();
    world.deliver();
    world.resume(2, 2, "bob", 1, Some(0)).unwrap();
    let history = world.read(1, 0);
    (0..=MAX_RECENT).for_each(|_| world.post(1, 1, "hi").unwrap());
    world.commit();
    world.deliver();
    world.handle(Input::HistoryLoaded(seat(2, 1), history)).unwrap();
    assert!(world.core.is_loading(seat(2, 1)), "the messages between the history and the tail are missing");
    world.load(2, 1, 0);
    assert!(!world.core.is_loading(seat(2, 1)));
}

#[test]
fn room_that_knows_of_an_expiry_before_its_messages_is_read_from_the_store() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    (0..5).for_each(|_| world.post(1, 1, "hi").unwrap());
    world.commit();
    world.deliver();
    // Five more are committed and expire with all others, and a read is ahead of their delivery.
    (0..5).for_each(|_| world.post(1, 1, "hi").unwrap());
    world.commit();
    world.resume(2, 2, "bob", 1, Some(99)).unwrap();
    let reason = Some(Unrecovered::PositionAhead);
    let history = History { floor: 11, messages: Vec::new(), recovered: false, reason, ..world.read(1, 0) };
    world.handle(Input::HistoryLoaded(seat(2, 1), history)).unwrap();
    world.received(2);
    world.enter(3, 3, "cat", 1).unwrap();
    assert!(world.core.is_loading(seat(3, 1)), "its head would be before the floor");
    world.deliver();
    world.handle(Input::Expired(RoomId(1), 11)).unwrap();
    assert_eq!(world.received(1).last().map(String::as_str), Some("kept from 11"));
    world.enter(4, 4, "dan", 1).unwrap();
    assert_eq!(world.received(4), ["entered with ann+bob+dan after []"]);
}

#[test]
fn gap_is_read_from_the_store_before_later_messages_are_delivered() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.received(1);
    for text in ["a", "b", "c"] {
        world.post(1, 1, text).unwrap();
    }
    world.commit();
    world.undelivered.remove(1);
    world.deliver();
    assert_eq!(world.received(1), ["1: a"]);
    assert_eq!(world.gaps, [(RoomId(1), 1, 0)]);
    let missed = world.read(1, 1);
    world.handle(Input::Fetched(RoomId(1), Some(missed))).unwrap();
    assert_eq!(world.received(1), ["2: b", "3: c"]);
}

#[test]
fn gap_that_the_store_cannot_fill_closes_the_connections() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    for text in ["a", "b"] {
        world.post(1, 1, text).unwrap();
    }
    world.commit();
    world.undelivered.remove(0);
    world.deliver();
    world.handle(Input::Fetched(RoomId(1), None)).unwrap();
    assert_eq!(world.outbox(1).1.get(), Some(CloseCode::Internal), "the page comes back and resumes");
}

#[test]
fn failed_history_read_keeps_a_connection_that_was_in_the_room() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.enter(2, 2, "bob", 2).unwrap();
    world.handle(Input::HistoryFailed(seat(2, 2))).unwrap();
    assert!(!world.core.is_in(seat(2, 2)));
    world.received(1);
    // A position ahead of the tail makes it read.
    world.resume(1, 1, "ann", 1, Some(9)).unwrap();
    world.post(1, 1, "hi").unwrap();
    world.commit();
    world.deliver();
    assert!(world.received(1).is_empty());
    world.handle(Input::HistoryFailed(seat(1, 1))).unwrap();
    assert_eq!(world.received(1), ["1: hi"]);
}

#[test]
fn reload_is_not_announced_and_departure_is_after_the_grace_period() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.enter_and_load(2, 2, "bob", 1);
    assert_eq!(world.received(1), ["entered with ann after []", "welcome bob 2"]);
    world.handle(Input::Disconnect(ConnId(2))).unwrap();
    world.wait(GRACE / 2);
    world.enter_and_load(3, 2, "bob", 1);
    world.wait(GRACE * 2);
    assert!(world.received(1).is_empty(), "bob reloaded");
    world.handle(Input::Disconnect(ConnId(3))).unwrap();
    world.wait(GRACE);
    assert_eq!(world.received(1), ["bye bob 1"]);
}

#[test]
fn user_with_two_connections_is_one_member() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.enter_and_load(2, 2, "bob", 1);
    world.received(1);
    world.enter_and_load(3, 2, "bob", 1);
    world.handle(Input::Leave(seat(2, 1))).unwrap();
    assert!(world.received(1).is_empty());
    assert_eq!(world.core.members(RoomId(1)).len(), 2);
    world.handle(Input::Leave(seat(3, 1))).unwrap();
    assert_eq!(world.received(1), ["bye bob 1"], "at once, because the last connection left the room");
}

#[test]
fn entering_again_is_not_announced() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.enter_and_load(2, 2, "bob", 1);
    world.received(1);
    world.enter_and_load(2, 2, "bob", 1);
    assert!(world.received(1).is_empty());
    assert_eq!(world.received(2), ["entered with ann+bob after []", "entered with ann+bob after []"]);
}

#[test]
fn typing_reaches_other_users_at_most_once_a_second() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.enter_and_load(2, 1, "ann", 1);
    world.enter_and_load(3, 2, "bob", 1);
    world.enter_and_load(4, 3, "cat", 2);
    (1..=4).for_each(|conn| drop(world.received(conn)));
    let typing = |conn| Input::Typing(seat(conn, 1));
    world.handle(typing(1)).unwrap();
    assert_eq!(world.handle(typing(4)), Err(ErrorCode::NotInRoom));
    let received: Vec<_> = (1..=4).map(|conn| world.received(conn)).collect();
    assert_eq!(received, [vec![], vec![], vec!["ann is typing".to_owned()], vec![]]);
    (0..5).for_each(|_| world.handle(typing(1)).unwrap());
    assert!(world.received(3).is_empty());
    world.wait(TYPING_EVERY);
    (0..5).for_each(|_| world.handle(typing(1)).unwrap());
    assert_eq!(world.received(3).len(), 1);
    world.post(1, 1, "posted").unwrap();
    world.handle(typing(1)).unwrap();
    assert_eq!(world.received(3), ["ann is typing"], "another message, after the one that was posted");
}

#[test]
fn names_are_unique_in_a_room_and_free_again_afterwards() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ocean", 1);
    assert_eq!(world.enter(2, 2, "Ocean", 1), Err(ErrorCode::NickTaken));
    assert_eq!(world.enter(2, 2, "осеаn", 1), Err(ErrorCode::NickConfusable));
    assert_eq!(world.post(2, 1, "x"), Err(ErrorCode::NotInRoom), "nothing has changed");
    world.enter_and_load(2, 2, "Ocean", 2);
    let nick = |name: &str| Nick::unchecked(name.to_owned());
    let rename = |user, name| Input::Rename(Rename { user: UserId(user), nick: nick(name), asker: None });
    world.received(1);
    world.handle(rename(1, "river")).unwrap();
    assert_eq!(world.received(1), ["nickname river"]);
    world.enter_and_load(3, 2, "Ocean", 1);
    assert_eq!(world.handle(rename(1, "OCEAN")), Err(ErrorCode::NickTaken));
    assert_eq!(world.handle(rename(2, "River")), Err(ErrorCode::NickTaken), "a conflict in one of several rooms");
}

#[test]
fn tails_of_rooms_that_are_not_used_are_forgotten() {
    const LIMIT: usize = 64 * 1024;
    let mut world = World::new();
    world.core = Core::with_tail_bytes(LIMIT);
    let text = "x".repeat(4_000);
    for room in 1..=20 {
        world.enter_and_load(1, 1, "ann", room);
        for _ in 0..5 {
            world.post(1, room, &text).unwrap();
            world.commit();
            world.deliver();
            assert!(world.core.tail_bytes() <= LIMIT);
        }
    }
    // The latest room is answered from memory, the first one by the store, and nothing is missing.
    for (room, is_forgotten) in [(20, false), (1, true)] {
        world.enter(2, 2, "bob", room).unwrap();
        assert_eq!(world.core.is_loading(seat(2, room)), is_forgotten, "room {room}");
    }
    world.load(2, 1, 0);
    assert_eq!(world.received(2).last().unwrap(), "entered with ann+bob after [1, 2, 3, 4, 5]");
    world.handle(Input::Disconnect(ConnId(1))).unwrap();
    world.handle(Input::Disconnect(ConnId(2))).unwrap();
    world.wait(GRACE);
    world.wait(Duration::from_secs(60));
    assert_eq!(world.core.tail_bytes(), 0);
}

#[test]
fn presence_is_told_while_entering_again_fails() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.enter_and_load(2, 2, "bob", 1);
    world.received(1);
    // Only the store can answer, because the position is ahead of what is in memory.
    world.resume(1, 1, "ann", 1, Some(99)).unwrap();
    assert!(world.core.is_loading(seat(1, 1)));
    world.enter_and_load(3, 3, "cat", 1);
    world.handle(Input::Leave(seat(2, 1))).unwrap();
    world.handle(Input::HistoryFailed(seat(1, 1))).unwrap();
    assert_eq!(world.received(1), ["welcome cat 3", "bye bob 2"]);
}

#[test]
fn name_of_form_post_is_held_until_time_is_over_or_user_renames() {
    let mut world = World::new();
    let nick = |name: &str| Nick::unchecked(name.to_owned());
    let hold = |user, name| Input::HoldName { room: RoomId(1), user: UserId(user), nick: nick(name) };
    world.handle(hold(1, "Ann")).unwrap();
    assert_eq!(world.handle(hold(2, "ann")), Err(ErrorCode::NickTaken), "two form posters do not speak as one");
    assert_eq!(world.enter(2, 2, "Ann", 1), Err(ErrorCode::NickTaken));
    world.enter_and_load(2, 2, "Bob", 1);
    let rename = |user, name| Input::Rename(Rename { user: UserId(user), nick: nick(name), asker: None });
    assert_eq!(world.handle(rename(2, "Ann")), Err(ErrorCode::NickTaken));
    assert_eq!(world.handle(hold(3, "bob")), Err(ErrorCode::NickTaken), "the other way round");
    world.handle(rename(1, "Cleo")).unwrap();
    world.handle(rename(2, "Ann")).unwrap();
    world.handle(hold(1, "Cleo")).unwrap();
    world.wait(FORM_HOLD - Duration::from_secs(1));
    assert_eq!(world.enter(3, 3, "cleo", 1), Err(ErrorCode::NickTaken));
    world.wait(Duration::from_secs(1));
    world.enter_and_load(3, 3, "cleo", 1);
}

#[test]
fn empty_room_leaves_memory_after_a_minute() {
    let mut world = World::new();
    world.enter_and_load(1, 1, "ann", 1);
    world.handle(Input::Leave(seat(1, 1))).unwrap();
    world.wait(Duration::from_secs(59));
    assert_eq!(world.core.sizes(), (1, 0));
    world.wait(Duration::from_secs(1));
    assert_eq!(world.core.sizes(), (0, 0));
}

impl World {
    /// Lets a user enter room 1 over a connection of the same number.
    fn arrive(&mut self, n: u64) {
        self.enter_and_load(n, n, &format!("n{n}"), 1);
    }

    /// The frames that all connections have received since the last call.
    fn all_received(&mut self) -> Vec<(u64, ServerFrame)> {
        let outboxes = self.outboxes.iter();
        outboxes.flat_map(|(conn, outbox)| outbox.take().into_iter().map(|frame| (conn.0, frame))).collect()
    }
}

#[test]
fn crowd_is_told_counts_and_the_whole_list_when_it_dissolves() {
    let mut world = World::new();
    (1..=CROWD).for_each(|n| world.arrive(n));
    assert_eq!(world.received(1).pop().unwrap(), "welcome n100 100", "not crowded yet");

    world.arrive(101);
    assert_eq!(world.received(1), [""; 0]);
    world.wait(Duration::from_millis(500));
    assert_eq!(world.received(1), ["crowd of 101"]);
    world.arrive(102);
    // The same user in another tab.
    world.enter_and_load(103, 102, "n102", 1);
    world.handle(Input::Typing(seat(102, 1))).unwrap();
    let nick = Nick::unchecked("Ann".into());
    world.handle(Input::Rename(Rename { user: UserId(102), nick, asker: None })).unwrap();
    assert_eq!(world.received(1), [""; 0], "neither the arrival nor the typing nor the name");
    for conn in [102, 103] {
        assert_eq!(world.received(conn).split_off(1), ["nickname Ann"], "the own name");
    }
    world.wait(Duration::from_millis(500));
    assert_eq!(world.received(1), [""; 0], "one of a hundred");
    world.wait(Duration::from_secs(5));
    assert_eq!(world.received(1), ["crowd of 102"]);
    world.wait(Duration::from_secs(5));
    assert_eq!(world.received(1), [""; 0], "the count has not changed");

    (0..22).for_each(|n| world.handle(Input::Leave(seat(n + 50, 1))).unwrap());
    assert_eq!(world.received(1), [""; 0], "a departure");
    world.wait(Duration::from_millis(500));
    assert_eq!(CROWD_ENDS, 80);
    assert_eq!(world.received(1), ["80 of 80"]);
    world.handle(Input::Leave(seat(3, 1))).unwrap();
    world.handle(Input::Typing(seat(102, 1))).unwrap();
    assert_eq!(world.received(1), ["bye n3 79", "Ann is typing"]);
}

#[test]
fn arrival_in_a_crowd_of_ten_thousand_costs_as_much_as_the_hundredth() {
    let mut world = World::new();
    let (mut frames, mut bytes) = (Vec::new(), Vec::new());
    for n in 1..=10_000 {
        world.arrive(n);
        // A thousand arrivals a second.
        if n % 500 == 0 {
            world.wait(Duration::from_millis(500));
        }
        let received = if n % 500 == 0 || !(150..=9_900).contains(&n) { world.all_received() } else { Vec::new() };
        frames.push(received.len());
        bytes.push(received.iter().map(|(_, frame)| frame.encode().len()).sum::<usize>());
    }
    // With the counts that an arrival causes later: those of the last half second.
    let of = |costs: &[usize], n: usize| costs[n - 1];
    let counts: usize = frames[9_999];
    assert!(of(&frames, 100) >= 100, "each of the hundred is told");
    assert!(of(&frames, 9_950) <= 1 && counts <= 10_001, "{counts}");
    let per_arrival = bytes[9_900..].iter().sum::<usize>() / 500;
    assert!(per_arrival <= 3 * of(&bytes, 100), "{per_arrival} bytes, {} for the hundredth", of(&bytes, 100));
}

#[test]
fn pages_list_every_member_once() {
    let mut world = World::new();
    (1..=350).for_each(|n| world.arrive(n));
    let Some(ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. }) = world.outbox(350).take().into_iter().next() else {
        panic!("it was answered")
    };
    assert_eq!((ack.count, ack.members.len() as u64), (350, MAX_MEMBERS));
    assert_eq!(ack.you.map(|you| you.id), Some(UserId(350)));
    let mut listed: Vec<_> = ack.members.iter().map(|user| user.id.0).collect();
    let mut after = ack.members_after;
    while let Some(position) = after {
        // A member who leaves moves nobody to another page.
        let gone = *listed.last().unwrap();
        world.handle(Input::Leave(seat(gone, 1))).unwrap();
        let page = world.core.member_page(RoomId(1), position, 60);
        listed.extend(page.members.iter().map(|user| user.id.0));
        after = page.members_after;
    }
    assert_eq!(listed, (1..=350).collect::<Vec<_>>());
}

/// The members of a room as a connection knows them.
#[derive(Default)]
struct View {
    count: u64,
    members: BTreeSet<u64>,
    is_current: bool,
}

impl View {
    fn apply(&mut self, frame: ServerFrame) {
        let ids = |members: Vec<User>| members.iter().map(|user| user.id.0).collect();
        match frame {
            ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. } => {
                let is_current = ack.members_after.is_none() && ack.crowded.is_none();
                *self = Self { count: ack.count, members: ids(ack.members), is_current };
            }
            ServerFrame::Welcome(presence) => {
                self.members.insert(presence.user.id.0);
                self.count = presence.count;
            }
            ServerFrame::Bye(presence) => {
                self.members.remove(&presence.user.id.0);
                self.count = presence.count;
            }
            ServerFrame::Crowd(crowd) => {
                (self.count, self.is_current) = (crowd.count, crowd.members.is_some());
                self.members = crowd.members.map(ids).unwrap_or_default();
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn counts_and_lists_are_right_while_a_crowd_grows_and_shrinks() {
    let mut world = World::new();
    let mut views: BTreeMap<u64, View> = BTreeMap::new();
    let mut n = 0;
    for size in [90, 105, 95, 120, 79, 101, 81, 110, 80, 100, 60, 150, 0] {
        // More than that leave and come in between.
        for target in [size, size + 3, size] {
            while views.len() as u64 != target {
                n += 1;
                if (views.len() as u64) < target {
                    world.arrive(n);
                    views.insert(n, View::default());
                } else {
                    let leaver = *views.keys().nth(n as usize * 7 % views.len()).unwrap();
                    world.handle(Input::Leave(seat(leaver, 1))).unwrap();
                    views.remove(&leaver);
                }
            }
        }
        world.wait(Duration::from_secs(5));
        for (conn, frame) in world.all_received() {
            views.get_mut(&conn).into_iter().for_each(|view| view.apply(frame.clone()));
        }
        let there: BTreeSet<_> = views.keys().copied().collect();
        for (conn, view) in &views {
            assert_eq!(view.count, size, "connection {conn}");
            assert!(view.is_current || size > CROWD_ENDS, "connection {conn} of {size}");
            assert!(!view.is_current || view.members == there, "connection {conn} of {size}");
        }
    }
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Enter { conn: u64, room: u64 },
    Load { conn: u64, room: u64 },
    Leave { conn: u64, room: u64 },
    Disconnect { conn: u64 },
    Post { conn: u64, room: u64 },
    Commit,
    Deliver,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (conn, room) = (1..=6_u64, 1..=2_u64);
    let both = (conn.clone(), room);
    let step = prop_oneof![
        3 => both.clone().prop_map(|(conn, room)| Step::Enter { conn, room }),
        4 => both.clone().prop_map(|(conn, room)| Step::Load { conn, room }),
        1 => both.clone().prop_map(|(conn, room)| Step::Leave { conn, room }),
        1 => conn.prop_map(|conn| Step::Disconnect { conn }),
        5 => both.prop_map(|(conn, room)| Step::Post { conn, room }),
        2 => Just(Step::Commit),
        2 => Just(Step::Deliver),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two connections per user. Whatever happens, every connection in a room receives its messages without gap or
    /// repetition, the members agree with the connections, and at the end nothing is left in memory.
    #[test]
    fn every_connection_receives_every_message_once_and_in_order(steps in steps()) {
        let mut world = World::new();
        // The last message that each connection has received in each room.
        let mut seats: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let user = |conn: u64| conn.div_ceil(2);
        for step in steps {
            match step {
                Step::Enter { conn, room } => {
                    let seen = *seats.entry((conn, room)).or_default();
                    world.resume(conn, user(conn), &format!("person {}", user(conn)), room, Some(seen)).unwrap();
                }
                Step::Load { conn, room } => {
                    if let Some(seen) = seats.get(&(conn, room)) {
                        world.load(conn, room, *seen);
                    }
                }
                Step::Leave { conn, room } => {
                    let was_in = seats.remove(&(conn, room)).is_some();
                    prop_assert_eq!(world.handle(Input::Leave(seat(conn, room))).is_ok(), was_in);
                }
                Step::Disconnect { conn } => {
                    world.handle(Input::Disconnect(ConnId(conn))).unwrap();
                    seats.retain(|(own, _), _| *own != conn);
                }
                Step::Post { conn, room } => {
                    let result = world.post(conn, room, "text");
                    prop_assert_eq!(result.is_ok(), seats.contains_key(&(conn, room)));
                }
                Step::Commit => world.commit(),
                Step::Deliver => world.deliver(),
                Step::Wait => world.wait(GRACE),
            }
            check(&mut world, &mut seats)?;
        }
        // Everything is committed and delivered: every connection whose history has loaded has received all of it.
        world.commit();
        world.deliver();
        check(&mut world, &mut seats)?;
        let is_loaded = |world: &World, conn, room| !world.core.is_loading(seat(conn, room));
        for ((conn, room), seen) in &seats {
            if is_loaded(&world, *conn, *room) {
                prop_assert_eq!(*seen as usize, world.log.get(&RoomId(*room)).map_or(0, Vec::len));
            }
        }
        // The members are the users with a loaded connection, now or during the grace period.
        for room in 1..=2 {
            let loaded = seats.keys().filter(|(conn, own)| *own == room && is_loaded(&world, *conn, room));
            let loaded: BTreeSet<_> = loaded.map(|(conn, _)| UserId(user(*conn))).collect();
            let members: BTreeSet<_> = world.core.members(RoomId(room)).into_iter().map(|user| user.id).collect();
            prop_assert!(loaded.is_subset(&members));
        }
        prop_assert!(world.gaps.is_empty());
        for conn in 1..=6 {
            world.handle(Input::Disconnect(ConnId(conn))).unwrap();
        }
        world.wait(GRACE);
        world.wait(Duration::from_secs(60));
        prop_assert_eq!(world.core.sizes(), (0, 0));
    }
}

/// Checks the frames that were received since the last step.
fn check(world: &mut World, seats: &mut BTreeMap<(u64, u64), u64>) -> Result<(), TestCaseError> {
    for conn in 1..=6 {
        for frame in world.outbox(conn).take() {
            let (room, seqs) = match &frame {
                ServerFrame::NewMessage(message) => (message.room.0, vec![message.seq]),
                ServerFrame::Ack { ack: Ack::EnterRoom(ack), .. } => {
                    prop_assert_eq!(&ack.name, &format!("room {}", ack.room.0));
                    (ack.room.0, ack.messages.iter().map(|message| message.seq).collect())
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
                | ServerFrame::Media(_) => continue,
            };
            let seen = seats.get_mut(&(conn, room));
            prop_assert!(seen.is_some(), "connection {} receives a frame of room {} that it is not in", conn, room);
            let seen = seen.unwrap();
            for seq in seqs {
                prop_assert_eq!(seq, *seen + 1, "connection {} in room {}", conn, room);
                *seen = seq;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// In a warm room the answer to `enter_room` equals the one that the store's reader gives, within all limits of
    /// count and size.
    #[test]
    fn warm_room_answers_as_the_store_reader_does(
        sizes in prop::collection::vec(prop_oneof![1..80_usize, 1..16_000_usize], 1..150),
        afters in prop::collection::vec(prop::option::of(0..160_u64), 1..8),
        expired in prop_oneof![Just(0), 0..60_u64, 0..160_u64],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(compare_with_reader(&sizes, &afters, expired))?;
    }
}

/// `expired`: the number of messages that expire before connections enter.
async fn compare_with_reader(sizes: &[usize], afters: &[Option<u64>], expired: u64) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path(), EPOCH).unwrap());
    let limits = LimitSettings { outbox_bytes: 64 * 1024 * 1024, ..LimitSettings::default() };
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    let account = hub.account(UserId(1)).await.unwrap();
    let payer = Payer { account: account.clone(), address: hub.directory.address([127, 0, 0, 1].into()) };
    let name = RoomName::parse("r").unwrap();
    let ann = hub.register().unwrap();
    let room = hub.enter(&payer, &ann, (None, name.clone()), None, Some(1)).await.unwrap();
    for (n, size) in sizes.iter().enumerate() {
        let post = NewPost::of_text(MessageKey(n as u128), "\"글".repeat(size / 4 + 1));
        hub.post(&ann, &room, None, post).await.unwrap();
        ann.outbox.take();
    }
    while hub.settle().now_or_never().is_none() {
        hub.deliver();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let database = rusqlite::Connection::open(folder.path().join("noom.sqlite3")).unwrap();
    database.execute("UPDATE messages SET at = 0 WHERE seq <= ?1", [expired as i64]).unwrap();
    let workers = hub.spawn_workers();
    expire_before(&store, &hub, Duration::from_millis(1)).await.unwrap();
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    let floor = expired.min(sizes.len() as u64) + 1;
    prop_assert_eq!(store.extent(room.clone()).await.unwrap(), Extent { floor, head: sizes.len() as u64 });
    let user = User { id: UserId(1), nickname: account.nickname() };
    let people = MembersAck { count: 1, members: vec![user.clone()], members_after: None, crowded: None };
    for after in afters {
        let after = after.map(|seq| Position { epoch: EPOCH.into(), seq, rev: 0 });
        let history = store.history_for(room.clone(), after.clone()).await.unwrap();
        // A client that resumes knows the id.
        let id = after.is_some().then_some(room.id);
        let (room, people, you) = (room.clone(), people.clone(), Some(user.clone()));
        let entered = Entered { id: 1, room, people, you, history, call: Vec::new() };
        let conn = hub.register().unwrap();
        hub.enter(&payer, &conn, (id, name.clone()), after, Some(1)).await.unwrap();
        prop_assert_eq!(&*conn.outbox.take().frames[0], entered.into_frame().encode());
    }
    store.close();
    Ok(())
}
