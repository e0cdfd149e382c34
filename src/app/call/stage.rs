//! The call itself: a tile for each participant, and the controls.

use std::collections::BTreeMap;

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::context::CallContext;
use super::controls::Controls;
use super::error_text::device_error;
use super::keyboard::Shortcuts;
use super::leaving::LeaveGuard;
use super::playback::RefusedPlayback;
use super::spotlight::Spotlight;
use super::tile::TileView;
use crate::app::locale::{Language, t};
use crate::client::call::state::Tile;
use crate::protocol::PeerId;

#[component]
pub(super) fn Stage(call: CallContext) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    let spotlight = Spotlight::new(state.remotes);
    let tiles = move || std::iter::once(state.local).chain(state.remotes.get()).collect::<Vec<_>>();
    let class = move || format!("tiles n-{}", state.remotes.with(Vec::len) + 1);
    let shortcuts = Shortcuts::handle(call);

    view! {
        <div class="stage">
            <ul class=class class:has-spotlight=move || spotlight.is_on() aria-label=t!(i18n, call_people)>
                <For each=tiles key=|tile| tile.number let:tile>
                    <TileView call tile spotlight/>
                </For>
            </ul>
            <Show when=move || state.remotes.with(Vec::is_empty)>
                <p class="alone">{t!(i18n, call_alone)}</p>
            </Show>
            <div class="notices">
                <p class="hint error" role="status">{move || device_error(i18n, call)}</p>
                <RefusedPlayback playback=call.playback/>
            </div>
            <Announcements call/>
            <Controls call shortcuts/>
            <LeaveGuard call/>
        </div>
    }
}

/// Announces participants who join and leave, for screen readers.
#[component]
fn Announcements(call: CallContext) -> impl IntoView {
    let i18n = Language::current();
    let announcement = RwSignal::new(String::new());
    Effect::new(move |before: Option<BTreeMap<Option<PeerId>, String>>| {
        let named = |tile: &Tile| (tile.peer, tile.user.with_value(|user| user.nickname.clone()));
        let now: BTreeMap<_, _> = call.meeting.state.remotes.with(|tiles| tiles.iter().map(named).collect());
        if let Some(before) = before {
            let joined = now.iter().find(|(peer, _)| !before.contains_key(peer));
            let left = before.iter().find(|(peer, _)| !now.contains_key(peer));
            if let Some((_, name)) = joined {
                announcement.set(td_string!(i18n.get(), call_joined, name = name.clone()));
            } else if let Some((_, name)) = left {
                announcement.set(td_string!(i18n.get(), call_left, name = name.clone()));
            }
        }
        now
    });
    view! { <p class="visually-hidden" role="status">{move || announcement.get()}</p> }
}
