//! The search in a million messages: in one room, in one of a thousand, and in 200 of a thousand at once.

use std::fmt::Write;
use std::time::{Duration, Instant};

use noom::protocol::MAX_MY_ROOMS;
use noom::server::name_key::RoomName;
use noom::server::search::Query;
use noom::server::store::{RoomRow, Store};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::report::format_interval;
use crate::report::plot::format_number;
use crate::results::{Folder, Results};
use crate::statistics::{geometric_mean, percentile};
use crate::{Outcome, Plan};

/// The epoch of the databases.
const EPOCH: &str = "0000000000000001";
/// Searches of each kind in a block.
const SEARCHES: u64 = 300;
/// Results of a search.
const PAGE: u64 = 20;
/// The most rooms in the list of a user.
const AT_ONCE: u64 = MAX_MY_ROOMS as u64;

/// Something to search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Words {
    /// A word of few messages.
    Rare,
    /// A word of a fifth of the messages.
    Common,
    /// The beginning of that word, as while it is typed.
    Beginning,
    /// Two syllables inside of a Korean word of a fifth of the messages.
    Korean,
    /// The first of them.
    Syllable,
    /// Two words, each of many messages.
    Both,
    /// A word of no message.
    Nothing,
}

impl Words {
    /// All, in the order of the report.
    pub(crate) const ALL: [Self; 7] =
        [Self::Rare, Self::Common, Self::Beginning, Self::Korean, Self::Syllable, Self::Both, Self::Nothing];

    /// The name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rare => "a rare word",
            Self::Common => "a word of a fifth of the messages",
            Self::Beginning => "the beginning of that word",
            Self::Korean => "two Korean syllables",
            Self::Syllable => "one Korean syllable",
            Self::Both => "two words",
            Self::Nothing => "a word that is not there",
        }
    }

    /// Returns whether the user can search for it in all of their rooms.
    fn are_found_in_many_rooms(self) -> bool {
        Query::parse(&self.text(0)).is_ok_and(|query| !query.expression_for_many_rooms().is_empty())
    }

    fn text(self, n: u64) -> String {
        match self {
            Self::Rare => format!("rare{}x", n % 1_000),
            Self::Common => "common".to_owned(),
            Self::Beginning => "comm".to_owned(),
            Self::Korean => "번째".to_owned(),
            Self::Syllable => "번".to_owned(),
            Self::Both => format!("common tail{}x", n % 20),
            Self::Nothing => format!("missing{n}"),
        }
    }
}

/// The searches of one kind in one database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SearchBlock {
    /// Round.
    pub(crate) round: usize,
    /// The words that are searched for.
    pub(crate) words: Words,
    /// Messages in all rooms.
    pub(crate) messages: u64,
    /// Rooms.
    pub(crate) rooms: u64,
    /// Rooms that are searched at once. Earlier results do not have it.
    #[serde(default = "one_room")]
    pub(crate) at_once: u64,
    /// Median time.
    pub(crate) p50_ms: f64,
    /// 99th percentile of the time.
    pub(crate) p99_ms: f64,
    /// The time in which the whole index was built.
    pub(crate) indexed_seconds: f64,
    /// The size of the index, in bytes for each message.
    pub(crate) index_bytes: f64,
}

fn one_room() -> u64 {
    1
}

/// A database with messages of the same size in each room.
struct Database {
    store: Store,
    messages: u64,
    rooms: u64,
    indexed_seconds: f64,
    index_bytes: f64,
    _folder: tempfile::TempDir,
}

/// Measures searches in one large room, and in one of many rooms.
pub(crate) fn measure(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let (rounds, messages) = if plan.quick { (2, 100_000) } else { (10, 1_000_000) };
    let runtime = Runtime::new()?;
    let mut blocks = Vec::new();
    for rooms in [1, 1_000] {
        let database = Database::fill(messages, rooms)?;
        for round in 0..rounds {
            for at_once in [1, AT_ONCE].into_iter().filter(|at_once| *at_once <= rooms) {
                for words in Words::ALL.into_iter().filter(|words| at_once == 1 || words.are_found_in_many_rooms()) {
                    let block = runtime.block_on(database.measure(round, words, at_once))?;
                    let (name, p50, p99) = (words.name(), block.p50_ms, block.p99_ms);
                    eprintln!("search  {at_once:3} of {rooms:4} rooms, {name:36} p50 {p50:6.2} ms, p99 {p99:6.2} ms");
                    blocks.push(block);
                }
            }
        }
    }
    folder.write("search", &plan.command, blocks)
}

/// The worst median, or 99th percentile, of all searches.
pub(crate) fn worst(blocks: &[SearchBlock], value: fn(&SearchBlock) -> f64) -> f64 {
    blocks.iter().map(value).fold(0.0, f64::max)
}

/// Writes the section of the report.
pub(crate) fn report(page: &mut String, folder: &Folder) -> Outcome<()> {
    let Some(Results { blocks, .. }) = folder.read::<SearchBlock>("search")? else { return Ok(()) };
    page.push_str("\n## Search\n\n| search for | messages | rooms searched | median, ms | 99th percentile, ms |\n");
    page.push_str("|---|---:|---:|---|---|\n");
    for words in Words::ALL {
        for (rooms, at_once) in [(1, 1), (1_000, 1), (1_000, AT_ONCE)] {
            let is_own = |block: &&SearchBlock| (block.words, block.rooms, block.at_once) == (words, rooms, at_once);
            let own: Vec<_> = blocks.iter().filter(is_own).collect();
            let Some(first) = own.first() else { continue };
            let of = |value: fn(&SearchBlock) -> f64| {
                let values: Vec<_> = own.iter().map(|block| value(block)).collect();
                geometric_mean(&values).map_or("–".into(), format_interval)
            };
            let (messages, p50, p99) =
                (format_number(first.messages as f64), of(|block| block.p50_ms), of(|block| block.p99_ms));
            let (name, rooms) = (words.name(), format_number(rooms as f64));
            writeln!(page, "| {name} | {messages} | {at_once} of {rooms} | {p50} | {p99} |")?;
        }
    }
    let (rate, bytes) =
        blocks.first().map_or((0.0, 0.0), |first| (first.messages as f64 / first.indexed_seconds, first.index_bytes));
    writeln!(
        page,
        "\nRead from Noom's store, with the database in the page cache of the kernel.\n\
         The index takes {bytes:.0} bytes for a message of about 100 bytes, and is built at {} messages per second while \
         the store is idle.",
        format_number(rate)
    )?;
    Ok(())
}

impl Database {
    fn fill(messages: u64, rooms: u64) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // Creates the tables.
        Store::open(folder.path(), EPOCH)?.close();
        let database = rusqlite::Connection::open(folder.path().join("noom.sqlite3"))?;
        insert(&database, messages, rooms)?;
        let begin = Instant::now();
        let store = Store::open(folder.path(), EPOCH)?;
        while database.query_row("SELECT SUM(head - indexed) >= 128 FROM rooms", [], |row| row.get::<_, bool>(0))? {
            std::thread::sleep(Duration::from_millis(50));
        }
        let indexed_seconds = begin.elapsed().as_secs_f64();
        let size: i64 = database.query_row("SELECT SUM(octet_length(block)) FROM search_data", [], |row| row.get(0))?;
        let index_bytes = size as f64 / messages as f64;
        Ok(Self { store, messages, rooms, indexed_seconds, index_bytes, _folder: folder })
    }

    async fn measure(&self, round: usize, words: Words, at_once: u64) -> Outcome<SearchBlock> {
        let mut times = Vec::new();
        // Steps that are coprime with the sizes visit everything in no order.
        for n in (0..SEARCHES).map(|n| (n + SEARCHES * round as u64) * 7_919) {
            let mut rooms = Vec::new();
            for number in 0..at_once {
                rooms.push(self.room((n + number * 3) % self.rooms).await?);
            }
            let begin = Instant::now();
            let query = Query::parse(&words.text(n)).map_err(|code| code.message())?;
            let page = self.store.search(rooms, query, None, PAGE).await.map_err(|error| format!("{error:?}"))?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            let is_expected = match words {
                Words::Common | Words::Beginning | Words::Korean | Words::Syllable => page.found.len() as u64 == PAGE,
                Words::Rare | Words::Both => self.rooms > at_once || !page.found.is_empty(),
                Words::Nothing => page.found.is_empty() && page.before.is_none(),
            };
            if !is_expected {
                return Err(format!("{} found {} messages", words.name(), page.found.len()).into());
            }
        }
        let at = |share| percentile(&times, share).unwrap_or_default();
        let &Self { messages, rooms, indexed_seconds, index_bytes, .. } = self;
        let (p50_ms, p99_ms) = (at(0.5), at(0.99));
        Ok(SearchBlock { round, words, messages, rooms, at_once, p50_ms, p99_ms, indexed_seconds, index_bytes })
    }

    async fn room(&self, number: u64) -> Outcome<RoomRow> {
        let name = RoomName::parse(&format!("room {number}")).map_err(|code| code.message())?;
        let found = self.store.find_room(&name).await.map_err(|error| format!("{error:?}"))?;
        Ok(found.ok_or("there is no such room")?)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.store.close();
    }
}

/// Inserts messages of about 100 bytes: English words of different frequencies, a number, and a Korean sentence.
fn insert(database: &rusqlite::Connection, messages: u64, rooms: u64) -> Outcome<()> {
    let each = messages / rooms;
    database.execute_batch(&format!(
        "PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; BEGIN;
        WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rooms} - 1)
            INSERT INTO rooms (id, public_id, name, folded, head, created_at)
            SELECT i + 1, i + 1, 'room ' || i, 'room ' || i, {each}, 0 FROM n;
        WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {messages} - 1)
            INSERT INTO messages (room, seq, user, key, nickname, text, at)
            SELECT i / {each} + 1, i % {each} + 1, i % 5, randomblob(16), 'Ann',
                'word' || (i * 7 % 30011) || ' tail' || (i % 5 * 20 + i / 5 % 20) || 'x rare' || (i * 31 % 100003) || 'x '
                || CASE i % 5 WHEN 0 THEN 'common ' ELSE '' END || 'the quick brown fox' || (i * 13 % 997)
                || ' ' || i || CASE i % 5 WHEN 1 THEN '번째 메시지입니다 ' ELSE ' ' END || char(44032 + i * 17 % 11172, 44032 + i * 29 % 11172) || '에서', i % {each} * 1000
            FROM n;
        COMMIT;"
    ))?;
    Ok(())
}
