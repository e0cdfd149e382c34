//! The emoji of a group, or those that were found.

use leptos::html::Div;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use super::catalog::{Emoji, Group, catalog, find};
use super::state::Picker;
use crate::app::erase::Erase;
use crate::app::locale::{Language, t};

#[component]
pub(super) fn EmojiGrid(picker: Picker) -> impl IntoView {
    let i18n = Language::current();
    let loaded = LocalResource::new(catalog);
    let group = RwSignal::new(0_u8);
    let shown = Memo::new(move |_| {
        let all = loaded.get().flatten().map_or(&[][..], |catalog| &catalog.emoji);
        let typed = picker.typed.get();
        let cloned = |emoji: Vec<&Emoji>| emoji.into_iter().cloned().collect::<Vec<_>>();
        if typed.trim().is_empty() {
            cloned(all.iter().filter(|emoji| emoji.group == group.get()).collect())
        } else {
            cloned(find(all, &typed))
        }
    });
    Effect::new(move |previous: Option<()>| {
        picker.entered.track();
        let first = shown.with_untracked(|shown| shown.first().map(|emoji| emoji.text.clone()));
        let is_search = picker.typed.with_untracked(|typed| !typed.trim().is_empty());
        if let Some(first) = first.filter(|_| previous.is_some() && is_search) {
            picker.pick(&first);
        }
    });
    let grid = NodeRef::<Div>::new();
    let keydown = move |event: leptos::ev::KeyboardEvent| {
        if let Some(grid) = grid.get_untracked()
            && move_focus(&grid, &event.key())
        {
            event.prevent_default();
        }
    };
    let groups = move || {
        let catalog = loaded.get().flatten();
        let button = |of: &'static Group| {
            let (number, name) = (of.number, of.name(i18n.get()));
            let first = catalog.and_then(|catalog| catalog.emoji.iter().find(|emoji| emoji.group == number));
            let is_shown = move || group.get() == number && picker.typed.with(|typed| typed.trim().is_empty());
            view! {
                <button
                    type="button" aria-pressed=move || is_shown().to_string() title=name aria-label=name
                    on:click=move |_| group.set(number)
                >
                    {first.map(|emoji| emoji.text.clone())}
                </button>
            }
        };
        catalog.map(|catalog| catalog.groups.iter().map(button).collect_view())
    };
    let buttons = move || {
        let locale = i18n.get();
        let button = |(index, emoji): (usize, Emoji)| {
            let name = emoji.name(locale).to_owned();
            let picked = emoji.text.clone();
            // One stop for the Tab key; arrow keys move within the grid.
            let tabindex = if index == 0 { "0" } else { "-1" };
            view! {
                <button type="button" tabindex=tabindex title=name.clone() aria-label=name on:click=move |_| picker.pick(&picked)>
                    {emoji.text}
                </button>
            }
        };
        shown.get().into_iter().enumerate().map(button).collect_view()
    };
    let note = move || {
        let failed = loaded.get().is_some_and(|catalog| catalog.is_none());
        let nothing = loaded.get().is_some() && shown.with(Vec::is_empty);
        if failed { Some(t!(i18n, error_unreachable)()) } else { nothing.then(|| t!(i18n, emoji_nothing)()) }
    };
    view! {
        <div class="emoji-groups" role="group" aria-label=t!(i18n, emoji_groups)>{groups}</div>
        <div class="emoji-grid" role="group" aria-label=t!(i18n, emoji) node_ref=grid on:keydown=keydown>{buttons}</div>
        <p class="hint" role="status">{note}</p>
    }
    .erase()
}

/// Moves the focus to the next emoji in a direction. Returns whether the key is one of the arrow keys.
fn move_focus(grid: &HtmlElement, key: &str) -> bool {
    let buttons = grid.children();
    let at = |index: u32| buttons.item(index)?.dyn_into::<HtmlElement>().ok();
    let top = |index: u32| at(index).map(|button| button.offset_top());
    // The emoji in a row: those as high as the first.
    let columns = (0..buttons.length()).take_while(|index| top(*index) == top(0)).count() as i32;
    let step = match key {
        "ArrowRight" => 1,
        "ArrowLeft" => -1,
        "ArrowDown" => columns,
        "ArrowUp" => -columns,
        _ => return false,
    };
    let active = document().active_element();
    let current = (0..buttons.length()).find(|index| buttons.item(*index) == active);
    let next = current.and_then(|current| u32::try_from(current as i32 + step).ok()).and_then(at);
    if let Some(next) = next {
        let _ = next.focus();
    }
    true
}
