//! Moving between rooms by keyboard: Ctrl+K opens a list to choose from, Alt and an arrow key go to the next room.

mod choices;
mod dialog;

use leptos::ev;
use leptos::html::{Dialog, Input};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlElement, HtmlInputElement};

use super::focus::dialog_is_open;
pub(super) use dialog::SwitcherDialog;

/// The dialog in which a room is chosen. A context of all pages.
#[derive(Clone, Copy)]
pub(super) struct Switcher {
    dialog: NodeRef<Dialog>,
    input: NodeRef<Input>,
    is_open: RwSignal<bool>,
    typed: RwSignal<String>,
    /// The index of the selected choice.
    selected: RwSignal<usize>,
}

impl Switcher {
    pub(super) fn new() -> Self {
        Self {
            dialog: NodeRef::new(),
            input: NodeRef::new(),
            is_open: RwSignal::new(false),
            typed: RwSignal::new(String::new()),
            selected: RwSignal::new(0),
        }
    }

    /// Opens the dialog at once: keys that are pressed next are typed into it.
    pub(super) fn open(self) {
        if let (Some(dialog), Some(input)) = (self.dialog.get_untracked(), self.input.get_untracked()) {
            self.reset(&input);
            self.is_open.set(true);
            let _ = dialog.show_modal();
        }
    }

    fn close(self) {
        if let Some(dialog) = self.dialog.get_untracked() {
            dialog.close();
        }
    }

    /// The dialog was closed. The event may come when it is open again.
    fn closed(self) {
        if self.dialog.get_untracked().is_some_and(|dialog| !dialog.open()) {
            self.is_open.set(false);
            // A page with unsent input is not reloaded for a new build.
            self.input.get_untracked().iter().for_each(|input| self.reset(input));
        }
    }

    fn reset(self, input: &HtmlInputElement) {
        input.set_value("");
        self.typed.set(String::new());
        self.selected.set(0);
    }

    /// Handles the keys of all pages.
    fn listen(self) {
        Effect::new(move |_| {
            let handle = window_event_listener(ev::keydown, move |event| self.key(&event));
            on_cleanup(move || handle.remove());
        });
    }

    fn key(self, event: &ev::KeyboardEvent) {
        if event.is_composing() || event.default_prevented() || dialog_is_open() {
            return;
        }
        let command = event.ctrl_key() != event.meta_key();
        if command && !event.alt_key() && !event.shift_key() && event.key().eq_ignore_ascii_case("k") {
            event.prevent_default();
            self.open();
        } else if event.alt_key() && !event.ctrl_key() && !event.meta_key() {
            let step = match event.key().as_str() {
                "ArrowDown" => 1,
                "ArrowUp" => -1,
                _ => return,
            };
            // There the keys open the list of choices.
            let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
            if target.is_some_and(|target| target.tag_name().eq_ignore_ascii_case("select")) {
                return;
            }
            event.prevent_default();
            go(step, event.shift_key());
        }
    }
}

/// Goes to the next or previous room in the list, as a click on its link does. `unread`: skips the others.
fn go(step: i32, unread: bool) {
    let links = document().query_selector_all(".my-room-list a");
    let Ok(links) = links else { return };
    let links: Vec<_> = (0..links.length()).filter_map(|at| links.get(at)?.dyn_into::<Element>().ok()).collect();
    let current = links.iter().position(|link| link.has_attribute("aria-current"));
    let count = links.len() as i32;
    // Outside of the list, the first step leads to its end or its beginning.
    let start = current.map_or(if step > 0 { -1 } else { count }, |at| at as i32);
    let next = (1..=count).map(|distance| (start + step * distance).rem_euclid(count) as usize);
    let mut next = next.filter(|at| Some(*at) != current && (!unread || links[*at].class_list().contains("unread")));
    if let Some(link) = next.next().and_then(|at| links[at].dyn_ref::<HtmlElement>()) {
        link.click();
    }
}
