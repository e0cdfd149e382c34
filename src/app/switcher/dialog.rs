//! The dialog in which a room is chosen: a combobox (WAI-ARIA Authoring Practices) over the user's own rooms and those
//! with people in them.

use leptos::html::{A, Ul};
use leptos::prelude::*;
use leptos_i18n::td_string;
use web_sys::{ScrollIntoViewOptions, ScrollLogicalPosition};

use super::Switcher;
use super::choices::{Choice, offered};
use crate::app::erase::Erase;
use crate::app::focus::is_composing;
use crate::app::locale::{Language, t};
use crate::app::my_rooms::shown;
use crate::app::path;
use crate::client::Client;

/// The dialog, which is on every page so that it can be opened within the event of the key.
#[component]
pub(crate) fn SwitcherDialog() -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let switcher = expect_context::<Switcher>();
    switcher.listen();
    let Switcher { dialog, input, is_open, typed, selected } = switcher;
    let (list, link) = (NodeRef::<Ul>::new(), NodeRef::<A>::new());
    let choices = Memo::new(move |_| {
        if !is_open.get() {
            return Vec::new();
        }
        let own = client.state.my_rooms.get().unwrap_or_default();
        let active = client.state.rooms.get().unwrap_or_default();
        offered(&own, active.iter().map(|room| room.name.as_str()), &typed.get())
    });
    // A list that has become shorter keeps a selection, and the selected choice is in view.
    Effect::new(move |_| {
        let (count, at) = (choices.with(Vec::len), selected.get());
        if at > 0 && at >= count {
            return selected.set(count.saturating_sub(1));
        }
        let item = list.get_untracked().and_then(|list| list.children().item(at as u32));
        let nearest = ScrollIntoViewOptions::new();
        nearest.set_block(ScrollLogicalPosition::Nearest);
        item.iter().for_each(|item| item.scroll_into_view_with_scroll_into_view_options(&nearest));
    });
    // The click on a link, so that a call can ask before it ends. The list may not show the typed text yet.
    let choose = move |index: usize| {
        switcher.close();
        let path = choices.with_untracked(|choices| choices.get(index).map(|choice| path::room(&choice.name)));
        if let (Some(link), Some(path)) = (link.get_untracked(), path) {
            link.set_href(&path);
            link.click();
        }
    };
    let keydown = move |event: leptos::ev::KeyboardEvent| {
        let count = choices.with_untracked(Vec::len);
        if is_composing(&event) || count == 0 {
            return;
        }
        match event.key().as_str() {
            "ArrowDown" => selected.update(|at| *at = (*at + 1) % count),
            "ArrowUp" => selected.update(|at| *at = (*at + count - 1) % count),
            "Enter" => choose(selected.get_untracked().min(count - 1)),
            _ => return,
        }
        event.prevent_default();
    };
    let search = move |_| {
        typed.set(input.get_untracked().map(|input| input.value()).unwrap_or_default());
        selected.set(0);
    };
    let option_id = |index: usize| format!("switch-{index}");
    let items = move || {
        let item = move |(index, choice): (usize, Choice)| {
            let Choice { name, unread, is_typed } = choice;
            let href = path::room(&name);
            view! {
                <li role="presentation">
                    <a
                        id=option_id(index) role="option" href=href tabindex="-1" class:selected=move || selected.get() == index
                        aria-selected=move || (selected.get() == index).to_string() on:click=move |_| switcher.close()
                    >
                        {is_typed.then(|| view! { <span>{t!(i18n, go_to_room)}</span> })}
                        <bdi>{name}</bdi>
                        {(unread > 0).then(|| view! { <span class="badge">{shown(unread)}</span> })}
                    </a>
                </li>
            }
        };
        choices.get().into_iter().enumerate().map(item).collect_view()
    };
    view! {
        <dialog class="switcher" node_ref=dialog aria-label=t!(i18n, switch_room) on:close=move |_| switcher.closed()>
            <input
                type="text" node_ref=input role="combobox" aria-expanded="true" aria-controls="switch-list"
                aria-autocomplete="list" aria-label=t!(i18n, switch_room) autocomplete="off" spellcheck="false"
                aria-activedescendant=move || choices.with(|choices| !choices.is_empty()).then(|| option_id(selected.get()))
                placeholder=move || td_string!(i18n.get(), switch_room) on:input=search on:keydown=keydown
            />
            <ul id="switch-list" role="listbox" node_ref=list translate="no" aria-label=t!(i18n, my_rooms)>{items}</ul>
            <p class="hint">{t!(i18n, switch_hint)}</p>
            <a hidden node_ref=link></a>
        </dialog>
    }
    .erase()
}
