//! Keyboard shortcuts of a call.

use std::time::Duration;

use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::Element;

use super::context::CallContext;
use crate::client::call::meeting::CallIntent;
use crate::client::call::state::DeviceState;
use crate::client::storage::Storage;
use crate::client::timer::now;

/// A key counts only if no other key is pressed within this time before or after it. Dictation types whole words.
const ALONE: Duration = Duration::from_millis(150);
/// The storage key of the user's choice.
const STORAGE_KEY: &str = "noom.shortcuts";

/// The keyboard shortcuts, which the user can turn off (WCAG 2.1.4). Copies are handles to the same.
#[derive(Clone, Copy)]
pub(super) struct Shortcuts {
    are_on: RwSignal<bool>,
    /// True while the list of shortcuts is shown.
    pub(super) help: RwSignal<bool>,
}

/// The effect of a key.
#[derive(Clone, Copy)]
enum Shortcut {
    Mute,
    Camera,
    Screen,
    Talk,
    Help,
}

impl Shortcuts {
    /// Handles shortcuts until the current owner is cleaned up.
    pub(super) fn handle(call: CallContext) -> Self {
        let are_on = RwSignal::new(Storage::Local.get(STORAGE_KEY).as_deref() != Some("off"));
        let this = Self { are_on, help: RwSignal::new(false) };
        let keys = Keys { call, shortcuts: this, talking: StoredValue::new(false), last: StoredValue::new((0, 0)) };
        let down = window_event_listener(ev::keydown, move |event| keys.down(&event));
        let up = window_event_listener(ev::keyup, move |event| {
            if event.code() == "Space" {
                keys.stop_talking();
            }
        });
        // A key that is released in another window sends no event here.
        let blur = window_event_listener(ev::blur, move |_| keys.stop_talking());
        on_cleanup(move || {
            keys.stop_talking();
            down.remove();
            up.remove();
            blur.remove();
        });
        this
    }

    pub(super) fn are_on(self) -> bool {
        self.are_on.get()
    }

    /// Turns the shortcuts on or off, for later calls too.
    pub(super) fn turn(self, on: bool) {
        self.are_on.set(on);
        Storage::Local.set(STORAGE_KEY, if on { "on" } else { "off" });
    }
}

#[derive(Clone, Copy)]
struct Keys {
    call: CallContext,
    shortcuts: Shortcuts,
    /// True while the space bar is held to talk.
    talking: StoredValue<bool>,
    /// The number and time of the last key.
    last: StoredValue<(u64, u64)>,
}

impl Keys {
    fn down(self, event: &ev::KeyboardEvent) {
        if event.ctrl_key() || event.alt_key() || event.meta_key() || event.repeat() || is_typing(event) {
            return;
        }
        let (number, at) = self.last.get_value();
        let (number, is_alone) = (number + 1, now() >= at + ALONE.as_millis() as u64);
        self.last.set_value((number, now()));
        let Some(shortcut) = self.shortcut(event).filter(|_| self.shortcuts.are_on.get_untracked()) else { return };
        if matches!(shortcut, Shortcut::Talk) {
            event.prevent_default();
        }
        if is_alone {
            let act = move || {
                if self.last.try_get_value().is_some_and(|(last, _)| last == number) {
                    self.act(shortcut);
                }
            };
            set_timeout(act, ALONE);
        }
    }

    /// Keys are identified by their position on the keyboard, so that they work in every layout and while an input
    /// method is on.
    fn shortcut(self, event: &ev::KeyboardEvent) -> Option<Shortcut> {
        match event.code().as_str() {
            "KeyM" => Some(Shortcut::Mute),
            "KeyV" => Some(Shortcut::Camera),
            "KeyS" => Some(Shortcut::Screen),
            // Elsewhere the space bar scrolls, or presses the focused button.
            "Space" => (self.call.meeting.state.muted.get_untracked() && is_free(event)).then_some(Shortcut::Talk),
            _ => (event.key() == "?").then_some(Shortcut::Help),
        }
    }

    fn act(self, shortcut: Shortcut) {
        let state = self.call.meeting.state;
        match shortcut {
            Shortcut::Mute => self.call.dispatch(CallIntent::Mute(!state.muted.get_untracked())),
            Shortcut::Camera => {
                self.call.dispatch(CallIntent::Camera(state.camera.get_untracked() != DeviceState::On));
            }
            Shortcut::Screen => self.call.dispatch(CallIntent::Share(state.screen.get_untracked() != DeviceState::On)),
            Shortcut::Talk => {
                self.talking.set_value(true);
                self.call.dispatch(CallIntent::Mute(false));
            }
            Shortcut::Help => self.shortcuts.help.update(|help| *help = !*help),
        }
    }

    fn stop_talking(self) {
        // A key that was released before it counted does nothing.
        self.last.try_update_value(|(number, _)| *number += 1);
        if self.talking.try_get_value() == Some(true) {
            self.talking.set_value(false);
            self.call.dispatch(CallIntent::Mute(true));
        }
    }
}

fn is_typing(event: &ev::KeyboardEvent) -> bool {
    event.is_composing() || is_on(event, "input, textarea, select, [contenteditable]")
}

/// Returns whether the space bar has no other meaning where the focus is: in the call, but not on one of its buttons,
/// or nowhere.
fn is_free(event: &ev::KeyboardEvent) -> bool {
    let is_nowhere = !is_on(event, "body *");
    is_nowhere || is_on(event, ".call") && !is_on(event, "button, summary, a, [role=slider], dialog")
}

fn is_on(event: &ev::KeyboardEvent, selector: &str) -> bool {
    let element = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    element.and_then(|element| element.closest(selector).ok().flatten()).is_some()
}
