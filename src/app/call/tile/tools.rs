//! The tools of a tile: volume, picture in picture and full screen.

use js_sys::{Function, Promise, Reflect};
use leptos::ev;
use leptos::html::{Li, Video};
use leptos::prelude::*;
use leptos_i18n::td_string;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::HtmlVideoElement;

use crate::app::call::icon::Icon;
use crate::app::locale::{Language, t};
use crate::client::call::state::Tile;

/// `frame` is the element that fills the screen.
#[component]
pub(super) fn Tools(
    tile: Tile,
    name: Memo<String>,
    video: NodeRef<Video>,
    has_picture: Memo<bool>,
    frame: NodeRef<Li>,
) -> impl IntoView {
    let i18n = Language::current();
    let is_own = tile.peer.is_none();
    view! {
        <div class="tools">
            {(!is_own).then(|| view! { <Volume tile name/> })}
            <PictureInPicture video has_picture/>
            <button
                type="button" class="control small" aria-label=t!(i18n, full_screen)
                title=t!(i18n, full_screen) on:click=move |_| toggle_full_screen(frame)
            >
                {Icon::FullScreen.draw()}
            </button>
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
fn PictureInPicture(video: NodeRef<Video>, has_picture: Memo<bool>) -> impl IntoView {
    let i18n = Language::current();
    let is_supported =
        Reflect::get(&document(), &"pictureInPictureEnabled".into()).is_ok_and(|enabled| enabled.is_truthy());
    let toggle = move |_| {
        let Some(video) = video.get_untracked() else { return };
        let open = Reflect::get(&document(), &"pictureInPictureElement".into()).unwrap_or_default();
        if &open == <HtmlVideoElement as AsRef<JsValue>>::as_ref(&video) {
            call_method(&document(), "exitPictureInPicture");
        } else {
            call_method(&video, "requestPictureInPicture");
        }
    };
    view! {
        <Show when=move || is_supported && has_picture.get()>
            <button
                type="button" class="control small" aria-label=t!(i18n, picture_in_picture)
                title=t!(i18n, picture_in_picture) on:click=toggle
            >
                {Icon::PictureInPicture.draw()}
            </button>
        </Show>
    }
}

fn toggle_full_screen(frame: NodeRef<Li>) {
    let document = document();
    if document.fullscreen_element().is_some() {
        document.exit_fullscreen();
    } else if let Some(frame) = frame.get_untracked() {
        call_method(&frame, "requestFullscreen");
    }
}

/// Calls a method without arguments, where the browser has it. If it returns a promise, a rejection is ignored: the
/// user sees that nothing happened.
fn call_method(target: &JsValue, method: &str) {
    let Ok(Ok(method)) = Reflect::get(target, &method.into()).map(JsCast::dyn_into::<Function>) else { return };
    if let Ok(Ok(promise)) = method.call0(target).map(JsCast::dyn_into::<Promise>) {
        leptos::task::spawn_local(async move {
            let _ = wasm_bindgen_futures::JsFuture::from(promise).await;
        });
    }
}
