//! The panel of the search: its field, and its keys. It is there at once; the results are loaded.

use leptos::ev;
use leptos::html::{Input, Section};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement};

use super::load_results;
use super::state::Search;
use crate::app::erase::Erase;
use crate::app::lazy_part::{lazy_part, retry};
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::protocol::MAX_SEARCH_CHARS;

/// The panel, while it is open.
#[component]
pub(in crate::app::room) fn SearchPanel(room: RoomContext, search: Search) -> impl IntoView {
    view! { <Show when=move || search.is_open.get()>{panel(room, search)}</Show> }.erase()
}

fn panel(room: RoomContext, search: Search) -> AnyView {
    let i18n = Language::current();
    let (input, section) = (NodeRef::<Input>::new(), NodeRef::<Section>::new());
    Effect::new(move |_| {
        search.is_open.track();
        // Opened by the user, not built again with the page.
        if let Some(field) = input.get().filter(|_| search.takes_focus.get_value()) {
            search.takes_focus.set_value(false);
            let _ = field.focus();
            field.select();
        }
    });
    let typed = move || {
        let value = input.get_untracked().map(|field| field.value());
        if let Some(value) = value.filter(|value| search.text.with_untracked(|text| text != value)) {
            search.text.set(value);
        }
    };
    let waiting = || view! { <p aria-busy="true"></p> }.erase();
    view! {
        <section
            class="search" aria-label=t!(i18n, search_messages) node_ref=section
            on:keydown=move |event| handle_key(search, &event, section.get_untracked().map(Into::into))
        >
            <form role="search" on:submit=move |event| { event.prevent_default(); typed(); search.submitted.notify(); }>
                <input
                    type="search" node_ref=input prop:value=move || search.text.get() dir="auto" autocomplete="off"
                    maxlength=MAX_SEARCH_CHARS.to_string() aria-label=t!(i18n, search_messages)
                    // A syllable that is being composed is not what the user looks for.
                    on:input=move |event| if !is_composing(&event) { typed() }
                    on:compositionend=move |_| typed()
                />
                <button type="button" aria-label=t!(i18n, search_close) on:click=move |_| search.close()>"✕"</button>
                <label>
                    <input
                        type="checkbox" prop:checked=move || search.in_all.get()
                        on:change=move |event| search.in_all.set(event_target_checked(&event))
                    />
                    {t!(i18n, search_all)}
                </label>
            </form>
            {lazy_part(move || load_results(room, search), waiting, move |attempt| retry(i18n, attempt))}
        </section>
    }
    .erase()
}

fn is_composing(event: &ev::Event) -> bool {
    event.dyn_ref::<web_sys::InputEvent>().is_some_and(web_sys::InputEvent::is_composing)
}

/// Escape closes the panel, and the arrow keys go through the results.
fn handle_key(search: Search, event: &ev::KeyboardEvent, section: Option<Element>) {
    if event.is_composing() || event.ctrl_key() || event.alt_key() || event.meta_key() {
        return;
    }
    let step = match event.key().as_str() {
        "Escape" => {
            event.prevent_default();
            return search.close();
        }
        "ArrowDown" => 1,
        "ArrowUp" => -1,
        _ => return,
    };
    let Some(stops) =
        section.and_then(|section| section.query_selector_all("input[type=search], .results a, .older").ok())
    else {
        return;
    };
    let active = document().active_element();
    let is_active =
        |index: &i32| active.as_ref().is_some_and(|active| stops.get(*index as u32).as_ref() == Some(active));
    let Some(index) = (0..stops.length() as i32).find(is_active) else { return };
    if let Some(next) = stops.get((index + step) as u32) {
        event.prevent_default();
        let _ = next.unchecked_into::<HtmlElement>().focus();
    }
}
