//! Frames over a WebSocket: from the upgrade to the last close frame.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Extension, State};
use axum::response::{IntoResponse, Response};
use futures::{SinkExt, StreamExt};
use http::HeaderMap;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite;

use super::{Admitted, Gone, LINGER, Received, Wire, patience, serve};
use crate::protocol::{CloseCode, MAX_FRAME_BYTES};
use crate::server::Server;
use crate::server::hub::outbox::WriteNow;
use crate::server::origin::check_origin;
use crate::server::socket::SharedSocket;

/// tungstenite keeps this much for reading for each connection; its default is 128 KiB. A message fits, a longer one
/// is read in parts.
const READ_BUFFER: usize = 512;
/// So many bytes are gathered before a write; everything that waits is gathered anyway.
const WRITE_BUFFER: usize = 16 * 1024;

/// A WebSocket, and the socket below it if others may write there.
struct Socket {
    frames: WebSocket,
    shared: Option<Arc<SharedSocket>>,
}

/// `GET /ws`.
pub(in crate::server) async fn upgrade(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(shared): Extension<Option<Arc<SharedSocket>>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(rejected) = check_origin(&headers, server.config.public_url.as_ref()) {
        return rejected.answer().into_response();
    }
    let admitted = match Admitted::admit(&server, peer, &headers) {
        Ok(admitted) => admitted,
        Err(refused) => return refused.into_response(),
    };
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |frames| async move {
            // In a task of its own: this one keeps room for the upgrade.
            server.connections.clone().spawn(serve(server, Socket { frames, shared }, admitted));
        })
}

impl Wire for Socket {
    async fn receive(&mut self) -> Received {
        match self.frames.next().await {
            Some(Ok(Message::Text(text))) => Received::Frame(text),
            Some(Ok(Message::Binary(_))) => Received::Fault(CloseCode::Binary),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Received::Control,
            // A page that is left says 1001, a program 1000. Whoever gives up a connection that
            // seems dead, and is about to come back, names no code.
            Some(Ok(Message::Close(Some(_)))) => Received::Farewell,
            Some(Ok(Message::Close(None))) | None => Received::Gone,
            Some(Err(error)) => close_code(error).map_or(Received::Gone, Received::Fault),
        }
    }

    fn line(&self) -> Option<Arc<dyn WriteNow>> {
        let shared = self.shared.clone()?;
        shared.share();
        Some(shared)
    }

    async fn write(&mut self, frames: VecDeque<Utf8Bytes>) -> Result<(), Gone> {
        for frame in frames {
            self.frames.feed(Message::Text(frame)).await.map_err(|_| Gone)?;
        }
        self.frames.flush().await.map_err(|_| Gone)
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        self.frames.send(Message::Ping(Default::default())).await.map_err(|_| Gone)
    }

    async fn end(mut self, code: Option<CloseCode>) {
        match code {
            Some(code) => close(&mut self.frames, code).await,
            // The answer to the peer's own close may still wait to be written.
            None => drop(timeout(LINGER, self.frames.flush()).await),
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
    if !matches!(timeout(patience(code), socket.send(Message::Close(Some(frame)))).await, Ok(Ok(()))) {
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
