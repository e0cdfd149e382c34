//! Notifications of new messages (Notifications API, WHATWG) while the user does not look at the page.
//!
//! Each room has a switch in each browser, because the browser's permission is needed too. Every tab shows the same
//! notifications: the browser replaces one by another with the same tag. A click opens the room (`public/sw.js`).

use std::collections::BTreeMap;

use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_i18n::td_string;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Notification, NotificationOptions, NotificationPermission};

use super::erase::Erase;
use super::locale::{Language, t};
use super::my_rooms::shown;
use super::path;
use crate::client::Client;
use crate::client::service_worker::{self, Request};
use crate::client::session::Intent;
use crate::client::state::Room;
use crate::client::storage::Storage;
use crate::protocol::Message;

/// The prefix of the storage keys of rooms whose switch is on.
const ON_KEY: &str = "noom.notify.";
/// The most characters of a message in a notification.
const MAX_CHARS: usize = 200;

/// Shows the notifications of the user's own rooms, but for the room that this page shows, and closes those that were
/// read.
pub(super) fn notify_of_rooms(client: Client, i18n: Language) {
    Effect::new(move |before: Option<BTreeMap<String, (u64, u64)>>| {
        let rooms = client.state.my_rooms.get().unwrap_or_default();
        for room in &rooms {
            let Some(&(head, unread)) = before.as_ref().and_then(|before| before.get(&room.name)) else { continue };
            if unread > 0 && room.unread() == 0 {
                // It was read, here or on another device.
                Request::CloseNotification { room: &room.name }.send();
            } else if room.head > head && room.unread() > 0 && !is_seen(client, &room.name) && is_on(&room.name) {
                let body = td_string!(untrack(|| i18n.get()), unread, count = shown(room.unread()));
                spawn_local(show(room.name.clone(), body));
            }
        }
        rooms.into_iter().map(|room| (room.name.clone(), (room.head, room.unread()))).collect()
    });
}

/// Shows the notifications of the room that this page shows. The list of own rooms does not tell of its messages.
pub(super) fn notify_of_shown(room: Room, is_visible: ReadSignal<bool>) {
    Effect::new(move |before: Option<u64>| {
        let arrived = room.arrived.get();
        let name = room.name.get_value();
        if before.is_some_and(|before| arrived > before) && !is_visible.get_untracked() && is_on(&name) {
            let newest = untrack(|| room.timeline.newest(|message| !message.text.is_empty()));
            spawn_local(show(name, newest.map(|message| excerpt(&message)).unwrap_or_default()));
        }
        arrived
    });
    Effect::new(move |_| {
        if is_visible.get() {
            Request::CloseNotification { room: &room.name.get_value() }.send();
        }
    });
}

/// The switch of a room.
#[component]
pub(super) fn NotifySwitch(client: Client, name: StoredValue<String>) -> impl IntoView {
    let i18n = Language::current();
    // Known in the browser only.
    let (is_supported, is_switched_on) = (RwSignal::new(false), RwSignal::new(false));
    let is_blocked = RwSignal::new(false);
    Effect::new(move |_| {
        is_supported.set(is_available());
        is_switched_on.set(is_on(&name.get_value()));
    });
    let switch = move |_| {
        let room = name.get_value();
        if is_switched_on.get_untracked() {
            Storage::Local.remove(&key(&room));
            return is_switched_on.set(false);
        }
        spawn_local(async move {
            let is_allowed = ask().await;
            is_blocked.try_set(!is_allowed);
            if is_allowed && Storage::Local.set(&key(&room), "1") {
                is_switched_on.try_set(true);
                // Only own rooms are watched while another one is shown.
                client.dispatch(Intent::KeepRoom { room, on: true });
            }
        });
    };
    let label = move || {
        if is_switched_on.get() { td_string!(i18n.get(), notify_off) } else { td_string!(i18n.get(), notify_on) }
    };
    view! {
        <Show when=move || is_supported.get()>
            <button type="button" on:click=switch>{label}</button>
            <p class="hint" role="status">{move || is_blocked.get().then(|| t!(i18n, notify_blocked))}</p>
        </Show>
    }
    .erase()
}

fn key(room: &str) -> String {
    format!("{ON_KEY}{room}")
}

fn is_on(room: &str) -> bool {
    is_available()
        && Notification::permission() == NotificationPermission::Granted
        && Storage::Local.get(&key(room)).is_some()
}

/// Returns whether the browser has notifications, and a service worker that shows them.
fn is_available() -> bool {
    let has_api = js_sys::Reflect::has(&window(), &"Notification".into()).unwrap_or(false);
    has_api && service_worker::container().is_some()
}

/// Returns whether the page shows the room, or the user sees the number of unread messages in it.
fn is_seen(client: Client, room: &str) -> bool {
    let shown = client.state.shown().and_then(|page| page.name.try_get_value());
    shown.is_some_and(|shown| shown == room) || (!document().hidden() && document().has_focus().unwrap_or(true))
}

/// Asks the user for the browser's permission. Returns whether it is given.
async fn ask() -> bool {
    if let Ok(asked) = Notification::request_permission() {
        // The permission says whether it was granted.
        let _ = JsFuture::from(asked).await;
    }
    Notification::permission() == NotificationPermission::Granted
}

/// The author and the beginning of a message.
fn excerpt(message: &Message) -> String {
    let text: String = message.text.chars().take(MAX_CHARS).collect();
    format!("{}: {text}", message.user.nickname)
}

async fn show(room: String, body: String) {
    let Some(registration) = service_worker::registration().await else { return };
    let options = NotificationOptions::new();
    options.set_body(&body);
    options.set_tag(&room);
    options.set_icon("/icon-192.png");
    options.set_data(&JsValue::from(path::room(&room)));
    if let Ok(shown) = registration.show_notification_with_options(&room, &options) {
        // Refused if the permission has just been withdrawn.
        let _ = JsFuture::from(shown).await;
    }
}
