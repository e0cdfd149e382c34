//! Nothing is lost, whatever breaks: the pure hub and pure browser sessions under one seeded scheduler
//! that owns clock, network, disk and restarts, and a checker of what came of it.
//!
//! A run follows from its seed. One that breaks a promise says which, and how to see it again:
//! `make simulate FROM=<seed> SEEDS=1`, with more of what happened before when
//! `NOOM_SIMULATE_TRACE=<lines>` is set.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(unreachable_pub, missing_docs, reason = "parts of one test")]

mod simulate {
    pub mod chance;
    pub mod checker;
    pub mod disk;
    pub mod faults;
    pub mod figures;
    pub mod history;
    pub mod network;
    pub mod page;
    pub mod planted;
    pub mod server;
    pub mod world;
}

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use simulate::checker::{DOUBLED, LOST, Violation, check};
use simulate::figures::Figures;
use simulate::history::History;
use simulate::planted::Planted;
use simulate::world::World;

/// How many seeds are tried unless NOOM_SIMULATE_SEEDS says otherwise.
const SEEDS: u64 = 300;
/// Every planted fault is found within so many seeds.
const SEEDS_TO_FIND_A_FAULT: u64 = 100;
/// A connection without life is noticed within this on both sides, microseconds.
const NOTICED_WITHIN: u64 = 35_000_000;
/// Where one direction still works, one side may be told by the other's close: a little later.
const TOLD_WITHIN: u64 = NOTICED_WITHIN + 1_000_000;

/// What a seed came to.
struct Outcome {
    figures: Figures,
    history: History,
    violation: Option<Violation>,
}

fn run(seed: u64, planted: Option<Planted>) -> Outcome {
    let mut world = World::new(seed, planted);
    world.run();
    let World { mut figures, history, .. } = world;
    let violation = match check(&history) {
        Ok(tally) => {
            figures.posted = tally.posted;
            figures.acked = tally.acked;
            None
        }
        Err(violation) => {
            figures.lost = u64::from(violation.rule == LOST);
            figures.doubled = u64::from(violation.rule == DOUBLED);
            Some(violation)
        }
    };
    Outcome { figures, history, violation }
}

fn report(seed: u64, outcome: &Outcome) -> Option<String> {
    let Violation { rule, what, at } = outcome.violation.as_ref()?;
    let tail = outcome.history.tail(*at, setting("NOOM_SIMULATE_TRACE", 60) as usize);
    let again = format!("make simulate FROM={seed} SEEDS=1");
    Some(format!("{tail}\nseed {seed} breaks the promise that {rule}:\n  {what}\nagain: {again}\n"))
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Runs seeds on all cores. Returns what was counted, and the report on the smallest seed that failed.
fn run_all(from: u64, count: u64) -> (Figures, Option<String>) {
    let next = AtomicU64::new(from);
    let work = || {
        let (mut figures, mut failed) = (Figures::default(), None);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count || failed.is_some() {
                return (figures, failed);
            }
            let outcome = run(seed, None);
            figures.add(&outcome.figures);
            failed = report(seed, &outcome).map(|report| (seed, report));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut figures = Figures::default();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        let failed = results.filter_map(|(part, failed)| {
            figures.add(&part);
            failed
        });
        let first = failed.min_by_key(|(seed, _)| *seed);
        (figures, first.map(|(_, report)| report))
    })
}

#[test]
fn whatever_breaks_every_promise_is_kept() {
    let (from, count) = (setting("NOOM_SIMULATE_FROM", 0), setting("NOOM_SIMULATE_SEEDS", SEEDS));
    let (figures, failed) = run_all(from, count);
    println!("{figures}");
    if let Some(report) = failed {
        panic!("\n{report}");
    }
    if let Some(folder) = std::env::var_os("NOOM_TRUST") {
        let path = PathBuf::from(folder).join("simulate.json");
        std::fs::write(path, format!("{:#}\n", figures.to_json())).unwrap();
    }
    assert!(figures.noticed_by_page.max(figures.noticed_by_server) <= NOTICED_WITHIN, "{figures}");
    assert!(figures.noticed_one_way <= TOLD_WITHIN, "{figures}");
}

#[test]
fn every_planted_fault_is_found_and_the_same_seeds_pass_without_it() {
    for planted in Planted::ALL {
        let found = (0..SEEDS_TO_FIND_A_FAULT).find_map(|seed| Some((seed, run(seed, Some(planted)).violation?)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
        println!("{planted:?} is found after {} seeds: not true that {}", seed + 1, violation.rule);
        for seed in 0..=seed {
            assert!(run(seed, None).violation.is_none(), "seed {seed}");
        }
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..10 {
        let lines = || {
            let history = run(seed, None).history;
            history.records.iter().map(|(at, record)| format!("{at} {record}")).collect::<Vec<_>>()
        };
        let (one, other) = (lines(), lines());
        let differ = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!((differ, one.len()), (None, other.len()), "seed {seed}");
    }
}
