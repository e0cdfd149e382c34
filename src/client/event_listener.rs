//! Event listeners of the DOM (DOM Living Standard, 2.7).

use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::EventTarget;

/// A listener that is removed when it is dropped.
pub(crate) struct EventListener {
    target: EventTarget,
    name: &'static str,
    callback: Closure<dyn FnMut(JsValue)>,
}

impl EventListener {
    /// Calls `callback` with each event of this name.
    pub(crate) fn new(target: &EventTarget, name: &'static str, callback: impl FnMut(JsValue) + 'static) -> Self {
        let callback = Closure::new(callback);
        // Fails only for a callback that is not a function.
        let _ = target.add_event_listener_with_callback(name, callback.as_ref().unchecked_ref());
        Self { target: target.clone(), name, callback }
    }
}

impl Drop for EventListener {
    fn drop(&mut self) {
        let _ = self.target.remove_event_listener_with_callback(self.name, self.callback.as_ref().unchecked_ref());
    }
}
