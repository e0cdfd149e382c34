//! The actions on a message: reactions, reply, pin, edit, delete.

use std::sync::Arc;

use leptos::html::{Button, Div};
use leptos::prelude::*;
use leptos_i18n::td_string;

use super::clipboard;
use super::quote::message_link;
use crate::app::erase::Erase;
use crate::app::locale::{Language, t};
use crate::app::room_context::{Compose, RoomContext};
use crate::protocol::Message;

/// The emoji that are offered first.
const QUICK: [&str; 7] = ["👍", "❤️", "😂", "🎉", "😮", "😢", "✅"];

/// The button that opens the actions, and the open actions.
#[component]
pub(super) fn Actions(room: RoomContext, message: ArcRwSignal<Arc<Message>>) -> impl IntoView {
    let i18n = Language::current();
    let seq = message.with_untracked(|message| message.seq);
    let opener = NodeRef::<Button>::new();
    let is_deleted = {
        let message = message.clone();
        move || message.with(|message| message.is_deleted())
    };
    // The menu stays as it is while the message changes.
    let is_open = Memo::new({
        let is_deleted = is_deleted.clone();
        move |_| room.actions_of.get() == Some(seq) && !is_deleted()
    });
    // A row that comes back must not take the focus.
    on_cleanup(move || {
        if room.actions_of.try_get_untracked() == Some(Some(seq)) {
            room.actions_of.set(None);
        }
    });
    let toggle = move |_| room.actions_of.update(|open| *open = (*open != Some(seq)).then_some(seq));
    let close = move || {
        room.actions_of.set(None);
        if let Some(opener) = opener.get_untracked() {
            let _ = opener.focus();
        }
    };
    view! {
        <button
            type="button" class="more needs-script" node_ref=opener hidden=is_deleted aria-live="off"
            aria-expanded=move || is_open.get().to_string() aria-label=t!(i18n, message_actions) on:click=toggle
        >
            "⋯"
        </button>
        {move || is_open.get().then(|| view! { <Toolbar room message=message.clone() close/> }.erase())}
    }
}

#[component]
fn Toolbar(
    room: RoomContext,
    message: ArcRwSignal<Arc<Message>>,
    /// Closes the actions, and takes the focus back.
    close: impl Fn() + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let i18n = Language::current();
    let (seq, author) = message.with_untracked(|message| (message.seq, message.user.id));
    let is_own = room.me.with_untracked(|me| me.id == author);
    let toolbar = NodeRef::<Div>::new();
    // The reader asked for the actions: the first of them takes the focus.
    Effect::new(move |_| {
        let first = toolbar.get().and_then(|toolbar| toolbar.query_selector("button").ok().flatten());
        if let Some(first) = first {
            let _ = wasm_bindgen::JsCast::unchecked_into::<web_sys::HtmlElement>(first).focus();
        }
    });
    let react = {
        let message = message.clone();
        move |emoji: &'static str| {
            let me = room.me.with_untracked(|me| me.id);
            let has_reacted =
                message.with_untracked(|message| message.reaction(emoji).is_some_and(|reaction| reaction.has(me)));
            room.client.react(room.state, seq, emoji, !has_reacted);
            close();
        }
    };
    let pick = move |_| {
        close();
        room.picking_for.set(Some(seq));
    };
    let compose = move |purpose| {
        room.actions_of.set(None);
        room.compose.set(purpose);
    };
    let is_pinned = message.with_untracked(|message| message.pinned().is_some());
    let pin = move |_| {
        room.client.pin(room.state, seq, !is_pinned);
        close();
    };
    let edit = move |_| {
        let edits = message.with_untracked(|message| message.edits());
        compose(Compose::Edit { target: room.state.reference(seq), edits });
    };
    let is_asked = RwSignal::new(false);
    let delete = move |event: leptos::ev::MouseEvent| {
        if !is_asked.get_untracked() {
            is_asked.set(true);
        } else if event.detail() <= 1 {
            // Not the second click of a double click (UI Events, 3.5.1).
            room.client.delete(room.state, seq);
            close();
        }
    };
    let copied = RwSignal::new(None);
    let copy = move |_| {
        let page = window().location().href().unwrap_or_default();
        let room = page.split(['?', '#']).next().unwrap_or_default();
        clipboard::copy(&format!("{room}{}", message_link(seq)), copied, || ());
    };
    let keydown = move |event: leptos::ev::KeyboardEvent| {
        if event.key() == "Escape" {
            event.stop_propagation();
            close();
        }
    };
    let quick = QUICK.into_iter().map(|emoji| {
        let react = react.clone();
        view! {
            <button type="button" class="emoji" aria-label=move || td_string!(i18n.get(), react_with, emoji).to_string() on:click=move |_| react(emoji)>
                {emoji}
            </button>
        }
    });
    view! {
        <div class="message-actions" role="group" aria-live="off" aria-label=t!(i18n, message_actions) node_ref=toolbar on:keydown=keydown>
            {quick.collect_view()}
            <button type="button" class="emoji" aria-haspopup="dialog" aria-label=t!(i18n, react_more) on:click=pick>"＋"</button>
            <button type="button" on:click=move |_| compose(Compose::Reply(room.state.reference(seq)))>{t!(i18n, reply)}</button>
            <button type="button" aria-live="polite" on:click=copy>
                {move || match copied.get() {
                    None => td_string!(i18n.get(), copy_link),
                    Some(true) => td_string!(i18n.get(), link_copied),
                    Some(false) => td_string!(i18n.get(), copy_failed),
                }}
            </button>
            <button type="button" on:click=pin>
                {move || if is_pinned { td_string!(i18n.get(), unpin) } else { td_string!(i18n.get(), pin) }}
            </button>
            {is_own.then(|| view! {
                <button type="button" on:click=edit>{t!(i18n, edit)}</button>
                <button type="button" class="danger" aria-live="polite" on:click=delete>
                    {move || if is_asked.get() { td_string!(i18n.get(), delete_sure) } else { td_string!(i18n.get(), delete) }}
                </button>
            })}
        </div>
    }
}
