//! Fan-out: messages to crowded rooms, through Noom and comparable servers, with the same load generator and the same work.
//!
//! Each block starts a fresh server on its own core. The order of servers is reversed every other round (ABBA), so that
//! drift of the machine affects all of them equally. A block is compared only with blocks of the same round.

pub(crate) mod bare;
mod load;
pub(crate) mod socket;
pub(crate) mod subject;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::goals::ratio;
use crate::machine::{OnLoadCore, cpu_time, own_memory_kib, ticks};
use crate::results::Folder;
use crate::server::{self, Server};
use crate::{Outcome, Plan};
use load::Load;
use subject::Subject;

/// Messages per second during the warm-up.
const WARM_UP_RATE: u64 = 400;
/// Duration of the warm-up.
const WARM_UP: Duration = Duration::from_secs(1);
/// Time limit for the last deliveries to arrive.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);
/// In overload, where latency is not measured, the load reads only this often, so that the load is not the bottleneck.
const READ_INTERVAL: Duration = Duration::from_millis(5);
/// Below this share of the scheduled messages the load did not keep its rate, and the block is void.
const MIN_SENT_SHARE: f64 = 0.98;
/// Above this CPU share the load cannot be trusted to keep its rate, and the block is void.
const MAX_LOAD_SHARE: f64 = 0.9;
/// Retries of a void block.
const RETRIES: usize = 2;
/// Rounds of a comparison of two builds.
const COMPARED_ROUNDS: usize = 12;
/// Measuring window of its blocks.
const COMPARED_WINDOW: Duration = Duration::from_secs(4);
/// Time for memory to settle after many connections were opened.
const SETTLE: Duration = Duration::from_secs(3);

/// A load: how many rooms, clients and messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// Name of its results.
    pub(crate) name: &'static str,
    /// Number of rooms.
    pub(crate) rooms: usize,
    /// Clients per room.
    pub(crate) clients: usize,
    /// Messages per second, over all rooms together.
    pub(crate) rate: u64,
    /// The load may exceed what a server can carry, so only CPU efficiency is compared, not latency.
    pub(crate) overload: bool,
    /// A goal depends on it, so it gets more and longer blocks.
    pub(crate) headline: bool,
    /// Servers that its goal compares with, measured in every round.
    baselines: &'static [Subject],
    /// Other servers in the table, measured in fewer rounds.
    others: &'static [Subject],
}

/// All workloads, in the order of the report.
pub(crate) const WORKLOADS: [Workload; 7] = [
    // 4,000 messages per second overload only Node.js, hence the higher rate.
    Workload {
        name: "overload",
        rooms: 1,
        clients: 500,
        rate: 16_000,
        overload: true,
        headline: true,
        baselines: &[Subject::SocketIo, Subject::Bun],
        others: &[Subject::Ws, Subject::BareGathered],
    },
    Workload {
        name: "heavy",
        rooms: 1,
        clients: 500,
        rate: 4_000,
        overload: true,
        headline: false,
        baselines: &[],
        others: &[Subject::SocketIo, Subject::Bun, Subject::Ws, Subject::Socketioxide, Subject::BareGathered],
    },
    Workload {
        name: "busy",
        rooms: 1,
        clients: 500,
        rate: 400,
        overload: false,
        headline: true,
        baselines: &[Subject::SocketIo],
        others: &[Subject::Ws, Subject::Bun, Subject::Socketioxide, Subject::Bare],
    },
    Workload {
        name: "steady",
        rooms: 1,
        clients: 500,
        rate: 40,
        overload: false,
        headline: true,
        baselines: &[Subject::SocketIo, Subject::Bare],
        others: &[Subject::Ws, Subject::Bun, Subject::Socketioxide],
    },
    Workload {
        name: "small",
        rooms: 1,
        clients: 100,
        rate: 400,
        overload: false,
        headline: false,
        baselines: &[],
        others: &[Subject::SocketIo, Subject::Ws, Subject::Bun, Subject::Socketioxide],
    },
    Workload {
        name: "rooms",
        rooms: 100,
        clients: 10,
        rate: 1_000,
        overload: false,
        headline: false,
        baselines: &[],
        others: &[Subject::SocketIo, Subject::Ws, Subject::Bun, Subject::Socketioxide],
    },
    Workload {
        name: "rooms-overload",
        rooms: 100,
        clients: 10,
        rate: 20_000,
        overload: true,
        headline: false,
        baselines: &[],
        others: &[Subject::SocketIo, Subject::Ws, Subject::Bun, Subject::Socketioxide],
    },
];

impl Workload {
    fn gather(&self) -> Duration {
        if self.overload { READ_INTERVAL } else { Duration::ZERO }
    }
}

/// One measurement of one server under one workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Server that was measured.
    pub(crate) subject: Subject,
    /// Round: blocks are compared within a round.
    pub(crate) round: usize,
    /// The reason this block is discarded, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) void: Option<String>,
    /// Length of the measuring window.
    pub(crate) seconds: f64,
    /// Deliveries due in the window.
    pub(crate) due: u64,
    /// Deliveries received in the window.
    pub(crate) delivered: u64,
    /// Every client received every message, once and in order, before the drain's time limit.
    pub(crate) complete: bool,
    /// CPU time of the server.
    pub(crate) cpu_seconds: f64,
    /// Share of it spent in the kernel (0 to 1).
    pub(crate) kernel_share: f64,
    /// CPU share of the load generator (0 to 1).
    pub(crate) load_share: f64,
    /// Median latency; zero in overload.
    pub(crate) p50_ms: f64,
    /// 99th percentile of latency; zero in overload.
    pub(crate) p99_ms: f64,
}

impl Block {
    /// Deliveries per CPU-second of the server.
    pub(crate) fn efficiency(&self) -> f64 {
        self.delivered as f64 / self.cpu_seconds
    }

    /// Deliveries per second.
    pub(crate) fn carried(&self) -> f64 {
        self.delivered as f64 / self.seconds
    }
}

/// Memory of one server with many idle connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IdleBlock {
    /// Server that was measured.
    pub(crate) subject: Subject,
    /// Round: blocks are compared within a round.
    pub(crate) round: usize,
    /// Number of idle connections.
    pub(crate) connections: usize,
    /// Anonymous memory before they connect.
    pub(crate) before_kib: u64,
    /// Anonymous memory while they are connected.
    pub(crate) after_kib: u64,
}

impl IdleBlock {
    /// Memory per connection.
    pub(crate) fn kib_per_connection(&self) -> f64 {
        self.after_kib.saturating_sub(self.before_kib) as f64 / self.connections as f64
    }
}

/// Measures all servers of one workload.
pub(crate) fn measure(workload: &Workload, plan: &Plan, folder: &Folder) -> Outcome<()> {
    let _on_one_core = OnLoadCore::pin()?;
    if server::other_noom().is_some() {
        return compare_builds(workload);
    }
    let (rounds, fewer, window) = match (plan.quick, workload.headline) {
        (false, true) => (10, 4, Duration::from_secs(4)),
        (false, false) => (4, 4, Duration::from_secs(2)),
        (true, true) => (2, 1, Duration::from_millis(1_500)),
        (true, false) => (1, 1, Duration::from_secs(1)),
    };
    let blocks = run_rounds(workload, rounds, window, |round| {
        let baselines = std::iter::once(&Subject::Noom).chain(workload.baselines);
        baselines.chain(workload.others.iter().filter(|_| round < fewer)).copied().collect()
    })?;
    folder.write(workload.name, &plan.command, blocks)
}

/// Compares two builds of Noom under one workload and prints the ratios. Stores nothing.
fn compare_builds(workload: &Workload) -> Outcome<()> {
    let blocks = run_rounds(workload, COMPARED_ROUNDS, COMPARED_WINDOW, |_| vec![Subject::Noom, Subject::OtherNoom])?;
    let printed = |ratio: Option<_>| ratio.map_or("–".into(), |ratio: crate::statistics::Interval| ratio.to_string());
    println!(
        "{}: deliveries per CPU-second {} × the other build, p50 latency {} ×",
        workload.name,
        printed(ratio(&blocks, Subject::OtherNoom, Block::efficiency)),
        printed(ratio(&blocks, Subject::OtherNoom, |block| block.p50_ms)),
    );
    Ok(())
}

/// Measures the servers of each round, in reverse order every other round.
fn run_rounds(
    workload: &Workload,
    rounds: usize,
    window: Duration,
    turn: impl Fn(usize) -> Vec<Subject>,
) -> Outcome<Vec<Block>> {
    let mut blocks = Vec::new();
    for round in 0..rounds {
        let mut turn = turn(round);
        if round % 2 == 1 {
            turn.reverse();
        }
        for subject in turn {
            for attempt in 0..=RETRIES {
                let block = run_block(workload, subject, round, window)?;
                log_block(workload, &block);
                let is_void = block.void.is_some();
                // Void blocks stay in the raw results, so that discarding is visible.
                blocks.push(block);
                if !is_void || attempt == RETRIES {
                    break;
                }
            }
        }
    }
    Ok(blocks)
}

/// Runs a workload against Noom: calls `begin` after the warm-up, keeps the load up for `during`, then returns what `begin`
/// returned.
pub(crate) fn load_noom<T>(
    workload: &Workload,
    during: Duration,
    begin: impl FnOnce(&Server) -> Outcome<T>,
) -> Outcome<T> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = Subject::Noom.start(data.path())?;
    let mut load = Load::enter(Subject::Noom, server.address, workload.rooms, workload.clients)?;
    load.send_at_rate(WARM_UP_RATE, WARM_UP, Duration::ZERO)?;
    let begun = begin(&server)?;
    load.send_at_rate(workload.rate, during, workload.gather())?;
    Ok(begun)
}

/// Measures the memory of idle connections.
pub(crate) fn measure_idle(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let _on_one_core = OnLoadCore::pin()?;
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
            eprintln!("idle  {:14} {:6.2} KiB per connection", subject.name(), block.kib_per_connection());
            blocks.push(block);
        }
    }
    folder.write("idle", &plan.command, blocks)
}

fn run_block(workload: &Workload, subject: Subject, round: usize, window: Duration) -> Outcome<Block> {
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
    if let Err(fault) = fill(&mut block, workload, window, &server) {
        block.void = Some(fault.to_string());
    }
    Ok(block)
}

fn fill(block: &mut Block, workload: &Workload, window: Duration, server: &Server) -> Outcome<()> {
    let mut load = Load::enter(block.subject, server.address, workload.rooms, workload.clients)?;
    load.send_at_rate(WARM_UP_RATE, WARM_UP, Duration::ZERO)?;
    load.drain(DRAIN_WITHIN)?;
    load.reset_latencies();

    let (sent, delivered) = (load.sent(), load.delivered());
    let before = Usage::of(server)?;
    load.send_at_rate(workload.rate, window, workload.gather())?;
    let used = Usage::of(server)?.since(&before);
    block.seconds = used.at;
    block.due = (load.sent() - sent) * workload.clients as u64;
    block.delivered = load.delivered() - delivered;
    block.cpu_seconds = used.cpu;
    block.kernel_share = used.in_kernel / (used.in_kernel + used.in_user).max(f64::MIN_POSITIVE);
    block.load_share = used.load / used.at;

    load.drain(if workload.overload { DRAIN_WITHIN / 10 } else { DRAIN_WITHIN })?;
    block.complete = load.missing() == 0;
    if workload.overload {
        return Ok(());
    }
    block.p50_ms = load.latency_ms(0.5);
    block.p99_ms = load.latency_ms(0.99);
    if !block.complete {
        return Err(format!("{} deliveries never arrived", load.missing()).into());
    }
    if (block.due as f64) < MIN_SENT_SHARE * block.seconds * (workload.rate * workload.clients as u64) as f64 {
        return Err("the load could not keep its rate".into());
    }
    if block.load_share > MAX_LOAD_SHARE {
        return Err("the load was too busy to keep its rate".into());
    }
    Ok(())
}

/// Time used by server and load up to a moment. `in_user` and `in_kernel` are in clock ticks, the others in seconds.
struct Usage {
    at: f64,
    cpu: f64,
    in_user: f64,
    in_kernel: f64,
    load: f64,
}

impl Usage {
    fn of(server: &Server) -> Outcome<Self> {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let process = server.process();
        let (in_user, in_kernel) = ticks(&process)?;
        Ok(Self {
            at: BEGIN.get_or_init(Instant::now).elapsed().as_secs_f64(),
            cpu: cpu_time(&process)?.as_secs_f64(),
            in_user: in_user as f64,
            in_kernel: in_kernel as f64,
            load: cpu_time("self")?.as_secs_f64(),
        })
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            at: self.at - earlier.at,
            cpu: self.cpu - earlier.cpu,
            in_user: self.in_user - earlier.in_user,
            in_kernel: self.in_kernel - earlier.in_kernel,
            load: self.load - earlier.load,
        }
    }
}

fn log_block(workload: &Workload, block: &Block) {
    eprintln!(
        "{:8} {:30} {:8.0} deliveries/CPU-s, {:8.0}/s of {:8.0}/s, p50 {:6.1} p99 {:6.1} ms, kernel {:2.0} %, load {:2.0} %{}",
        workload.name,
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
