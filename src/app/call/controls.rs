//! The control bar of a call.

use leptos::html::Div;
use leptos::prelude::*;
use leptos_i18n::td_string;

use super::context::{CallContext, focus, has_focus};
use super::devices::{CameraButton, DevicePickers, MuteButton};
use super::icon::Icon;
use super::keyboard::Shortcuts;
use crate::app::locale::{Language, t};
use crate::client::call::meeting::CallIntent;
use crate::client::call::state::DeviceState;
use crate::protocol::peer::REACTIONS;

#[component]
pub(super) fn Controls(call: CallContext, shortcuts: Shortcuts) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    // Whether the panel with devices and shortcuts is open.
    let help = shortcuts.help;
    let sharing = move || state.screen.get() == DeviceState::On;
    let share_opening = move || state.screen.get() == DeviceState::Opening;
    let hand = state.local.hand;
    let reacting = RwSignal::new(false);
    let bar = NodeRef::<Div>::new();
    // The button that joined the call goes, and with it the focus.
    let takes_focus = has_focus();
    Effect::new(move |_| {
        if let Some(bar) = bar.get().filter(|_| takes_focus) {
            focus(bar.query_selector("button"));
        }
    });

    view! {
        <div class="controls" role="toolbar" node_ref=bar aria-label=t!(i18n, call_controls)>
            <MuteButton call/>
            <CameraButton call/>
            <button
                type="button" class="control" class:active=sharing aria-label=t!(i18n, share_screen)
                title=t!(i18n, share_screen) aria-pressed=move || sharing().to_string()
                aria-disabled=move || share_opening().to_string()
                on:click=move |_| if !untrack(share_opening) {
                    call.dispatch(CallIntent::Share(!untrack(sharing)));
                }
            >
                {Icon::Screen.draw()}
            </button>
            <button
                type="button" class="control" class:active=move || hand.get() aria-label=t!(i18n, raise_hand)
                title=t!(i18n, raise_hand) aria-pressed=move || hand.get().to_string()
                on:click=move |_| call.dispatch(CallIntent::RaiseHand(!hand.get_untracked()))
            >
                {Icon::Hand.draw()}
            </button>
            <button
                type="button" class="control" class:active=move || reacting.get() aria-label=t!(i18n, react)
                title=t!(i18n, react) aria-expanded=move || reacting.get().to_string()
                on:click=move |_| reacting.update(|open| *open = !*open)
            >
                {Icon::Smile.draw()}
            </button>
            <button
                type="button" class="control" class:active=move || help.get() aria-label=t!(i18n, more)
                title=t!(i18n, more) aria-expanded=move || help.get().to_string()
                on:click=move |_| help.update(|open| *open = !*open)
            >
                {Icon::More.draw()}
            </button>
            <button
                type="button" class="control leave" aria-label=t!(i18n, call_leave)
                title=t!(i18n, call_leave) on:click=move |_| call.close()
            >
                {Icon::Leave.draw()}
            </button>
            <Show when=move || reacting.get()>
                <div class="panel reactions-panel">
                    {REACTIONS.map(|emoji| view! {
                        <button type="button" class="control" on:click=move |_| call.dispatch(CallIntent::React(emoji))>{emoji}</button>
                    })}
                </div>
            </Show>
            <Show when=move || help.get()>
                <div class="panel more-panel">
                    <DevicePickers call/>
                    <button type="button" on:click=move |_| call.dispatch(CallIntent::Details(!state.details.get_untracked()))>
                        {move || if state.details.get() { td_string!(i18n.get(), hide_details) } else { td_string!(i18n.get(), show_details) }}
                    </button>
                    <h3>{t!(i18n, keyboard_shortcuts)}</h3>
                    <label class="choice">
                        <input
                            type="checkbox" prop:checked=move || shortcuts.are_on()
                            on:change=move |event| shortcuts.turn(event_target_checked(&event))
                        />
                        {t!(i18n, use_shortcuts)}
                    </label>
                    <dl class="keys">
                        <dt><kbd>"M"</kbd></dt><dd>{t!(i18n, key_mute)}</dd>
                        <dt><kbd>"V"</kbd></dt><dd>{t!(i18n, key_camera)}</dd>
                        <dt><kbd>"S"</kbd></dt><dd>{t!(i18n, key_screen)}</dd>
                        <dt><kbd>{t!(i18n, key_space_name)}</kbd></dt><dd>{t!(i18n, key_space)}</dd>
                        <dt><kbd>"?"</kbd></dt><dd>{t!(i18n, key_help)}</dd>
                    </dl>
                </div>
            </Show>
        </div>
    }
}
