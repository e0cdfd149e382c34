//! Ending without losing anything (P7): tell everyone, let commits finish, close in a spread wave.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::{Server, hub, random};
use crate::protocol::frame::GoingAway;
use crate::protocol::{CloseCode, ServerFrame};

/// The longest that people are asked to wait before they come back.
const SPREAD: Duration = Duration::from_secs(10);
/// How many connections come back in a second, at most.
const RETURNING_PER_SECOND: u64 = 1_000;
/// The wave of closes takes at most this long.
const WAVE: Duration = Duration::from_secs(5);
/// After this the process ends, whoever is still there.
const DEADLINE: Duration = Duration::from_secs(20);

/// Listens for SIGTERM and Ctrl-C from now on: the future is there when one came.
pub(super) fn requested() -> impl Future<Output = ()> {
    let listen =
        |kind| signal(kind).inspect_err(|error| tracing::error!(%error, "cannot listen for a signal that drains"));
    let (terminate, interrupt) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let came = |signal: std::io::Result<Signal>| async move {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    async move {
        tokio::select! {
            () = came(terminate) => {}
            () = came(interrupt) => {}
        }
    }
}

/// Refuses new connections, tells everyone when to come back, and closes them all. Pages are still
/// served meanwhile.
pub(super) async fn drain(server: &Server) {
    let deadline = Instant::now() + DEADLINE;
    server.draining.cancel();
    let links = server.hub.links();
    tracing::info!(connections = links.len(), "draining");

    // Nobody waits longer than the crowd makes necessary: two people are back in half a second.
    let spread = Duration::from_millis(500 + links.len() as u64 * 1_000 / RETURNING_PER_SECOND).min(SPREAD);
    for link in &links {
        let reconnect_in_ms = u64::from(random::below(spread.as_millis() as u32));
        hub::send(link, &ServerFrame::GoingAway(GoingAway { reconnect_in_ms }));
    }
    // What was just sent to the store is answered before the close: a commit takes milliseconds.
    sleep(Duration::from_millis(100)).await;
    let wave = Instant::now();
    for (index, link) in links.iter().enumerate() {
        let share = WAVE.min(Duration::from_millis(links.len() as u64)).mul_f64(index as f64 / links.len() as f64);
        sleep_until(wave + share).await;
        link.close(CloseCode::Restarting);
    }
    // Connections that were being opened when the draining began.
    server.hub.links().iter().for_each(|link| link.close(CloseCode::Restarting));
    server.connections.close();
    if timeout_at(deadline, server.connections.wait()).await.is_err() {
        tracing::warn!("some connections did not close in time");
    }
}
