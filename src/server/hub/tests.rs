//! The hub over a store in memory, driven by hand.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::extract::ws::Utf8Bytes;
use futures::FutureExt;
use proptest::prelude::*;

use super::payer::Payer;
use super::*;
use crate::protocol::{
    ErrorCode, MAX_MEMBERS, Message, MessageKey, Place, Position, RECENT_MESSAGES, SearchAck, UserId,
};
use crate::server::environment::SystemEnvironment;
use crate::server::history::{Extent, History, Stored, check_position};
use crate::server::id::{RoomId, RoomRow};
use crate::server::membership::{Mark, Membership};
use crate::server::name_key::RoomName;
use crate::server::search::Query;
use crate::server::storage::{Append, AppendError, ChangeRequest, Expiry, Purge, Reply, StoreError, ToPurge};

/// A store in memory with one room. It counts its reads, and commits when it is told to.
#[derive(Debug, Default)]
struct FakeStore {
    log: Mutex<Vec<Arc<Message>>>,
    queue: Mutex<VecDeque<Append>>,
    reads: AtomicUsize,
}

fn room() -> RoomRow {
    RoomRow { id: RoomId(0x70c0), number: 1, name: "r".into() }
}

impl FakeStore {
    /// Commits what is queued.
    fn commit(&self) {
        for append in std::mem::take(&mut *lock(&self.queue)) {
            let mut log = lock(&self.log);
            let seq = log.len() as u64 + 1;
            let Append { room, user, key, text, reply_to: _, attachments: _, mentions: _, done } = append;
            log.push(Arc::new(Message::of_text(room.id, seq, key, user, text, 0)));
            done(Ok(Stored { message: log[seq as usize - 1].clone(), dup: false }));
        }
    }

    /// Refuses what is queued.
    fn fail(&self) {
        std::mem::take(&mut *lock(&self.queue))
            .into_iter()
            .for_each(|append| (append.done)(Err(AppendError::Unavailable)));
    }

    fn history(&self, after: Option<Position>) -> History {
        let log = lock(&self.log);
        let history = History { epoch: "e".into(), head: log.len() as u64, ..History::default() };
        // No message is ever changed.
        let changes = after.as_ref().filter(|after| after.seq <= history.head).map(|_| Vec::new());
        let history = History { changes, ..history };
        let reason = match after.map(|after| check_position(&after, &history).map(|()| after.seq)) {
            Some(Ok(seq)) => {
                return History { messages: log[seq as usize..].to_vec(), recovered: true, ..history };
            }
            Some(Err(reason)) => Some(reason),
            None => None,
        };
        let first = log.len().saturating_sub(RECENT_MESSAGES);
        History { messages: log[first..].to_vec(), more: first > 0, reason, ..history }
    }

    fn read<T: Send + 'static>(&self, result: T) -> Reply<'_, T> {
        self.reads.fetch_add(1, Relaxed);
        Box::pin(async { Ok(result) })
    }
}

impl Storage for FakeStore {
    fn epoch(&self) -> &str {
        "e"
    }

    fn nickname(&self, _: UserId) -> Reply<'_, Option<String>> {
        Box::pin(async { Ok(None) })
    }

    fn find_room(&self, _: RoomName) -> Reply<'_, Option<RoomRow>> {
        self.read(Some(room()))
    }

    fn find_room_with_id(&self, id: RoomId) -> Reply<'_, Option<RoomRow>> {
        self.read(Some(room()).filter(|room| room.id == id))
    }

    fn create_room(&self, _: RoomName) -> Reply<'_, RoomRow> {
        self.read(room())
    }

    fn history_for(&self, _: RoomRow, after: Option<Position>) -> Reply<'_, History> {
        self.read(self.history(after))
    }

    fn history_before(&self, _: RoomRow, _: u64, _: u64) -> Reply<'_, (Vec<Arc<Message>>, bool)> {
        self.read((Vec::new(), false))
    }

    fn search(&self, _: Vec<RoomRow>, _: Query, _: Option<Place>, _: u64) -> Reply<'_, SearchAck> {
        self.read(SearchAck::default())
    }

    fn pins(&self, _: RoomRow) -> Reply<'_, Vec<Message>> {
        self.read(Vec::new())
    }

    fn extent(&self, _: RoomRow) -> Reply<'_, Extent> {
        self.read(Extent { floor: 1, head: 0 })
    }

    fn history_between(&self, _: RoomRow, _: u64, _: u64) -> Reply<'_, Vec<Message>> {
        self.read(Vec::new())
    }

    fn save_nickname(&self, _: UserId, _: Option<String>) -> Reply<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn memberships(&self, _: UserId) -> Reply<'_, Vec<Membership>> {
        self.read(Vec::new())
    }

    fn save_marks(&self, _: Vec<Mark>) -> Reply<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn expire(&self, _: Expiry) -> Result<(), StoreError> {
        Err(StoreError::Unavailable)
    }

    fn request_purge(&self, _: RoomRow, _: UserId) -> Reply<'_, ()> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn purges(&self, _: u64) -> Reply<'_, Vec<Purge>> {
        self.read(Vec::new())
    }

    fn messages_to_purge(&self, _: Purge, _: UserId) -> Reply<'_, ToPurge> {
        self.read(ToPurge::default())
    }

    fn purged(&self, _: Purge, _: Option<u64>) -> Reply<'_, ()> {
        Box::pin(async { Err(StoreError::Unavailable) })
    }

    fn append(&self, append: Append) -> Result<(), StoreError> {
        lock(&self.queue).push_back(append);
        Ok(())
    }

    fn change(&self, _: ChangeRequest) -> Result<(), StoreError> {
        Err(StoreError::Unavailable)
    }

    fn close(&self) {
        self.commit();
    }
}

struct Fixture {
    store: Arc<FakeStore>,
    hub: Arc<Hub>,
}

fn fixture() -> Fixture {
    let store = Arc::<FakeStore>::default();
    let limits = LimitSettings::default();
    let hub = Hub::new(store.clone(), Arc::new(SystemEnvironment), limits, IceSettings::default());
    Fixture { store, hub }
}

impl Fixture {
    fn enter(&self, user: u64, after: Option<u64>) -> ConnectionHandle {
        self.enter_known(None, user, after)
    }

    /// Enters as a client does that knows the id of the room.
    fn enter_known(&self, id: Option<RoomId>, user: u64, after: Option<u64>) -> ConnectionHandle {
        let conn = self.hub.register().unwrap();
        let after = after.map(|seq| Position { epoch: "e".into(), seq, rev: 0 });
        let entering = async {
            let account = self.hub.account(UserId(user)).await?;
            let payer = Payer { account, address: self.hub.directory.address([127, 0, 0, 1].into()) };
            self.hub.enter(&payer, &conn, (id, RoomName::parse("r").unwrap()), after, Some(1)).await
        };
        entering.now_or_never().expect("the store answers at once").unwrap();
        conn
    }

    fn post(&self, conn: &ConnectionHandle, text: &str) -> Option<Result<(), crate::protocol::Refusal>> {
        let key = MessageKey(self.hub.environment().random_bits().into());
        self.hub.post(conn, &room(), Some(7), NewPost::of_text(key, text.into())).now_or_never()
    }

    fn say(&self, conn: &ConnectionHandle, text: &str) {
        self.post(conn, text).expect("there is room").unwrap();
        self.store.commit();
        self.hub.deliver();
    }
}

fn received(conn: &ConnectionHandle) -> Vec<String> {
    conn.outbox.take().frames.iter().map(Utf8Bytes::to_string).collect()
}

#[test]
fn reader_that_sleeps_is_not_closed_because_others_arrive() {
    let fixture = fixture();
    let watcher = fixture.enter(1, None);
    let sleeper = fixture.enter(2, None);
    fixture.hub.watch(&watcher, Some(2));
    for user in 3..=3_000 {
        let arrival = fixture.enter(user, None);
        assert_eq!(arrival.outbox.take().close, None);
        if user % 50 == 0 {
            fixture.hub.tick();
            watcher.outbox.take();
        }
    }
    let waiting = sleeper.outbox.take();
    assert_eq!(waiting.close, None);
    let last = waiting.frames.back().unwrap();
    assert!(waiting.frames.len() as u64 <= MAX_MEMBERS + 2 && last.contains(r#""type":"crowd""#), "{last}");
    // Entering again, as after a lost connection, is a small frame.
    let back = fixture.enter(2, None);
    let frames = received(&back);
    assert!(frames[0].len() < 10_000 && frames[0].contains(r#""count":3000"#), "{}", frames[0]);
}

#[test]
fn author_is_answered_before_the_own_delivery() {
    let fixture = fixture();
    let ann = fixture.enter(1, None);
    received(&ann);
    fixture.post(&ann, "hi").unwrap().unwrap();
    fixture.store.commit();
    assert!(received(&ann).is_empty(), "the commit only queues");
    fixture.hub.deliver();
    let frames = received(&ann);
    assert!(frames[0].contains(r#""type":"ack""#) && frames[1].contains(r#""type":"new_message""#), "{frames:?}");
}

#[test]
fn refused_message_is_answered_and_not_delivered() {
    let fixture = fixture();
    let (ann, bob) = (fixture.enter(1, None), fixture.enter(2, None));
    received(&ann);
    received(&bob);
    fixture.post(&ann, "hi").unwrap().unwrap();
    fixture.store.fail();
    fixture.hub.deliver();
    assert!(received(&ann)[0].contains("STORE_UNAVAILABLE"));
    assert!(received(&bob).is_empty());
}

#[test]
fn warm_room_is_entered_and_resumed_without_reading() {
    let fixture = fixture();
    let ann = fixture.enter(1, None);
    fixture.say(&ann, "one");
    fixture.say(&ann, "two");
    let reads = fixture.store.reads.load(Relaxed);
    let (bob, cat) = (fixture.enter(2, None), fixture.enter_known(Some(room().id), 3, Some(1)));
    assert_eq!(fixture.store.reads.load(Relaxed), reads);
    let (bob, cat) = (received(&bob), received(&cat));
    assert!(bob[0].contains("one") && bob[0].contains("two") && bob[0].contains(r#""recovered":false"#), "{bob:?}");
    assert!(!cat[0].contains("one") && cat[0].contains("two") && cat[0].contains(r#""recovered":true"#), "{cat:?}");
}

#[test]
fn room_with_an_unknown_id_is_entered_by_its_name() {
    let fixture = fixture();
    let ann = fixture.enter_known(Some(RoomId(5)), 1, None);
    assert!(received(&ann)[0].contains(r#""room":"00000000000070c0","name":"r""#));
}

#[test]
fn posts_wait_at_admission_while_fan_out_is_full() {
    let fixture = fixture();
    let ann = fixture.enter(1, None);
    let text = "x".repeat(1024 * 1024);
    let admitted = (0..100).take_while(|_| fixture.post(&ann, &text).is_some()).count();
    assert!((10..20).contains(&admitted), "{admitted}");
    fixture.store.commit();
    assert!(fixture.post(&ann, "hi").is_some(), "small posts fit in the rest");
    assert!(fixture.post(&ann, &text).is_none(), "a commit alone releases nothing");
    assert!(fixture.hub.settle().now_or_never().is_none());
    fixture.hub.deliver();
    fixture.store.commit();
    fixture.hub.deliver();
    assert!(fixture.hub.settle().now_or_never().is_some());
    assert!(matches!(fixture.post(&ann, &text), Some(Ok(()))));
}

#[test]
fn close_delivers_what_was_admitted() {
    let fixture = fixture();
    let ann = fixture.enter(1, None);
    received(&ann);
    fixture.post(&ann, "hi").unwrap().unwrap();
    fixture.hub.close();
    assert_eq!(received(&ann).len(), 2);
    for shard in 0..fixture.hub.shard_count() {
        assert!(fixture.hub.run_fan_out(shard).now_or_never().is_some(), "the workers end");
    }
}

#[test]
fn post_needs_a_seat() {
    let fixture = fixture();
    let stranger = fixture.hub.register().unwrap();
    assert_eq!(fixture.post(&stranger, "hi"), Some(Err(ErrorCode::NotInRoom.into())));
    assert!(lock(&fixture.store.queue).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// A connection receives the same answer from the tail as from the store.
    #[test]
    fn tail_answers_as_the_store_does(before in 0..120_usize, during in 0..250_usize, after in prop::option::of(0..400_u64)) {
        let fixture = fixture();
        let ann = fixture.enter(1, None);
        (0..before).for_each(|n| fixture.say(&ann, &n.to_string()));
        drop(ann);
        // A new hub over the same store: its tail starts with what the first connection reads.
        let hub = Hub::new(fixture.store.clone(), Arc::new(SystemEnvironment), LimitSettings::default(), IceSettings::default());
        let fixture = Fixture { store: fixture.store, hub };
        let bob = fixture.enter(2, None);
        for n in 0..during {
            fixture.say(&bob, &n.to_string());
            bob.outbox.take();
        }
        let conn = fixture.enter(3, after);
        let frame = received(&conn).remove(0);
        let expected = fixture.store.history(after.map(|seq| Position { epoch: "e".into(), seq, rev: 0 }));
        let people = fixture.hub.shards.of(room().id).member_page(room().id, 0, MAX_MEMBERS);
        let you = people.members.iter().find(|member| member.id == UserId(3)).cloned();
        let expected = core::Entered { id: 1, room: room(), people, you, history: expected, call: Vec::new() };
        prop_assert_eq!(frame, expected.into_frame().encode());
    }
}
