//! Swiping a message to the right replies to it, on touch screens. The button of the message does the same.

use leptos::ev::PointerEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement};

use crate::app::room_context::{Compose, RoomContext};

/// The movement after which a touch is a swipe, in CSS pixels.
const STARTS: i32 = 12;
/// The movement that replies.
const REPLIES: i32 = 56;
/// The most that a message follows the finger.
const MAX_OFFSET: i32 = 72;

/// The touch of a message.
#[derive(Clone, Copy)]
pub(super) struct Swipe {
    room: RoomContext,
    touch: StoredValue<Option<Touch>>,
}

#[derive(Clone)]
struct Touch {
    pointer: i32,
    /// The id of the message's element.
    row: String,
    x: i32,
    y: i32,
    is_swipe: bool,
}

impl Touch {
    fn element(&self) -> Option<HtmlElement> {
        document().get_element_by_id(&self.row)?.dyn_into().ok()
    }
}

impl Swipe {
    pub(super) fn new(room: RoomContext) -> Self {
        Self { room, touch: StoredValue::new(None) }
    }

    pub(super) fn down(self, event: &PointerEvent) {
        self.end();
        // A swipe would discard the text of an edit.
        let is_editing = self.room.compose.with_untracked(|compose| matches!(compose, Compose::Edit { .. }));
        if event.pointer_type() != "touch" || !event.is_primary() || is_editing {
            return;
        }
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let closest = |selector| target.as_ref()?.closest(selector).ok()?;
        // A code block scrolls in that direction, and a deleted message has no button.
        let can_reply = |row: &Element| matches!(row.query_selector(".more:not([hidden])"), Ok(Some(_)));
        let row = closest(".message[id]").filter(|row| closest("pre, .message-actions").is_none() && can_reply(row));
        let (pointer, x, y) = (event.pointer_id(), event.client_x(), event.client_y());
        self.touch.set_value(row.map(|row| Touch { pointer, row: row.id(), x, y, is_swipe: false }));
    }

    pub(super) fn moved(self, event: &PointerEvent) {
        let Some(mut touch) = self.touch_of(event) else { return };
        let (dx, dy) = (event.client_x() - touch.x, event.client_y() - touch.y);
        if !touch.is_swipe && dy.abs() > STARTS.max(dx.abs()) {
            return self.end();
        }
        touch.is_swipe |= dx > STARTS;
        if touch.is_swipe {
            let offset = dx.clamp(0, MAX_OFFSET);
            if let Some(row) = touch.element() {
                let _ = row.style().set_property("transform", &format!("translateX({offset}px)"));
                let _ = row.class_list().toggle_with_force("swiped", dx >= REPLIES);
            }
        }
        self.touch.set_value(Some(touch));
    }

    pub(super) fn up(self, event: &PointerEvent) {
        let Some(touch) = self.touch_of(event) else { return };
        self.end();
        let seq = touch.row.strip_prefix('m').and_then(|seq| seq.parse().ok());
        if let Some(seq) = seq.filter(|_| touch.is_swipe && event.client_x() - touch.x >= REPLIES) {
            self.room.compose.set(Compose::Reply(self.room.state.reference(seq)));
        }
    }

    /// The touch has ended, or the browser has taken it over to scroll.
    pub(super) fn end(self) {
        let touch = self.touch.try_update_value(Option::take).flatten();
        if let Some(row) = touch.and_then(|touch| touch.element()) {
            let _ = row.style().remove_property("transform");
            let _ = row.class_list().remove_1("swiped");
        }
    }

    fn touch_of(self, event: &PointerEvent) -> Option<Touch> {
        self.touch.get_value().filter(|touch| touch.pointer == event.pointer_id())
    }
}
