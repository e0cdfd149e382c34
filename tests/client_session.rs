//! The browser's session with a model server that loses connections.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::{BTreeMap, VecDeque};

use noom::client::session::{
    ABNORMAL_CLOSE, Action, CallUpdate, ConnectionState, Event, Intent, MessageCommand, Search, SendStatus, Session,
    Signal, TransportKind, UnsentMessage, Update, WaitReason,
};
use noom::protocol::call::{
    CallPresence, Candidate, Describe, Description, DescriptionKind, JoinCallAck, SetMedia, Trickle,
};
use noom::protocol::change::DeleteMessage;
use noom::protocol::frame::{Empty, EnterRoom, InRoom, Members, Post, RoomPresence, Typing};
use noom::protocol::{
    Ack, ChangeAck, ClientFrame, CloseCode, Command, EnterRoomAck, ErrorCode, HelloAck, Limits, MembersAck, Message,
    MessageChange, MessageKey, MessageRef, MessageState, MyRoom, MyRooms, MyRoomsUpdate, NicknameAck, PeerId, PinsAck,
    Place, Position, PostAck, Refusal, RoomCount, RoomId, RoomList, RoomUpdate, SearchAck, ServerFrame, User, UserId,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const ROOM: &str = "r";

fn me() -> User {
    User { id: UserId(1), nickname: "me".into() }
}

/// The id of a room in these tests.
fn id(name: &str) -> RoomId {
    RoomId(name.bytes().fold(1, |id: u64, byte| id.wrapping_mul(31).wrapping_add(byte.into())))
}

fn post(key: u128, text: &str) -> UnsentMessage {
    UnsentMessage::of_text(ROOM.into(), MessageKey(key), text.into())
}

/// A session, the frames it sent, and the updates it emitted.
struct Page {
    session: Session,
    now: u64,
    connects: usize,
    /// The transport of the last requested connection.
    transport: Option<TransportKind>,
    probes: usize,
    drops: usize,
    sent: VecDeque<ClientFrame>,
    updates: Vec<Update>,
    /// The storage that survives a reload.
    stored: BTreeMap<MessageKey, UnsentMessage>,
    /// The server is newer: its frames say more than this page knows.
    newer: bool,
}

/// The frame as a newer server may send it: each object has another field, each array another element.
fn extended(mut json: Value) -> Value {
    match &mut json {
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| *value = extended(value.take()));
            fields.insert("x".into(), json!({ "y": [1.5, null] }));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = extended(item.take()));
            items.push(json!({ "z": -1 }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    json
}

impl Page {
    fn new(seed: u64) -> Self {
        Self {
            session: Session::new(seed),
            now: 0,
            connects: 0,
            transport: None,
            probes: 0,
            drops: 0,
            sent: VecDeque::new(),
            updates: Vec::new(),
            stored: BTreeMap::new(),
            newer: false,
        }
    }

    fn handle(&mut self, event: Event) {
        self.session.handle(self.now, event);
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect(transport) => {
                    self.connects += 1;
                    self.transport = Some(transport);
                }
                Action::Probe(text) => {
                    assert_eq!(ClientFrame::decode(&text).unwrap().command, Command::Ping(Empty {}));
                    self.probes += 1;
                }
                Action::Drop => {
                    self.drops += 1;
                    self.sent.clear();
                }
                Action::Send(text) => self.sent.push_back(ClientFrame::decode(&text).unwrap()),
                Action::StoreUnsent(post) => drop(self.stored.insert(post.key, post)),
                Action::RemoveUnsent(key) => drop(self.stored.remove(&key)),
                Action::Emit(change) => self.updates.push(change),
            }
        }
    }

    fn receive(&mut self, frame: &ServerFrame) {
        let text = frame.encode();
        self.handle(Event::Received(if self.newer {
            extended(serde_json::from_str(&text).unwrap()).to_string()
        } else {
            text
        }));
    }

    /// Receives a frame that no server of this version sends.
    fn receive_json(&mut self, frame: &Value) {
        self.handle(Event::Received(frame.to_string()));
    }

    fn acknowledge(&mut self, frame: &ClientFrame, ack: Ack) {
        self.receive(&ServerFrame::Ack { id: frame.id.unwrap(), ack });
    }

    fn refuse(&mut self, frame: &ClientFrame, refusal: Refusal) {
        self.receive(&ServerFrame::Error { id: frame.id, refusal });
    }

    fn next_sent(&mut self, name: &str) -> ClientFrame {
        let frame = self.sent.pop_front().unwrap_or_else(|| panic!("{name} is sent"));
        assert_eq!(frame.command.name(), name);
        frame
    }

    /// Lets time pass until the next wake; returns how much.
    fn sleep_until_wake(&mut self) -> u64 {
        let wake = self.session.next_wake().expect("the session waits for a time");
        let slept = wake.saturating_sub(self.now);
        self.now = self.now.max(wake);
        self.handle(Event::Tick);
        slept
    }

    /// Connected, greeted, and in the room at `head`.
    fn in_room(seed: u64, head: u64) -> Self {
        let mut page = Self::new(seed);
        page.handle(Event::Start);
        page.handle(Event::Intent(Intent::Enter {
            room: ROOM.into(),
            after: Some(Position { epoch: "e".into(), seq: head, rev: 0 }),
        }));
        page.greet();
        page.enter(head, vec![]);
        page
    }

    fn greet(&mut self) {
        self.handle(Event::Opened);
        let hello = self.next_sent("hello");
        self.acknowledge(&hello, hello_ack());
    }

    fn enter(&mut self, head: u64, messages: Vec<Message>) {
        let enter = self.next_sent("enter_room");
        self.acknowledge(&enter, entered(head, messages));
    }

    fn connection(&self) -> ConnectionState {
        self.updates
            .iter()
            .rev()
            .find_map(|change| if let Update::Connection(state) = change { Some(*state) } else { None })
            .unwrap()
    }

    fn statuses(&self) -> Vec<SendStatus> {
        self.updates
            .iter()
            .filter_map(|change| if let Update::Posted { status, .. } = change { Some(status.clone()) } else { None })
            .collect()
    }
}

fn hello_ack() -> Ack {
    let limits = Limits {
        frame_bytes: 1,
        text_chars: 1,
        nickname_graphemes: 1,
        room_graphemes: 1,
        messages_per_second: 1,
        message_burst: 1,
    };
    Ack::Hello(HelloAck { user: me(), resume: "token".into(), heartbeat_ms: 25_000, build: "b".into(), limits })
}

fn entered(head: u64, messages: Vec<Message>) -> Ack {
    Ack::EnterRoom(EnterRoomAck {
        room: id(ROOM),
        name: ROOM.into(),
        epoch: "e".into(),
        head,
        rev: 0,
        floor: None,
        count: 1,
        members: vec![me()],
        members_after: None,
        crowded: None,
        you: None,
        messages,
        changes: None,
        more: false,
        recovered: true,
        reason: None,
        call: None,
    })
}

fn message(seq: u64) -> Message {
    Message::of_text(id(ROOM), seq, MessageKey(u128::from(seq)), me(), "t".into(), 0)
}

/// A page in the room at this revision.
fn page_at_revision(rev: u64) -> Page {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    let after = Some(Position { epoch: "e".into(), seq: 5, rev });
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after }));
    page.greet();
    enter_at(&mut page, rev);
    page.updates.clear();
    page
}

fn enter_at(page: &mut Page, rev: u64) -> EnterRoom {
    let enter = page.next_sent("enter_room");
    let Ack::EnterRoom(ack) = entered(5, vec![]) else { unreachable!("an answer to enter_room") };
    page.acknowledge(&enter, Ack::EnterRoom(EnterRoomAck { rev, changes: Some(vec![]), ..ack }));
    let Command::EnterRoom(enter) = enter.command else { unreachable!("enter_room") };
    enter
}

fn change(seq: u64, rev: u64) -> ServerFrame {
    let state = MessageState { rev, edits: 1, edited_at: Some(1), ..MessageState::default() };
    ServerFrame::MessageChanged(MessageChange { room: id(ROOM), seq, text: Some("new".into()), mentions: None, state })
}

fn changed_revs(page: &Page) -> Vec<u64> {
    let rev = |update: &Update| if let Update::Changed(change) = update { Some(change.state.rev) } else { None };
    page.updates.iter().filter_map(rev).collect()
}

fn delete(seq: u64) -> Event {
    let target = MessageRef { epoch: "e".into(), seq };
    Event::Intent(Intent::Change(MessageCommand::Delete(DeleteMessage { room: id(ROOM), target })))
}

fn ended_changes(page: &Page) -> Vec<(u64, Result<(), Option<ErrorCode>>)> {
    let code = |refusal: Option<Refusal>| refusal.map(|refusal| refusal.code);
    let ended = |update: &Update| {
        let Update::ChangeEnded { command, result } = update else { return None };
        Some((command.target().seq, result.clone().map_err(code)))
    };
    page.updates.iter().filter_map(ended).collect()
}

#[test]
fn change_is_emitted_once_and_resume_continues_after_it() {
    let mut page = page_at_revision(3);
    for rev in [4, 4, 3, 5] {
        page.receive(&change(2, rev));
    }
    assert_eq!(changed_revs(&page), [4, 5]);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    page.greet();
    let asked = enter_at(&mut page, 9).after.unwrap();
    assert_eq!((asked.seq, asked.rev), (5, 5));
    page.receive(&change(2, 10));
    assert_eq!(changed_revs(&page), [4, 5, 10]);
}

#[test]
fn missing_change_enters_the_room_again() {
    let mut page = page_at_revision(3);
    page.receive(&change(2, 5));
    assert_eq!(enter_at(&mut page, 5).after.unwrap().rev, 3);
    assert_eq!(changed_revs(&page), [0; 0], "the answer to enter_room has it");
}

#[test]
fn own_change_ends_with_its_answer_or_with_the_connection() {
    let mut page = page_at_revision(0);
    page.handle(delete(1));
    let sent = page.next_sent("delete_message");
    page.acknowledge(&sent, Ack::Change(ChangeAck { room: id(ROOM), seq: 1, rev: 1 }));
    page.handle(delete(2));
    let refused = page.next_sent("delete_message");
    page.receive(&ServerFrame::Error { id: refused.id, refusal: ErrorCode::NotYours.into() });
    page.handle(delete(3));
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.handle(delete(4));
    let expected = [(1, Ok(())), (2, Err(Some(ErrorCode::NotYours))), (3, Err(None)), (4, Err(None))];
    assert_eq!(ended_changes(&page), expected);
}

#[test]
fn deletion_of_own_messages_ends_with_its_answer_or_with_the_connection() {
    let mut page = Page::in_room(1, 5);
    let delete = || Event::Intent(Intent::DeleteOwn { room: ROOM.into() });
    page.handle(delete());
    let sent = page.next_sent("delete_messages");
    assert_eq!(sent.command, Command::DeleteMessages(InRoom { room: id(ROOM) }));
    page.acknowledge(&sent, Ack::Empty(Empty {}));
    page.handle(delete());
    let refused = page.next_sent("delete_messages");
    page.receive(&ServerFrame::Error { id: refused.id, refusal: ErrorCode::StoreUnavailable.into() });
    page.handle(delete());
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.handle(delete());
    let code = |refusal: Option<Refusal>| refusal.map(|refusal| refusal.code);
    let ended = page.updates.iter().filter_map(|update| {
        let Update::OwnDeletion { room, result } = update else { return None };
        Some((room.as_str(), result.clone().map_err(code)))
    });
    let expected = [Ok(()), Err(Some(ErrorCode::StoreUnavailable)), Err(None), Err(None)];
    assert_eq!(ended.collect::<Vec<_>>(), expected.map(|result| (ROOM, result)));
}

#[test]
fn reconnect_resumes_after_the_last_message() {
    let mut page = Page::in_room(1, 5);
    page.receive(&ServerFrame::NewMessage(message(6)));
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    assert!(matches!(page.connection(), ConnectionState::Waiting { .. }));
    page.sleep_until_wake();
    assert_eq!(page.connects, 2);
    page.handle(Event::Opened);
    let hello = page.next_sent("hello");
    assert!(matches!(&hello.command, Command::Hello(hello) if hello.resume.as_deref() == Some("token")));
    page.acknowledge(&hello, hello_ack());
    let enter = page.next_sent("enter_room");
    let Command::EnterRoom(asked) = &enter.command else { unreachable!() };
    assert_eq!(asked.after, Some(Position { epoch: "e".into(), seq: 6, rev: 0 }));
}

#[test]
fn reconnect_delay_grows_to_30_s_with_full_jitter() {
    let longest = |attempt: u32| (500_u64 << attempt.min(10)).min(30_000);
    let mut pauses = Vec::new();
    for seed in 0..200 {
        let mut page = Page::new(seed);
        page.handle(Event::Start);
        for attempt in 0..10 {
            page.handle(Event::Closed(ABNORMAL_CLOSE));
            let pause = page.sleep_until_wake();
            assert!(pause <= longest(attempt), "{pause} at attempt {attempt}");
            pauses.push((attempt, pause));
        }
    }
    let of = |attempt| pauses.iter().filter(move |(own, _)| *own == attempt).map(|(_, pause)| *pause);
    assert!(of(9).max().unwrap() > 25_000 && of(9).min().unwrap() < 5_000, "full jitter");
}

#[test]
fn backoff_resets_after_a_minute_online() {
    let mut page = Page::in_room(3, 0);
    for _ in 0..8 {
        page.handle(Event::Closed(ABNORMAL_CLOSE));
        page.sleep_until_wake();
        page.greet();
        page.enter(0, vec![]);
    }
    page.now += 60_000;
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    assert!(page.sleep_until_wake() <= 500);
}

#[test]
fn close_code_that_forbids_reconnect_waits_for_the_user() {
    for code in [CloseCode::BadFrames, CloseCode::UnsupportedVersion, CloseCode::Replaced, CloseCode::RateAbuse] {
        let mut page = Page::in_room(1, 0);
        page.handle(Event::Closed(code.number()));
        assert_eq!(page.connection(), ConnectionState::Refused(code.number()));
        assert_eq!(page.session.next_wake(), None);
        page.handle(Event::Intent(Intent::ReconnectNow));
        assert_eq!(page.connects, 2);
    }
}

#[test]
fn going_away_sets_the_reconnect_delay() {
    let mut page = Page::in_room(1, 0);
    page.receive(&ServerFrame::GoingAway(noom::protocol::frame::GoingAway { reconnect_in_ms: 7_321 }));
    page.handle(Event::Closed(CloseCode::Restarting.number()));
    assert!(matches!(page.connection(), ConnectionState::Waiting { reason: WaitReason::Restart, .. }));
    assert_eq!(page.sleep_until_wake(), 7_321);
}

#[test]
fn differences_change_the_list_of_rooms() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Intent(Intent::WatchRooms(true)));
    page.greet();
    let watch = page.next_sent("watch_rooms");
    let room = |name: &str, count| RoomCount { room: id(name), name: name.into(), count, call: None };
    page.acknowledge(&watch, Ack::Rooms(RoomList { rooms: vec![room("b", 2), room("a", 1), room("gone", 1)] }));
    let update = RoomUpdate { rooms: vec![room("a", 3), room("new", 2)], removed: vec![id("gone")] };
    page.receive(&ServerFrame::RoomUpdate(update));
    let list = page
        .updates
        .iter()
        .rev()
        .find_map(|update| if let Update::Rooms(list) = update { Some(list.rooms.clone()) } else { None });
    assert_eq!(list, Some(vec![room("a", 3), room("b", 2), room("new", 2)]));
}

#[test]
fn refused_list_of_rooms_is_asked_for_again_while_it_is_shown() {
    for stays in [true, false] {
        let mut page = Page::new(1);
        page.handle(Event::Start);
        page.handle(Event::Intent(Intent::WatchRooms(true)));
        page.greet();
        let watch = page.next_sent("watch_rooms");
        page.refuse(&watch, rate_limited(500));
        if !stays {
            page.handle(Event::Intent(Intent::WatchRooms(false)));
            page.next_sent("unwatch_rooms");
        }
        assert_eq!(page.sleep_until_wake() == 500, stays);
        assert_eq!(page.sent.pop_front().is_some_and(|frame| frame.command.name() == "watch_rooms"), stays);
    }
}

fn own_room(name: &str, head: u64, read: u64) -> MyRoom {
    MyRoom { room: id(name), name: name.into(), head, read, mentions: None }
}

/// A page in the room that has read up to `read`, and shows the list of the user's rooms.
fn page_with_own_rooms(rooms: Vec<MyRoom>) -> Page {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    let after = Some(Position { epoch: "e".into(), seq: 9, rev: 0 });
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after }));
    page.greet();
    page.enter(9, vec![]);
    page.handle(Event::Intent(Intent::WatchMyRooms));
    let watch = page.next_sent("watch_my_rooms");
    page.acknowledge(&watch, Ack::MyRooms(MyRooms { rooms }));
    page
}

fn mark(page: &mut Page, seq: u64) {
    let target = MessageRef { epoch: "e".into(), seq };
    page.handle(Event::Intent(Intent::MarkRead { room: ROOM.into(), target }));
}

fn marked(page: &mut Page) -> Vec<u64> {
    let seq =
        |frame: ClientFrame| if let Command::MarkRead(mark) = frame.command { Some(mark.target.seq) } else { None };
    std::mem::take(&mut page.sent).into_iter().filter_map(seq).collect()
}

fn shown_own_rooms(page: &Page) -> Option<Vec<MyRoom>> {
    let shown = |update: &Update| if let Update::MyRooms(rooms) = update { Some(rooms.clone()) } else { None };
    page.updates.iter().rev().find_map(shown)
}

#[test]
fn marks_are_sent_at_intervals_and_when_the_room_is_left() {
    let mut page = page_with_own_rooms(vec![own_room(ROOM, 9, 5)]);
    mark(&mut page, 7);
    assert_eq!(marked(&mut page), [7]);
    mark(&mut page, 8);
    mark(&mut page, 9);
    mark(&mut page, 4);
    assert_eq!(marked(&mut page), Vec::<u64>::new());
    assert_eq!(page.sleep_until_wake(), 5_000);
    assert_eq!(marked(&mut page), [9]);
    mark(&mut page, 10);
    page.handle(Event::Intent(Intent::Leave { room: ROOM.into() }));
    assert_eq!(marked(&mut page), [10]);
}

#[test]
fn mark_is_not_sent_for_a_room_that_is_not_in_the_list() {
    let mut page = page_with_own_rooms(vec![own_room("other", 9, 5)]);
    mark(&mut page, 9);
    assert_eq!(marked(&mut page), Vec::<u64>::new());
    let update = MyRoomsUpdate { rooms: vec![own_room(ROOM, 9, 2)], removed: vec![id("other")] };
    page.receive(&ServerFrame::MyRoomsChanged(update));
    assert_eq!(marked(&mut page), [9], "the room was added");
    assert_eq!(shown_own_rooms(&page), Some(vec![own_room(ROOM, 9, 9)]), "the page knows more than the server");
}

#[test]
fn marked_room_is_shown_as_read_at_once() {
    let mut page = page_with_own_rooms(vec![own_room(ROOM, 9, 5)]);
    mark(&mut page, 9);
    assert_eq!(shown_own_rooms(&page), Some(vec![own_room(ROOM, 9, 9)]));
}

#[test]
fn hidden_page_sends_its_mark_at_once() {
    let mut page = page_with_own_rooms(vec![own_room(ROOM, 9, 5)]);
    mark(&mut page, 7);
    mark(&mut page, 8);
    assert_eq!(marked(&mut page), [7]);
    page.handle(Event::Hidden);
    page.handle(Event::Hidden);
    assert_eq!(marked(&mut page), [8]);
}

#[test]
fn mark_of_another_history_is_dropped() {
    let mut page = page_with_own_rooms(vec![own_room(ROOM, 9, 5)]);
    mark(&mut page, 9);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    page.greet();
    let enter = page.next_sent("enter_room");
    let Ack::EnterRoom(ack) = entered(3, vec![]) else { unreachable!("it is an answer to enter_room") };
    page.acknowledge(&enter, Ack::EnterRoom(EnterRoomAck { epoch: "f".into(), recovered: false, ..ack }));
    let watch = page.next_sent("watch_my_rooms");
    page.acknowledge(&watch, Ack::MyRooms(MyRooms { rooms: vec![own_room(ROOM, 3, 1)] }));
    assert_eq!(shown_own_rooms(&page), Some(vec![own_room(ROOM, 3, 1)]));
    assert_eq!(marked(&mut page), Vec::<u64>::new());
    let target = MessageRef { epoch: "f".into(), seq: 3 };
    page.handle(Event::Intent(Intent::MarkRead { room: ROOM.into(), target }));
    assert_eq!(marked(&mut page), [3]);
}

#[test]
fn mark_is_sent_again_over_a_new_connection() {
    let mut page = page_with_own_rooms(vec![own_room(ROOM, 9, 5)]);
    mark(&mut page, 9);
    assert_eq!(marked(&mut page), [9]);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    page.greet();
    page.enter(9, vec![]);
    let watch = page.next_sent("watch_my_rooms");
    page.acknowledge(&watch, Ack::MyRooms(MyRooms { rooms: vec![own_room(ROOM, 9, 5)] }));
    assert_eq!(marked(&mut page), [9]);
}

#[test]
fn members_are_loaded_in_an_entered_room_or_the_failure_is_told() {
    let mut page = Page::in_room(1, 0);
    let load = |after| Event::Intent(Intent::Members { room: ROOM.into(), after });
    let loaded = |page: &Page| {
        let last = page.updates.iter().rev();
        let mut members = last.filter_map(|update| {
            if let Update::Members { after, page, .. } = update { Some((*after, page.clone())) } else { None }
        });
        members.next()
    };
    page.handle(load(0));
    let asked = page.next_sent("members");
    assert_eq!(asked.command, Command::Members(Members { room: id(ROOM), after: None, limit: 100 }));
    let ack = MembersAck { count: 300, members: vec![me()], members_after: Some(7), crowded: Some(true) };
    page.acknowledge(&asked, Ack::Members(ack.clone()));
    assert_eq!(loaded(&page), Some((0, Some(ack))));

    page.handle(load(7));
    let asked = page.next_sent("members");
    page.refuse(&asked, ErrorCode::RateLimited.into());
    assert_eq!(loaded(&page), Some((7, None)));
    page.handle(load(8));
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    assert_eq!(loaded(&page), Some((8, None)));
    page.handle(load(9));
    assert_eq!(loaded(&page), Some((9, None)));
}

#[test]
fn refused_hello_delays_the_reconnect_as_long_as_the_server_asks() {
    for (retry_after_ms, least) in [(None, 0), (Some(20_000), 20_000)] {
        let mut page = Page::new(1);
        page.handle(Event::Start);
        page.handle(Event::Opened);
        let hello = page.next_sent("hello");
        page.updates.clear();
        page.refuse(&hello, Refusal { retry_after_ms, ..ErrorCode::RateLimited.into() });
        assert_eq!((page.drops, page.updates.len()), (1, 1), "one change of state, with the final delay");
        let delay = page.sleep_until_wake();
        assert!((least..=least.max(500)).contains(&delay), "{delay}");
        assert_eq!(page.connects, 2);
    }
}

#[test]
fn dead_connection_is_detected_within_35_seconds() {
    let mut page = Page::in_room(1, 0);
    page.sleep_until_wake();
    page.next_sent("ping");
    page.sleep_until_wake();
    assert!(page.now <= 35_000 && page.drops == 1);
    assert!(matches!(page.connection(), ConnectionState::Waiting { .. }));
}

#[test]
fn any_frame_postpones_the_heartbeat() {
    let mut page = Page::in_room(1, 0);
    page.now += 20_000;
    page.receive(&ServerFrame::NewMessage(message(1)));
    page.now += 24_999;
    page.handle(Event::Tick);
    assert!(page.sent.is_empty());
    page.now += 1;
    page.handle(Event::Tick);
    let ping = page.next_sent("ping");
    page.acknowledge(&ping, Ack::Empty(Empty {}));
    assert_eq!(page.session.next_wake(), Some(page.now + 25_000));
}

#[test]
fn resumed_page_pings_at_once_with_a_short_timeout() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Awake);
    let ping = page.next_sent("ping");
    page.handle(Event::Awake);
    assert!(page.sent.is_empty(), "one ping is enough");
    page.acknowledge(&ping, Ack::Empty(Empty {}));
    page.handle(Event::Slept);
    page.next_sent("ping");
    assert_eq!(page.sleep_until_wake(), 4_000, "a connection that died during suspension is given up soon");
    assert_eq!(page.drops, 1);
    page.sleep_until_wake();
    assert_eq!(page.connects, 2);
}

#[test]
fn glance_at_the_page_is_as_patient_as_the_heartbeat() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Awake);
    page.next_sent("ping");
    assert_eq!(page.sleep_until_wake(), 10_000, "the page was not suspended");
    assert_eq!(page.drops, 1);
}

#[test]
fn slow_line_survives_sleep_and_offline_estimates() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Opened);
    let hello = page.next_sent("hello");
    page.now += 5_000;
    page.acknowledge(&hello, hello_ack());
    for event in [Event::Awake, Event::Slept, Event::Offline, Event::Awake, Event::Slept] {
        page.handle(event.clone());
        let ping = page.next_sent("ping");
        page.now += 5_000;
        page.handle(Event::Tick);
        assert_eq!(page.drops, 0, "{event:?}");
        page.acknowledge(&ping, Ack::Empty(Empty {}));
    }
    assert_eq!((page.connects, page.connection()), (1, ConnectionState::Online));
}

#[test]
fn slow_line_gets_more_time_to_open_with_each_attempt() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    let timeouts = [10_000, 20_000, 40_000, 60_000, 60_000].map(|_| {
        let timeout = page.sleep_until_wake();
        page.sleep_until_wake();
        timeout
    });
    assert_eq!(timeouts, [10_000, 20_000, 40_000, 60_000, 60_000]);
    // A measured round trip counts from the first attempt on.
    page.handle(Event::Opened);
    let hello = page.next_sent("hello");
    page.now += 5_000;
    page.acknowledge(&hello, hello_ack());
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    assert_eq!(page.sleep_until_wake(), 30_000);
}

#[test]
fn frozen_page_waits_for_an_answer_that_may_have_arrived() {
    let mut page = Page::in_room(1, 0);
    page.sleep_until_wake();
    page.next_sent("ping");
    // Timers and frames wait for an hour. The timer is first.
    page.now += 3_600_000;
    page.handle(Event::Tick);
    let again = page.next_sent("ping");
    assert_eq!(page.drops, 0);
    page.acknowledge(&again, Ack::Empty(Empty {}));
    assert_eq!(page.sleep_until_wake(), 25_000);
    // Throttled timers are always late: the second one decides.
    page.next_sent("ping");
    page.now += 60_000;
    page.handle(Event::Tick);
    page.next_sent("ping");
    page.now += 60_000;
    page.handle(Event::Tick);
    assert_eq!(page.drops, 1);
}

#[test]
fn tab_that_gave_way_connects_when_the_reader_is_back() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Yield);
    assert_eq!((page.drops, page.connection()), (1, ConnectionState::Refused(CloseCode::Replaced.number())));
    page.handle(Event::Slept);
    assert_eq!((page.connects, page.session.next_wake()), (1, None));
    page.handle(Event::Awake);
    assert_eq!(page.connects, 2);
    // A tab that the server closed for too many connections waits for the user.
    page.handle(Event::Closed(CloseCode::Replaced.number()));
    page.handle(Event::Awake);
    assert_eq!(page.connects, 2);
}

#[test]
fn page_in_the_back_forward_cache_has_no_connection_until_it_is_shown() {
    let mut page = Page::in_room(1, 3);
    page.handle(Event::Suspend);
    assert_eq!((page.drops, page.connection(), page.session.next_wake()), (1, ConnectionState::Idle, None));
    for event in [Event::Awake, Event::Slept, Event::Offline, Event::Tick] {
        page.handle(event);
    }
    assert_eq!(page.connects, 1);
    page.handle(Event::Start);
    page.greet();
    let enter = page.next_sent("enter_room");
    assert!(matches!(&enter.command, Command::EnterRoom(enter) if enter.after.as_ref().is_some_and(|at| at.seq == 3)));
}

#[test]
fn false_offline_estimate_keeps_the_connection() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Offline);
    let ping = page.next_sent("ping");
    page.acknowledge(&ping, Ack::Empty(Empty {}));
    assert_eq!((page.drops, page.connection()), (0, ConnectionState::Online));
    page.receive(&ServerFrame::NewMessage(message(1)));
    assert_eq!(page.updates.last(), Some(&Update::Message(message(1))));
    assert_eq!(page.sleep_until_wake(), 25_000);
}

#[test]
fn connection_that_is_lost_offline_is_retried_with_backoff() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Offline);
    page.next_sent("ping");
    assert_eq!(page.sleep_until_wake(), 4_000);
    for attempt in 2..10 {
        assert!(matches!(page.connection(), ConnectionState::Waiting { reason: WaitReason::Offline, .. }));
        let pause = page.sleep_until_wake();
        assert!(pause <= 30_000 && page.connects == attempt, "{pause} before attempt {attempt}");
        page.handle(Event::Closed(ABNORMAL_CLOSE));
    }
    // Neither the user nor the browser has to wait for that.
    page.handle(Event::Intent(Intent::ReconnectNow));
    assert_eq!(page.connects, 10);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.handle(Event::Awake);
    assert_eq!(page.connects, 11);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    assert!(matches!(page.connection(), ConnectionState::Waiting { reason: WaitReason::Lost, .. }));
}

#[test]
fn user_can_replace_an_attempt_that_hangs() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.now += 3_000;
    page.handle(Event::Intent(Intent::ReconnectNow));
    assert_eq!((page.connects, page.drops), (2, 1));
    assert_eq!(page.session.next_wake(), Some(13_000));
}

#[test]
fn rate_limited_messages_keep_their_order() {
    let mut page = Page::in_room(1, 0);
    (1..=3).for_each(|key| page.handle(Event::Intent(Intent::Post(post(key, "t")))));
    let first = page.next_sent("new_message");
    assert!(page.sent.is_empty(), "one message in flight at a time");
    page.refuse(&first, Refusal { retry_after_ms: Some(300), ..ErrorCode::RateLimited.into() });
    assert!(page.sent.is_empty());
    assert_eq!(page.sleep_until_wake(), 300);
    for key in 1..=3 {
        let sent = page.next_sent("new_message");
        let Command::NewMessage(post) = &sent.command else { unreachable!() };
        assert_eq!(post.key, MessageKey(key));
        let ack = PostAck { room: id(ROOM), key: post.key, seq: key as u64, at: 0, dup: None };
        page.acknowledge(&sent, Ack::NewMessage(ack));
    }
    assert!(page.sent.is_empty());
    assert_eq!(page.statuses(), [SendStatus::Stored(1), SendStatus::Stored(2), SendStatus::Stored(3)]);
}

#[test]
fn refused_message_is_reported_and_does_not_block_the_next() {
    let mut page = Page::in_room(1, 0);
    (1..=2).for_each(|key| page.handle(Event::Intent(Intent::Post(post(key, "t")))));
    let first = page.next_sent("new_message");
    page.refuse(&first, ErrorCode::KeyConflict.into());
    assert_eq!(page.statuses(), [SendStatus::Refused(ErrorCode::KeyConflict.into())]);
    page.next_sent("new_message");
}

#[test]
fn duplicate_message_is_dropped_and_gap_enters_the_room_again() {
    let mut page = Page::in_room(1, 5);
    page.updates.clear();
    page.receive(&ServerFrame::NewMessage(message(5)));
    page.receive(&ServerFrame::NewMessage(message(6)));
    page.receive(&ServerFrame::NewMessage(message(6)));
    assert_eq!(page.updates, [Update::Message(message(6))]);
    page.receive(&ServerFrame::NewMessage(message(8)));
    let enter = page.next_sent("enter_room");
    assert!(
        matches!(&enter.command, Command::EnterRoom(enter) if enter.after.as_ref().map(|after| after.seq) == Some(6))
    );
}

#[test]
fn rename_retries_rooms_refused_for_the_old_name() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
    page.greet();
    let enter = page.next_sent("enter_room");
    page.refuse(&enter, ErrorCode::NickTaken.into());
    assert!(matches!(page.updates.last(), Some(Update::NotEntered { .. })));
    page.handle(Event::Intent(Intent::Rename { nickname: "other".into() }));
    let rename = page.next_sent("nickname");
    page.acknowledge(&rename, Ack::Nickname(NicknameAck { nickname: "other".into() }));
    page.next_sent("enter_room");
}

#[test]
fn temporarily_refused_room_is_retried() {
    for code in [ErrorCode::RoomQuota, ErrorCode::RateLimited, ErrorCode::StoreUnavailable] {
        let mut page = Page::new(1);
        page.handle(Event::Start);
        page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
        page.greet();
        let enter = page.next_sent("enter_room");
        page.refuse(&enter, Refusal { retry_after_ms: Some(1_000), ..code.into() });
        assert!((1_000..=1_500).contains(&page.sleep_until_wake()), "{code}");
        page.enter(0, vec![]);
        assert_eq!((page.connects, page.connection()), (1, ConnectionState::Online));
    }
}

#[test]
fn canonical_room_name_replaces_the_requested_name() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Intent(Intent::Enter { room: "R".into(), after: None }));
    page.handle(Event::Intent(Intent::Post(UnsentMessage { room: "R".into(), ..post(1, "early") })));
    page.greet();
    page.enter(0, vec![]);
    assert!(page.updates.contains(&Update::Named { requested: "R".into(), room: ROOM.into() }));
    let sent = page.next_sent("new_message");
    assert!(matches!(&sent.command, Command::NewMessage(post) if post.room == id(ROOM)));
    page.receive(&ServerFrame::NewMessage(message(1)));
    assert_eq!(page.updates.last(), Some(&Update::Message(message(1))));
}

#[test]
fn message_refused_before_the_room_had_its_canonical_name_is_sent_after_a_retry() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    let requested = UnsentMessage { room: "R".into(), ..post(1, "early") };
    page.handle(Event::Intent(Intent::Enter { room: "R".into(), after: None }));
    page.handle(Event::Intent(Intent::Post(requested)));
    page.greet();
    page.enter(0, vec![]);
    let sent = page.next_sent("new_message");
    page.refuse(&sent, ErrorCode::KeyConflict.into());
    // The page renames its pending messages when it learns the canonical name, so it retries with that.
    page.handle(Event::Intent(Intent::Post(post(1, "early"))));
    acknowledge_post(&mut page, 1);
    assert!(matches!(page.updates.last(), Some(Update::Posted { room, .. }) if room == ROOM));
}

#[test]
fn unsent_message_is_emitted_when_its_room_is_shown_again() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.handle(Event::Intent(Intent::Post(post(1, "t"))));
    page.handle(Event::Intent(Intent::Leave { room: ROOM.into() }));
    page.updates.clear();
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
    assert_eq!(page.updates, [Update::Unsent(post(1, "t"))]);
}

fn acknowledge_post(page: &mut Page, key: u128) {
    let sent = page.next_sent("new_message");
    let ack = PostAck { room: id(ROOM), key: MessageKey(key), seq: 1, at: 0, dup: None };
    page.acknowledge(&sent, Ack::NewMessage(ack));
}

#[test]
fn unsent_message_stays_in_storage_until_it_is_settled() {
    let mut page = Page::in_room(1, 0);
    (1..=3).for_each(|key| page.handle(Event::Intent(Intent::Post(post(key, "t")))));
    assert_eq!(page.stored.len(), 3);
    acknowledge_post(&mut page, 1);
    let stored_keys = |page: &Page| page.stored.keys().map(|key| key.0).collect::<Vec<_>>();
    // A full disk is temporary: the message is retried, before the next one.
    let second = page.next_sent("new_message");
    page.refuse(&second, ErrorCode::StoreUnavailable.into());
    assert_eq!((stored_keys(&page), page.statuses().len()), (vec![2, 3], 1));
    page.sleep_until_wake();
    // Any other refusal settles the message.
    let second = page.next_sent("new_message");
    page.refuse(&second, ErrorCode::KeyConflict.into());
    assert_eq!(stored_keys(&page), [3]);
    assert_eq!(page.statuses().last(), Some(&SendStatus::Refused(ErrorCode::KeyConflict.into())));
    acknowledge_post(&mut page, 3);
    assert!(page.stored.is_empty());
    // The user retries it, and then discards it.
    page.handle(Event::Intent(Intent::Post(post(2, "t"))));
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.handle(Event::Intent(Intent::Discard(MessageKey(2))));
    assert!(page.stored.is_empty());
}

#[test]
fn reload_shows_and_sends_stored_messages_in_order() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    (1..=2).for_each(|key| page.handle(Event::Intent(Intent::Post(post(key, "t")))));
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
    page.greet();
    page.enter(0, vec![]);
    let shown: Vec<_> = page.updates.iter().filter(|change| matches!(change, Update::Unsent(_))).collect();
    assert_eq!(shown.len(), 4, "once from storage and once when the room is shown; the page deduplicates them by key");
    acknowledge_post(&mut page, 1);
    acknowledge_post(&mut page, 2);
    assert!(page.stored.is_empty() && page.sent.is_empty());
}

#[test]
fn queued_message_is_sent_from_a_background_room() {
    let mut page = Page::in_room(1, 0);
    (1..=2).for_each(|key| page.handle(Event::Intent(Intent::Post(post(key, "t")))));
    page.handle(Event::Intent(Intent::Leave { room: ROOM.into() }));
    acknowledge_post(&mut page, 1);
    page.enter(0, vec![]);
    acknowledge_post(&mut page, 2);
    page.next_sent("leave_room");
    assert!(page.sent.is_empty() && page.stored.is_empty());

    // A message that an earlier page left in storage, while the lobby is shown.
    page.handle(Event::Intent(Intent::Post(post(3, "t"))));
    let enter = page.next_sent("enter_room");
    page.refuse(&enter, ErrorCode::NickTaken.into());
    assert!(page.sent.is_empty() && page.stored.len() == 1, "it waits until a page shows the room");
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
    page.enter(0, vec![]);
    acknowledge_post(&mut page, 3);
    assert!(page.sent.is_empty(), "a page shows the room now");
}

#[test]
fn background_room_merges_into_the_shown_room() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Intent(Intent::Post(UnsentMessage { room: "R".into(), ..post(1, "t") })));
    // The message that was stored meanwhile is only in this answer, which has the other name.
    let enter = page.next_sent("enter_room");
    page.acknowledge(&enter, entered(1, vec![message(1)]));
    let enter = page.next_sent("enter_room");
    let Command::EnterRoom(EnterRoom { name, room, after }) = &enter.command else { unreachable!() };
    assert_eq!((name.as_str(), *room, after.as_ref().unwrap().seq), (ROOM, Some(id(ROOM)), 0));
    page.acknowledge(&enter, entered(1, vec![message(1)]));
    acknowledge_post(&mut page, 1);
    assert!(page.sent.is_empty(), "the room stays entered");
    page.receive(&ServerFrame::NewMessage(message(2)));
    assert_eq!(page.updates.last(), Some(&Update::Message(message(2))));
}

fn ann() -> User {
    User { id: UserId(7), nickname: "Ann".into() }
}

fn typing_counts(page: &mut Page) -> Vec<usize> {
    let updates = std::mem::take(&mut page.updates).into_iter();
    updates
        .filter_map(|update| if let Update::Typing { users, .. } = update { Some(users.len()) } else { None })
        .collect()
}

#[test]
fn typing_users_are_emitted_until_they_stop() {
    let mut page = Page::in_room(1, 0);
    let typing = |user: User| ServerFrame::Typing(Typing { room: id(ROOM), user });
    page.receive(&typing(ann()));
    page.receive(&typing(ann()));
    page.receive(&typing(me()));
    assert_eq!(typing_counts(&mut page), [1], "a repeated notification and our own change nothing");
    assert_eq!(page.sleep_until_wake(), 6_000);
    assert_eq!(typing_counts(&mut page), [0]);
    page.receive(&typing(ann()));
    page.receive(&ServerFrame::NewMessage(Message { user: ann(), ..message(1) }));
    assert_eq!(typing_counts(&mut page), [1, 0]);
    page.receive(&typing(ann()));
    page.receive(&ServerFrame::Bye(RoomPresence { room: id(ROOM), user: ann(), count: 1 }));
    assert_eq!(typing_counts(&mut page), [1, 0]);
    page.receive(&typing(ann()));
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    assert_eq!(typing_counts(&mut page), [1, 0]);
}

#[test]
fn typing_notifications_are_throttled_until_a_message_is_posted() {
    let mut page = Page::in_room(1, 0);
    let letter = || Event::Intent(Intent::Typing { room: ROOM.into() });
    let sent = |page: &mut Page, wait: u64| {
        page.now += wait;
        page.handle(letter());
        page.sent.drain(..).filter(|frame| frame.command.name() == "typing").count()
    };
    assert_eq!([0, 100, 2_800, 100, 2_999, 1].map(|wait| sent(&mut page, wait)), [1, 0, 0, 1, 0, 1]);
    page.handle(Event::Intent(Intent::Post(post(1, "t"))));
    assert_eq!(sent(&mut page, 0), 1);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    assert_eq!(sent(&mut page, 5_000), 0, "no connection, no notification");
}

#[test]
fn search_is_answered_refused_or_fails_with_the_connection() {
    let mut page = Page::in_room(1, 5);
    let place = Some(Place { at: 9, room: id(ROOM), seq: 4 });
    let asked = Search { room: ROOM.into(), in_all: false, text: "hello".into(), before: place };
    let search = || Event::Intent(Intent::Search(asked.clone()));
    let found = |result| Update::Found { search: asked.clone(), result };
    let last = |page: &Page| page.updates.iter().rev().find(|update| matches!(update, Update::Found { .. })).cloned();

    page.handle(search());
    let frame = page.sent.pop_back().unwrap();
    let Command::Search(sent) = &frame.command else { panic!("{frame:?}") };
    assert_eq!((sent.room, sent.text.as_str(), sent.before), (Some(id(ROOM)), "hello", place));
    let ack = SearchAck { found: Vec::new(), before: place };
    page.acknowledge(&frame, Ack::Search(ack.clone()));
    assert_eq!(last(&page), Some(found(Ok(ack))));

    page.handle(search());
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    assert_eq!(last(&page), Some(found(Err(None))));
    page.updates.clear();
    page.handle(search());
    assert_eq!(last(&page), Some(found(Err(None))), "without a connection");
}

#[test]
fn search_in_all_rooms_names_none() {
    let mut page = Page::in_room(1, 5);
    let asked = Search { room: ROOM.into(), in_all: true, text: "hello".into(), before: None };
    page.handle(Event::Intent(Intent::Search(asked)));
    let frame = page.sent.pop_back().unwrap();
    let Command::Search(sent) = &frame.command else { panic!("{frame:?}") };
    assert_eq!((sent.room, sent.text.as_str()), (None, "hello"));
}

#[test]
fn pins_are_loaded_in_an_entered_room_and_fail_with_the_connection() {
    let mut page = Page::in_room(1, 5);
    let load = || Event::Intent(Intent::Pins { room: ROOM.into() });
    let pins = |result| Update::Pins { room: ROOM.into(), result };
    let last = |page: &Page| page.updates.iter().rev().find(|update| matches!(update, Update::Pins { .. })).cloned();

    page.handle(load());
    let asked = page.next_sent("pins");
    assert_eq!(asked.command, Command::Pins(InRoom { room: id(ROOM) }));
    let ack = PinsAck { messages: vec![message(4)] };
    page.acknowledge(&asked, Ack::Pins(ack.clone()));
    assert_eq!(last(&page), Some(pins(Ok(ack))));
    page.handle(load());
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    assert_eq!(last(&page), Some(pins(Err(None))));
    page.updates.clear();
    page.handle(load());
    assert_eq!(last(&page), Some(pins(Err(None))), "without a connection");
}

#[test]
fn lost_connection_fails_pending_requests_in_order() {
    let mut page = Page::in_room(1, 5);
    page.updates.clear();
    let mut expected = Vec::new();
    for limit in 1..=20 {
        page.handle(Event::Intent(Intent::Older { room: ROOM.into(), before: 5, limit }));
        page.handle(Event::Intent(Intent::Rename { nickname: "other".into() }));
        expected.extend([Update::Older { room: ROOM.into(), before: 5, history: None }, Update::NotRenamed(None)]);
    }
    page.handle(Event::Suspend);
    expected.push(Update::Connection(ConnectionState::Idle));
    assert_eq!(page.updates, expected);
}

#[test]
fn stale_enter_answer_is_ignored() {
    let mut page = Page::in_room(1, 5);
    let enter_after = |seq| {
        Event::Intent(Intent::Enter { room: ROOM.into(), after: Some(Position { epoch: "e".into(), seq, rev: 0 }) })
    };
    page.handle(enter_after(5));
    page.handle(Event::Intent(Intent::Leave { room: ROOM.into() }));
    page.handle(enter_after(7));
    page.updates.clear();
    page.enter(6, vec![message(6)]);
    page.receive(&ServerFrame::NewMessage(message(7)));
    assert_eq!(page.updates, [], "the page already shows message 7");
    page.next_sent("leave_room");
    page.enter(8, vec![message(8)]);
    assert!(matches!(page.updates.as_slice(), [Update::Entered(ack)] if ack.head == 8));
}

#[test]
fn room_left_before_it_is_entered_is_left_after_the_answer() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.greet();
    page.handle(Event::Intent(Intent::Enter { room: "R".into(), after: None }));
    page.handle(Event::Intent(Intent::Leave { room: "R".into() }));
    assert_eq!(page.sent.len(), 1, "the page does not know the room's id yet");
    page.updates.clear();
    page.enter(6, vec![message(6)]);
    assert_eq!(page.next_sent("leave_room").command, Command::LeaveRoom(InRoom { room: id(ROOM) }));
    page.receive(&ServerFrame::NewMessage(message(7)));
    assert_eq!(page.updates, [], "no page shows the room");
    assert!(page.sent.is_empty());
}

#[test]
fn reconnect_enters_the_room_by_its_id_and_its_name() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Intent(Intent::Enter { room: "R".into(), after: None }));
    let entered_by = |page: &mut Page| {
        page.greet();
        let enter = page.next_sent("enter_room");
        page.acknowledge(&enter, entered(0, vec![]));
        let Command::EnterRoom(enter) = enter.command else { unreachable!() };
        (enter.name, enter.room)
    };
    assert_eq!(entered_by(&mut page), ("R".into(), None));
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    assert_eq!(entered_by(&mut page), (ROOM.into(), Some(id(ROOM))));
}

#[test]
fn frames_of_an_unknown_room_are_ignored() {
    let mut page = Page::in_call(7);
    page.updates.clear();
    let room = id("other");
    let presence = CallPresence { room, peer: PeerId(7), user: me() };
    let ServerFrame::MessageChanged(changed) = change(1, 1) else { unreachable!() };
    for frame in [
        ServerFrame::NewMessage(Message { room, ..message(1) }),
        ServerFrame::NewMessage(Message { room, ..message(9) }),
        ServerFrame::MessageChanged(MessageChange { room, ..changed }),
        ServerFrame::Typing(Typing { room, user: ann() }),
        ServerFrame::CallJoined(presence.clone()),
        ServerFrame::CallLeft(presence),
        ServerFrame::Media(SetMedia { room, peer: Some(PeerId(8)), audio: true, video: false, screen: false }),
    ] {
        page.receive(&frame);
        assert!(page.updates.is_empty() && page.sent.is_empty(), "{frame:?}");
    }
    page.handle(Event::Intent(media()));
    page.next_sent("media");
    page.receive(&ServerFrame::NewMessage(message(1)));
    assert_eq!(page.updates, [Update::Message(message(1))], "the room of the page is not affected");
}

#[test]
fn unknown_frames_are_ignored() {
    let mut page = Page::in_room(1, 0);
    page.updates.clear();
    page.handle(Event::Received(r#"{"type":"hologram","payload":{}}"#.into()));
    page.handle(Event::Received("not even JSON".into()));
    assert!(page.updates.is_empty() && page.drops == 0);
}

// Servers of other versions.

/// Another version of the server answers with something that this page cannot decode.
fn unreadable_ack(frame: &ClientFrame) -> Value {
    json!({ "type": "ack", "payload": { "v2": {} }, "id": frame.id })
}

#[test]
fn newer_server_is_understood() {
    let mut page = Page { newer: true, ..Page::new(1) };
    page.handle(Event::Start);
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
    page.greet();
    page.enter(1, vec![message(1)]);
    page.handle(Event::Intent(Intent::Post(post(2, "t"))));
    acknowledge_post(&mut page, 2);
    page.receive(&ServerFrame::NewMessage(message(2)));
    page.handle(Event::Intent(Intent::JoinCall { room: ROOM.into() }));
    let join = page.next_sent("join_call");
    page.acknowledge(&join, joined(7));
    assert!(!page.updates.contains(&Update::NotUnderstood) && page.drops == 0);
    assert!(page.updates.contains(&Update::Message(message(2))));
    assert_eq!(page.call_updates().len(), 1);
}

#[test]
fn unreadable_greeting_is_retried_and_reported() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Opened);
    let hello = page.next_sent("hello");
    page.receive_json(&unreadable_ack(&hello));
    assert!(page.updates.contains(&Update::NotUnderstood));
    assert!(matches!(page.connection(), ConnectionState::Waiting { .. }));
    page.sleep_until_wake();
    page.greet();
    assert_eq!(page.connection(), ConnectionState::Online, "another server of the cluster may be older");
    // An older server refuses what it does not know.
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Opened);
    let hello = page.next_sent("hello");
    page.refuse(&hello, ErrorCode::UnknownField.into());
    assert!(page.updates.contains(&Update::NotUnderstood));
}

#[test]
fn unreadable_answer_ends_its_request() {
    let mut page = Page::in_room(1, 5);
    (1..=2).for_each(|key| page.handle(Event::Intent(Intent::Post(post(key, "t")))));
    let first = page.next_sent("new_message");
    page.updates.clear();
    page.receive_json(&unreadable_ack(&first));
    assert_eq!((page.statuses(), page.stored.len()), (vec![SendStatus::Shown], 1), "an ack means that it is stored");
    page.next_sent("new_message");

    page.handle(Event::Intent(Intent::Older { room: ROOM.into(), before: 5, limit: 1 }));
    page.handle(Event::Intent(Intent::Rename { nickname: "other".into() }));
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
    page.updates.clear();
    for name in ["history", "nickname", "enter_room"] {
        let request = page.next_sent(name);
        page.receive_json(&unreadable_ack(&request));
    }
    let refusal = Refusal::from(ErrorCode::Unknown);
    assert_eq!(
        page.updates,
        [
            Update::NotUnderstood,
            Update::Older { room: ROOM.into(), before: 5, history: None },
            Update::NotUnderstood,
            Update::NotRenamed(Some(refusal.clone())),
            Update::NotUnderstood,
            Update::NotEntered { room: ROOM.into(), refusal },
        ]
    );
    assert_eq!(page.drops, 0);
}

#[test]
fn unknown_error_code_is_shown_or_retried_and_blocks_nothing() {
    let mut page = Page::in_room(1, 0);
    (1..=2).for_each(|key| page.handle(Event::Intent(Intent::Post(post(key, "t")))));
    let refuse = |page: &mut Page, payload: Value| {
        let sent = page.next_sent("new_message");
        page.receive_json(&json!({ "type": "error", "payload": payload, "id": sent.id }));
    };
    refuse(&mut page, json!({ "code": "MOON_PHASE", "message": "", "retry_after_ms": 700 }));
    assert_eq!((page.sleep_until_wake(), page.statuses().len()), (700, 0));
    refuse(&mut page, json!({ "code": "MOON_PHASE", "message": "Not tonight." }));
    let refusal = Refusal { message: "Not tonight.".into(), ..ErrorCode::Unknown.into() };
    assert_eq!(page.statuses(), [SendStatus::Refused(refusal)]);
    refuse(&mut page, json!({ "code": { "v2": true } }));
    assert_eq!(
        page.statuses().last(),
        Some(&SendStatus::Refused(Refusal { message: String::new(), ..ErrorCode::Unknown.into() }))
    );
}

#[test]
fn unknown_close_code_follows_its_range() {
    for (code, reconnects) in [(4410, false), (4449, false), (4460, true), (4999, true), (3000, true), (1015, true)] {
        let mut page = Page::in_room(1, 0);
        page.handle(Event::Closed(code));
        assert_eq!(matches!(page.connection(), ConnectionState::Waiting { .. }), reconnects, "{code}");
        assert_eq!(page.connection() == ConnectionState::Refused(code), !reconnects, "{code}");
    }
}

#[test]
fn unknown_entry_of_the_history_keeps_its_place() {
    let unreadable = |message: &Message| message.text.is_empty();
    let mut page = Page::in_room(1, 0);
    page.updates.clear();
    // Another type of frame, and a message without a text.
    page.receive_json(&json!({ "type": "message_edited", "payload": { "room": id(ROOM), "seq": 1, "text": "new" } }));
    page.receive_json(&json!({ "type": "new_message", "payload": { "room": id(ROOM), "seq": 2, "poll": [] } }));
    page.receive(&ServerFrame::NewMessage(message(3)));
    assert!(page.sent.is_empty(), "no gap");
    let [Update::Message(edited), Update::Message(poll), Update::Message(text)] = &page.updates[..] else {
        panic!("{:?}", page.updates)
    };
    assert_eq!(
        [edited, poll, text].map(|message| (message.seq, unreadable(message))),
        [(1, true), (2, true), (3, false)]
    );

    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
    page.greet();
    let enter = page.next_sent("enter_room");
    let Ack::EnterRoom(ack) = entered(2, vec![message(1), message(2)]) else { unreachable!() };
    let mut ack = serde_json::to_value(ack).unwrap();
    ack["messages"][0].as_object_mut().unwrap().remove("text");
    page.receive_json(&json!({ "type": "ack", "payload": ack, "id": enter.id }));
    let Some(Update::Entered(ack)) = page.updates.last() else { panic!("{:?}", page.updates) };
    assert_eq!(ack.messages.iter().map(unreadable).collect::<Vec<_>>(), [true, false]);
}

/// A server with one room, simple enough to be obviously correct.
#[derive(Default)]
struct ModelServer {
    log: Vec<Message>,
    by_key: BTreeMap<MessageKey, u64>,
    in_room: bool,
    /// Frames in transit to the page.
    down: VecDeque<ServerFrame>,
}

impl ModelServer {
    fn store(&mut self, key: MessageKey, user: User) -> (u64, bool) {
        if let Some(seq) = self.by_key.get(&key) {
            return (*seq, true);
        }
        let seq = self.log.len() as u64 + 1;
        let message = Message { seq, key, user, ..message(seq) };
        self.by_key.insert(key, seq);
        self.log.push(message.clone());
        if self.in_room {
            self.down.push_back(ServerFrame::NewMessage(message));
        }
        (seq, false)
    }

    fn take(&mut self, frame: ClientFrame, rate_limited: bool) {
        let request = frame.id.unwrap();
        let ack = match frame.command {
            Command::Hello(_) => hello_ack(),
            Command::EnterRoom(enter) => {
                self.in_room = true;
                let after = enter.after.map_or(0, |after| after.seq);
                entered(self.log.len() as u64, self.log[after as usize..].to_vec())
            }
            Command::NewMessage(_) if rate_limited => {
                let refusal = Refusal { retry_after_ms: Some(100), ..ErrorCode::RateLimited.into() };
                return self.down.push_back(ServerFrame::Error { id: Some(request), refusal });
            }
            Command::NewMessage(post) => {
                let (seq, dup) = self.store(post.key, me());
                Ack::NewMessage(PostAck { room: id(ROOM), key: post.key, seq, at: 0, dup: dup.then_some(true) })
            }
            Command::Ping(_)
            | Command::LeaveRoom(_)
            | Command::Typing(_)
            | Command::UnwatchRooms(_)
            | Command::LeaveCall(_)
            | Command::Offer(_)
            | Command::Answer(_)
            | Command::Ice(_)
            | Command::Media(_) => Ack::Empty(Empty {}),
            Command::Nickname(_)
            | Command::EditMessage(_)
            | Command::DeleteMessage(_)
            | Command::DeleteMessages(_)
            | Command::React(_)
            | Command::PinMessage(_)
            | Command::History(_)
            | Command::Search(_)
            | Command::Pins(_)
            | Command::Members(_)
            | Command::WatchRooms(_)
            | Command::WatchMyRooms(_)
            | Command::KeepRoom(_)
            | Command::MarkRead(_)
            | Command::JoinCall(_) => {
                unreachable!("no step of the test makes the page send this")
            }
        };
        self.down.push_back(ServerFrame::Ack { id: request, ack });
    }

    fn cut(&mut self) {
        self.in_room = false;
        self.down.clear();
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The page posts.
    Post,
    /// A message of another user is stored.
    Other,
    /// A frame of the page reaches the server.
    Up { rate_limited: bool },
    /// A frame of the server reaches the page.
    Down,
    /// The connection is lost, and with it the frames in transit.
    Cut,
    /// Time passes until the next wake. A requested connection opens.
    Wake,
    /// A probe is answered, even one that was sent long ago. A requested connection opens.
    Unblock,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Post),
        2 => Just(Step::Other),
        8 => prop::bool::weighted(0.1).prop_map(|rate_limited| Step::Up { rate_limited }),
        8 => Just(Step::Down),
        1 => Just(Step::Cut),
        2 => Just(Step::Wake),
        1 => Just(Step::Unblock),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is lost, and whatever a newer server says besides: every post is stored once, in the order of posting,
    /// and the page shows every message once, in order.
    #[test]
    fn every_post_is_stored_once_and_every_message_is_shown_once(steps in steps(), seed: u64, newer: bool) {
        let mut page = Page { newer, ..Page::new(seed) };
        let mut server = ModelServer::default();
        let (mut posted, mut others) = (0_u128, 1_000_000_u128);
        page.handle(Event::Start);
        page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
        page.handle(Event::Opened);

        let run = |page: &mut Page, server: &mut ModelServer, step: Step| {
            match step {
                Step::Post | Step::Other => {}
                Step::Up { rate_limited } => {
                    if let Some(frame) = page.sent.pop_front() {
                        server.take(frame, rate_limited);
                    }
                }
                Step::Down => {
                    if let Some(frame) = server.down.pop_front() {
                        page.receive(&frame);
                    }
                }
                Step::Cut => {
                    if !matches!(page.connection(), ConnectionState::Waiting { .. }) {
                        server.cut();
                        page.handle(Event::Closed(ABNORMAL_CLOSE));
                    }
                }
                Step::Wake | Step::Unblock => {
                    let (connects, drops) = (page.connects, page.drops);
                    if matches!(step, Step::Wake) {
                        page.sleep_until_wake();
                    } else {
                        page.handle(Event::Unblocked);
                    }
                    if page.drops > drops {
                        server.cut();
                    }
                    if page.connects > connects {
                        page.handle(Event::Opened);
                    }
                }
            }
        };
        for step in steps {
            match step {
                Step::Post => {
                    posted += 1;
                    page.handle(Event::Intent(Intent::Post(post(posted, "t"))));
                }
                Step::Other => {
                    others += 1;
                    server.store(MessageKey(others), User { id: UserId(2), nickname: "other".into() });
                }
                step => run(&mut page, &mut server, step),
            }
        }
        // Nothing is lost from now on, and everything settles.
        for _ in 0..4 * (posted + 10) {
            let is_idle = page.sent.is_empty() && server.down.is_empty();
            if is_idle || matches!(page.connection(), ConnectionState::Waiting { .. }) {
                run(&mut page, &mut server, Step::Wake);
            }
            while !page.sent.is_empty() || !server.down.is_empty() {
                run(&mut page, &mut server, Step::Up { rate_limited: false });
                run(&mut page, &mut server, Step::Down);
            }
        }

        let mine = server.log.iter().filter(|message| message.user.id == UserId(1));
        let mine: Vec<_> = mine.map(|message| message.key.0).collect();
        prop_assert_eq!(mine, (1..=posted).collect::<Vec<_>>(), "stored once, in the order of posting");
        let mut shown = Vec::new();
        for update in &page.updates {
            if let Update::Entered(ack) = update {
                shown.extend(ack.messages.iter().map(|message| message.seq));
            } else if let Update::Message(message) = update {
                shown.push(message.seq);
            }
        }
        prop_assert_eq!(shown, (1..=server.log.len() as u64).collect::<Vec<_>>(), "shown once, in order");
    }
}

// Calls.

fn joined(peer: u64) -> Ack {
    Ack::JoinCall(JoinCallAck { peer: PeerId(peer), peers: vec![], ice_servers: vec![], ice_seconds: None })
}

fn media() -> Intent {
    let media = SetMedia { room: id(ROOM), peer: None, audio: true, video: false, screen: false };
    Intent::Signal(Signal::Media(media))
}

impl Page {
    fn in_call(peer: u64) -> Self {
        let mut page = Self::in_room(1, 0);
        page.handle(Event::Intent(Intent::JoinCall { room: ROOM.into() }));
        let join = page.next_sent("join_call");
        assert!(matches!(&join.command, Command::JoinCall(join) if join.peer.is_none()));
        page.acknowledge(&join, joined(peer));
        page
    }

    fn call_updates(&mut self) -> Vec<CallUpdate> {
        let updates = std::mem::take(&mut self.updates).into_iter();
        updates
            .filter_map(|change| if let Update::Call { update, .. } = change { Some(update) } else { None })
            .collect()
    }
}

#[test]
fn reconnect_rejoins_the_call_with_the_previous_peer() {
    let mut page = Page::in_call(7);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.handle(Event::Intent(media()));
    page.sleep_until_wake();
    page.greet();
    // The call is joined only after the room is entered again.
    assert!(page.sent.iter().all(|frame| frame.command.name() == "enter_room"));
    page.enter(0, vec![]);
    let join = page.next_sent("join_call");
    assert!(matches!(&join.command, Command::JoinCall(join) if join.peer == Some(PeerId(7))));
    assert!(page.sent.is_empty(), "a signal without a connection is dropped, not delayed");
    page.acknowledge(&join, joined(7));
    page.handle(Event::Intent(media()));
    page.next_sent("media");
    assert!(matches!(page.call_updates().as_slice(), [CallUpdate::Joined(_), CallUpdate::Joined(_)]));
}

#[test]
fn reconnect_does_not_rejoin_a_call_that_was_left() {
    let mut page = Page::in_call(7);
    page.handle(Event::Intent(Intent::LeaveCall { room: ROOM.into() }));
    page.next_sent("leave_call");
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    page.greet();
    page.enter(0, vec![]);
    assert!(page.sent.is_empty());
}

#[test]
fn call_slot_taken_by_another_connection_is_given_up() {
    let mut page = Page::in_call(7);
    let presence = CallPresence { room: id(ROOM), peer: PeerId(7), user: me() };
    page.receive(&ServerFrame::CallLeft(presence.clone()));
    assert!(page.call_updates().contains(&CallUpdate::PeerLeft(presence)));
    page.handle(Event::Intent(media()));
    assert!(page.sent.is_empty());
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    page.greet();
    page.enter(0, vec![]);
    assert!(page.sent.is_empty());
}

#[test]
fn full_call_is_reported_and_not_retried() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Intent(Intent::JoinCall { room: ROOM.into() }));
    let join = page.next_sent("join_call");
    page.refuse(&join, ErrorCode::CallFull.into());
    assert_eq!(page.call_updates(), [CallUpdate::NotJoined(ErrorCode::CallFull.into())]);
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    page.greet();
    page.enter(0, vec![]);
    assert!(page.sent.is_empty());
}

#[test]
fn call_join_refused_by_the_store_is_reported_and_not_retried() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Intent(Intent::JoinCall { room: ROOM.into() }));
    let join = page.next_sent("join_call");
    page.refuse(&join, ErrorCode::StoreUnavailable.into());
    assert_eq!(page.call_updates(), [CallUpdate::NotJoined(ErrorCode::StoreUnavailable.into())]);
}

#[test]
fn rate_limited_call_join_is_retried() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Intent(Intent::JoinCall { room: ROOM.into() }));
    let join = page.next_sent("join_call");
    page.refuse(&join, Refusal { retry_after_ms: Some(500), ..ErrorCode::RateLimited.into() });
    assert_eq!(page.call_updates(), []);
    page.sleep_until_wake();
    page.enter(0, vec![]);
    let join = page.next_sent("join_call");
    page.acknowledge(&join, joined(7));
    // A refused renewal does not give up the slot.
    page.handle(Event::Intent(Intent::JoinCall { room: ROOM.into() }));
    let again = page.next_sent("join_call");
    page.refuse(&again, Refusal { retry_after_ms: Some(500), ..ErrorCode::RateLimited.into() });
    page.handle(Event::Intent(media()));
    page.next_sent("media");
    assert!(matches!(page.call_updates().as_slice(), [CallUpdate::Joined(_)]));
}

fn description(kind: DescriptionKind, peer: u64, sdp: &str) -> Intent {
    let signal = Describe { room: id(ROOM), peer: PeerId(peer), description: Description { kind, sdp: sdp.into() } };
    Intent::Signal(match kind {
        DescriptionKind::Offer => Signal::Offer(signal),
        DescriptionKind::Answer => Signal::Answer(signal),
    })
}

fn candidate(peer: u64, line: &str) -> Intent {
    let candidate = Candidate { candidate: line.into(), sdp_mid: None, sdp_m_line_index: None };
    Intent::Signal(Signal::Ice(Trickle { room: id(ROOM), peer: PeerId(peer), candidate: Some(candidate) }))
}

fn rate_limited(retry_after_ms: u64) -> Refusal {
    Refusal { retry_after_ms: Some(retry_after_ms), ..ErrorCode::RateLimited.into() }
}

#[test]
fn signals_beyond_a_low_rate_limit_all_arrive_once_and_in_order() {
    let mut page = Page::in_call(7);
    for peer in [1, 2, 3] {
        page.handle(Event::Intent(description(DescriptionKind::Offer, peer, "v=0")));
        (0..20).for_each(|n| page.handle(Event::Intent(candidate(peer, &format!("candidate:{n}")))));
        page.handle(Event::Intent(Intent::Signal(Signal::Ice(Trickle {
            room: id(ROOM),
            peer: PeerId(peer),
            candidate: None,
        }))));
    }
    page.handle(Event::Intent(media()));
    // A server that allows four commands at once, and two a second.
    let (mut allowed, mut at, mut refused) = (4.0, page.now, 0);
    let mut accepted: Vec<Command> = Vec::new();
    while accepted.len() < 67 {
        let Some(frame) = page.sent.pop_front() else {
            page.sleep_until_wake();
            continue;
        };
        allowed = f64::min(4.0, allowed + (page.now - at) as f64 / 500.0);
        at = page.now;
        if matches!(frame.command, Command::Ping(_)) || allowed >= 1.0 {
            if !matches!(frame.command, Command::Ping(_)) {
                allowed -= 1.0;
                accepted.push(frame.command.clone());
            }
            page.acknowledge(&frame, Ack::Empty(Empty {}));
        } else {
            refused += 1;
            page.refuse(&frame, rate_limited(((1.0 - allowed) * 500.0) as u64 + 1));
        }
    }
    assert!(refused <= 16 + accepted.len() / 2, "{refused} refusals for {} commands", accepted.len());
    for peer in [1, 2, 3].map(PeerId) {
        let to_peer = |command: &&Command| {
            matches!(command, Command::Offer(sent) if sent.peer == peer)
                || matches!(command, Command::Ice(sent) if sent.peer == peer)
        };
        let signals: Vec<_> = accepted.iter().filter(to_peer).collect();
        assert!(matches!(signals.first(), Some(Command::Offer(_))), "the description is first");
        assert!(matches!(signals.last(), Some(Command::Ice(sent)) if sent.candidate.is_none()), "the end is last");
        let line = |signal: &&Command| {
            let Command::Ice(sent) = signal else { return None };
            sent.candidate.as_ref().map(|candidate| candidate.candidate.clone())
        };
        let mut lines: Vec<_> = signals.iter().filter_map(line).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!((signals.len(), lines.len()), (22, 20), "each candidate once");
    }
    assert!(accepted.iter().any(|command| matches!(command, Command::Media(_))));
}

#[test]
fn signal_that_is_always_refused_is_sent_rarely_and_not_after_the_peer_has_left() {
    let mut page = Page::in_call(7);
    page.handle(Event::Intent(description(DescriptionKind::Answer, 1, "v=0")));
    let mut answers = 0;
    let refuse_for = |page: &mut Page, milliseconds: u64| {
        let (until, mut answers) = (page.now + milliseconds, 0);
        while page.now < until {
            match page.sent.pop_front() {
                Some(frame) if frame.command.name() == "answer" => {
                    answers += 1;
                    page.refuse(&frame, rate_limited(20));
                }
                Some(frame) => page.acknowledge(&frame, Ack::Empty(Empty {})),
                None => drop(page.sleep_until_wake()),
            }
        }
        answers
    };
    answers += refuse_for(&mut page, 60_000);
    assert!((3..=20).contains(&answers), "{answers} within a minute");
    let presence = CallPresence { room: id(ROOM), peer: PeerId(1), user: me() };
    page.receive(&ServerFrame::CallLeft(presence));
    page.sent.clear();
    assert_eq!(refuse_for(&mut page, 60_000), 0);
}

#[test]
fn newer_description_replaces_a_refused_one_with_its_candidates() {
    let mut page = Page::in_call(7);
    page.handle(Event::Intent(description(DescriptionKind::Offer, 1, "first")));
    page.handle(Event::Intent(candidate(1, "candidate:1")));
    let offer = page.next_sent("offer");
    page.refuse(&offer, rate_limited(100));
    // The browser's new offer contains the candidate.
    page.handle(Event::Intent(description(DescriptionKind::Offer, 1, "second")));
    page.sleep_until_wake();
    let offer = page.next_sent("offer");
    assert!(matches!(&offer.command, Command::Offer(sent) if sent.description.sdp == "second"));
    page.acknowledge(&offer, Ack::Empty(Empty {}));
    assert!(page.sent.is_empty());
    // An answer is followed by an offer, and replaces one.
    page.handle(Event::Intent(description(DescriptionKind::Answer, 1, "answer")));
    page.handle(Event::Intent(description(DescriptionKind::Offer, 1, "third")));
    page.sleep_until_wake();
    let answer = page.next_sent("answer");
    assert!(page.sent.is_empty(), "the offer waits for the answer");
    page.refuse(&answer, rate_limited(100));
    page.sleep_until_wake();
    let answer = page.next_sent("answer");
    page.acknowledge(&answer, Ack::Empty(Empty {}));
    page.sleep_until_wake();
    page.next_sent("offer");
}

#[test]
fn candidates_do_not_delay_the_answer_to_another_peer() {
    let mut page = Page::in_call(7);
    (0..100).for_each(|n| page.handle(Event::Intent(candidate(1, &format!("candidate:{n}")))));
    for _ in 0..16 {
        let refused = page.next_sent("ice");
        page.refuse(&refused, rate_limited(100));
    }
    page.handle(Event::Intent(description(DescriptionKind::Answer, 2, "v=0")));
    page.sleep_until_wake();
    page.next_sent("answer");
}

#[test]
fn refused_media_is_sent_again_as_it_is_by_then() {
    let mut page = Page::in_call(7);
    let send = |page: &mut Page, audio| {
        let media = SetMedia { room: id(ROOM), peer: None, audio, video: false, screen: false };
        page.handle(Event::Intent(Intent::Signal(Signal::Media(media))));
    };
    send(&mut page, true);
    let refused = page.next_sent("media");
    page.refuse(&refused, rate_limited(100));
    send(&mut page, false);
    send(&mut page, true);
    send(&mut page, false);
    page.sleep_until_wake();
    let sent = page.next_sent("media");
    assert!(matches!(&sent.command, Command::Media(media) if !media.audio));
    page.acknowledge(&sent, Ack::Empty(Empty {}));
    assert!(page.sent.is_empty());
}

#[test]
fn refused_leave_of_a_call_is_sent_again_before_the_next_join() {
    let mut page = Page::in_call(7);
    page.handle(Event::Intent(Intent::LeaveCall { room: ROOM.into() }));
    let leave = page.next_sent("leave_call");
    page.refuse(&leave, rate_limited(500));
    page.handle(Event::Intent(Intent::JoinCall { room: ROOM.into() }));
    assert!(page.sent.is_empty(), "the server would return the old slot");
    assert_eq!(page.sleep_until_wake(), 500);
    let leave = page.next_sent("leave_call");
    assert!(page.sent.is_empty());
    page.acknowledge(&leave, Ack::Empty(Empty {}));
    let join = page.next_sent("join_call");
    assert!(matches!(&join.command, Command::JoinCall(join) if join.peer.is_none()));
}

#[test]
fn refused_leave_of_a_room_is_sent_again_unless_the_room_is_shown_again() {
    for shown_again in [false, true] {
        let mut page = Page::in_room(1, 0);
        page.handle(Event::Intent(Intent::Leave { room: ROOM.into() }));
        let leave = page.next_sent("leave_room");
        page.refuse(&leave, rate_limited(500));
        if shown_again {
            page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
            page.enter(0, vec![]);
        }
        page.sleep_until_wake();
        let sent = page.sent.iter().filter(|frame| frame.command.name() == "leave_room").count();
        assert_eq!(sent, usize::from(!shown_again));
    }
}

#[test]
fn page_that_shows_a_room_again_does_not_stay_in_its_call() {
    let mut page = Page::in_call(7);
    page.handle(Event::Intent(Intent::Leave { room: ROOM.into() }));
    page.next_sent("leave_call");
    let leave = page.next_sent("leave_room");
    page.refuse(&leave, rate_limited(500));
    page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
    page.enter(0, vec![]);
    assert!(page.sent.is_empty(), "it is in the room, and not in the call");
}

// Networks that block WebSocket.

impl Page {
    /// Fails so many attempts to connect; returns the transports that were tried.
    fn fail(&mut self, times: usize) -> Vec<TransportKind> {
        let fail = |_| {
            let tried = self.transport.unwrap();
            self.handle(Event::Closed(ABNORMAL_CLOSE));
            self.sleep_until_wake();
            tried
        };
        (0..times).map(fail).collect()
    }

    /// In the room, over the fallback.
    fn on_events() -> Self {
        let mut page = Self::new(1);
        page.handle(Event::Start);
        page.handle(Event::Intent(Intent::Enter { room: ROOM.into(), after: None }));
        page.fail(2);
        assert_eq!(page.transport, Some(TransportKind::EventStream));
        page.greet();
        page.enter(0, vec![]);
        page
    }

    /// Lets time pass and answers heartbeats until a probe is sent; returns how much.
    fn sleep_until_probe(&mut self) -> u64 {
        let (began, probes) = (self.now, self.probes);
        while self.probes == probes {
            self.sleep_until_wake();
            if let Some(ping) = self.sent.pop_front() {
                self.acknowledge(&ping, Ack::Empty(Empty {}));
            }
        }
        self.now - began
    }
}

#[test]
fn fallback_is_used_where_websocket_fails() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    assert_eq!(page.fail(2), [TransportKind::WebSocket, TransportKind::WebSocket]);
    assert_eq!(page.transport, Some(TransportKind::EventStream));
    page.greet();
    assert_eq!(page.connection(), ConnectionState::Online);
    // It works, so it is preferred from now on.
    page.handle(Event::Closed(ABNORMAL_CLOSE));
    page.sleep_until_wake();
    assert_eq!(page.transport, Some(TransportKind::EventStream));
}

#[test]
fn hanging_websocket_falls_back_after_one_attempt() {
    for opens in [false, true] {
        let mut page = Page::new(1);
        page.handle(Event::Start);
        if opens {
            page.handle(Event::Opened);
        }
        assert_eq!(page.sleep_until_wake(), 10_000);
        page.sleep_until_wake();
        assert_eq!(page.transport, Some(TransportKind::EventStream), "{opens}");
    }
    // A WebSocket that carries nothing to the server, which closes it.
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Opened);
    page.handle(Event::Closed(CloseCode::HelloTimeout.number()));
    page.sleep_until_wake();
    assert_eq!(page.transport, Some(TransportKind::EventStream));
}

#[test]
fn transports_alternate_while_neither_works() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    let tried = page.fail(8);
    assert_eq!(tried[..2], [TransportKind::WebSocket, TransportKind::WebSocket]);
    assert_eq!(tried[2..], [TransportKind::EventStream, TransportKind::WebSocket].repeat(3));
    assert_eq!(page.connects, 9, "one attempt per delay");
}

#[test]
fn server_restart_does_not_abandon_a_proven_websocket() {
    let mut page = Page::in_room(1, 0);
    page.receive(&ServerFrame::GoingAway(noom::protocol::frame::GoingAway { reconnect_in_ms: 700 }));
    page.handle(Event::Closed(1012));
    page.sleep_until_wake();
    assert_eq!(page.fail(4), [TransportKind::WebSocket; 4]);
    assert_eq!(page.transport, Some(TransportKind::EventStream));
}

#[test]
fn websocket_closed_by_the_server_is_not_blocked() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    for _ in 0..5 {
        page.handle(Event::Closed(CloseCode::Overloaded.number()));
        page.sleep_until_wake();
        assert_eq!(page.transport, Some(TransportKind::WebSocket));
    }
}

#[test]
fn websocket_closed_by_a_proxy_falls_back() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    for transport in [TransportKind::WebSocket, TransportKind::WebSocket, TransportKind::EventStream] {
        assert_eq!(page.transport, Some(transport));
        page.handle(Event::Opened);
        page.handle(Event::Closed(1002));
        page.sleep_until_wake();
    }
}

#[test]
fn fallback_probes_websocket_with_backoff() {
    let mut page = Page::on_events();
    let pauses: Vec<_> = (0..9).map(|_| page.sleep_until_probe()).collect();
    for (pause, longest) in pauses.iter().zip([15, 30, 60, 120, 240, 480, 600, 600, 600]) {
        assert!((longest * 500..=longest * 1_000).contains(pause), "{pauses:?}");
    }
    // A page that is resumed probes soon.
    page.handle(Event::Awake);
    let ping = page.next_sent("ping");
    page.acknowledge(&ping, Ack::Empty(Empty {}));
    assert!(page.sleep_until_probe() <= 15_000);
    assert_eq!((page.connects, page.drops), (3, 2), "the connection is not touched");
}

#[test]
fn answered_probe_moves_the_session_to_websocket_without_loss() {
    let mut page = Page::on_events();
    page.receive(&ServerFrame::NewMessage(message(1)));
    page.handle(Event::Intent(Intent::Post(post(7, "in flight"))));
    page.next_sent("new_message");
    page.sleep_until_probe();
    page.handle(Event::Unblocked);
    assert_eq!((page.transport, page.connects, page.drops), (Some(TransportKind::WebSocket), 4, 3));
    page.greet();
    let enter = page.next_sent("enter_room");
    let Command::EnterRoom(asked) = &enter.command else { unreachable!() };
    assert_eq!(asked.after.as_ref().map(|after| after.seq), Some(1));
    page.acknowledge(&enter, entered(1, vec![]));
    let again = page.next_sent("new_message");
    let expected = Post::of_text(id(ROOM), MessageKey(7), "in flight".into());
    assert_eq!(again.command, Command::NewMessage(expected));
    // On WebSocket there are no more probes, and a late answer changes nothing.
    page.handle(Event::Unblocked);
    page.receive(&ServerFrame::NewMessage(message(2)));
    assert_eq!(page.sleep_until_wake(), 25_000);
    assert_eq!((page.connects, page.probes), (4, 1));
}

#[test]
fn preferred_transport_is_tried_first() {
    let mut page = Page::new(1);
    page.session.prefer(TransportKind::EventStream);
    page.handle(Event::Start);
    assert_eq!(
        page.fail(4),
        [TransportKind::EventStream, TransportKind::EventStream, TransportKind::WebSocket, TransportKind::EventStream]
    );
}

#[test]
fn network_change_tries_websocket_first() {
    let mut page = Page::on_events();
    page.handle(Event::Offline);
    assert_eq!(page.sleep_until_wake(), 4_000);
    page.handle(Event::Awake);
    assert_eq!(page.transport, Some(TransportKind::WebSocket));
}
