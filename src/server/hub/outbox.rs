//! What waits to be written to one connection: bounded, and shared bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;

use crate::protocol::CloseCode;

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

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Utf8Bytes>,
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
    pub fn push(&self, frame: Utf8Bytes) {
        let mut queue = self.lock();
        if queue.closing.is_some() {
            return;
        }
        let full = queue.frames.len() >= self.limits.frames || queue.bytes + frame.len() > self.limits.bytes;
        if full && !queue.frames.is_empty() {
            *queue = Queue { closing: Some(CloseCode::SlowConsumer), ..Queue::default() };
        } else {
            queue.bytes += frame.len();
            queue.frames.push_back(frame);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(frames: usize, bytes: usize) -> Arc<Outbox> {
        Outbox::new(OutboxLimits { frames, bytes })
    }

    #[test]
    fn frames_come_out_in_order_until_one_too_many_closes() {
        let outbox = outbox(2, 100);
        outbox.push("a".into());
        outbox.push("b".into());
        let waiting = outbox.take();
        assert_eq!(waiting.frames, ["a", "b"]);
        assert_eq!(waiting.close, None);
        for frame in ["c", "d", "e", "f"] {
            outbox.push(frame.into());
        }
        let waiting = outbox.take();
        assert!(waiting.frames.is_empty(), "what cannot be written whole is not written in part");
        assert_eq!(waiting.close, Some(CloseCode::SlowConsumer));
    }

    #[test]
    fn bytes_are_bounded_but_an_empty_outbox_takes_any_frame() {
        let outbox = outbox(10, 3);
        outbox.push("more than three".into());
        assert_eq!(outbox.take().frames.len(), 1);
        outbox.push("12".into());
        outbox.push("34".into());
        assert_eq!(outbox.take().close, Some(CloseCode::SlowConsumer));
    }

    #[test]
    fn what_waits_is_written_before_a_close() {
        let outbox = outbox(10, 100);
        outbox.push("last words".into());
        outbox.close(CloseCode::Restarting);
        outbox.close(CloseCode::Internal);
        outbox.push("too late".into());
        let waiting = outbox.take();
        assert_eq!((waiting.frames.len(), waiting.close), (1, Some(CloseCode::Restarting)));
    }
}
