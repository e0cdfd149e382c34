//! The store: throughput gained by group commit, and latency until a message is on disk.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use noom::protocol::{MessageKey, User, UserId};
use noom::server::name_key::RoomName;
use noom::server::store::{Append, RoomRow, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::results::Folder;
use crate::statistics::percentile;
use crate::{Outcome, Plan};

/// Messages in flight when throughput is measured: two full batches of the writer.
const WAITING: usize = 256;
/// Messages per second when latency is measured: the rate of the fan-out workload `heavy`.
const RATE: u32 = 4_000;

/// Throughput of the store in one block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CommitBlock {
    /// Round: blocks are compared within a round.
    pub(crate) round: usize,
    /// Messages in flight. With one, each message has its own commit.
    pub(crate) waiting: usize,
    /// Messages stored.
    pub(crate) messages: u64,
    /// Length of the block.
    pub(crate) seconds: f64,
}

impl CommitBlock {
    /// Messages per second.
    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Returns true if each message had its own commit.
    pub(crate) fn is_single(&self) -> bool {
        self.waiting == 1
    }
}

/// Latency of the store at a fixed rate in one block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AckBlock {
    /// Round.
    pub(crate) round: usize,
    /// Messages per second.
    pub(crate) rate: u32,
    /// Median latency until a message is on disk.
    pub(crate) p50_ms: f64,
    /// 99th percentile of that latency.
    pub(crate) p99_ms: f64,
    /// Messages refused because the writer's queue was full.
    pub(crate) refused: u64,
}

/// Compares group commit with one commit per message.
pub(crate) fn measure_commits(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let (rounds, during) = if plan.quick { (2, 1) } else { (10, 2) };
    let mut blocks = Vec::new();
    for round in 0..rounds {
        let mut turn = [WAITING, 1];
        if round % 2 == 1 {
            turn.reverse();
        }
        for waiting in turn {
            let block = commit_block(round, waiting, Duration::from_secs(during))?;
            eprintln!("commit  {waiting:4} in flight: {:8.0} messages/s", block.rate());
            blocks.push(block);
        }
    }
    folder.write("commit", &plan.command, blocks)
}

/// Measures the latency until a message is on disk.
pub(crate) fn measure_acks(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let (rounds, during) = if plan.quick { (2, 1) } else { (10, 4) };
    let mut blocks = Vec::new();
    for round in 0..rounds {
        let block = ack_block(round, Duration::from_secs(during))?;
        eprintln!("acks    {RATE} messages/s: p50 {:.2} ms, p99 {:.2} ms", block.p50_ms, block.p99_ms);
        blocks.push(block);
    }
    folder.write("acks", &plan.command, blocks)
}

fn commit_block(round: usize, waiting: usize, during: Duration) -> Outcome<CommitBlock> {
    let store = BenchStore::open()?;
    let (done, answers) = sync_channel(waiting);
    let begin = Instant::now();
    let (mut sent, mut messages) = (0, 0);
    while begin.elapsed() < during {
        while sent - messages < waiting as u64 {
            sent += 1;
            store.store(sent, done.clone()).map_err(|_| "the writer's queue is full")?;
        }
        answers.recv()?;
        messages += 1;
    }
    Ok(CommitBlock { round, waiting, messages, seconds: begin.elapsed().as_secs_f64() })
}

fn ack_block(round: usize, during: Duration) -> Outcome<AckBlock> {
    let store = BenchStore::open()?;
    let count = during.as_secs() * u64::from(RATE);
    let (done, answers): (SyncSender<Instant>, Receiver<Instant>) = sync_channel(count as usize);
    let (begin, pause) = (Instant::now(), Duration::from_secs(1) / RATE);
    let mut refused = 0;
    let mut due_at = Vec::new();
    for number in 1..=count {
        let due = begin + pause * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        match store.store(number, done.clone()) {
            Ok(()) => due_at.push(due),
            Err(_) => refused += 1,
        }
    }
    drop(done);
    // The store answers in the order it accepted the messages, so `zip` pairs each answer with its due time.
    let waits: Vec<f64> = answers.iter().zip(due_at).map(|(at, due)| (at - due).as_secs_f64() * 1_000.0).collect();
    let at = |share| percentile(&waits, share).unwrap_or_default();
    Ok(AckBlock { round, rate: RATE, p50_ms: at(0.5), p99_ms: at(0.99), refused })
}

/// Fills a room with messages of several authors, and returns them as JSON.
pub(crate) fn fill_room(folder: &Path, room: &str, messages: u64) -> Outcome<String> {
    fill_room_with(folder, room, messages, |number| {
        format!("Message {number} of this room, with <some> \"marks\" & words that a reader sees.")
    })
}

/// As [`fill_room`], with texts by the number of the message.
pub(crate) fn fill_room_with(
    folder: &Path,
    room: &str,
    messages: u64,
    text: impl Fn(u64) -> String,
) -> Outcome<String> {
    const PEOPLE: [&str; 5] = ["Ann", "Bob", "Chloé", "Dae-jung", "Ed"];
    let (store, room) = open(folder, room)?;
    let (done, answers) = channel();
    for number in 1..=messages {
        // Three messages in a row by each author, so that the page also shows grouped rows.
        let author = (number / 3 % PEOPLE.len() as u64) as usize;
        let done = done.clone();
        let append = Append::of_text(
            room.clone(),
            User { id: UserId(author as u64 + 1), nickname: PEOPLE[author].into() },
            MessageKey(number.into()),
            text(number),
            move |outcome| drop(done.send(outcome.map(|stored| stored.message))),
        );
        store.append(append).map_err(|error| format!("{error:?}"))?;
    }
    drop(done);
    let stored: Result<Vec<_>, _> = answers.iter().collect();
    store.close();
    Ok(serde_json::to_string(&stored.map_err(|error| format!("{error:?}"))?)?)
}

/// Opens a store in a folder and creates a room in it.
fn open(folder: &Path, room: &str) -> Outcome<(Store, RoomRow)> {
    let store = Store::open(folder, "0000000000000001")?;
    let name = RoomName::parse(room).map_err(|code| code.message())?;
    let room = block_on(store.create_room(name)).map_err(|error| format!("{error:?}"))?;
    Ok((store, room))
}

/// A store with one room in a temporary folder, on the disk of the target folder (not on a tmpfs).
struct BenchStore {
    store: Store,
    room: RoomRow,
    _folder: tempfile::TempDir,
}

impl BenchStore {
    fn open() -> Outcome<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let (store, room) = open(folder.path(), "bench")?;
        Ok(Self { store, room, _folder: folder })
    }

    /// Stores a message. `done` receives the time at which it was on disk.
    fn store(&self, number: u64, done: SyncSender<Instant>) -> Result<(), StoreError> {
        self.store.append(Append::of_text(
            self.room.clone(),
            User { id: UserId(1), nickname: "Ann".into() },
            MessageKey(number.into()),
            "the quick brown fox jumps over the lazy dog ".repeat(3)[..128].to_owned(),
            // The receiver is gone when the block is over; later answers are not needed.
            move |_| {
                let _ = done.send(Instant::now());
            },
        ))
    }
}

impl Drop for BenchStore {
    fn drop(&mut self) {
        self.store.close();
    }
}
