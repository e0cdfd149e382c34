//! A call, beside the talk of its room: first a look at oneself, then everyone. Needs script: the
//! browser itself connects to the others.

mod controls;
mod icon;
mod preview;
mod stage;
mod tile;

use leptos::either::Either;
use leptos::prelude::*;
use leptos::wasm_split::{SplitLoaderError, wasm_split};
use leptos_i18n::td_string;

use super::locale::{Language, say};
use super::room::Here;
use crate::client::call::meeting::{Meeting, Wish};
use crate::client::call::state::{Phase, Trouble};

use preview::Preview;
use stage::Stage;

/// Opens the call, and says whether one is going on.
#[component]
pub(super) fn CallButton(here: Here, open: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let count = Memo::new(move |_| here.room.call.with(Vec::len));
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
        <p class="without-script says">{say!(i18n, call_needs_script)}</p>
    }
}

/// What everything in a call needs.
#[derive(Clone, Copy)]
struct InCall {
    here: Here,
    meeting: Meeting,
    open: RwSignal<bool>,
}

impl InCall {
    fn wish(self, wish: Wish) {
        self.meeting.wish(wish);
    }

    fn close(self) {
        self.open.set(false);
    }
}

/// The call, from its preview to its end. In the browser only, which fetches what a call needs when
/// the first one is opened.
#[component]
pub(super) fn Call(here: Here, open: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let attempt = RwSignal::new(0);
    let panel = move || {
        attempt.track();
        Suspend::new(async move {
            match panel(here, open).await {
                Ok(panel) => Either::Left(panel),
                Err(_) => Either::Right(view! {
                    <section class="call">
                        <div class="preview" role="alert">
                            <p>{say!(i18n, error_unreachable)}</p>
                            <div class="row actions">
                                <button type="button" class="primary" on:click=move |_| attempt.update(|n| *n += 1)>
                                    {say!(i18n, try_again)}
                                </button>
                                <button type="button" on:click=move |_| open.set(false)>{say!(i18n, call_cancel)}</button>
                            </div>
                        </div>
                    </section>
                }),
            }
        })
    };
    view! { <Suspense fallback=move || view! { <section class="call" aria-busy="true"></section> }>{panel}</Suspense> }
}

/// Here the program is split. Not `#[lazy]`, which ends the whole page when its part cannot be fetched.
#[wasm_split(call_panel, wasm_split_path = leptos::wasm_split, fallible)]
fn panel(here: Here, open: RwSignal<bool>) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <CallPanel here open/> }.into_any())
}

#[component]
fn CallPanel(here: Here, open: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let meeting = Meeting::open(here.client, here.room, here.me.get_untracked());
    on_cleanup(move || meeting.wish(Wish::Close));
    let call = InCall { here, meeting, open };
    let is_in = Memo::new(move |_| meeting.state.phase.get() == Phase::In);
    view! {
        <section class="call" aria-label=say!(i18n, call)>
            {move || if is_in.get() { Either::Left(view! { <Stage call/> }) } else { Either::Right(view! { <Preview call/> }) }}
        </section>
    }
}

/// Why one is not in the call, in words.
fn trouble(i18n: Language, trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Moved => td_string!(i18n.get(), call_moved),
        Trouble::Refused(code) => super::text::refusal(i18n, code),
    }
}
