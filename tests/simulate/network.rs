//! Connections between pages and the server: in order each way, late by chance, and mortal.

use std::collections::VecDeque;

/// What travels over a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Parcel {
    /// A page asks for a WebSocket.
    Upgrade,
    /// It has one.
    Opened,
    /// A text frame.
    Text(String),
    Ping,
    Pong,
    /// A close frame, perhaps with a code.
    Close(Option<u16>),
    /// The other end is gone without a word.
    Broken,
}

impl Parcel {
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
    parcels: VecDeque<(u64, Parcel)>,
    last_at: u64,
    bytes: usize,
    /// Nothing comes out any more, and nobody is told.
    pub stalled: bool,
    /// Nothing comes out before, because the other end does not read.
    pub unread_until: u64,
}

impl Pipe {
    /// Puts a parcel in that arrives at this time, after all that were put in before.
    pub fn push(&mut self, at: u64, parcel: Parcel) {
        self.last_at = self.last_at.max(at);
        self.bytes += parcel.bytes();
        self.parcels.push_back((self.last_at, parcel));
    }

    /// When the next parcel arrives.
    pub fn next_at(&self) -> Option<u64> {
        let (at, _) = self.parcels.front().filter(|_| !self.stalled)?;
        Some((*at).max(self.unread_until))
    }

    pub fn peek(&self) -> Option<&Parcel> {
        self.parcels.front().map(|(_, parcel)| parcel)
    }

    pub fn pop(&mut self) -> Option<Parcel> {
        let (_, parcel) = self.parcels.pop_front()?;
        self.bytes -= parcel.bytes();
        Some(parcel)
    }

    /// Bytes that were put in and have not come out.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Breaks after so many of the bytes that are on their way. A frame that is cut never arrives,
    /// those before it do.
    pub fn cut(&mut self, after: usize, at: u64) {
        let mut passed = 0;
        let whole = self.parcels.iter().take_while(|(_, parcel)| {
            passed += parcel.bytes();
            passed <= after
        });
        let whole = whole.count();
        self.parcels.truncate(whole);
        self.bytes = self.parcels.iter().map(|(_, parcel)| parcel.bytes()).sum();
        self.push(at, Parcel::Broken);
    }
}

/// A connection.
#[derive(Debug, Default)]
pub struct Wire {
    /// Which page asked for it: the slot, not the life.
    pub page: usize,
    pub up: Pipe,
    pub down: Pipe,
    /// The page no longer listens.
    pub page_gone: bool,
    /// The server no longer listens.
    pub server_gone: bool,
    /// Once something is broken: since when the page has heard nothing of the other side.
    pub page_since: Option<u64>,
    /// Since when the server has heard nothing.
    pub server_since: Option<u64>,
    /// Whether it is dead in one direction only.
    pub one_way: bool,
}

impl Wire {
    /// Where one direction still works, each sign of life is a reason to wait on.
    pub fn heard_by_page(&mut self, now: u64) {
        self.page_since = self.page_since.map(|_| now);
    }

    pub fn heard_by_server(&mut self, now: u64) {
        self.server_since = self.server_since.map(|_| now);
    }
}
