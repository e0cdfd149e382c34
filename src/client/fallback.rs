//! What stands in for a WebSocket where something between lets none through: an event stream down,
//! POSTs up.

use std::collections::VecDeque;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::{Fuse, FusedFuture, LocalBoxFuture};
use futures::{FutureExt, StreamExt, select_biased};
use gloo_net::http::Request;
use leptos::prelude::window;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{EventSource, MessageEvent, Storage};

use super::session::Event;
use crate::protocol::MAX_BATCH_BYTES;

/// The stream is given up, for this code, when anything goes wrong: the session knows how to come
/// back, and the browser would do it behind its back.
const BROKEN: u16 = 1006;

/// Where a tab remembers that it needs this.
const NEEDED: &str = "noom.websocket-blocked";

/// A connection that reports what happens to it as events like any other. Dropped, it closes.
pub(super) struct Fallback {
    /// `None`: it could not even be made.
    source: Option<EventSource>,
    heard: UnboundedReceiver<Heard>,
    /// Where POSTs go, once the server said so.
    path: Option<String>,
    /// Frames that are not posted yet.
    waiting: VecDeque<String>,
    /// Whether the server waits for a sign of life.
    pinged: bool,
    /// The one POST on its way, and whether it was taken.
    posting: Fuse<LocalBoxFuture<'static, bool>>,
    // Called by the stream for as long as it is.
    _callbacks: [(&'static str, Callback); 5],
}

type Callback = Closure<dyn FnMut(JsValue)>;

/// What comes down the stream.
enum Heard {
    Token(String),
    Frame(String),
    Ping,
    Closed(u16),
}

impl Fallback {
    /// Whether it was needed when this tab last found out.
    pub(super) fn was_needed() -> bool {
        storage().is_some_and(|storage| matches!(storage.get_item(NEEDED), Ok(Some(_))))
    }

    /// Remembers that for the next page of this tab.
    pub(super) fn remember(needed: bool) {
        let Some(storage) = storage() else { return };
        // Without room for it, the next page finds out again.
        let _ = if needed { storage.set_item(NEEDED, "1") } else { storage.remove_item(NEEDED) };
    }

    pub(super) fn open() -> Self {
        let (events, heard) = unbounded();
        let on = |heard: fn(String) -> Heard| {
            let events = events.clone();
            Closure::new(move |event: JsValue| {
                let data = event.dyn_ref::<MessageEvent>().and_then(|event| event.data().as_string());
                let _ = events.unbounded_send(heard(data.unwrap_or_default()));
            })
        };
        let callbacks: [(_, Callback); 5] = [
            ("token", on(Heard::Token)),
            ("message", on(Heard::Frame)),
            ("ping", on(|_| Heard::Ping)),
            ("close", on(|code| Heard::Closed(code.parse().unwrap_or(BROKEN)))),
            ("error", on(|_| Heard::Closed(BROKEN))),
        ];
        let source = EventSource::new("/events").ok();
        for (source, (name, callback)) in source.iter().flat_map(|source| callbacks.iter().map(move |on| (source, on)))
        {
            // Fails for no event that exists.
            let _ = source.add_event_listener_with_callback(name, callback.as_ref().unchecked_ref());
        }
        Self {
            source,
            heard,
            path: None,
            waiting: VecDeque::new(),
            pinged: false,
            posting: Fuse::terminated(),
            _callbacks: callbacks,
        }
    }

    pub(super) async fn next(&mut self) -> Event {
        if self.source.is_none() {
            return Event::Closed(BROKEN);
        }
        loop {
            self.post_what_waits();
            select_biased! {
                heard = self.heard.next() => match heard {
                    Some(Heard::Token(token)) => {
                        self.path = Some(format!("/events/{token}"));
                        return Event::Opened;
                    }
                    Some(Heard::Frame(text)) => return Event::Received(text),
                    Some(Heard::Ping) => self.pinged = true,
                    Some(Heard::Closed(code)) => return Event::Closed(code),
                    None => return Event::Closed(BROKEN),
                },
                taken = &mut self.posting => if !taken {
                    return Event::Closed(BROKEN);
                },
            }
        }
    }

    pub(super) fn send(&mut self, text: String) {
        self.waiting.push_back(text);
    }

    /// Posts as much of what waits as one body holds. One POST at a time keeps the order, and what
    /// comes meanwhile goes together.
    fn post_what_waits(&mut self) {
        let Some(path) = self.path.clone().filter(|_| self.posting.is_terminated()) else { return };
        let mut body = String::new();
        while let Some(frame) = self.waiting.pop_front_if(|frame| body.len() + frame.len() < MAX_BATCH_BYTES) {
            body.push_str(&frame);
            body.push('\n');
        }
        // Any POST is a sign of life.
        if std::mem::take(&mut self.pinged) || !body.is_empty() {
            self.posting = post(path, body).boxed_local().fuse();
        }
    }
}

impl Drop for Fallback {
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            source.close();
        }
    }
}

fn storage() -> Option<Storage> {
    window().session_storage().ok()?
}

async fn post(path: String, body: String) -> bool {
    match Request::post(&path).body(body) {
        Ok(request) => request.send().await.is_ok_and(|answer| answer.ok()),
        Err(_) => false,
    }
}
