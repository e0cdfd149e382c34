//! The results of a search, and the form that works without script.

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::excerpt::{Piece, excerpt};
use crate::app::api::SearchPage;
use crate::app::erase::Erase;
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::app::time::{Parts, rfc3339};
use crate::app::{path, refusal};
use crate::protocol::{Found, MAX_SEARCH_CHARS};

/// The form at `?search=`, with the results that the server has found. Without words they are the pinned messages.
#[component]
pub(in crate::app::room) fn SearchForm(
    room: RoomContext,
    page: SearchPage,
    /// The path of the room's page.
    back: String,
) -> impl IntoView {
    let i18n = Language::current();
    let SearchPage { text, in_all, result } = page;
    let is_asked = !text.trim().is_empty();
    let (found, older, error) = match result {
        Ok(ack) => (ack.found, ack.before, None),
        Err(code) => (Vec::new(), None, Some(code)),
    };
    let (count, is_more) = (found.len(), older.is_some());
    let status = move || match error {
        Some(code) => refusal::text(i18n, code).to_owned(),
        None if is_asked => summary(i18n, count, is_more),
        None => td_string!(i18n.get(), search_hint).to_owned(),
    };
    let pins = (!is_asked && error.is_none()).then_some(move || pins_heading(i18n, count == 0));
    let older = older.map(|before| {
        format!("?search={}{}&found_before={before}", path::query(&text), if in_all { "&in=all" } else { "" })
    });
    view! {
        <section class="search" aria-label=t!(i18n, search_messages)>
            <form method="get" role="search">
                <input
                    type="search" name="search" value=text maxlength=MAX_SEARCH_CHARS.to_string() dir="auto"
                    aria-label=t!(i18n, search_messages)
                />
                <button class="primary">{t!(i18n, search)}</button>
                <a class="button" href=back>{t!(i18n, search_close)}</a>
                <label><input type="checkbox" name="in" value="all" checked=in_all/>{t!(i18n, search_all)}</label>
            </form>
            <p class="hint" role="status">{status}</p>
            {pins}
            <ol class="results">{found.iter().map(|found| row(room, found)).collect_view()}</ol>
            {older.map(|href| view! { <a class="button" href=href>{t!(i18n, search_older)}</a> })}
        </section>
    }
    .erase()
}

/// The heading of the pinned messages, and what to say if there are none.
pub(super) fn pins_heading(i18n: Language, is_empty: bool) -> AnyView {
    let none = is_empty.then(|| view! { <p class="empty">{t!(i18n, pins_none)}</p> });
    view! { <h2>{t!(i18n, pins)}</h2> {none} }.erase()
}

/// The number of results.
pub(super) fn summary(i18n: Language, count: usize, is_more: bool) -> String {
    match (count, is_more) {
        (0, false) => td_string!(i18n.get(), search_nothing).to_owned(),
        (1, false) => td_string!(i18n.get(), search_found_one).to_owned(),
        (count, false) => td_string!(i18n.get(), search_found_many, count),
        (count, true) => td_string!(i18n.get(), search_found_more, count),
    }
}

/// A result: a link to the message.
pub(super) fn row(room: RoomContext, found: &Found) -> AnyView {
    let Found { message, marks, name } = found;
    let (seq, at) = (message.seq, message.at);
    let timeline = room.state.timeline;
    let time = move || {
        let parts = Parts::of(at, timeline.clock());
        format!("{} {}", parts.date(), parts.short())
    };
    let text = excerpt(&message.text, marks).into_iter().map(|piece| match piece {
        Piece::Plain(text) => view! { {text} }.erase(),
        Piece::Marked(text) => view! { <mark>{text}</mark> }.erase(),
    });
    // A message of the room that is shown can be scrolled to.
    let is_here = message.room == room.state.id.get_value();
    let page = name.as_deref().filter(|_| !is_here).map(path::room).unwrap_or_default();
    let name = name.clone().map(|name| view! { <bdi class="in-room">{name}</bdi>" " });
    view! {
        <li>
            <a href=format!("{page}?at={seq}#m{seq}") data-seq=is_here.then_some(seq)>
                <span class="byline" translate="no">
                    {name}<bdi class="author">{message.user.nickname.clone()}</bdi>" "<time datetime=rfc3339(at)>{time}</time>
                </span>
                <span class="found" dir="auto">{text.collect_view()}</span>
            </a>
        </li>
    }
    .erase()
}
