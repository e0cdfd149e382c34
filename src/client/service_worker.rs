//! The service worker of the site (Service Workers, W3C), `public/sw.js`.

use leptos::prelude::window;
use leptos::task::spawn_local;
use serde::Serialize;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ServiceWorkerContainer, ServiceWorkerRegistration};

/// A message to the service worker, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request<'a> {
    /// Keeps a copy of a page.
    Keep {
        path: &'a str,
        /// The copies of other users are removed.
        user: String,
        /// The addresses of the site's files that the page needs.
        files: Vec<String>,
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

/// The browser's service workers; `None` where it has none, as on pages without TLS.
pub(crate) fn container() -> Option<ServiceWorkerContainer> {
    let navigator = window().navigator();
    let is_there = js_sys::Reflect::has(&navigator, &"serviceWorker".into()).unwrap_or(false);
    is_there.then(|| navigator.service_worker())
}

/// Starts the service worker, or replaces it by a newer one. Without it all else works.
pub(crate) fn register() {
    if let Some(container) = container() {
        spawn_local(async move { drop(JsFuture::from(container.register("/sw.js")).await) });
    }
}

/// Completes when the service worker is active. Never, if it cannot be started.
pub(crate) async fn registration() -> Option<ServiceWorkerRegistration> {
    let ready = container()?.ready().ok()?;
    JsFuture::from(ready).await.ok().map(Into::into)
}
