//! The WebSocket transport: from the upgrade to the closing handshake.

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

use super::{Admitted, Disconnected, End, LINGER, Received, Transport, close_timeout, serve};
use crate::protocol::{CloseCode, MAX_FRAME_BYTES};
use crate::server::Server;
use crate::server::hub::outbox::DirectSocket;
use crate::server::socket::SharedSocket;

/// Read buffer of each connection, in bytes. tungstenite's default is 128 KiB. A typical message fits; a longer one is
/// read in parts.
const READ_BUFFER: usize = 512;
/// Bytes that tungstenite buffers before it writes. A flush writes them in any case.
const WRITE_BUFFER: usize = 16 * 1024;

/// A WebSocket, and the TCP socket below it if other tasks may write to it: not under TLS.
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
    if let Err(refused) = server.own_address.check_origin(&headers) {
        return refused.into_response();
    }
    let mut admitted = match Admitted::admit(&server, peer, &headers) {
        Ok(admitted) => admitted,
        Err(response) => return response.into_response(),
    };
    let renewal = admitted.take_renewal();
    let response = upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(move |frames| async move {
            // In a new task: this one is larger, because it has performed the upgrade.
            server.connections.clone().spawn(serve(server, Socket { frames, shared }, admitted));
        });
    (renewal, response).into_response()
}

impl Transport for Socket {
    async fn receive(&mut self) -> Received {
        match self.frames.next().await {
            Some(Ok(Message::Text(text))) => Received::Frame(text),
            Some(Ok(Message::Binary(_))) => Received::Fault(CloseCode::Binary),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Received::Control,
            // A page that is closed sends 1001, a program 1000. A client that drops a seemingly dead connection in order
            // to reconnect sends no code.
            Some(Ok(Message::Close(Some(_)))) => Received::CleanClose,
            Some(Ok(Message::Close(None))) | None => Received::Disconnected,
            Some(Err(error)) => close_code(error).map_or(Received::Disconnected, Received::Fault),
        }
    }

    fn direct_socket(&self) -> Option<Arc<dyn DirectSocket>> {
        let shared = self.shared.clone()?;
        shared.share();
        Some(shared)
    }

    async fn write(&mut self, frames: VecDeque<Utf8Bytes>) -> Result<(), Disconnected> {
        for frame in frames {
            self.frames.feed(Message::Text(frame)).await.map_err(|_| Disconnected)?;
        }
        self.frames.flush().await.map_err(|_| Disconnected)
    }

    async fn ping(&mut self) -> Result<(), Disconnected> {
        self.frames.send(Message::Ping(Default::default())).await.map_err(|_| Disconnected)
    }

    async fn close(mut self, end: End) {
        match end {
            End::Close(code) => close(&mut self.frames, code).await,
            // The answer to the peer's close frame may still be buffered.
            End::PeerGone => drop(timeout(LINGER, self.frames.flush()).await),
        }
    }
}

/// The close code for a violation of the protocol; `None` if the connection broke.
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

/// Sends a close frame and keeps reading until the peer has closed, too. A socket that is closed with unread bytes
/// resets the connection, and the peer would see 1006 instead of the code.
async fn close(socket: &mut WebSocket, code: CloseCode) {
    let frame = CloseFrame { code: code.number(), reason: Default::default() };
    if !matches!(timeout(close_timeout(code), socket.send(Message::Close(Some(frame)))).await, Ok(Ok(()))) {
        return;
    }
    let until = sleep(LINGER);
    tokio::pin!(until);
    loop {
        tokio::select! {
            () = &mut until => return,
            received = socket.next() => match received {
                Some(Ok(_)) => {}
                // Nothing more can be read after an error.
                Some(Err(_)) | None => break,
            }
        }
    }
    // After these, the stream has failed and cannot show when the peer closes.
    if matches!(code, CloseCode::Protocol | CloseCode::TooBig | CloseCode::NotUtf8) {
        until.await;
    }
}
