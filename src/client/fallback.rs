//! The fallback where something between page and server blocks WebSocket: server-sent events down, POST requests up.

use std::collections::VecDeque;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::{Fuse, FusedFuture, LocalBoxFuture};
use futures::{FutureExt, StreamExt, select_biased};
use gloo_net::http::Request;
use wasm_bindgen::JsCast;
use web_sys::{AbortController, AbortSignal, EventSource, MessageEvent};

use super::event_listener::EventListener;
use super::session::{ABNORMAL_CLOSE, Event};
use super::storage::Storage;
use crate::protocol::MAX_BATCH_BYTES;

/// The entry of a tab that needed the fallback.
const NEEDED_KEY: &str = "noom.websocket-blocked";

/// A connection over the fallback. It closes when it is dropped.
pub(super) struct Fallback {
    /// `None`: the stream could not be created.
    source: Option<EventSource>,
    incoming: UnboundedReceiver<StreamEvent>,
    /// The path of POST requests, once the server has sent it.
    path: Option<String>,
    /// Frames that are not posted yet.
    outgoing: VecDeque<String>,
    /// True if the server waits for a POST as a sign of life.
    pinged: bool,
    /// The POST request in flight; it returns whether it succeeded.
    posting: Fuse<LocalBoxFuture<'static, bool>>,
    /// Ends that request with the connection, which the server would no longer know.
    abort: Option<AbortController>,
    _listeners: Option<[EventListener; 5]>,
}

/// An event of the stream.
enum StreamEvent {
    Token(String),
    Frame(String),
    Ping,
    Closed(u16),
}

impl Fallback {
    /// Returns whether this tab needed the fallback for its latest connection.
    pub(super) fn was_needed() -> bool {
        Storage::Session.get(NEEDED_KEY).is_some()
    }

    /// Remembers for the next page of this tab whether the fallback is needed.
    pub(super) fn remember(needed: bool) {
        if needed {
            // If it is not stored, the next page finds out again.
            Storage::Session.set(NEEDED_KEY, "1");
        } else {
            Storage::Session.remove(NEEDED_KEY);
        }
    }

    pub(super) fn open() -> Self {
        let (sender, incoming) = unbounded();
        let source = EventSource::new("/events").ok();
        let on = |source: &EventSource, name, parse: fn(String) -> StreamEvent| {
            let sender = sender.clone();
            EventListener::new(source, name, move |event| {
                let data = event.dyn_ref::<MessageEvent>().and_then(|event| event.data().as_string());
                let _ = sender.unbounded_send(parse(data.unwrap_or_default()));
            })
        };
        let listeners = source.as_ref().map(|source| {
            [
                on(source, "token", StreamEvent::Token),
                on(source, "message", StreamEvent::Frame),
                on(source, "ping", |_| StreamEvent::Ping),
                on(source, "close", |code| StreamEvent::Closed(code.parse().unwrap_or(ABNORMAL_CLOSE))),
                on(source, "error", |_| StreamEvent::Closed(ABNORMAL_CLOSE)),
            ]
        });
        Self {
            source,
            incoming,
            path: None,
            outgoing: VecDeque::new(),
            pinged: false,
            posting: Fuse::terminated(),
            abort: AbortController::new().ok(),
            _listeners: listeners,
        }
    }

    pub(super) async fn next(&mut self) -> Event {
        if self.source.is_none() {
            return Event::Closed(ABNORMAL_CLOSE);
        }
        loop {
            self.post_outgoing();
            select_biased! {
                event = self.incoming.next() => match event {
                    Some(StreamEvent::Token(token)) => {
                        self.path = Some(format!("/events/{token}"));
                        return Event::Opened;
                    }
                    Some(StreamEvent::Frame(text)) => return Event::Received(text),
                    Some(StreamEvent::Ping) => self.pinged = true,
                    Some(StreamEvent::Closed(code)) => return Event::Closed(code),
                    None => return Event::Closed(ABNORMAL_CLOSE),
                },
                succeeded = &mut self.posting => if !succeeded {
                    return Event::Closed(ABNORMAL_CLOSE);
                },
            }
        }
    }

    pub(super) fn send(&mut self, text: String) {
        self.outgoing.push_back(text);
    }

    /// Posts as many frames as one body holds. One request at a time keeps the order, and frames that are sent
    /// meanwhile share the next request.
    fn post_outgoing(&mut self) {
        let Some(path) = self.path.clone().filter(|_| self.posting.is_terminated()) else { return };
        let mut body = String::new();
        while let Some(frame) = self.outgoing.pop_front_if(|frame| body.len() + frame.len() < MAX_BATCH_BYTES) {
            body.push_str(&frame);
            body.push('\n');
        }
        // Any POST is a sign of life.
        if std::mem::take(&mut self.pinged) || !body.is_empty() {
            let signal = self.abort.as_ref().map(AbortController::signal);
            self.posting = post(path, body, signal).boxed_local().fuse();
        }
    }
}

impl Drop for Fallback {
    fn drop(&mut self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
        if let Some(source) = &self.source {
            source.close();
        }
    }
}

async fn post(path: String, body: String, signal: Option<AbortSignal>) -> bool {
    match Request::post(&path).abort_signal(signal.as_ref()).body(body) {
        Ok(request) => request.send().await.is_ok_and(|response| response.ok()),
        Err(_) => false,
    }
}
