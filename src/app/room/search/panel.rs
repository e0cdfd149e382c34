//! The panel of the search: finds while the user types.

use std::time::Duration;

use leptos::ev;
use leptos::html::{Input, Section};
use leptos::prelude::*;
use leptos_i18n::td_string;
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement};

use super::super::quote::show;
use super::results::{row, summary};
use super::state::{Search, Status};
use crate::app::locale::{Language, t};
use crate::app::refusal;
use crate::app::room_context::RoomContext;
use crate::client::state::SearchAnswer;
use crate::protocol::{ErrorCode, MAX_SEARCH_CHARS, SearchAck};

/// The pause in typing after which the search begins.
const TYPED: Duration = Duration::from_millis(250);
/// The answers without a result after which the search does not go on automatically.
const MOST_EMPTY: u32 = 10;
/// The interval between two attempts without a connection.
const RETRY: Duration = Duration::from_secs(1);

#[component]
pub(super) fn Panel(room: RoomContext, search: Search) -> impl IntoView {
    let i18n = Language::current();
    let (input, section) = (NodeRef::<Input>::new(), NodeRef::<Section>::new());
    let finder = Finder { room, search, timer: StoredValue::new_local(None), empty: StoredValue::new(0) };
    on_cleanup(move || finder.stop());
    // Opened by the user, not built again with the page.
    Effect::new(move |_| {
        search.is_open.track();
        if let Some(field) = input.try_get().flatten().filter(|_| search.takes_focus.get_value()) {
            search.takes_focus.set_value(false);
            // The panel is not in the document yet when its code has just been fetched.
            request_animation_frame(move || {
                let _ = field.focus();
                field.select();
            });
        }
    });
    Effect::new(move |_| {
        room.state.search_answer.track();
        if let Some(answer) = room.state.search_answer.try_update_untracked(Option::take).flatten() {
            finder.answered(answer);
        }
    });
    // The words of the address, or those of the page before, whose answer it did not receive.
    if search.found.with_untracked(Vec::is_empty) {
        finder.ask(None);
    }
    let typed = move || {
        if let Some(field) = input.get_untracked() {
            search.text.set(field.value());
            finder.ask_after(TYPED, None);
        }
    };
    let status = move || match search.status.get() {
        Status::Idle => td_string!(i18n.get(), search_hint).to_owned(),
        Status::Searching => td_string!(i18n.get(), searching).to_owned(),
        Status::Done => summary(i18n, search.found.with(Vec::len), search.older.get().is_some()),
        Status::Offline => td_string!(i18n.get(), search_offline).to_owned(),
        Status::Refused(refusal) => refusal::explanation(i18n, &refusal),
    };
    view! {
        <section
            class="search" aria-label=t!(i18n, search_messages) node_ref=section
            on:keydown=move |event| finder.key(&event, section.get_untracked().map(Into::into))
        >
            <form role="search" on:submit=move |event| { event.prevent_default(); typed(); finder.ask(None); }>
                <input
                    type="search" node_ref=input prop:value=search.text.get_untracked() dir="auto" autocomplete="off"
                    maxlength=MAX_SEARCH_CHARS.to_string() aria-label=t!(i18n, search_messages)
                    // A syllable that is being composed is not what the user looks for.
                    on:input=move |event| if !is_composing(&event) { typed() }
                    on:compositionend=move |_| typed()
                />
                <button type="button" aria-label=t!(i18n, search_close) on:click=move |_| search.close()>"✕"</button>
            </form>
            <p class="hint" role="status">{status}</p>
            <ol class="results" on:click=move |event| finder.clicked(&event)>
                <For each=move || search.found.get() key=|found| (found.message.seq, found.message.rev(), found.marks.clone()) let:found>
                    {row(room, &found)}
                </For>
            </ol>
            <Show when=move || search.older.get().is_some()>
                <button type="button" class="older" on:click=move |_| finder.ask(search.older.get_untracked())>
                    {t!(i18n, search_older)}
                </button>
            </Show>
        </section>
    }
}

fn is_composing(event: &ev::Event) -> bool {
    event.dyn_ref::<web_sys::InputEvent>().is_some_and(web_sys::InputEvent::is_composing)
}

/// Asks the server, and takes its answers.
#[derive(Clone, Copy)]
struct Finder {
    room: RoomContext,
    search: Search,
    timer: StoredValue<Option<TimeoutHandle>, LocalStorage>,
    /// The answers without a result to this search.
    empty: StoredValue<u32>,
}

impl Finder {
    fn stop(self) {
        if let Some(timer) = self.timer.try_update_value(Option::take).flatten() {
            timer.clear();
        }
    }

    fn ask_after(self, pause: Duration, before: Option<u64>) {
        self.stop();
        let timer = set_timeout_with_handle(move || self.ask(before), pause).ok();
        self.timer.set_value(timer);
    }

    fn ask(self, before: Option<u64>) {
        self.stop();
        let Self { room, search, .. } = self;
        let text = search.text.get_untracked();
        if text.trim().is_empty() {
            return search.clear();
        }
        if search.status.get_untracked() != Status::Offline {
            search.status.set(Status::Searching);
        }
        room.client.search(room.state, text, before);
    }

    fn answered(self, SearchAnswer { text, before, result }: SearchAnswer) {
        let search = self.search;
        if text != search.text.get_untracked() {
            // The user has typed on.
            return;
        }
        if before.is_some() && before != search.older.get_untracked() {
            // It was asked for twice.
            return;
        }
        match result {
            Ok(SearchAck { found, before: older }) => {
                let empty = if before.is_none() { 0 } else { self.empty.get_value() } + u32::from(found.is_empty());
                self.empty.set_value(empty);
                search.found.update(|all| {
                    if before.is_none() {
                        all.clear();
                    }
                    all.extend(found);
                });
                search.older.set(older);
                search.status.set(Status::Done);
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
        let seq = link.and_then(|link| link.get_attribute("data-seq")?.parse().ok());
        let Some(seq) = seq.filter(|_| !has_modifier) else { return };
        // On a narrow screen the panel covers the messages. On others it stays for the next result.
        let is_wide = window().match_media("(width >= 56rem)").ok().flatten().is_some_and(|query| query.matches());
        if !is_wide {
            self.search.is_open.set(false);
        }
        if show(self.room, seq) {
            event.prevent_default();
        }
    }

    /// Escape closes the panel, and the arrow keys go through the results.
    fn key(self, event: &ev::KeyboardEvent, section: Option<Element>) {
        if event.is_composing() || event.ctrl_key() || event.alt_key() || event.meta_key() {
            return;
        }
        let step = match event.key().as_str() {
            "Escape" => {
                event.prevent_default();
                return self.search.close();
            }
            "ArrowDown" => 1,
            "ArrowUp" => -1,
            _ => return,
        };
        let Some(stops) = section.and_then(|section| section.query_selector_all("input, .results a, .older").ok())
        else {
            return;
        };
        let active = document().active_element();
        let is_active =
            |index: &i32| active.as_ref().is_some_and(|active| stops.get(*index as u32).as_ref() == Some(active));
        let Some(index) = (0..stops.length() as i32).find(is_active) else { return };
        if let Some(next) = stops.get((index + step) as u32) {
            event.prevent_default();
            let _ = next.unchecked_into::<HtmlElement>().focus();
        }
    }
}
