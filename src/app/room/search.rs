//! The search in a room: a panel with script, and a form without. Without words it shows the pinned messages.
//!
//! The code of the panel's results is fetched when it is opened first. Results of the form are rendered by the server.

mod excerpt;
mod finder;
mod panel;
mod results;
mod state;

use leptos::prelude::*;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use wasm_bindgen::JsCast;
use web_sys::Element;

use crate::app::erase::Erase;
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;

use finder::FoundMessages;
pub(super) use panel::SearchPanel;
pub(super) use results::SearchForm;
pub(super) use state::Search;

/// Opens the search.
#[component]
pub(super) fn SearchLink(search: Search) -> impl IntoView {
    let i18n = Language::current();
    let link = NodeRef::new();
    search.opener.set_value(Some(link));
    let open = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        if search.is_open.get_untracked() { search.close() } else { search.open() }
    };
    view! {
        <a
            class="button search-link" href="?search=" node_ref=link on:click=open aria-label=t!(i18n, search_messages)
            aria-keyshortcuts="Control+Shift+F"
        >
            <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
                <path d="M10.500 4a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13zM15.500 15.500L20 20"></path>
            </svg>
        </a>
    }
}

/// Opens the pinned messages.
#[component]
pub(super) fn PinsLink(search: Search) -> impl IntoView {
    let i18n = Language::current();
    let open = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        // On a narrow screen the link is in a menu, which would stay over the messages.
        let link = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        if let Some(menu) = link.and_then(|link| link.closest("details.menu").ok().flatten()) {
            let _ = menu.remove_attribute("open");
        }
        search.open_pins();
    };
    view! { <a class="pins-link" href="?search=" on:click=open>{t!(i18n, pins)}</a> }
}

/// A split point of the WASM program, as that of the call.
#[wasm_split(search_results, wasm_split_path = leptos::wasm_split, fallible)]
fn load_results(room: RoomContext, search: Search) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <FoundMessages room search/> }.erase())
}
