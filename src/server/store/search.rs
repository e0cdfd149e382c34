//! Searching in rooms: in the index, and in the messages that are not in it yet.
//!
//! Several rooms are searched as one: their candidates are examined in the order of their times. A room is looked up in
//! the index only when the candidates of the others are older than its last message.

use std::collections::{BinaryHeap, VecDeque};

use rusqlite::{Connection, params};

use super::RoomRow;
use super::index::rowid;
use super::row::{message, select_messages};
use crate::protocol::{Found, MAX_HISTORY_BYTES, Message, Place, SearchAck};
use crate::server::history::encoded_bytes;
use crate::server::search::Query;

/// The most messages that a search reads to see if they match.
const EXAMINED_MESSAGES: usize = 2_000;
/// The most text of them, in bytes.
const EXAMINED_BYTES: usize = 1024 * 1024;
/// The fewest candidates that are taken from the index at once.
const FEWEST_CANDIDATES: usize = 8;

/// The newest messages of rooms before a place that match, at most `limit`.
pub(super) fn search(
    connection: &Connection,
    rooms: &[RoomRow],
    query: &Query,
    before: Option<Place>,
    limit: u64,
) -> rusqlite::Result<SearchAck> {
    let expression = if rooms.len() == 1 { query.expression() } else { query.expression_for_many_rooms() };
    let batch = (EXAMINED_MESSAGES / rooms.len().max(1)).max(FEWEST_CANDIDATES);
    let index = Index { connection, expression, batch };
    let mut results = Results { query, limit: limit as usize, ack: SearchAck::default(), bytes: 0, examined: (0, 0) };
    let mut candidates = Vec::with_capacity(rooms.len());
    // The next place of each room, and the number of the room.
    let mut heap = BinaryHeap::with_capacity(rooms.len());
    for (number, room) in rooms.iter().enumerate() {
        let room = Candidates::before(connection, room, before)?;
        heap.extend(room.last(connection)?.map(|last| (last, number)));
        candidates.push(room);
    }
    while let Some((place, number)) = heap.pop() {
        let room = &mut candidates[number];
        if let Some(seq) = room.next.take() {
            let candidate = room.read(connection, seq)?;
            if !results.examine(candidate) {
                results.stop_at(place);
                break;
            }
        }
        room.next = room.advance(&index)?;
        if let Some(seq) = room.next {
            heap.push((room.place(connection, seq)?, number));
        }
        if let Some((next, _)) = heap.peek().filter(|_| results.is_exhausted()) {
            results.stop_at(*next);
            break;
        }
    }
    Ok(results.ack)
}

/// The index of all rooms.
struct Index<'a> {
    connection: &'a Connection,
    expression: String,
    /// The number of candidates that are taken at once.
    batch: usize,
}

/// The messages of a room that may match, the newest first.
struct Candidates<'a> {
    room: &'a RoomRow,
    /// The oldest message that is kept.
    floor: u64,
    /// The last message in the index. Those after it are candidates without it.
    indexed: u64,
    /// The message after the next ones.
    end: u64,
    /// The next candidate, if it is known.
    next: Option<u64>,
    /// Candidates from the index, after that one.
    found: VecDeque<u64>,
    /// The index has no others.
    is_complete: bool,
}

impl<'a> Candidates<'a> {
    /// Those before a place.
    fn before(connection: &Connection, room: &'a RoomRow, place: Option<Place>) -> rusqlite::Result<Self> {
        let mut select = connection.prepare_cached("SELECT floor, indexed, head FROM rooms WHERE id = ?1")?;
        let number = |row: &rusqlite::Row<'_>, index| row.get::<_, i64>(index).map(|number| number as u64);
        let (floor, indexed, head) =
            select.query_row([room.number], |row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?)))?;
        let end = head + 1;
        let mut this = Self { room, floor, indexed, end, next: None, found: VecDeque::new(), is_complete: false };
        match place {
            Some(place) if place.room == room.id => this.end = end.min(place.seq),
            Some(place) => this.end = this.first_after(connection, place)?,
            None => {}
        }
        Ok(this)
    }

    /// The first message that is not before a place in another room. Times of a room grow with the numbers of its messages.
    fn first_after(&self, connection: &Connection, place: Place) -> rusqlite::Result<u64> {
        let (mut first, mut end) = (self.floor, self.end);
        while first < end {
            let middle = first.midpoint(end);
            if self.place(connection, middle)? < place {
                first = middle + 1;
            } else {
                end = middle;
            }
        }
        Ok(end)
    }

    /// The place of the last message, whether it matches or not. `None` if there is no message.
    fn last(&self, connection: &Connection) -> rusqlite::Result<Option<Place>> {
        if self.end <= self.floor { Ok(None) } else { self.place(connection, self.end - 1).map(Some) }
    }

    fn place(&self, connection: &Connection, seq: u64) -> rusqlite::Result<Place> {
        let mut select = connection.prepare_cached("SELECT at FROM messages WHERE room = ?1 AND seq = ?2")?;
        let at = select.query_row(params![self.room.number, seq as i64], |row| row.get::<_, i64>(0))?;
        Ok(Place { at: at as u64, room: self.room.id, seq })
    }

    fn read(&self, connection: &Connection, seq: u64) -> rusqlite::Result<Message> {
        let mut select = connection.prepare_cached(select_messages!("WHERE room = ?1 AND seq = ?2"))?;
        select.query_row(params![self.room.number, seq as i64], |row| message(connection, self.room, row))
    }

    /// The next candidate.
    fn advance(&mut self, index: &Index<'_>) -> rusqlite::Result<Option<u64>> {
        if self.end > self.floor.max(self.indexed + 1) {
            self.end -= 1;
            return Ok(Some(self.end));
        }
        if self.found.is_empty() && !self.is_complete {
            let select = "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid > ?2 AND rowid < ?3 \
                 ORDER BY rowid DESC LIMIT ?4";
            let first = rowid(self.room.number, 0);
            let mut select = index.connection.prepare_cached(select)?;
            let end = rowid(self.room.number, self.end);
            let found = select.query_map(params![index.expression, first, end, index.batch as i64], |row| {
                Ok((row.get::<_, i64>(0)? - first) as u64)
            })?;
            self.found = found.collect::<rusqlite::Result<_>>()?;
            self.is_complete = self.found.len() < index.batch;
        }
        let next = self.found.pop_front();
        self.end = next.unwrap_or(self.end);
        Ok(next)
    }
}

/// The results of a search so far.
struct Results<'a> {
    query: &'a Query,
    limit: usize,
    ack: SearchAck,
    /// The size of the messages that were found.
    bytes: usize,
    /// The messages that were read, and the size of their texts.
    examined: (usize, usize),
}

impl Results<'_> {
    /// Examines the next older message. Returns false if it matches and there is no room for it.
    fn examine(&mut self, message: Message) -> bool {
        self.examined = (self.examined.0 + 1, self.examined.1 + message.text.len());
        if let Some(marks) = self.query.find(&message.text) {
            self.bytes += encoded_bytes(&message) + marks.len() * 32;
            let is_first = self.ack.found.is_empty();
            if !is_first && (self.ack.found.len() == self.limit || self.bytes > MAX_HISTORY_BYTES) {
                return false;
            }
            self.ack.found.push(Found { message, marks, name: None });
        }
        true
    }

    fn is_exhausted(&self) -> bool {
        self.examined.0 >= EXAMINED_MESSAGES || self.examined.1 >= EXAMINED_BYTES
    }

    /// The next search goes on with the message at a place.
    fn stop_at(&mut self, place: Place) {
        self.ack.before = Some(Place { seq: place.seq + 1, ..place });
    }
}
