//! The load generator: many clients on one thread. It is an open loop: messages are sent at a fixed rate, however slow the
//! server is.

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

/// Length of a message's text.
const TEXT_BYTES: usize = 128;
/// First byte of each text, which occurs nowhere else in a delivery.
const MARK: u8 = b'#';
/// Digits of the message number that follows [`MARK`].
const DIGITS: usize = 10;
/// Size of the read buffer, in bytes.
const BUFFER: usize = 256 * 1024;
/// Upper end of the latency histogram: one minute.
const LONGEST_MICROS: u64 = 60_000_000;

/// A set of rooms, each with the same number of clients.
pub(crate) struct Load {
    subject: Subject,
    poll: OwnedFd,
    clients: Vec<Client>,
    rooms: Vec<Room>,
    buffer: Vec<u8>,
    begin: Instant,
    sent: u64,
    delivered: u64,
    /// Latencies since [`Load::reset_latencies`], in microseconds, measured from the time a message was due (so that
    /// coordinated omission does not hide delays).
    latencies: Histogram<u64>,
}

struct Client {
    stream: TcpStream,
    /// The incomplete frame at the end of the last read.
    rest: Vec<u8>,
    room: usize,
    /// Number of the last message received.
    last_number: u64,
    /// The server's sequence number of the last message, if it assigns them.
    seq: Option<u64>,
}

struct Room {
    /// See [`Subject::room_id`].
    id: String,
    size: u64,
    /// Index of the client that sends.
    sender: usize,
    /// The time each message was due, in nanoseconds since `begin`.
    due: Vec<u64>,
    /// Bytes that the sender's socket did not accept yet.
    unwritten: Vec<u8>,
}

impl Load {
    /// Connects `clients` clients to each of `rooms` rooms. The last client of each room sends.
    pub(crate) fn enter(subject: Subject, address: SocketAddr, rooms: usize, clients: usize) -> Outcome<Self> {
        let mut load = Self {
            subject,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::with_capacity(rooms * clients),
            rooms: Vec::with_capacity(rooms),
            buffer: vec![0; BUFFER],
            begin: Instant::now(),
            sent: 0,
            delivered: 0,
            latencies: Histogram::new_with_max(LONGEST_MICROS, 3)?,
        };
        for room in 0..rooms {
            let name = format!("room-{room}");
            let mut id = name.clone();
            for _ in 0..clients {
                id = load.add_client(address, room, &name)?;
            }
            let (sender, size) = (load.clients.len() - 1, clients as u64);
            load.rooms.push(Room { id, size, sender, due: Vec::new(), unwritten: Vec::new() });
        }
        Ok(load)
    }

    /// Adds a client to a room. Returns its [`Subject::room_id`].
    fn add_client(&mut self, address: SocketAddr, room: usize, name: &str) -> Outcome<String> {
        let (mut stream, mut rest) = socket::open(address, self.subject.path())?;
        let mut answer = Vec::new();
        for step in self.subject.enter(name) {
            if let Some(text) = step.send {
                socket::send_text(&mut stream, &text)?;
            }
            answer = socket::wait_for(&mut stream, &mut rest, step.until)?;
        }
        stream.set_nonblocking(true)?;
        epoll::add(&self.poll, &stream, EventData::new_u64(self.clients.len() as u64), EventFlags::IN)?;
        self.clients.push(Client { stream, rest, room, last_number: 0, seq: None });
        self.subject.room_id(name, &answer)
    }

    /// Messages sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Deliveries received so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Deliveries not received yet.
    pub(crate) fn missing(&self) -> u64 {
        self.rooms.iter().map(|room| room.due.len() as u64 * room.size).sum::<u64>() - self.delivered
    }

    /// Latency at this quantile (0 to 1), in milliseconds.
    pub(crate) fn latency_ms(&self, share: f64) -> f64 {
        self.latencies.value_at_quantile(share) as f64 / 1_000.0
    }

    /// Discards the latencies recorded so far.
    pub(crate) fn reset_latencies(&mut self) {
        self.latencies.reset();
    }

    /// Sends `rate` messages per second, over all rooms together. Reads at most once per `gather`, so that a load under
    /// overload spends less on system calls; zero reads at once.
    pub(crate) fn send_at_rate(&mut self, rate: u64, during: Duration, gather: Duration) -> Outcome<()> {
        let (begin, pause) = (Instant::now(), Duration::from_secs(1) / u32::try_from(rate)?);
        let end = begin + during;
        let (mut due, mut receive_at) = (begin, begin);
        loop {
            let now = Instant::now();
            while due <= now && due < end {
                self.queue(due);
                due += pause;
            }
            self.flush()?;
            if now >= end {
                return Ok(());
            }
            let next = due.min(end).saturating_duration_since(Instant::now());
            if now < receive_at {
                std::thread::sleep(next.min(receive_at - now));
            } else {
                self.receive(next)?;
                receive_at = Instant::now() + gather;
            }
        }
    }

    /// Receives until every delivery has arrived or the time is up.
    pub(crate) fn drain(&mut self, within: Duration) -> Outcome<()> {
        let end = Instant::now() + within;
        while self.missing() > 0 && Instant::now() < end {
            self.flush()?;
            self.receive(Duration::from_millis(1))?;
        }
        Ok(())
    }

    /// Sends no messages, but answers heartbeats.
    pub(crate) fn idle(&mut self, during: Duration) -> Outcome<()> {
        let end = Instant::now() + during;
        while Instant::now() < end {
            self.receive(Duration::from_millis(100))?;
        }
        Ok(())
    }

    fn queue(&mut self, due: Instant) {
        let count = self.rooms.len() as u64;
        let room = &mut self.rooms[(self.sent % count) as usize];
        self.sent += 1;
        room.due.push(due.saturating_duration_since(self.begin).as_nanos() as u64);
        let number = room.due.len() as u64;
        let mut text = format!("{}{number:0DIGITS$} ", char::from(MARK));
        text.extend(std::iter::repeat_n("the quick brown fox jumps over the lazy dog ", 3));
        text.truncate(TEXT_BYTES);
        socket::write_text(&mut room.unwritten, &self.subject.post(&room.id, number, &text));
    }

    fn flush(&mut self) -> Outcome<()> {
        for room in &mut self.rooms {
            write_available(&mut self.clients[room.sender].stream, &mut room.unwritten)?;
        }
        Ok(())
    }

    fn receive(&mut self, at_most: Duration) -> Outcome<()> {
        let mut events = Vec::with_capacity(1_024);
        let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: at_most.subsec_nanos().into() };
        epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout))?;
        for event in events {
            let data = event.data;
            self.read(data.u64() as usize)?;
        }
        Ok(())
    }

    /// Reads once from a client. Epoll is level-triggered, so bytes that do not fit are reported again.
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
                Frame::Text(text) if text.starts_with(self.subject.delivery_prefix()) => {
                    let number = client
                        .take(text, self.subject.seq_prefix())
                        .map_err(|fault| format!("client {index} {fault}: {}", String::from_utf8_lossy(text)))?;
                    let due =
                        *self.rooms[client.room].due.get(number as usize - 1).ok_or("a message that was never sent")?;
                    self.delivered += 1;
                    self.latencies.saturating_record(now.saturating_sub(due) / 1_000);
                }
                Frame::Text(text) if text.starts_with(self.subject.error_prefix()) => {
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
    /// Checks that a delivery directly follows the last one, and returns its number.
    fn take(&mut self, delivery: &[u8], seq: Option<&[u8]>) -> Result<u64, String> {
        let digits = memchr::memchr(MARK, delivery).and_then(|at| delivery.get(at + 1..at + 1 + DIGITS));
        let number = digits.map(read_number).ok_or("got a delivery without a number")?;
        if number != self.last_number + 1 {
            return Err(format!("got message {number} after {}", self.last_number));
        }
        self.last_number = number;
        if let Some(before) = seq {
            let at = memchr::memmem::find(delivery, before).ok_or("got a delivery without a sequence number")?;
            let seq = read_number(&delivery[at + before.len()..]);
            if self.seq.is_some_and(|last| seq != last + 1) {
                return Err(format!("got sequence number {seq} after {:?}", self.seq));
            }
            self.seq = Some(seq);
        }
        Ok(number)
    }
}

fn read_number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn write_available(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Outcome<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => drop(bytes.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
