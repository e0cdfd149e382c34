//! The WebSocket transport (RFC 6455).

use std::future::poll_fn;

use futures::{SinkExt, StreamExt};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message as Frame, State, WebSocketError};
use leptos::prelude::window;

use super::session::{ABNORMAL_CLOSE, Event};

/// A WebSocket that reports its opening and closing as session events. It closes when it is dropped.
pub(super) struct Socket {
    /// `None`: the socket could not be created.
    inner: Option<WebSocket>,
    opened: bool,
}

impl Socket {
    pub(super) fn open() -> Self {
        let location = window().location();
        let scheme = if location.protocol().as_deref() == Ok("https:") { "wss" } else { "ws" };
        let url = format!("{scheme}://{}/ws", location.host().unwrap_or_default());
        Self { inner: WebSocket::open(&url).ok(), opened: false }
    }

    pub(super) async fn next(&mut self) -> Event {
        let Some(socket) = self.inner.as_mut() else { return Event::Closed(ABNORMAL_CLOSE) };
        if !self.opened {
            // A sink is ready when the socket is not connecting any more.
            let _ = poll_fn(|context| socket.poll_ready_unpin(context)).await;
            if matches!(socket.state(), State::Open) {
                self.opened = true;
                return Event::Opened;
            }
        }
        loop {
            match socket.next().await {
                Some(Ok(Frame::Text(text))) => return Event::Received(text),
                Some(Err(WebSocketError::ConnectionClose(close))) => return Event::Closed(close.code),
                None => return Event::Closed(ABNORMAL_CLOSE),
                // The server sends text only, and a close follows each error.
                Some(Ok(Frame::Bytes(_)) | Err(_)) => {}
            }
        }
    }

    pub(super) async fn send(&mut self, text: String) {
        if let Some(socket) = self.inner.as_mut() {
            // A broken connection is reported by `next`.
            let _ = socket.send(Frame::Text(text)).await;
        }
    }
}

/// A WebSocket beside the fallback, opened to find out whether WebSocket works now.
pub(super) struct Probe {
    socket: Socket,
    text: String,
}

impl Probe {
    /// Opens a WebSocket that sends the frame `text`.
    pub(super) fn open(text: String) -> Self {
        Self { socket: Socket::open(), text }
    }

    /// Completes with whether an answer has arrived.
    pub(super) async fn is_answered(&mut self) -> bool {
        loop {
            match self.socket.next().await {
                Event::Opened => self.socket.send(self.text.clone()).await,
                event => return matches!(event, Event::Received(_)),
            }
        }
    }

    /// The probe's WebSocket as a new connection: it reports its opening again.
    pub(super) fn into_connection(self) -> Socket {
        Socket { opened: false, ..self.socket }
    }
}
