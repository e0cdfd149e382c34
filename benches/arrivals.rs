//! Arrivals in one room: the cost of one when the room is small, and when it has thousands of people.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use serde::{Deserialize, Serialize};

use crate::fanout::socket::{self, Frame};
use crate::machine::{OnLoadCore, cpu_time};
use crate::results::Folder;
use crate::server::{noom, noom_in, start};
use crate::statistics::{Interval, geometric_mean, median};
use crate::{Outcome, Plan};

/// The arrivals that stand for the hundredth: they are the last ones up to this number.
const FEW: usize = 100;
/// The least number of arrivals that are measured together.
const TOGETHER: usize = 50;
/// In a crowd they are one part in this many of the people: so many arrivals share one frame with the new number.
const NOTABLE: usize = 100;
/// The time within which everything is sent that an arrival causes: a crowd is told its number within 5 s.
const SETTLE: Duration = Duration::from_millis(5_600);

const HELLO: &str = r#"{"type":"hello","payload":{"protocol":2},"id":1}"#;
const ENTER: &str = r#"{"type":"enter_room","payload":{"name":"crowd"},"id":2}"#;

/// The cost of the arrivals up to a number, per arrival.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ArrivalBlock {
    /// Round: blocks are compared within a round.
    pub(crate) round: usize,
    /// Number of people in the room afterwards.
    pub(crate) people: usize,
    /// CPU time of the server, with everything that the arrival causes for others.
    pub(crate) cpu_us: f64,
    /// Bytes that all clients received.
    pub(crate) bytes: f64,
    /// Median time from sending `enter_room` to the answer.
    pub(crate) answered_ms: f64,
}

/// Measures arrivals in a small room and in a crowd.
pub(crate) fn measure(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let _on_one_core = OnLoadCore::pin()?;
    let (rounds, many) = if plan.quick { (1, 2_000) } else { (3, 10_000) };
    let mut blocks = Vec::new();
    for round in 0..rounds {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let server = start(noom_in(&noom(), data.path()))?;
        let mut crowd = Crowd::new(server.address)?;
        for people in [FEW, many] {
            let together = TOGETHER.max(people / NOTABLE);
            crowd.grow_to(people - together)?;
            crowd.read_for(SETTLE)?;
            let (cpu, bytes) = (cpu_time(&server.process())?, crowd.bytes);
            let answered = crowd.grow_to(people)?;
            crowd.read_for(SETTLE)?;
            let block = ArrivalBlock {
                round,
                people,
                cpu_us: (cpu_time(&server.process())? - cpu).as_secs_f64() * 1e6 / together as f64,
                bytes: (crowd.bytes - bytes) as f64 / together as f64,
                answered_ms: median(&answered).unwrap_or_default(),
            };
            eprintln!(
                "arrivals {people:6}: {:6.0} µs of CPU, {:7.0} bytes, answered after {:.2} ms",
                block.cpu_us, block.bytes, block.answered_ms
            );
            blocks.push(block);
        }
    }
    folder.write("arrivals", &plan.command, blocks)
}

/// The ratios of a value in a crowd to the value in a small room, paired by round.
pub(crate) fn ratio(blocks: &[ArrivalBlock], value: fn(&ArrivalBlock) -> f64) -> Option<Interval> {
    let of = |is_few: bool| blocks.iter().filter(move |block| (block.people == FEW) == is_few).map(value);
    geometric_mean(&of(false).zip(of(true)).map(|(many, few)| many / few).collect::<Vec<_>>())
}

/// Appends the section of the report.
pub(crate) fn report(page: &mut String, folder: &Folder) -> Outcome<()> {
    let Some(results) = folder.read::<ArrivalBlock>("arrivals")? else { return Ok(()) };
    page.push_str("\n## Arrivals in one room\n\nThe cost of one arrival, with all that it causes for the others.\n\n");
    page.push_str(
        "| people in the room | server CPU, µs | bytes to all clients | answered after, ms |\n|---|---|---|---|\n",
    );
    let mut sizes: Vec<_> = results.blocks.iter().map(|block| block.people).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for people in sizes {
        let own = || results.blocks.iter().filter(|block| block.people == people);
        let mean = |value: fn(&ArrivalBlock) -> f64| {
            geometric_mean(&own().map(value).collect::<Vec<_>>()).map_or("–".into(), |mean| mean.to_string())
        };
        let (cpu, bytes) = (mean(|block| block.cpu_us), mean(|block| block.bytes));
        writeln!(page, "| {people} | {cpu} | {bytes} | {} |", mean(|block| block.answered_ms))?;
    }
    Ok(())
}

/// Clients in one room.
struct Crowd {
    address: SocketAddr,
    poll: OwnedFd,
    clients: Vec<(TcpStream, Vec<u8>)>,
    bytes: u64,
}

impl Crowd {
    fn new(address: SocketAddr) -> Outcome<Self> {
        Ok(Self { address, poll: epoll::create(epoll::CreateFlags::CLOEXEC)?, clients: Vec::new(), bytes: 0 })
    }

    /// Lets clients arrive, one after the other. Returns the time that each waited for its answer, in milliseconds.
    fn grow_to(&mut self, people: usize) -> Outcome<Vec<f64>> {
        let mut answered = Vec::new();
        while self.clients.len() < people {
            let (mut stream, mut rest) = socket::open(self.address, "/ws")?;
            send(&mut stream, HELLO)?;
            socket::wait_for(&mut stream, &mut rest, r#""id":1}"#)?;
            let begin = Instant::now();
            send(&mut stream, ENTER)?;
            self.bytes += wait_for_answer(&mut stream, &mut rest)?;
            answered.push(begin.elapsed().as_secs_f64() * 1_000.0);
            stream.set_nonblocking(true)?;
            epoll::add(&self.poll, &stream, EventData::new_u64(self.clients.len() as u64), EventFlags::IN)?;
            self.clients.push((stream, rest));
            self.read(Duration::ZERO)?;
        }
        Ok(answered)
    }

    fn read_for(&mut self, during: Duration) -> Outcome<()> {
        let end = Instant::now() + during;
        while Instant::now() < end {
            self.read(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// Reads what has arrived, and answers pings.
    fn read(&mut self, at_most: Duration) -> Outcome<()> {
        let mut events = Vec::with_capacity(1_024);
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: at_most.subsec_nanos().into() };
        epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout))?;
        let mut buffer = [0; 16 * 1024];
        for event in events {
            let data = event.data;
            let (stream, rest) = &mut self.clients[data.u64() as usize];
            match stream.read(&mut buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(length) => {
                    self.bytes += length as u64;
                    rest.extend_from_slice(&buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            let mut at = 0;
            while let Some((frame, size)) = socket::next(&rest[at..]) {
                at += size;
                match frame {
                    Frame::Ping(payload) => {
                        let mut pong = Vec::new();
                        socket::write_pong(&mut pong, payload);
                        stream.write_all(&pong)?;
                    }
                    Frame::Close => return Err("the server closed a client because others arrived".into()),
                    Frame::Text(_) | Frame::Other => {}
                }
            }
            rest.drain(..at);
        }
        Ok(())
    }
}

fn send(stream: &mut TcpStream, text: &str) -> Outcome<()> {
    let mut frame = Vec::new();
    socket::write_text(&mut frame, text);
    Ok(stream.write_all(&frame)?)
}

/// Waits for the answer to `enter_room`. Returns its length.
fn wait_for_answer(stream: &mut TcpStream, rest: &mut Vec<u8>) -> Outcome<u64> {
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some((frame, size)) = socket::next(rest) {
            let is_answer = matches!(frame, Frame::Text(text) if text.ends_with(br#""id":2}"#));
            let is_refused = matches!(frame, Frame::Text(text) if text.starts_with(br#"{"type":"error""#));
            rest.drain(..size);
            if is_refused {
                return Err("enter_room was refused".into());
            }
            if is_answer {
                return Ok(size as u64);
            }
        }
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err("the server closed a connection that arrived".into());
        }
        rest.extend_from_slice(&buffer[..length]);
    }
}
