//! The WebSocket: from the upgrade to the last close frame. What is said over it is `session`'s.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, SinkExt, StreamExt};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite;

use super::Server;
use super::hub::account::{AddressGuard, control_frames};
use super::hub::outbox::Link;
use super::origin::check_origin;
use super::session::{Session, Visitor};
use crate::protocol::{CloseCode, MAX_FRAME_BYTES};

/// `hello` must come within this.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// The server pings this often …
const PING_EVERY: Duration = Duration::from_secs(25);
/// … and wants to hear something within this.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// A peer that takes longer to read what waits is gone, or might as well be.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// After a close frame was sent, the peer has this long to read it and answer.
const LINGER: Duration = Duration::from_secs(1);
/// tungstenite allocates this much for reading per connection; its default is 128 KiB.
const READ_BUFFER: usize = 2 * 1024;
/// So many bytes are gathered before a write; everything that waits is gathered anyway.
const WRITE_BUFFER: usize = 16 * 1024;

/// `GET /ws`.
pub(super) async fn upgrade(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(rejected) = check_origin(&headers, server.config.public_url.as_ref()) {
        return rejected.answer().into_response();
    }
    if server.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "restarting\n").into_response();
    }
    let address = address(peer, &headers, server.config.trust_forwarded);
    let at_most = server.config.limits.connections_per_address;
    let Some(guard) = server.hub.directory.admit_connection(address, at_most) else {
        return (StatusCode::TOO_MANY_REQUESTS, "too many connections from this address\n").into_response();
    };
    let visitor = Visitor { user: server.identity.visitor(&headers), address };
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| {
            let sockets = server.sockets.clone();
            sockets.track_future(serve(server, socket, visitor, guard))
        })
}

/// The address that limits count: the connection's, or what a trusted proxy in front says.
pub(super) fn address(peer: SocketAddr, headers: &HeaderMap, trust_forwarded: bool) -> IpAddr {
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back().filter(|_| trust_forwarded);
    // The last entry is the one that the proxy itself added.
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or(peer.ip())
}

async fn serve(server: Arc<Server>, mut socket: WebSocket, visitor: Visitor, _guard: AddressGuard) {
    let Some(registered) = server.hub.register() else {
        return close(&mut socket, CloseCode::Overloaded).await;
    };
    let mut session = Session::new(server.hub.clone(), server.identity.clone(), visitor, registered);
    let outbox = session.outbox().clone();
    if server.draining.is_cancelled() {
        outbox.close(CloseCode::Restarting);
    }
    let conversation = AssertUnwindSafe(converse(&server, &mut socket, &mut session, &outbox));
    let ended = conversation.catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("a connection panicked");
        Some(CloseCode::Internal)
    });
    // Its rooms need not wait for the last bytes.
    drop(session);
    match ended {
        Some(code) => close(&mut socket, code).await,
        // The answer to the peer's own close may still wait to be written.
        None => drop(timeout(LINGER, socket.flush()).await),
    }
}

/// Talks until either side ends it. `None`: the peer is gone or has said so.
async fn converse(server: &Server, socket: &mut WebSocket, session: &mut Session, outbox: &Link) -> Option<CloseCode> {
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
                if let Some(end) = write_waiting(socket, outbox, written_by).await {
                    return end;
                }
            }
            received = socket.next() => {
                pong_by = None;
                ping_at = Instant::now() + PING_EVERY;
                match received {
                    Some(Ok(Message::Text(text))) => {
                        if let ControlFlow::Break(code) = session.handle(&text).await {
                            // What was answered before this frame is still due.
                            let _ = write_waiting(socket, outbox, written_by).await;
                            return Some(code);
                        }
                    }
                    Some(Ok(Message::Binary(_))) => return Some(CloseCode::Binary),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                        if control.check().is_err() {
                            return Some(CloseCode::RateAbuse);
                        }
                    }
                    Some(Ok(Message::Close(frame))) => {
                        // A page that is left says 1001, a program 1000. Whoever gives up a connection
                        // that seems dead, and is about to come back, names no code.
                        if frame.is_some() {
                            session.farewell();
                        }
                        return None;
                    }
                    None => return None,
                    Some(Err(error)) => return close_code(error),
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
                match timeout_at(by, socket.send(Message::Ping(Default::default()))).await {
                    Ok(sent) => sent.ok()?,
                    // Not even room for a ping: nobody reads there.
                    Err(_) => return Some(CloseCode::HeartbeatTimeout),
                }
                pong_by = Some(by);
            }
        }
    }
}

/// Writes everything that waits with as few system calls as possible, until nothing waits. Breaks
/// off when the outbox overflows or the peer does not read for long: not until `by`, when something
/// should have been heard of it. `Some` ends the conversation.
#[allow(clippy::option_option)]
async fn write_waiting(socket: &mut WebSocket, outbox: &Link, by: Instant) -> Option<Option<CloseCode>> {
    loop {
        let waiting = outbox.take();
        if waiting.frames.is_empty() {
            return waiting.close.map(Some);
        }
        let write = async {
            for frame in waiting.frames {
                socket.feed(Message::Text(frame)).await?;
            }
            socket.flush().await
        };
        let written = tokio::select! {
            written = timeout_at(by.min(Instant::now() + WRITE_WITHIN), write) => written,
            () = outbox.overflowed() => return Some(Some(CloseCode::SlowConsumer)),
        };
        match written {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Some(None),
            Err(_) => return Some(Some(CloseCode::SlowConsumer)),
        }
    }
}

/// The close code for what the peer did wrong; `None` when the connection just broke.
fn close_code(error: axum::Error) -> Option<CloseCode> {
    use tungstenite::Error;
    match error.into_inner().downcast::<Error>().map(|error| *error) {
        Ok(Error::Capacity(_)) => Some(CloseCode::TooBig),
        Ok(Error::Utf8(_)) => Some(CloseCode::NotUtf8),
        Ok(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => None,
        Ok(Error::Protocol(_)) => Some(CloseCode::Protocol),
        _ => None,
    }
}

/// Sends a close frame and reads on until the peer has closed too, so that the code arrives: a
/// socket closed with unread bytes resets the connection, and the peer would see 1006.
async fn close(socket: &mut WebSocket, code: CloseCode) {
    let frame = CloseFrame { code: code.number(), reason: Default::default() };
    // A slow reader first reads what the kernel holds for it.
    let patience = if code == CloseCode::SlowConsumer { WRITE_WITHIN } else { LINGER };
    if !matches!(timeout(patience, socket.send(Message::Close(Some(frame)))).await, Ok(Ok(()))) {
        return;
    }
    let until = sleep(LINGER);
    tokio::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return,
            received = socket.next() => match received {
                Some(Ok(_)) => {}
                // A stream that failed reads nothing any more: the peer still gets its time.
                Some(Err(_)) | None => break,
            }
        }
    }
    if matches!(code, CloseCode::Protocol | CloseCode::TooBig | CloseCode::NotUtf8) {
        until.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
