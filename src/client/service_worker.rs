//! The service worker of the site (Service Workers, W3C), `public/sw.js`.

use leptos::prelude::window;
use leptos::task::spawn_local;
use serde::Serialize;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageEvent, MessagePort, ServiceWorkerContainer};

use super::event_listener::EventListener;

/// A message to the service worker, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request<'a> {
    /// Keeps a copy of a page.
    Keep {
        path: &'a str,
        user: String,
        /// The addresses of the site's files that the page needs.
        files: Vec<String>,
    },
    /// The user of the page. The copies of other users are removed.
    SetUser { user: String },
    /// Tells of a message in a room, unless a tab shows it.
    Notify {
        room: &'a str,
        /// The room's page, for a click.
        path: String,
        body: String,
        /// `body` has the message, and not only a number.
        is_message: bool,
    },
    /// Closes the notification of a room.
    CloseNotification { room: &'a str },
}

impl Request<'_> {
    /// Returns whether there is a service worker for this page.
    pub(crate) fn send(&self) -> bool {
        let worker = container().and_then(|container| container.controller());
        let text = serde_json::to_string(self).ok().map(JsValue::from);
        worker.zip(text).is_some_and(|(worker, text)| worker.post_message(&text).is_ok())
    }
}

/// A page's answer to the question whether the user sees the messages of a room.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sight {
    /// The page shows the room.
    pub(crate) shows: bool,
    /// The user sees the messages, or the number of unread ones.
    pub(crate) sees: bool,
}

/// Answers the service worker's questions about rooms, for as long as the document is open.
pub(crate) fn answer(look: impl Fn(&str) -> Sight + 'static) {
    let Some(container) = container() else { return };
    let listener = EventListener::new(&container, "message", move |event| {
        let Some(event) = event.dyn_ref::<MessageEvent>() else { return };
        let port = event.ports().get(0).dyn_into::<MessagePort>().ok();
        if let Some((room, port)) = event.data().as_string().zip(port) {
            let text = serde_json::to_string(&look(&room)).unwrap_or_default();
            let _ = port.post_message(&JsValue::from(text));
        }
    });
    std::mem::forget(listener);
}

/// The browser's service workers; `None` where it has none, as on pages without TLS.
pub(crate) fn container() -> Option<ServiceWorkerContainer> {
    let navigator = window().navigator();
    let is_there = js_sys::Reflect::has(&navigator, &"serviceWorker".into()).unwrap_or(false);
    is_there.then(|| navigator.service_worker())
}

/// Returns whether a service worker serves this page.
pub(crate) fn is_active() -> bool {
    container().is_some_and(|container| container.controller().is_some())
}

/// Starts the service worker, or replaces it by a newer one. Without it all else works.
pub(crate) fn register() {
    if let Some(container) = container() {
        spawn_local(async move { drop(JsFuture::from(container.register("/sw.js")).await) });
    }
}
