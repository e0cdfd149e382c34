//! What one message costs inside: read, decided, written, handed to everyone. A change shows here first.
//! `cargo bench --bench micro` prints time and allocations of each.

use std::sync::Arc;
use std::time::Instant;

use divan::{AllocProfiler, Bencher, black_box};
use noom::protocol::{ClientFrame, Message, MessageKey, ServerFrame, User, UserId};
use noom::server::hub::core::{Author, ConnId, Core, History, Input, Output, RoomId, Stored};
use noom::server::hub::outbox::{Link, Outbox, OutboxLimits, Waits};
use noom::server::name_key::Nick;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const ROOM: RoomId = RoomId(1);
const TEXT: &str = "the quick brown fox jumps over the lazy dog";
const POST: &str = r#"{"type":"new_message","payload":{"room":"book club","key":"5f0c9f0e-7b0e-4c8e-9a53-1d3f5f0b7c11","text":"the quick brown fox jumps over the lazy dog"},"id":8}"#;

fn main() {
    divan::main();
}

fn message(seq: u64) -> Message {
    let user = User { id: UserId(1), nickname: "Ann".into() };
    Message {
        room: "book club".into(),
        seq,
        key: MessageKey(seq.into()),
        user,
        text: TEXT.into(),
        at: 1_795_442_709_123,
    }
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

/// A room's decisions about one message: may it be said, who hears it.
#[divan::bench(args = [2, 50, 500])]
fn decide_a_message(bencher: Bencher, people: u64) {
    let mut core = Core::default();
    let now = Instant::now();
    for n in 0..people {
        let (conn, nick) = (ConnId(n), Nick::unchecked(format!("Anon{n:04}")));
        let enter = Input::Enter { conn, link: n, user: UserId(n), nick, room: ROOM, name: "book club".into() };
        let opened = Input::Opened { conn, room: ROOM, id: None, history: History::default(), call: Vec::new() };
        for input in [enter, opened] {
            let taken = core.handle(now, input);
            assert!(taken.is_ok());
        }
        while core.poll_output().is_some() {}
    }
    let mut seq = 0;
    bencher.bench_local(|| {
        seq += 1;
        let post =
            Input::Post { conn: ConnId(0), room: ROOM, id: None, key: MessageKey(seq.into()), text: TEXT.into() };
        let stored = Stored { message: message(seq), dup: false };
        let author = Author::Connection { link: 0, id: None };
        for input in [post, Input::Stored { author, room: ROOM, outcome: Ok(stored) }] {
            let taken = core.handle(now, input);
            assert!(taken.is_ok());
        }
        let mut hearers = 0;
        while let Some(output) = core.poll_output() {
            if let Output::Broadcast { room, except, frame } = output {
                hearers += core.audience(room, except, &frame).count();
            }
        }
        hearers
    });
}

/// One frame into every outbox, and out again.
#[divan::bench(args = [2, 50, 500])]
fn hand_to_everyone(bencher: Bencher, people: usize) {
    let limits = OutboxLimits { frames: 512, bytes: 1024 * 1024 };
    let links: Vec<Link> = (0..people).map(|_| Outbox::new(limits)).collect();
    let frame = axum::extract::ws::Utf8Bytes::from(ServerFrame::NewMessage(message(1)).encode());
    bencher.bench_local(|| {
        links.iter().for_each(|link: &Arc<Outbox>| link.push(frame.clone(), Waits::Whole));
        links.iter().map(|link| link.take().frames.len()).sum::<usize>()
    });
}
