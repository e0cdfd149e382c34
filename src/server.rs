//! The server: wires everything together, serves, drains.

pub mod call;
pub mod config;
pub mod hub;
pub mod identity;
pub mod name_key;
pub mod pages;
pub mod session;
pub mod store;
pub mod telemetry;

mod accept;
mod drain;
mod files;
mod headers;
mod http;
mod origin;
mod per_address;
mod random;
mod socket;
mod tls;
mod transport;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::protocol::BUILD;
use config::Config;
use hub::Hub;
use identity::Identity;
use per_address::PerAddress;
use store::Store;
use tls::Tls;
use transport::events::Doors;

/// Why the server could not start: one line.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// What requests and connections share.
#[derive(Debug)]
pub struct Server {
    /// The rooms.
    pub hub: Arc<Hub>,
    /// Who people are.
    pub identity: Arc<Identity>,
    /// How it is set up.
    pub config: Config,
    /// Cancelled when the server begins to drain.
    draining: CancellationToken,
    /// Connections by address.
    addresses: PerAddress,
    /// Every connection's task, to wait for.
    connections: TaskTracker,
    /// Where frames come in that no WebSocket carries.
    doors: Doors,
}

/// Serves until SIGTERM or Ctrl-C, then drains.
///
/// # Errors
/// [`StartError`] when it cannot start; afterwards only a drain ends it.
pub async fn run(config: Config) -> Result<(), StartError> {
    let folder = &config.data_dir;
    std::fs::create_dir_all(folder)
        .map_err(|error| StartError(format!("cannot create the data folder {}: {error}", folder.display())))?;
    let tls = config.tls.clone().map(Tls::load).transpose().map_err(StartError)?.map(Arc::new);
    let secure = tls.is_some() || config.public_url.as_ref().is_some_and(|url| url.secure);
    let identity = Identity::load(folder, secure).map_err(StartError)?;
    let fresh_epoch = format!("{:016x}", random::bits());
    let store = Store::open(folder, &fresh_epoch).map_err(|error| StartError(error.to_string()))?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| StartError(format!("cannot listen on {}: {error}", config.listen)))?;

    admit_many(config.limits.connections);
    let server = Arc::new(Server {
        hub: Hub::new(store, config.limits.clone(), config.ice.clone()),
        identity: Arc::new(identity),
        config,
        draining: CancellationToken::new(),
        addresses: PerAddress::default(),
        connections: TaskTracker::new(),
        doors: Doors::default(),
    });
    // Before anybody can know that it listens, and wants it to end.
    let requested = drain::requested();
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, build = BUILD, "listening");
        // For people and scripts that start it: where it really is, port 0 or not.
        println!("Noom is at {}://{address}", if tls.is_some() { "https" } else { "http" });
    }
    let renewing = tokio::spawn(renew(tls.clone()));
    for flusher in server.hub.flushers() {
        let flusher = flusher.clone();
        tokio::spawn(async move { flusher.run().await });
    }
    let ticking = tokio::spawn(tick(server.hub.clone()));
    let accepting = CancellationToken::new();
    let (router, config) = (http::router(&server), server.config.clone());
    let serving = tokio::spawn(accept::serve(listener, tls, router, config, accepting.clone()));

    requested.await;
    drain::drain(&server).await;
    accepting.cancel();
    // The last answers are on their way.
    let _ = serving.await;
    ticking.abort();
    renewing.abort();
    server.hub.close();
    tracing::info!("drained");
    Ok(())
}

/// Each connection takes a file descriptor, and shells give a process 1,024 where the system would give it
/// more.
fn admit_many(connections: usize) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < connections as u64 => {
            tracing::warn!(
                limit,
                connections,
                "the system lets this process open fewer files than it may have connections"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot ask for more open files"),
    }
}

/// Reads the certificate again at each SIGHUP.
async fn renew(tls: Option<Arc<Tls>>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        match tls.as_ref().map(|tls| tls.reload()) {
            None => tracing::info!("SIGHUP: nothing to read again"),
            Some(Ok(())) => tracing::info!("SIGHUP: certificate and key read again"),
            Some(Err(error)) => tracing::error!(error, "SIGHUP: the earlier certificate stays"),
        }
    }
}

/// How often the directory is tidied, in ticks.
const TICKS_A_MINUTE: u64 = 60_000 / hub::TICK.as_millis() as u64;

async fn tick(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(hub::TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for ticks in 0_u64.. {
        interval.tick().await;
        // A panic must not stop the clock.
        let _ = catch_unwind(AssertUnwindSafe(|| hub.tick()));
        if ticks.is_multiple_of(TICKS_A_MINUTE) {
            hub.directory.forget_old(Instant::now());
        }
    }
}
