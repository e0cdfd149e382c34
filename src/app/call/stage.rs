//! Everyone in the call: their tiles, one of them large if one likes, and what one can do.

use std::collections::BTreeMap;

use leptos::ev;
use leptos::prelude::*;
use leptos_i18n::td_string;
use wasm_bindgen::JsCast;
use web_sys::Element;

use super::InCall;
use super::controls::Controls;
use super::preview::problem_in_call;
use super::tile::TileView;
use crate::app::locale::{Language, say};
use crate::client::call::meeting::Wish;
use crate::client::call::state::{Tile, Usage};
use crate::protocol::PeerId;

/// Which tile is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// A shared screen, when there is one.
    Screen,
    /// None.
    Nobody,
    /// This one; `None` is oneself.
    On(Option<PeerId>),
}

/// The tiles and the controls.
#[component]
pub(super) fn Stage(call: InCall) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    let spot = RwSignal::new(Spot::Screen);
    let large = Memo::new(move |_| {
        let others = state.others.get();
        match spot.get() {
            Spot::Nobody => None,
            Spot::On(None) => Some(None),
            // Whoever was large may have left.
            Spot::On(Some(peer)) if others.iter().any(|tile| tile.peer == Some(peer)) => Some(Some(peer)),
            Spot::On(_) | Spot::Screen => others.iter().find(|tile| tile.media.get().screen).map(|tile| tile.peer),
        }
    });
    let tiles = move || std::iter::once(state.own).chain(state.others.get()).collect::<Vec<_>>();
    let class = move || format!("tiles n-{}", state.others.with(Vec::len) + 1);
    let help = RwSignal::new(false);
    listen_to_keys(call, help);

    view! {
        <div class="stage">
            <ul class=class class:spotlit=move || large.get().is_some() aria-label=say!(i18n, call_people)>
                <For each=tiles key=|tile| tile.number let:tile>
                    <TileView call tile large spot/>
                </For>
            </ul>
            <Show when=move || state.others.with(Vec::is_empty)>
                <p class="alone">{say!(i18n, call_alone)}</p>
            </Show>
            <p class="says error" role="status">{move || problem_in_call(i18n, call)}</p>
            <Announcements call/>
            <Controls call help/>
        </div>
    }
}

/// Says who came and who went, to those who hear the page.
#[component]
fn Announcements(call: InCall) -> impl IntoView {
    let i18n = Language::current();
    let said = RwSignal::new(String::new());
    Effect::new(move |before: Option<BTreeMap<Option<PeerId>, String>>| {
        let named = |tile: &Tile| (tile.peer, tile.user.with_value(|user| user.nickname.clone()));
        let now: BTreeMap<_, _> = call.meeting.state.others.with(|tiles| tiles.iter().map(named).collect());
        if let Some(before) = before {
            let came = now.iter().find(|(peer, _)| !before.contains_key(peer));
            let went = before.iter().find(|(peer, _)| !now.contains_key(peer));
            if let Some((_, name)) = came {
                said.set(td_string!(i18n.get(), call_came, name = name.clone()));
            } else if let Some((_, name)) = went {
                said.set(td_string!(i18n.get(), call_went, name = name.clone()));
            }
        }
        now
    });
    view! { <p class="unseen-text" role="status">{move || said.get()}</p> }
}

/// Keys for what is done often. By their place on the keyboard, so they work in every layout and while
/// an input method is on.
fn listen_to_keys(call: InCall, help: RwSignal<bool>) {
    let state = call.meeting.state;
    let talking = StoredValue::new(false);
    let down = window_event_listener(ev::keydown, move |event| {
        if event.ctrl_key() || event.alt_key() || event.meta_key() || event.repeat() || is_writing(&event) {
            return;
        }
        match event.code().as_str() {
            "KeyM" => call.wish(Wish::Mute(!state.muted.get_untracked())),
            "KeyV" => call.wish(Wish::Camera(state.camera.get_untracked() != Usage::On)),
            "KeyS" => call.wish(Wish::Share(state.screen.get_untracked() != Usage::On)),
            // On a button, Space presses it.
            "Space" if state.muted.get_untracked() && !is_on(&event, "button, summary, a, [role=slider]") => {
                event.prevent_default();
                talking.set_value(true);
                call.wish(Wish::Mute(false));
            }
            _ if event.key() == "?" => help.update(|help| *help = !*help),
            _ => {}
        }
    });
    let stop = move || {
        if talking.try_get_value() == Some(true) {
            talking.set_value(false);
            call.wish(Wish::Mute(true));
        }
    };
    let up = window_event_listener(ev::keyup, move |event| {
        if event.code() == "Space" {
            stop();
        }
    });
    // A key that is let go elsewhere is not heard here.
    let blur = window_event_listener(ev::blur, move |_| stop());
    on_cleanup(move || {
        stop();
        down.remove();
        up.remove();
        blur.remove();
    });
}

fn is_writing(event: &ev::KeyboardEvent) -> bool {
    event.is_composing() || is_on(event, "input, textarea, select, [contenteditable]")
}

fn is_on(event: &ev::KeyboardEvent, selector: &str) -> bool {
    let element = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    element.and_then(|element| element.closest(selector).ok().flatten()).is_some()
}
