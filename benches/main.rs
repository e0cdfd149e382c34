//! Benchmarks: Noom beside comparable servers under the same load. Writes BENCHMARKS.md from the results.
#![deny(clippy::unwrap_used)]

mod arrivals;
mod fanout;
mod goals;
mod hostile;
mod large;
mod machine;
mod page;
mod profile;
mod report;
mod results;
mod search;
mod server;
mod statistics;
mod store;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use fanout::subject::BARE_SERVER;
use results::Folder;

/// A benchmark ends at its first error, so the message is all that a caller needs.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures Noom beside comparable servers under the same load, and writes BENCHMARKS.md from the results.
#[derive(Debug, Parser)]
struct Arguments {
    /// Measure only what this goal depends on, or only this result: F1, overload, …
    #[arg(long, value_name = "GOAL")]
    goal: Vec<String>,
    /// Quick run: fewer and shorter blocks; the report is printed and BENCHMARKS.md stays unchanged
    #[arg(long)]
    quick: bool,
    /// Measure nothing, only regenerate BENCHMARKS.md from the stored results
    #[arg(long)]
    report: bool,
    /// Run as the bare server
    #[arg(long = BARE_SERVER, hide = true, value_name = "MESSAGES")]
    bare_server: Option<usize>,
    /// Run as the sink of the hostile load
    #[arg(long = hostile::SINK, hide = true)]
    sink_server: bool,
    /// Passed by Cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The options that every experiment needs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Fewer and shorter blocks.
    pub(crate) quick: bool,
    /// The command line, recorded with the results.
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
    if arguments.sink_server {
        return hostile::serve_sink();
    }
    let chosen: Vec<&str> = arguments.goal.iter().flat_map(|goal| results_for(goal)).collect();
    if let Some(unknown) = arguments.goal.iter().find(|goal| results_for(goal).is_empty()) {
        return Err(format!("unknown goal or result: {unknown}").into());
    }
    let selected = |name: &str| chosen.is_empty() || chosen.contains(&name);
    let folder = Folder::open(arguments.quick)?;
    if !arguments.report {
        let quick = if arguments.quick { " QUICK=1" } else { "" };
        let goals: String = arguments.goal.iter().map(|goal| format!(" GOAL={goal}")).collect();
        let plan = Plan { quick: arguments.quick, command: format!("make bench{quick}{goals}") };
        // A quick run skips the workloads that no goal depends on.
        let is_due = |workload: &&fanout::Workload| {
            selected(workload.name) && (workload.headline || !plan.quick || !chosen.is_empty())
        };
        for workload in fanout::WORKLOADS.iter().filter(is_due) {
            fanout::measure(workload, &plan, &folder)?;
        }
        for (name, measure) in EXPERIMENTS {
            if selected(name) {
                measure(&plan, &folder)?;
            }
        }
    }
    if server::other_noom().is_some() {
        return Ok(());
    }
    report::write(&folder, arguments.quick)
}

/// Measures and stores the results.
type Experiment = fn(&Plan, &Folder) -> Outcome<()>;

/// The experiments other than fan-out, by the name of their results.
const EXPERIMENTS: [(&str, Experiment); 13] = [
    ("idle", fanout::measure_idle),
    ("arrivals", arrivals::measure),
    ("profile", profile::measure),
    ("commit", store::measure_commits),
    ("acks", store::measure_acks),
    ("hostile", hostile::measure),
    ("large", large::measure),
    ("search", search::measure),
    ("pages", page::measure_pages),
    ("links", page::links::measure),
    ("sizes", page::measure_sizes),
    ("append", page::measure_append),
    ("lab", page::measure_lab),
];

/// Resolves a goal to the results it depends on, or the name of a result to itself. Empty if unknown.
fn results_for(goal: &str) -> Vec<&'static str> {
    if let Some(goal) = goals::GOALS.iter().find(|known| known.id.eq_ignore_ascii_case(goal)) {
        return goal.needs.to_vec();
    }
    let names = fanout::WORKLOADS.iter().map(|workload| workload.name).chain(EXPERIMENTS.map(|(name, _)| name));
    names.filter(|name| *name == goal).collect()
}
