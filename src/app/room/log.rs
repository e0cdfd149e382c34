//! What is said. The list grows upwards from the newest (a reversed column), so it stands at the
//! newest message before any script runs, and keeps its place when older ones come above.

use leptos::either::{Either, EitherOf3, EitherOf4};
use leptos::html::Div;
use leptos::prelude::*;
use leptos_i18n::{t, t_string};

use super::Here;
use crate::app::locale::tag;
use crate::app::text::{self, Piece, pieces};
use crate::app::time::{Parts, day_in_words, machine};
use crate::client::state::Pending;
use crate::client::timeline::{Clock, Entry, Row};
use crate::i18n::*;
use crate::protocol::Message;

/// So near to the newest message counts as at it, in pixels.
const AT_BOTTOM: i32 = 48;
/// Older messages are loaded before the reader comes to the oldest, in pixels.
const LOAD_AHEAD: i32 = 800;

/// The messages, and a button for those that came while one reads above.
#[component]
pub(super) fn Log(here: Here) -> impl IntoView {
    let i18n = use_i18n();
    let room = here.room;
    let log = NodeRef::<Div>::new();
    let at_bottom = RwSignal::new(true);
    let unseen = RwSignal::new(0_u64);

    let load_if_near_top = move || {
        if let Some(log) = log.get_untracked() {
            let above = log.scroll_height() - log.client_height() - log.scroll_top().abs();
            if above < LOAD_AHEAD {
                here.client.load_older(room);
            }
        }
    };
    let scrolled = move |_| {
        let now_at_bottom = log.get_untracked().is_some_and(|log| log.scroll_top().abs() < AT_BOTTOM);
        if now_at_bottom {
            unseen.set(0);
        }
        at_bottom.set(now_at_bottom);
        load_if_near_top();
    };
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
                aria-label=move || t_string!(i18n, messages) aria-busy=move || room.loading.get().to_string()
            >
                <div class="rows">
                    <div class="beginning">
                        {move || if room.more.get() {
                            EitherOf3::A(view! {
                                <a class="older" href=move || format!("?before={}", oldest()) on:click=older>
                                    {move || if room.loading.get() { t_string!(i18n, loading_older) } else { t_string!(i18n, load_older) }}
                                </a>
                            })
                        } else if is_empty() {
                            EitherOf3::B(view! {
                                <div class="empty"><p>{t!(i18n, no_messages)}</p><p>{t!(i18n, say_first)}</p></div>
                            })
                        } else {
                            EitherOf3::C({
                                let name = room.name.get_value();
                                view! { <p>{t!(i18n, beginning, room = move || name.clone())}</p> }
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
                        1 => Either::Left(t!(i18n, new_messages_one)),
                        count => Either::Right(t!(i18n, new_messages_many, count)),
                    }}
                </button>
            </Show>
        </div>
    }
}

#[component]
fn RowView(here: Here, row: Row) -> impl IntoView {
    let i18n = use_i18n();
    match row.entry {
        Entry::Message(message) => EitherOf4::A(
            view! { <MessageView here message=(*message).clone() starts_day=row.starts_day starts_group=row.starts_group/> },
        ),
        Entry::Came(nickname) => {
            EitherOf4::B(view! { <li class="event"><bdi>{nickname}</bdi>" "{t!(i18n, came)}</li> })
        }
        Entry::Left(nickname) => {
            EitherOf4::C(view! { <li class="event"><bdi>{nickname}</bdi>" "{t!(i18n, left)}</li> })
        }
        Entry::Gap => EitherOf4::D(view! { <li class="event gap">{t!(i18n, gap)}</li> }),
    }
}

#[component]
fn MessageView(here: Here, message: Message, starts_day: bool, starts_group: bool) -> impl IntoView {
    let i18n = use_i18n();
    let timeline = here.room.timeline;
    let Message { user, text, at, .. } = message;
    let (id, nickname) = (user.id, user.nickname);
    let own = move || here.me.with(|me| me.id == id);
    let full = move || Parts::of(at, timeline.clock()).full();
    let day = starts_day.then(|| {
        let words = move || match timeline.clock() {
            Clock::Utc => Parts::of(at, Clock::Utc).date(),
            Clock::Local => day_in_words(at, tag(i18n.get_locale())),
        };
        view! { <div class="day"><span>{words}</span></div> }
    });
    let byline = if starts_group {
        Either::Left(view! {
            <div class="byline">
                <bdi class="author">{nickname}</bdi>
                <time datetime=machine(at) title=full>{move || Parts::of(at, timeline.clock()).short()}</time>
            </div>
        })
    } else {
        Either::Right(view! { <span class="unseen-byline">{nickname}": "</span> })
    };
    view! {
        <li class="message" class:own=own class:starts-group=starts_group>
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
    let i18n = use_i18n();
    let Pending { post, failed, .. } = pending;
    let key = post.key;
    let fate = match failed {
        None => Either::Left(view! { <span class="fate">{t!(i18n, sending)}</span> }),
        Some(refusal) => Either::Right(view! {
            <span class="fate failed" role="alert">
                {t!(i18n, not_sent)}": "{move || text::refusal(i18n, refusal.code)}
            </span>
            <button type="button" on:click=move |_| here.client.retry(here.room, key)>{t!(i18n, retry)}</button>
            <button type="button" on:click=move |_| here.room.discard(key)>{t!(i18n, discard)}</button>
        }),
    };
    view! {
        <li class="message own waiting">
            <p class="text" dir="auto">{linked(&post.text)}</p>
            <div class="byline">{fate}</div>
        </li>
    }
}
