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
use crate::client::timer::now;
use crate::protocol::{MyRoom, Position};

/// The storage key of the path for which a copy was asked last. It prevents a reload loop.
const TRIED_KEY: &str = "noom.copy-tried";
/// The files of the site whose address never changes its content.
const SITE_FILES: &str = "/static/";

/// The interval between two copies of a page to which only messages were added.
const INTERVAL_MS: u64 = 60_000;

/// Asks the service worker for copies. A context of all pages.
#[derive(Clone, Copy)]
pub(super) struct OfflineCopies {
    client: Client,
    /// The pages of which this document has asked for a copy, by path.
    kept: StoredValue<HashMap<String, Kept>>,
}

/// The page as it was when a copy was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    /// The changes of messages, some of which delete one: they must reach the copy. For the lobby, the rooms.
    changes: String,
    /// The newest message.
    seq: u64,
    at: u64,
}

impl OfflineCopies {
    pub(super) fn new(client: Client) -> Self {
        Self { client, kept: StoredValue::new(HashMap::new()) }
    }

    /// Registers the service worker when the page is connected, and has the page kept each time it is hidden: that is
    /// the last event which a closed tab receives.
    pub(super) fn start(self) {
        Effect::new(move |is_registered: Option<bool>| {
            let is_online = self.client.state.connection.get() == ConnectionState::Online;
            // Once, because all pages connect again at the same time when the server is back.
            if is_online && is_registered != Some(true) {
                service_worker::register();
            }
            is_online || is_registered == Some(true)
        });
        // The copies of another user are removed at once, before there is a copy for this one.
        Effect::new(move |_| {
            let me = self.client.state.me.with(|me| me.as_ref().map(|me| me.id.to_string()));
            if let Some(user) = me {
                Request::SetUser { user }.send();
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
            None => self.keep_lobby(),
        }
    }

    /// The user leaves a room. The lobby is kept too, because an installed app starts there.
    pub(super) fn keep_room(self, room: Room) {
        if let Some(name) = room.name.try_get_value() {
            let Position { epoch, seq, rev } = room.position();
            let floor = room.floor.get_untracked();
            self.keep(path::room(&name), format!("{epoch} {rev:?} {floor}"), seq);
            self.keep_lobby();
        }
    }

    fn keep_lobby(self) {
        let names =
            |rooms: &Option<Vec<MyRoom>>| rooms.iter().flatten().map(|room| room.name.clone()).collect::<Vec<_>>();
        self.keep("/".to_owned(), self.client.state.my_rooms.with_untracked(names).join("\n"), 0);
    }

    /// Asks for a copy, unless there is one of this state. It costs the server as much as a page view.
    fn keep(self, path: String, changes: String, seq: u64) {
        // Never on the server, where a view is dropped, too.
        if self.client.state.connection.get_untracked() != ConnectionState::Online {
            return;
        }
        let me = self.client.state.me.with_untracked(|me| me.as_ref().map(|me| me.id.to_string()));
        let state = Kept { changes, seq, at: now() };
        let is_recent =
            |kept: &Kept| kept.changes == state.changes && (kept.seq == state.seq || state.at < kept.at + INTERVAL_MS);
        let is_kept = self.kept.with_value(|kept| kept.get(&path).is_some_and(is_recent));
        let Some(user) = me.filter(|_| !is_kept) else { return };
        let files = site_files();
        // Under `make dev` the site's files have no addresses of their own.
        if !files.is_empty() && (Request::Keep { path: &path, user, files }).send() {
            self.kept.update_value(|kept| drop(kept.insert(path, state)));
        }
    }
}

/// A page is shown, so that a copy may be tried again at the next one that cannot be loaded.
pub(super) fn page_is_shown() {
    Storage::Session.remove(TRIED_KEY);
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
    let folder = format!("{}{SITE_FILES}", window().location().origin().unwrap_or_default());
    let address = |entry: JsValue| js_sys::Reflect::get(&entry, &"name".into()).ok()?.as_string();
    let addresses = entries.iter().flat_map(|entries| entries.iter().filter_map(address));
    addresses.filter(|address| address.starts_with(&folder)).collect()
}
