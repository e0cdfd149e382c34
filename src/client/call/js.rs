//! Small helpers for JavaScript objects.

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;
use web_sys::{MediaStream, MediaStreamTrack};

/// A plain object, for dictionaries that `web_sys` does not have.
pub(super) fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    fields.iter().for_each(|(name, value)| set(&object, name, value));
    object
}

/// Sets a property. A plain object never refuses it.
pub(super) fn set(object: &JsValue, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value);
}

/// A stream with a single track, for a media element.
pub(super) fn stream_of(track: &MediaStreamTrack) -> Option<MediaStream> {
    let stream = MediaStream::new().ok()?;
    stream.add_track(track);
    Some(stream)
}
