//! Measures Noom beside what people would otherwise use, and writes BENCHMARKS.md from the results.
#![deny(clippy::unwrap_used)]

mod fanout;
mod goals;
mod machine;
mod page;
mod profile;
mod report;
mod results;
mod server;
mod statistics;
mod store;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use fanout::subject::BARE_SERVER;
use results::Folder;

/// What can fail here fails for good, and says why.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures Noom beside what people would otherwise use, and writes BENCHMARKS.md from the results.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only what this goal, or these results, depend on: F1, overload, …
    #[arg(long, value_name = "GOAL")]
    goal: Vec<String>,
    /// A first look: less of everything, and BENCHMARKS.md stays as it is
    #[arg(long)]
    quick: bool,
    /// Measure nothing, only write BENCHMARKS.md anew
    #[arg(long)]
    report: bool,
    /// Be the bare server
    #[arg(long = BARE_SERVER, hide = true, value_name = "MESSAGES")]
    bare_server: Option<usize>,
    /// What Cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// How to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Whether it is only a first look.
    pub(crate) quick: bool,
    /// What was typed, for the results.
    pub(crate) command: String,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    if let Some(gather) = arguments.bare_server {
        return fanout::bare::serve(gather);
    }
    let chosen: Vec<&str> = arguments.goal.iter().flat_map(|goal| needed(goal)).collect();
    if let Some(unknown) = arguments.goal.iter().find(|goal| needed(goal).is_empty()) {
        return Err(format!("there is no goal {unknown}").into());
    }
    let wanted = |name: &str| chosen.is_empty() || chosen.contains(&name);
    let folder = Folder::open(arguments.quick)?;
    if !arguments.report {
        let quick = if arguments.quick { " QUICK=1" } else { "" };
        let goals: String = arguments.goal.iter().map(|goal| format!(" GOAL={goal}")).collect();
        let plan = Plan { quick: arguments.quick, command: format!("make bench{quick}{goals}") };
        // A first look leaves out what no goal depends on.
        let worth = |cell: &&fanout::Cell| wanted(cell.name) && (cell.headline || !plan.quick || !chosen.is_empty());
        for cell in fanout::CELLS.iter().filter(worth) {
            fanout::measure(cell, &plan, &folder)?;
        }
        for (name, measure) in EXPERIMENTS {
            if wanted(name) {
                measure(&plan, &folder)?;
            }
        }
    }
    report::write(&folder, arguments.quick)
}

/// Measures something and keeps the results.
type Experiment = fn(&Plan, &Folder) -> Outcome<()>;

/// Everything that is no cell of the fan-out, by the name of its results.
const EXPERIMENTS: [(&str, Experiment); 8] = [
    ("idle", fanout::measure_idle),
    ("profile", profile::measure),
    ("commit", store::measure_commits),
    ("acks", store::measure_acks),
    ("pages", page::measure_pages),
    ("sizes", page::measure_sizes),
    ("append", page::measure_append),
    ("lab", page::measure_lab),
];

/// The results that a goal depends on, or the results of that name.
fn needed(goal: &str) -> Vec<&'static str> {
    if let Some(goal) = goals::GOALS.iter().find(|known| known.id.eq_ignore_ascii_case(goal)) {
        return goal.needs.to_vec();
    }
    let names = fanout::CELLS.iter().map(|cell| cell.name).chain(EXPERIMENTS.map(|(name, _)| name));
    names.filter(|name| *name == goal).collect()
}
