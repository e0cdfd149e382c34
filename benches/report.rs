//! Generates BENCHMARKS.md and its charts from the raw results.

pub(crate) mod plot;

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use crate::Outcome;
use crate::arrivals;
use crate::fanout::subject::Subject;
use crate::fanout::{Block, IdleBlock, WORKLOADS, Workload};
use crate::goals::{GOALS, commit_ratio, efficiency, hostile_mean, large_ratio, mean_of, page_ratio, ratio};
use crate::hostile::{HostileBlock, Target};
use crate::large::{Read, ReadBlock};
use crate::machine::{Machine, project};
use crate::page::links;
use crate::page::wasm::CrateRow;
use crate::page::{AppendBlock, LabBlock, PageBlock, Renderer, SizeRow};
use crate::profile::{PAGES, ProfileRow};
use crate::results::{Folder, Results};
use crate::search;
use crate::statistics::{Interval, geometric_mean, median};
use crate::store::{AckBlock, CommitBlock};
use plot::{Bar, bars, format_number};

const SUBJECTS: [Subject; 7] = [
    Subject::Noom,
    Subject::SocketIo,
    Subject::Ws,
    Subject::Bun,
    Subject::Socketioxide,
    Subject::Bare,
    Subject::BareGathered,
];

/// Crates listed in the table of code sizes.
const CRATES_SHOWN: usize = 10;

const HEAD: &str = "# Benchmarks

This page compares Noom with comparable servers and frameworks, each doing the same work under the same load.
`make bench` measures, and generates this page from the raw results in [benches/results](benches/results).
Nothing here is written by hand.
`make bench QUICK=1` is a quick run that prints its report; `make bench GOAL=F2` measures only what one goal depends on.

A range in parentheses is the 95 % confidence interval of the value before it.
A goal is met only if the worse end of the interval meets it.
A ratio is Noom's value divided by the other's.
";

const METHOD: &str = "
## Method

- **Load.** One process plays all clients, on one core with epoll; the server has the other core.
  A text is 128 bytes long.
- **Work.** Every server parses the JSON, checks that the sender is in the room, and sends the message to everyone in
  the room including the sender, without compression.
  Noom runs with all features: rate and connection limits are enforced (raised above the load), and every message is on
  disk before any client receives it.
  Its frames are about twice as long, because they also carry sequence number, key, author and time.
  The other servers store nothing.
- **Blocks.** Each block starts a fresh server, warms up for 1 s at 400 messages per second, then measures for 4 s (2 s in
  workloads without a goal).
  The order of servers is reversed every other round (ABBA).
  Ratios are taken within a round; the tables show their geometric mean over all rounds, and an interval from 10,000
  bootstrap samples.
- **CPU** is the run time of the server's threads in `/proc/PID/task/*/schedstat`, so kernel time spent for them is
  included.
- **Latency** runs from the time a message was due until the load has read the delivery.
  It is measured only at fixed rates.
- **Void.** A block is void if a client missed a message or received one twice or out of order.
  At a fixed rate it is also void if not everything arrived or the load used more than 90 % of its core.
  A void block is recorded in the raw results and repeated.
- **Overload** is more than a loop of `send()` can carry; *heavy* is an overload for Node.js only.
  Only the CPU work per delivery is compared there, not latency.
  If a server had not delivered everything 2 s after the window, `complete` is false in the raw results; order and gaps
  are checked all the same.
- **Baseline.** *bare send()* is a loop of `send()` without rooms, JSON or a second thread.
  At low rates no server can cost much less.
- **Store.** Noom's own store: maximum throughput with 256 messages in flight, against one at a time.
- **Hostile.** A generator sends each command as ten users of one address, and then each kind of request, from a new
  address for each so that it begins with whole budgets: first the burst, then twice the highest rate that the default
  limits allow.
  Ordinary people talk in the same room of a Noom with default limits meanwhile.
  In half of the blocks the generator talks to a sink on the same core instead, which reads and does nothing.
- **Pages.** Next.js and SvelteKit render the same visible text (checked) from memory, Noom from its database.
";

/// Writes BENCHMARKS.md, or prints the report of a quick run.
pub(crate) fn write(folder: &Folder, quick: bool) -> Outcome<()> {
    let mut page = HEAD.to_owned();
    goals(&mut page, folder)?;
    sources(&mut page, folder)?;
    for workload in &WORKLOADS {
        if let Some(results) = folder.read::<Block>(workload.name)? {
            fanout(&mut page, folder, workload, &results.blocks)?;
        }
    }
    profile(&mut page, folder)?;
    idle(&mut page, folder)?;
    arrivals::report(&mut page, folder)?;
    store(&mut page, folder)?;
    hostile(&mut page, folder)?;
    large(&mut page, folder)?;
    search::report(&mut page, folder)?;
    pages(&mut page, folder)?;
    page.push_str(METHOD);
    if quick {
        println!("{page}");
        return Ok(());
    }
    Ok(std::fs::write(project().join("BENCHMARKS.md"), page)?)
}

fn goals(page: &mut String, folder: &Folder) -> Outcome<()> {
    page.push_str("\n## Goals\n\n| | goal | measured | met |\n|---|---|---|---|\n");
    let mut bounds = String::new();
    for goal in &GOALS {
        let findings = goal.findings(folder)?;
        let texts: Vec<_> = findings
            .iter()
            .map(|finding| if finding.met { finding.text.clone() } else { format!("**{}**", finding.text) })
            .collect();
        let met = match findings.iter().filter(|finding| finding.met).count() {
            _ if findings.is_empty() => "not measured",
            count if count == findings.len() => "yes",
            0 => "no",
            _ => "in part",
        };
        writeln!(page, "| {} | {} | {} | {met} |", goal.id, goal.text, texts.join("; "))?;
        if met != "yes"
            && let Some(bound) = goal.upper_bound(folder)?
        {
            writeln!(bounds, "- {}: {bound}.", goal.id)?;
        }
    }
    if !bounds.is_empty() {
        write!(page, "\nKnown upper bounds for goals that are not met:\n\n{bounds}")?;
    }
    Ok(())
}

/// The part of a results file that describes where and when it was measured.
#[derive(Deserialize)]
struct Source {
    date: String,
    command: String,
    machine: Machine,
    versions: BTreeMap<String, String>,
}

fn sources(page: &mut String, folder: &Folder) -> Outcome<()> {
    let mut names: Vec<_> = std::fs::read_dir(folder.path())?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    page.push_str(
        "\n## Where and when it was measured\n\n| results | date | command | noom | machine |\n|---|---|---|---|---|\n",
    );
    let mut versions = BTreeMap::new();
    for name in names {
        let source: Source = serde_json::from_slice(&std::fs::read(folder.path().join(format!("{name}.json")))?)?;
        let Source { date, command, machine, versions: of_this } = source;
        let Machine { cpu, cores, memory_gib, kernel, sync_ms } = machine;
        let noom = of_this.get("noom").cloned().unwrap_or_default();
        writeln!(
            page,
            "| {name} | {date} | `{command}` | {noom} | {cores} × {cpu}, {memory_gib} GiB, Linux {kernel}, \
             page sync {sync_ms:.2} ms |"
        )?;
        versions.extend(of_this);
    }
    versions.remove("noom");
    let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(page, "\nVersions: {}.", versions.join(", "))?;
    Ok(())
}

fn fanout(page: &mut String, folder: &Folder, workload: &Workload, blocks: &[Block]) -> Outcome<()> {
    let clients = if workload.rooms == 1 {
        format!("one room of {}", workload.clients)
    } else {
        format!("{} rooms of {}", workload.rooms, workload.clients)
    };
    let offered = workload.rate * workload.clients as u64;
    let title = format!("Fan-out, {}: {clients}, {} messages per second", workload.name, workload.rate);
    writeln!(page, "\n## {title}\n\nThe load asks for {} deliveries per second.\n", format_number(offered as f64))?;
    let mut baselines = Vec::new();
    for subject in SUBJECTS {
        let Some(per_cpu) = mean_of(blocks, subject, Block::efficiency) else { continue };
        baselines.push(Bar { name: subject.name(), value: per_cpu, own: subject == Subject::Noom });
    }
    let picture = format!("{}.svg", workload.name);
    let drawn =
        bars(&format!("Deliveries per CPU-second: {clients}, {} messages per second", workload.rate), baselines);
    std::fs::write(folder.path().join(&picture), drawn)?;
    writeln!(page, "![Deliveries per CPU-second of each server](benches/results/{picture})\n")?;

    page.push_str("| server | deliveries per CPU-second | ratio | deliveries per second |");
    page.push_str(if workload.overload { "" } else { " p50 ms | p99 ms |" });
    page.push_str(" kernel share of CPU | server CPU / load CPU | blocks (void) |\n|---|---|---|---|");
    page.push_str(if workload.overload { "" } else { "---|---|" });
    page.push_str("---|---|---|\n");
    let mut void = Vec::new();
    for subject in SUBJECTS {
        let own: Vec<_> = blocks.iter().filter(|block| block.subject == subject).collect();
        let valid: Vec<_> = own.iter().filter(|block| block.void.is_none()).collect();
        if own.is_empty() {
            continue;
        }
        if valid.is_empty() {
            let reason = own.first().and_then(|block| block.void.as_deref()).unwrap_or_default();
            void.push(format!("{} has no valid block: {}.", subject.name(), first_clause(reason)));
            continue;
        }
        let median_of = |value: fn(&Block) -> f64| {
            median(&valid.iter().map(|block| value(block)).collect::<Vec<_>>()).unwrap_or_default()
        };
        let per_cpu = mean_of(blocks, subject, Block::efficiency).map_or("–".into(), format_interval);
        let relative = match subject {
            Subject::Noom => String::new(),
            other => efficiency(blocks, other).map_or("–".into(), |ratio| format!("{ratio} ×")),
        };
        write!(page, "| {} | {per_cpu} | {relative} | {} |", subject.name(), format_number(median_of(Block::carried)))?;
        if !workload.overload {
            write!(page, " {:.1} | {:.1} |", median_of(|block| block.p50_ms), median_of(|block| block.p99_ms))?;
        }
        writeln!(
            page,
            " {:.0} % | {:.1} | {} ({}) |",
            median_of(|block| block.kernel_share) * 100.0,
            median_of(|block| block.cpu_seconds / (block.load_share * block.seconds)),
            own.len(),
            own.len() - valid.len(),
        )?;
    }
    for sentence in void {
        writeln!(page, "\n{sentence}")?;
    }
    if !workload.overload
        && let Some(p50) = ratio(blocks, Subject::SocketIo, |block| block.p50_ms)
    {
        writeln!(page, "\nNoom's p50 latency is {p50} × socket.io's.")?;
    }
    Ok(())
}

fn profile(page: &mut String, folder: &Folder) -> Outcome<()> {
    let Some(Results { blocks, .. }) = folder.read::<ProfileRow>("profile")? else { return Ok(()) };
    page.push_str("\n## CPU profile of Noom under the workloads of the goals\n\n");
    page.push_str(
        "Self time of functions, sampled by `perf`. Functions below 1 % are left out, so the sums are below 100 %.\n",
    );
    let workloads = WORKLOADS.iter().filter(|workload| workload.headline).map(|workload| workload.name);
    for name in workloads.chain([PAGES]) {
        let rows: Vec<_> = blocks.iter().filter(|row| row.workload == name).collect();
        let sum =
            |in_kernel| -> f64 { rows.iter().filter(|row| row.in_kernel == in_kernel).map(|row| row.share).sum() };
        if rows.is_empty() {
            continue;
        }
        writeln!(
            page,
            "\n**{}**: {:.0} % in the kernel and {:.0} % in Noom, of the functions above 1 %:\n",
            name,
            sum(true),
            sum(false)
        )?;
        for row in rows.iter().take(12) {
            let whose = if row.in_kernel { "kernel" } else { "Noom" };
            writeln!(page, "- {:.1} % `{}` ({whose})", row.share, row.symbol)?;
        }
    }
    Ok(())
}

fn idle(page: &mut String, folder: &Folder) -> Outcome<()> {
    let Some(Results { blocks, .. }) = folder.read::<IdleBlock>("idle")? else { return Ok(()) };
    let connections = blocks.first().map_or(0, |block| block.connections);
    writeln!(page, "\n## Idle: {connections} connections in rooms of 50 that send nothing\n")?;
    page.push_str("| server | anonymous memory per connection, KiB | without connections, MiB |\n|---|---|---|\n");
    for subject in SUBJECTS {
        let own: Vec<_> = blocks.iter().filter(|block| block.subject == subject).collect();
        let each: Vec<_> = own.iter().map(|block| block.kib_per_connection()).collect();
        let before = own.iter().map(|block| block.before_kib as f64 / 1_024.0).fold(0.0, f64::max);
        if let Some(each) = geometric_mean(&each) {
            writeln!(page, "| {} | {each} | {before:.1} |", subject.name())?;
        }
    }
    page.push_str("\nKernel socket buffers are not included; they are the same for all servers.\n");
    Ok(())
}

fn store(page: &mut String, folder: &Folder) -> Outcome<()> {
    let (commits, acks) = (folder.read::<CommitBlock>("commit")?, folder.read::<AckBlock>("acks")?);
    if commits.is_some() || acks.is_some() {
        page.push_str("\n## Store: every message synced to disk before its ack\n");
    }
    if let Some(Results { blocks, machine, .. }) = commits {
        let rate = |single: bool| {
            let own = blocks.iter().filter(|block| block.is_single() == single);
            geometric_mean(&own.map(CommitBlock::rate).collect::<Vec<_>>()).map_or("–".into(), format_interval)
        };
        let ratio = commit_ratio(&blocks).map_or("–".into(), |ratio| ratio.to_string());
        writeln!(
            page,
            "\nGroup commit stores {} messages per second, one commit per message {}: a ratio of {ratio}.\nThe gain is the disk's \
             waiting time, so it depends on the disk: this one reports a sync as complete after {:.2} ms.",
            rate(false),
            rate(true),
            machine.sync_ms
        )?;
    }
    if let Some(Results { blocks, .. }) = acks {
        let of = |value: fn(&AckBlock) -> f64| geometric_mean(&blocks.iter().map(value).collect::<Vec<_>>());
        if let (Some(p50), Some(p99), Some(first)) =
            (of(|block| block.p50_ms), of(|block| block.p99_ms), blocks.first())
        {
            writeln!(
                page,
                "\nAt {} messages per second, a message is on disk after {p50} ms at the median and {p99} ms at the 99th percentile.",
                first.rate
            )?;
        }
    }
    Ok(())
}

fn hostile(page: &mut String, folder: &Folder) -> Outcome<()> {
    let Some(Results { blocks, .. }) = folder.read::<HostileBlock>("hostile")? else { return Ok(()) };
    page.push_str("\n## A hostile stranger beside twelve ordinary people\n\n");
    page.push_str(
        "| the stranger talks to | ack p50 ms | ack p99 ms | frames and requests per block | connections |\n",
    );
    page.push_str("|---|---|---|---|---|\n");
    for (target, name) in [(Target::Sink, "a sink on the same core"), (Target::Noom, "Noom")] {
        let of = |value: fn(&HostileBlock) -> f64| {
            hostile_mean(&blocks, target, value).map_or("–".into(), |mean| mean.to_string())
        };
        let (p50, p99) = (of(|block| block.p50_ms), of(|block| block.p99_ms));
        let (sent, connections) = (of(|block| block.sent as f64), of(|block| block.connections as f64));
        writeln!(page, "| {name} | {p50} | {p99} | {sent} | {connections} |")?;
    }
    Ok(())
}

fn large(page: &mut String, folder: &Folder) -> Outcome<()> {
    let Some(Results { blocks, .. }) = folder.read::<ReadBlock>("large")? else { return Ok(()) };
    page.push_str("\n## Large databases\n\n");
    page.push_str("| read | messages in the largest room | rooms | median, µs | 99th percentile, µs | ratio |\n");
    page.push_str("|---|---:|---:|---|---|---|\n");
    for read in Read::ALL {
        for large in [false, true] {
            let own: Vec<_> = blocks.iter().filter(|block| block.read == read && block.large == large).collect();
            let Some(first) = own.first() else { continue };
            let of = |value: fn(&ReadBlock) -> f64| {
                let values: Vec<_> = own.iter().map(|block| value(block)).collect();
                geometric_mean(&values).map_or("–".into(), format_interval)
            };
            let ratio = large_ratio(&blocks, read).filter(|_| large);
            let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio} ×"));
            let (messages, rooms) = (format_number(first.messages as f64), format_number(first.rooms as f64));
            let (p50, p99) = (of(|block| block.p50_us), of(|block| block.p99_us));
            writeln!(page, "| {} | {messages} | {rooms} | {p50} | {p99} | {ratio} |", read.name())?;
        }
    }
    page.push_str("\nRead from Noom's store, with the database in the page cache of the kernel.\n");
    Ok(())
}

fn pages(page: &mut String, folder: &Folder) -> Outcome<()> {
    if let Some(Results { blocks, .. }) = folder.read::<PageBlock>("pages")? {
        page.push_str("\n## Page: a room with 50 messages, rendered on the server\n\n");
        page.push_str("| server | pages per CPU-second | ratio | bytes per page |\n|---|---|---|---|\n");
        for renderer in [Renderer::Noom, Renderer::Next, Renderer::Sveltekit] {
            let own: Vec<_> = blocks.iter().filter(|block| block.renderer == renderer).collect();
            let rates: Vec<_> = own.iter().map(|block| block.efficiency()).collect();
            let ratio = if renderer == Renderer::Noom { None } else { page_ratio(&blocks, renderer) };
            let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio} ×"));
            let rate = geometric_mean(&rates).map_or("–".into(), format_interval);
            let bytes = own.first().map_or(0, |block| block.page_bytes);
            writeln!(page, "| {} | {rate} | {ratio} | {bytes} |", renderer.name())?;
        }
    }
    links::report(page, folder)?;
    if let Some(Results { blocks, .. }) = folder.read::<SizeRow>("sizes")? {
        page.push_str(
            "\n## Size of the site's files\n\n| file | bytes | with brotli | needed for |\n|---|---|---|---|\n",
        );
        for SizeRow { name, first, raw, brotli } in blocks {
            let when = if first { "the chat page" } else { "calls only" };
            writeln!(page, "| {name} | {raw} | {brotli} | {when} |")?;
        }
    }
    if let Some(Results { blocks, .. }) = folder.read::<CrateRow>("wasm")? {
        let all = blocks.iter().map(|row| row.bytes).sum::<u64>() as f64;
        page.push_str(
            "\nCode size by crate, calls included, before `wasm-opt`. Instances of a crate's generic functions count for that \
             crate:\n\n| crate | share of the code | functions |\n|---|---|---|\n",
        );
        for CrateRow { name, functions, bytes } in blocks.iter().take(CRATES_SHOWN) {
            writeln!(page, "| {name} | {:.1} % | {functions} |", *bytes as f64 / all * 100.0)?;
        }
    }
    if let Some(Results { blocks, .. }) = folder.read::<AppendBlock>("append")? {
        page.push_str("\n## Appending a message in the browser\n\n");
        page.push_str("| messages shown | main-thread time, ms |\n|---|---|\n");
        let mut shown: Vec<_> = blocks.iter().map(|block| block.shown).collect();
        shown.sort_unstable();
        shown.dedup();
        for shown in shown {
            let times: Vec<_> =
                blocks.iter().filter(|block| block.shown == shown).map(|block| block.median_ms).collect();
            let time = geometric_mean(&times).map_or("–".into(), |time| time.to_string());
            writeln!(page, "| {shown} | {time} |")?;
        }
    }
    if let Some(Results { blocks, .. }) = folder.read::<LabBlock>("lab")? {
        page.push_str("\n## Lab metrics: Lighthouse and Chromium\n\n");
        page.push_str("| device | LCP ms | INP ms | CLS | TBT ms | score |\n|---|---|---|---|---|---|\n");
        for LabBlock { device, lcp_ms, inp_ms, cls, tbt_ms, score } in blocks {
            writeln!(page, "| {device} | {lcp_ms:.0} | {inp_ms:.0} | {cls:.3} | {tbt_ms:.0} | {score:.2} |")?;
        }
    }
    Ok(())
}

/// The error message up to its first colon; the raw results have all of it.
fn first_clause(fault: &str) -> &str {
    fault.split(": ").next().unwrap_or(fault)
}

pub(crate) fn format_interval(value: Interval) -> String {
    format!("{} ({} – {})", format_number(value.mean), format_number(value.low), format_number(value.high))
}
