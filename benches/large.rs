//! Reading from large databases: a room with a million messages, and a hundred thousand rooms.

use std::path::Path;
use std::time::Instant;

use noom::protocol::Position;
use noom::server::name_key::RoomName;
use noom::server::store::{RoomRow, Store};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::results::Folder;
use crate::statistics::percentile;
use crate::{Outcome, Plan};

/// The room with many messages.
const BIG: &str = "big";
/// The epoch of the databases.
const EPOCH: &str = "0000000000000001";
/// Reads of each kind in a block.
const READS: u64 = 300;
/// Messages of a page.
const PAGE: u64 = 50;
/// Messages of each of the other rooms.
const ROOM_MESSAGES: u64 = 10;
/// Messages that a resume replays.
const MISSED: u64 = 20;

/// A kind of read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Read {
    /// The latest page of the room with many messages.
    LatestPage,
    /// A page from anywhere in it.
    AnyPage,
    /// The messages that a connection to it has missed.
    Missed,
    /// The latest page of any room.
    AnyRoom,
}

impl Read {
    /// All kinds, in the order of the report.
    pub(crate) const ALL: [Self; 4] = [Self::LatestPage, Self::AnyPage, Self::Missed, Self::AnyRoom];

    /// The name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LatestPage => "the latest page of the largest room",
            Self::AnyPage => "any page of the largest room",
            Self::Missed => "a resume in the largest room",
            Self::AnyRoom => "the latest page of any room",
        }
    }
}

/// The reads of one kind from one database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReadBlock {
    /// Round: blocks are compared within a round.
    pub(crate) round: usize,
    /// The kind of read.
    pub(crate) read: Read,
    /// Messages in the largest room.
    pub(crate) messages: u64,
    /// Rooms.
    pub(crate) rooms: u64,
    /// This is the large database.
    pub(crate) large: bool,
    /// Median time.
    pub(crate) p50_us: f64,
    /// 99th percentile of the time.
    pub(crate) p99_us: f64,
}

/// A database of a certain size.
struct Database {
    store: Store,
    messages: u64,
    rooms: u64,
    is_large: bool,
    _folder: tempfile::TempDir,
}

/// Compares reads from a large and a small database.
pub(crate) fn measure(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let (rounds, factor) = if plan.quick { (2, 10) } else { (10, 1) };
    let runtime = Runtime::new()?;
    let databases = [Database::fill(1_000, 100, false)?, Database::fill(1_000_000 / factor, 100_000 / factor, true)?];
    let mut blocks = Vec::new();
    for round in 0..rounds {
        for read in Read::ALL {
            let mut turn = [&databases[0], &databases[1]];
            if round % 2 == 1 {
                turn.reverse();
            }
            for database in turn {
                let block = runtime.block_on(database.measure(round, read))?;
                let size = if block.large { "large" } else { "small" };
                eprintln!("large   {size} {:36} p50 {:6.0} µs, p99 {:6.0} µs", read.name(), block.p50_us, block.p99_us);
                blocks.push(block);
            }
        }
    }
    folder.write("large", &plan.command, blocks)
}

impl Database {
    fn fill(messages: u64, rooms: u64, is_large: bool) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // Creates the tables.
        Store::open(folder.path(), EPOCH)?.close();
        insert(folder.path(), messages, rooms)?;
        let store = Store::open(folder.path(), EPOCH)?;
        Ok(Self { store, messages, rooms, is_large, _folder: folder })
    }

    async fn measure(&self, round: usize, read: Read) -> Outcome<ReadBlock> {
        let big = self.room(BIG).await?;
        let mut times = Vec::new();
        // Steps that are coprime with the sizes visit everything in no order.
        for n in (0..READS).map(|n| (n + READS * round as u64) * 7_919) {
            let begin = Instant::now();
            let count = match read {
                Read::LatestPage => self.latest(&self.room(BIG).await?).await?,
                Read::AnyPage => {
                    let before = PAGE + 1 + n % (self.messages - PAGE);
                    let page = self.store.history_before(big.clone(), before, PAGE).await;
                    page.map_err(|error| format!("{error:?}"))?.0.len()
                }
                Read::Missed => {
                    let after = Position { epoch: self.store.epoch().to_owned(), seq: self.messages - MISSED, rev: 0 };
                    let history = self.store.history_for(big.clone(), Some(after)).await;
                    history.map_err(|error| format!("{error:?}"))?.messages.len()
                }
                Read::AnyRoom => self.latest(&self.room(&format!("room {}", n % self.rooms)).await?).await?,
            };
            times.push(begin.elapsed().as_secs_f64() * 1e6);
            let expected = match read {
                Read::LatestPage | Read::AnyPage => PAGE,
                Read::Missed => MISSED,
                Read::AnyRoom => ROOM_MESSAGES,
            };
            if count as u64 != expected {
                return Err(format!("{} returned {count} messages", read.name()).into());
            }
        }
        let at = |share| percentile(&times, share).unwrap_or_default();
        let (messages, rooms, large) = (self.messages, self.rooms, self.is_large);
        Ok(ReadBlock { round, read, messages, rooms, large, p50_us: at(0.5), p99_us: at(0.99) })
    }

    async fn room(&self, name: &str) -> Outcome<RoomRow> {
        let name = RoomName::parse(name).map_err(|code| code.message())?;
        let found = self.store.find_room(&name).await.map_err(|error| format!("{error:?}"))?;
        Ok(found.ok_or("there is no such room")?)
    }

    async fn latest(&self, room: &RoomRow) -> Outcome<usize> {
        let history = self.store.history_for(room.clone(), None).await.map_err(|error| format!("{error:?}"))?;
        Ok(history.messages.len())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.store.close();
    }
}

/// Inserts one room with many messages, and many rooms with few messages each. They count as indexed for the search, so
/// that indexing them does not disturb the measurement.
fn insert(folder: &Path, messages: u64, rooms: u64) -> Outcome<()> {
    let database = rusqlite::Connection::open(folder.join("noom.sqlite3"))?;
    database.execute_batch(&format!(
        "PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; BEGIN;
        INSERT INTO rooms (id, public_id, name, folded, head, created_at, indexed) VALUES (1, 1, '{BIG}', '{BIG}', {messages}, 0, {messages});
        WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rooms} - 1)
            INSERT INTO rooms (id, public_id, name, folded, head, created_at, indexed)
            SELECT i + 2, i + 2, 'room ' || i, 'room ' || i, {ROOM_MESSAGES}, 0, {ROOM_MESSAGES} FROM n;
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {messages})
            INSERT INTO messages (room, seq, user, key, nickname, text, at)
            SELECT 1, i, i % 5, randomblob(16), 'Ann', hex(randomblob(60)), 0 FROM n;
        WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rooms} * {ROOM_MESSAGES} - 1)
            INSERT INTO messages (room, seq, user, key, nickname, text, at)
            SELECT i / {ROOM_MESSAGES} + 2, i % {ROOM_MESSAGES} + 1, i % 5, randomblob(16), 'Ann', hex(randomblob(60)), 0 FROM n;
        COMMIT;"
    ))?;
    Ok(())
}
