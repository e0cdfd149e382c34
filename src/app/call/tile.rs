//! The tile of a participant: picture, sound, name and state.

mod tools;

use std::time::Duration;

use leptos::either::Either;
use leptos::html::{Audio, Li, Video};
use leptos::prelude::*;
use leptos_i18n::td_string;
use web_sys::MediaStream;

use super::context::CallContext;
use super::icon::Icon;
use super::spotlight::{Spotlight, TileOwner};
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::app::user::avatar;
use crate::client::call::peer::PeerState;
use crate::client::call::quality::Quality;
use crate::client::call::state::Tile;
use crate::protocol::User;

use tools::Tools;

/// Time for which a reaction floats over the tile, as in `call-stage.css`.
const REACTION_SHOWN: Duration = Duration::from_secs(3);

#[component]
pub(super) fn TileView(call: CallContext, tile: Tile, spotlight: Spotlight) -> impl IntoView {
    let is_own = tile.peer.is_none();
    let owner = TileOwner::of(&tile);
    let is_large = Memo::new(move |_| spotlight.is_on_tile_of(owner));
    let name = current_name(call.room, tile.user.get_value());
    let video = NodeRef::<Video>::new();
    let has_picture = Memo::new(move |_| {
        let media = tile.media.get();
        (media.video || media.screen) && tile.video.with(Option::is_some)
    });
    let frame = NodeRef::<Li>::new();

    view! {
        <li
            class="tile" node_ref=frame class:speaking=move || tile.speaking.get() class:large=move || is_large.get()
            class:shares=move || tile.media.get().screen
        >
            <Picture call tile name video has_picture is_large on_press=move || spotlight.toggle(owner)/>
            <For each=move || tile.audio.get() key=MediaStream::id let:stream>
                <Sound call tile stream/>
            </For>
            <NameLine tile name/>
            {(!is_own).then(|| view! { <PeerStatus call tile/> })}
            <Reactions tile/>
            <Tools tile name video has_picture frame/>
            {move || tile.quality.get().map(|quality| view! { <QualityDetails quality/> })}
        </li>
    }
}

/// The user's nickname in the room, or the last known one after they left the room.
fn current_name(room: RoomContext, user: User) -> Memo<String> {
    let User { id, nickname } = user;
    Memo::new(move |_| {
        let current = room
            .state
            .members
            .with(|members| members.iter().find(|member| member.id == id).map(|member| member.nickname.clone()));
        current.unwrap_or_else(|| nickname.clone())
    })
}

/// The video, or the avatar while there is none. A button that moves the tile into the spotlight.
#[component]
fn Picture(
    call: CallContext,
    tile: Tile,
    name: Memo<String>,
    video: NodeRef<Video>,
    has_picture: Memo<bool>,
    is_large: Memo<bool>,
    on_press: impl Fn() + Send + 'static,
) -> impl IntoView {
    let i18n = Language::current();
    let is_own = tile.peer.is_none();
    let label = move || {
        if is_large.get() {
            td_string!(i18n.get(), tile_reduce).to_owned()
        } else {
            td_string!(i18n.get(), tile_enlarge, name = name.get())
        }
    };
    Effect::new(move |_| {
        if let Some(video) = video.get() {
            let stream = tile.video.get();
            video.set_src_object(stream.as_ref());
            if stream.is_some() {
                call.playback.play(&video);
            }
        }
    });
    view! {
        <button
            type="button" class="picture" aria-label=label aria-pressed=move || is_large.get().to_string()
            on:click=move |_| on_press()
        >
            <video
                node_ref=video autoplay playsinline prop:muted=true class:hidden=move || !has_picture.get()
                class:mirrored=move || is_own && !tile.media.get().screen
            ></video>
            <Show when=move || !has_picture.get()>{tile.user.with_value(avatar)}</Show>
        </button>
    }
}

/// The name, with signs for a muted microphone and a raised hand.
#[component]
fn NameLine(tile: Tile, name: Memo<String>) -> impl IntoView {
    let i18n = Language::current();
    let is_own = tile.peer.is_none();
    view! {
        <p class="name">
            <Show when=move || !tile.media.get().audio>
                <span class="muted" role="img" aria-label=t!(i18n, tile_muted)>{Icon::MicrophoneOff.draw()}</span>
            </Show>
            <Show when=move || tile.hand.get()>
                <span role="img" aria-label=t!(i18n, hand_raised)>"✋"</span>
            </Show>
            <bdi>{move || name.get()}</bdi>
            {is_own.then(|| view! { <span class="you">{t!(i18n, you)}</span> })}
        </p>
    }
}

/// Plays a received sound. The video element is muted, so each audio stream has an element of its own.
#[component]
fn Sound(call: CallContext, tile: Tile, stream: MediaStream) -> impl IntoView {
    let audio = NodeRef::<Audio>::new();
    let stream = StoredValue::new_local(stream);
    Effect::new(move |_| {
        if let Some(audio) = audio.get() {
            if audio.src_object().is_none() {
                stream.with_value(|stream| audio.set_src_object(Some(stream)));
            }
            call.playback.play(&audio);
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

/// The state of the peer connection; empty while it is connected.
#[component]
fn PeerStatus(call: CallContext, tile: Tile) -> impl IntoView {
    let i18n = Language::current();
    let text = move || match tile.connection.get() {
        PeerState::Connected => None,
        PeerState::Connecting => Some(td_string!(i18n.get(), peer_connecting)),
        PeerState::Interrupted => Some(td_string!(i18n.get(), peer_interrupted)),
        PeerState::Unreachable if call.meeting.state.has_relay.get() => {
            Some(td_string!(i18n.get(), peer_unreachable_relay))
        }
        PeerState::Unreachable => Some(td_string!(i18n.get(), peer_unreachable)),
    };
    view! { <p class="peer-state" role="status">{text}</p> }
}

#[component]
fn Reactions(tile: Tile) -> impl IntoView {
    view! {
        <div class="reactions" aria-live="polite">
            <For each=move || tile.reactions.get() key=|(number, _)| *number let((number, emoji))>
                {
                    set_timeout(move || tile.remove_reaction(number), REACTION_SHOWN);
                    view! { <span class=format!("reaction at-{}", number % 5)>{emoji}</span> }
                }
            </For>
        </div>
    }
}

/// The quality of the peer connection, in numbers.
#[component]
fn QualityDetails(quality: Quality) -> impl IntoView {
    let i18n = Language::current();
    let Quality { round_trip_ms, lost_percent, size, frame_rate, relayed } = quality;
    let round_trip = match round_trip_ms {
        Some(ms) => Either::Left(format!("{ms} ms")),
        None => Either::Right(t!(i18n, quality_unknown)),
    };
    let video = match size.zip(frame_rate) {
        Some(((width, height), rate)) => Either::Left(format!("{width} × {height}, {rate}/s")),
        None => Either::Right(t!(i18n, quality_unknown)),
    };
    let route =
        move || if relayed { td_string!(i18n.get(), quality_relayed) } else { td_string!(i18n.get(), quality_direct) };
    view! {
        <dl class="quality">
            <dt>{t!(i18n, quality_round_trip)}</dt><dd>{round_trip}</dd>
            <dt>{t!(i18n, quality_loss)}</dt><dd>{format!("{lost_percent:.1} %")}</dd>
            <dt>{t!(i18n, quality_video)}</dt><dd>{video}</dd>
            <dt>{t!(i18n, quality_route)}</dt><dd>{route}</dd>
        </dl>
    }
}
