//! The dialog in which a room is chosen: a combobox (WAI-ARIA Authoring Practices) over the user's own rooms and those
//! with people in them.

use leptos::html::{Dialog, Input, Ul};
use leptos::prelude::*;
use leptos_i18n::td_string;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, ScrollIntoViewOptions, ScrollLogicalPosition};

use crate::app::locale::{Language, t};
use crate::app::my_rooms::shown;
use crate::app::path;
use crate::client::Client;
use crate::protocol::MyRoom;
use crate::protocol::name::normalize_room_name;

/// The most rooms that are offered.
const MOST_OFFERED: usize = 20;

/// A room that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice {
    name: String,
    unread: u64,
    /// It is the text that was typed, and in no list.
    is_typed: bool,
}

#[component]
pub(super) fn SwitcherDialog(client: Client, is_open: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let (dialog, input, list) = (NodeRef::<Dialog>::new(), NodeRef::<Input>::new(), NodeRef::<Ul>::new());
    let typed = RwSignal::new(String::new());
    let selected = RwSignal::new(0_usize);
    let choices = Memo::new(move |_| {
        let own = client.state.my_rooms.get().unwrap_or_default();
        let active = client.state.rooms.get().unwrap_or_default();
        offered(&own, active.iter().map(|room| room.name.as_str()), &typed.get())
    });
    // In the next frame: an element that is not on the page yet cannot be shown as a dialog.
    request_animation_frame(move || {
        if let Some(dialog) = dialog.try_get_untracked().flatten() {
            let _ = dialog.show_modal();
        }
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
    let close = move || {
        if let Some(dialog) = dialog.get_untracked() {
            dialog.close();
        }
    };
    // The click on a link, so that a call can ask before it ends.
    let choose = move |index: usize| {
        let item =
            list.get_untracked().and_then(|list| list.children().item(index as u32)?.query_selector("a").ok()?);
        close();
        if let Some(link) = item.and_then(|link| link.dyn_into::<HtmlElement>().ok()) {
            link.click();
        }
    };
    let keydown = move |event: leptos::ev::KeyboardEvent| {
        let count = choices.with_untracked(Vec::len);
        if event.is_composing() || count == 0 {
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
                        aria-selected=move || (selected.get() == index).to_string() on:click=move |_| close()
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
        <dialog class="switcher" node_ref=dialog aria-label=t!(i18n, switch_room) on:close=move |_| is_open.set(false)>
            <input
                type="text" node_ref=input role="combobox" aria-expanded="true" aria-controls="switch-list"
                aria-autocomplete="list" aria-label=t!(i18n, switch_room) autocomplete="off" spellcheck="false"
                aria-activedescendant=move || choices.with(|choices| !choices.is_empty()).then(|| option_id(selected.get()))
                placeholder=move || td_string!(i18n.get(), switch_room) on:input=search on:keydown=keydown
            />
            <ul id="switch-list" role="listbox" node_ref=list translate="no" aria-label=t!(i18n, my_rooms)>{items}</ul>
            <p class="hint">{t!(i18n, switch_hint)}</p>
        </dialog>
    }
    .into_any()
}

/// The rooms whose names contain the text: those with unread messages first, then the user's other ones, then active
/// ones, and at last the text itself as the name of a room.
fn offered<'a>(own: &[MyRoom], active: impl Iterator<Item = &'a str>, typed: &str) -> Vec<Choice> {
    let typed = typed.trim();
    let wanted = typed.to_lowercase();
    let mut own: Vec<_> = own.iter().filter(|room| room.name.to_lowercase().contains(&wanted)).collect();
    own.sort_by_key(|room| room.unread() == 0);
    let is_own = |name: &&str| own.iter().any(|room| room.name == **name);
    let others = active.filter(|name| name.to_lowercase().contains(&wanted) && !is_own(name));
    let others = others.map(|name| Choice { name: name.to_owned(), unread: 0, is_typed: false });
    let own = own.iter().map(|room| Choice { name: room.name.clone(), unread: room.unread(), is_typed: false });
    let mut choices: Vec<_> = own.chain(others).take(MOST_OFFERED).collect();
    if let Ok(name) = normalize_room_name(typed)
        && !choices.iter().any(|choice| choice.name.to_lowercase() == name.to_lowercase())
    {
        choices.push(Choice { name, unread: 0, is_typed: true });
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(typed: &str) -> Vec<(String, bool)> {
        let room = |name: &str, head| MyRoom { name: name.into(), head, read: 1 };
        let own = [room("Alpha", 1), room("beta", 5), room("한국어", 1)];
        let choices = offered(&own, ["Alpha", "gamma"].into_iter(), typed);
        choices.into_iter().map(|choice| (choice.name, choice.is_typed)).collect()
    }

    #[test]
    fn rooms_with_unread_messages_come_first_and_the_typed_name_last() {
        let plain = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), false)).collect::<Vec<_>>();
        assert_eq!(names(""), plain(&["beta", "Alpha", "한국어", "gamma"]));
        assert_eq!(names("alpha"), plain(&["Alpha"]));
        assert_eq!(names("국어")[0], ("한국어".to_owned(), false));
        assert_eq!(names("ta"), [("beta".to_owned(), false), ("ta".to_owned(), true)]);
    }
}
