//! The accept loop. `axum::serve` sets no limits on a request's head; hyper does when it is given a
//! timer and a buffer size.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::config::{Config, LimitSettings};
use super::per_address::{PerAddress, counted};
use super::socket::{SharedSocket, SocketStream};
use super::tls::Tls;

/// A peer that takes nothing of what is written for so long is cut off. What carries frames gives up
/// earlier, and says so.
const READ_WITHIN: Duration = Duration::from_secs(75);
/// How long requests may go on after the last accept.
const LINGER: Duration = Duration::from_secs(3);

/// Accepts until `stop`, then lets running requests finish for a moment.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    config: Config,
    stop: CancellationToken,
) {
    let (connections, open) = (TaskTracker::new(), PerAddress::default());
    let limits = config.limits;
    // A proxy has one address for everyone, and bounds them itself.
    let at_most = if config.trust_forwarded { usize::MAX } else { limits.requests_per_address };
    loop {
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, say: it may pass when connections end.
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Some(guard) = open.admit(counted(address.ip()), at_most) else { continue };
        // Frames are small and wanted now.
        let _ = stream.set_nodelay(true);
        let (router, limits, stop, tls) = (router.clone(), limits.clone(), stop.clone(), tls.clone());
        connections.spawn(async move {
            // Until it ends, or is upgraded to a WebSocket, which is counted elsewhere.
            let _guard = guard;
            match tls {
                None => {
                    let stream = SocketStream::new(stream);
                    let shared = stream.shared();
                    connection(patient(stream), Some(shared), address, router, limits, stop).await;
                }
                Some(tls) => {
                    // Who speaks no TLS, or slowly, gets no answer: there is none that they could read.
                    let within = Duration::from_secs(limits.header_seconds);
                    if let Ok(Ok(stream)) = timeout(within, tls.acceptor().accept(patient(stream))).await {
                        connection(stream, None, address, router, limits, stop).await;
                    }
                }
            }
        });
    }
    connections.close();
    let _ = timeout(LINGER, connections.wait()).await;
}

/// The same stream, given up when the peer takes nothing for long.
fn patient<S: AsyncRead + AsyncWrite>(stream: S) -> Pin<Box<TimeoutWriter<S>>> {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(READ_WITHIN));
    Box::pin(stream)
}

/// Serves one connection. `shared`: its socket, if what is written needs no encryption.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    shared: Option<Arc<SharedSocket>>,
    address: SocketAddr,
    router: Router,
    limits: LimitSettings,
    stop: CancellationToken,
) {
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        request.extensions_mut().insert(shared.clone());
        request.map(axum::body::Body::new)
    });
    let service = TowerToHyperService::new(service.map_err(|error: Infallible| error));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits.header_seconds))
        .max_buf_size(limits.header_bytes.max(8 * 1024))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    // A broken request or connection is its client's affair; hyper has answered if it could.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}
