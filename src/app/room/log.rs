//! What is said. The list grows upwards from the newest (a reversed column), so it stands at the
//! newest message before any script runs, and keeps its place when older ones come above.

use leptos::either::{Either, EitherOf3, EitherOf5};
use leptos::html::Div;
use leptos::prelude::*;
use leptos_i18n::{td, td_string};

use super::{Here, face};
use crate::app::locale::{Language, say, tag};
use crate::app::text::{self, Piece, pieces};
use crate::app::time::{Parts, day_in_words, machine};
use crate::client::state::{Older, Pending};
use crate::client::timeline::{Clock, Entry, Gap, Row};
use crate::protocol::Message;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{Element, ResizeObserver};

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

    // How a row is found, and how far above the end of the list it stands, in pixels: what comes below adds to it.
    let place = StoredValue::new(None::<(String, f64)>);
    // What is put off until the next frame may find the page gone.
    let alive = StoredValue::new(());
    let soon = move |act: fn(&Reader)| {
        let reader = Reader { here, log, at_bottom, unseen, place };
        request_animation_frame(move || {
            if alive.try_get_value().is_some() {
                act(&reader);
            }
        });
    };
    let reader = Reader { here, log, at_bottom, unseen, place };

    // What comes below does not move what one reads above, nor does a chunk that is drawn for the first time and
    // is not as high as was thought. This runs between a layout and its picture.
    Effect::new(move |_| {
        if let Some(rows) = log.get().and_then(|log| log.first_element_child()) {
            on_resize(&rows, move || reader.keep_place());
        }
    });
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
            soon(Reader::show_newest);
        }
        pending
    });
    // A screen that is not full yet cannot be scrolled.
    Effect::new(move |_| {
        if room.older.get() == Older::More {
            soon(Reader::load_if_near_top);
        }
    });
    let older = move |event: leptos::ev::MouseEvent| {
        event.prevent_default();
        here.client.load_older(room);
    };
    let is_empty = move || room.timeline.sections.with(Vec::is_empty) && room.pending.with(Vec::is_empty);
    let oldest = move || room.timeline.oldest_now().unwrap_or(1);

    view! {
        <div class="log-frame">
            <div
                class="log" role="log" tabindex="0" node_ref=log on:scroll=move |_| reader.scrolled()
                aria-label=say!(i18n, messages) aria-busy=move || (room.older.get() == Older::Loading).to_string()
            >
                <div class="rows">
                    <div class="beginning">
                        {move || if room.older.get() != Older::None {
                            EitherOf3::A(view! {
                                <a class="older" href=move || format!("?before={}", oldest()) on:click=older>
                                    {move || if room.older.get() == Older::Loading { td_string!(i18n.get(), loading_older) } else { td_string!(i18n.get(), load_older) }}
                                </a>
                            })
                        } else if is_empty() {
                            EitherOf3::B(view! {
                                <div class="empty"><p>{say!(i18n, no_messages)}</p><p>{say!(i18n, say_first)}</p></div>
                            })
                        } else {
                            EitherOf3::C({
                                let name = room.name.get_value();
                                view! { <p>{td!(i18n.get(), beginning, room = move || name.clone())}</p> }
                            })
                        }}
                    </div>
                    <For each=move || room.timeline.sections.get() key=|section| section.id let:section>
                        <div class="section">
                            <For each=move || section.chunks.get() key=|chunk| chunk.id let:chunk>
                                <ol data-chunk=chunk.id>
                                    <For each=move || chunk.rows.get() key=|row| (row.id, row.starts_day, row.starts_group) let:row>
                                        <RowView here row/>
                                    </For>
                                </ol>
                            </For>
                        </div>
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
                <button type="button" class="unseen" on:click=move |_| reader.show_newest()>
                    {move || match unseen.get() {
                        1 => Either::Left(say!(i18n, new_messages_one)),
                        count => Either::Right(td!(i18n.get(), new_messages_many, count)),
                    }}
                </button>
            </Show>
        </div>
    }
}

/// The reader's place in the log.
#[derive(Clone, Copy)]
struct Reader {
    here: Here,
    log: NodeRef<Div>,
    at_bottom: RwSignal<bool>,
    unseen: RwSignal<u64>,
    place: StoredValue<Option<(String, f64)>>,
}

impl Reader {
    fn scrolled(&self) {
        let Some(log) = self.log.get_untracked() else { return };
        // What came in this frame is still counted from the place before.
        self.keep_place();
        let at_bottom = log.scroll_top().abs() < AT_BOTTOM;
        if at_bottom {
            self.unseen.set(0);
        }
        self.at_bottom.set(at_bottom);
        self.note_place();
        self.load_if_near_top();
        self.load_if_near_gap();
    }

    fn load_if_near_top(&self) {
        let Some(log) = self.log.get_untracked() else { return };
        let above = log.scroll_height() - log.client_height() - log.scroll_top().abs();
        if above < LOAD_AHEAD {
            self.here.client.load_older(self.here.room);
        }
    }

    fn load_if_near_gap(&self) {
        let Some(log) = self.log.get_untracked() else { return };
        let view = log.get_bounding_client_rect();
        let Ok(gaps) = log.query_selector_all("[data-missing-before]") else { return };
        for gap in (0..gaps.length()).filter_map(|index| gaps.get(index)?.dyn_into::<Element>().ok()) {
            let place = gap.get_bounding_client_rect();
            let ahead = f64::from(LOAD_AHEAD);
            let is_near = place.bottom() > view.top() - ahead && place.top() < view.bottom() + ahead;
            let before = gap.get_attribute("data-missing-before").and_then(|before| before.parse().ok());
            if let Some(before) = before.filter(|_| is_near) {
                self.here.client.load_missing(self.here.room, before);
            }
        }
    }

    fn show_newest(&self) {
        if let Some(log) = self.log.get_untracked() {
            log.set_scroll_top(0);
        }
        // Known before the browser says so: what comes in this frame must not be kept away from.
        self.at_bottom.set(true);
        self.unseen.set(0);
    }

    fn note_place(&self) {
        let seen = self.log.get_untracked().and_then(|log| {
            let row = first_seen(&log)?;
            let selector = |name| row.get_attribute(name).map(|id| format!("[{name}=\"{id}\"]"));
            Some((selector("data-row").or_else(|| selector("data-chunk"))?, above_end(&log, &row)?))
        });
        self.place.set_value(seen);
    }

    fn keep_place(&self) {
        let Some(log) = self.log.get_untracked().filter(|_| !self.at_bottom.get_untracked()) else { return };
        let Some((selector, before)) = self.place.get_value() else { return };
        let row = log.query_selector(&selector).ok().flatten();
        if let Some(now) = row.and_then(|row| above_end(&log, &row)) {
            log.set_scroll_top(log.scroll_top() - (now - before).round() as i32);
            self.place.set_value(Some((selector, now)));
        }
    }
}

/// Acts whenever the element's size has changed, until whatever asked is gone.
fn on_resize(element: &Element, act: impl Fn() + 'static) {
    let callback = Closure::<dyn Fn()>::new(act);
    let Ok(observer) = ResizeObserver::new(callback.as_ref().unchecked_ref()) else { return };
    observer.observe(element);
    let held = StoredValue::new_local((observer, callback));
    on_cleanup(move || {
        held.try_with_value(|(observer, _)| observer.disconnect());
    });
}

/// The first row that can be seen, or the chunk whose rows are not drawn yet, after a leap.
fn first_seen(log: &Element) -> Option<Element> {
    let view = log.get_bounding_client_rect();
    let middle = (view.left() + view.width() / 2.0) as f32;
    let at = |down: f64, what| document().element_from_point(middle, (view.top() + down) as f32)?.closest(what).ok()?;
    // A margin between two rows belongs to neither: a little further down there is one.
    let row = [4.0, 24.0, 48.0].into_iter().find_map(|down| at(down, "[data-row]"));
    row.or_else(|| at(4.0, "[data-chunk]"))
}

/// How far above the end of the list a row ends: neither scrolling nor older rows change that.
fn above_end(log: &Element, row: &Element) -> Option<f64> {
    let rows = log.first_element_child()?;
    Some(rows.get_bounding_client_rect().bottom() - row.get_bounding_client_rect().bottom())
}

#[component]
fn RowView(here: Here, row: Row) -> impl IntoView {
    let i18n = Language::current();
    match row.entry {
        Entry::Message(message) => EitherOf5::A(
            view! { <MessageView here id=row.id message=(*message).clone() starts_day=row.starts_day starts_group=row.starts_group/> },
        ),
        Entry::Came(nickname) => {
            EitherOf5::B(view! { <li class="event"><bdi>{nickname}</bdi>" "{say!(i18n, came)}</li> })
        }
        Entry::Left(nickname) => {
            EitherOf5::C(view! { <li class="event"><bdi>{nickname}</bdi>" "{say!(i18n, left)}</li> })
        }
        Entry::Gap(gap) => EitherOf5::D(view! { <GapView here id=row.id gap/> }),
        Entry::OtherHistory => EitherOf5::E(view! { <li class="event gap">{say!(i18n, other_history)}</li> }),
    }
}

/// What was not given with the rest: loaded when one comes near, or asks.
#[component]
fn GapView(here: Here, id: u64, gap: Gap) -> impl IntoView {
    let i18n = Language::current();
    let before = here.room.timeline.after_gap(id).unwrap_or_default();
    let load = move |_| here.client.load_missing(here.room, before);
    let automatic = (gap == Gap::Open).then(|| before.to_string());
    view! {
        <li class="event gap" data-missing-before=automatic>
            {say!(i18n, gap)}
            <button type="button" on:click=load>{say!(i18n, load_missing)}</button>
        </li>
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
        None => Either::Left(view! { <span class="fate">{say!(i18n, sending)}</span> }),
        Some(refusal) => Either::Right(view! {
            <span class="fate failed" role="alert">
                {say!(i18n, not_sent)}": "{move || text::refusal(i18n, refusal.code)}
            </span>
            <button type="button" on:click=move |_| here.client.retry(here.room, key)>{say!(i18n, retry)}</button>
            <button type="button" on:click=move |_| here.client.discard(here.room, key)>{say!(i18n, discard)}</button>
        }),
    };
    view! {
        <li class="message own waiting">
            <p class="text" dir="auto">{linked(&post.text)}</p>
            <div class="byline">{fate}</div>
        </li>
    }
}
