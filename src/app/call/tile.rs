//! Somebody in the call: their picture, their sound, their name and how they are.

use std::time::Duration;

use js_sys::{Function, Promise, Reflect};
use leptos::either::Either;
use leptos::ev;
use leptos::html::{self, Audio, Video};
use leptos::prelude::*;
use leptos_i18n::td_string;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{HtmlVideoElement, MediaStream};

use super::InCall;
use super::icon::Icon;
use super::stage::Spot;
use crate::app::locale::{Language, say};
use crate::app::room::face;
use crate::client::call::meeting::Link;
use crate::client::call::quality::Quality;
use crate::client::call::state::Tile;
use crate::protocol::PeerId;

/// An emoji floats this long.
const FLOATS: Duration = Duration::from_secs(3);

/// One tile. `large`: whose tile is; `spot`: what decides it.
#[component]
pub(super) fn TileView(
    call: InCall,
    tile: Tile,
    large: Memo<Option<Option<PeerId>>>,
    spot: RwSignal<Spot>,
) -> impl IntoView {
    let i18n = Language::current();
    let is_own = tile.peer.is_none();
    let user = tile.user.get_value();
    let id = user.id;
    let name = {
        let at_first = user.nickname.clone();
        Memo::new(move |_| {
            let now =
                call.here.room.members.with(|members| {
                    members.iter().find(|member| member.id == id).map(|member| member.nickname.clone())
                });
            now.unwrap_or_else(|| at_first.clone())
        })
    };
    let is_large = Memo::new(move |_| large.get() == Some(tile.peer));
    let enlarge = move |_| spot.set(if is_large.get_untracked() { Spot::Nobody } else { Spot::On(tile.peer) });
    let label = move || {
        if is_large.get() {
            td_string!(i18n.get(), tile_reduce).to_owned()
        } else {
            td_string!(i18n.get(), tile_enlarge, name = name.get())
        }
    };
    let video = NodeRef::<Video>::new();
    let seen = Memo::new(move |_| {
        let media = tile.media.get();
        (media.video || media.screen) && tile.video.with(Option::is_some)
    });
    Effect::new(move |_| {
        if let Some(video) = video.get() {
            video.set_src_object(tile.video.get().as_ref());
        }
    });
    let frame = NodeRef::<html::Li>::new();

    view! {
        <li
            class="tile" node_ref=frame class:speaking=move || tile.speaking.get() class:large=move || is_large.get()
            class:shares=move || tile.media.get().screen
        >
            <button type="button" class="face-of" aria-label=label aria-pressed=move || is_large.get().to_string() on:click=enlarge>
                <video
                    node_ref=video autoplay playsinline prop:muted=true class:hidden=move || !seen.get()
                    class:mirrored=move || is_own && !tile.media.get().screen
                ></video>
                {
                    let user = user.clone();
                    view! { <Show when=move || !seen.get()>{face(&user)}</Show> }
                }
            </button>
            <For each=move || tile.audio.get() key=MediaStream::id let:stream>
                <Sound tile stream/>
            </For>
            <p class="name">
                <Show when=move || !tile.media.get().audio>
                    <span class="muted" role="img" aria-label=say!(i18n, tile_muted)>{Icon::MicrophoneOff.draw()}</span>
                </Show>
                <Show when=move || tile.hand.get()>
                    <span role="img" aria-label=say!(i18n, hand_raised)>"✋"</span>
                </Show>
                <bdi>{move || name.get()}</bdi>
                {is_own.then(|| view! { <span class="you">{say!(i18n, you)}</span> })}
            </p>
            {(!is_own).then(|| view! { <LinkState call tile/> })}
            <Reactions tile/>
            <div class="tools">
                {(!is_own).then(|| view! { <Volume tile name/> })}
                <PictureInPicture video seen/>
                <button
                    type="button" class="control small" aria-label=say!(i18n, full_screen)
                    title=say!(i18n, full_screen) on:click=move |_| toggle_full_screen(frame)
                >
                    {Icon::FullScreen.draw()}
                </button>
            </div>
            {move || tile.quality.get().map(|quality| view! { <Details quality/> })}
        </li>
    }
}

/// A sound that comes in: the picture is played without.
#[component]
fn Sound(tile: Tile, stream: MediaStream) -> impl IntoView {
    let audio = NodeRef::<Audio>::new();
    let stream = StoredValue::new_local(stream);
    Effect::new(move |_| {
        if let Some(audio) = audio.get() {
            stream.with_value(|stream| audio.set_src_object(Some(stream)));
        }
    });
    Effect::new(move |_| {
        let volume = tile.volume.get();
        if let Some(audio) = audio.get() {
            audio.set_volume(volume);
        }
    });
    view! { <audio node_ref=audio autoplay></audio> }
}

/// How the connection stands, while it does not simply work.
#[component]
fn LinkState(call: InCall, tile: Tile) -> impl IntoView {
    let i18n = Language::current();
    let words = move || match tile.link.get() {
        Link::Connected => None,
        Link::Connecting => Some(td_string!(i18n.get(), link_connecting)),
        Link::Interrupted => Some(td_string!(i18n.get(), link_interrupted)),
        Link::Unreachable if call.meeting.state.has_relay.get() => Some(td_string!(i18n.get(), link_unreachable_relay)),
        Link::Unreachable => Some(td_string!(i18n.get(), link_unreachable)),
    };
    view! { <p class="link" role="status">{words}</p> }
}

#[component]
fn Reactions(tile: Tile) -> impl IntoView {
    view! {
        <div class="reactions" aria-live="polite">
            <For each=move || tile.reactions.get() key=|(number, _)| *number let((number, emoji))>
                {
                    set_timeout(move || tile.forget_reaction(number), FLOATS);
                    view! { <span class=format!("reaction at-{}", number % 5)>{emoji}</span> }
                }
            </For>
        </div>
    }
}

#[component]
fn Volume(tile: Tile, name: Memo<String>) -> impl IntoView {
    let i18n = Language::current();
    let change = move |event: ev::Event| {
        if let Ok(percent) = event_target_value(&event).parse::<f64>() {
            tile.set_volume(percent / 100.0);
        }
    };
    view! {
        <input
            type="range" min="0" max="100" step="5" aria-label=move || td_string!(i18n.get(), tile_volume, name = name.get())
            prop:value=move || (tile.volume.get() * 100.0).round().to_string() on:input=change
        />
    }
}

#[component]
fn PictureInPicture(video: NodeRef<Video>, seen: Memo<bool>) -> impl IntoView {
    let i18n = Language::current();
    let possible =
        Reflect::get(&document(), &"pictureInPictureEnabled".into()).is_ok_and(|enabled| enabled.is_truthy());
    let toggle = move |_| {
        let Some(video) = video.get_untracked() else { return };
        let open = Reflect::get(&document(), &"pictureInPictureElement".into()).unwrap_or_default();
        // Whoever closes the small window, or has none, needs no words.
        if &open == <HtmlVideoElement as AsRef<JsValue>>::as_ref(&video) {
            ask(&document(), "exitPictureInPicture");
        } else {
            ask(&video, "requestPictureInPicture");
        }
    };
    view! {
        <Show when=move || possible && seen.get()>
            <button
                type="button" class="control small" aria-label=say!(i18n, picture_in_picture)
                title=say!(i18n, picture_in_picture) on:click=toggle
            >
                {Icon::PictureInPicture.draw()}
            </button>
        </Show>
    }
}

/// How well the connection works.
#[component]
fn Details(quality: Quality) -> impl IntoView {
    let i18n = Language::current();
    let Quality { round_trip_ms, lost_percent, size, frame_rate, relayed } = quality;
    let round_trip = match round_trip_ms {
        Some(ms) => Either::Left(format!("{ms} ms")),
        None => Either::Right(say!(i18n, quality_unknown)),
    };
    let picture = match size.zip(frame_rate) {
        Some(((width, height), rate)) => Either::Left(format!("{width} × {height}, {rate}/s")),
        None => Either::Right(say!(i18n, quality_unknown)),
    };
    let way =
        move || if relayed { td_string!(i18n.get(), quality_relayed) } else { td_string!(i18n.get(), quality_direct) };
    view! {
        <dl class="quality">
            <dt>{say!(i18n, quality_round_trip)}</dt><dd>{round_trip}</dd>
            <dt>{say!(i18n, quality_loss)}</dt><dd>{format!("{lost_percent:.1} %")}</dd>
            <dt>{say!(i18n, quality_picture)}</dt><dd>{picture}</dd>
            <dt>{say!(i18n, quality_way)}</dt><dd>{way}</dd>
        </dl>
    }
}

fn toggle_full_screen(frame: NodeRef<html::Li>) {
    let document = document();
    if document.fullscreen_element().is_some() {
        document.exit_fullscreen();
    } else if let Some(frame) = frame.get_untracked() {
        ask(&frame, "requestFullscreen");
    }
}

/// Calls a method that answers with a promise, whose refusal needs no words.
fn ask(target: &JsValue, method: &str) {
    let Ok(Ok(method)) = Reflect::get(target, &method.into()).map(JsCast::dyn_into::<Function>) else { return };
    if let Ok(Ok(promise)) = method.call0(target).map(JsCast::dyn_into::<Promise>) {
        leptos::task::spawn_local(async move {
            let _ = wasm_bindgen_futures::JsFuture::from(promise).await;
        });
    }
}
