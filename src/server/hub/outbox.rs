//! What waits to be written to one connection: bounded, and shared bytes.
//!
//! An outbox that has a line is written by a [`Flusher`], many in a row: to wake up a task for each would cost as
//! much as the writing. While one is written, more gathers for the others. The rest, and whoever does not read fast
//! enough, are the affair of their own tasks.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{Notify, watch};

use super::account::lock;
use crate::protocol::{CloseCode, ServerFrame, UserId};

/// An outbox that is filled to this part of what it may hold fills too fast.
const FILLING: usize = 4;
/// After so many connections a flusher lets others have its thread.
const AT_A_TIME: usize = 32;
/// So many places for frames are kept for use again. More were for a burst, and are given back.
const PLACES_KEPT: usize = 64;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Frames.
    pub frames: usize,
    /// Bytes of all frames together.
    pub bytes: usize,
}

/// What frames can be written to by anybody, at once.
pub trait WriteNow: fmt::Debug + Send + Sync {
    /// Writes frames, after what it still keeps of earlier ones. Keeps what the peer does not take now, and says
    /// whether that is nothing.
    fn write_now(&self, frames: &VecDeque<Utf8Bytes>) -> bool;
}

/// The sending half of a connection, shared by everything that has something to tell it.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    queue: Mutex<Queue>,
    /// Wakes the connection's task.
    wake: Notify,
    line: OnceLock<Line>,
}

/// How an outbox is written without its connection's task.
#[derive(Debug)]
struct Line {
    /// Held from the taking of frames until they are written, so that they keep their order. Nothing after the end:
    /// outboxes outlive their connections in rooms and queues, sockets must not.
    to: Mutex<Option<Arc<dyn WriteNow>>>,
    flusher: Arc<Flusher>,
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
    /// Whether somebody is about to write already.
    is_announced: bool,
    /// Whether the peer did not take what was written last.
    is_stuck: bool,
}

/// What [`Outbox::take`] found.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Frames to write, in order. None where a line writes them.
    pub frames: VecDeque<Utf8Bytes>,
    /// Whether the line keeps something that the peer does not take yet.
    pub is_kept: bool,
    /// Close with this afterwards.
    pub close: Option<CloseCode>,
}

impl Waiting {
    /// Whether nothing is left to write.
    pub fn is_nothing(&self) -> bool {
        self.frames.is_empty() && !self.is_kept
    }
}

impl Outbox {
    /// An empty outbox.
    pub fn new(limits: OutboxLimits) -> Arc<Self> {
        Arc::new(Self { limits, queue: Mutex::default(), wake: Notify::new(), line: OnceLock::new() })
    }

    /// Lets a flusher write it, from now on. Once only.
    pub fn connect(&self, to: Arc<dyn WriteNow>, flusher: Arc<Flusher>) {
        let _ = self.line.set(Line { to: Mutex::new(Some(to)), flusher });
    }

    /// Adds a frame. An outbox that has no room for it closes the connection as a slow consumer
    /// instead: the reader can resume, and nothing is missing from the middle. A frame that finds
    /// the outbox empty is always taken.
    pub fn push(self: &Arc<Self>, frame: Utf8Bytes, waits: Waits) {
        let mut queue = lock(&self.queue);
        if queue.closing.is_some() {
            return;
        }
        if let Waits::Latest(subject) | Waits::Hint(subject) = waits {
            queue.remove(subject);
        }
        let full = queue.frames.len() >= self.limits.frames || queue.bytes + frame.len() > self.limits.bytes;
        if full && !queue.frames.is_empty() {
            if !matches!(waits, Waits::Hint(_)) {
                *queue = Queue { closing: Some(CloseCode::SlowConsumer), ..Queue::default() };
                drop(queue);
                self.wake.notify_one();
            }
            return;
        }
        queue.add(frame, waits);
        let is_filling = queue.frames.len() > self.limits.frames / FILLING || queue.bytes > self.limits.bytes / FILLING;
        // Whoever does not read is not the flusher's affair.
        let lags = is_filling && !queue.is_stuck;
        let line = self.line.get();
        if let Some(line) = line.filter(|_| lags) {
            // Before these frames can be taken, so that the pass that takes them says last that it is over.
            line.flusher.set_behind(true);
        }
        if std::mem::replace(&mut queue.is_announced, true) {
            return;
        }
        drop(queue);
        match line {
            Some(line) => line.flusher.announce(self.clone()),
            None => self.wake.notify_one(),
        }
    }

    /// Asks for the connection to be closed after what waits now. The first reason stands.
    pub fn close(&self, code: CloseCode) {
        lock(&self.queue).closing.get_or_insert(code);
        self.wake.notify_one();
    }

    /// Takes everything that waits. Where there is a line, it is written there at once.
    pub fn take(&self) -> Waiting {
        let mut frames = VecDeque::new();
        match self.line.get() {
            None => {
                let close = self.take_into(&mut frames);
                Waiting { frames, is_kept: false, close }
            }
            Some(line) => {
                let (is_written, close) = self.write_to(line, &mut frames);
                Waiting { frames, is_kept: !is_written, close }
            }
        }
    }

    /// Writes what waits to the line, through a queue that is empty before and afterwards. Says whether the peer took
    /// everything, and whether the connection is to be closed afterwards.
    fn write_to(&self, line: &Line, taken: &mut VecDeque<Utf8Bytes>) -> (bool, Option<CloseCode>) {
        let to = lock(&line.to);
        let close = self.take_into(taken);
        let is_written = to.as_ref().is_none_or(|to| to.write_now(taken));
        taken.clear();
        taken.shrink_to(PLACES_KEPT);
        if !is_written {
            // Its task is about to.
            let mut queue = lock(&self.queue);
            (queue.is_announced, queue.is_stuck) = (true, true);
        }
        (is_written, close)
    }

    fn take_into(&self, taken: &mut VecDeque<Utf8Bytes>) -> Option<CloseCode> {
        let mut queue = lock(&self.queue);
        std::mem::swap(&mut queue.frames, taken);
        queue.subjects.clear();
        queue.bytes = 0;
        (queue.is_announced, queue.is_stuck) = (false, false);
        queue.closing
    }

    /// Writes what waits to the line, for a flusher. When the peer does not take it, its task has to wait for that.
    fn flush(&self, taken: &mut VecDeque<Utf8Bytes>) {
        let Some(line) = self.line.get() else { return };
        // Announced while it was found that the peer takes nothing: its task waits for that already.
        if lock(&self.queue).is_stuck {
            return;
        }
        if !self.write_to(line, taken).0 {
            self.wake.notify_one();
        }
    }

    /// Throws away what waits, and lets go of the line. When this returns, nobody writes any more, nor will.
    pub fn end(&self) {
        if let Some(line) = self.line.get() {
            *lock(&line.to) = None;
        }
        let mut queue = lock(&self.queue);
        let closing = queue.closing.or(Some(CloseCode::Internal));
        *queue = Queue { closing, ..Queue::default() };
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
            if lock(&self.queue).closing == Some(CloseCode::SlowConsumer) {
                return;
            }
            woken.await;
        }
    }
}

/// Writes to connections whose outboxes have something, one after the other.
#[derive(Debug, Default)]
pub struct Flusher {
    announced: Mutex<Vec<Link>>,
    wake: Notify,
    behind: watch::Sender<bool>,
}

impl Flusher {
    fn announce(&self, link: Link) {
        let mut announced = lock(&self.announced);
        announced.push(link);
        let is_first = announced.len() == 1;
        drop(announced);
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Waits while outboxes fill faster than they are written. Whoever is about to say more waits for this, so that
    /// those who read as fast as they can are not closed as if they did not.
    pub async fn caught_up(&self) {
        if *self.behind.borrow() {
            // The sender is here, so this cannot fail.
            let _ = self.behind.subscribe().wait_for(|is_behind| !is_behind).await;
        }
    }

    fn set_behind(&self, is_behind: bool) {
        self.behind.send_if_modified(|was| std::mem::replace(was, is_behind) != is_behind);
    }

    /// Writes for ever.
    pub async fn run(&self) {
        let (mut links, mut taken) = (Vec::new(), VecDeque::new());
        loop {
            self.wake.notified().await;
            std::mem::swap(&mut *lock(&self.announced), &mut links);
            for (index, link) in links.drain(..).enumerate() {
                let written = catch_unwind(AssertUnwindSafe(|| link.flush(&mut taken)));
                if written.is_err() {
                    // It has been counted and logged; the others go on.
                    taken.clear();
                    link.close(CloseCode::Internal);
                }
                if index % AT_A_TIME == AT_A_TIME - 1 {
                    tokio::task::yield_now().await;
                }
            }
            // What fills now is found by the next to push there.
            self.set_behind(false);
        }
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
    use std::sync::atomic::Ordering::Relaxed;

    use futures::FutureExt;

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

    #[derive(Debug, Default)]
    struct Paper {
        written: Mutex<Vec<String>>,
        is_full: std::sync::atomic::AtomicBool,
        is_broken: std::sync::atomic::AtomicBool,
    }

    impl WriteNow for Paper {
        fn write_now(&self, frames: &VecDeque<Utf8Bytes>) -> bool {
            assert!(!self.is_broken.load(Relaxed), "boom");
            lock(&self.written).extend(frames.iter().map(ToString::to_string));
            !self.is_full.load(Relaxed)
        }
    }

    #[test]
    fn a_flusher_writes_in_order_and_leaves_whoever_reads_slowly_to_their_task() {
        let (paper, flusher) = (Arc::<Paper>::default(), Arc::<Flusher>::default());
        let outbox = outbox(2, 100);
        outbox.connect(paper.clone(), flusher.clone());
        outbox.push("a".into(), Waits::Whole);
        outbox.push("b".into(), Waits::Whole);
        assert!(flusher.run().now_or_never().is_none(), "it waits for more");
        assert_eq!(*lock(&paper.written), ["a", "b"]);
        assert!(outbox.ready().now_or_never().is_none(), "its task has nothing to do");

        paper.is_full.store(true, Relaxed);
        outbox.push("c".into(), Waits::Whole);
        assert!(flusher.run().now_or_never().is_none());
        assert!(outbox.ready().now_or_never().is_some(), "its task has to wait for the peer");
        for frame in ["d", "e", "f"] {
            outbox.push(frame.into(), Waits::Whole);
        }
        assert!(flusher.run().now_or_never().is_none());
        assert_eq!(*lock(&paper.written), ["a", "b", "c"], "nothing is missing from the middle");
        assert_eq!(outbox.take().close, Some(CloseCode::SlowConsumer));
    }

    #[test]
    fn what_a_peer_does_not_take_is_not_done_and_after_the_end_nothing_is_written() {
        let (paper, flusher) = (Arc::<Paper>::default(), Arc::<Flusher>::default());
        let outbox = outbox(10, 100);
        outbox.connect(paper.clone(), flusher.clone());
        paper.is_full.store(true, Relaxed);
        outbox.push("a".into(), Waits::Whole);
        let waiting = outbox.take();
        assert!(waiting.frames.is_empty() && !waiting.is_nothing(), "the line keeps it");
        paper.is_full.store(false, Relaxed);
        assert!(outbox.take().is_nothing());
        outbox.push("b".into(), Waits::Whole);
        outbox.end();
        outbox.push("c".into(), Waits::Whole);
        assert!(flusher.run().now_or_never().is_none());
        assert_eq!(*lock(&paper.written), ["a"]);
        assert_eq!(Arc::strong_count(&paper), 1, "whoever still has the outbox does not keep the socket");
    }

    #[test]
    fn who_speaks_waits_while_outboxes_fill_but_not_for_one_who_does_not_read() {
        let (paper, flusher) = (Arc::<Paper>::default(), Arc::<Flusher>::default());
        let (reads, stuck) = (outbox(8, 100), outbox(8, 100));
        reads.connect(paper.clone(), flusher.clone());
        let full = Arc::<Paper>::default();
        full.is_full.store(true, Relaxed);
        stuck.connect(full, flusher.clone());
        stuck.push("a".into(), Waits::Whole);
        assert!(flusher.run().now_or_never().is_none());
        for _ in 0..5 {
            stuck.push("b".into(), Waits::Whole);
        }
        assert!(flusher.caught_up().now_or_never().is_some(), "nobody waits for one who does not read");
        for _ in 0..3 {
            assert!(flusher.caught_up().now_or_never().is_some());
            reads.push("c".into(), Waits::Whole);
        }
        assert!(flusher.caught_up().now_or_never().is_none());
        assert!(flusher.run().now_or_never().is_none());
        assert!(flusher.caught_up().now_or_never().is_some(), "what waited is written");
        assert_eq!(lock(&paper.written).len(), 3);
    }

    #[test]
    fn a_line_that_panics_is_closed_and_the_others_are_written() {
        let (broken, paper, flusher) = (Arc::<Paper>::default(), Arc::<Paper>::default(), Arc::<Flusher>::default());
        broken.is_broken.store(true, Relaxed);
        let (first, second) = (outbox(10, 100), outbox(10, 100));
        first.connect(broken, flusher.clone());
        second.connect(paper.clone(), flusher.clone());
        first.push("a".into(), Waits::Whole);
        second.push("b".into(), Waits::Whole);
        assert!(flusher.run().now_or_never().is_none());
        assert_eq!(lock(&first.queue).closing, Some(CloseCode::Internal));
        assert_eq!(*lock(&paper.written), ["b"]);
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
