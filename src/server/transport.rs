//! What all connections have in common, whatever carries their frames: who may have one, its
//! deadlines, its limits and its end. What is said over it is `session`'s.

pub(super) mod events;
pub(super) mod ws;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use futures::FutureExt;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Server;
use super::hub::account::control_frames;
use super::hub::outbox::{Link, WriteNow};
use super::per_address::{self, counted};
use super::session::{Session, Visitor};
use crate::protocol::CloseCode;

/// `hello` must come within this.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// The server pings this often …
const PING_EVERY: Duration = Duration::from_secs(25);
/// … and wants to hear something within this.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// A peer that takes longer to read what waits is gone, or might as well be.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// Once a close was sent, the peer has this long to read it.
const LINGER: Duration = Duration::from_secs(1);

/// What carries frames to one peer and back.
trait Wire: Send {
    /// What the peer sends next. Loses nothing when it is given up half-way.
    fn receive(&mut self) -> impl Future<Output = Received> + Send;

    /// Where others can write frames, without this.
    fn line(&self) -> Option<Arc<dyn WriteNow>> {
        None
    }

    /// Writes what its line keeps, then these frames, with as few system calls as possible.
    fn write(&mut self, frames: VecDeque<Utf8Bytes>) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Asks for a sign of life.
    fn ping(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Says why it ends, and waits until the peer can have read it. `None`: the peer itself has
    /// closed, or is gone.
    fn end(self, code: Option<CloseCode>) -> impl Future<Output = ()> + Send;
}

/// What came in over a [`Wire`].
#[derive(Debug)]
enum Received {
    /// A frame.
    Frame(Utf8Bytes),
    /// A sign of life without content.
    Control,
    /// Something that ends the connection with this code.
    Fault(CloseCode),
    /// The peer says that it leaves.
    Farewell,
    /// The connection broke, or the peer gives it up to come back.
    Gone,
}

/// Nobody is there to write to.
#[derive(Debug)]
struct Gone;

/// Somebody who may have a connection, and counts against their address.
struct Admitted {
    visitor: Visitor,
    _guard: per_address::Guard,
}

impl Admitted {
    /// Lets whoever sent this have a connection, or says why not.
    fn admit(server: &Server, peer: SocketAddr, headers: &HeaderMap) -> Result<Self, (StatusCode, &'static str)> {
        if server.draining.is_cancelled() {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "restarting\n"));
        }
        let address = address(peer, headers, server.config.trust_forwarded);
        let at_most = server.config.limits.connections_per_address;
        let Some(guard) = server.addresses.admit(address, at_most) else {
            return Err((StatusCode::TOO_MANY_REQUESTS, "too many connections from this address\n"));
        };
        let visitor = Visitor { user: server.identity.visitor(headers), address };
        Ok(Self { visitor, _guard: guard })
    }
}

/// The address that limits count: the connection's, or what a trusted proxy in front says.
pub(super) fn address(peer: SocketAddr, headers: &HeaderMap, trust_forwarded: bool) -> IpAddr {
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back().filter(|_| trust_forwarded);
    // The last entry is the one that the proxy itself added.
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    counted(last.unwrap_or(peer.ip()))
}

/// A connection from its beginning to its end.
async fn serve(server: Arc<Server>, mut wire: impl Wire, Admitted { visitor, _guard }: Admitted) {
    let Some(registered) = server.hub.register() else {
        return wire.end(Some(CloseCode::Overloaded)).await;
    };
    if let Some(line) = wire.line() {
        registered.outbox.connect(line, server.hub.flusher(registered.conn));
    }
    let mut session = Session::new(server.hub.clone(), server.identity.clone(), visitor, registered);
    let outbox = session.outbox().clone();
    if server.draining.is_cancelled() {
        outbox.close(CloseCode::Restarting);
    }
    let conversation = AssertUnwindSafe(converse(&server, &mut wire, &mut session, &outbox));
    // A panic is counted and logged where it happened, and ends this connection only.
    let ended = conversation.catch_unwind().await.unwrap_or(Some(CloseCode::Internal));
    // Its rooms need not wait for the last bytes, and nobody writes after a close.
    drop(session);
    outbox.end();
    Box::pin(wire.end(ended)).await;
}

/// Talks until either side ends it. `None`: the peer is gone or has said so.
///
/// What it waits for at times is boxed, so that thousands who say nothing need not keep room for it.
async fn converse(server: &Server, wire: &mut impl Wire, session: &mut Session, outbox: &Link) -> Option<CloseCode> {
    let control = control_frames(&server.config.limits);
    let hello_by = Instant::now() + HELLO_WITHIN;
    let mut ping_at = Instant::now() + PING_EVERY;
    let mut pong_by: Option<Instant> = None;
    loop {
        let deadline = if session.is_greeted() { pong_by.unwrap_or(ping_at) } else { hello_by };
        // Nothing is read while something is written.
        let written_by = pong_by.unwrap_or(ping_at + PONG_WITHIN);
        tokio::select! {
            // What waits goes out first, and what came in counts before the clock: a pong that is
            // there already is in time.
            biased;
            () = outbox.ready() => {
                if let Some(end) = Box::pin(write_waiting(wire, outbox, written_by)).await {
                    return end;
                }
            }
            received = heard(server, wire) => {
                pong_by = None;
                ping_at = Instant::now() + PING_EVERY;
                match received {
                    Received::Frame(text) => {
                        if let ControlFlow::Break(code) = Box::pin(session.handle(&text)).await {
                            // What was answered before this frame is still due.
                            let _ = Box::pin(write_waiting(wire, outbox, written_by)).await;
                            return Some(code);
                        }
                    }
                    Received::Control => {
                        if control.check().is_err() {
                            return Some(CloseCode::RateAbuse);
                        }
                    }
                    Received::Fault(code) => return Some(code),
                    Received::Farewell => {
                        session.farewell();
                        return None;
                    }
                    Received::Gone => return None,
                }
            }
            () = sleep_until(deadline) => {
                if !session.is_greeted() {
                    return Some(CloseCode::HelloTimeout);
                }
                if pong_by.is_some() {
                    return Some(CloseCode::HeartbeatTimeout);
                }
                let by = Instant::now() + PONG_WITHIN;
                match Box::pin(timeout_at(by, wire.ping())).await {
                    Ok(sent) => sent.ok()?,
                    // Not even room for a ping: nobody reads there.
                    Err(_) => return Some(CloseCode::HeartbeatTimeout),
                }
                pong_by = Some(by);
            }
        }
    }
}

/// What comes in next; while people who read are written to more slowly than others speak, nothing is read. Loses
/// nothing when it is given up half-way.
async fn heard(server: &Server, wire: &mut impl Wire) -> Received {
    server.hub.caught_up().await;
    wire.receive().await
}

/// Writes everything that waits, until nothing does. Breaks off when the outbox overflows or the
/// peer does not read for long: not until `by`, when something should have been heard of it. `Some` ends the
/// conversation.
#[allow(clippy::option_option)]
async fn write_waiting(wire: &mut impl Wire, outbox: &Link, by: Instant) -> Option<Option<CloseCode>> {
    loop {
        let waiting = outbox.take();
        if waiting.is_nothing() {
            return waiting.close.map(Some);
        }
        let written = tokio::select! {
            written = timeout_at(by.min(Instant::now() + WRITE_WITHIN), wire.write(waiting.frames)) => written,
            () = outbox.overflowed() => return Some(Some(CloseCode::SlowConsumer)),
        };
        match written {
            Ok(Ok(())) => {}
            Ok(Err(Gone)) => return Some(None),
            Err(_) => return Some(Some(CloseCode::SlowConsumer)),
        }
    }
}

/// How long the close itself may take to write: a slow reader first reads what the kernel holds
/// for it.
fn patience(code: CloseCode) -> Duration {
    if code == CloseCode::SlowConsumer { WRITE_WITHIN } else { LINGER }
}

#[cfg(test)]
mod tests {
    use leptos::config::LeptosOptions;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::server::call::ice::IceSettings;
    use crate::server::config::{Config, LimitSettings};
    use crate::server::hub::Hub;
    use crate::server::identity::Identity;
    use crate::server::per_address::PerAddress;
    use crate::server::store::Store;

    /// A wire that the test holds by both ends. One that is sent nothing more panics.
    struct Held {
        up: UnboundedReceiver<&'static str>,
        down: UnboundedSender<String>,
    }

    impl Wire for Held {
        async fn receive(&mut self) -> Received {
            Received::Frame(self.up.recv().await.expect("a wire that panics").into())
        }

        async fn write(&mut self, frames: VecDeque<Utf8Bytes>) -> Result<(), Gone> {
            frames.iter().try_for_each(|frame| self.down.send(frame.to_string())).map_err(|_| Gone)
        }

        async fn ping(&mut self) -> Result<(), Gone> {
            Ok(())
        }

        async fn end(self, code: Option<CloseCode>) {
            let _ = self.down.send(format!("closed with {:?}", code.map(CloseCode::number)));
        }
    }

    fn server(folder: &std::path::Path) -> Arc<Server> {
        let (limits, ice) = (LimitSettings::default(), IceSettings::default());
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: folder.to_owned(),
            backup_to: None,
            tls: None,
            leptos: LeptosOptions::builder().output_name("noom").build(),
            public_url: None,
            trust_forwarded: false,
            json_logs: false,
            ice: ice.clone(),
            limits: limits.clone(),
        };
        Arc::new(Server {
            hub: Hub::new(Store::open(folder, "e").unwrap(), limits, ice),
            identity: Arc::new(Identity::load(folder, false).unwrap()),
            config,
            draining: CancellationToken::new(),
            addresses: PerAddress::default(),
            connections: TaskTracker::new(),
            doors: Default::default(),
        })
    }

    fn connect(server: &Arc<Server>) -> (UnboundedSender<&'static str>, UnboundedReceiver<String>) {
        let ((say, up), (down, heard)) = (unbounded_channel(), unbounded_channel());
        let admitted = Admitted::admit(server, ([127, 0, 0, 1], 9).into(), &HeaderMap::new()).unwrap();
        tokio::spawn(serve(server.clone(), Held { up, down }, admitted));
        say.send(r#"{"type":"hello","payload":{"protocol":1},"id":1}"#).unwrap();
        say.send(r#"{"type":"enter_room","payload":{"room":"r"},"id":2}"#).unwrap();
        (say, heard)
    }

    async fn until(heard: &mut UnboundedReceiver<String>, wanted: &str) {
        loop {
            let frame = heard.recv().await.expect("more is heard");
            if frame.contains(wanted) {
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_panics_ends_alone() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path());
        let (ann, mut by_ann) = connect(&server);
        let (bob, mut by_bob) = connect(&server);
        until(&mut by_ann, r#""id":2"#).await;
        until(&mut by_bob, r#""id":2"#).await;
        drop(bob);
        until(&mut by_bob, "closed with Some(1011)").await;
        let key = "5f0c9f0e-7b0e-4c8e-9a53-1d3f5f0b7c11";
        ann.send(r#"{"type":"new_message","payload":{"room":"r","key":"5f0c9f0e-7b0e-4c8e-9a53-1d3f5f0b7c11","text":"x"},"id":3}"#).unwrap();
        until(&mut by_ann, key).await;
        assert_eq!(server.hub.links().len(), 1, "and its place is free");
    }

    #[test]
    fn a_forwarded_address_counts_only_behind_a_declared_proxy() {
        let peer: SocketAddr = "10.0.0.1:9".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "1.1.1.1, 192.0.2.7".parse().unwrap());
        assert_eq!(address(peer, &headers, false).to_string(), "10.0.0.1");
        assert_eq!(address(peer, &headers, true).to_string(), "192.0.2.7");
        assert_eq!(address(peer, &HeaderMap::new(), true).to_string(), "10.0.0.1");
    }
}
