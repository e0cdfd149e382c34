//! Copies of pages for the time when the server cannot be reached. The service worker (`public/sw.js`) keeps and shows
//! them; a copy hydrates like every page, and what is written in it waits for the connection.

use std::collections::HashMap;

use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use super::path;
use crate::client::Client;
use crate::client::service_worker::{self, Request};
use crate::client::session::ConnectionState;
use crate::client::state::Room;
use crate::client::storage::Storage;

/// The storage key of the path for which a copy was asked last. It prevents a reload loop.
const TRIED_KEY: &str = "noom.copy-tried";
/// The files of the site whose address never changes its content.
const SITE_FILES: &str = "/static/";

/// Asks the service worker for copies. A context of all pages.
#[derive(Clone, Copy)]
pub(super) struct OfflineCopies {
    client: Client,
    /// The state of each page of which this document has asked for a copy, by path.
    kept: StoredValue<HashMap<String, String>>,
}

impl OfflineCopies {
    pub(super) fn new(client: Client) -> Self {
        Self { client, kept: StoredValue::new(HashMap::new()) }
    }

    /// Registers the service worker when the page is connected, and has the page kept each time it is hidden: that is
    /// the last event which a closed tab receives.
    pub(super) fn start(self) {
        let is_online = Memo::new(move |_| self.client.state.connection.get() == ConnectionState::Online);
        Effect::new(move |_| {
            if is_online.get() {
                Storage::Session.remove(TRIED_KEY);
                service_worker::register();
            }
        });
        Effect::new(move |_| {
            let handle = window_event_listener(ev::visibilitychange, move |_| {
                if document().hidden() {
                    self.keep_shown();
                }
            });
            on_cleanup(move || handle.remove());
        });
    }

    fn keep_shown(self) {
        let state = self.client.state;
        match state.shown() {
            Some(room) => self.keep_room(room),
            None => {
                let rooms = state.my_rooms.with_untracked(|rooms| format!("{rooms:?}"));
                let path = window().location().pathname().unwrap_or_default();
                self.keep(path, rooms);
            }
        }
    }

    /// The user leaves a room.
    pub(super) fn keep_room(self, room: Room) {
        if let Some(name) = room.name.try_get_value() {
            self.keep(path::room(&name), format!("{:?}", room.position()));
        }
    }

    /// Asks for a copy, unless there is one of this state. It costs the server as much as a page view.
    fn keep(self, path: String, state: String) {
        let me = self.client.state.me.with_untracked(|me| me.as_ref().map(|me| me.id.to_string()));
        let is_online = self.client.state.connection.get_untracked() == ConnectionState::Online;
        let is_kept = self.kept.with_value(|kept| kept.get(&path) == Some(&state));
        let Some(user) = me.filter(|_| is_online && !is_kept) else { return };
        let files = site_files();
        // Under `make dev` the site's files have no addresses of their own.
        if !files.is_empty() && (Request::Keep { path: &path, user, files }).send() {
            self.kept.update_value(|kept| drop(kept.insert(path, state)));
        }
    }
}

/// Shows the copy of the page at the present address, if there is one. The server could not be reached.
pub(super) fn show() {
    let path = window().location().pathname().unwrap_or_default();
    let was_tried = Storage::Session.get(TRIED_KEY).is_some_and(|tried| tried == path);
    let Some(caches) = window().caches().ok().filter(|_| service_worker::container().is_some() && !was_tried) else {
        return;
    };
    spawn_local(async move {
        let found = JsFuture::from(caches.match_with_str(&path)).await;
        if found.is_ok_and(|found| !found.is_undefined()) && Storage::Session.set(TRIED_KEY, &path) {
            let _ = window().location().reload();
        }
    });
}

/// The addresses of the site's files that this page has loaded.
fn site_files() -> Vec<String> {
    let entries = window().performance().map(|performance| performance.get_entries_by_type("resource"));
    let address = |entry: JsValue| js_sys::Reflect::get(&entry, &"name".into()).ok()?.as_string();
    let addresses = entries.iter().flat_map(|entries| entries.iter().filter_map(address));
    addresses.filter(|address| address.contains(SITE_FILES)).collect()
}
