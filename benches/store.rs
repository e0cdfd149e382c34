//! The store: what group commit brings, and how long a message waits for the disk.

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

/// So many messages wait at any time when as many are stored as can be: two full commits.
const WAITING: usize = 256;
/// The rate for latencies, messages a second: that of the fan-out's overload.
const RATE: u32 = 4_000;

/// As many messages as could be stored in some seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CommitBlock {
    /// Compared with blocks of the same round.
    pub(crate) round: usize,
    /// How many waited at any time: one, and so each had its own commit, or many.
    pub(crate) waiting: usize,
    /// How many were stored.
    pub(crate) messages: u64,
    /// In which time.
    pub(crate) seconds: f64,
}

impl CommitBlock {
    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Whether each message had a commit of its own.
    pub(crate) fn is_single(&self) -> bool {
        self.waiting == 1
    }
}

/// How long messages that come at a fixed rate wait until they are stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AckBlock {
    /// Its number.
    pub(crate) round: usize,
    /// Messages a second.
    pub(crate) rate: u32,
    /// In the middle.
    pub(crate) p50_ms: f64,
    /// Ninety-nine in a hundred.
    pub(crate) p99_ms: f64,
    /// How many found so many waiting that they were refused.
    pub(crate) refused: u64,
}

/// Compares group commit with a commit for each message.
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
            eprintln!("commit  {waiting:4} waiting: {:8.0} messages/s", block.rate());
            blocks.push(block);
        }
    }
    folder.write("commit", &plan.command, blocks)
}

/// Measures how long a message waits for the disk.
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
    let desk = Desk::open()?;
    let (done, answers) = sync_channel(waiting);
    let begin = Instant::now();
    let (mut said, mut messages) = (0, 0);
    while begin.elapsed() < during {
        while said - messages < waiting as u64 {
            said += 1;
            desk.store(said, done.clone()).map_err(|_| "the store is busy")?;
        }
        answers.recv()?;
        messages += 1;
    }
    Ok(CommitBlock { round, waiting, messages, seconds: begin.elapsed().as_secs_f64() })
}

fn ack_block(round: usize, during: Duration) -> Outcome<AckBlock> {
    let desk = Desk::open()?;
    let count = during.as_secs() * u64::from(RATE);
    let (done, answers): (SyncSender<Instant>, Receiver<Instant>) = sync_channel(count as usize);
    let (begin, pause) = (Instant::now(), Duration::from_secs(1) / RATE);
    let mut refused = 0;
    let mut due_at = Vec::new();
    for number in 1..=count {
        let due = begin + pause * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        match desk.store(number, done.clone()) {
            Ok(()) => due_at.push(due),
            Err(_) => refused += 1,
        }
    }
    drop(done);
    // In the order in which they were taken, as the store promises.
    let waits: Vec<f64> = answers.iter().zip(due_at).map(|(at, due)| (at - due).as_secs_f64() * 1_000.0).collect();
    let at = |share| percentile(&waits, share).unwrap_or_default();
    Ok(AckBlock { round, rate: RATE, p50_ms: at(0.5), p99_ms: at(0.99), refused })
}

/// Fills a room with messages of several people, and returns them as JSON.
pub(crate) fn fill_room(folder: &Path, room: &str, messages: u64) -> Outcome<String> {
    const PEOPLE: [&str; 5] = ["Ann", "Bob", "Chloé", "Dae-jung", "Ed"];
    let (store, room) = open(folder, room)?;
    let (done, answers) = channel();
    for number in 1..=messages {
        // Some say several things in a row.
        let author = (number / 3 % PEOPLE.len() as u64) as usize;
        let done = done.clone();
        let append = Append {
            room: room.clone(),
            user: User { id: UserId(author as u64 + 1), nickname: PEOPLE[author].into() },
            key: MessageKey(number.into()),
            text: format!("Message {number} of this room, with <some> \"marks\" & words that a reader sees."),
            done: Box::new(move |outcome| drop(done.send(outcome.map(|stored| stored.message)))),
        };
        store.append(append).map_err(|error| format!("{error:?}"))?;
    }
    drop(done);
    let stored: Result<Vec<_>, _> = answers.iter().collect();
    store.close();
    Ok(serde_json::to_string(&stored.map_err(|error| format!("{error:?}"))?)?)
}

/// A store in a folder, and a room in it.
fn open(folder: &Path, room: &str) -> Outcome<(Store, RoomRow)> {
    let store = Store::open(folder, "0000000000000001")?;
    let name = RoomName::parse(room).map_err(|code| code.message())?;
    let room = block_on(store.create_room(name)).map_err(|error| format!("{error:?}"))?;
    Ok((store, room))
}

/// A store of its own, with a room, on the disk that builds are on.
struct Desk {
    store: Store,
    room: RoomRow,
    _folder: tempfile::TempDir,
}

impl Desk {
    fn open() -> Outcome<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let (store, room) = open(folder.path(), "bench")?;
        Ok(Self { store, room, _folder: folder })
    }

    /// Stores a message; `done` hears when that is on disk.
    fn store(&self, number: u64, done: SyncSender<Instant>) -> Result<(), StoreError> {
        self.store.append(Append {
            room: self.room.clone(),
            user: User { id: UserId(1), nickname: "Ann".into() },
            key: MessageKey(number.into()),
            text: "the quick brown fox jumps over the lazy dog ".repeat(3)[..128].to_owned(),
            // Whoever no longer listens has measured enough.
            done: Box::new(move |_| {
                let _ = done.send(Instant::now());
            }),
        })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.store.close();
    }
}
