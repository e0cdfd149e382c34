//! What is written down of a run: what each page wanted, sent, was told and showed, and what became
//! durable. The checker sees nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use noom::client::session::{Ask, Change};
use noom::protocol::{ClientFrame, Message, ServerFrame};

/// One life of a page, from its load to a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(pub u64);

#[derive(Clone, Debug)]
pub enum Record {
    /// A database came into use under this epoch, with these messages.
    Epoch { epoch: String, logs: BTreeMap<String, Vec<Arc<Message>>> },
    /// A message became durable.
    Committed(Arc<Message>),
    /// A connection reached a server.
    Accepted { conn: u64, epoch: String },
    /// A page was loaded, with these latest messages of a room.
    Loaded { page: Life, room: String, epoch: String, messages: Vec<Message> },
    /// Somebody wanted something.
    Asked { page: Life, ask: Ask },
    /// A page sent a frame.
    Sent { page: Life, conn: u64, frame: ClientFrame },
    /// A page received a frame.
    Heard { page: Life, conn: u64, frame: ServerFrame },
    /// A page was told to show something.
    Saw { page: Life, change: Change },
    /// A page was closed.
    Gone(Life),
    /// Something was broken.
    Fault(String),
    /// The run is over. What the database holds.
    Ended { logs: BTreeMap<String, Vec<Arc<Message>>> },
}

#[derive(Debug, Default)]
pub struct History {
    /// With the time, in microseconds.
    pub records: Vec<(u64, Record)>,
}

impl History {
    pub fn add(&mut self, now: u64, record: Record) {
        self.records.push((now, record));
    }

    /// The last records up to a place, a line each.
    pub fn tail(&self, until: usize, lines: usize) -> String {
        let until = (until + 1).min(self.records.len());
        let records = &self.records[until.saturating_sub(lines)..until];
        records.iter().map(|(at, record)| format!("{:>11.6}  {record}\n", *at as f64 / 1e6)).collect()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch { epoch, logs } => write!(f, "database of epoch {epoch} with {} rooms", logs.len()),
            Self::Committed(message) => write!(f, "durable        {} {} {}", message.room, message.seq, message.key),
            Self::Accepted { conn, epoch } => write!(f, "connection {conn} accepted in epoch {epoch}"),
            Self::Loaded { page, room, messages, .. } => {
                let seqs = (messages.first().map(|m| m.seq), messages.last().map(|m| m.seq));
                write!(f, "page {} loaded with {room} {seqs:?}", page.0)
            }
            Self::Asked { page, ask } => write!(f, "page {} wants    {}", page.0, short(&format!("{ask:?}"))),
            Self::Sent { page, conn, frame } => write!(f, "page {} sends {conn}> {}", page.0, short(&frame.encode())),
            Self::Heard { page, conn, frame } => write!(f, "page {} hears {conn}< {}", page.0, short(&frame.encode())),
            Self::Saw { page, change } => write!(f, "page {} shows    {}", page.0, short(&format!("{change:?}"))),
            Self::Gone(page) => write!(f, "page {} closed", page.0),
            Self::Fault(what) => write!(f, "--- {what}"),
            Self::Ended { .. } => f.write_str("the end"),
        }
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(150) {
        Some((at, _)) => format!("{} …", &text[..at]),
        None => text.to_owned(),
    }
}
