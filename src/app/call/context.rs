//! The context of a call.

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, HtmlElement};

use super::playback::Playback;
use crate::app::room_context::RoomContext;
use crate::client::call::meeting::{CallIntent, Meeting};

/// Handles that every component of a call receives.
#[derive(Clone, Copy)]
pub(super) struct CallContext {
    pub(super) room: RoomContext,
    pub(super) meeting: Meeting,
    pub(super) playback: Playback,
    /// True while the call is shown.
    pub(super) open: RwSignal<bool>,
}

impl CallContext {
    pub(super) fn dispatch(self, intent: CallIntent) {
        self.meeting.dispatch(intent);
    }

    pub(super) fn close(self) {
        close(self.open);
    }
}

/// Closes a call. The keyboard focus returns to the button that opened it (WCAG 2.4.3).
pub(super) fn close(open: RwSignal<bool>) {
    let takes_focus = has_focus();
    open.set(false);
    if takes_focus {
        // After the button is back.
        request_animation_frame(|| focus(document().query_selector(".call-button")));
    }
}

/// Returns whether the keyboard focus is in the call, or nowhere.
pub(super) fn has_focus() -> bool {
    document()
        .active_element()
        .is_none_or(|active| active.tag_name() == "BODY" || active.closest(".call").is_ok_and(|call| call.is_some()))
}

/// Gives the keyboard focus to the element that was found.
pub(super) fn focus(found: Result<Option<Element>, JsValue>) {
    if let Some(element) = found.ok().flatten().and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        let _ = element.focus();
    }
}
