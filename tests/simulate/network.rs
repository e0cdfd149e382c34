//! Simulated connections between pages and the server: ordered in each direction, delayed at random, and
//! subject to faults.

use std::collections::VecDeque;

/// A unit of data on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// The request for a WebSocket.
    Upgrade,
    /// The response to it.
    Opened,
    /// A text frame.
    Text(String),
    Ping,
    Pong,
    /// A close frame.
    Close(Option<u16>),
    /// The connection broke without a close frame.
    Broken,
}

impl Packet {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 4,
            _ => 4,
        }
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Pipe {
    packets: VecDeque<(u64, Packet)>,
    last_at: u64,
    bytes: usize,
    /// Packets are no longer delivered, and neither side is informed.
    pub stalled: bool,
    /// The receiver does not read before this time.
    pub unread_until: u64,
}

impl Pipe {
    /// Adds a packet that arrives at `at`, or later if earlier packets do.
    pub fn push(&mut self, at: u64, packet: Packet) {
        self.last_at = self.last_at.max(at);
        self.bytes += packet.bytes();
        self.packets.push_back((self.last_at, packet));
    }

    /// The time at which the next packet arrives.
    pub fn next_at(&self) -> Option<u64> {
        let (at, _) = self.packets.front().filter(|_| !self.stalled)?;
        Some((*at).max(self.unread_until))
    }

    pub fn peek(&self) -> Option<&Packet> {
        self.packets.front().map(|(_, packet)| packet)
    }

    pub fn pop(&mut self) -> Option<Packet> {
        let (_, packet) = self.packets.pop_front()?;
        self.bytes -= packet.bytes();
        Some(packet)
    }

    /// Bytes in flight.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Breaks the connection after `after` of the bytes in flight. Packets before that point still arrive, a
    /// partial one does not.
    pub fn cut(&mut self, after: usize, at: u64) {
        let mut passed = 0;
        let whole = self.packets.iter().take_while(|(_, packet)| {
            passed += packet.bytes();
            passed <= after
        });
        let whole = whole.count();
        self.packets.truncate(whole);
        self.bytes = self.packets.iter().map(|(_, packet)| packet.bytes()).sum();
        self.push(at, Packet::Broken);
    }
}

/// A connection between a page and the server.
#[derive(Debug, Default)]
pub struct SimulatedSocket {
    /// The slot of the page that opened it.
    pub page: usize,
    pub up: Pipe,
    pub down: Pipe,
    /// The page has closed its end.
    pub page_gone: bool,
    /// The server has closed its end.
    pub server_gone: bool,
    /// After a fault: when the page last received something.
    pub page_since: Option<u64>,
    /// After a fault: when the server last received something.
    pub server_since: Option<u64>,
    /// True if only one direction is dead.
    pub one_way: bool,
}

impl SimulatedSocket {
    /// Restarts the detection time: as long as one direction works, each packet counts as a heartbeat.
    pub fn received_by_page(&mut self, now: u64) {
        self.page_since = self.page_since.map(|_| now);
    }

    pub fn received_by_server(&mut self, now: u64) {
        self.server_since = self.server_since.map(|_| now);
    }
}
