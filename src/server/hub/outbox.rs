//! The sending half of one connection: a bounded queue of encoded frames.
//!
//! The frames of an outbox with a [`DirectSocket`] are written by a [`Flusher`]. The connection's own task writes
//! everything else: frames for connections without such a socket, and for peers that do not read fast enough.

mod budget;
mod delivery;
mod flusher;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;

use crate::protocol::{Ack, CloseCode, ServerFrame};
use crate::server::lock::lock;
pub use budget::Budget;
use budget::{Charge, Debt, Debtor};
pub use delivery::Delivery;
pub use flusher::Flusher;
pub use queue::OutboxLimits;
use queue::Queue;

/// Congestion: the outbox holds more than this part of its limits.
const CONGESTED: usize = 4;
/// The capacity that a queue keeps after a burst, in frames.
const CAPACITY_KEPT: usize = 64;

/// A socket that any thread can write to without waiting.
pub trait DirectSocket: fmt::Debug + Send + Sync {
    /// Takes frames from the front and writes them, after the rest of earlier ones, until the peer does not take more
    /// now. Keeps the rest of what it has taken, and returns its size in bytes.
    fn try_write(&self, frames: &mut VecDeque<Utf8Bytes>) -> usize;
}

/// The sending half of a connection. Everything that sends frames to the connection shares it.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    budget: Arc<Budget>,
    queue: Mutex<Queue>,
    /// The bytes of the frames that the connection's task or the direct socket has taken and is writing.
    in_flight: AtomicUsize,
    /// The part of the budget for the bytes that the direct socket keeps.
    kept: Mutex<Option<Charge>>,
    /// Wakes the connection's task.
    wake: Notify,
    direct: OnceLock<DirectWriter>,
}

/// Writes an outbox without the connection's task.
#[derive(Debug)]
struct DirectWriter {
    /// Locked from the taking of frames until they are written, so that they keep their order. `None` after the end:
    /// outboxes outlive their connections in rooms and queues, sockets must not.
    socket: Mutex<Option<Arc<dyn DirectSocket>>>,
    flusher: Arc<Flusher>,
}

/// The result of [`Outbox::take`].
#[derive(Debug, Default)]
pub struct Waiting {
    /// The frames to write, in order. Empty if there is a direct socket: it has written them.
    pub frames: VecDeque<Utf8Bytes>,
    /// The direct socket keeps bytes that the peer does not take yet.
    pub is_kept: bool,
    /// The code to close the connection with afterwards.
    pub close: Option<CloseCode>,
}

impl Waiting {
    /// Returns whether nothing is left to write.
    pub fn is_nothing(&self) -> bool {
        self.frames.is_empty() && !self.is_kept
    }
}

impl Outbox {
    /// An empty outbox with a budget of its own.
    pub fn new(limits: OutboxLimits) -> Arc<Self> {
        Self::within(limits, &Budget::new(usize::MAX))
    }

    /// An empty outbox that shares a budget with others.
    pub fn within(limits: OutboxLimits, budget: &Arc<Budget>) -> Arc<Self> {
        let outbox = Arc::new(Self {
            limits,
            budget: budget.clone(),
            queue: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            kept: Mutex::default(),
            wake: Notify::new(),
            direct: OnceLock::new(),
        });
        budget.add(Arc::downgrade(&outbox) as Weak<dyn Debtor>);
        outbox
    }

    /// The budget for the memory of this outbox.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Lets a flusher write the frames to a socket, from now on. Only the first call has an effect.
    pub fn connect(&self, socket: Arc<dyn DirectSocket>, flusher: Arc<Flusher>) {
        let _ = self.direct.set(DirectWriter { socket: Mutex::new(Some(socket)), flusher });
    }

    /// Encodes and adds a frame.
    pub fn send(self: &Arc<Self>, frame: &ServerFrame) {
        self.push(self.budget.frame(frame.encode()), Delivery::of(frame));
    }

    /// Answers a command, if it had an id.
    pub fn acknowledge(self: &Arc<Self>, id: Option<u64>, ack: Ack) {
        if let Some(id) = id {
            self.send(&ServerFrame::Ack { id, ack });
        }
    }

    /// Adds an encoded frame. If the outbox is full, the connection is closed as a slow consumer instead: the reader
    /// can resume, and nothing is missing from the middle. An outbox that is empty takes a frame of any size.
    pub fn push(self: &Arc<Self>, frame: Utf8Bytes, delivery: Delivery) {
        self.add(frame.len(), delivery, |queue| queue.add(frame, delivery));
    }

    /// Adds a frame of about this size that is encoded only when it is written, by the task that writes it. It keeps
    /// its position among the other frames.
    pub fn push_deferred(self: &Arc<Self>, size: usize, encode: impl FnOnce() -> String + Send + 'static) {
        let charge = self.budget.charge(size);
        self.add(size, Delivery::Reliable, |queue| queue.add_deferred(size, Box::new(encode), charge));
    }

    fn add(self: &Arc<Self>, size: usize, delivery: Delivery, add: impl FnOnce(&mut Queue)) {
        self.add_to_queue(size, delivery, add);
        self.budget.settle();
    }

    fn add_to_queue(self: &Arc<Self>, size: usize, delivery: Delivery, add: impl FnOnce(&mut Queue)) {
        let mut queue = lock(&self.queue);
        if queue.closing.is_some() {
            return;
        }
        let is_volatile = match delivery {
            Delivery::Reliable => false,
            Delivery::Coalesced(subject) => {
                queue.remove(subject);
                false
            }
            Delivery::Volatile(subject) => {
                queue.remove(subject);
                true
            }
        };
        if queue.is_full_for(size, self.limits) {
            if !is_volatile {
                *queue = Queue::closed(CloseCode::SlowConsumer);
                drop(queue);
                self.wake.notify_one();
            }
            return;
        }
        add(&mut queue);
        let direct = self.direct.get();
        // A peer that does not read is not congestion: a flusher cannot change it.
        let is_congested = queue.exceeds(CONGESTED, self.limits) && !queue.is_stuck;
        if let Some(direct) = direct.filter(|_| is_congested) {
            // Before these frames can be taken, so that the pass that takes them resets it afterwards.
            direct.flusher.set_congested(true);
        }
        if std::mem::replace(&mut queue.is_announced, true) {
            return;
        }
        drop(queue);
        match direct {
            Some(direct) => direct.flusher.announce(self.clone()),
            None => self.wake.notify_one(),
        }
    }

    /// Requests that the connection is closed after the frames that are queued now. The first reason counts.
    pub fn close(&self, code: CloseCode) {
        lock(&self.queue).closing.get_or_insert(code);
        self.wake.notify_one();
    }

    /// Takes all frames. A direct socket writes them at once, as far as the peer reads.
    pub fn take(&self) -> Waiting {
        let mut frames = VecDeque::new();
        match self.direct.get() {
            None => {
                let close = self.take_into(&mut frames);
                self.in_flight.store(frames.iter().map(|frame| frame.len()).sum(), Relaxed);
                Waiting { frames, is_kept: false, close }
            }
            Some(direct) => {
                let (is_written, close) = self.write_to(direct, &mut frames);
                Waiting { frames, is_kept: !is_written, close }
            }
        }
    }

    /// Writes frames to the socket, through a buffer that is empty before and afterwards. Returns whether the peer took
    /// everything, and the code to close the connection with afterwards.
    fn write_to(&self, direct: &DirectWriter, taken: &mut VecDeque<Utf8Bytes>) -> (bool, Option<CloseCode>) {
        let socket = lock(&direct.socket);
        let close = self.take_into(taken);
        let Some(socket) = socket.as_ref() else {
            taken.clear();
            return (true, close);
        };
        let kept = socket.try_write(taken);
        self.set_kept(kept);
        let is_written = kept == 0 && taken.is_empty();
        if !is_written {
            let mut queue = lock(&self.queue);
            queue.put_back(taken, self.limits);
            // The connection's task is about to write the rest.
            (queue.is_announced, queue.is_stuck) = (true, true);
        }
        taken.clear();
        taken.shrink_to(CAPACITY_KEPT);
        (is_written, close)
    }

    /// Counts the bytes that the direct socket keeps.
    fn set_kept(&self, bytes: usize) {
        if self.in_flight.swap(bytes, Relaxed) != bytes {
            let charge = (bytes > 0).then(|| self.budget.charge(bytes));
            *lock(&self.kept) = charge;
        }
    }

    fn take_into(&self, taken: &mut VecDeque<Utf8Bytes>) -> Option<CloseCode> {
        let mut queue = lock(&self.queue);
        let (deferred, closing) = (queue.take_into(taken), queue.closing);
        drop(queue);
        deferred.into_iter().for_each(|frame| frame.encode_into(taken, &self.budget));
        closing
    }

    /// Writes all frames to the socket, for a flusher. If the peer does not take them, the connection's task waits for
    /// it.
    fn flush(&self, taken: &mut VecDeque<Utf8Bytes>) {
        let Some(direct) = self.direct.get() else { return };
        // Announced before it was found that the peer takes nothing: the connection's task waits for that already.
        if lock(&self.queue).is_stuck {
            return;
        }
        if !self.write_to(direct, taken).0 {
            self.wake.notify_one();
        }
    }

    /// Drops all frames and the socket. Nothing is written after this has returned.
    pub fn end(&self) {
        match self.direct.get() {
            Some(direct) => *lock(&direct.socket) = None,
            None => self.in_flight.store(0, Relaxed),
        }
        let mut queue = lock(&self.queue);
        *queue = Queue::closed(queue.closing.unwrap_or(CloseCode::Internal));
    }

    /// Waits until there may be something to take.
    pub async fn ready(&self) {
        self.wake.notified().await;
    }

    /// Waits until the outbox has overflowed. It consumes other wake-ups: call [`Outbox::take`] afterwards.
    pub async fn overflowed(&self) {
        loop {
            let woken = self.wake.notified();
            if lock(&self.queue).closing == Some(CloseCode::SlowConsumer) {
                return;
            }
            woken.await;
        }
    }
}

impl Debtor for Outbox {
    fn debt(&self) -> Debt {
        let queue = lock(&self.queue);
        let in_flight = self.in_flight.load(Relaxed);
        if queue.closing != Some(CloseCode::SlowConsumer) {
            Debt::Open(queue.memory() + in_flight)
        } else if self.direct.get().is_none() {
            // The task drops what it is writing.
            Debt::Closing(in_flight)
        } else {
            // A socket has to write the frame that it has begun, before the close frame.
            Debt::Closing(0)
        }
    }

    fn close(&self) {
        *lock(&self.queue) = Queue::closed(CloseCode::SlowConsumer);
        self.wake.notify_one();
    }
}
