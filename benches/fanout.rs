//! Fan-out: messages to rooms full of people, through Noom and through what people would otherwise use, from the
//! same load, with the same work.
//!
//! Each block has a fresh server on a core of its own. Servers take turns, there and back again, so that what the
//! machine does meanwhile meets all of them; a block's figures are compared with those of the same round only.

pub(crate) mod bare;
mod load;
mod socket;
pub(crate) mod subject;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::machine::{OnLoadCore, cpu_time, own_memory_kib, ticks};
use crate::results::Folder;
use crate::server::Server;
use crate::{Outcome, Plan};
use load::Load;
use subject::Subject;

/// Before it is measured, each server carries so many messages a second …
const WARM_UP_RATE: u64 = 400;
/// … for so long.
const WARM_UP: Duration = Duration::from_secs(1);
/// What was said must have reached everyone within this.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);
/// In overload, where nobody asks for latencies, what comes within so long is read together, so that the load is not
/// what limits.
const GATHER: Duration = Duration::from_millis(5);
/// A load that said less than this share of what was due was kept from its work by something else.
const SAID_AT_LEAST: f64 = 0.98;
/// A load that is busier than this no longer keeps to its rate.
const BUSIEST_LOAD: f64 = 0.9;
/// How often a block that is void is tried again.
const RETRIES: usize = 2;
/// After so many connections were made, memory comes to rest.
const SETTLE: Duration = Duration::from_secs(3);

/// What is said, to how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// The name of its results.
    pub(crate) name: &'static str,
    /// Rooms.
    pub(crate) rooms: usize,
    /// Clients in each.
    pub(crate) clients: usize,
    /// Messages a second, in all rooms together.
    pub(crate) rate: u64,
    /// Whether more is said than a server may carry: then only its work counts.
    pub(crate) overload: bool,
    /// Whether a goal depends on it: then it is measured more often, and for longer.
    pub(crate) headline: bool,
    /// What its goal compares with.
    rivals: &'static [Subject],
    /// Who else is measured, for the table.
    others: &'static [Subject],
}

/// Every cell.
pub(crate) const CELLS: [Cell; 7] = [
    // Four thousand a second are an overload for Node only.
    Cell {
        name: "overload",
        rooms: 1,
        clients: 500,
        rate: 16_000,
        overload: true,
        headline: true,
        rivals: &[Subject::SocketIo, Subject::Bun],
        others: &[Subject::Ws, Subject::BareGathered],
    },
    Cell {
        name: "heavy",
        rooms: 1,
        clients: 500,
        rate: 4_000,
        overload: true,
        headline: false,
        rivals: &[],
        others: &[Subject::SocketIo, Subject::Bun, Subject::Ws, Subject::Socketioxide, Subject::BareGathered],
    },
    Cell {
        name: "busy",
        rooms: 1,
        clients: 500,
        rate: 400,
        overload: false,
        headline: true,
        rivals: &[Subject::SocketIo],
        others: &[Subject::Ws, Subject::Bun, Subject::Socketioxide, Subject::Bare],
    },
    Cell {
        name: "steady",
        rooms: 1,
        clients: 500,
        rate: 40,
        overload: false,
        headline: true,
        rivals: &[Subject::SocketIo, Subject::Bare],
        others: &[Subject::Ws, Subject::Bun, Subject::Socketioxide],
    },
    Cell {
        name: "small",
        rooms: 1,
        clients: 100,
        rate: 400,
        overload: false,
        headline: false,
        rivals: &[],
        others: &[Subject::SocketIo, Subject::Ws, Subject::Bun, Subject::Socketioxide],
    },
    Cell {
        name: "rooms",
        rooms: 100,
        clients: 10,
        rate: 1_000,
        overload: false,
        headline: false,
        rivals: &[],
        others: &[Subject::SocketIo, Subject::Ws, Subject::Bun, Subject::Socketioxide],
    },
    Cell {
        name: "rooms-overload",
        rooms: 100,
        clients: 10,
        rate: 20_000,
        overload: true,
        headline: false,
        rivals: &[],
        others: &[Subject::SocketIo, Subject::Ws, Subject::Bun, Subject::Socketioxide],
    },
];

impl Cell {
    fn gather(&self) -> Duration {
        if self.overload { GATHER } else { Duration::ZERO }
    }
}

/// One measurement of one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Who.
    pub(crate) subject: Subject,
    /// Compared with blocks of the same round.
    pub(crate) round: usize,
    /// Why it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) void: Option<String>,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Deliveries that were due meanwhile.
    pub(crate) due: u64,
    /// Deliveries that came meanwhile.
    pub(crate) delivered: u64,
    /// Whether in the end everyone had everything, once and in order.
    pub(crate) complete: bool,
    /// What the server used.
    pub(crate) cpu_seconds: f64,
    /// The kernel's share of that.
    pub(crate) kernel_share: f64,
    /// How busy the load was.
    pub(crate) load_share: f64,
    /// Latencies, where the rate was kept.
    pub(crate) p50_ms: f64,
    /// Ninety-nine in a hundred.
    pub(crate) p99_ms: f64,
}

impl Block {
    /// Deliveries for each second that the server's core worked.
    pub(crate) fn efficiency(&self) -> f64 {
        self.delivered as f64 / self.cpu_seconds
    }

    /// Deliveries a second.
    pub(crate) fn carried(&self) -> f64 {
        self.delivered as f64 / self.seconds
    }
}

/// The memory of one server with many who say nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IdleBlock {
    /// Who.
    pub(crate) subject: Subject,
    /// Compared with blocks of the same round.
    pub(crate) round: usize,
    /// Connections.
    pub(crate) connections: usize,
    /// The server's own memory without them.
    pub(crate) before_kib: u64,
    /// And with them.
    pub(crate) after_kib: u64,
}

impl IdleBlock {
    /// What each costs.
    pub(crate) fn kib_per_connection(&self) -> f64 {
        self.after_kib.saturating_sub(self.before_kib) as f64 / self.connections as f64
    }
}

/// Measures one cell.
pub(crate) fn measure(cell: &Cell, plan: &Plan, folder: &Folder) -> Outcome<()> {
    let _on_one_core = OnLoadCore::keep()?;
    let (rounds, fewer, window) = match (plan.quick, cell.headline) {
        (false, true) => (10, 4, Duration::from_secs(4)),
        (false, false) => (4, 4, Duration::from_secs(2)),
        (true, true) => (2, 1, Duration::from_millis(1_500)),
        (true, false) => (1, 1, Duration::from_secs(1)),
    };
    let mut blocks = Vec::new();
    for round in 0..rounds {
        let rivals = std::iter::once(&Subject::Noom).chain(cell.rivals);
        let mut turn: Vec<_> = rivals.chain(cell.others.iter().filter(|_| round < fewer)).copied().collect();
        if round % 2 == 1 {
            turn.reverse();
        }
        for subject in turn {
            for attempt in 0..=RETRIES {
                let block = run_block(cell, subject, round, window)?;
                report(cell, &block);
                let is_void = block.void.is_some();
                // What is void says so in the results, and is tried again.
                blocks.push(block);
                if !is_void || attempt == RETRIES {
                    break;
                }
            }
        }
    }
    folder.write(cell.name, &plan.command, blocks)
}

/// Loads Noom as a cell does, for so long after `begin`, and gives back what that began.
pub(crate) fn load_noom<T>(cell: &Cell, during: Duration, begin: impl FnOnce(&Server) -> Outcome<T>) -> Outcome<T> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = Subject::Noom.start(data.path())?;
    let mut load = Load::enter(Subject::Noom, server.address, cell.rooms, cell.clients)?;
    load.speak(WARM_UP_RATE, WARM_UP, Duration::ZERO)?;
    let begun = begin(&server)?;
    load.speak(cell.rate, during, cell.gather())?;
    Ok(begun)
}

/// Measures the memory of those who say nothing.
pub(crate) fn measure_idle(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let _on_one_core = OnLoadCore::keep()?;
    let (rounds, rooms, clients) = if plan.quick { (1, 20, 50) } else { (3, 100, 50) };
    let mut blocks = Vec::new();
    for round in 0..rounds {
        for subject in [Subject::Noom, Subject::SocketIo, Subject::Ws, Subject::Bun, Subject::Socketioxide] {
            let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
            let server = subject.start(data.path())?;
            std::thread::sleep(SETTLE / 3);
            let before_kib = own_memory_kib(&server.process())?;
            let mut load = Load::enter(subject, server.address, rooms, clients)?;
            load.idle(SETTLE)?;
            let after_kib = own_memory_kib(&server.process())?;
            let block = IdleBlock { subject, round, connections: rooms * clients, before_kib, after_kib };
            eprintln!("idle  {:14} {:6.2} KiB a connection", subject.name(), block.kib_per_connection());
            blocks.push(block);
        }
    }
    folder.write("idle", &plan.command, blocks)
}

fn run_block(cell: &Cell, subject: Subject, round: usize, window: Duration) -> Outcome<Block> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = subject.start(data.path())?;
    let mut block = Block {
        subject,
        round,
        void: None,
        seconds: 0.0,
        due: 0,
        delivered: 0,
        complete: false,
        cpu_seconds: 0.0,
        kernel_share: 0.0,
        load_share: 0.0,
        p50_ms: 0.0,
        p99_ms: 0.0,
    };
    if let Err(fault) = fill(&mut block, cell, window, &server) {
        block.void = Some(fault.to_string());
    }
    Ok(block)
}

fn fill(block: &mut Block, cell: &Cell, window: Duration, server: &Server) -> Outcome<()> {
    let mut load = Load::enter(block.subject, server.address, cell.rooms, cell.clients)?;
    load.speak(WARM_UP_RATE, WARM_UP, Duration::ZERO)?;
    load.drain(DRAIN_WITHIN)?;
    load.forget_latencies();

    let (said, delivered) = (load.said(), load.delivered());
    let before = Usage::of(server)?;
    load.speak(cell.rate, window, cell.gather())?;
    let used = Usage::of(server)?.since(&before);
    block.seconds = used.at;
    block.due = (load.said() - said) * cell.clients as u64;
    block.delivered = load.delivered() - delivered;
    block.cpu_seconds = used.cpu;
    block.kernel_share = used.in_kernel / (used.in_kernel + used.for_itself).max(f64::MIN_POSITIVE);
    block.load_share = used.load / used.at;

    load.drain(if cell.overload { DRAIN_WITHIN / 10 } else { DRAIN_WITHIN })?;
    block.complete = load.missing() == 0;
    if cell.overload {
        return Ok(());
    }
    block.p50_ms = load.latency_ms(0.5);
    block.p99_ms = load.latency_ms(0.99);
    if !block.complete {
        return Err(format!("{} deliveries never came", load.missing()).into());
    }
    if (block.due as f64) < SAID_AT_LEAST * block.seconds * (cell.rate * cell.clients as u64) as f64 {
        return Err("the load could not keep its rate".into());
    }
    if block.load_share > BUSIEST_LOAD {
        return Err("the load was too busy to keep its rate".into());
    }
    Ok(())
}

/// What server and load have used up to now, in seconds.
struct Usage {
    at: f64,
    cpu: f64,
    for_itself: f64,
    in_kernel: f64,
    load: f64,
}

impl Usage {
    fn of(server: &Server) -> Outcome<Self> {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let process = server.process();
        let (for_itself, in_kernel) = ticks(&process)?;
        Ok(Self {
            at: BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64(),
            cpu: cpu_time(&process)?.as_secs_f64(),
            for_itself: for_itself as f64,
            in_kernel: in_kernel as f64,
            load: cpu_time("self")?.as_secs_f64(),
        })
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            at: self.at - earlier.at,
            cpu: self.cpu - earlier.cpu,
            for_itself: self.for_itself - earlier.for_itself,
            in_kernel: self.in_kernel - earlier.in_kernel,
            load: self.load - earlier.load,
        }
    }
}

fn report(cell: &Cell, block: &Block) {
    eprintln!(
        "{:8} {:30} {:8.0} deliveries/CPU-s, {:8.0}/s of {:8.0}/s, p50 {:6.1} p99 {:6.1} ms, kernel {:2.0} %, load {:2.0} %{}",
        cell.name,
        block.subject.name(),
        block.efficiency(),
        block.carried(),
        block.due as f64 / block.seconds,
        block.p50_ms,
        block.p99_ms,
        block.kernel_share * 100.0,
        block.load_share * 100.0,
        block.void.as_deref().map(|why| format!("; void: {why}")).unwrap_or_default(),
    );
}
