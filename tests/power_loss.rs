//! The power is cut while SQLite writes, some hundred times.
//!
//! Each round the real store works on a disk that records what is written and synced
//! (`power_loss/disk.rs`). Then the power is cut at moments of that record: what was not synced is
//! there or not, in parts, in any order. The store must open what is left, and have all that was
//! acknowledged before. `NOOM_POWER_CUTS` says how many cuts (default 300), `NOOM_POWER_SEED` where
//! chance begins.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

#[path = "power_loss/disk.rs"]
mod disk;
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;

use disk::{Event, Image};
use noom::protocol::{MessageKey, User, UserId};
use noom::server::name_key::RoomName;
use noom::server::store::{Append, Outcome, RoomRow, Store};
use serde_json::json;
use support::keep_figures;
use support::random::Random;

/// How often the power is cut in the record of one round.
const CUTS_A_ROUND: u64 = 10;
const ROOMS: [&str; 2] = ["one", "two"];

/// A message and where the store said it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Acked {
    room: &'static str,
    seq: u64,
    key: MessageKey,
}

/// What a run found.
#[derive(Debug, Default)]
struct Found {
    cuts: u64,
    acked: u64,
    lost: u64,
    doubled: u64,
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn put(image: &Image, folder: &Path) {
    for (name, content) in image {
        std::fs::write(folder.join(name.file_name().unwrap()), content).unwrap();
    }
}

/// An image under the names of another folder.
fn moved(image: Image, folder: &Path) -> Image {
    image.into_iter().map(|(name, content)| (folder.join(name.file_name().unwrap()), content)).collect()
}

async fn rooms(store: &Store) -> Vec<(&'static str, RoomRow)> {
    let mut rooms = Vec::new();
    for name in ROOMS {
        rooms.push((name, store.create_room(RoomName::parse(name).unwrap()).await.unwrap()));
    }
    rooms
}

/// Opens the store in a folder and says things, some at once. Returns what was acknowledged, with
/// how many messages were marked as stored then; the disk's record has a note for each.
async fn work(folder: &Path, random: &mut Random) -> Vec<(Acked, u64)> {
    let store = Store::open(folder, "epoch").unwrap();
    let rooms = rooms(&store).await;
    let (told, answers) = channel();
    let mut acked = Vec::new();
    for _ in 0..4 + random.below(8) {
        let burst = 1 + random.below(12);
        for _ in 0..burst {
            let (name, room) = rooms[random.below(ROOMS.len() as u64) as usize].clone();
            let key = MessageKey::from_random(random.wide());
            let user = User { id: UserId(1 + random.below(3)), nickname: "Ann".into() };
            let text = "x".repeat(1 + random.below(4_000) as usize);
            let (told, folder) = (told.clone(), folder.to_owned());
            // On the writer's thread, before it goes on: what it does next stands behind the note.
            let done = move |outcome: Outcome| {
                disk::note(&folder);
                let seq = outcome.unwrap().message.seq;
                told.send((Acked { room: name, seq, key }, marked(&folder))).unwrap();
            };
            store.append(Append { room, user, key, text, done: Box::new(done) }).unwrap();
        }
        acked.extend(answers.iter().take(burst as usize));
    }
    store.close();
    acked
}

/// How many messages are said to be stored.
fn marked(folder: &Path) -> u64 {
    let mark = std::fs::read_to_string(folder.join("noom.mark")).unwrap();
    mark.split(' ').nth(1).unwrap().parse().unwrap()
}

/// What is in a folder after a loss of power: `None` when it cannot even be opened.
async fn recover(folder: &Path) -> Option<BTreeSet<Acked>> {
    let store = Store::open(folder, "another").ok()?;
    let mut found = BTreeSet::new();
    for name in ROOMS {
        let Some(room) = store.find_room(&RoomName::parse(name).unwrap()).await.ok()? else { continue };
        let (mut messages, mut before) = (Vec::new(), u64::MAX);
        loop {
            let (page, more) = store.history_before(room.clone(), before, 100).await.ok()?;
            before = page.first().map_or(0, |message| message.seq);
            messages.splice(0..0, page);
            if !more {
                break;
            }
        }
        let head = store.history_for(room, None).await.ok()?.head;
        let gapless = messages.iter().map(|message| message.seq).eq(1..=head);
        let keys: BTreeSet<_> = messages.iter().map(|message| message.key).collect();
        if !gapless || keys.len() != messages.len() {
            return None;
        }
        found.extend(messages.into_iter().map(|message| Acked { room: name, seq: message.seq, key: message.key }));
    }
    store.close();
    drop(store);
    let database = rusqlite::Connection::open(folder.join("noom.sqlite3")).ok()?;
    let integrity: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).ok()?;
    (integrity == "ok").then_some(found)
}

/// Cuts the power so often. `obedient`: whether the disk does sync when asked to.
async fn cut_power(cuts: u64, seed: u64, obedient: bool) -> Found {
    let mut random = Random::new(seed);
    let mut found = Found::default();
    // What earlier rounds left on the disk, and what was acknowledged of it.
    let (mut image, mut known) = (Image::new(), BTreeSet::new());
    while found.cuts < cuts {
        let folder = tempfile::tempdir_in(std::env::temp_dir().canonicalize().unwrap()).unwrap();
        put(&image, folder.path());
        disk::watch(folder.path());
        let acked = work(folder.path(), &mut random).await;
        let events = disk::take(folder.path());
        let before = moved(image.clone(), folder.path());
        let mut survivors = Vec::new();
        for _ in 0..CUTS_A_ROUND {
            let end = random.below(events.len() as u64 + 1) as usize;
            let told = events[..end].iter().filter(|event| matches!(event, Event::Note)).count();
            let after = disk::cut(&before, &events[..end], obedient, &mut random);
            let elsewhere = tempfile::tempdir().unwrap();
            put(&after, elsewhere.path());
            let owed: BTreeSet<Acked> =
                acked[..told].iter().map(|(message, _)| message).chain(&known).cloned().collect();
            found.cuts += 1;
            found.acked += owed.len() as u64;
            let Some(stored) = recover(elsewhere.path()).await else {
                assert!(!obedient, "seed {seed}, cut {}: what is left is damaged", found.cuts);
                found.lost += owed.len() as u64;
                continue;
            };
            found.lost += owed.difference(&stored).count() as u64;
            // What was never acknowledged may be there, but nothing that was never said.
            let said: BTreeSet<_> = acked.iter().map(|(message, _)| message).chain(&known).collect();
            found.doubled += stored.iter().filter(|message| !said.contains(message)).count() as u64;
            if obedient {
                assert_eq!((found.lost, found.doubled), (0, 0), "seed {seed}, cut {}", found.cuts);
                let marked = acked[..told].last().map_or(0, |(_, marked)| *marked);
                assert!(marked <= stored.len() as u64, "seed {seed}, cut {}: the mark claims too much", found.cuts);
            }
            survivors.push((after, stored));
        }
        // The next round goes on from one of the cuts, and from nothing now and then.
        (image, known) = match survivors.pop() {
            Some(next) if found.cuts % 50 != 0 => next,
            _ => (Image::new(), BTreeSet::new()),
        };
    }
    found
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_with_the_power() {
    let (cuts, seed) = (number_from("NOOM_POWER_CUTS", 300), number_from("NOOM_POWER_SEED", 1));
    let found = cut_power(cuts, seed, true).await;
    // The same disk, but it only says that it syncs: what `synchronous=OFF` comes to.
    let control = cut_power(50, seed, false).await;
    eprintln!("{found:?}; a disk that does not sync: {control:?}");
    let figures = json!({
        "cuts": found.cuts, "acked": found.acked, "lost": found.lost, "doubled": found.doubled,
        "lost_by_control": control.lost,
    });
    keep_figures("power_loss.json", &figures);
    assert_eq!((found.lost, found.doubled), (0, 0));
    assert!(found.acked > cuts, "there was something to lose");
    assert!(control.lost > 0, "a disk that does not sync must lose, or this proves nothing");
}

/// The variable by which this program runs one of its tests as a process that shall end.
const FAILING: &str = "NOOM_TEST_FAILING_SYNC";

#[test]
fn a_failed_sync_ends_the_process() {
    if let Ok(ending) = std::env::var(FAILING) {
        work_with_failing_syncs(&ending);
        return;
    }
    // Of the log at a commit; of the database when the log is copied into it.
    for ending in ["-wal", ".sqlite3"] {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_failed_sync_ends_the_process"])
            .env(FAILING, ending)
            .env("TMPDIR", folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(74), "{ending}: {output:?}");
    }
}

fn work_with_failing_syncs(ending: &str) {
    let folder = tempfile::tempdir().unwrap();
    disk::watch(folder.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(folder.path(), "epoch").unwrap();
        let rooms = rooms(&store).await;
        let mut random = Random::new(1);
        disk::fail_syncs_of(ending);
        // More than the log may hold: then it is copied while nothing else is to be done.
        loop {
            let (done, answer) = tokio::sync::oneshot::channel();
            let append = Append {
                room: rooms[0].1.clone(),
                user: User { id: UserId(1), nickname: "Ann".into() },
                key: MessageKey::from_random(random.wide()),
                text: "x".repeat(4_000),
                done: Box::new(move |outcome| drop(done.send(outcome))),
            };
            store.append(append).unwrap();
            answer.await.unwrap().unwrap();
        }
    });
}
