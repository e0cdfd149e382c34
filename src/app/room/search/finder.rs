//! The results in the panel: finds while the user types.

use std::time::Duration;

use leptos::ev;
use leptos::prelude::*;
use leptos_i18n::td_string;
use wasm_bindgen::JsCast;
use web_sys::Element;

use super::super::quote::show;
use super::results::{pins_heading, row, summary};
use super::state::{Search, Status};
use crate::app::erase::Erase;
use crate::app::locale::{Language, t};
use crate::app::refusal;
use crate::app::room_context::RoomContext;
use crate::client::state::SearchAnswer;
use crate::protocol::{ErrorCode, Found, Place, SearchAck};

/// The pause in typing after which the search begins.
const TYPED: Duration = Duration::from_millis(250);
/// The answers without a result after which the search does not go on automatically.
const MOST_EMPTY: u32 = 10;
/// The interval between two attempts without a connection.
const RETRY: Duration = Duration::from_secs(1);

/// The status and the list.
#[component]
pub(super) fn FoundMessages(room: RoomContext, search: Search) -> impl IntoView {
    let i18n = Language::current();
    let finder = Finder {
        room,
        search,
        timer: StoredValue::new_local(None),
        empty: StoredValue::new(0),
        is_due: StoredValue::new(false),
    };
    on_cleanup(move || finder.stop());
    Effect::new(move |_| {
        room.state.search_answer.track();
        if let Some(answer) = room.state.search_answer.try_update_untracked(Option::take).flatten() {
            finder.answered(answer);
        }
    });
    Effect::new(move |previous: Option<()>| {
        search.text.track();
        if previous.is_some() {
            finder.ask_after(TYPED, None);
        } else if search.found.with_untracked(Vec::is_empty) || finder.has_no_words() {
            // The words of the address, or those of the page before, whose answer it did not receive; or the pinned
            // messages, which may be others by now.
            finder.ask(None);
        }
    });
    Effect::new(move |previous: Option<()>| {
        room.state.pins_changed.track();
        // One request for many changes, and not of all pages at the same time.
        if previous.is_some() && finder.has_no_words() && !finder.is_due.get_value() {
            finder.is_due.set_value(true);
            finder.ask_after(Duration::from_millis(500 + (js_sys::Math::random() * 2_500.0) as u64), None);
        }
    });
    Effect::new(move |previous: Option<()>| {
        search.in_all.track();
        if previous.is_some() {
            search.clear();
            finder.ask(None);
        }
    });
    Effect::new(move |_| {
        let floor = room.state.floor.get();
        let has_expired = |found: &Found| found.message.seq < floor && found.message.room == room.state.id.get_value();
        if search.found.with_untracked(|found| found.iter().any(has_expired)) {
            search.found.update(|found| found.retain(|found| !has_expired(found)));
        }
    });
    Effect::new(move |previous: Option<()>| {
        search.submitted.track();
        if previous.is_some() {
            finder.ask(None);
        }
    });
    let status = move || match search.status.get() {
        Status::Idle | Status::Pins => td_string!(i18n.get(), search_hint).to_owned(),
        Status::Searching => td_string!(i18n.get(), searching).to_owned(),
        Status::Done => summary(i18n, search.found.with(Vec::len), search.older.get().is_some()),
        Status::Offline => td_string!(i18n.get(), search_offline).to_owned(),
        Status::Refused(refusal) => refusal::explanation(i18n, &refusal),
    };
    view! {
        <p class="hint" role="status">{status}</p>
        <Show when=move || search.status.get() == Status::Pins>
            {move || pins_heading(i18n, search.found.with(Vec::is_empty))}
        </Show>
        <ol class="results" on:click=move |event| finder.clicked(&event)>
            <For
                each=move || search.found.get()
                key=|found| (found.message.room, found.message.seq, found.message.rev(), found.marks.clone()) let:found
            >
                {row(room, &found)}
            </For>
        </ol>
        <Show when=move || search.older.get().is_some()>
            <button type="button" class="older" on:click=move |_| finder.ask(search.older.get_untracked())>
                {t!(i18n, search_older)}
            </button>
        </Show>
    }
    .erase()
}

/// Asks the server, and takes its answers.
#[derive(Clone, Copy)]
struct Finder {
    room: RoomContext,
    search: Search,
    timer: StoredValue<Option<TimeoutHandle>, LocalStorage>,
    /// The answers without a result to this search.
    empty: StoredValue<u32>,
    /// The pinned messages are going to be loaded again.
    is_due: StoredValue<bool>,
}

impl Finder {
    fn has_no_words(self) -> bool {
        self.search.text.with_untracked(|text| text.trim().is_empty())
    }

    fn stop(self) {
        if let Some(timer) = self.timer.try_update_value(Option::take).flatten() {
            timer.clear();
        }
    }

    fn ask_after(self, pause: Duration, before: Option<Place>) {
        self.stop();
        let timer = set_timeout_with_handle(move || self.ask(before), pause).ok();
        self.timer.set_value(timer);
    }

    fn ask(self, before: Option<Place>) {
        self.stop();
        self.is_due.set_value(false);
        let Self { room, search, .. } = self;
        if self.has_no_words() {
            // Pinned messages have no marks. They stay while they are loaded again.
            if search.found.with_untracked(|found| found.iter().any(|found| !found.marks.is_empty())) {
                search.clear();
            }
            return room.client.load_pins(room.state);
        }
        let text = search.text.get_untracked();
        if search.status.get_untracked() != Status::Offline {
            search.status.set(Status::Searching);
        }
        room.client.search(room.state, search.in_all.get_untracked(), text, before);
    }

    fn answered(self, SearchAnswer { search: asked, result }: SearchAnswer) {
        let search = self.search;
        let is_current = asked.as_ref().map_or(self.has_no_words(), |asked| {
            asked.text == search.text.get_untracked() && asked.in_all == search.in_all.get_untracked()
        });
        if !is_current {
            // The user has typed on.
            return;
        }
        let (is_pins, before) = (asked.is_none(), asked.and_then(|asked| asked.before));
        if before.is_some() && before != search.older.get_untracked() {
            // It was asked for twice.
            return;
        }
        match result {
            Ok(SearchAck { mut found, before: older }) => {
                let (id, floor) = (self.room.state.id.get_value(), self.room.state.floor.get_untracked());
                found.retain(|found| found.message.room != id || found.message.seq >= floor);
                let empty = if before.is_none() { 0 } else { self.empty.get_value() } + u32::from(found.is_empty());
                self.empty.set_value(empty);
                search.found.update(|all| {
                    if before.is_none() {
                        all.clear();
                    }
                    all.extend(found);
                });
                search.older.set(older);
                search.status.set(if is_pins { Status::Pins } else { Status::Done });
                // A search examines a limited number of messages.
                if older.is_some() && search.found.with_untracked(Vec::is_empty) && empty < MOST_EMPTY {
                    self.ask(older);
                }
            }
            Err(Some(refusal)) if refusal.code == ErrorCode::TextEmpty => {
                search.clear();
                search.status.set(Status::Done);
            }
            Err(Some(refusal)) => match refusal.retry_after_ms {
                Some(wait_ms) => self.ask_after(Duration::from_millis(wait_ms), before),
                None => search.status.set(Status::Refused(refusal)),
            },
            Err(None) => {
                search.status.set(Status::Offline);
                self.ask_after(RETRY, before);
            }
        }
    }

    /// Opens a result: scrolls to it, or lets the link load the messages around it.
    fn clicked(self, event: &ev::MouseEvent) {
        let has_modifier = event.ctrl_key() || event.meta_key() || event.shift_key();
        let link = event.target().and_then(|target| target.dyn_into::<Element>().ok()?.closest("a").ok()?);
        let Some(link) = link.filter(|_| !has_modifier) else { return };
        // On a narrow screen the panel covers the messages. On others it stays for the next result.
        let is_wide = window().match_media("(width >= 56rem)").ok().flatten().is_some_and(|query| query.matches());
        if !is_wide {
            self.search.is_open.set(false);
        }
        let seq = link.get_attribute("data-seq").and_then(|seq| seq.parse().ok());
        if seq.is_some_and(|seq| show(self.room, seq)) {
            event.prevent_default();
        }
    }
}
