//! The fallback transport for networks that block WebSocket: frames to the client as server-sent events, frames from
//! it as the bodies of POSTs.
//!
//! It does not use axum's `Sse`, which makes a body frame of each event: here all waiting frames are written as one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::Utf8Bytes;
use axum::extract::{ConnectInfo, FromRequest, Path, Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::poll_fn;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio::time::timeout;
use tokio_util::bytes::BytesMut;

use super::{Admitted, Disconnected, End, Received, Transport, close_timeout, serve};
use crate::protocol::{CloseCode, MAX_FRAME_BYTES};
use crate::server::{Server, random};

/// The frames that are copied into one write, in bytes.
const MAX_COPIED: usize = 16 * 1024;

/// A connection over events.
struct Events {
    server: Arc<Server>,
    token: String,
    down: mpsc::Sender<Bytes>,
    up: mpsc::Receiver<Received>,
}

/// `GET /events`.
pub(in crate::server) async fn open(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Err(refused) = server.own_address.check_stream(&headers) {
        return refused.into_response();
    }
    let mut admitted = match Admitted::admit(&server, peer, &headers) {
        Ok(admitted) => admitted,
        Err(response) => return response.into_response(),
    };
    let token = format!("{:016x}{:016x}", random::bits(), random::bits());
    let up = server.post_inboxes.open(token.clone(), admitted.visitor.cookie);
    let (down, mut written) = mpsc::channel(1);
    down.try_send(event("token", &token)).expect("a new channel has capacity for one event");
    let renewal = admitted.take_renewal();
    let events = Events { server: server.clone(), token, down, up };
    server.connections.spawn(serve(server.clone(), events, admitted));
    let stream = poll_fn(move |context| written.poll_recv(context)).map(Ok::<_, Infallible>);
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        // A proxy that compresses would delay events.
        (CACHE_CONTROL.as_str(), "no-store, no-transform"),
        // Asks nginx and compatible proxies not to buffer.
        ("x-accel-buffering", "no"),
    ];
    (headers, renewal, Body::from_stream(stream)).into_response()
}

/// `POST /events/{token}`: one frame per line. An empty body is a sign of life.
pub(in crate::server) async fn post(
    State(server): State<Arc<Server>>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    if let Err(refused) = server.own_address.check_form(request.headers()) {
        return refused.into_response();
    }
    let now = server.hub.environment().unix_time();
    let cookie = server.identity.from_cookie(request.headers(), now).map(|found| found.credential);
    let gone = || (StatusCode::NOT_FOUND, "there is no such connection\n").into_response();
    let Some(inbox) = server.post_inboxes.find(&token, cookie) else {
        return gone();
    };
    let sender = inbox.sender.lock().await;
    let request_timeout = Duration::from_secs(server.config.limits.request_seconds);
    let Ok(body) = timeout(request_timeout, Bytes::from_request(request, &())).await else {
        return (StatusCode::REQUEST_TIMEOUT, "the body took too long\n").into_response();
    };
    let delivered = match body {
        Ok(body) => deliver(&sender, &body).await,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            fault(&sender, CloseCode::TooBig).await
        }
        // An incomplete body is ignored: none of its frames is delivered.
        Err(rejection) => return rejection.into_response(),
    };
    delivered.map_or_else(|_| gone(), IntoResponse::into_response)
}

type Delivered = Result<StatusCode, SendError<Received>>;

/// Delivers a body line by line. Returns when the connection has received all of it.
async fn deliver(up: &mpsc::Sender<Received>, body: &[u8]) -> Delivered {
    if body.is_empty() {
        up.send(Received::Control).await?;
    }
    let Ok(text) = std::str::from_utf8(body) else { return fault(up, CloseCode::NotUtf8).await };
    for line in text.lines() {
        if line.len() > MAX_FRAME_BYTES {
            return fault(up, CloseCode::TooBig).await;
        }
        up.send(Received::Frame(line.into())).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Closes the connection, as the same violation over a WebSocket does.
async fn fault(up: &mpsc::Sender<Received>, code: CloseCode) -> Delivered {
    up.send(Received::Fault(code)).await?;
    Ok(if code == CloseCode::TooBig { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST })
}

/// A named event. `data` must be one line.
fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

impl Events {
    async fn send(&self, bytes: Bytes) -> Result<(), Disconnected> {
        self.down.send(bytes).await.map_err(|_| Disconnected)
    }
}

impl Transport for Events {
    async fn receive(&mut self) -> Received {
        tokio::select! {
            () = self.down.closed() => Received::Disconnected,
            received = self.up.recv() => received.unwrap_or(Received::Disconnected),
        }
    }

    async fn write(&mut self, frames: VecDeque<Utf8Bytes>) -> Result<(), Disconnected> {
        let mut text = BytesMut::new();
        // A frame is one line: JSON escapes what would break it.
        for frame in frames {
            text.extend_from_slice(b"data: ");
            if frame.len() > MAX_COPIED {
                // Not copied, so that the frame is in memory once.
                self.send(text.split().freeze()).await?;
                self.send(frame.into()).await?;
            } else {
                text.extend_from_slice(frame.as_bytes());
            }
            text.extend_from_slice(b"\n\n");
            if text.len() > MAX_COPIED {
                self.send(text.split().freeze()).await?;
            }
        }
        self.send(text.freeze()).await
    }

    async fn ping(&mut self) -> Result<(), Disconnected> {
        self.down.send(event("ping", "")).await.map_err(|_| Disconnected)
    }

    async fn close(self, end: End) {
        if let End::Close(code) = end {
            let sent = self.down.send(event("close", &code.number().to_string()));
            let _ = timeout(close_timeout(code), sent).await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.server.post_inboxes.remove(&self.token);
    }
}
