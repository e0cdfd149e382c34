//! Moving between rooms by keyboard: Ctrl+K opens a list to choose from, Alt and an arrow key go to the next room.

mod dialog;

use leptos::ev;
use leptos::prelude::*;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement};

use super::lazy_part::lazy_part;
use super::locale::{Language, t};
use crate::client::Client;
use dialog::SwitcherDialog;

/// The dialog that lists rooms. Shown by a signal that a page provides as [`OpenSwitcher`].
#[derive(Clone, Copy)]
pub(super) struct OpenSwitcher(pub(super) RwSignal<bool>);

/// Handles the keys, and shows the dialog. Its code is fetched when it is opened for the first time.
#[component]
pub(super) fn Switcher() -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let OpenSwitcher(is_open) = expect_context();
    Effect::new(move |_| {
        let handle = window_event_listener(ev::keydown, move |event| handle_key(&event, is_open));
        on_cleanup(move || handle.remove());
    });
    let failed =
        move |_| view! { <p class="visually-hidden" role="alert">{t!(i18n, error_unreachable)}</p> }.into_any();
    view! {
        <Show when=move || is_open.get()>
            {lazy_part(move || load_dialog(client, is_open), || ().into_any(), failed)}
        </Show>
    }
}

/// The split point of the WASM program, as that of the call.
#[wasm_split(room_switcher, wasm_split_path = leptos::wasm_split, fallible)]
fn load_dialog(client: Client, is_open: RwSignal<bool>) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <SwitcherDialog client is_open/> }.into_any())
}

fn handle_key(event: &ev::KeyboardEvent, is_open: RwSignal<bool>) {
    let dialog = document().query_selector("dialog[open]").ok().flatten();
    if event.is_composing() || event.default_prevented() || dialog.is_some() {
        return;
    }
    let command = event.ctrl_key() != event.meta_key();
    if command && !event.alt_key() && !event.shift_key() && event.key().eq_ignore_ascii_case("k") {
        event.prevent_default();
        is_open.set(true);
    } else if event.alt_key() && !event.ctrl_key() && !event.meta_key() {
        let step = match event.key().as_str() {
            "ArrowDown" => 1,
            "ArrowUp" => -1,
            _ => return,
        };
        // There the keys open the list of choices.
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        if target.is_some_and(|target| target.tag_name().eq_ignore_ascii_case("select")) {
            return;
        }
        event.prevent_default();
        go(step, event.shift_key());
    }
}

/// Goes to the next or previous room in the list, as a click on its link does. `unread`: skips the others.
fn go(step: i32, unread: bool) {
    let links = document().query_selector_all(".my-room-list a");
    let Ok(links) = links else { return };
    let links: Vec<_> = (0..links.length()).filter_map(|at| links.get(at)?.dyn_into::<Element>().ok()).collect();
    let current = links.iter().position(|link| link.has_attribute("aria-current"));
    let count = links.len() as i32;
    // Outside of the list, the first step leads to its end or its beginning.
    let start = current.map_or(if step > 0 { -1 } else { count }, |at| at as i32);
    let next = (1..=count).map(|distance| (start + step * distance).rem_euclid(count) as usize);
    let mut next = next.filter(|at| Some(*at) != current && (!unread || links[*at].class_list().contains("unread")));
    if let Some(link) = next.next().and_then(|at| links[at].dyn_ref::<HtmlElement>()) {
        link.click();
    }
}
