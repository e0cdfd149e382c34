//! One HTTP connection. With TLS it uses HTTP/2 if the client offers that (ALPN).

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderValue};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::active::ActiveRequests;
use super::read_deadline::{Patience, ReadDeadline};
use crate::server::Server;
use crate::server::network::network_of;
use crate::server::per_address::{Guard, PerAddress};
use crate::server::socket::{SharedSocket, SocketStream};
use crate::server::tls::{HTTP_2, Tls};

/// The time that an HTTP/2 connection has to answer a ping, and to end after a graceful shutdown.
const STALLED_TIMEOUT: Duration = Duration::from_secs(75);
/// Concurrent requests of an HTTP/2 connection. RFC 9113, 6.5.2, advises against fewer.
const MAX_CONCURRENT_STREAMS: u32 = 100;
/// Flow control window of a request, and send buffer of a response, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Interval of HTTP/2 keep-alive pings.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(25);

/// An accepted connection, with everything that is needed to serve it.
pub(super) struct Connection {
    address: SocketAddr,
    /// The peer is a proxy. Its connections are not limited, but the requests of each client are.
    is_proxy: bool,
    /// Open connections and requests per address.
    open: PerAddress,
    router: Router,
    server: Arc<Server>,
    patience: Arc<Patience>,
    stop: CancellationToken,
}

impl Connection {
    pub(super) fn new(
        address: SocketAddr,
        open: PerAddress,
        router: Router,
        server: Arc<Server>,
        stop: CancellationToken,
    ) -> Self {
        let is_proxy = server.client_addresses.is_proxy(address.ip());
        let patience = Patience::new(Duration::from_secs(server.config.limits.request_seconds));
        Self { address, is_proxy, open, router, server, patience, stop }
    }

    /// Counts one more connection of the address; `None` if the address has reached its limit.
    pub(super) fn admit(&self) -> Option<Guard> {
        let limit = if self.is_proxy { usize::MAX } else { self.server.config.limits.requests_per_address };
        self.admit_from(network_of(self.address.ip()), limit)
    }

    /// Counts one more request of the client.
    fn admit_request(&self, headers: &HeaderMap) -> Option<Guard> {
        let network = self.server.client_addresses.of(self.address, headers);
        self.admit_from(network, self.server.config.limits.requests_per_address)
    }

    fn admit_from(&self, network: IpAddr, limit: usize) -> Option<Guard> {
        let admitted = self.open.admit(network, limit);
        if admitted.is_none() {
            self.server.client_addresses.limit_reached(network);
        }
        admitted
    }

    /// The timeout of a request's head, of the TLS handshake and of an idle HTTP/2 connection.
    fn head_timeout(&self) -> Duration {
        Duration::from_secs(self.server.config.limits.header_seconds)
    }

    /// The largest head of a request. hyper's buffer has at least 8 KiB.
    fn max_head_bytes(&self) -> usize {
        self.server.config.limits.header_bytes.max(8 * 1024)
    }

    // The futures below are boxed, so that no connection has room for the states of the others.

    pub(super) async fn serve_plain(self, stream: TcpStream) {
        let stream = SocketStream::new(stream);
        let shared = stream.shared();
        let stream = ReadDeadline::new(stream, self.patience.clone());
        Box::pin(self.serve_http1(stream, Some(shared))).await;
    }

    pub(super) async fn serve_tls(self, stream: TcpStream, tls: &Tls) {
        let handshake = tls.acceptor().accept(ReadDeadline::new(stream, self.patience.clone()));
        // A client that does not use TLS, or is too slow, could not read a response.
        let Ok(Ok(stream)) = Box::pin(timeout(self.head_timeout(), handshake)).await else { return };
        if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) {
            Box::pin(self.serve_http2(stream)).await;
        } else {
            Box::pin(self.serve_http1(stream, None)).await;
        }
    }

    /// Serves HTTP/1.1. `shared`: the socket, if frames can be written to it directly: without TLS.
    async fn serve_http1(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        shared: Option<Arc<SharedSocket>>,
    ) {
        let (max_head_bytes, head_timeout, stop) = (self.max_head_bytes(), self.head_timeout(), self.stop.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            // A connection of a client counts itself.
            let guard = self.is_proxy.then(|| self.admit_request(request.headers()));
            let response = self.router.clone().oneshot(extend(request, self.address, shared.clone()));
            let patience = self.patience.clone();
            async move {
                let guard = match guard {
                    Some(None) => return Ok(too_many_requests()),
                    Some(admitted) => admitted,
                    None => None,
                };
                let response = response.await?;
                if carries_frames(&response) {
                    patience.carry_frames();
                }
                let Some(guard) = guard else { return Ok(response) };
                let hold = move || {
                    let _ = &guard;
                };
                Ok::<_, Infallible>(observe_body(response, hold))
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_buf_size(max_head_bytes)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(serving);
        // Errors of a request or connection are not logged: the client caused them, and hyper has responded if possible.
        tokio::select! {
            _ = serving.as_mut() => {}
            () = stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                let _ = serving.await;
            }
        }
    }

    /// Serves HTTP/2. Each request counts against the address as a connection with HTTP/1.1 does, because it costs as
    /// much. As with HTTP/1.1, an idle connection is closed, and so is one that leaves a response unread.
    ///
    /// WebSockets need a connection with HTTP/1.1: extended CONNECT (RFC 8441) is not enabled.
    async fn serve_http2(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let (stop, idle_timeout) = (self.stop.clone(), self.head_timeout());
        let max_head_bytes = u32::try_from(self.max_head_bytes()).unwrap_or(u32::MAX);
        let active = ActiveRequests::new(Duration::from_secs(self.server.config.limits.request_seconds));
        let (requests, next_id) = (active.clone(), AtomicU64::new(0));
        let service = service_fn(move |request: Request<Incoming>| {
            let guard = self.admit_request(request.headers());
            let active = guard.map(|guard| requests.begin(next_id.fetch_add(1, Ordering::Relaxed), guard));
            let response = self.router.clone().oneshot(extend(normalize(request), self.address, None));
            let patience = self.patience.clone();
            async move {
                let Some(active) = active else { return Ok(too_many_requests()) };
                let response = response.await?;
                if carries_frames(&response) {
                    patience.carry_frames();
                } else {
                    active.respond();
                }
                // The request is active until its body was sent.
                Ok::<_, Infallible>(observe_body(response, move || active.sent()))
            }
        });
        let serving = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .max_header_list_size(max_head_bytes)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(4 * STREAM_WINDOW)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            // The ping is queued behind everything that a slow network still has to transmit.
            .keep_alive_timeout(STALLED_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        tokio::select! {
            _ = serving.as_mut() => return,
            () = active.overdue() => return,
            () = stop.cancelled() => {}
            () = active.idle(idle_timeout) => {}
        }
        serving.as_mut().graceful_shutdown();
        // hyper waits without end for a peer that has not sent its preface.
        let _ = timeout(STALLED_TIMEOUT, serving).await;
    }
}

/// Returns whether the connection is a WebSocket from now on, or the response is an event stream.
fn carries_frames(response: &Response) -> bool {
    let is_event_stream = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    is_event_stream || response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Calls `sent` for each part of the body that is sent, and drops it at the end.
fn observe_body(response: Response, sent: impl Fn() + Send + 'static) -> Response {
    let observe = move |frame: Frame<Bytes>| {
        sent();
        frame
    };
    response.map(|body| Body::new(body.map_frame(observe)))
}

fn too_many_requests() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, "too many requests from this address\n").into_response()
}

/// Adds the extensions that handlers extract.
fn extend(mut request: Request<Incoming>, address: SocketAddr, shared: Option<Arc<SharedSocket>>) -> Request<Body> {
    request.extensions_mut().insert(ConnectInfo(address));
    request.extensions_mut().insert(shared);
    request.map(Body::new)
}

/// Normalizes an HTTP/2 request to HTTP/1.1, so that handlers need not know both: `:authority` becomes `Host`, and split
/// `Cookie` headers are joined (RFC 9113, 8.3.1 and 8.2.3).
fn normalize<B>(mut request: Request<B>) -> Request<B> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_request_is_normalized_to_http1() {
        let request =
            Request::get("https://noom.example:3000/r/a?before=7").header(COOKIE, "lang=ko").header(COOKIE, "noom=x");
        let request = normalize(request.body(()).unwrap());
        assert_eq!(request.uri(), "/r/a?before=7");
        assert_eq!(request.headers()[HOST], "noom.example:3000");
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["lang=ko; noom=x"]);
    }
}
