//! Files that are dropped on the page or pasted into it become files of the message that is being written. Without this a
//! browser would open them instead of the page, which would end a call. Dropped links are ignored.

use js_sys::{Array, Reflect};
use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, FileList};

use super::files;
use crate::app::room_context::RoomContext;

/// Takes files, until the current owner is cleaned up.
pub(super) fn take(room: RoomContext) {
    Effect::new(move |_| {
        let over = window_event_listener(ev::dragover, |event| {
            let has_files = has_files(&event);
            if has_files || !is_on_field(&event) {
                event.prevent_default();
                let transfer = property(&event, "dataTransfer");
                // The pointer shows what a drop does.
                let effect = if has_files { "copy" } else { "none" };
                let _ = Reflect::set(&transfer, &"dropEffect".into(), &effect.into());
            }
        });
        let drop = window_event_listener(ev::drop, move |event| {
            if has_files(&event) || !is_on_field(&event) {
                event.prevent_default();
            }
            add(room, &property(&event, "dataTransfer"));
        });
        let paste = window_event_listener(ev::paste, move |event| {
            // A text that comes with a picture of itself, as from a spreadsheet, is pasted as text.
            let clipboard = property(&event, "clipboardData");
            if !types(&clipboard).includes(&JsValue::from_str("text/plain"), 0) && add(room, &clipboard) {
                event.prevent_default();
            }
        });
        on_cleanup(move || {
            over.remove();
            drop.remove();
            paste.remove();
        });
    });
}

/// Adds the files in a `DataTransfer`. Returns whether there are any.
fn add(room: RoomContext, transfer: &JsValue) -> bool {
    let files = property(transfer, "files").dyn_into::<FileList>().ok().filter(|files| files.length() > 0);
    files.is_some_and(|files| {
        files::add(room, &files);
        true
    })
}

fn has_files(event: &web_sys::DragEvent) -> bool {
    types(&property(event, "dataTransfer")).includes(&JsValue::from_str("Files"), 0)
}

/// Returns whether an event is on a text field, which takes texts itself.
fn is_on_field(event: &web_sys::DragEvent) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    target.is_some_and(|target| target.closest("input, textarea").is_ok_and(|field| field.is_some()))
}

fn types(transfer: &JsValue) -> Array {
    property(transfer, "types").dyn_into().unwrap_or_default()
}

fn property(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or_default()
}
