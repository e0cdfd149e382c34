//! What is said. The list grows upwards from the newest (a reversed column), so it stands at the
//! newest message before any script runs, and keeps its place when older ones come above.

use leptos::either::{Either, EitherOf3, EitherOf4};
use leptos::html::Div;
use leptos::prelude::*;
use leptos_i18n::{td, td_string};

use super::{Here, face};
use crate::app::locale::{Language, tag};
use crate::app::text::{self, Piece, pieces};
use crate::app::time::{Parts, day_in_words, machine};
use crate::client::state::Pending;
use crate::client::timeline::{Clock, Entry, Row};
use crate::protocol::Message;
use web_sys::Element;

/// So near to the newest message counts as at it, in pixels.
const AT_BOTTOM: i32 = 48;
/// Older messages are loaded before the reader comes to the oldest, in pixels.
const LOAD_AHEAD: i32 = 800;

/// The messages, and a button for those that came while one reads above.
#[component]
pub(super) fn Log(here: Here) -> impl IntoView {
    let i18n = Language::current();
    let room = here.room;
    let log = NodeRef::<Div>::new();
    let at_bottom = RwSignal::new(true);
    let unseen = RwSignal::new(0_u64);

    // The first row that can be seen, and how far above the log's lower edge it ends, in pixels.
    let place = StoredValue::new(None::<(String, f64)>);

    let load_if_near_top = move || {
        if let Some(log) = log.get_untracked() {
            let above = log.scroll_height() - log.client_height() - log.scroll_top().abs();
            if above < LOAD_AHEAD {
                here.client.load_older(room);
            }
        }
    };
    let note_place = move || place.set_value(log.get_untracked().and_then(|log| first_seen(&log)));
    let keep_place = move || {
        let Some(log) = log.get_untracked().filter(|_| !at_bottom.get_untracked()) else { return };
        let Some((row, before)) = place.get_value() else { return };
        if let Some(now) = find_row(&log, &row).map(|row| above_edge(&log, &row)) {
            log.set_scroll_top(log.scroll_top() - (now - before).round() as i32);
        }
    };
    let scrolled = move |_| {
        let now_at_bottom = log.get_untracked().is_some_and(|log| log.scroll_top().abs() < AT_BOTTOM);
        if now_at_bottom {
            unseen.set(0);
        }
        at_bottom.set(now_at_bottom);
        note_place();
        load_if_near_top();
    };
    Effect::new(move |_| {
        let handle = window_event_listener(leptos::ev::resize, move |_| note_place());
        on_cleanup(move || handle.remove());
    });
    let to_bottom = move || {
        if let Some(log) = log.get_untracked() {
            log.set_scroll_top(0);
        }
        unseen.set(0);
    };
    Effect::new(move |before: Option<u64>| {
        let arrived = room.arrived.get();
        if !at_bottom.get_untracked() {
            unseen.update(|unseen| *unseen += arrived - before.unwrap_or(arrived));
        }
        arrived
    });
    // What comes below does not move what one reads above.
    Effect::new(move |_| {
        room.timeline.appended.track();
        request_animation_frame(keep_place);
    });
    // What one says oneself is always shown.
    Effect::new(move |before: Option<usize>| {
        let pending = room.pending.with(Vec::len);
        if before.is_some_and(|before| pending > before) {
            request_animation_frame(to_bottom);
        }
        pending
    });
    // A screen that is not full yet cannot be scrolled.
    Effect::new(move |_| {
        if room.more.get() && !room.loading.get() {
            request_animation_frame(load_if_near_top);
        }
    });
    let older = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        here.client.load_older(room);
    };
    let is_empty = move || room.timeline.chunks.with(Vec::is_empty) && room.pending.with(Vec::is_empty);
    let oldest = move || {
        room.timeline.chunks.track();
        room.timeline.oldest_seq().unwrap_or(1)
    };

    view! {
        <div class="log-frame">
            <div
                class="log" role="log" tabindex="0" node_ref=log on:scroll=scrolled
                aria-label=move || td_string!(i18n.get(), messages) aria-busy=move || room.loading.get().to_string()
            >
                <div class="rows">
                    <div class="beginning">
                        {move || if room.more.get() {
                            EitherOf3::A(view! {
                                <a class="older" href=move || format!("?before={}", oldest()) on:click=older>
                                    {move || if room.loading.get() { td_string!(i18n.get(), loading_older) } else { td_string!(i18n.get(), load_older) }}
                                </a>
                            })
                        } else if is_empty() {
                            EitherOf3::B(view! {
                                <div class="empty"><p>{td!(i18n.get(), no_messages)}</p><p>{td!(i18n.get(), say_first)}</p></div>
                            })
                        } else {
                            EitherOf3::C({
                                let name = room.name.get_value();
                                view! { <p>{td!(i18n.get(), beginning, room = move || name.clone())}</p> }
                            })
                        }}
                    </div>
                    <For each=move || room.timeline.chunks.get() key=|chunk| chunk.id let:chunk>
                        <ol>
                            <For each=move || chunk.rows.get() key=|row| (row.id, row.starts_day, row.starts_group) let:row>
                                <RowView here row/>
                            </For>
                        </ol>
                    </For>
                    <ol class="pending" aria-live="off">
                        <For
                            each=move || room.pending.get()
                            key=|pending| (pending.post.key, pending.failed.is_some())
                            let:pending
                        >
                            <PendingView here pending/>
                        </For>
                    </ol>
                </div>
            </div>
            <Show when=move || unseen.get() != 0>
                <button type="button" class="unseen" on:click=move |_| to_bottom()>
                    {move || match unseen.get() {
                        1 => Either::Left(td!(i18n.get(), new_messages_one)),
                        count => Either::Right(td!(i18n.get(), new_messages_many, count)),
                    }}
                </button>
            </Show>
        </div>
    }
}

/// The first row that can be seen, and where it ends.
fn first_seen(log: &Element) -> Option<(String, f64)> {
    let view = log.get_bounding_client_rect();
    let middle = (view.left() + view.width() / 2.0) as f32;
    // A margin between two rows belongs to neither: a little further down there is one.
    let at =
        |down: f64| document().element_from_point(middle, (view.top() + down) as f32)?.closest("[data-row]").ok()?;
    let row = [4.0, 24.0, 48.0].into_iter().find_map(at)?;
    Some((row.get_attribute("data-row")?, above_edge(log, &row)))
}

fn find_row(log: &Element, row: &str) -> Option<Element> {
    log.query_selector(&format!("[data-row=\"{row}\"]")).ok()?
}

/// How far above the log's lower edge a row ends. Neither a taller log nor older rows change that.
fn above_edge(log: &Element, row: &Element) -> f64 {
    log.get_bounding_client_rect().bottom() - row.get_bounding_client_rect().bottom()
}

#[component]
fn RowView(here: Here, row: Row) -> impl IntoView {
    let i18n = Language::current();
    match row.entry {
        Entry::Message(message) => EitherOf4::A(
            view! { <MessageView here id=row.id message=(*message).clone() starts_day=row.starts_day starts_group=row.starts_group/> },
        ),
        Entry::Came(nickname) => {
            EitherOf4::B(view! { <li class="event"><bdi>{nickname}</bdi>" "{td!(i18n.get(), came)}</li> })
        }
        Entry::Left(nickname) => {
            EitherOf4::C(view! { <li class="event"><bdi>{nickname}</bdi>" "{td!(i18n.get(), left)}</li> })
        }
        Entry::Gap => EitherOf4::D(view! { <li class="event gap">{td!(i18n.get(), gap)}</li> }),
    }
}

#[component]
fn MessageView(here: Here, id: u64, message: Message, starts_day: bool, starts_group: bool) -> impl IntoView {
    let i18n = Language::current();
    let timeline = here.room.timeline;
    let Message { user, text, at, .. } = message;
    let (author, nickname) = (user.id, user.nickname.clone());
    let own = move || here.me.with(|me| me.id == author);
    let full = move || Parts::of(at, timeline.clock()).full();
    let day = starts_day.then(|| {
        let words = move || match timeline.clock() {
            Clock::Utc => Parts::of(at, Clock::Utc).date(),
            Clock::Local => day_in_words(at, tag(i18n.get())),
        };
        view! { <div class="day"><span>{words}</span></div> }
    });
    let byline = if starts_group {
        Either::Left(view! {
            {face(&user)}
            <div class="byline">
                <bdi class="author">{nickname}</bdi>
                <time datetime=machine(at) title=full>{move || Parts::of(at, timeline.clock()).short()}</time>
            </div>
        })
    } else {
        Either::Right(view! { <span class="unseen-byline">{nickname}": "</span> })
    };
    view! {
        <li data-row=id class="message" class:own=own class:starts-group=starts_group>
            {day}
            {byline}
            <p class="text" dir="auto" title=full>{linked(&text)}</p>
        </li>
    }
}

/// A text with its addresses as links.
fn linked(text: &str) -> impl IntoView + use<> {
    let view = |piece| match piece {
        Piece::Plain(text) => Either::Left(text),
        Piece::Link(address) => Either::Right({
            let href = address.clone();
            view! {
                <a href=href target="_blank" rel="noopener noreferrer nofollow ugc">{address}</a>
            }
        }),
    };
    pieces(text).into_iter().map(view).collect_view()
}

#[component]
fn PendingView(here: Here, pending: Pending) -> impl IntoView {
    let i18n = Language::current();
    let Pending { post, failed, .. } = pending;
    let key = post.key;
    let fate = match failed {
        None => Either::Left(view! { <span class="fate">{td!(i18n.get(), sending)}</span> }),
        Some(refusal) => Either::Right(view! {
            <span class="fate failed" role="alert">
                {td!(i18n.get(), not_sent)}": "{move || text::refusal(i18n, refusal.code)}
            </span>
            <button type="button" on:click=move |_| here.client.retry(here.room, key)>{td!(i18n.get(), retry)}</button>
            <button type="button" on:click=move |_| here.room.discard(key)>{td!(i18n.get(), discard)}</button>
        }),
    };
    view! {
        <li class="message own waiting">
            <p class="text" dir="auto">{linked(&post.text)}</p>
            <div class="byline">{fate}</div>
        </li>
    }
}
