//! Reading: the mark of the last message read that the server keeps, the line above the first unread one, and counting.

use std::time::Duration;

use leptos::either::Either;
use leptos::prelude::*;
use leptos_i18n::td;

use super::quote::{self, message_link};
use super::scroll::Scroll;
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::client::state::Room;

/// True while the user can see the page.
pub(super) fn page_is_visible() -> ReadSignal<bool> {
    let (is_visible, set_visible) = signal(true);
    Effect::new(move |_| {
        set_visible.set(!document().hidden());
        let handle =
            window_event_listener(leptos::ev::visibilitychange, move |_| set_visible.set(!document().hidden()));
        on_cleanup(move || handle.remove());
    });
    is_visible
}

/// The number of messages from others that arrived while the page was hidden.
pub(super) fn unread_while_hidden(room: Room, is_visible: ReadSignal<bool>) -> RwSignal<u64> {
    let unread = RwSignal::new(0);
    Effect::new(move |before: Option<u64>| {
        let arrived = room.arrived.get();
        if !is_visible.get_untracked() {
            unread.update(|unread| *unread += arrived - before.unwrap_or(arrived));
        }
        arrived
    });
    Effect::new(move |_| {
        if is_visible.get() {
            unread.set(0);
        }
    });
    unread
}

/// Marks what is shown as read, while the user looks at the newest message.
pub(super) fn follow(room: RoomContext, scroll: Scroll, is_visible: ReadSignal<bool>) {
    Effect::new(move |_| {
        let newest = room.state.newest.get();
        if newest > 0 && is_visible.get() && scroll.is_at_bottom() {
            room.client.mark_read(room.state, newest);
        }
    });
    // A page in the background draws the line above the first message that the user has not seen.
    Effect::new(move |was: Option<(u64, bool)>| {
        let (newest, is_hidden) = (room.state.newest.get(), !is_visible.get());
        let has_line = was.is_some_and(|(_, has_line)| has_line) && is_hidden;
        let starts = is_hidden && !has_line && was.is_some_and(|(before, _)| before != 0 && newest > before);
        if starts {
            room.state.first_unread.set(was.map(|(before, _)| before + 1));
        }
        (newest, has_line || starts)
    });
}

/// The line above the first unread message, if that is the one at this position.
pub(super) fn line_above(room: RoomContext, seq: u64) -> impl IntoView {
    let i18n = Language::current();
    move || {
        let is_first = room.state.first_unread.get() == Some(seq);
        is_first.then(|| {
            view! {
                <p class="unread-line" role="separator" aria-label=t!(i18n, unread_line)>{t!(i18n, unread_line)}</p>
            }
        })
    }
}

/// The time after which the rows of a new page have their heights.
const MEASURED: Duration = Duration::from_millis(100);

/// A link to the first unread message, as long as it is above what is shown.
#[component]
pub(super) fn FirstUnread(room: RoomContext, scroll: Scroll) -> impl IntoView {
    let i18n = Language::current();
    let state = room.state;
    let oldest = move || untrack(|| state.timeline.oldest_now());
    // Until the page can measure: it is above if it is not on the page.
    let not_loaded = move |first: u64| oldest().is_some_and(|oldest| first < oldest);
    let is_above = RwSignal::new(untrack(|| state.first_unread.get()).is_some_and(not_loaded));
    let measure = move || {
        let first = state.first_unread.try_get_untracked().flatten();
        is_above.try_set(first.is_some_and(|first| not_loaded(first) || scroll.is_above(first)));
    };
    Effect::new(move |_| {
        state.first_unread.track();
        // Not in the next frame: until a chunk was rendered once, its height is an estimate.
        set_timeout(measure, MEASURED);
    });
    Effect::new(move |_| {
        scroll.moved.track();
        if is_above.get_untracked() {
            measure();
        }
    });
    let first = move || state.first_unread.get().filter(|_| is_above.get());
    let jump = move |event: leptos::ev::MouseEvent, seq: u64| {
        if quote::show(room, seq) {
            event.prevent_default();
        }
        is_above.set(false);
    };
    move || {
        first().map(|seq| {
            let count = state.newest.get().saturating_sub(seq) + 1;
            let text = match count {
                1 => Either::Left(t!(i18n, first_unread_one)),
                count => Either::Right(td!(i18n.get(), first_unread_many, count)),
            };
            view! {
                <a class="unread-pill first" translate="no" href=message_link(seq) on:click=move |event| jump(event, seq)>{text}</a>
            }
        })
    }
}
