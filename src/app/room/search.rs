//! The search in a room: a panel with script, and a form without.
//!
//! The panel's code is fetched when it is opened first. Results of the form are rendered by the server.

mod excerpt;
mod panel;
mod results;
mod state;

use leptos::prelude::*;
use leptos::wasm_split::{SplitLoaderError, wasm_split};

use crate::app::lazy_part::lazy_part;
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;

use panel::Panel;
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

/// The panel, while it is open.
#[component]
pub(super) fn SearchPanel(room: RoomContext, search: Search) -> impl IntoView {
    let i18n = Language::current();
    let failed = move |attempt: RwSignal<u32>| {
        view! {
            <section class="search" role="alert">
                <p>{t!(i18n, error_unreachable)}</p>
                <button type="button" on:click=move |_| attempt.update(|n| *n += 1)>{t!(i18n, try_again)}</button>
                <button type="button" on:click=move |_| search.close()>{t!(i18n, cancel)}</button>
            </section>
        }
        .into_any()
    };
    let waiting = || view! { <section class="search" aria-busy="true"></section> }.into_any();
    view! {
        <Show when=move || search.is_open.get()>{lazy_part(move || panel(room, search), waiting, failed)}</Show>
    }
}

/// A split point of the WASM program, as that of the call.
#[wasm_split(search_panel, wasm_split_path = leptos::wasm_split, fallible)]
fn panel(room: RoomContext, search: Search) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <Panel room search/> }.into_any())
}
