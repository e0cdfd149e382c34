//! The line above a reply that shows the message it replies to.

use leptos::either::Either;
use leptos::prelude::*;
use leptos_i18n::td_string;
use wasm_bindgen::JsCast;

use crate::app::locale::Language;
use crate::app::room_context::RoomContext;
use crate::protocol::Message;

/// The most characters of a quoted text.
const MAX_CHARS: usize = 120;

/// A link to the message at this position. It scrolls there, or opens the page with that message if it is not loaded.
#[component]
pub(super) fn Quote(room: RoomContext, seq: u64) -> impl IntoView {
    let i18n = Language::current();
    // A signal, so that the text disappears with its message.
    let target = room.state.timeline.quoted(seq);
    let content = move || match target.get() {
        Some(message) => Either::Left({
            let nickname = message.user.nickname.clone();
            view! { <bdi class="author" translate="no">{nickname}</bdi>" "{excerpt(i18n, &message)} }
        }),
        None => Either::Right(td_string!(i18n.get(), earlier_message)),
    };
    let jump = move |event: leptos::ev::MouseEvent| {
        if show(room, seq) {
            event.prevent_default();
        }
    };
    view! {
        <a class="quote" href=message_link(seq) on:click=jump>
            <span class="visually-hidden">{move || td_string!(i18n.get(), reply_to)}" "</span>
            {content}
        </a>
    }
}

/// The link to a message, relative to its room. Without script, the fragment scrolls to it.
pub(super) fn message_link(seq: u64) -> String {
    format!("?at={seq}#m{seq}")
}

/// The beginning of a message's text, on one line.
pub(super) fn excerpt(i18n: Language, message: &Message) -> String {
    if message.is_deleted() {
        return td_string!(i18n.get(), message_deleted).to_owned();
    }
    if message.text.is_empty() {
        return message.attachments().iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ");
    }
    let mut text = message.text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Scrolls to a message and focuses its menu. Returns false if the message is not loaded.
pub(super) fn show(room: RoomContext, seq: u64) -> bool {
    let shown = scroll_to(room, seq);
    shown.iter().for_each(focus_menu);
    shown.is_some()
}

/// Scrolls to a message. Returns its row, if it is loaded.
pub(super) fn scroll_to(room: RoomContext, seq: u64) -> Option<web_sys::Element> {
    // `None`: the page is gone.
    room.state.name.try_get_value()?;
    let (row, _) = room.state.timeline.row_of(seq)?;
    let element = document().query_selector(&format!("[data-row='{row}']")).ok()??;
    element.scroll_into_view();
    // The browser reports the scroll in the next frame. Rows that are added before must not move it.
    if let (Ok(Some(log)), Ok(scrolled)) = (element.closest(".log"), web_sys::Event::new("scroll")) {
        let _ = log.dispatch_event(&scrolled);
    }
    Some(element)
}

/// Focuses the button that opens the actions on a message.
pub(super) fn focus_menu(message: &web_sys::Element) {
    if let Ok(Some(button)) = message.query_selector(".more") {
        let _ = button.unchecked_into::<web_sys::HtmlElement>().focus();
    }
}
