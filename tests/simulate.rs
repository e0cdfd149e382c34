//! Deterministic simulation with fault injection: the hub and client sessions run under one seeded
//! scheduler that owns the clock, the network, the disk and restarts. A checker judges the record of
//! each run by the promises of TRUST.md.
//!
//! A run is determined by its seed. A failing run prints the broken promise and the command that
//! replays it: `make simulate FROM=<seed> SEEDS=1`. `NOOM_SIMULATE_TRACE=<lines>` sets how many records
//! before the failure are printed.
//!
//! The checker itself is tested by mutations: faults planted in the simulated server, each of which must
//! be found (`simulate/mutation.rs`).

#![allow(clippy::unwrap_used, reason = "a panic shows the failing line")]
#![allow(unreachable_pub, missing_docs, reason = "modules of one test")]

mod simulate {
    pub mod checker;
    pub mod disk;
    pub mod environment;
    pub mod faults;
    pub mod figures;
    pub mod history;
    pub mod mutation;
    pub mod network;
    pub mod page;
    pub mod rng;
    pub mod server;
    pub mod task;
    pub mod world;
}

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use simulate::checker::{DOUBLED, LOST, Violation, check};
use simulate::figures::Figures;
use simulate::history::History;
use simulate::mutation::Mutation;
use simulate::world::World;

/// Number of seeds, unless NOOM_SIMULATE_SEEDS is set.
const SEEDS: u64 = 300;
/// Each mutation must be found within this number of seeds.
const SEEDS_PER_MUTATION: u64 = 100;
/// Both sides must detect a dead connection within this time, in microseconds.
const DETECTED_WITHIN: u64 = 35_000_000;
/// If one direction still works, one side may learn of it by the other's close frame, a little later.
const ONE_WAY_DETECTED_WITHIN: u64 = DETECTED_WITHIN + 1_000_000;

/// The result of one run.
struct Outcome {
    figures: Figures,
    history: History,
    violation: Option<Violation>,
}

fn run(seed: u64, mutation: Option<Mutation>) -> Outcome {
    let mut world = World::new(seed, mutation);
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
    let replay = format!("make simulate FROM={seed} SEEDS=1");
    Some(format!("{tail}\nseed {seed} breaks the promise that {rule}:\n  {what}\nreplay: {replay}\n"))
}

/// Reads a number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Runs seeds on all cores. Returns the figures, and the report of the smallest failing seed.
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
fn promises_hold_under_random_faults() {
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
    assert!(figures.noticed_by_page.max(figures.noticed_by_server) <= DETECTED_WITHIN, "{figures}");
    assert!(figures.noticed_one_way <= ONE_WAY_DETECTED_WITHIN, "{figures}");
}

#[test]
fn every_mutation_is_found_and_its_seeds_pass_without_it() {
    for mutation in Mutation::ALL {
        let found = (0..SEEDS_PER_MUTATION).find_map(|seed| Some((seed, run(seed, Some(mutation)).violation?)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{mutation:?} is not found"));
        println!("{mutation:?} is found after {} seeds; broken promise: {}", seed + 1, violation.rule);
        for seed in 0..=seed {
            assert!(run(seed, None).violation.is_none(), "seed {seed}");
        }
    }
}

#[test]
fn same_seed_replays_same_run() {
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
