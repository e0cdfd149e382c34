//! What one can do in a call.

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::InCall;
use super::icon::Icon;
use super::preview::{CameraButton, DevicePickers, MuteButton};
use crate::app::locale::{Language, say};
use crate::client::call::meeting::Wish;
use crate::client::call::state::Usage;
use crate::protocol::call::REACTIONS;

/// The row of buttons. `help`: whether what is behind the last of them is shown.
#[component]
pub(super) fn Controls(call: InCall, help: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    let sharing = move || state.screen.get() == Usage::On;
    let share_label =
        move || if sharing() { td_string!(i18n.get(), stop_sharing) } else { td_string!(i18n.get(), share_screen) };
    let hand = state.own.hand;
    let hand_label =
        move || if hand.get() { td_string!(i18n.get(), lower_hand) } else { td_string!(i18n.get(), raise_hand) };
    let reacting = RwSignal::new(false);

    view! {
        <div class="controls" role="toolbar" aria-label=say!(i18n, call_controls)>
            <MuteButton call/>
            <CameraButton call/>
            <button
                type="button" class="control" class:active=sharing aria-label=share_label title=share_label
                disabled=move || state.screen.get() == Usage::Opening
                on:click=move |_| call.wish(Wish::Share(!untrack(sharing)))
            >
                {Icon::Screen.draw()}
            </button>
            <button
                type="button" class="control" class:active=move || hand.get() aria-label=hand_label title=hand_label
                on:click=move |_| call.wish(Wish::Hand(!hand.get_untracked()))
            >
                {Icon::Hand.draw()}
            </button>
            <button
                type="button" class="control" class:active=move || reacting.get() aria-label=say!(i18n, react)
                title=say!(i18n, react) aria-expanded=move || reacting.get().to_string()
                on:click=move |_| reacting.update(|open| *open = !*open)
            >
                {Icon::Smile.draw()}
            </button>
            <button
                type="button" class="control" class:active=move || help.get() aria-label=say!(i18n, more)
                title=say!(i18n, more) aria-expanded=move || help.get().to_string()
                on:click=move |_| help.update(|open| *open = !*open)
            >
                {Icon::More.draw()}
            </button>
            <button
                type="button" class="control leave" aria-label=say!(i18n, call_leave)
                title=say!(i18n, call_leave) on:click=move |_| call.close()
            >
                {Icon::Leave.draw()}
            </button>
            <Show when=move || reacting.get()>
                <div class="panel reactions-panel">
                    {REACTIONS.map(|emoji| view! {
                        <button type="button" class="control" on:click=move |_| call.wish(Wish::React(emoji))>{emoji}</button>
                    })}
                </div>
            </Show>
            <Show when=move || help.get()>
                <div class="panel more-panel">
                    <DevicePickers call/>
                    <button type="button" on:click=move |_| call.wish(Wish::Details(!state.details.get_untracked()))>
                        {move || if state.details.get() { td_string!(i18n.get(), hide_details) } else { td_string!(i18n.get(), show_details) }}
                    </button>
                    <h3>{say!(i18n, shortcuts)}</h3>
                    <dl class="keys">
                        <dt><kbd>"M"</kbd></dt><dd>{say!(i18n, key_mute)}</dd>
                        <dt><kbd>"V"</kbd></dt><dd>{say!(i18n, key_camera)}</dd>
                        <dt><kbd>"S"</kbd></dt><dd>{say!(i18n, key_screen)}</dd>
                        <dt><kbd>{say!(i18n, key_space_name)}</kbd></dt><dd>{say!(i18n, key_space)}</dd>
                        <dt><kbd>"?"</kbd></dt><dd>{say!(i18n, key_help)}</dd>
                    </dl>
                </div>
            </Show>
        </div>
    }
}
