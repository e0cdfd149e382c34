//! A hostile stranger: the latency of ordinary people's messages while one address sends every command and request at
//! twice the highest rate that the limits allow, compared with the same generator talking to a sink on the same core.

mod generator;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::fanout::socket;
use crate::fanout::subject::entered_room;
use crate::machine::OnLoadCore;
use crate::results::Folder;
use crate::server::{Server, noom, noom_with_default_limits, start};
use crate::statistics::percentile;
use crate::{Outcome, Plan};

/// The argument that makes this program the sink, without the dashes.
pub(crate) const SINK: &str = "sink-server";
/// Ordinary people in the room.
const PEOPLE: usize = 12;
/// The pause between their messages: four a second by each.
const PAUSE: Duration = Duration::from_millis(1_000 / (PEOPLE as u64 * 4));

/// The server that the generator talks to. Ordinary people always talk at Noom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// A server that reads everything and does nothing.
    Sink,
    /// Noom with its default limits.
    Noom,
}

/// Latency of ordinary people's messages in one block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HostileBlock {
    /// Round.
    pub(crate) round: usize,
    /// The server that the generator talked to.
    pub(crate) target: Target,
    /// Messages of ordinary people. All were acknowledged.
    pub(crate) messages: usize,
    /// Median time from the time a message was due until its ack.
    pub(crate) p50_ms: f64,
    /// 99th percentile of that time.
    pub(crate) p99_ms: f64,
    /// Frames and requests that the generator sent.
    pub(crate) sent: u64,
    /// Its connections, which are more than it began with if they were closed.
    pub(crate) connections: u64,
}

/// Measures both targets in turn.
pub(crate) fn measure(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let _on_one_core = OnLoadCore::pin()?;
    let (rounds, stage) = if plan.quick { (1, Duration::from_millis(200)) } else { (8, Duration::from_millis(500)) };
    let mut blocks = Vec::new();
    for round in 0..rounds {
        let mut turn = [Target::Sink, Target::Noom];
        if round % 2 == 1 {
            turn.reverse();
        }
        for target in turn {
            let block = block(round, target, stage)?;
            eprintln!(
                "hostile {target:?}: ack p50 {:.2} ms, p99 {:.2} ms of {}; {} frames and requests over {} connections",
                block.p50_ms, block.p99_ms, block.messages, block.sent, block.connections
            );
            blocks.push(block);
        }
    }
    folder.write("hostile", &plan.command, blocks)
}

fn block(round: usize, target: Target, stage: Duration) -> Outcome<HostileBlock> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = start(noom_with_default_limits(&noom(), folder.path()))?;
    let sink = start_sink()?;
    let attacked = match target {
        Target::Sink => sink.address,
        Target::Noom => server.address,
    };
    let (people, room) = arrive(server.address)?;
    let is_over = AtomicBool::new(false);
    let (waits, sent) = std::thread::scope(|scope| {
        let people = scope.spawn(|| talk(people, &room, &is_over).map_err(|error| error.to_string()));
        let sent = generator::run(attacked, &room, stage).map_err(|error| error.to_string());
        is_over.store(true, Relaxed);
        let waits = people.join().map_err(|_| "a thread panicked".to_owned())??;
        Ok::<_, String>((waits, sent?))
    })?;
    let at = |share| percentile(&waits, share).unwrap_or_default();
    let (messages, generator::Sent { count, connections }) = (waits.len(), sent);
    Ok(HostileBlock { round, target, messages, p50_ms: at(0.5), p99_ms: at(0.99), sent: count, connections })
}

/// A connection, and what was received over it and not read yet.
type Person = (TcpStream, Vec<u8>);

/// Lets ordinary people enter the room. Returns them, and the id of the room.
fn arrive(address: SocketAddr) -> Outcome<(Vec<Person>, String)> {
    let (mut people, mut answer) = (Vec::new(), Vec::new());
    for _ in 0..PEOPLE {
        let (mut stream, mut rest) = socket::open(address, "/ws")?;
        for (text, until) in generator::arrival() {
            socket::send_text(&mut stream, text)?;
            answer = socket::wait_for(&mut stream, &mut rest, until)?;
        }
        people.push((stream, rest));
    }
    Ok((people, entered_room(&answer)?))
}

/// People who take turns in posting. Returns the time until each message was acknowledged, in milliseconds.
fn talk(mut people: Vec<Person>, room: &str, is_over: &AtomicBool) -> Outcome<Vec<f64>> {
    let (begin, mut waits) = (Instant::now(), Vec::new());
    while !is_over.load(Relaxed) {
        let number = waits.len() as u64 + 1;
        let due = begin + PAUSE * number as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (stream, rest) = &mut people[number as usize % PEOPLE];
        let key = format!("00000000-0000-4000-8000-{number:012x}");
        let post = format!(
            r#"{{"type":"new_message","payload":{{"room":"{room}","key":"{key}","text":"Ordinary words."}},"id":9}}"#
        );
        socket::send_text(stream, &post)?;
        // Only the ack has these fields in this order. A refusal never comes to it, and ends in an error.
        socket::wait_for(stream, rest, &format!(r#""key":"{key}","seq":"#))?;
        waits.push(due.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(waits)
}

fn start_sink() -> Outcome<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(format!("--{SINK}"));
    start(command)
}

/// Reads everything that arrives, until killed.
pub(crate) fn serve_sink() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let mut stream = stream?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
        });
    }
    Ok(())
}
