//! Keeps the screen on (W3C Screen Wake Lock), so that a call without touches is not interrupted.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use leptos::prelude::{document, window};
use leptos::task::spawn_local;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::client::event_listener::EventListener;

/// Keeps the screen on until it is dropped. Does nothing in browsers that do not support it.
pub(super) struct WakeLock {
    held: Rc<RefCell<Held>>,
    _listener: EventListener,
}

enum Held {
    /// The browser has not answered, or has refused.
    Nothing,
    Lock(JsValue),
    /// Not needed any more.
    Released,
}

impl WakeLock {
    pub(super) fn new() -> Self {
        let held = Rc::new(RefCell::new(Held::Nothing));
        request(held.clone());
        // The browser releases the lock while the page is hidden.
        let again = held.clone();
        let listener = EventListener::new(&document(), "visibilitychange", move |_| {
            if !document().hidden() {
                request(again.clone());
            }
        });
        Self { held, _listener: listener }
    }
}

impl Drop for WakeLock {
    fn drop(&mut self) {
        if let Held::Lock(lock) = self.held.replace(Held::Released) {
            let _ = call(&lock, "release", &[]);
        }
    }
}

fn request(held: Rc<RefCell<Held>>) {
    let wake_lock = Reflect::get(&window().navigator(), &"wakeLock".into()).unwrap_or_default();
    let Some(promise) = call(&wake_lock, "request", &["screen".into()]) else { return };
    spawn_local(async move {
        // Refused while the battery is low, for example.
        let Ok(lock) = JsFuture::from(promise).await else { return };
        let is_released = matches!(&*held.borrow(), Held::Released);
        let unneeded = if is_released { lock } else { held.replace(Held::Lock(lock)).into_lock() };
        let _ = call(&unneeded, "release", &[]);
    });
}

impl Held {
    fn into_lock(self) -> JsValue {
        match self {
            Self::Lock(lock) => lock,
            Self::Nothing | Self::Released => JsValue::UNDEFINED,
        }
    }
}

/// Calls a method that returns a promise, if there is one.
fn call(target: &JsValue, method: &str, arguments: &[JsValue]) -> Option<Promise> {
    let method: Function = Reflect::get(target, &method.into()).ok()?.dyn_into().ok()?;
    method.apply(target, &arguments.iter().collect()).ok()?.dyn_into().ok()
}
