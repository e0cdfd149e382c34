//! Writes an export piece by piece.

use super::about::About;
use super::format::Format;
use super::{html, json_lines};
use crate::protocol::Message;

/// An export that is being written: its beginning, each message, its end.
#[derive(Debug)]
pub(in crate::server) struct Document {
    format: Format,
    about: About,
    /// Messages so far.
    count: u64,
    previous: Option<Message>,
}

impl Document {
    /// Nothing is written yet.
    pub(in crate::server) fn new(format: Format, about: About) -> Self {
        Self { format, about, count: 0, previous: None }
    }

    /// Appends what comes before the first message.
    pub(in crate::server) fn begin(&self, out: &mut String) {
        match self.format {
            Format::Jsonl => json_lines::begin(&self.about, out),
            Format::Html => html::begin(&self.about, out),
        }
    }

    /// Appends the next message.
    pub(in crate::server) fn message(&mut self, message: &Message, out: &mut String) {
        match self.format {
            Format::Jsonl => json_lines::message(message, out),
            Format::Html => {
                html::message(&self.about, self.previous.as_ref(), message, out);
                self.previous = Some(message.clone());
            }
        }
        self.count += 1;
    }

    /// Appends what comes after the last message: the proof that the file is complete.
    pub(in crate::server) fn end(&self, out: &mut String) {
        match self.format {
            Format::Jsonl => json_lines::end(self.count, out),
            Format::Html => html::end(&self.about, self.count, out),
        }
    }
}
