//! Fault injection: the power is cut several hundred times while SQLite writes.
//!
//! In each round the real store writes to a disk that records every write and sync
//! (`power_loss/disk.rs`). Then the power is cut at random points of that record: writes that were not
//! synced are kept, lost or torn, in any order. The store must open what is left, and must contain
//! every message that was acknowledged before the cut. `NOOM_POWER_CUTS` sets the number of cuts
//! (default 300), `NOOM_POWER_SEED` the seed.

#![allow(clippy::unwrap_used, reason = "a panic shows the failing line")]

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
use support::random::Rng;
use support::record_figures;

/// Power cuts in the record of one round.
const CUTS_A_ROUND: u64 = 10;
const ROOMS: [&str; 2] = ["one", "two"];

/// An acknowledged message and its position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Acked {
    room: &'static str,
    seq: u64,
    key: MessageKey,
}

/// The figures of a run.
#[derive(Debug, Default)]
struct Figures {
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

/// Renames the files of an image to those of another folder.
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

/// Opens the store in a folder and appends messages in bursts. Returns the acknowledged messages, each
/// with the watermark at that time. The disk's record has a note for each.
async fn work(folder: &Path, random: &mut Rng) -> Vec<(Acked, u64)> {
    let store = Store::open(folder, "epoch").unwrap();
    let rooms = rooms(&store).await;
    let (sender, answers) = channel();
    let mut acked = Vec::new();
    for _ in 0..4 + random.below(8) {
        let burst = 1 + random.below(12);
        for _ in 0..burst {
            let (name, room) = rooms[random.below(ROOMS.len() as u64) as usize].clone();
            let key = MessageKey::from_random(random.wide());
            let user = User { id: UserId(1 + random.below(3)), nickname: "Ann".into() };
            let text = "x".repeat(1 + random.below(4_000) as usize);
            let (sender, folder) = (sender.clone(), folder.to_owned());
            // Runs on the writer's thread, so its next writes are recorded after the note.
            let done = move |outcome: Outcome| {
                disk::note(&folder);
                let seq = outcome.unwrap().message.seq;
                sender.send((Acked { room: name, seq, key }, watermark(&folder))).unwrap();
            };
            store.append(Append::of_text(room, user, key, text, done)).unwrap();
        }
        acked.extend(answers.iter().take(burst as usize));
    }
    store.close();
    acked
}

/// The number of messages in the watermark file.
fn watermark(folder: &Path) -> u64 {
    let text = std::fs::read_to_string(folder.join("noom.mark")).unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Reads all messages after a loss of power. Returns `None` if the database is damaged.
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

/// Cuts the power `cuts` times. A disk that is not `obedient` ignores syncs.
async fn cut_power(cuts: u64, seed: u64, obedient: bool) -> Figures {
    let mut random = Rng::new(seed);
    let mut found = Figures::default();
    // The disk after earlier rounds, and the messages that were acknowledged on it.
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
            let noted = events[..end].iter().filter(|event| matches!(event, Event::Note)).count();
            let after = disk::cut(&before, &events[..end], obedient, &mut random);
            let elsewhere = tempfile::tempdir().unwrap();
            put(&after, elsewhere.path());
            let owed: BTreeSet<Acked> =
                acked[..noted].iter().map(|(message, _)| message).chain(&known).cloned().collect();
            found.cuts += 1;
            found.acked += owed.len() as u64;
            let Some(stored) = recover(elsewhere.path()).await else {
                assert!(!obedient, "seed {seed}, cut {}: the database is damaged", found.cuts);
                found.lost += owed.len() as u64;
                continue;
            };
            found.lost += owed.difference(&stored).count() as u64;
            // Messages that were not acknowledged may be stored, but only messages that were appended.
            let appended: BTreeSet<_> = acked.iter().map(|(message, _)| message).chain(&known).collect();
            found.doubled += stored.iter().filter(|message| !appended.contains(message)).count() as u64;
            if obedient {
                assert_eq!((found.lost, found.doubled), (0, 0), "seed {seed}, cut {}", found.cuts);
                let watermark = acked[..noted].last().map_or(0, |(_, watermark)| *watermark);
                assert!(watermark <= stored.len() as u64, "seed {seed}, cut {}: the watermark is too high", found.cuts);
            }
            survivors.push((after, stored));
        }
        // The next round continues from one of the cuts, and sometimes from an empty disk.
        (image, known) = match survivors.pop() {
            Some(next) if found.cuts % 50 != 0 => next,
            _ => (Image::new(), BTreeSet::new()),
        };
    }
    found
}

#[tokio::test]
async fn power_loss_loses_no_acknowledged_message() {
    let (cuts, seed) = (number_from("NOOM_POWER_CUTS", 300), number_from("NOOM_POWER_SEED", 1));
    let found = cut_power(cuts, seed, true).await;
    // Control: a disk that reports success without syncing, equivalent to `synchronous=OFF`.
    let control = cut_power(50, seed, false).await;
    eprintln!("{found:?}; a disk that does not sync: {control:?}");
    let figures = json!({
        "cuts": found.cuts, "acked": found.acked, "lost": found.lost, "doubled": found.doubled,
        "lost_by_control": control.lost,
    });
    record_figures("power_loss.json", &figures);
    assert_eq!((found.lost, found.doubled), (0, 0));
    assert!(found.acked > cuts, "there were messages to lose");
    assert!(control.lost > 0, "a disk that does not sync must lose messages, or this test proves nothing");
}

/// Set in the child process of `failed_sync_ends_the_process`: the files whose syncs fail.
const FAILING: &str = "NOOM_TEST_FAILING_SYNC";

#[test]
fn failed_sync_ends_the_process() {
    if let Ok(ending) = std::env::var(FAILING) {
        work_with_failing_syncs(&ending);
        return;
    }
    // The WAL is synced at a commit, the database at a checkpoint.
    for ending in ["-wal", ".sqlite3"] {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "failed_sync_ends_the_process"])
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
        let mut random = Rng::new(1);
        disk::fail_syncs_of(ending);
        // Until the WAL is large enough for a checkpoint.
        loop {
            let (done, answer) = tokio::sync::oneshot::channel();
            let append = Append::of_text(
                rooms[0].1.clone(),
                User { id: UserId(1), nickname: "Ann".into() },
                MessageKey::from_random(random.wide()),
                "x".repeat(4_000),
                move |outcome| drop(done.send(outcome)),
            );
            store.append(append).unwrap();
            answer.await.unwrap().unwrap();
        }
    });
}

#[tokio::test]
async fn slow_checkpoint_does_not_delay_commits() {
    let folder = tempfile::tempdir().unwrap();
    disk::watch(folder.path());
    let database = folder.path().join("noom.sqlite3");
    let store = Store::open(folder.path(), "epoch").unwrap();
    let room = rooms(&store).await[0].1.clone();
    let mut random = Rng::new(1);
    let mut post = async || {
        let (done, answer) = tokio::sync::oneshot::channel();
        let append = Append::of_text(
            room.clone(),
            User { id: UserId(1), nickname: "Ann".into() },
            MessageKey::from_random(random.wide()),
            "x".repeat(4_000),
            move |outcome| drop(done.send(outcome)),
        );
        store.append(append).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(30), answer).await.expect("commits go on").unwrap().unwrap()
    };
    // The disk takes long to write to the database, which only a checkpoint does. A sync would not do: SQLite leaves it
    // out if something is appended during the checkpoint.
    disk::hold(&database);
    for _ in 0..600 {
        post().await;
    }
    while !disk::is_waiting(&database) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for _ in 0..600 {
        post().await;
    }
    disk::release(&database);
    store.close();
    disk::take(folder.path());
    assert_eq!(std::fs::metadata(folder.path().join("noom.sqlite3-wal")).unwrap().len(), 0, "all is in the database");
}
