//! What waits to be written to one connection: bounded, and shared bytes.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;

use crate::protocol::{CloseCode, ServerFrame, UserId};

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Frames.
    pub frames: usize,
    /// Bytes of all frames together.
    pub bytes: usize,
}

/// The sending half of a connection, shared by everything that has something to tell it.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    queue: Mutex<Queue>,
    wake: Notify,
}

/// A connection's outbox, as rooms hold it.
pub type Link = Arc<Outbox>;

/// What may happen to a frame while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Nothing: it is written, or the connection is closed.
    Whole,
    /// A later one on the same subject takes its place.
    Latest(u64),
    /// The same, and where there is no room it is left out: nobody misses it.
    Hint(u64),
}

impl Waits {
    /// What may happen to this frame.
    pub fn of(frame: &ServerFrame) -> Self {
        let subject = |kind: &str, room: &str, user: Option<UserId>| {
            let mut hasher = DefaultHasher::new();
            (kind, room, user).hash(&mut hasher);
            hasher.finish()
        };
        match frame {
            ServerFrame::Welcome(presence) | ServerFrame::Bye(presence) => {
                Self::Latest(subject("presence", &presence.room, Some(presence.user.id)))
            }
            ServerFrame::RoomChange(_) => Self::Latest(subject("rooms", "", None)),
            ServerFrame::Typing(typing) => Self::Hint(subject("typing", &typing.room, Some(typing.user.id))),
            _ => Self::Whole,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Utf8Bytes>,
    /// The subjects of those frames that may be replaced, and where these stand.
    subjects: Vec<(u64, usize)>,
    bytes: usize,
    closing: Option<CloseCode>,
}

/// What [`Outbox::take`] found.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Frames to write, in order.
    pub frames: VecDeque<Utf8Bytes>,
    /// Close with this afterwards.
    pub close: Option<CloseCode>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(limits: OutboxLimits) -> Arc<Self> {
        Arc::new(Self { limits, queue: Mutex::default(), wake: Notify::new() })
    }

    /// Adds a frame. An outbox that has no room for it closes the connection as a slow consumer
    /// instead: the reader can resume, and nothing is missing from the middle. A frame that finds
    /// the outbox empty is always taken.
    pub fn push(&self, frame: Utf8Bytes, waits: Waits) {
        let mut queue = self.lock();
        if queue.closing.is_some() {
            return;
        }
        if let Waits::Latest(subject) | Waits::Hint(subject) = waits {
            queue.remove(subject);
        }
        let full = queue.frames.len() >= self.limits.frames || queue.bytes + frame.len() > self.limits.bytes;
        if !full || queue.frames.is_empty() {
            queue.add(frame, waits);
        } else if matches!(waits, Waits::Hint(_)) {
            return;
        } else {
            *queue = Queue { closing: Some(CloseCode::SlowConsumer), ..Queue::default() };
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Asks for the connection to be closed after what waits now. The first reason stands.
    pub fn close(&self, code: CloseCode) {
        self.lock().closing.get_or_insert(code);
        self.wake.notify_one();
    }

    /// Takes everything that waits.
    pub fn take(&self) -> Waiting {
        let mut queue = self.lock();
        queue.bytes = 0;
        queue.subjects.clear();
        Waiting { frames: std::mem::take(&mut queue.frames), close: queue.closing }
    }

    /// Waits until there may be something to take.
    pub async fn ready(&self) {
        self.wake.notified().await;
    }

    /// Waits until the outbox has overflowed. What was woken up for otherwise must be looked for
    /// with [`Outbox::take`] afterwards.
    pub async fn overflowed(&self) {
        loop {
            let woken = self.wake.notified();
            if self.lock().closing == Some(CloseCode::SlowConsumer) {
                return;
            }
            woken.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics half-way: a poisoned queue is a whole one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn add(&mut self, frame: Utf8Bytes, waits: Waits) {
        if let Waits::Latest(subject) | Waits::Hint(subject) = waits {
            self.subjects.push((subject, self.frames.len()));
        }
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Takes out the frame on this subject, if one waits.
    fn remove(&mut self, subject: u64) {
        let Some(found) = self.subjects.iter().position(|(other, _)| *other == subject) else { return };
        let (_, index) = self.subjects.swap_remove(found);
        self.bytes -= self.frames.remove(index).map_or(0, |frame| frame.len());
        self.subjects.iter_mut().filter(|(_, other)| *other > index).for_each(|(_, other)| *other -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(frames: usize, bytes: usize) -> Arc<Outbox> {
        Outbox::new(OutboxLimits { frames, bytes })
    }

    #[test]
    fn frames_come_out_in_order_until_one_too_many_closes() {
        let outbox = outbox(2, 100);
        outbox.push("a".into(), Waits::Whole);
        outbox.push("b".into(), Waits::Whole);
        let waiting = outbox.take();
        assert_eq!(waiting.frames, ["a", "b"]);
        assert_eq!(waiting.close, None);
        for frame in ["c", "d", "e", "f"] {
            outbox.push(frame.into(), Waits::Whole);
        }
        let waiting = outbox.take();
        assert!(waiting.frames.is_empty(), "what cannot be written whole is not written in part");
        assert_eq!(waiting.close, Some(CloseCode::SlowConsumer));
    }

    #[test]
    fn of_what_may_be_replaced_only_the_last_waits_and_the_rest_keeps_its_order() {
        let outbox = outbox(3, 100);
        outbox.push("Ann came".into(), Waits::Latest(1));
        outbox.push("a message".into(), Waits::Whole);
        outbox.push("Bob came".into(), Waits::Latest(2));
        for frame in ["Ann left", "Ann came again"] {
            outbox.push(frame.into(), Waits::Latest(1));
        }
        outbox.push("Bob left".into(), Waits::Latest(2));
        let waiting = outbox.take();
        assert_eq!(waiting.frames, ["a message", "Ann came again", "Bob left"]);
        outbox.push("Ann left".into(), Waits::Latest(1));
        assert_eq!(outbox.take().frames, ["Ann left"], "what was written is not replaced");
    }

    #[test]
    fn a_hint_is_left_out_rather_than_close_a_slow_reader() {
        let outbox = outbox(2, 100);
        outbox.push("a".into(), Waits::Whole);
        outbox.push("Ann writes".into(), Waits::Hint(1));
        outbox.push("Bob writes".into(), Waits::Hint(2));
        outbox.push("Ann writes on".into(), Waits::Hint(1));
        let waiting = outbox.take();
        assert_eq!((waiting.frames.len(), waiting.close), (2, None));
        assert_eq!(waiting.frames[1], "Ann writes on");
    }

    #[test]
    fn bytes_are_bounded_but_an_empty_outbox_takes_any_frame() {
        let outbox = outbox(10, 3);
        outbox.push("more than three".into(), Waits::Whole);
        assert_eq!(outbox.take().frames.len(), 1);
        outbox.push("12".into(), Waits::Whole);
        outbox.push("34".into(), Waits::Whole);
        assert_eq!(outbox.take().close, Some(CloseCode::SlowConsumer));
    }

    #[test]
    fn what_waits_is_written_before_a_close() {
        let outbox = outbox(10, 100);
        outbox.push("last words".into(), Waits::Whole);
        outbox.close(CloseCode::Restarting);
        outbox.close(CloseCode::Internal);
        outbox.push("too late".into(), Waits::Whole);
        let waiting = outbox.take();
        assert_eq!((waiting.frames.len(), waiting.close), (1, Some(CloseCode::Restarting)));
    }
}
