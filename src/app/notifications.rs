//! Notifications of new messages (Notifications API, WHATWG) while the user does not look at the page.
//!
//! Each room has a switch in each browser, because the browser's permission is needed too. Every tab tells the service
//! worker (`public/sw.js`), which shows one notification for each room, unless the user looks at Noom in one of the tabs.
//! A click opens the room.

use std::collections::BTreeMap;

use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_i18n::td_string;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Notification, NotificationPermission};

use super::erase::Erase;
use super::locale::{Language, t};
use super::my_rooms::shown;
use super::path;
use crate::client::Client;
use crate::client::service_worker::{self, Request, Sight};
use crate::client::session::Intent;
use crate::client::state::Room;
use crate::client::storage::Storage;
use crate::protocol::{Message, MyRoom};

/// The prefix of the storage keys of rooms whose switch is on.
const ON_KEY: &str = "noom.notify.";
/// The most characters of a message in a notification.
const MAX_CHARS: usize = 200;

/// Shows the notifications of the user's own rooms, but for the room that this page shows, and closes those that were
/// read.
pub(super) fn notify_of_rooms(client: Client, i18n: Language) {
    Effect::new(move |before: Option<BTreeMap<String, (u64, u64, u64)>>| {
        let rooms = client.state.my_rooms.get().unwrap_or_default();
        for room in &rooms {
            let Some(&(head, unread, mentions)) = before.as_ref().and_then(|before| before.get(&room.name)) else {
                continue;
            };
            if unread > 0 && room.unread() == 0 {
                // It was read, here or on another device.
                Request::CloseNotification { room: &room.name }.send();
            } else if room.head > head && room.unread() > 0 && !is_shown(client, &room.name) {
                let (locale, mentioned) = (untrack(|| i18n.get()), room.unread_mentions());
                let body = if mentioned > mentions {
                    td_string!(locale, mentions, count = shown(mentioned))
                } else {
                    td_string!(locale, unread, count = shown(room.unread()))
                };
                show(&room.name, body, false);
            }
        }
        let numbers = |room: MyRoom| {
            let numbers = (room.head, room.unread(), room.unread_mentions());
            (room.name, numbers)
        };
        rooms.into_iter().map(numbers).collect()
    });
    Effect::new(move |_| {
        service_worker::answer(move |room| {
            let (shows, is_visible) = (is_shown(client, room), !document().hidden());
            Sight { shows, sees: is_visible && (shows || document().has_focus().unwrap_or(true)) }
        });
    });
}

/// Tells of the messages in the room that this page shows, of which the list of own rooms does not tell.
pub(super) fn notify_of_shown(client: Client, room: Room, is_visible: ReadSignal<bool>) {
    Effect::new(move |before: Option<u64>| {
        let newest = room.newest.get();
        if before.is_some_and(|before| newest > before) && !is_visible.get_untracked() {
            let me = client.state.me.with_untracked(|me| me.as_ref().map(|me| me.id));
            let message = untrack(|| room.timeline.message(newest));
            if let Some(message) = message.filter(|message| Some(message.user.id) != me && !message.is_deleted()) {
                show(&room.name.get_value(), excerpt(&message), true);
            }
        }
        newest
    });
    Effect::new(move |_| {
        if is_visible.get() {
            Request::CloseNotification { room: &room.name.get_value() }.send();
        }
    });
}

/// The switch of a room.
#[component]
pub(super) fn NotifySwitch(
    client: Client,
    room: Room,
    /// The room is in the list.
    is_kept: Memo<bool>,
) -> impl IntoView {
    let (i18n, name) = (Language::current(), room.name);
    // Known in the browser only.
    let (is_supported, is_switched_on) = (RwSignal::new(false), RwSignal::new(false));
    // A room that was removed from the list is not watched any more.
    Effect::new(move |was_kept: Option<bool>| {
        let is_kept = is_kept.get();
        if was_kept == Some(true) && !is_kept {
            Storage::Local.remove(&key(&name.get_value()));
            is_switched_on.set(false);
        }
        is_kept
    });
    let is_blocked = RwSignal::new(false);
    Effect::new(move |_| {
        is_supported.set(is_available());
        is_switched_on.set(is_on(&name.get_value()));
    });
    let switch = move |_| {
        let key = key(&name.get_value());
        if is_switched_on.get_untracked() {
            Storage::Local.remove(&key);
            return is_switched_on.set(false);
        }
        spawn_local(async move {
            let is_allowed = ask().await && service_worker::is_active();
            is_blocked.try_set(!is_allowed);
            if is_allowed && Storage::Local.set(&key, "1") {
                is_switched_on.try_set(true);
                // Only own rooms are watched while another one is shown.
                client.dispatch(Intent::KeepRoom { room: room.id.get_value(), on: true });
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

/// Returns whether this page shows the room.
fn is_shown(client: Client, room: &str) -> bool {
    client.state.shown().and_then(|page| page.name.try_get_value()).is_some_and(|shown| shown == room)
}

/// Asks the user for the browser's permission. Returns whether it is given.
async fn ask() -> bool {
    if let Ok(asked) = Notification::request_permission() {
        // The permission says whether it was granted.
        let _ = JsFuture::from(asked).await;
    }
    Notification::permission() == NotificationPermission::Granted
}

/// The author, and the beginning of a message or the name of its file.
fn excerpt(message: &Message) -> String {
    let file = message.attachments.iter().flatten().next().map(|file| file.name.as_str());
    let text = if message.text.is_empty() { file.unwrap_or_default() } else { &message.text };
    let text: String = text.chars().take(MAX_CHARS).collect();
    format!("{}: {text}", message.user.nickname)
}

fn show(room: &str, body: String, is_message: bool) {
    if is_on(room) {
        Request::Notify { room, path: path::room(room), body, is_message }.send();
    }
}
