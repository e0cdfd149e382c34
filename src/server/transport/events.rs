//! Frames where WebSocket is blocked: down as server-sent events, up as the bodies of POSTs.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::ws::Utf8Bytes;
use axum::extract::{ConnectInfo, FromRequest, Path, Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::poll_fn;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Mutex as Turns, mpsc};
use tokio::time::timeout;

use super::{Admitted, Gone, Received, Wire, patience, serve};
use crate::protocol::{CloseCode, MAX_FRAME_BYTES, UserId};
use crate::server::hub::account::lock;
use crate::server::origin::{check_form, check_stream};
use crate::server::{Server, random};

/// Where POSTs find the connection that they belong to.
#[derive(Debug, Default)]
pub(in crate::server) struct Doors(Mutex<HashMap<String, Arc<Door>>>);

/// Where the frames of one connection come in.
#[derive(Debug)]
struct Door {
    /// Whose connection it is. A token that somebody else got hold of opens nothing.
    user: Option<UserId>,
    /// One POST at a time, in the order they came.
    turns: Turns<mpsc::Sender<Received>>,
}

impl Doors {
    fn open(&self, token: String, user: Option<UserId>) -> mpsc::Receiver<Received> {
        // What is not taken yet holds up the POST that brought it.
        let (sender, receiver) = mpsc::channel(1);
        lock(&self.0).insert(token, Arc::new(Door { user, turns: Turns::new(sender) }));
        receiver
    }

    fn find(&self, token: &str, user: Option<UserId>) -> Option<Arc<Door>> {
        lock(&self.0).get(token).filter(|door| door.user == user).cloned()
    }
}

/// The two directions of a connection.
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
    if let Err(rejected) = check_stream(&headers, server.config.public_url.as_ref()) {
        return rejected.answer().into_response();
    }
    let admitted = match Admitted::admit(&server, peer, &headers) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into_response(),
    };
    let token = format!("{:016x}{:016x}", random::bits(), random::bits());
    let up = server.doors.open(token.clone(), admitted.visitor.user);
    let (down, mut written) = mpsc::channel(1);
    // There is room for one.
    let _ = down.try_send(event("token", &token));
    let events = Events { server: server.clone(), token, down, up };
    server.connections.spawn(serve(server.clone(), events, admitted));
    let stream = poll_fn(move |context| written.poll_recv(context)).map(Ok::<_, Infallible>);
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-store"),
        // Asks proxies not to gather.
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

/// `POST /events/{token}`: frames, one a line; nothing at all is a sign of life.
pub(in crate::server) async fn post(
    State(server): State<Arc<Server>>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    if let Err(rejected) = check_form(request.headers(), server.config.public_url.as_ref()) {
        return rejected.answer().into_response();
    }
    let gone = || (StatusCode::NOT_FOUND, "there is no such connection\n").into_response();
    let Some(door) = server.doors.find(&token, server.identity.visitor(request.headers())) else { return gone() };
    let turn = door.turns.lock().await;
    let taken = match Bytes::from_request(request, &()).await {
        Ok(body) => take(&turn, &body).await,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => fault(&turn, CloseCode::TooBig).await,
        // One that broke off is as if it had never come.
        Err(rejection) => return rejection.into_response(),
    };
    taken.map_or_else(|_| gone(), IntoResponse::into_response)
}

type Taken = Result<StatusCode, SendError<Received>>;

/// Hands a body over, line by line. Returns when the conversation has taken all of it.
async fn take(up: &mpsc::Sender<Received>, body: &[u8]) -> Taken {
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

/// What ends a WebSocket ends these connections too.
async fn fault(up: &mpsc::Sender<Received>, code: CloseCode) -> Taken {
    up.send(Received::Fault(code)).await?;
    Ok(if code == CloseCode::TooBig { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST })
}

/// An event with a name.
fn event(name: &str, data: &str) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

impl Wire for Events {
    async fn receive(&mut self) -> Received {
        tokio::select! {
            () = self.down.closed() => Received::Gone,
            received = self.up.recv() => received.unwrap_or(Received::Gone),
        }
    }

    async fn write(&mut self, frames: VecDeque<Utf8Bytes>) -> Result<(), Gone> {
        const AROUND: usize = "data: \n\n".len();
        let mut text = String::with_capacity(frames.iter().map(|frame| frame.len() + AROUND).sum());
        // A frame is one line: JSON escapes what would break it.
        for frame in &frames {
            text.extend(["data: ", frame.as_str(), "\n\n"]);
        }
        self.down.send(text.into()).await.map_err(|_| Gone)
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        self.down.send(event("ping", "")).await.map_err(|_| Gone)
    }

    async fn end(self, code: Option<CloseCode>) {
        if let Some(code) = code {
            let said = self.down.send(event("close", &code.number().to_string()));
            let _ = timeout(patience(code), said).await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        lock(&self.server.doors.0).remove(&self.token);
    }
}
