//! Playing what arrives. Browsers refuse to play sound on a page that the user has not touched yet, or while a phone
//! saves power. The next touch is permission enough.

use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::HtmlMediaElement;

use crate::app::locale::{Language, t};

/// The playback of a call. Copies are handles to the same.
#[derive(Clone, Copy)]
pub(super) struct Playback {
    /// True while the browser refuses to play something.
    is_refused: RwSignal<bool>,
    attempt: RwSignal<u64>,
}

impl Playback {
    pub(super) fn new() -> Self {
        Self { is_refused: RwSignal::new(false), attempt: RwSignal::new(0) }
    }

    /// Plays an element that has a stream. Reactive: called again, and so tried again, when the user touches the page.
    pub(super) fn play(self, element: &HtmlMediaElement) {
        self.attempt.track();
        if !element.paused() {
            return;
        }
        let Ok(promise) = element.play() else { return };
        spawn_local(async move {
            if let Err(error) = JsFuture::from(promise).await
                && is_not_allowed(&error)
            {
                self.is_refused.try_set(true);
            }
        });
    }

    fn try_again(self) {
        if self.is_refused.try_get_untracked() == Some(true) {
            self.is_refused.set(false);
            self.attempt.update(|attempt| *attempt += 1);
        }
    }
}

fn is_not_allowed(error: &JsValue) -> bool {
    let name = js_sys::Reflect::get(error, &"name".into()).unwrap_or_default();
    name.as_string().as_deref() == Some("NotAllowedError")
}

/// A button while the browser refuses to play. Any other touch of the page helps as well.
#[component]
pub(super) fn RefusedPlayback(playback: Playback) -> impl IntoView {
    let i18n = Language::current();
    let touches = [
        window_event_listener(ev::click, move |_| playback.try_again()),
        window_event_listener(ev::touchend, move |_| playback.try_again()),
    ];
    let key = window_event_listener(ev::keydown, move |_| playback.try_again());
    on_cleanup(move || {
        touches.into_iter().for_each(|touch| touch.remove());
        key.remove();
    });
    view! {
        <p role="status">
            <Show when=move || playback.is_refused.get()>
                <button type="button" class="primary">{t!(i18n, turn_on_sound)}</button>
            </Show>
        </p>
    }
}
