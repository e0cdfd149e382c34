//! The frames of one outbox.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;

use super::Delivery;
use super::budget::{Budget, Charge};
use crate::protocol::CloseCode;

/// The limits of an outbox. A peer that exceeds them is a slow consumer.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// The number of frames.
    pub frames: usize,
    /// The bytes of all frames together.
    pub bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<Utf8Bytes>,
    /// The subjects of the frames that may be replaced, and their positions in `frames`.
    subjects: Vec<(u64, usize)>,
    /// The frames that are encoded when they are taken. An empty frame keeps the position of each.
    deferred: Vec<Deferred>,
    bytes: usize,
    /// The number of frames at the front that were put back.
    put_back: usize,
    pub(super) closing: Option<CloseCode>,
    /// A flusher or the connection's task is about to take the frames.
    pub(super) is_announced: bool,
    /// The peer did not take what was written last.
    pub(super) is_stuck: bool,
}

/// A frame that is encoded when it is taken.
pub(super) struct Deferred {
    index: usize,
    encode: Box<dyn FnOnce() -> String + Send>,
    /// For what it holds until it is encoded.
    charge: Charge,
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Queue {
    /// A queue that takes nothing more, because the connection is about to be closed.
    pub(super) fn closed(code: CloseCode) -> Self {
        Self { closing: Some(code), ..Self::default() }
    }

    /// Returns whether a frame of this size exceeds the limits. A queue that is empty takes any frame.
    pub(super) fn is_full_for(&self, size: usize, limits: OutboxLimits) -> bool {
        !self.frames.is_empty()
            && (self.frames.len() - self.put_back >= limits.frames || self.bytes + size > limits.bytes)
    }

    /// Returns whether the queue holds more than this part of the limits.
    pub(super) fn exceeds(&self, part: usize, limits: OutboxLimits) -> bool {
        self.frames.len() > limits.frames / part || self.bytes > limits.bytes / part
    }

    pub(super) fn add(&mut self, frame: Utf8Bytes, delivery: Delivery) {
        match delivery {
            Delivery::Coalesced(subject) | Delivery::Volatile(subject) => {
                self.subjects.push((subject, self.frames.len()));
            }
            Delivery::Reliable => {}
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    pub(super) fn add_deferred(&mut self, size: usize, encode: Box<dyn FnOnce() -> String + Send>, charge: Charge) {
        self.deferred.push(Deferred { index: self.frames.len(), encode, charge });
        self.bytes += size;
        self.frames.push_back(Utf8Bytes::default());
    }

    /// Removes the frame on this subject, if one is queued.
    pub(super) fn remove(&mut self, subject: u64) {
        let Some(found) = self.subjects.iter().position(|(other, _)| *other == subject) else { return };
        let (_, index) = self.subjects.swap_remove(found);
        self.bytes -= self.frames.remove(index).map_or(0, |frame| frame.len());
        let subjects = self.subjects.iter_mut().map(|(_, index)| index);
        let deferred = self.deferred.iter_mut().map(|deferred| &mut deferred.index);
        subjects.chain(deferred).filter(|other| **other > index).for_each(|other| *other -= 1);
    }

    /// The memory that the queue holds, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.frames.capacity() * size_of::<Utf8Bytes>()
    }

    /// Puts frames that could not be written back to the front. They cannot be replaced any more. A queue that is too
    /// full afterwards is closed.
    pub(super) fn put_back(&mut self, rest: &mut VecDeque<Utf8Bytes>, limits: OutboxLimits) {
        if rest.is_empty() || self.closing == Some(CloseCode::SlowConsumer) {
            return;
        }
        let count = rest.len();
        self.bytes += rest.iter().map(|frame| frame.len()).sum::<usize>();
        let subjects = self.subjects.iter_mut().map(|(_, index)| index);
        let deferred = self.deferred.iter_mut().map(|deferred| &mut deferred.index);
        subjects.chain(deferred).for_each(|index| *index += count);
        rest.append(&mut self.frames);
        std::mem::swap(&mut self.frames, rest);
        self.put_back = count;
        if self.frames.len() > count && self.bytes > limits.bytes {
            *self = Self::closed(CloseCode::SlowConsumer);
        }
    }

    /// Moves all frames into an empty queue. Those that are returned have to be encoded.
    pub(super) fn take_into(&mut self, taken: &mut VecDeque<Utf8Bytes>) -> Vec<Deferred> {
        std::mem::swap(&mut self.frames, taken);
        self.subjects.clear();
        (self.bytes, self.put_back) = (0, 0);
        (self.is_announced, self.is_stuck) = (false, false);
        std::mem::take(&mut self.deferred)
    }
}

impl Deferred {
    /// Encodes the frame into its position.
    pub(super) fn encode_into(self, taken: &mut VecDeque<Utf8Bytes>, budget: &Arc<Budget>) {
        if let Some(frame) = taken.get_mut(self.index) {
            *frame = budget.frame((self.encode)());
        }
        drop(self.charge);
    }
}
