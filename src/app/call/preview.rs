//! The preview of the user's own camera and microphone before joining.

use leptos::either::Either;
use leptos::html::{H2, Video};
use leptos::prelude::*;
use leptos_i18n::td_string;

use super::context::CallContext;
use super::devices::{CameraButton, DevicePickers, MuteButton};
use super::error_text::{call_error, camera_error, microphone_error};
use crate::app::locale::{Language, t};
use crate::client::call::meeting::CallIntent;
use crate::client::call::state::{DeviceState, Phase};

/// The preview, with a button to join.
#[component]
pub(super) fn Preview(call: CallContext) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    let joining = move || state.phase.get() == Phase::Joining;
    let join = move |_| {
        if !untrack(joining) {
            call.dispatch(CallIntent::Join);
        }
    };
    let heading = NodeRef::<H2>::new();
    Effect::new(move |_| {
        // Takes users of a screen reader to the panel that just opened.
        if let Some(heading) = heading.get() {
            let _ = heading.focus();
        }
    });

    view! {
        <div class="preview">
            <h2 tabindex="-1" node_ref=heading>{t!(i18n, call_preview)}</h2>
            <SelfView call/>
            <meter
                min="0" max="1" aria-label=t!(i18n, microphone_level)
                prop:value=move || if state.muted.get() { 0.0 } else { state.level.get() }
            ></meter>
            {move || match state.microphone.get() {
                DeviceState::Failed(error) => Either::Left(view! {
                    <p class="hint error" role="status">{microphone_error(i18n, error)}</p>
                }),
                DeviceState::Opening => Either::Right(Some(view! { <p class="hint">{t!(i18n, waiting_for_permission)}</p> })),
                DeviceState::Off | DeviceState::On => Either::Right(None),
            }}
            <DevicePickers call/>
            {move || state.error.get().map(|error| view! { <p class="hint error" role="alert">{call_error(i18n, error)}</p> })}
            <div class="row actions">
                <button type="button" class="primary" aria-disabled=move || joining().to_string() on:click=join>
                    {move || if joining() { td_string!(i18n.get(), call_joining) } else { td_string!(i18n.get(), call_join) }}
                </button>
                <button type="button" on:click=move |_| call.close()>{t!(i18n, call_cancel)}</button>
            </div>
            <p class="hint">{t!(i18n, call_preview_hint)}</p>
        </div>
    }
}

/// The user's own picture, mirrored, or the reason why there is none.
#[component]
fn SelfView(call: CallContext) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    let video = NodeRef::<Video>::new();
    Effect::new(move |_| {
        if let Some(video) = video.get() {
            video.set_src_object(state.local.video.get().as_ref());
        }
    });
    let camera_on = move || state.camera.get() == DeviceState::On;
    view! {
        <div class="self-view">
            <video node_ref=video class="mirrored" class:hidden=move || !camera_on() autoplay playsinline prop:muted=true></video>
            <Show when=move || !camera_on()>
                <p>{move || match state.camera.get() {
                    DeviceState::Opening => td_string!(i18n.get(), waiting_for_permission),
                    DeviceState::Failed(error) => camera_error(i18n, error),
                    DeviceState::Off | DeviceState::On => td_string!(i18n.get(), camera_is_off),
                }}</p>
            </Show>
            <div class="row">
                <MuteButton call/>
                <CameraButton call/>
            </div>
        </div>
    }
}
