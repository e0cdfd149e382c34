//! The reactions to a message.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_i18n::td_string;
use wasm_bindgen::JsCast;
use web_sys::Element;

use super::quote::focus_menu;
use crate::app::erase::Erase;
use crate::app::locale::Language;
use crate::app::room_context::RoomContext;
use crate::protocol::{Message, Reaction};

/// The reactions, one button for each emoji. A button stays when its number changes, and keeps the focus.
#[component]
pub(super) fn Reactions(room: RoomContext, message: ArcRwSignal<Arc<Message>>) -> impl IntoView {
    let emoji = {
        let message = message.clone();
        move || {
            message
                .with(|message| message.reactions().iter().map(|reaction| reaction.emoji.clone()).collect::<Vec<_>>())
        }
    };
    view! {
        <ul class="chips" role="list" aria-live="off">
            <For each=emoji key=String::clone let:emoji>
                {view! { <Chip room message=message.clone() emoji/> }.erase()}
            </For>
        </ul>
    }
}

#[component]
fn Chip(room: RoomContext, message: ArcRwSignal<Arc<Message>>, emoji: String) -> impl IntoView {
    let i18n = Language::current();
    let seq = message.with_untracked(|message| message.seq);
    let label = emoji.clone();
    let reaction = Memo::new({
        let emoji = emoji.clone();
        move |_| message.with(|message| message.reaction(&emoji).cloned())
    });
    let count = move || reaction.with(|reaction| reaction.as_ref().map_or(0, |reaction| reaction.count));
    let is_own = move || {
        let me = room.me.with(|me| me.id);
        reaction.with(|reaction| reaction.as_ref().is_some_and(|reaction| reaction.has(me)))
    };
    let names = move || reaction.with(|reaction| reaction.as_ref().map(|reaction| names(i18n, reaction)));
    let toggle = move |event: leptos::ev::MouseEvent| {
        if is_own() && count() == 1 {
            // The button goes, and must not take the focus with it.
            leave_button(&event);
        }
        room.client.react(room.state, seq, &emoji, !is_own());
    };
    view! {
        <li>
            <button
                type="button" class="chip" title=names aria-pressed=move || is_own().to_string() on:click=toggle
            >
                <span>{label}</span>
                " "
                <span class="number">{count}</span>
            </button>
        </li>
    }
}

/// Focuses the menu of the message in which a button was clicked.
fn leave_button(event: &leptos::ev::MouseEvent) {
    let button = event.current_target().and_then(|target| target.dyn_into::<Element>().ok());
    let message = button.and_then(|button| button.closest(".message").ok().flatten());
    message.iter().for_each(focus_menu);
}

/// The names of the users, and the number of those that are not listed.
fn names(i18n: Language, reaction: &Reaction) -> String {
    let names: Vec<_> = reaction.users.iter().map(|user| user.nickname.as_str()).collect();
    let listed = names.join(", ");
    match reaction.count.saturating_sub(names.len() as u64) {
        0 => listed,
        count => td_string!(i18n.get(), names_more, names = listed, count).to_string(),
    }
}
