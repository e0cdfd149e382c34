//! The requests of an HTTP/2 connection that are active: until their response was sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::server::lock::lock;
use crate::server::per_address::Guard;

/// The active requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct ActiveRequests {
    count: watch::Sender<usize>,
    /// The time by which each response has to be read. Event streams are not among them.
    deadlines: Arc<Mutex<HashMap<u64, Instant>>>,
    /// The time to make room for the next part of a response.
    patience: Duration,
}

/// One request, active until it is dropped.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    requests: ActiveRequests,
    id: u64,
    _guard: Guard,
}

impl ActiveRequests {
    pub(super) fn new(patience: Duration) -> Self {
        Self { count: watch::Sender::new(0), deadlines: Arc::default(), patience }
    }

    /// `id` must be unique in the connection.
    pub(super) fn begin(&self, id: u64, guard: Guard) -> ActiveRequest {
        self.count.send_modify(|count| *count += 1);
        ActiveRequest { requests: self.clone(), id, _guard: guard }
    }

    /// Returns when there was no active request for the whole of `period`.
    pub(super) async fn idle(&self, period: Duration) {
        let mut count = self.count.subscribe();
        loop {
            let _ = count.wait_for(|count| *count == 0).await;
            if timeout(period, count.wait_for(|count| *count != 0)).await.is_err() {
                return;
            }
        }
    }

    /// Returns when the peer has not read a response in time. Flow control is per stream, so that the other responses and
    /// the pings of the connection may still arrive.
    pub(super) async fn overdue(&self) {
        let mut count = self.count.subscribe();
        loop {
            let _ = count.wait_for(|count| *count != 0).await;
            sleep(self.patience / 4).await;
            let now = Instant::now();
            if lock(&self.deadlines).values().any(|deadline| *deadline <= now) {
                return;
            }
        }
    }
}

impl ActiveRequest {
    /// The response begins, and the peer has to read it.
    pub(super) fn respond(&self) {
        lock(&self.requests.deadlines).insert(self.id, Instant::now() + self.requests.patience);
    }

    /// The peer has made room for a part of the response.
    pub(super) fn sent(&self) {
        if let Some(deadline) = lock(&self.requests.deadlines).get_mut(&self.id) {
            *deadline = Instant::now() + self.requests.patience;
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        lock(&self.requests.deadlines).remove(&self.id);
        self.requests.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::per_address::PerAddress;

    const PERIOD: Duration = Duration::from_secs(10);

    fn guard() -> Guard {
        PerAddress::default().admit([127, 0, 0, 1].into(), 9).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_idle_only_after_period_without_requests() {
        let requests = ActiveRequests::new(PERIOD);
        let first = requests.begin(1, guard());
        assert!(timeout(PERIOD * 3, requests.idle(PERIOD)).await.is_err(), "a request is active");
        drop(first);
        let began = Instant::now();
        requests.idle(PERIOD).await;
        assert_eq!(began.elapsed(), PERIOD);
    }

    #[tokio::test(start_paused = true)]
    async fn only_responses_that_are_not_read_are_overdue() {
        let requests = ActiveRequests::new(PERIOD);
        let stream = requests.begin(1, guard());
        assert!(timeout(PERIOD * 9, requests.overdue()).await.is_err(), "an event stream has no deadline");
        let slow = requests.begin(2, guard());
        slow.respond();
        for _ in 0..9 {
            slow.sent();
            assert!(timeout(PERIOD / 2, requests.overdue()).await.is_err(), "it reads slowly");
        }
        drop(slow);
        assert!(timeout(PERIOD * 9, requests.overdue()).await.is_err(), "it was read");
        let stuck = requests.begin(3, guard());
        stuck.respond();
        timeout(PERIOD * 2, requests.overdue()).await.expect("it is not read");
        drop((stream, stuck));
    }
}
