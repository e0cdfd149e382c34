use std::sync::atomic::Ordering::Relaxed;

use futures::FutureExt;

use super::*;

fn outbox(frames: usize, bytes: usize) -> Arc<Outbox> {
    Outbox::new(OutboxLimits { frames, bytes })
}

#[test]
fn frames_keep_their_order_until_overflow_closes() {
    let outbox = outbox(2, 100);
    outbox.push("a".into(), Delivery::Reliable);
    outbox.push("b".into(), Delivery::Reliable);
    let waiting = outbox.take();
    assert_eq!(waiting.frames, ["a", "b"]);
    assert_eq!(waiting.close, None);
    for frame in ["c", "d", "e", "f"] {
        outbox.push(frame.into(), Delivery::Reliable);
    }
    let waiting = outbox.take();
    assert!(waiting.frames.is_empty(), "nothing is written in part");
    assert_eq!(waiting.close, Some(CloseCode::SlowConsumer));
}

#[test]
fn coalesced_frames_keep_only_the_latest_in_order() {
    let outbox = outbox(3, 100);
    outbox.push("Ann came".into(), Delivery::Coalesced(1));
    outbox.push("a message".into(), Delivery::Reliable);
    outbox.push("Bob came".into(), Delivery::Coalesced(2));
    for frame in ["Ann left", "Ann came again"] {
        outbox.push(frame.into(), Delivery::Coalesced(1));
    }
    outbox.push("Bob left".into(), Delivery::Coalesced(2));
    let waiting = outbox.take();
    assert_eq!(waiting.frames, ["a message", "Ann came again", "Bob left"]);
    outbox.push("Ann left".into(), Delivery::Coalesced(1));
    assert_eq!(outbox.take().frames, ["Ann left"], "a frame that was written is not replaced");
}

#[test]
fn volatile_frame_is_dropped_when_full() {
    let outbox = outbox(2, 100);
    outbox.push("a".into(), Delivery::Reliable);
    outbox.push("Ann writes".into(), Delivery::Volatile(1));
    outbox.push("Bob writes".into(), Delivery::Volatile(2));
    outbox.push("Ann writes on".into(), Delivery::Volatile(1));
    let waiting = outbox.take();
    assert_eq!((waiting.frames.len(), waiting.close), (2, None));
    assert_eq!(waiting.frames[1], "Ann writes on");
}

#[test]
fn bytes_are_bounded_but_empty_outbox_takes_any_frame() {
    let outbox = outbox(10, 3);
    outbox.push("more than three".into(), Delivery::Reliable);
    assert_eq!(outbox.take().frames.len(), 1);
    outbox.push("12".into(), Delivery::Reliable);
    outbox.push("34".into(), Delivery::Reliable);
    assert_eq!(outbox.take().close, Some(CloseCode::SlowConsumer));
}

#[derive(Debug, Default)]
struct FakeSocket {
    written: Mutex<Vec<String>>,
    is_full: std::sync::atomic::AtomicBool,
    is_begun: std::sync::atomic::AtomicBool,
    is_broken: std::sync::atomic::AtomicBool,
}

impl DirectSocket for FakeSocket {
    fn try_write(&self, frames: &mut VecDeque<Utf8Bytes>) -> usize {
        assert!(!self.is_broken.load(Relaxed), "boom");
        if !self.is_full.load(Relaxed) {
            lock(&self.written).extend(frames.drain(..).map(|frame| frame.to_string()));
            return 0;
        }
        // It takes one, and the peer reads a part of it.
        let mut written = lock(&self.written);
        if frames.is_empty() || self.is_begun.swap(true, Relaxed) {
            return 7;
        }
        written.extend(frames.pop_front().map(|frame| frame.to_string()));
        7
    }
}

#[test]
fn flusher_writes_in_order_and_leaves_slow_readers_to_their_task() {
    let (socket, flusher) = (Arc::<FakeSocket>::default(), Arc::<Flusher>::default());
    let outbox = outbox(2, 100);
    outbox.connect(socket.clone(), flusher.clone());
    outbox.push("a".into(), Delivery::Reliable);
    outbox.push("b".into(), Delivery::Reliable);
    assert!(flusher.run().now_or_never().is_none(), "it delivery for more");
    assert_eq!(*lock(&socket.written), ["a", "b"]);
    assert!(outbox.ready().now_or_never().is_none(), "the connection's task has nothing to do");

    socket.is_full.store(true, Relaxed);
    outbox.push("c".into(), Delivery::Reliable);
    assert!(flusher.run().now_or_never().is_none());
    assert!(outbox.ready().now_or_never().is_some(), "the connection's task has to wait for the peer");
    for frame in ["d", "e", "f"] {
        outbox.push(frame.into(), Delivery::Reliable);
    }
    assert!(flusher.run().now_or_never().is_none());
    assert_eq!(*lock(&socket.written), ["a", "b", "c"], "nothing is missing from the middle");
    assert_eq!(outbox.take().close, Some(CloseCode::SlowConsumer));
}

#[test]
fn untaken_bytes_are_kept_and_nothing_is_written_after_end() {
    let (socket, flusher) = (Arc::<FakeSocket>::default(), Arc::<Flusher>::default());
    let outbox = outbox(10, 100);
    outbox.connect(socket.clone(), flusher.clone());
    socket.is_full.store(true, Relaxed);
    outbox.push("a".into(), Delivery::Reliable);
    let waiting = outbox.take();
    assert!(waiting.frames.is_empty() && !waiting.is_nothing(), "the socket keeps it");
    socket.is_full.store(false, Relaxed);
    assert!(outbox.take().is_nothing());
    outbox.push("b".into(), Delivery::Reliable);
    outbox.end();
    outbox.push("c".into(), Delivery::Reliable);
    assert!(flusher.run().now_or_never().is_none());
    assert_eq!(*lock(&socket.written), ["a"]);
    assert_eq!(Arc::strong_count(&socket), 1, "a reference to the outbox does not keep the socket");
}

#[test]
fn backpressure_ignores_stuck_readers() {
    let (socket, flusher) = (Arc::<FakeSocket>::default(), Arc::<Flusher>::default());
    let (reads, stuck) = (outbox(8, 100), outbox(8, 100));
    reads.connect(socket.clone(), flusher.clone());
    let full = Arc::<FakeSocket>::default();
    full.is_full.store(true, Relaxed);
    stuck.connect(full, flusher.clone());
    stuck.push("a".into(), Delivery::Reliable);
    assert!(flusher.run().now_or_never().is_none());
    for _ in 0..5 {
        stuck.push("b".into(), Delivery::Reliable);
    }
    assert!(flusher.wait_for_capacity().now_or_never().is_some(), "nobody delivery for one who does not read");
    for _ in 0..3 {
        assert!(flusher.wait_for_capacity().now_or_never().is_some());
        reads.push("c".into(), Delivery::Reliable);
    }
    assert!(flusher.wait_for_capacity().now_or_never().is_none());
    assert!(flusher.run().now_or_never().is_none());
    assert!(flusher.wait_for_capacity().now_or_never().is_some(), "the frames are written");
    assert_eq!(lock(&socket.written).len(), 3);
}

#[test]
fn panicking_socket_is_closed_and_others_are_written() {
    let (broken, socket, flusher) =
        (Arc::<FakeSocket>::default(), Arc::<FakeSocket>::default(), Arc::<Flusher>::default());
    broken.is_broken.store(true, Relaxed);
    let (first, second) = (outbox(10, 100), outbox(10, 100));
    first.connect(broken, flusher.clone());
    second.connect(socket.clone(), flusher.clone());
    first.push("a".into(), Delivery::Reliable);
    second.push("b".into(), Delivery::Reliable);
    assert!(flusher.run().now_or_never().is_none());
    assert_eq!(lock(&first.queue).closing, Some(CloseCode::Internal));
    assert_eq!(*lock(&socket.written), ["b"]);
}

#[test]
fn deferred_frame_keeps_its_position_when_others_are_replaced() {
    let outbox = outbox(10, 100);
    outbox.push("Ann came".into(), Delivery::Coalesced(1));
    outbox.push_deferred(7, || "entered".to_owned());
    outbox.push("Bob came".into(), Delivery::Coalesced(2));
    outbox.push("Ann left".into(), Delivery::Coalesced(1));
    assert_eq!(outbox.take().frames, ["entered", "Bob came", "Ann left"]);
    outbox.push("a".into(), Delivery::Reliable);
    outbox.push_deferred(100, || unreachable!("nothing is encoded for a connection that is closed"));
    assert_eq!(outbox.take().close, Some(CloseCode::SlowConsumer));
}

#[test]
fn queued_frames_are_written_before_close() {
    let outbox = outbox(10, 100);
    outbox.push("last frame".into(), Delivery::Reliable);
    outbox.close(CloseCode::Restarting);
    outbox.close(CloseCode::Internal);
    outbox.push("too late".into(), Delivery::Reliable);
    let waiting = outbox.take();
    assert_eq!((waiting.frames.len(), waiting.close), (1, Some(CloseCode::Restarting)));
}

#[test]
fn frames_that_the_peer_does_not_take_stay_in_the_queue() {
    let (socket, flusher) = (Arc::<FakeSocket>::default(), Arc::<Flusher>::default());
    let outbox = outbox(10, 100);
    outbox.connect(socket.clone(), flusher.clone());
    socket.is_full.store(true, Relaxed);
    for frame in ["a", "b", "c"] {
        outbox.push(frame.into(), Delivery::Reliable);
    }
    assert!(flusher.run().now_or_never().is_none());
    assert_eq!(*lock(&socket.written), ["a"]);
    outbox.push("Ann came".into(), Delivery::Coalesced(1));
    outbox.push_deferred(7, || "entered".to_owned());
    assert!(!outbox.take().is_nothing());
    outbox.push("Ann left".into(), Delivery::Coalesced(1));
    socket.is_full.store(false, Relaxed);
    assert!(outbox.take().is_nothing());
    assert_eq!(*lock(&socket.written), ["a", "b", "c", "Ann came", "entered", "Ann left"]);
    // What was put back counts towards the limit.
    socket.is_full.store(true, Relaxed);
    for _ in 0..3 {
        outbox.push("x".repeat(30).into(), Delivery::Reliable);
        outbox.take();
    }
    outbox.push("y".repeat(30).into(), Delivery::Reliable);
    assert_eq!(outbox.take().close, Some(CloseCode::SlowConsumer));
}

#[test]
fn connection_that_holds_most_is_closed_when_the_budget_is_used_up() {
    let budget = Budget::new(200_000);
    let limits = OutboxLimits { frames: 100, bytes: 1_000_000 };
    let [reads, slow, slower] = [(); 3].map(|()| Outbox::within(limits, &budget));
    let fill = |outbox: &Arc<Outbox>| outbox.push(budget.frame("x".repeat(30_000)), Delivery::Reliable);
    for _ in 0..20 {
        fill(&reads);
        assert_eq!(reads.take().close, None);
        assert!(reads.take().is_nothing());
    }
    fill(&slow);
    (0..4).for_each(|_| fill(&slower));
    // The task of this connection is writing what it has taken.
    let waiting = slower.take();
    assert_eq!(waiting.close, None);
    (0..2).for_each(|_| fill(&reads));
    assert_eq!(slower.take().close, Some(CloseCode::SlowConsumer));
    assert_eq!(slow.take().close, None);
    drop((waiting, reads, slow, slower));
    assert_eq!(budget.used(), 0);
}
