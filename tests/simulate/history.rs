//! The record of a run: the intents of each page, the frames it sent and received, what it showed, and
//! what became durable. It is the checker's only input.

use std::fmt;
use std::sync::Arc;

use noom::client::session::{Intent, Update};
use noom::protocol::{ClientFrame, Message, MessageChange, RoomId, ServerFrame, UserId};

/// Identifies a page from its load to the next reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageId(pub u64);

/// A room in the database.
#[derive(Clone, Debug)]
pub struct StoredRoom {
    pub id: RoomId,
    /// The canonical name.
    pub name: String,
    /// The first message that has not expired.
    pub floor: u64,
    /// All messages, with those that have expired.
    pub log: Vec<Arc<Message>>,
}

#[derive(Clone, Debug)]
pub enum Record {
    /// A server started with a database of this epoch and these rooms.
    Epoch { epoch: String, rooms: Vec<StoredRoom> },
    /// A message became durable.
    Committed(Arc<Message>),
    /// A change of a message became durable.
    Changed(Arc<MessageChange>),
    /// The messages of a room before `floor` have expired.
    Expired { room: RoomId, floor: u64 },
    /// It became durable that the messages of a user in a room are to be removed, up to a position.
    PurgeRequested { room: RoomId, user: UserId, up_to: u64 },
    /// A server accepted a connection.
    Accepted { conn: u64, epoch: String },
    /// A page was loaded with the latest messages of a room. Without an id, the room did not exist.
    Loaded { page: PageId, id: Option<RoomId>, room: String, epoch: String, messages: Vec<Message> },
    /// A user acted on a page.
    Intended { page: PageId, intent: Intent },
    /// A page sent a frame.
    Sent { page: PageId, conn: u64, frame: ClientFrame },
    /// A page received a frame.
    Received { page: PageId, conn: u64, frame: ServerFrame },
    /// The session told the page to show an update.
    Shown { page: PageId, update: Update },
    /// A page was closed.
    Closed(PageId),
    /// A fault was injected.
    Fault(String),
    /// The run ended with this content of the database.
    Ended { rooms: Vec<StoredRoom> },
}

#[derive(Debug, Default)]
pub struct History {
    /// With their time in microseconds.
    pub records: Vec<(u64, Record)>,
}

impl History {
    pub fn add(&mut self, now: u64, record: Record) {
        self.records.push((now, record));
    }

    /// The last records up to an index, one per line.
    pub fn tail(&self, until: usize, lines: usize) -> String {
        let until = (until + 1).min(self.records.len());
        let records = &self.records[until.saturating_sub(lines)..until];
        records.iter().map(|(at, record)| format!("{:>11.6}  {record}\n", *at as f64 / 1e6)).collect()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { epoch, rooms } => write!(f, "database of epoch {epoch} with {} rooms", rooms.len()),
            Self::Committed(message) => write!(f, "durable        {} {} {}", message.room, message.seq, message.key),
            Self::Changed(change) => {
                write!(f, "durable        {} {} rev {}", change.room, change.seq, change.state.rev)
            }
            Self::Expired { room, floor } => write!(f, "expired        {room} before {floor}"),
            Self::PurgeRequested { room, user, up_to } => write!(f, "to purge       {room} {user} to {up_to}"),
            Self::Accepted { conn, epoch } => write!(f, "connection {conn} accepted in epoch {epoch}"),
            Self::Loaded { page, room, messages, .. } => {
                let seqs = (messages.first().map(|m| m.seq), messages.last().map(|m| m.seq));
                write!(f, "page {} loaded with {room} {seqs:?}", page.0)
            }
            Self::Intended { page, intent } => write!(f, "page {} intends  {}", page.0, short(&format!("{intent:?}"))),
            Self::Sent { page, conn, frame } => write!(f, "page {} sends {conn}> {}", page.0, short(&frame.encode())),
            Self::Received { page, conn, frame } => {
                write!(f, "page {} gets  {conn}< {}", page.0, short(&frame.encode()))
            }
            Self::Shown { page, update } => write!(f, "page {} shows    {}", page.0, short(&format!("{update:?}"))),
            Self::Closed(page) => write!(f, "page {} closed", page.0),
            Self::Fault(what) => write!(f, "--- {what}"),
            Self::Ended { .. } => f.write_str("end of the run"),
        }
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(150) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
