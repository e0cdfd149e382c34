//! BENCHMARKS.md and its pictures, written from raw results.

mod plot;

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use crate::Outcome;
use crate::fanout::subject::Subject;
use crate::fanout::{Block, CELLS, Cell, IdleBlock};
use crate::goals::{GOALS, commit_ratio, efficiency, of, page_ratio, ratio};
use crate::machine::{Machine, project};
use crate::page::wasm::CrateRow;
use crate::page::{AppendBlock, LabBlock, PageBlock, Renderer, SizeRow};
use crate::profile::{PAGES, ProfileRow};
use crate::results::{Folder, Results};
use crate::statistics::{Interval, geometric_mean, median};
use crate::store::{AckBlock, CommitBlock};
use plot::{Bar, bars, short};

const SUBJECTS: [Subject; 7] = [
    Subject::Noom,
    Subject::SocketIo,
    Subject::Ws,
    Subject::Bun,
    Subject::Socketioxide,
    Subject::Bare,
    Subject::BareGathered,
];

/// So many crates are worth a line.
const CRATES_SHOWN: usize = 10;

const HEAD: &str = "# Benchmarks

Noom beside what people would otherwise use, on the same work, from the same load. `make bench` measures and
writes this page from the raw results in [benches/results](benches/results); nothing here is written by hand.
`make bench QUICK=1` is a first look, `make bench GOAL=F2` measures what one goal depends on.

A value in parentheses is the 95 % interval of what stands before it. Of a goal's interval the worse end counts.
";

const METHOD: &str = "
## How it is measured

- **Fan-out.** One process speaks and hears for all clients, on one core, over epoll; the server has the other core.
  What is said is 128 bytes of text; every server parses the JSON, looks whether the sender is in the room, and sends
  it to everyone there, the sender too, without compression. Noom has everything on: rates and connections are
  counted (with limits that the load does not reach), and each message is on disk before anyone gets it. It also says
  more: place, key, author and time, so its frames are about twice as long. The others store nothing.
- **Blocks.** A fresh server for each block, 1 s of warm-up at 400 messages a second, then 4 s (2 s in the smaller
  cells). Servers take turns, there and back again; ratios are taken within a round, their geometric mean over all
  rounds, the interval from 10,000 bootstrap samples.
- **CPU** is what `/proc/PID/task/*/schedstat` says of the server's threads, so the kernel's work for them counts.
- **Latency** is from when a message was due, at fixed rates only, to when the load has read the delivery.
- **Void** is a block in which a client missed a message, got one twice or in another order, or, at a fixed rate, in
  which not everything arrived or the load used over 90 % of its core. A void block says so in the raw results and is
  measured again.
- **Overload** is more than a loop of `send()` carries; *heavy* is an overload for Node only. Neither says anything
  about latency: there only the work for each delivery counts. Where a server still had not delivered everything 2 s
  later, `complete` is false in the raw results; order and gaps are checked all the same.
- **Floor.** *bare send()* is a loop without rooms, JSON or a second thread; at low rates nothing can be much cheaper.
- **Store.** The program's own store: as many messages as can be with 256 waiting, against one at a time.
- **Pages.** Next.js and SvelteKit render the same visible text (checked) from memory, Noom from its database.
";

/// Writes the page, or prints it after a first look.
pub(crate) fn write(folder: &Folder, quick: bool) -> Outcome<()> {
    let mut page = HEAD.to_owned();
    goals(&mut page, folder)?;
    sources(&mut page, folder)?;
    for cell in &CELLS {
        if let Some(results) = folder.read::<Block>(cell.name)? {
            fanout(&mut page, folder, cell, &results.blocks)?;
        }
    }
    profile(&mut page, folder)?;
    idle(&mut page, folder)?;
    store(&mut page, folder)?;
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
            && let Some(bound) = goal.bound(folder)?
        {
            writeln!(bounds, "- {}: {bound}.", goal.id)?;
        }
    }
    if !bounds.is_empty() {
        write!(page, "\nWhat could be gained at most, where that is known:\n\n{bounds}")?;
    }
    Ok(())
}

/// What results say beside their blocks.
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
    page.push_str("\n## Where and when\n\n| results | date | command | noom | machine |\n|---|---|---|---|---|\n");
    let mut versions = BTreeMap::new();
    for name in names {
        let source: Source = serde_json::from_slice(&std::fs::read(folder.path().join(format!("{name}.json")))?)?;
        let Source { date, command, machine, versions: of_this } = source;
        let Machine { cpu, cores, memory_gib, kernel, sync_ms } = machine;
        let noom = of_this.get("noom").cloned().unwrap_or_default();
        writeln!(
            page,
            "| {name} | {date} | `{command}` | {noom} | {cores} × {cpu}, {memory_gib} GiB, Linux {kernel}, \
             a synced page in {sync_ms:.2} ms |"
        )?;
        versions.extend(of_this);
    }
    versions.remove("noom");
    let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(page, "\nVersions: {}.", versions.join(", "))?;
    Ok(())
}

fn fanout(page: &mut String, folder: &Folder, cell: &Cell, blocks: &[Block]) -> Outcome<()> {
    let people = if cell.rooms == 1 {
        format!("one room of {}", cell.clients)
    } else {
        format!("{} rooms of {}", cell.rooms, cell.clients)
    };
    let offered = cell.rate * cell.clients as u64;
    let title = format!("Fan-out, {}: {people}, {} messages a second", cell.name, cell.rate);
    writeln!(page, "\n## {title}\n\n{} deliveries a second are due.\n", short(offered as f64))?;
    let mut rivals = Vec::new();
    for subject in SUBJECTS {
        let Some(per_cpu) = of(blocks, subject, Block::efficiency) else { continue };
        rivals.push(Bar { name: subject.name(), value: per_cpu, own: subject == Subject::Noom });
    }
    let picture = format!("{}.svg", cell.name);
    let drawn = bars(&format!("Deliveries per CPU-second: {people}, {} messages a second", cell.rate), rivals);
    std::fs::write(folder.path().join(&picture), drawn)?;
    writeln!(page, "![Deliveries per CPU-second of each server](benches/results/{picture})\n")?;

    page.push_str("| server | deliveries per CPU-second | Noom's to its | carried a second |");
    page.push_str(if cell.overload { "" } else { " p50 ms | p99 ms |" });
    page.push_str(" in the kernel | server's CPU to the load's | blocks (void) |\n|---|---|---|---|");
    page.push_str(if cell.overload { "" } else { "---|---|" });
    page.push_str("---|---|---|\n");
    let mut void = Vec::new();
    for subject in SUBJECTS {
        let own: Vec<_> = blocks.iter().filter(|block| block.subject == subject).collect();
        let valid: Vec<_> = own.iter().filter(|block| block.void.is_none()).collect();
        if own.is_empty() {
            continue;
        }
        if valid.is_empty() {
            let why = own.first().and_then(|block| block.void.as_deref()).unwrap_or_default();
            void.push(format!("{} did not keep what was asked of it: {}.", subject.name(), shortened(why)));
            continue;
        }
        let middle = |value: fn(&Block) -> f64| {
            median(&valid.iter().map(|block| value(block)).collect::<Vec<_>>()).unwrap_or_default()
        };
        let per_cpu = of(blocks, subject, Block::efficiency).map_or("–".into(), shortly);
        let to_its = match subject {
            Subject::Noom => String::new(),
            other => efficiency(blocks, other).map_or("–".into(), |ratio| format!("{ratio} ×")),
        };
        write!(page, "| {} | {per_cpu} | {to_its} | {} |", subject.name(), short(middle(Block::carried)))?;
        if !cell.overload {
            write!(page, " {:.1} | {:.1} |", middle(|block| block.p50_ms), middle(|block| block.p99_ms))?;
        }
        writeln!(
            page,
            " {:.0} % | {:.1} | {} ({}) |",
            middle(|block| block.kernel_share) * 100.0,
            middle(|block| block.cpu_seconds / (block.load_share * block.seconds)),
            own.len(),
            own.len() - valid.len(),
        )?;
    }
    for sentence in void {
        writeln!(page, "\n{sentence}")?;
    }
    if !cell.overload
        && let Some(p50) = ratio(blocks, Subject::SocketIo, |block| block.p50_ms)
    {
        writeln!(page, "\nNoom's p50 is {p50} of socket.io's.")?;
    }
    Ok(())
}

fn profile(page: &mut String, folder: &Folder) -> Outcome<()> {
    let Some(Results { blocks, .. }) = folder.read::<ProfileRow>("profile")? else { return Ok(()) };
    page.push_str("\n## What limits: Noom's time in the cells of goals, and when it renders pages\n\n");
    page.push_str("A function's own share, as `perf` samples it; what takes less than 1 % is left out.\n");
    let cells = CELLS.iter().filter(|cell| cell.headline).map(|cell| cell.name);
    for name in cells.chain([PAGES]) {
        let rows: Vec<_> = blocks.iter().filter(|row| row.cell == name).collect();
        let sum =
            |in_kernel| -> f64 { rows.iter().filter(|row| row.in_kernel == in_kernel).map(|row| row.share).sum() };
        if rows.is_empty() {
            continue;
        }
        writeln!(
            page,
            "\n**{}**: of what is listed {:.0} % in the kernel, {:.0} % in Noom:\n",
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
    writeln!(page, "\n## Idle: {connections} connections in rooms of 50 that say nothing\n")?;
    page.push_str("| server | KiB of its own memory a connection | without any, MiB |\n|---|---|---|\n");
    for subject in SUBJECTS {
        let own: Vec<_> = blocks.iter().filter(|block| block.subject == subject).collect();
        let each: Vec<_> = own.iter().map(|block| block.kib_per_connection()).collect();
        let before = own.iter().map(|block| block.before_kib as f64 / 1_024.0).fold(0.0, f64::max);
        if let Some(each) = geometric_mean(&each) {
            writeln!(page, "| {} | {each} | {before:.1} |", subject.name())?;
        }
    }
    page.push_str("\nThe kernel's buffers are not in it; they are the same for all.\n");
    Ok(())
}

fn store(page: &mut String, folder: &Folder) -> Outcome<()> {
    let (commits, acks) = (folder.read::<CommitBlock>("commit")?, folder.read::<AckBlock>("acks")?);
    if commits.is_some() || acks.is_some() {
        page.push_str("\n## Store: each message synced to disk before it is acknowledged\n");
    }
    if let Some(Results { blocks, machine, .. }) = commits {
        let rate = |single: bool| {
            let own = blocks.iter().filter(|block| block.is_single() == single);
            geometric_mean(&own.map(CommitBlock::rate).collect::<Vec<_>>()).map_or("–".into(), shortly)
        };
        let ratio = commit_ratio(&blocks).map_or("–".into(), |ratio| ratio.to_string());
        writeln!(
            page,
            "\nWith group commit {} messages a second, with a commit for each {}: {ratio} ×. What is gained is the disk's \
             waiting, so it depends on the disk: this one says after {:.2} ms that a page is safe.",
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
                "\nAt {} messages a second a message is on disk after {p50} ms in the middle, {p99} ms at the 99th percentile.",
                first.rate
            )?;
        }
    }
    Ok(())
}

fn pages(page: &mut String, folder: &Folder) -> Outcome<()> {
    if let Some(Results { blocks, .. }) = folder.read::<PageBlock>("pages")? {
        page.push_str("\n## Page: a room with 50 messages, rendered on the server\n\n");
        page.push_str("| who | pages per CPU-second | Noom's to its | bytes a page |\n|---|---|---|---|\n");
        for renderer in [Renderer::Noom, Renderer::Next, Renderer::Sveltekit] {
            let own: Vec<_> = blocks.iter().filter(|block| block.renderer == renderer).collect();
            let rates: Vec<_> = own.iter().map(|block| block.efficiency()).collect();
            let ratio = if renderer == Renderer::Noom { None } else { page_ratio(&blocks, renderer) };
            let ratio = ratio.map_or(String::new(), |ratio| format!("{ratio} ×"));
            let rate = geometric_mean(&rates).map_or("–".into(), shortly);
            let bytes = own.first().map_or(0, |block| block.page_bytes);
            writeln!(page, "| {} | {rate} | {ratio} | {bytes} |", renderer.name())?;
        }
    }
    if let Some(Results { blocks, .. }) = folder.read::<SizeRow>("sizes")? {
        page.push_str("\n## Size\n\n| file | bytes | with brotli | |\n|---|---|---|---|\n");
        for SizeRow { name, first, raw, brotli } in blocks {
            let when = if first { "the chat page" } else { "only calls" };
            writeln!(page, "| {name} | {raw} | {brotli} | {when} |")?;
        }
    }
    if let Some(Results { blocks, .. }) = folder.read::<CrateRow>("wasm")? {
        let all = blocks.iter().map(|row| row.bytes).sum::<u64>() as f64;
        page.push_str(
            "\nThe code by crate, calls included, as the compiler leaves it; what a crate's generic functions became for \
             Noom's types counts for that crate:\n\n| crate | of the code | functions |\n|---|---|---|\n",
        );
        for CrateRow { name, functions, bytes } in blocks.iter().take(CRATES_SHOWN) {
            writeln!(page, "| {name} | {:.1} % | {functions} |", *bytes as f64 / all * 100.0)?;
        }
    }
    if let Some(Results { blocks, .. }) = folder.read::<AppendBlock>("append")? {
        page.push_str("\n## One more message in a room that shows many\n\n");
        page.push_str("| shown | main thread's work, ms |\n|---|---|\n");
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
        page.push_str("\n## In the lab: Lighthouse and Chromium\n\n");
        page.push_str("| device | LCP ms | INP ms | CLS | TBT ms | score |\n|---|---|---|---|---|---|\n");
        for LabBlock { device, lcp_ms, inp_ms, cls, tbt_ms, score } in blocks {
            writeln!(page, "| {device} | {lcp_ms:.0} | {inp_ms:.0} | {cls:.3} | {tbt_ms:.0} | {score:.2} |")?;
        }
    }
    Ok(())
}

/// The beginning of what went wrong; the raw results have all of it.
fn shortened(fault: &str) -> &str {
    fault.split(": ").next().unwrap_or(fault)
}

fn shortly(value: Interval) -> String {
    format!("{} ({} – {})", short(value.mean), short(value.low), short(value.high))
}
