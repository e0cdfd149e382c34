//! The call of a room: first a preview, then the stage. Needs script, because browsers connect directly to each other.

mod context;
mod controls;
mod devices;
mod error_text;
mod icon;
mod keyboard;
mod leaving;
mod playback;
mod preview;
mod spotlight;
mod stage;
mod tile;

use leptos::either::Either;
use leptos::prelude::*;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use leptos_i18n::td_string;

use super::erase::Erase;
use super::lazy_part::lazy_part;
use super::locale::{Language, t};
use super::room_context::RoomContext;
use crate::client::call::meeting::{CallIntent, Meeting};
use crate::client::call::state::Phase;

use context::CallContext;
use playback::Playback;
use preview::Preview;
use stage::Stage;

/// Opens the call. Shows how many users are in it.
#[component]
pub(super) fn CallButton(room: RoomContext, open: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let count = Memo::new(move |_| room.state.call.with(Vec::len));
    view! {
        <Show when=move || !open.get()>
            <button
                type="button" class="call-button needs-script" class:primary=move || count.get() != 0
                on:click=move |_| open.set(true)
            >
                {move || match count.get() {
                    0 => td_string!(i18n.get(), call).to_owned(),
                    1 => td_string!(i18n.get(), call_join_one).to_owned(),
                    count => td_string!(i18n.get(), call_join_many, count),
                }}
            </button>
        </Show>
        <p class="without-script hint">{t!(i18n, call_needs_script)}</p>
    }
}

/// The call, from its preview to its end. Runs in the browser only. Its code is fetched when the first call is opened.
#[component]
pub(super) fn Call(room: RoomContext, open: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let failed = move |attempt: RwSignal<u32>| {
        view! {
            <section class="call">
                <div class="preview" role="alert">
                    <p>{t!(i18n, error_unreachable)}</p>
                    <div class="row actions">
                        <button type="button" class="primary" on:click=move |_| attempt.update(|n| *n += 1)>
                            {t!(i18n, try_again)}
                        </button>
                        <button type="button" on:click=move |_| context::close(open)>{t!(i18n, call_cancel)}</button>
                    </div>
                </div>
            </section>
        }
        .erase()
    };
    let waiting = || view! { <section class="call" aria-busy="true"></section> }.erase();
    lazy_part(move || panel(room, open), waiting, failed)
}

/// The split point of the WASM program. Leptos's `#[lazy]` would end the whole page if its part cannot be fetched.
#[wasm_split(call_panel, wasm_split_path = leptos::wasm_split, fallible)]
fn panel(room: RoomContext, open: RwSignal<bool>) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <CallPanel room open/> }.erase())
}

#[component]
fn CallPanel(room: RoomContext, open: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let meeting = Meeting::open(room.client, room.state, room.me.get_untracked());
    on_cleanup(move || meeting.dispatch(CallIntent::Close));
    let call = CallContext { room, meeting, playback: Playback::new(), open };
    let is_in = Memo::new(move |_| meeting.state.phase.get() == Phase::In);
    view! {
        <section class="call" aria-label=t!(i18n, call) translate="no">
            {move || if is_in.get() { Either::Left(view! { <Stage call/> }) } else { Either::Right(view! { <Preview call/> }) }}
        </section>
    }
}
