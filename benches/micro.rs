//! The costs of one message and of entering a room, step by step. `cargo bench --bench micro` prints time and
//! allocations of each.

use std::sync::Arc;
use std::time::Instant;

use divan::{AllocProfiler, Bencher, black_box};
use noom::protocol::{ClientFrame, Message, MessageKey, ServerFrame, User, UserId};
use noom::server::history::History;
use noom::server::hub::core::{Core, Enter, Input, Output, SeatId};
use noom::server::hub::outbox::{Delivery, Outbox, OutboxLimits};
use noom::server::id::{ConnId, RoomId, RoomRow};
use noom::server::name_key::{Nick, RoomName};
use noom::server::store::{Append, Store};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ROOM: RoomId = RoomId(0xb00c_c1ab_00cc_1ab0);
const TEXT: &str = "the quick brown fox jumps over the lazy dog";
const POST: &str = r#"{"type":"new_message","payload":{"room":"b00cc1ab00cc1ab0","key":"5f0c9f0e-7b0e-4c8e-9a53-1d3f5f0b7c11","text":"the quick brown fox jumps over the lazy dog"},"id":8}"#;

fn main() {
    divan::main();
}

fn message(seq: u64) -> Message {
    let user = User { id: UserId(1), nickname: "Ann".into() };
    Message::of_text(ROOM, seq, MessageKey(seq.into()), user, TEXT.into(), 1_795_442_709_123)
}

#[divan::bench]
fn decode_a_post(bencher: Bencher) {
    bencher.bench(|| ClientFrame::decode(black_box(POST)));
}

#[divan::bench]
fn encode_a_delivery(bencher: Bencher) {
    let frame = ServerFrame::NewMessage(message(1));
    bencher.bench(|| black_box(&frame).encode());
}

/// A room with people in it, and a tail of the latest messages.
fn room(people: u64, messages: u64) -> Core<u64> {
    let mut core = Core::default();
    let messages: Vec<_> = (1..=messages).map(|seq| Arc::new(message(seq))).collect();
    let history = History { head: messages.len() as u64, messages, ..History::default() };
    for n in 0..people {
        let seat = enter(&mut core, n);
        if core.is_loading(seat) {
            let taken = core.handle(Instant::now(), Input::HistoryLoaded(seat, history.clone()));
            assert!(taken.is_ok());
        }
        while core.poll_output().is_some() {}
    }
    core
}

fn enter(core: &mut Core<u64>, n: u64) -> SeatId {
    let (conn, nick) = (ConnId(n), Nick::unchecked(format!("Anon{n:04}")));
    let room = RoomRow { id: ROOM, number: 1, name: "book club".into() };
    let enter = Enter { conn, outbox: n, user: UserId(n), nick, room, id: Some(1), after: None };
    let taken = core.handle(Instant::now(), Input::Enter(enter));
    assert!(taken.is_ok());
    SeatId { conn, room: ROOM }
}

/// A room's decisions about one message: its author, and its receivers.
#[divan::bench(args = [2, 50, 500])]
fn decide_a_message(bencher: Bencher, people: u64) {
    let mut core = room(people, 0);
    let (now, seat) = (Instant::now(), SeatId { conn: ConnId(0), room: ROOM });
    let mut seq = 0;
    bencher.bench_local(|| {
        seq += 1;
        assert!(core.begin_post(seat).is_ok());
        let taken = core.handle(now, Input::Committed(ROOM, Arc::new(message(seq))));
        assert!(taken.is_ok());
        let mut receivers = 0;
        while let Some(output) = core.poll_output() {
            if let Output::Deliver(room, message) = output {
                receivers += core.receivers(room, message.seq).count();
            }
        }
        receivers
    });
}

/// Entering a room that is in memory: answered from its tail, encoded.
#[divan::bench(args = [2, 50, 500])]
fn enter_a_warm_room(bencher: Bencher, people: u64) {
    let mut core = room(people, 60);
    bencher.bench_local(|| {
        enter(&mut core, people);
        let mut bytes = 0;
        while let Some(output) = core.poll_output() {
            if let Output::Entered(_, entered) = output {
                bytes += entered.into_frame().encode().len();
            }
        }
        assert!(bytes > 0, "the tail answers");
        let left = core.handle(Instant::now(), Input::Leave(SeatId { conn: ConnId(people), room: ROOM }));
        assert!(left.is_ok());
        while core.poll_output().is_some() {}
        bytes
    });
}

/// The database read that the tail saves, without the thread that it takes in the server.
#[divan::bench]
fn read_a_cold_room(bencher: Bencher) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let (Ok(folder), Ok(runtime)) = (tempfile::tempdir(), runtime) else { panic!("no folder or no runtime") };
    let Ok(store) = Store::open(folder.path(), "0000000000000001") else { panic!("the store does not open") };
    let Ok(name) = RoomName::parse("book club") else { panic!("not a name") };
    let Ok(room) = runtime.block_on(store.create_room(name)) else { panic!("the room was not created") };
    for seq in 1..=60 {
        let Message { key, user, text, .. } = message(seq);
        let (sender, stored) = futures::channel::oneshot::channel();
        let done = move |outcome| drop(sender.send(outcome));
        let queued = store.append(Append::of_text(room.clone(), user, key, text, done));
        assert!(queued.is_ok() && runtime.block_on(stored).is_ok());
    }
    bencher.bench_local(|| runtime.block_on(store.history_for(room.clone(), None)).map(|history| history.head));
    store.close();
}

/// One frame into every outbox, and out again.
#[divan::bench(args = [2, 50, 500])]
fn hand_to_everyone(bencher: Bencher, people: usize) {
    let limits = OutboxLimits { frames: 512, bytes: 1024 * 1024 };
    let outboxes: Vec<Arc<Outbox>> = (0..people).map(|_| Outbox::new(limits)).collect();
    let frame = axum::extract::ws::Utf8Bytes::from(ServerFrame::NewMessage(message(1)).encode());
    bencher.bench_local(|| {
        outboxes.iter().for_each(|outbox| outbox.push(frame.clone(), Delivery::Reliable));
        outboxes.iter().map(|outbox| outbox.take().frames.len()).sum::<usize>()
    });
}
