//! The accept loop. It configures hyper itself, because `axum::serve` has no limits on a request's head.

mod active;
mod connection;
mod read_deadline;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Server;
use super::occasional::Occasional;
use super::per_address::PerAddress;
use super::tls::Tls;
use connection::Connection;

/// The time that running requests have to finish after the last accept.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause after an accept that failed for lack of file descriptors or memory. It doubles with each further failure.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// File descriptors that no connection takes: for the database and the files of the site.
const RESERVED_FILES: u64 = 64;

/// Accepts connections until `stop`, then waits for running requests, at most [`SHUTDOWN_TIMEOUT`]. `max_open_files`: the
/// number of file descriptors that this process may have.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    server: Arc<Server>,
    max_open_files: u64,
    stop: CancellationToken,
) {
    let (connections, open) = (TaskTracker::new(), PerAddress::default());
    let mut acceptor = Acceptor::new(listener, &server, max_open_files);
    loop {
        let (stream, address, slot) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = acceptor.next() => accepted,
        };
        let connection = Connection::new(address, open.clone(), router.clone(), server.clone(), stop.clone());
        let Some(guard) = connection.admit() else { continue };
        // Frames are small and must not wait for more (Nagle's algorithm). It fails only if the peer is gone.
        let _ = stream.set_nodelay(true);
        let tls = tls.clone();
        connections.spawn(async move {
            // Until the connection ends or becomes a WebSocket, which counts against another limit.
            let _counted = (guard, slot);
            match tls {
                Some(tls) => connection.serve_tls(stream, &tls).await,
                None => connection.serve_plain(stream).await,
            }
        });
    }
    connections.close();
    let _ = timeout(SHUTDOWN_TIMEOUT, connections.wait()).await;
}

/// Accepts connections as long as there is capacity for them. More of them wait in the kernel's queue.
struct Acceptor {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    /// A connection whose file descriptor is not below this one is closed.
    max_file: u64,
    pause: Duration,
    warning: Occasional,
}

impl Acceptor {
    fn new(listener: TcpListener, server: &Server, max_open_files: u64) -> Self {
        let limits = &server.config.limits;
        // An event stream is an HTTP connection, too.
        let slots = limits.http_connections.saturating_add(limits.connections).min(Semaphore::MAX_PERMITS);
        Self {
            listener,
            slots: Arc::new(Semaphore::new(slots)),
            max_file: max_open_files - RESERVED_FILES.min(max_open_files / 4),
            pause: MIN_PAUSE,
            warning: Occasional::once_per(Duration::from_secs(60)),
        }
    }

    async fn next(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            let slot = self.slot().await;
            match self.listener.accept().await {
                // The kernel gives the lowest free descriptor, so a high one means that few are left.
                Ok((stream, _)) if stream.as_raw_fd() as u64 >= self.max_file => {
                    drop(stream);
                    self.pause(&io::Error::other("too many open files")).await;
                }
                Ok((stream, address)) => {
                    self.pause = MIN_PAUSE;
                    return (stream, address, slot);
                }
                // The client has given up already.
                Err(error) if is_of_client(&error) => {}
                Err(error) => self.pause(&error).await,
            }
        }
    }

    async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return slot;
        }
        if let Some(suppressed) = self.warning.is_due() {
            tracing::warn!(suppressed, "limits.http_connections is reached; new connections wait");
        }
        self.slots.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Waits until connections may have ended.
    async fn pause(&mut self, error: &io::Error) {
        if let Some(suppressed) = self.warning.is_due() {
            tracing::warn!(%error, suppressed, "cannot accept connections");
        }
        sleep(self.pause).await;
        self.pause = (2 * self.pause).min(MAX_PAUSE);
    }
}

fn is_of_client(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}
