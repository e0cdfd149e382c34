//! Killing the server process again and again, while users go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use crate::support::random::Rng;
use crate::support::{Client, Received, Server};

/// The time in which the users must go on after a kill.
const PATIENCE: Duration = Duration::from_secs(60);

/// State shared by all users.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) address: watch::Receiver<SocketAddr>,
    /// Number of commands that were acknowledged or refused.
    pub(crate) answers: Arc<AtomicU64>,
    /// Set when users must begin nothing more, and wait for their answers.
    pub(crate) settling: Arc<AtomicBool>,
}

impl Shared {
    /// The state for the users of a server, and the sender of its next addresses.
    pub(crate) fn of(server: &Server) -> (Self, watch::Sender<SocketAddr>) {
        let (sender, address) = watch::channel(server.address);
        (Self { address, answers: Arc::default(), settling: Arc::default() }, sender)
    }

    /// Kills the server `kills` times, up to `pause` after some answers, and starts it again. Then the users settle.
    /// Returns the last server.
    pub(crate) async fn kill(
        &self,
        kills: u64,
        pause: Duration,
        mut server: Server,
        start: impl Fn() -> Server,
        addresses: &watch::Sender<SocketAddr>,
    ) -> Server {
        let mut random = Rng::new(1);
        for _ in 0..kills {
            // Sometimes before any user has reconnected, sometimes under full load.
            let enough = self.answers.load(Ordering::Relaxed) + random.below(60);
            let until = Instant::now() + PATIENCE;
            while self.answers.load(Ordering::Relaxed) < enough {
                assert!(Instant::now() < until, "the users go on");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_micros(random.below(pause.as_micros() as u64))).await;
            server.kill();
            server = start();
            addresses.send_replace(server.address);
        }
        self.settling.store(true, Ordering::Relaxed);
        server
    }
}

/// The payload of the first frame, which is an `ack`. `None`: the server was killed.
pub(crate) async fn first_ack(client: &mut Client) -> Option<Value> {
    match client.receive().await {
        Received::Frame(frame) if frame["type"] == "ack" => Some(frame["payload"].clone()),
        Received::Disconnected => None,
        other => panic!("{other:?} before the answer"),
    }
}
