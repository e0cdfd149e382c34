//! Controls for microphone and camera, in the preview and in the call.

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::context::CallContext;
use super::icon::Icon;
use crate::app::locale::{Language, t};
use crate::client::call::devices::{Device, DeviceKind};
use crate::client::call::meeting::CallIntent;
use crate::client::call::state::DeviceState;

/// Mutes and unmutes the microphone.
#[component]
pub(super) fn MuteButton(call: CallContext) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    // Without a microphone the button shows "muted"; pressing it tries to open the microphone again.
    let silent =
        move || state.muted.get() || matches!(state.microphone.get(), DeviceState::Off | DeviceState::Failed(_));
    let label = move || if silent() { td_string!(i18n.get(), unmute) } else { td_string!(i18n.get(), mute) };
    view! {
        <button
            type="button" class="control" class:off=silent aria-label=label title=label
            aria-disabled=move || is_opening(state.microphone).to_string()
            on:click=move |_| if !untrack(|| is_opening(state.microphone)) {
                call.dispatch(CallIntent::Mute(!untrack(silent)));
            }
        >
            {move || if silent() { Icon::MicrophoneOff.draw() } else { Icon::Microphone.draw() }}
        </button>
    }
}

/// Returns whether the device is being opened. A button that is only marked as disabled keeps the keyboard focus.
fn is_opening(device: RwSignal<DeviceState>) -> bool {
    device.get() == DeviceState::Opening
}

/// Turns the camera on and off.
#[component]
pub(super) fn CameraButton(call: CallContext) -> impl IntoView {
    let i18n = Language::current();
    let camera = call.meeting.state.camera;
    let off = move || camera.get() != DeviceState::On;
    let label = move || if off() { td_string!(i18n.get(), camera_on) } else { td_string!(i18n.get(), camera_off) };
    view! {
        <button
            type="button" class="control" class:off=off aria-label=label title=label
            aria-disabled=move || is_opening(camera).to_string()
            on:click=move |_| if !untrack(|| is_opening(camera)) {
                call.dispatch(CallIntent::Camera(untrack(off)));
            }
        >
            {move || if off() { Icon::CameraOff.draw() } else { Icon::Camera.draw() }}
        </button>
    }
}

/// The choice of microphone and camera.
#[component]
pub(super) fn DevicePickers(call: CallContext) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    view! {
        <DevicePicker call kind=DeviceKind::Microphone chosen=state.microphone_id label=Signal::derive(t!(i18n, microphone))/>
        <DevicePicker call kind=DeviceKind::Camera chosen=state.camera_id label=Signal::derive(t!(i18n, camera))/>
    }
}

#[component]
fn DevicePicker(
    call: CallContext,
    kind: DeviceKind,
    chosen: RwSignal<Option<String>>,
    label: Signal<&'static str>,
) -> impl IntoView {
    let devices = Memo::new(move |_| {
        call.meeting
            .state
            .devices
            .with(|all| all.iter().filter(|device| device.kind == kind).cloned().collect::<Vec<_>>())
    });
    let field = match kind {
        DeviceKind::Microphone => "choose-microphone",
        DeviceKind::Camera => "choose-camera",
    };
    let choose = move |event: leptos::ev::Event| call.dispatch(CallIntent::Use(kind, event_target_value(&event)));
    view! {
        <Show when=move || devices.with(|devices| !devices.is_empty())>
            <div class="picker">
                <label for=field>{move || label.get()}</label>
                <select id=field on:change=choose prop:value=move || chosen.get().unwrap_or_default()>
                    <For each=move || devices.get() key=|device| device.clone() let:device>
                        {option(device, chosen, label)}
                    </For>
                </select>
            </div>
        </Show>
    }
}

fn option(device: Device, chosen: RwSignal<Option<String>>, kind: Signal<&'static str>) -> impl IntoView {
    let Device { id, label, .. } = device;
    let is_chosen = {
        let id = id.clone();
        move || chosen.with(|chosen| chosen.as_ref() == Some(&id))
    };
    let name = move || if label.is_empty() { kind.get().to_owned() } else { label.clone() };
    view! { <option value=id prop:selected=is_chosen>{name}</option> }
}
