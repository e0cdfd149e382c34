//! The pure session of the browser against a small server that loses connections at will.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::{BTreeMap, VecDeque};

use noom::client::session::{Action, Ask, CallChange, Change, Event, Fate, Link, Session, Signal, Via};
use noom::protocol::call::{CallPresence, JoinCallAck, SetMedia};
use noom::protocol::frame::{EnterRoom, Nothing, Post, Presence, Typing};
use noom::protocol::{
    Ack, ClientFrame, CloseCode, Command, EnterRoomAck, ErrorCode, HelloAck, Limits, Message, MessageKey, NicknameAck,
    PeerId, Position, PostAck, Refusal, ServerFrame, User, UserId,
};
use proptest::prelude::*;

const ROOM: &str = "r";

fn me() -> User {
    User { id: UserId(1), nickname: "me".into() }
}

fn post(key: u128, text: &str) -> Post {
    Post { room: ROOM.into(), key: MessageKey(key), text: text.into() }
}

/// A session, the frames it sent, and what it told the page.
struct Page {
    session: Session,
    now: u64,
    connects: usize,
    /// The way of the last connection that was asked for.
    via: Option<Via>,
    probes: usize,
    drops: usize,
    sent: VecDeque<ClientFrame>,
    told: Vec<Change>,
    /// What a reload does not reach.
    kept: BTreeMap<MessageKey, Post>,
}

impl Page {
    fn new(seed: u64) -> Self {
        Self {
            session: Session::new(seed),
            now: 0,
            connects: 0,
            via: None,
            probes: 0,
            drops: 0,
            sent: VecDeque::new(),
            told: Vec::new(),
            kept: BTreeMap::new(),
        }
    }

    fn handle(&mut self, event: Event) {
        self.session.handle(self.now, event);
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect(via) => {
                    self.connects += 1;
                    self.via = Some(via);
                }
                Action::Probe(text) => {
                    assert_eq!(ClientFrame::decode(&text).unwrap().command, Command::Ping(Nothing {}));
                    self.probes += 1;
                }
                Action::Drop => {
                    self.drops += 1;
                    self.sent.clear();
                }
                Action::Send(text) => self.sent.push_back(ClientFrame::decode(&text).unwrap()),
                Action::Keep(post) => drop(self.kept.insert(post.key, post)),
                Action::Forget(key) => drop(self.kept.remove(&key)),
                Action::Tell(change) => self.told.push(change),
            }
        }
    }

    fn receive(&mut self, frame: &ServerFrame) {
        self.handle(Event::Received(frame.encode()));
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

    /// Comes when it wants to be woken, at the latest.
    fn sleep_until_wake(&mut self) -> u64 {
        let wake = self.session.next_wake().expect("it wants to be woken");
        let slept = wake.saturating_sub(self.now);
        self.now = self.now.max(wake);
        self.handle(Event::Tick);
        slept
    }

    /// Connected, greeted, and in the room at `head`.
    fn in_room(seed: u64, head: u64) -> Self {
        let mut page = Self::new(seed);
        page.handle(Event::Start);
        page.handle(Event::Ask(Ask::Enter {
            room: ROOM.into(),
            after: Some(Position { epoch: "e".into(), seq: head }),
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

    fn link(&self) -> Link {
        self.told
            .iter()
            .rev()
            .find_map(|change| if let Change::Link(link) = change { Some(*link) } else { None })
            .unwrap()
    }

    fn fates(&self) -> Vec<Fate> {
        self.told
            .iter()
            .filter_map(|change| if let Change::Posted { fate, .. } = change { Some(fate.clone()) } else { None })
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
        room: ROOM.into(),
        epoch: "e".into(),
        head,
        count: 1,
        members: vec![me()],
        messages,
        more: false,
        recovered: true,
        reason: None,
        call: None,
    })
}

fn message(seq: u64) -> Message {
    Message { room: ROOM.into(), seq, key: MessageKey(u128::from(seq)), user: me(), text: "t".into(), at: 0 }
}

#[test]
fn after_a_lost_connection_it_comes_back_and_resumes_where_it_was() {
    let mut page = Page::in_room(1, 5);
    page.receive(&ServerFrame::NewMessage(message(6)));
    page.handle(Event::Closed(1006));
    assert!(matches!(page.link(), Link::Waiting { .. }));
    page.sleep_until_wake();
    assert_eq!(page.connects, 2);
    page.handle(Event::Opened);
    let hello = page.next_sent("hello");
    assert!(matches!(&hello.command, Command::Hello(hello) if hello.resume.as_deref() == Some("token")));
    page.acknowledge(&hello, hello_ack());
    let enter = page.next_sent("enter_room");
    let Command::EnterRoom(asked) = &enter.command else { unreachable!() };
    assert_eq!(asked.after, Some(Position { epoch: "e".into(), seq: 6 }));
}

#[test]
fn the_pauses_grow_to_half_a_minute_and_are_never_all_the_same() {
    let longest = |attempt: u32| (500_u64 << attempt.min(10)).min(30_000);
    let mut pauses = Vec::new();
    for seed in 0..200 {
        let mut page = Page::new(seed);
        page.handle(Event::Start);
        for attempt in 0..10 {
            page.handle(Event::Closed(1006));
            let pause = page.sleep_until_wake();
            assert!(pause <= longest(attempt), "{pause} at attempt {attempt}");
            pauses.push((attempt, pause));
        }
    }
    let of = |attempt| pauses.iter().filter(move |(own, _)| *own == attempt).map(|(_, pause)| *pause);
    assert!(of(9).max().unwrap() > 25_000 && of(9).min().unwrap() < 5_000, "full jitter");
}

#[test]
fn after_a_minute_of_calm_the_pause_is_a_first_one_again() {
    let mut page = Page::in_room(3, 0);
    for _ in 0..8 {
        page.handle(Event::Closed(1006));
        page.sleep_until_wake();
        page.greet();
        page.enter(0, vec![]);
    }
    page.now += 60_000;
    page.handle(Event::Closed(1006));
    assert!(page.sleep_until_wake() <= 500);
}

#[test]
fn it_stays_away_when_the_close_code_says_so_until_somebody_asks() {
    for code in [CloseCode::BadFrames, CloseCode::UnsupportedVersion, CloseCode::Replaced, CloseCode::RateAbuse] {
        let mut page = Page::in_room(1, 0);
        page.handle(Event::Closed(code.number()));
        assert_eq!(page.link(), Link::Refused(code.number()));
        assert_eq!(page.session.next_wake(), None);
        page.handle(Event::Ask(Ask::ReconnectNow));
        assert_eq!(page.connects, 2);
    }
}

#[test]
fn a_restarting_server_says_when_to_come_back() {
    let mut page = Page::in_room(1, 0);
    page.receive(&ServerFrame::GoingAway(noom::protocol::frame::GoingAway { reconnect_in_ms: 7_321 }));
    page.handle(Event::Closed(CloseCode::Restarting.number()));
    assert!(matches!(page.link(), Link::Waiting { restarting: true, .. }));
    assert_eq!(page.sleep_until_wake(), 7_321);
}

#[test]
fn a_dead_connection_is_noticed_within_35_seconds() {
    let mut page = Page::in_room(1, 0);
    page.sleep_until_wake();
    page.next_sent("ping");
    page.sleep_until_wake();
    assert!(page.now <= 35_000 && page.drops == 1);
    assert!(matches!(page.link(), Link::Waiting { .. }));
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let mut page = Page::in_room(1, 0);
    page.now += 20_000;
    page.receive(&ServerFrame::NewMessage(message(1)));
    page.now += 24_999;
    page.handle(Event::Tick);
    assert!(page.sent.is_empty());
    page.now += 1;
    page.handle(Event::Tick);
    let ping = page.next_sent("ping");
    page.acknowledge(&ping, Ack::Nothing(Nothing {}));
    assert_eq!(page.session.next_wake(), Some(page.now + 25_000));
}

#[test]
fn a_woken_page_asks_at_once_whether_the_connection_lives() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Awake);
    let ping = page.next_sent("ping");
    page.handle(Event::Awake);
    assert!(page.sent.is_empty(), "once is enough");
    page.acknowledge(&ping, Ack::Nothing(Nothing {}));
    page.handle(Event::Awake);
    page.next_sent("ping");
    assert_eq!(page.sleep_until_wake(), 4_000, "what died in its sleep is given up soon");
    assert_eq!(page.drops, 1);
    page.sleep_until_wake();
    page.greet();
    page.handle(Event::Offline);
    assert_eq!(page.link(), Link::Offline);
    assert_eq!(page.session.next_wake(), None);
    page.handle(Event::Awake);
    assert_eq!(page.connects, 3);
}

#[test]
fn messages_go_one_at_a_time_and_wait_out_the_rate_limit_in_order() {
    let mut page = Page::in_room(1, 0);
    (1..=3).for_each(|key| page.handle(Event::Ask(Ask::Post(post(key, "t")))));
    let first = page.next_sent("new_message");
    assert!(page.sent.is_empty(), "one unacknowledged at a time");
    page.refuse(&first, Refusal { retry_after_ms: Some(300), ..ErrorCode::RateLimited.into() });
    assert!(page.sent.is_empty());
    assert_eq!(page.sleep_until_wake(), 300);
    for key in 1..=3 {
        let sent = page.next_sent("new_message");
        let Command::NewMessage(post) = &sent.command else { unreachable!() };
        assert_eq!(post.key, MessageKey(key));
        let ack = PostAck { room: ROOM.into(), key: post.key, seq: key as u64, at: 0, dup: None };
        page.acknowledge(&sent, Ack::NewMessage(ack));
    }
    assert!(page.sent.is_empty());
    assert_eq!(page.fates(), [Fate::Stored(1), Fate::Stored(2), Fate::Stored(3)]);
}

#[test]
fn a_refused_message_is_told_and_does_not_hold_up_the_next() {
    let mut page = Page::in_room(1, 0);
    (1..=2).for_each(|key| page.handle(Event::Ask(Ask::Post(post(key, "t")))));
    let first = page.next_sent("new_message");
    page.refuse(&first, ErrorCode::KeyConflict.into());
    assert_eq!(page.fates(), [Fate::Refused(ErrorCode::KeyConflict.into())]);
    page.next_sent("new_message");
}

#[test]
fn a_message_seen_twice_is_shown_once_and_a_hole_is_filled() {
    let mut page = Page::in_room(1, 5);
    page.told.clear();
    page.receive(&ServerFrame::NewMessage(message(5)));
    page.receive(&ServerFrame::NewMessage(message(6)));
    page.receive(&ServerFrame::NewMessage(message(6)));
    assert_eq!(page.told, [Change::Message(message(6))]);
    page.receive(&ServerFrame::NewMessage(message(8)));
    let enter = page.next_sent("enter_room");
    assert!(
        matches!(&enter.command, Command::EnterRoom(enter) if enter.after.as_ref().map(|after| after.seq) == Some(6))
    );
}

#[test]
fn what_a_name_kept_shut_opens_with_another_name() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Ask(Ask::Enter { room: ROOM.into(), after: None }));
    page.greet();
    let enter = page.next_sent("enter_room");
    page.refuse(&enter, ErrorCode::NickTaken.into());
    assert!(matches!(page.told.last(), Some(Change::NotEntered { .. })));
    page.handle(Event::Ask(Ask::Rename { nickname: "other".into() }));
    let rename = page.next_sent("nickname");
    page.acknowledge(&rename, Ack::Nickname(NicknameAck { nickname: "other".into() }));
    page.next_sent("enter_room");
}

#[test]
fn a_room_that_is_refused_for_a_while_is_asked_for_again() {
    for code in [ErrorCode::RoomQuota, ErrorCode::RateLimited, ErrorCode::StoreUnavailable] {
        let mut page = Page::new(1);
        page.handle(Event::Start);
        page.handle(Event::Ask(Ask::Enter { room: ROOM.into(), after: None }));
        page.greet();
        let enter = page.next_sent("enter_room");
        page.refuse(&enter, Refusal { retry_after_ms: Some(1_000), ..code.into() });
        assert!((1_000..=1_500).contains(&page.sleep_until_wake()), "{code}");
        page.enter(0, vec![]);
        assert_eq!((page.connects, page.link()), (1, Link::Online));
    }
}

#[test]
fn a_room_is_called_what_the_server_calls_it() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Ask(Ask::Enter { room: "R".into(), after: None }));
    page.handle(Event::Ask(Ask::Post(Post { room: "R".into(), ..post(1, "early") })));
    page.greet();
    page.enter(0, vec![]);
    assert!(page.told.contains(&Change::Named { asked: "R".into(), room: ROOM.into() }));
    let sent = page.next_sent("new_message");
    assert!(matches!(&sent.command, Command::NewMessage(post) if post.room == ROOM));
    page.receive(&ServerFrame::NewMessage(message(1)));
    assert_eq!(page.told.last(), Some(&Change::Message(message(1))));
}

#[test]
fn what_waits_to_be_sent_is_shown_again_when_its_room_is() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Offline);
    page.handle(Event::Ask(Ask::Post(post(1, "t"))));
    page.handle(Event::Ask(Ask::Leave { room: ROOM.into() }));
    page.told.clear();
    page.handle(Event::Ask(Ask::Enter { room: ROOM.into(), after: None }));
    assert_eq!(page.told, [Change::Unsent(post(1, "t"))]);
}

fn stored(page: &mut Page, key: u128) {
    let sent = page.next_sent("new_message");
    let ack = PostAck { room: ROOM.into(), key: MessageKey(key), seq: 1, at: 0, dup: None };
    page.acknowledge(&sent, Ack::NewMessage(ack));
}

#[test]
fn what_was_said_is_kept_until_it_is_stored_or_given_up() {
    let mut page = Page::in_room(1, 0);
    (1..=3).for_each(|key| page.handle(Event::Ask(Ask::Post(post(key, "t")))));
    assert_eq!(page.kept.len(), 3);
    stored(&mut page, 1);
    let kept = |page: &Page| page.kept.keys().map(|key| key.0).collect::<Vec<_>>();
    // A full disk passes: it is said again, in its turn.
    let second = page.next_sent("new_message");
    page.refuse(&second, ErrorCode::StoreUnavailable.into());
    assert_eq!((kept(&page), page.fates().len()), (vec![2, 3], 1));
    page.sleep_until_wake();
    // What cannot be said is not said later by itself, when nobody expects it.
    let second = page.next_sent("new_message");
    page.refuse(&second, ErrorCode::KeyConflict.into());
    assert_eq!(kept(&page), [3]);
    assert_eq!(page.fates().last(), Some(&Fate::Refused(ErrorCode::KeyConflict.into())));
    stored(&mut page, 3);
    assert!(page.kept.is_empty());
    // Whoever tries again means it.
    page.handle(Event::Ask(Ask::Post(post(2, "t"))));
    page.handle(Event::Closed(1006));
    page.handle(Event::Ask(Ask::Discard(MessageKey(2))));
    assert!(page.kept.is_empty());
}

#[test]
fn after_a_reload_what_was_kept_is_shown_and_sent_in_order_with_its_keys() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    (1..=2).for_each(|key| page.handle(Event::Ask(Ask::Post(post(key, "t")))));
    page.handle(Event::Ask(Ask::Enter { room: ROOM.into(), after: None }));
    page.greet();
    page.enter(0, vec![]);
    let shown: Vec<_> = page.told.iter().filter(|change| matches!(change, Change::Unsent(_))).collect();
    assert_eq!(shown.len(), 4, "when it was kept, and when the room came: the page knows them by their keys");
    stored(&mut page, 1);
    stored(&mut page, 2);
    assert!(page.kept.is_empty() && page.sent.is_empty());
}

#[test]
fn what_is_left_to_say_is_said_in_a_room_that_no_page_shows() {
    let mut page = Page::in_room(1, 0);
    (1..=2).for_each(|key| page.handle(Event::Ask(Ask::Post(post(key, "t")))));
    page.handle(Event::Ask(Ask::Leave { room: ROOM.into() }));
    stored(&mut page, 1);
    page.enter(0, vec![]);
    stored(&mut page, 2);
    page.next_sent("leave_room");
    assert!(page.sent.is_empty() && page.kept.is_empty());

    // Kept from an earlier page, while the list of rooms is shown.
    page.handle(Event::Ask(Ask::Post(post(3, "t"))));
    let enter = page.next_sent("enter_room");
    page.refuse(&enter, ErrorCode::NickTaken.into());
    assert!(page.sent.is_empty() && page.kept.len() == 1, "it waits for somebody to open the room");
    page.handle(Event::Ask(Ask::Enter { room: ROOM.into(), after: None }));
    page.enter(0, vec![]);
    stored(&mut page, 3);
    assert!(page.sent.is_empty(), "a page shows the room now");
}

#[test]
fn an_errand_in_a_room_that_a_page_shows_under_its_own_name_is_done_there() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Ask(Ask::Post(Post { room: "R".into(), ..post(1, "t") })));
    // What was said while the server let one in again is in this answer only, and that has the wrong name.
    let enter = page.next_sent("enter_room");
    page.acknowledge(&enter, entered(1, vec![message(1)]));
    let enter = page.next_sent("enter_room");
    let Command::EnterRoom(EnterRoom { room, after }) = &enter.command else { unreachable!() };
    assert_eq!((room.as_str(), after.as_ref().unwrap().seq), (ROOM, 0));
    page.acknowledge(&enter, entered(1, vec![message(1)]));
    stored(&mut page, 1);
    assert!(page.sent.is_empty(), "and one stays in it");
    page.receive(&ServerFrame::NewMessage(message(2)));
    assert_eq!(page.told.last(), Some(&Change::Message(message(2))));
}

fn ann() -> User {
    User { id: UserId(7), nickname: "Ann".into() }
}

fn writers(page: &mut Page) -> Vec<usize> {
    let counts = page.told.iter().filter_map(|change| match change {
        Change::Typing { users, .. } => Some(users.len()),
        _ => None,
    });
    let counts = counts.collect();
    page.told.clear();
    counts
}

#[test]
fn who_writes_is_told_until_they_stop_or_say_it() {
    let mut page = Page::in_room(1, 0);
    let typing = |user: User| ServerFrame::Typing(Typing { room: ROOM.into(), user });
    page.receive(&typing(ann()));
    page.receive(&typing(ann()));
    page.receive(&typing(me()));
    assert_eq!(writers(&mut page), [1], "the same news once, and of oneself none");
    assert_eq!(page.sleep_until_wake(), 6_000);
    assert_eq!(writers(&mut page), [0]);
    page.receive(&typing(ann()));
    page.receive(&ServerFrame::NewMessage(Message { user: ann(), ..message(1) }));
    assert_eq!(writers(&mut page), [1, 0]);
    page.receive(&typing(ann()));
    page.receive(&ServerFrame::Bye(Presence { room: ROOM.into(), user: ann(), count: 1 }));
    assert_eq!(writers(&mut page), [1, 0]);
    page.receive(&typing(ann()));
    page.handle(Event::Closed(1006));
    assert_eq!(writers(&mut page), [1, 0]);
}

#[test]
fn one_says_that_one_writes_every_few_seconds_and_anew_after_a_message() {
    let mut page = Page::in_room(1, 0);
    let letter = || Event::Ask(Ask::Typing { room: ROOM.into() });
    let sent = |page: &mut Page, wait: u64| {
        page.now += wait;
        page.handle(letter());
        page.sent.drain(..).filter(|frame| frame.command.name() == "typing").count()
    };
    assert_eq!([0, 100, 2_800, 100, 2_999, 1].map(|wait| sent(&mut page, wait)), [1, 0, 0, 1, 0, 1]);
    page.handle(Event::Ask(Ask::Post(post(1, "t"))));
    assert_eq!(sent(&mut page, 0), 1);
    page.handle(Event::Closed(1006));
    assert_eq!(sent(&mut page, 5_000), 0, "nobody to say it to");
}

#[test]
fn what_a_lost_connection_leaves_unanswered_is_told_in_the_order_of_asking() {
    let mut page = Page::in_room(1, 5);
    page.told.clear();
    let mut expected = Vec::new();
    for limit in 1..=20 {
        page.handle(Event::Ask(Ask::Older { room: ROOM.into(), before: 5, limit }));
        page.handle(Event::Ask(Ask::Rename { nickname: "other".into() }));
        expected.extend([Change::Older { room: ROOM.into(), before: 5, history: None }, Change::NotRenamed(None)]);
    }
    page.handle(Event::Offline);
    expected.push(Change::Link(Link::Offline));
    assert_eq!(page.told, expected);
}

#[test]
fn an_answer_from_before_a_room_was_left_does_not_count_for_the_room_entered_again() {
    let mut page = Page::in_room(1, 5);
    let enter_after =
        |seq| Event::Ask(Ask::Enter { room: ROOM.into(), after: Some(Position { epoch: "e".into(), seq }) });
    page.handle(enter_after(5));
    page.handle(Event::Ask(Ask::Leave { room: ROOM.into() }));
    page.handle(enter_after(7));
    page.told.clear();
    page.enter(6, vec![message(6)]);
    page.receive(&ServerFrame::NewMessage(message(7)));
    assert_eq!(page.told, [], "the page shows 7 already");
    page.next_sent("leave_room");
    page.enter(8, vec![message(8)]);
    assert!(matches!(page.told.as_slice(), [Change::Entered(ack)] if ack.head == 8));
}

#[test]
fn frames_that_a_newer_server_invented_are_passed_over() {
    let mut page = Page::in_room(1, 0);
    page.told.clear();
    page.handle(Event::Received(r#"{"type":"hologram","payload":{}}"#.into()));
    page.handle(Event::Received("not even JSON".into()));
    assert!(page.told.is_empty() && page.drops == 0);
}

/// A server with one room, obviously right, behind a network that is not.
#[derive(Default)]
struct ModelServer {
    log: Vec<Message>,
    by_key: BTreeMap<MessageKey, u64>,
    in_room: bool,
    /// Frames on their way to the page.
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
        let id = frame.id.unwrap();
        let ack = match frame.command {
            Command::Hello(_) => hello_ack(),
            Command::EnterRoom(enter) => {
                self.in_room = true;
                let after = enter.after.map_or(0, |after| after.seq);
                entered(self.log.len() as u64, self.log[after as usize..].to_vec())
            }
            Command::NewMessage(_) if rate_limited => {
                let refusal = Refusal { retry_after_ms: Some(100), ..ErrorCode::RateLimited.into() };
                return self.down.push_back(ServerFrame::Error { id: Some(id), refusal });
            }
            Command::NewMessage(post) => {
                let (seq, dup) = self.store(post.key, me());
                Ack::NewMessage(PostAck { room: ROOM.into(), key: post.key, seq, at: 0, dup: dup.then_some(true) })
            }
            _ => Ack::Nothing(Nothing {}),
        };
        self.down.push_back(ServerFrame::Ack { id, ack });
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
    /// Somebody else's message is stored.
    Other,
    /// A frame of the page reaches the server.
    Up { rate_limited: bool },
    /// A frame of the server reaches the page.
    Down,
    /// The connection breaks; what is on its way is lost.
    Cut,
    /// Time passes until the page wants to be woken; a connection that it asks for opens.
    Wake,
    /// A probe is answered, or was long ago; a connection that the page asks for opens.
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

    /// Whatever breaks: what was posted is stored once and in the order of posting, and the page
    /// shows every message once and in order.
    #[test]
    fn everything_posted_is_stored_once_and_everything_stored_is_shown_once(steps in steps(), seed: u64) {
        let mut page = Page::new(seed);
        let mut server = ModelServer::default();
        let (mut posted, mut others) = (0_u128, 1_000_000_u128);
        page.handle(Event::Start);
        page.handle(Event::Ask(Ask::Enter { room: ROOM.into(), after: None }));
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
                    if !matches!(page.link(), Link::Waiting { .. }) {
                        server.cut();
                        page.handle(Event::Closed(1006));
                    }
                }
                Step::Wake | Step::Unblock => {
                    let (connects, drops) = (page.connects, page.drops);
                    match step {
                        Step::Wake => drop(page.sleep_until_wake()),
                        _ => page.handle(Event::Unblocked),
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
                    page.handle(Event::Ask(Ask::Post(post(posted, "t"))));
                }
                Step::Other => {
                    others += 1;
                    server.store(MessageKey(others), User { id: UserId(2), nickname: "other".into() });
                }
                step => run(&mut page, &mut server, step),
            }
        }
        // The network behaves from now on, and everything settles.
        for _ in 0..4 * (posted + 10) {
            if matches!(page.link(), Link::Waiting { .. }) || (page.sent.is_empty() && server.down.is_empty()) {
                run(&mut page, &mut server, Step::Wake);
            }
            while !page.sent.is_empty() || !server.down.is_empty() {
                run(&mut page, &mut server, Step::Up { rate_limited: false });
                run(&mut page, &mut server, Step::Down);
            }
        }

        let mine: Vec<_> = server.log.iter().filter(|message| message.user.id == UserId(1)).map(|message| message.key.0).collect();
        prop_assert_eq!(mine, (1..=posted).collect::<Vec<_>>(), "stored once, in the order of posting");
        let mut shown = Vec::new();
        for change in &page.told {
            match change {
                Change::Entered(ack) => shown.extend(ack.messages.iter().map(|message| message.seq)),
                Change::Message(message) => shown.push(message.seq),
                _ => {}
            }
        }
        prop_assert_eq!(shown, (1..=server.log.len() as u64).collect::<Vec<_>>(), "shown once, in order");
    }
}

// --- Calls ---------------------------------------------------------------------------------------

fn joined(peer: u64) -> Ack {
    Ack::JoinCall(JoinCallAck { peer: PeerId(peer), peers: vec![], ice_servers: vec![] })
}

fn media() -> Ask {
    let media = SetMedia { room: ROOM.into(), peer: None, audio: true, video: false, screen: false };
    Ask::Signal(Signal::Media(media))
}

impl Page {
    fn in_call(peer: u64) -> Self {
        let mut page = Self::in_room(1, 0);
        page.handle(Event::Ask(Ask::JoinCall { room: ROOM.into() }));
        let join = page.next_sent("join_call");
        assert!(matches!(&join.command, Command::JoinCall(join) if join.peer.is_none()));
        page.acknowledge(&join, joined(peer));
        page
    }

    fn call_changes(&mut self) -> Vec<CallChange> {
        let told = std::mem::take(&mut self.told).into_iter();
        told.filter_map(|change| if let Change::Call { change, .. } = change { Some(change) } else { None }).collect()
    }
}

#[test]
fn whoever_is_in_a_call_asks_for_the_same_place_after_a_lost_connection() {
    let mut page = Page::in_call(7);
    page.handle(Event::Closed(1006));
    page.handle(Event::Ask(media()));
    page.sleep_until_wake();
    page.greet();
    // Not before one is in the room again.
    assert!(page.sent.iter().all(|frame| frame.command.name() == "enter_room"));
    page.enter(0, vec![]);
    let join = page.next_sent("join_call");
    assert!(matches!(&join.command, Command::JoinCall(join) if join.peer == Some(PeerId(7))));
    assert!(page.sent.is_empty(), "what was said without a connection is not said late");
    page.acknowledge(&join, joined(7));
    page.handle(Event::Ask(media()));
    page.next_sent("media");
    assert!(matches!(page.call_changes().as_slice(), [CallChange::Joined(_), CallChange::Joined(_)]));
}

#[test]
fn whoever_left_a_call_is_not_in_it_after_a_lost_connection() {
    let mut page = Page::in_call(7);
    page.handle(Event::Ask(Ask::LeaveCall { room: ROOM.into() }));
    page.next_sent("leave_call");
    page.handle(Event::Closed(1006));
    page.sleep_until_wake();
    page.greet();
    page.enter(0, vec![]);
    assert!(page.sent.is_empty());
}

#[test]
fn a_place_that_another_connection_took_is_not_asked_for_again() {
    let mut page = Page::in_call(7);
    let presence = CallPresence { room: ROOM.into(), peer: PeerId(7), user: me() };
    page.receive(&ServerFrame::CallLeft(presence.clone()));
    assert!(page.call_changes().contains(&CallChange::Went(presence)));
    page.handle(Event::Ask(media()));
    assert!(page.sent.is_empty());
    page.handle(Event::Closed(1006));
    page.sleep_until_wake();
    page.greet();
    page.enter(0, vec![]);
    assert!(page.sent.is_empty());
}

#[test]
fn a_call_that_is_full_is_said_and_not_asked_for_again() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Ask(Ask::JoinCall { room: ROOM.into() }));
    let join = page.next_sent("join_call");
    page.refuse(&join, ErrorCode::CallFull.into());
    assert_eq!(page.call_changes(), [CallChange::NotJoined(ErrorCode::CallFull.into())]);
    page.handle(Event::Closed(1006));
    page.sleep_until_wake();
    page.greet();
    page.enter(0, vec![]);
    assert!(page.sent.is_empty());
}

#[test]
fn a_call_that_is_asked_for_too_fast_is_asked_for_again() {
    let mut page = Page::in_room(1, 0);
    page.handle(Event::Ask(Ask::JoinCall { room: ROOM.into() }));
    let join = page.next_sent("join_call");
    page.refuse(&join, Refusal { retry_after_ms: Some(500), ..ErrorCode::RateLimited.into() });
    assert_eq!(page.call_changes(), []);
    page.sleep_until_wake();
    page.enter(0, vec![]);
    let join = page.next_sent("join_call");
    page.acknowledge(&join, joined(7));
    // Whoever is in keeps the place.
    page.handle(Event::Ask(Ask::JoinCall { room: ROOM.into() }));
    let again = page.next_sent("join_call");
    page.refuse(&again, Refusal { retry_after_ms: Some(500), ..ErrorCode::RateLimited.into() });
    page.handle(Event::Ask(media()));
    page.next_sent("media");
    assert!(matches!(page.call_changes().as_slice(), [CallChange::Joined(_)]));
}

// --- Where WebSocket is blocked ------------------------------------------------------------------

impl Page {
    /// Fails to connect so many times; returns the ways that were tried.
    fn fail(&mut self, times: usize) -> Vec<Via> {
        let fail = |_| {
            let tried = self.via.unwrap();
            self.handle(Event::Closed(1006));
            self.sleep_until_wake();
            tried
        };
        (0..times).map(fail).collect()
    }

    /// In the room, the way around.
    fn on_events() -> Self {
        let mut page = Self::new(1);
        page.handle(Event::Start);
        page.handle(Event::Ask(Ask::Enter { room: ROOM.into(), after: None }));
        page.fail(2);
        assert_eq!(page.via, Some(Via::Events));
        page.greet();
        page.enter(0, vec![]);
        page
    }

    /// Sleeps, and answers what keeps a connection alive, until a probe is sent; returns how long.
    fn sleep_until_probe(&mut self) -> u64 {
        let (began, probes) = (self.now, self.probes);
        while self.probes == probes {
            self.sleep_until_wake();
            if let Some(ping) = self.sent.pop_front() {
                self.acknowledge(&ping, Ack::Nothing(Nothing {}));
            }
        }
        self.now - began
    }
}

#[test]
fn where_no_websocket_opens_the_other_way_is_taken() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    assert_eq!(page.fail(2), [Via::WebSocket, Via::WebSocket]);
    assert_eq!(page.via, Some(Via::Events));
    page.greet();
    assert_eq!(page.link(), Link::Online);
    // It works, so it is the first choice from now on.
    page.handle(Event::Closed(1006));
    page.sleep_until_wake();
    assert_eq!(page.via, Some(Via::Events));
}

#[test]
fn a_websocket_that_hangs_or_says_nothing_is_given_up_after_one_attempt() {
    for opens in [false, true] {
        let mut page = Page::new(1);
        page.handle(Event::Start);
        if opens {
            page.handle(Event::Opened);
        }
        assert_eq!(page.sleep_until_wake(), 10_000);
        page.sleep_until_wake();
        assert_eq!(page.via, Some(Via::Events), "{opens}");
    }
    // One that carries nothing up: the server waited in vain.
    let mut page = Page::new(1);
    page.handle(Event::Start);
    page.handle(Event::Opened);
    page.handle(Event::Closed(CloseCode::HelloTimeout.number()));
    page.sleep_until_wake();
    assert_eq!(page.via, Some(Via::Events));
}

#[test]
fn while_neither_way_works_they_are_tried_by_turns_and_no_faster() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    let tried = page.fail(8);
    assert_eq!(tried[..2], [Via::WebSocket, Via::WebSocket]);
    assert_eq!(tried[2..], [Via::Events, Via::WebSocket].repeat(3));
    assert_eq!(page.connects, 9, "one attempt a pause");
}

#[test]
fn a_server_that_restarts_is_no_reason_to_leave_a_websocket_that_worked() {
    let mut page = Page::in_room(1, 0);
    page.receive(&ServerFrame::GoingAway(noom::protocol::frame::GoingAway { reconnect_in_ms: 700 }));
    page.handle(Event::Closed(1012));
    page.sleep_until_wake();
    assert_eq!(page.fail(4), [Via::WebSocket; 4]);
    assert_eq!(page.via, Some(Via::Events));
}

#[test]
fn a_websocket_that_the_server_itself_closes_is_not_blocked() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    for _ in 0..5 {
        page.handle(Event::Closed(CloseCode::Overloaded.number()));
        page.sleep_until_wake();
        assert_eq!(page.via, Some(Via::WebSocket));
    }
}

#[test]
fn a_websocket_that_something_in_between_closes_is_gone_around() {
    let mut page = Page::new(1);
    page.handle(Event::Start);
    for via in [Via::WebSocket, Via::WebSocket, Via::Events] {
        assert_eq!(page.via, Some(via));
        page.handle(Event::Opened);
        page.handle(Event::Closed(1002));
        page.sleep_until_wake();
    }
}

#[test]
fn on_the_way_around_websocket_is_tried_again_ever_more_rarely() {
    let mut page = Page::on_events();
    let pauses: Vec<_> = (0..9).map(|_| page.sleep_until_probe()).collect();
    for (pause, longest) in pauses.iter().zip([15, 30, 60, 120, 240, 480, 600, 600, 600]) {
        assert!((longest * 500..=longest * 1_000).contains(pause), "{pauses:?}");
    }
    // Whoever comes back to the page does not wait that long.
    page.handle(Event::Awake);
    let ping = page.next_sent("ping");
    page.acknowledge(&ping, Ack::Nothing(Nothing {}));
    assert!(page.sleep_until_probe() <= 15_000);
    assert_eq!((page.connects, page.drops), (3, 2), "nothing else happens");
}

#[test]
fn when_websocket_works_the_talk_moves_over_and_nothing_is_lost() {
    let mut page = Page::on_events();
    page.receive(&ServerFrame::NewMessage(message(1)));
    page.handle(Event::Ask(Ask::Post(post(7, "on its way"))));
    page.next_sent("new_message");
    page.sleep_until_probe();
    page.handle(Event::Unblocked);
    assert_eq!((page.via, page.connects, page.drops), (Some(Via::WebSocket), 4, 3));
    page.greet();
    let enter = page.next_sent("enter_room");
    let Command::EnterRoom(asked) = &enter.command else { unreachable!() };
    assert_eq!(asked.after.as_ref().map(|after| after.seq), Some(1));
    page.acknowledge(&enter, entered(1, vec![]));
    let again = page.next_sent("new_message");
    assert_eq!(again.command, Command::NewMessage(post(7, "on its way")));
    // It has what it wanted: no more probes, and no second move.
    page.handle(Event::Unblocked);
    page.receive(&ServerFrame::NewMessage(message(2)));
    assert_eq!(page.sleep_until_wake(), 25_000);
    assert_eq!((page.connects, page.probes), (4, 1));
}

#[test]
fn a_page_that_knows_the_way_around_takes_it_first() {
    let mut page = Page::new(1);
    page.session.prefer(Via::Events);
    page.handle(Event::Start);
    assert_eq!(page.fail(4), [Via::Events, Via::Events, Via::WebSocket, Via::Events]);
}

#[test]
fn another_network_is_tried_with_a_websocket_first() {
    let mut page = Page::on_events();
    page.handle(Event::Offline);
    page.handle(Event::Awake);
    assert_eq!(page.via, Some(Via::WebSocket));
}
