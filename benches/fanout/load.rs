//! The load: many clients on one thread, some of whom speak at a fixed rate, whatever the server does.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::socket::{self, Frame};
use super::subject::Subject;
use crate::Outcome;

/// The length of what is said, in bytes.
const TEXT_BYTES: usize = 128;
/// What a text begins with; nothing else in a delivery has it.
const MARK: u8 = b'#';
/// The digits of a text's number.
const DIGITS: usize = 10;
/// At most so much is read at once.
const BUFFER: usize = 256 * 1024;
/// Latencies up to a minute, in microseconds, with three digits.
const LONGEST_MICROS: u64 = 60_000_000;

/// Clients in rooms.
pub(crate) struct Load {
    subject: Subject,
    poll: OwnedFd,
    clients: Vec<Client>,
    rooms: Vec<Room>,
    buffer: Vec<u8>,
    begin: Instant,
    said: u64,
    delivered: u64,
    /// Latencies since [`Load::forget_latencies`], in microseconds, from when a message was due.
    latencies: Histogram<u64>,
}

struct Client {
    stream: TcpStream,
    /// The beginning of a frame that has not come whole.
    rest: Vec<u8>,
    room: usize,
    /// The number of the last message heard.
    heard: u64,
    /// The place of the last message, as the server counts.
    place: Option<u64>,
}

struct Room {
    name: String,
    size: u64,
    /// The client that speaks.
    speaker: usize,
    /// When each message was due, in nanoseconds since the beginning.
    due: Vec<u64>,
    /// What the speaker could not write yet.
    unwritten: Vec<u8>,
}

impl Load {
    /// So many rooms with so many clients each; one of each room speaks.
    pub(crate) fn enter(subject: Subject, address: SocketAddr, rooms: usize, clients: usize) -> Outcome<Self> {
        let mut load = Self {
            subject,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::with_capacity(rooms * clients),
            rooms: Vec::with_capacity(rooms),
            buffer: vec![0; BUFFER],
            begin: Instant::now(),
            said: 0,
            delivered: 0,
            latencies: Histogram::new_with_max(LONGEST_MICROS, 3)?,
        };
        for room in 0..rooms {
            let name = format!("room-{room}");
            for _ in 0..clients {
                load.add_client(address, room, &name)?;
            }
            let (speaker, size) = (load.clients.len() - 1, clients as u64);
            load.rooms.push(Room { name, size, speaker, due: Vec::new(), unwritten: Vec::new() });
        }
        Ok(load)
    }

    fn add_client(&mut self, address: SocketAddr, room: usize, name: &str) -> Outcome<()> {
        let (mut stream, mut rest) = socket::open(address, self.subject.path())?;
        for exchange in self.subject.enter(name) {
            if let Some(say) = exchange.say {
                let mut frame = Vec::new();
                socket::write_text(&mut frame, &say);
                stream.write_all(&frame)?;
            }
            socket::wait_for(&mut stream, &mut rest, exchange.until)?;
        }
        stream.set_nonblocking(true)?;
        epoll::add(&self.poll, &stream, EventData::new_u64(self.clients.len() as u64), EventFlags::IN)?;
        self.clients.push(Client { stream, rest, room, heard: 0, place: None });
        Ok(())
    }

    /// How many messages were said.
    pub(crate) fn said(&self) -> u64 {
        self.said
    }

    /// How many deliveries came.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// How many deliveries are still due.
    pub(crate) fn missing(&self) -> u64 {
        self.rooms.iter().map(|room| room.due.len() as u64 * room.size).sum::<u64>() - self.delivered
    }

    /// The latency below which this share of deliveries lies.
    pub(crate) fn latency_ms(&self, share: f64) -> f64 {
        self.latencies.value_at_quantile(share) as f64 / 1_000.0
    }

    /// Begins to measure latencies anew.
    pub(crate) fn forget_latencies(&mut self) {
        self.latencies.reset();
    }

    /// Says so many messages a second, in all rooms together, for so long. `gather`: what comes within so long is
    /// read together.
    pub(crate) fn speak(&mut self, rate: u64, during: Duration, gather: Duration) -> Outcome<()> {
        let (begin, pause) = (Instant::now(), Duration::from_secs(1) / u32::try_from(rate)?);
        let end = begin + during;
        let (mut due, mut listen_at) = (begin, begin);
        loop {
            let now = Instant::now();
            while due <= now && due < end {
                self.say(due);
                due += pause;
            }
            self.write()?;
            if now >= end {
                return Ok(());
            }
            let next = due.min(end).saturating_duration_since(Instant::now());
            if now < listen_at {
                std::thread::sleep(next.min(listen_at - now));
            } else {
                self.listen(next)?;
                listen_at = Instant::now() + gather;
            }
        }
    }

    /// Listens until everything that was said has reached everyone, or until the time is up.
    pub(crate) fn drain(&mut self, within: Duration) -> Outcome<()> {
        let end = Instant::now() + within;
        while self.missing() > 0 && Instant::now() < end {
            self.write()?;
            self.listen(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Merely listens, so that heartbeats are answered.
    pub(crate) fn idle(&mut self, during: Duration) -> Outcome<()> {
        let end = Instant::now() + during;
        while Instant::now() < end {
            self.listen(Duration::from_millis(100))?;
        }
        Ok(())
    }

    fn say(&mut self, due: Instant) {
        let count = self.rooms.len() as u64;
        let room = &mut self.rooms[(self.said % count) as usize];
        self.said += 1;
        room.due.push(due.saturating_duration_since(self.begin).as_nanos() as u64);
        let number = room.due.len() as u64;
        let mut text = format!("{}{number:0DIGITS$} ", char::from(MARK));
        text.extend(std::iter::repeat_n("the quick brown fox jumps over the lazy dog ", 3));
        text.truncate(TEXT_BYTES);
        socket::write_text(&mut room.unwritten, &self.subject.post(&room.name, number, &text));
    }

    fn write(&mut self) -> Outcome<()> {
        for room in &mut self.rooms {
            write_unwritten(&mut self.clients[room.speaker].stream, &mut room.unwritten)?;
        }
        Ok(())
    }

    fn listen(&mut self, at_most: Duration) -> Outcome<()> {
        let mut events = Vec::with_capacity(1_024);
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: at_most.subsec_nanos().into() };
        epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout))?;
        for event in events {
            let data = event.data;
            self.read(data.u64() as usize)?;
        }
        Ok(())
    }

    /// Reads what came for a client. What does not fit is announced again.
    fn read(&mut self, index: usize) -> Outcome<()> {
        let client = &mut self.clients[index];
        let kept = client.rest.len();
        if self.buffer.len() < kept + BUFFER / 2 {
            self.buffer.resize(kept + BUFFER, 0);
        }
        self.buffer[..kept].copy_from_slice(&client.rest);
        let length = match client.stream.read(&mut self.buffer[kept..]) {
            Ok(0) => return Err(format!("the server closed the connection of client {index}").into()),
            Ok(length) => kept + length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = self.begin.elapsed().as_nanos() as u64;
        let mut at = 0;
        while let Some((frame, size)) = socket::next(&self.buffer[at..length]) {
            match frame {
                Frame::Text(text) if text.starts_with(self.subject.delivery()) => {
                    let number = client
                        .take(text, self.subject.place())
                        .map_err(|fault| format!("client {index} {fault}: {}", String::from_utf8_lossy(text)))?;
                    let due =
                        *self.rooms[client.room].due.get(number as usize - 1).ok_or("a message that nobody said")?;
                    self.delivered += 1;
                    self.latencies.saturating_record(now.saturating_sub(due) / 1_000);
                }
                Frame::Text(text) if text.starts_with(self.subject.refusal()) => {
                    return Err(format!("refused: {}", String::from_utf8_lossy(text)).into());
                }
                Frame::Text(text) => {
                    if let Some((beat, answer)) = self.subject.heartbeat()
                        && text == beat
                    {
                        let mut frame = Vec::new();
                        socket::write_text(&mut frame, answer);
                        client.stream.write_all(&frame)?;
                    }
                }
                Frame::Ping(payload) => {
                    let mut frame = Vec::new();
                    socket::write_pong(&mut frame, payload);
                    client.stream.write_all(&frame)?;
                }
                Frame::Close => return Err(format!("the server closed client {index}").into()),
                Frame::Other => {}
            }
            at += size;
        }
        client.rest.clear();
        client.rest.extend_from_slice(&self.buffer[at..length]);
        Ok(())
    }
}

impl Client {
    /// Takes a delivery, which must be the one after the last, and returns its number.
    fn take(&mut self, delivery: &[u8], place: Option<&[u8]>) -> Result<u64, String> {
        let digits = memchr::memchr(MARK, delivery).and_then(|at| delivery.get(at + 1..at + 1 + DIGITS));
        let number = digits.map(read_number).ok_or("got a delivery without a number")?;
        if number != self.heard + 1 {
            return Err(format!("got message {number} after {}", self.heard));
        }
        self.heard = number;
        if let Some(before) = place {
            let at = memchr::memmem::find(delivery, before).ok_or("got a delivery without a place")?;
            let place = read_number(&delivery[at + before.len()..]);
            if self.place.is_some_and(|last| place != last + 1) {
                return Err(format!("got place {place} after {:?}", self.place));
            }
            self.place = Some(place);
        }
        Ok(number)
    }
}

fn read_number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn write_unwritten(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Outcome<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => drop(bytes.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
