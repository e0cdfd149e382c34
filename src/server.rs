//! The server: opens the data folder, serves, and drains.

pub mod attachments;
pub mod call;
pub mod change;
pub mod config;
pub mod environment;
pub mod export;
pub mod history;
pub mod hub;
pub mod id;
pub mod identity;
pub mod membership;
pub mod name_key;
pub(crate) mod pages;
pub mod retention;
pub mod search;
pub mod session;
pub mod storage;
pub mod store;
pub mod telemetry;
pub mod transport;

mod accept;
mod drain;
mod files;
mod forwarded;
mod http;
mod lock;
mod network;
mod occasional;
mod origin;
mod page_threads;
mod per_address;
mod random;
mod refused_forms;
mod security_headers;
mod socket;
mod start_error;
mod state;
mod tls;

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::protocol::BUILD;
use attachments::{Attachments, collector};
use config::Config;
use hub::Hub;
use identity::Identity;
use page_threads::PageThreads;
pub use start_error::StartError;
pub use state::Server;
use store::{Quotas, Store};
use tls::Tls;

/// Files that this process creates are not accessible to other users of the machine.
pub fn hide_files_from_other_users() {
    let mask = umask(Mode::RWXO);
    umask(mask | Mode::RWXO);
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// [`StartError`] if the server cannot start.
pub async fn run(config: Config) -> Result<(), StartError> {
    let tls = config.tls.clone().map(Tls::load).transpose()?.map(Arc::new);
    let server = Arc::new(Server::open(config, tls.clone())?);
    let address = server.config.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })?;
    let max_open_files = raise_open_file_limit(server.config.limits.connections);
    // Before the address is printed: a script may send the signal as soon as it reads it.
    let shutdown = drain::shutdown_signal();
    announce(&listener, tls.is_some());

    let background = server.spawn_background(tls.clone());
    let stop = CancellationToken::new();
    let accepting = accept::serve(listener, tls, http::router(&server), server.clone(), max_open_files, stop.clone());
    let accepting = tokio::spawn(accepting);

    shutdown.await;
    drain::drain(&server).await;
    stop.cancel();
    // An error means that the accept loop panicked, which the panic hook has logged.
    let _ = accepting.await;
    background.iter().for_each(JoinHandle::abort);
    server.hub.deliver();
    if server.hub.save_marks().await.is_err() {
        tracing::warn!("cannot store what users have read last");
    }
    server.hub.close();
    tracing::info!("drained");
    Ok(())
}

impl Server {
    /// Opens the data folder. `tls`: the certificate, if this process terminates TLS.
    fn open(config: Config, tls: Option<Arc<Tls>>) -> Result<Self, StartError> {
        let folder = &config.data_dir;
        // A folder that exists keeps its mode: the operator may have chosen it.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| StartError::CreateDataFolder { path: folder.clone(), source })?;
        let uses_https = tls.is_some() || config.public_url.as_ref().is_some_and(|url| url.secure);
        let identity = Identity::load(folder, uses_https)?;
        let limits = &config.limits;
        let quotas =
            Quotas { room: limits.stored_bytes_per_room, day: limits.stored_bytes_per_day, total: limits.stored_bytes };
        let (epoch, read_results) = (format!("{:016x}", random::bits()), limits.buffers().read_results);
        let store = Arc::new(Store::open_within(folder, &epoch, quotas, read_results)?);
        let attachments = Attachments::open(store.clone(), folder, &config.files, limits)?;
        let page_threads = PageThreads::start().map_err(StartError::Runtime)?;
        Ok(Self::new(config, tls, identity, store, attachments, page_threads))
    }

    /// Spawns the tasks that run as long as the server: the hub's workers and clock, reload, the collector of files,
    /// purges, retention.
    fn spawn_background(&self, tls: Option<Arc<Tls>>) -> Vec<JoinHandle<()>> {
        let others = [
            tokio::spawn(tick(self.hub.clone())),
            tokio::spawn(save_marks(self.hub.clone())),
            tokio::spawn(reload_on_sighup(self.identity.clone(), tls)),
            tokio::spawn(retention::run_purges(self.store.clone(), self.hub.clone())),
            tokio::spawn(collector::run(self.attachments.clone(), self.hub.environment().clone(), self.config.clone())),
        ];
        let keep = self.config.message_days.map(|days| Duration::from_hours(24 * u64::from(days.get())));
        let retention = keep.map(|keep| tokio::spawn(retention::run(self.store.clone(), self.hub.clone(), keep)));
        self.hub.spawn_workers().into_iter().chain(others).chain(retention).collect()
    }
}

/// Prints the URL of the server, with the port that was chosen if the configured one is 0.
fn announce(listener: &TcpListener, tls: bool) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, build = BUILD, "listening");
        let _ = writeln!(std::io::stdout(), "Noom is at {}://{address}", if tls { "https" } else { "http" });
    }
}

/// Raises the soft limit of open files, which is 1,024 in many shells, to the hard limit. Each connection needs a file
/// descriptor. Returns the limit.
fn raise_open_file_limit(connections: usize) -> u64 {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => {
            if limit < connections as u64 {
                tracing::warn!(limit, connections, "the limit of open files is lower than the limit of connections");
            }
            limit
        }
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            u64::MAX
        }
    }
}

/// Reloads the certificate and the keys that sign cookies at each SIGHUP.
async fn reload_on_sighup(identity: Arc<Identity>, tls: Option<Arc<Tls>>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        match identity.reload() {
            Ok(()) => tracing::info!("SIGHUP: reloaded the keys that sign cookies"),
            Err(error) => tracing::error!(error = error.one_line(), "SIGHUP: the earlier keys stay in use"),
        }
        match tls.as_ref().map(|tls| tls.reload()) {
            None => tracing::info!("SIGHUP: there is no certificate to reload"),
            Some(Ok(())) => tracing::info!("SIGHUP: reloaded certificate and key"),
            Some(Err(error)) => {
                tracing::error!(error = error.one_line(), "SIGHUP: the earlier certificate stays in use");
            }
        }
    }
}

/// The interval at which it is stored what users have read.
const SAVE_MARKS_EVERY: Duration = Duration::from_secs(2);

/// Stores what users have read.
async fn save_marks(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(SAVE_MARKS_EVERY).await;
        // What cannot be stored now is kept for the next time.
        let _ = hub.save_marks().await;
    }
}

const TICKS_PER_MINUTE: u64 = 60_000 / hub::TICK.as_millis() as u64;

/// The clock of the hub. Once a minute it also removes expired entries of the directory.
async fn tick(hub: Arc<Hub>) {
    let mut interval = tokio::time::interval(hub::TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for ticks in 0_u64.. {
        interval.tick().await;
        // A panic, which the panic hook has logged, must not stop the clock.
        let _ = catch_unwind(AssertUnwindSafe(|| hub.tick()));
        if ticks.is_multiple_of(TICKS_PER_MINUTE) {
            hub.directory.forget_old();
        }
    }
}
