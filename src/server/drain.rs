//! Graceful shutdown without loss (P7): announce it, let commits finish, close connections spread over time.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{Server, random};
use crate::protocol::frame::GoingAway;
use crate::protocol::{CloseCode, ServerFrame};

/// The longest delay before clients reconnect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(10);
/// The rate of reconnects that the next server should see at most.
const RECONNECTS_PER_SECOND: u64 = 1_000;
/// Connections are closed over at most this time.
const CLOSE_PERIOD: Duration = Duration::from_secs(5);
/// The time for posts that are on their way to arrive before the first close.
const COMMIT_TIME: Duration = Duration::from_millis(100);
/// The time after which the process ends even if connections are still open.
const DEADLINE: Duration = Duration::from_secs(20);

/// Installs handlers for SIGTERM and SIGINT. The future completes with the first signal, even with one that came before
/// the future was polled.
pub(super) fn shutdown_signal() -> impl Future<Output = ()> {
    let listen = |kind| signal(kind).inspect_err(|error| tracing::error!(%error, "cannot install a signal handler"));
    let (terminate, interrupt) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let received = |signal: std::io::Result<Signal>| async move {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    async move {
        tokio::select! {
            () = received(terminate) => {}
            () = received(interrupt) => {}
        }
    }
}

/// Refuses new connections, tells clients when to reconnect, and closes all connections. Pages are served meanwhile.
pub(super) async fn drain(server: &Server) {
    let deadline = Instant::now() + DEADLINE;
    server.draining.cancel();
    let outboxes = server.hub.outboxes();
    tracing::info!(connections = outboxes.len(), "draining");

    // In proportion to the number of clients: two of them reconnect within half a second.
    let spread = Duration::from_millis(500 + outboxes.len() as u64 * 1_000 / RECONNECTS_PER_SECOND);
    let spread = spread.min(MAX_RECONNECT_DELAY);
    for outbox in &outboxes {
        let reconnect_in_ms = u64::from(random::below(spread.as_millis() as u32));
        outbox.send(&ServerFrame::GoingAway(GoingAway { reconnect_in_ms }));
    }
    sleep(COMMIT_TIME).await;
    let _ = timeout(CLOSE_PERIOD, server.hub.settle()).await;
    let started = Instant::now();
    let period = CLOSE_PERIOD.min(Duration::from_millis(outboxes.len() as u64));
    for (index, outbox) in outboxes.iter().enumerate() {
        sleep_until(started + period.mul_f64(index as f64 / outboxes.len() as f64)).await;
        outbox.close(CloseCode::Restarting);
    }
    // Connections that were opened just before the server began to drain.
    server.hub.outboxes().iter().for_each(|outbox| outbox.close(CloseCode::Restarting));
    server.connections.close();
    if timeout_at(deadline, server.connections.wait()).await.is_err() {
        tracing::warn!("some connections did not close in time");
    }
}
