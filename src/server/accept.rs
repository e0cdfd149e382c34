//! The accept loop. `axum::serve` sets no limits on a request's head; hyper does when it is given a
//! timer and a buffer size. Under TLS it speaks HTTP/2 with whoever does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use http::header::{COOKIE, HOST, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::config::{Config, LimitSettings};
use super::per_address::{Guard, PerAddress, counted};
use super::socket::{SharedSocket, SocketStream};
use super::tls::{HTTP_2, Tls};

/// A peer that takes nothing of what is written for so long is cut off. What carries frames gives up
/// earlier, and says so.
const READ_WITHIN: Duration = Duration::from_secs(75);
/// How long requests may go on after the last accept.
const LINGER: Duration = Duration::from_secs(3);
/// Requests that an HTTP/2 connection has open at once. RFC 9113 advises against fewer (6.5.2).
const STREAMS: u32 = 100;
/// What may lie here unread of one request, and unsent of one answer.
const STREAM_BYTES: u32 = 64 * 1024;
/// An HTTP/2 connection on which nothing comes in is asked this often whether its peer is there.
const PING_EVERY: Duration = Duration::from_secs(25);

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
        let (open, router, limits, stop) = (open.clone(), router.clone(), limits.clone(), stop.clone());
        let connection = Connection { address, open, at_most, router, limits, stop };
        let Some(guard) = connection.admit() else { continue };
        // Frames are small and wanted now.
        let _ = stream.set_nodelay(true);
        let tls = tls.clone();
        // Each way is boxed, so that none keeps room for what only the others need.
        connections.spawn(async move {
            // Until it ends, or is upgraded to a WebSocket, which is counted elsewhere.
            let _guard = guard;
            let Some(tls) = tls else {
                let stream = SocketStream::new(stream);
                let shared = stream.shared();
                return Box::pin(connection.http1(patient(stream), Some(shared))).await;
            };
            // Who speaks no TLS, or slowly, gets no answer: there is none that they could read.
            let accept = tls.acceptor().accept(patient(stream));
            let accepted = Box::pin(timeout(connection.head_within(), accept)).await;
            let Ok(Ok(stream)) = accepted else { return };
            if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) {
                Box::pin(connection.http2(stream)).await;
            } else {
                Box::pin(connection.http1(stream, None)).await;
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

/// A connection that was accepted, and what it is served with.
struct Connection {
    address: SocketAddr,
    /// What is open, by address, and how much of it an address may have.
    open: PerAddress,
    at_most: usize,
    router: Router,
    limits: LimitSettings,
    stop: CancellationToken,
}

impl Connection {
    /// Counts one more against its address, if that may have one more.
    fn admit(&self) -> Option<Guard> {
        self.open.admit(counted(self.address.ip()), self.at_most)
    }

    /// How long a head of a request may take, and whatever is waited for like one.
    fn head_within(&self) -> Duration {
        Duration::from_secs(self.limits.header_seconds)
    }

    /// The longest head of a request that is read.
    fn head_bytes(&self) -> usize {
        self.limits.header_bytes.max(8 * 1024)
    }

    /// Serves HTTP/1.1. `shared`: its socket, if what is written needs no encryption.
    async fn http1(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        shared: Option<Arc<SharedSocket>>,
    ) {
        let (address, head_bytes, head_within) = (self.address, self.head_bytes(), self.head_within());
        let service =
            self.router.map_request(move |request: Request<Incoming>| prepared(request, address, shared.clone()));
        let service = TowerToHyperService::new(service.map_err(|error: Infallible| error));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_within)
            .max_buf_size(head_bytes)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(serving);
        // A broken request or connection is its client's affair; hyper has answered if it could.
        tokio::select! {
            _ = serving.as_mut() => {}
            () = self.stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                let _ = serving.await;
            }
        }
    }

    /// Serves HTTP/2. Each request counts against the address as a connection does in HTTP/1.1, for it holds as much;
    /// and like there, a connection on which nobody asks anything is closed.
    ///
    /// A WebSocket takes a connection of HTTP/1.1: extended CONNECT is not announced.
    async fn http2(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let (stop, idle) = (self.stop.clone(), self.head_within());
        let head_bytes = u32::try_from(self.head_bytes()).unwrap_or(u32::MAX);
        let running = watch::Sender::new(0);
        let mut running_now = running.subscribe();
        let service = service_fn(move |request: Request<Incoming>| {
            let admitted = self.admit().map(|guard| Running::begin(&running, guard));
            let answer = self.router.clone().oneshot(prepared(as_in_http1(request), self.address, None));
            async move {
                let Some(admitted) = admitted else {
                    return Ok((StatusCode::TOO_MANY_REQUESTS, "too many requests from this address\n").into_response());
                };
                let held_while_read = move |frame| {
                    let _ = &admitted;
                    frame
                };
                let answer = answer.await?;
                Ok::<_, Infallible>(answer.map(|body| Body::new(body.map_frame(held_while_read))))
            }
        });
        let serving = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(head_bytes)
            .max_send_buf_size(STREAM_BYTES as usize)
            .initial_stream_window_size(STREAM_BYTES)
            .initial_connection_window_size(4 * STREAM_BYTES)
            .keep_alive_interval(PING_EVERY)
            // The ping waits behind what a slow line still carries.
            .keep_alive_timeout(READ_WITHIN)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        tokio::select! {
            _ = serving.as_mut() => return,
            () = stop.cancelled() => {}
            () = nothing_runs(&mut running_now, idle) => {}
        }
        serving.as_mut().graceful_shutdown();
        // Whoever never spoke is not waited for.
        let _ = timeout(READ_WITHIN, serving).await;
    }
}

/// A request as the router takes it.
fn prepared(mut request: Request<Incoming>, address: SocketAddr, shared: Option<Arc<SharedSocket>>) -> Request<Body> {
    request.extensions_mut().insert(ConnectInfo(address));
    request.extensions_mut().insert(shared);
    request.map(Body::new)
}

/// Says what HTTP/2 says in its own way as HTTP/1.1 would, so that nothing behind this need know both: the host, and a
/// cookie header that browsers send in parts (RFC 9113, 8.3.1 and 8.2.3).
fn as_in_http1<B>(mut request: Request<B>) -> Request<B> {
    let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let headers = request.headers_mut();
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    let cookies: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
    request
}

/// A request of an HTTP/2 connection, until its answer was sent or nobody waits for it any more.
struct Running {
    count: watch::Sender<usize>,
    _guard: Guard,
}

impl Running {
    fn begin(count: &watch::Sender<usize>, guard: Guard) -> Self {
        count.send_modify(|count| *count += 1);
        Self { count: count.clone(), _guard: guard }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

/// Waits until nothing has run for so long.
async fn nothing_runs(count: &mut watch::Receiver<usize>, so_long: Duration) {
    loop {
        let _ = count.wait_for(|count| *count == 0).await;
        if timeout(so_long, count.wait_for(|count| *count != 0)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_2_says_in_its_own_way_is_said_as_in_http_1() {
        let request =
            Request::get("https://noom.example:3000/r/a?before=7").header(COOKIE, "lang=ko").header(COOKIE, "noom=x");
        let request = as_in_http1(request.body(()).unwrap());
        assert_eq!(request.uri(), "/r/a?before=7");
        assert_eq!(request.headers()[HOST], "noom.example:3000");
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["lang=ko; noom=x"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_has_run_for_long_and_not_before() {
        let (count, open) = (watch::Sender::new(0), PerAddress::default());
        let mut seen = count.subscribe();
        let begin = || Running::begin(&count, open.admit([127, 0, 0, 1].into(), 9).unwrap());
        let long = Duration::from_secs(10);
        let first = begin();
        assert!(timeout(long * 3, nothing_runs(&mut seen, long)).await.is_err(), "one runs");
        drop(first);
        let began = tokio::time::Instant::now();
        nothing_runs(&mut seen, long).await;
        assert_eq!(began.elapsed(), long);
    }
}
