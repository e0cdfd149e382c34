//! Listening to the browser.

use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::EventTarget;

/// Listens for an event of the browser until it is dropped.
pub(super) struct Listening {
    target: EventTarget,
    name: &'static str,
    callback: Closure<dyn FnMut()>,
}

impl Listening {
    pub(super) fn new(target: &EventTarget, name: &'static str, callback: impl FnMut() + 'static) -> Self {
        let callback = Closure::new(callback);
        // Fails for no event that exists.
        let _ = target.add_event_listener_with_callback(name, callback.as_ref().unchecked_ref());
        Self { target: target.clone(), name, callback }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.target.remove_event_listener_with_callback(self.name, self.callback.as_ref().unchecked_ref());
    }
}
