//! A look at oneself before the others do: picture, sound, and which devices.

use leptos::either::Either;
use leptos::html::Video;
use leptos::prelude::*;
use leptos_i18n::td_string;

use super::icon::Icon;
use super::{InCall, trouble};
use crate::app::locale::{Language, say};
use crate::client::call::devices::{Device, Kind, Problem};
use crate::client::call::meeting::Wish;
use crate::client::call::state::{Phase, Usage};

/// The look, with a button to join.
#[component]
pub(super) fn Preview(call: InCall) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    let video = NodeRef::<Video>::new();
    Effect::new(move |_| {
        if let Some(video) = video.get() {
            video.set_src_object(state.own.video.get().as_ref());
        }
    });
    let camera_on = move || state.camera.get() == Usage::On;
    let joining = move || state.phase.get() == Phase::Joining;
    let heading = NodeRef::<leptos::html::H2>::new();
    Effect::new(move |_| {
        // Whoever cannot see that a panel opened is taken to it.
        if let Some(heading) = heading.get() {
            let _ = heading.focus();
        }
    });

    view! {
        <div class="preview">
            <h2 tabindex="-1" node_ref=heading>{say!(i18n, call_preview)}</h2>
            <div class="look">
                <video node_ref=video class="mirrored" class:hidden=move || !camera_on() autoplay playsinline prop:muted=true></video>
                <Show when=move || !camera_on()>
                    <p>{move || match state.camera.get() {
                        Usage::Opening => td_string!(i18n.get(), opening_device),
                        Usage::Failed(problem) => camera_problem(i18n, problem),
                        Usage::Off | Usage::On => td_string!(i18n.get(), camera_is_off),
                    }}</p>
                </Show>
                <div class="row">
                    <MuteButton call/>
                    <CameraButton call/>
                </div>
            </div>
            <meter
                min="0" max="1" aria-label=say!(i18n, level)
                prop:value=move || if state.muted.get() { 0.0 } else { state.level.get() }
            ></meter>
            {move || match state.microphone.get() {
                Usage::Failed(problem) => Either::Left(view! {
                    <p class="says error" role="status">{microphone_problem(i18n, problem)}</p>
                }),
                Usage::Opening => Either::Right(Some(view! { <p class="says">{say!(i18n, opening_device)}</p> })),
                Usage::Off | Usage::On => Either::Right(None),
            }}
            <DevicePickers call/>
            {move || state.trouble.get().map(|why| view! { <p class="says error" role="alert">{trouble(i18n, why)}</p> })}
            <div class="row actions">
                <button type="button" class="primary" disabled=joining on:click=move |_| call.wish(Wish::Join)>
                    {move || if joining() { td_string!(i18n.get(), call_joining) } else { td_string!(i18n.get(), call_join) }}
                </button>
                <button type="button" on:click=move |_| call.close()>{say!(i18n, call_cancel)}</button>
            </div>
            <p class="says">{say!(i18n, call_preview_hint)}</p>
        </div>
    }
}

/// Mutes, and unmutes.
#[component]
pub(super) fn MuteButton(call: InCall) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    // Without a microphone one is as good as muted; pressing tries to open it again.
    let silent = move || state.muted.get() || matches!(state.microphone.get(), Usage::Off | Usage::Failed(_));
    let label = move || if silent() { td_string!(i18n.get(), unmute) } else { td_string!(i18n.get(), mute) };
    view! {
        <button
            type="button" class="control" class:off=silent aria-label=label title=label
            disabled=move || state.microphone.get() == Usage::Opening
            on:click=move |_| call.wish(Wish::Mute(!untrack(silent)))
        >
            {move || if silent() { Icon::MicrophoneOff.draw() } else { Icon::Microphone.draw() }}
        </button>
    }
}

/// Turns the camera on and off.
#[component]
pub(super) fn CameraButton(call: InCall) -> impl IntoView {
    let i18n = Language::current();
    let camera = call.meeting.state.camera;
    let off = move || camera.get() != Usage::On;
    let label = move || if off() { td_string!(i18n.get(), camera_on) } else { td_string!(i18n.get(), camera_off) };
    view! {
        <button
            type="button" class="control" class:off=off aria-label=label title=label
            disabled=move || camera.get() == Usage::Opening
            on:click=move |_| call.wish(Wish::Camera(untrack(off)))
        >
            {move || if off() { Icon::CameraOff.draw() } else { Icon::Camera.draw() }}
        </button>
    }
}

/// Which microphone and which camera.
#[component]
pub(super) fn DevicePickers(call: InCall) -> impl IntoView {
    let i18n = Language::current();
    let state = call.meeting.state;
    view! {
        <DevicePicker call kind=Kind::Microphone chosen=state.microphone_id label=Signal::derive(say!(i18n, microphone))/>
        <DevicePicker call kind=Kind::Camera chosen=state.camera_id label=Signal::derive(say!(i18n, camera))/>
    }
}

#[component]
fn DevicePicker(
    call: InCall,
    kind: Kind,
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
        Kind::Microphone => "choose-microphone",
        Kind::Camera => "choose-camera",
    };
    let choose = move |event: leptos::ev::Event| call.wish(Wish::Use(kind, event_target_value(&event)));
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

fn microphone_problem(i18n: Language, problem: Problem) -> &'static str {
    match problem {
        Problem::Insecure => td_string!(i18n.get(), devices_insecure),
        Problem::Denied => td_string!(i18n.get(), microphone_denied),
        Problem::Missing => td_string!(i18n.get(), microphone_missing),
        Problem::Busy => td_string!(i18n.get(), microphone_busy),
        Problem::Failed => td_string!(i18n.get(), microphone_failed),
    }
}

fn camera_problem(i18n: Language, problem: Problem) -> &'static str {
    match problem {
        Problem::Insecure => td_string!(i18n.get(), devices_insecure),
        Problem::Denied => td_string!(i18n.get(), camera_denied),
        Problem::Missing => td_string!(i18n.get(), camera_missing),
        Problem::Busy => td_string!(i18n.get(), camera_busy),
        Problem::Failed => td_string!(i18n.get(), camera_failed),
    }
}

/// Why a device that one uses in the call cannot be used, if so.
pub(super) fn problem_in_call(i18n: Language, call: InCall) -> Option<&'static str> {
    let state = call.meeting.state;
    match (state.microphone.get(), state.camera.get(), state.screen.get()) {
        (_, _, Usage::Failed(Problem::Missing)) => Some(td_string!(i18n.get(), screen_missing)),
        (_, _, Usage::Failed(_)) => Some(td_string!(i18n.get(), screen_failed)),
        (Usage::Failed(problem), ..) => Some(microphone_problem(i18n, problem)),
        (_, Usage::Failed(problem), _) => Some(camera_problem(i18n, problem)),
        _ => None,
    }
}
