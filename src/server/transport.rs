//! A connection over any transport: admission, heartbeat, timeouts, limits and close. The frames themselves are
//! handled in `session`.

pub(super) mod events;
pub(super) mod post_inboxes;
mod received;
#[cfg(test)]
mod tests;
pub(super) mod ws;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use axum::response::AppendHeaders;
use futures::FutureExt;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Server;
use super::hub::outbox::{DirectSocket, Outbox};
use super::hub::rate_limit::Bucket;
use super::per_address::Guard;
use super::session::{Session, Visitor};
use crate::protocol::{CloseCode, HEARTBEAT_MS};
use received::Received;

/// A connection that has not sent `hello` by then is closed.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// The server pings a connection that has sent nothing for this long, by default.
pub const PING_INTERVAL: Duration = Duration::from_millis(HEARTBEAT_MS);
/// A connection that has sent nothing for this long after a ping is closed.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that takes longer to read a write is closed as a slow consumer.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection lets others run after handling frames for this long. Some commands are expensive, and a client may send
/// hundreds of them at once.
const TURN: Duration = Duration::from_micros(200);
/// The time a peer has to read the close frame.
const LINGER: Duration = Duration::from_secs(1);

/// Carries frames to and from one peer.
trait Transport: Send {
    /// The next frame or event from the peer. Cancel safe.
    fn receive(&mut self) -> impl Future<Output = Received> + Send;

    /// The socket that other tasks may write frames to, if this transport has one.
    fn direct_socket(&self) -> Option<Arc<dyn DirectSocket>> {
        None
    }

    /// Writes the pending bytes of the direct socket, then these frames, with as few system calls as possible.
    fn write(&mut self, frames: VecDeque<Utf8Bytes>) -> impl Future<Output = Result<(), Disconnected>> + Send;

    /// Asks the peer to send something.
    fn ping(&mut self) -> impl Future<Output = Result<(), Disconnected>> + Send;

    /// Ends the connection. Sends the close code, if any, and waits until the peer can have read it.
    fn close(self, end: End) -> impl Future<Output = ()> + Send;
}

/// The peer is gone: nothing can be written any more.
#[derive(Debug)]
struct Disconnected;

/// A visitor who was admitted. Counts against the address until it is dropped.
struct Admitted {
    visitor: Visitor,
    /// The `Set-Cookie` headers that renew the visitor's cookie.
    renewal: Vec<HeaderValue>,
    _guard: Guard,
}

impl Admitted {
    /// Admits the sender of a request, or returns the response that refuses it.
    fn admit(server: &Server, peer: SocketAddr, headers: &HeaderMap) -> Result<Self, (StatusCode, &'static str)> {
        if server.draining.is_cancelled() {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "restarting\n"));
        }
        let address = server.client_addresses.of(peer, headers);
        let limit = server.config.limits.connections_per_address;
        let Some(guard) = server.addresses.admit(address, limit) else {
            server.client_addresses.limit_reached(address);
            return Err((StatusCode::TOO_MANY_REQUESTS, "too many connections from this address\n"));
        };
        let now = server.hub.environment().unix_time();
        let found = server.identity.from_cookie(headers, now);
        let renewal = found.map(|found| server.identity.renewal(found, now)).unwrap_or_default();
        let visitor = Visitor { cookie: found.map(|found| found.credential), address };
        Ok(Self { visitor, renewal, _guard: guard })
    }

    /// The headers that renew the visitor's cookie, for the response that opens the connection: a page may stay open for
    /// longer than a cookie lives.
    fn take_renewal(&mut self) -> AppendHeaders<Vec<(HeaderName, HeaderValue)>> {
        AppendHeaders(self.renewal.drain(..).map(|cookie| (SET_COOKIE, cookie)).collect())
    }
}

/// Serves a connection until it has ended.
async fn serve(server: Arc<Server>, mut transport: impl Transport, Admitted { visitor, _guard, .. }: Admitted) {
    let Some(registered) = server.hub.register() else {
        return transport.close(End::Close(CloseCode::Overloaded)).await;
    };
    if let Some(socket) = transport.direct_socket() {
        registered.outbox.connect(socket, server.hub.flusher(registered.id));
    }
    let mut session = Session::new(server.hub.clone(), server.identity.clone(), visitor, registered);
    let outbox = session.outbox().clone();
    if server.draining.is_cancelled() {
        outbox.close(CloseCode::Restarting);
    }
    let conversation = AssertUnwindSafe(converse(&server, &mut transport, &mut session, &outbox));
    // A panic was counted and logged by the panic hook, and ends only this connection.
    let ended = conversation.catch_unwind().await;
    let Err(end) = ended.unwrap_or(Err(End::Close(CloseCode::Internal)));
    // Leave the rooms before the last bytes are written, and write nothing after the close frame.
    drop(session);
    outbox.end();
    Box::pin(transport.close(end)).await;
}

/// The reason why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The server closes the connection with this code.
    Close(CloseCode),
    /// The peer has closed the connection, or is gone.
    PeerGone,
}

/// Heartbeat and hello timeout of one connection.
#[derive(Debug)]
struct Heartbeat {
    interval: Duration,
    hello_by: Instant,
    ping_at: Instant,
    /// The deadline of the last ping, until the peer sends something.
    pong_by: Option<Instant>,
}

impl Heartbeat {
    fn start(interval: Duration) -> Self {
        let now = Instant::now();
        Self { interval, hello_by: now + HELLO_TIMEOUT, ping_at: now + interval, pong_by: None }
    }

    /// The peer has sent something.
    fn reset(&mut self) {
        (self.pong_by, self.ping_at) = (None, Instant::now() + self.interval);
    }

    /// The time of the next ping or timeout.
    fn next(&self, is_greeted: bool) -> Instant {
        if is_greeted { self.pong_by.unwrap_or(self.ping_at) } else { self.hello_by }
    }

    /// The time when the peer must have sent something. Nothing is received during a write, so a write ends then, too.
    fn write_by(&self) -> Instant {
        self.pong_by.unwrap_or(self.ping_at + PONG_TIMEOUT)
    }

    /// Sends the ping that is due, or ends a connection that has not answered the last one.
    async fn ping(&mut self, transport: &mut impl Transport, is_greeted: bool) -> Result<(), End> {
        if !is_greeted {
            return Err(End::Close(CloseCode::HelloTimeout));
        }
        if self.pong_by.is_some() {
            return Err(End::Close(CloseCode::HeartbeatTimeout));
        }
        let pong_by = Instant::now() + PONG_TIMEOUT;
        self.pong_by = Some(pong_by);
        match timeout_at(pong_by, transport.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Disconnected)) => Err(End::PeerGone),
            // The peer reads so little that not even a ping can be written.
            Err(_) => Err(End::Close(CloseCode::HeartbeatTimeout)),
        }
    }
}

/// The run loop of a connection.
///
/// Rare futures are boxed so that idle connections stay small.
async fn converse(
    server: &Server,
    transport: &mut impl Transport,
    session: &mut Session,
    outbox: &Arc<Outbox>,
) -> Result<Infallible, End> {
    let (mut control_frames, quota) = (Bucket::default(), server.hub.control_frame_quota());
    let mut heartbeat = Heartbeat::start(Duration::from_secs(server.config.limits.heartbeat_seconds));
    let mut busy = Duration::ZERO;
    loop {
        let write_by = heartbeat.write_by();
        tokio::select! {
            // Write first, and receive before timers fire: a pong that has arrived already is in time.
            biased;
            () = outbox.ready() => Box::pin(flush(transport, outbox, write_by)).await?,
            received = receive_with_backpressure(server, transport) => {
                heartbeat.reset();
                match received {
                    Received::Frame(text) => {
                        let begun = Instant::now();
                        let handled = Box::pin(handle(transport, session, outbox, &text, write_by)).await?;
                        if let ControlFlow::Break(code) = handled {
                            // Answers to earlier frames are still sent.
                            let _ = Box::pin(flush(transport, outbox, write_by)).await;
                            return Err(End::Close(code));
                        }
                        busy += begun.elapsed();
                        if busy >= TURN {
                            busy = Duration::ZERO;
                            tokio::task::yield_now().await;
                        }
                    }
                    Received::Control => {
                        if control_frames.spend(server.hub.environment().now(), quota, 1).is_err() {
                            return Err(End::Close(CloseCode::RateAbuse));
                        }
                    }
                    Received::Fault(code) => return Err(End::Close(code)),
                    Received::CleanClose => {
                        session.clean_close();
                        return Err(End::PeerGone);
                    }
                    Received::Disconnected => return Err(End::PeerGone),
                }
            }
            () = sleep_until(heartbeat.next(session.is_greeted())) => {
                Box::pin(heartbeat.ping(transport, session.is_greeted())).await?;
            }
        }
    }
}

/// Handles a frame. Frames for the peer are written meanwhile, because a command can wait for the store.
async fn handle(
    transport: &mut impl Transport,
    session: &mut Session,
    outbox: &Arc<Outbox>,
    text: &str,
    write_by: Instant,
) -> Result<ControlFlow<CloseCode>, End> {
    let mut handling = pin!(session.handle(text));
    let mut written = Ok(());
    loop {
        let is_writing = AtomicBool::new(false);
        let mut write = pin!(async {
            outbox.ready().await;
            is_writing.store(true, Ordering::Relaxed);
            flush(transport, outbox, write_by).await
        });
        tokio::select! {
            biased;
            handled = &mut handling => {
                // A write cannot be given up in the middle.
                if written.is_ok() && is_writing.load(Ordering::Relaxed) {
                    written = write.await;
                }
                return written.map(|()| handled);
            }
            // After the end of the connection, the command is still carried out as a whole.
            result = &mut write, if written.is_ok() => written = result,
        }
    }
}

/// Receives the next frame or event, subject to backpressure: while outboxes fill faster than they drain, nothing is
/// read. Cancel safe.
async fn receive_with_backpressure(server: &Server, transport: &mut impl Transport) -> Received {
    server.hub.wait_for_capacity().await;
    transport.receive().await
}

/// Writes until the outbox is empty. Gives up when the outbox overflows, or when a write has not finished by `deadline`:
/// then the peer has not read for too long.
async fn flush(transport: &mut impl Transport, outbox: &Arc<Outbox>, deadline: Instant) -> Result<(), End> {
    loop {
        let waiting = outbox.take();
        if waiting.is_nothing() {
            return waiting.close.map_or(Ok(()), |code| Err(End::Close(code)));
        }
        let write_by = deadline.min(Instant::now() + WRITE_TIMEOUT);
        let written = tokio::select! {
            written = timeout_at(write_by, transport.write(waiting.frames)) => written,
            () = outbox.overflowed() => return Err(End::Close(CloseCode::SlowConsumer)),
        };
        match written {
            Ok(Ok(())) => {}
            Ok(Err(Disconnected)) => return Err(End::PeerGone),
            Err(_) => return Err(End::Close(CloseCode::SlowConsumer)),
        }
    }
}

/// The timeout for writing the close frame. A slow consumer first has to read what the kernel has buffered for it.
fn close_timeout(code: CloseCode) -> Duration {
    if code == CloseCode::SlowConsumer { WRITE_TIMEOUT } else { LINGER }
}
