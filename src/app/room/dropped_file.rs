//! Files and links that are dropped on the page. A browser would open them instead of the page, which would end a call.

use js_sys::{Array, Reflect};
use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Element;

/// Ignores dropped files and links, until the current owner is cleaned up.
pub(super) fn ignore() {
    Effect::new(move |_| {
        let over = window_event_listener(ev::dragover, |event| {
            if would_leave(&event) {
                event.prevent_default();
                let transfer = Reflect::get(&event, &"dataTransfer".into()).unwrap_or_default();
                // The pointer shows that nothing can be dropped here.
                let _ = Reflect::set(&transfer, &"dropEffect".into(), &"none".into());
            }
        });
        let drop = window_event_listener(ev::drop, |event| {
            if would_leave(&event) {
                event.prevent_default();
            }
        });
        on_cleanup(move || {
            over.remove();
            drop.remove();
        });
    });
}

/// Returns whether the browser would open what is dragged. A text field takes everything but files.
fn would_leave(event: &web_sys::DragEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let is_on_field = target.is_some_and(|target| target.closest("input, textarea").is_ok_and(|field| field.is_some()));
    let transfer = Reflect::get(event, &"dataTransfer".into()).unwrap_or_default();
    let types = Reflect::get(&transfer, &"types".into()).map(|types| Array::from(&types)).unwrap_or_default();
    types.includes(&JsValue::from_str("Files"), 0) || !is_on_field
}
