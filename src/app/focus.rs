//! Keyboard focus: it never falls to `body`.
//!
//! When the focused element is removed (a page, a form, a button that did its work), browsers move the focus to `body`,
//! and a screen reader loses its place. The focus then goes to the page's main control: the composer of a room, or the
//! heading of other pages. A component that knows a better place sets the focus itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use leptos::prelude::*;
use leptos_router::hooks::use_location;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{Element, HtmlElement, MutationObserver, MutationObserverInit};

/// The heading that is focused on pages without a composer. It has `tabindex="-1"`.
const HEADING: &str = "h1[tabindex]";
/// The control that takes the focus in a room.
const COMPOSER: &str = "#text";

/// True where the main input is a touch screen: focusing a field opens the keyboard on the screen.
pub(super) fn is_touch() -> bool {
    let query = window().match_media("(hover: none) and (pointer: coarse)");
    query.ok().flatten().is_some_and(|query| query.matches())
}

/// Returns whether a dialog is open, behind which nothing else may be opened by a key.
pub(super) fn dialog_is_open() -> bool {
    document().query_selector("dialog[open]").ok().flatten().is_some()
}

/// Returns whether a key belongs to an input method. WebKit sends the Enter that confirms a candidate after the end of the
/// composition, with the key code 229 (UI Events, 7.3.1).
pub(super) fn is_composing(event: &leptos::ev::KeyboardEvent) -> bool {
    event.is_composing() || event.key_code() == 229
}

/// Keeps the focus off `body` as long as the page is open. Must be called inside the router.
pub(super) fn keep() {
    let path = use_location().pathname;
    Effect::new(move |_| {
        let keeper = Rc::new(Keeper::default());
        let (focused, blurred, changed) = (keeper.clone(), keeper.clone(), keeper.clone());
        window_event_listener(leptos::ev::focusin, move |event| {
            focused.held.replace(event.target().and_then(|target| target.dyn_into().ok()));
        });
        window_event_listener(leptos::ev::focusout, move |_| {
            let keeper = blurred.clone();
            set_timeout(move || keeper.forget(), Duration::ZERO);
        });
        on_change(move || changed.repair());
        Effect::new(move |before: Option<()>| {
            path.track();
            // The first page is the one that the browser has loaded: browsers set the focus of a new document.
            if before.is_some() {
                keeper.is_lost.set(true);
                keeper.repair();
            }
        });
    });
}

/// The focus of the page.
#[derive(Default)]
struct Keeper {
    /// The element that had the focus last.
    held: RefCell<Option<Element>>,
    /// The focus has to be set as soon as the page has its main control.
    is_lost: Cell<bool>,
}

impl Keeper {
    /// Sets the focus if it was lost.
    fn repair(&self) {
        if active().is_some() {
            self.is_lost.set(false);
            return;
        }
        if self.was_removed() {
            self.is_lost.set(true);
        }
        if self.is_lost.get() && focus_main() {
            self.is_lost.set(false);
        }
    }

    /// Focus that the user takes away from an element that stays is not lost.
    fn forget(&self) {
        if active().is_none() {
            self.held.borrow_mut().take_if(|held| held.is_connected());
        }
    }

    /// Returns whether the element that had the focus was removed.
    fn was_removed(&self) -> bool {
        self.held.borrow_mut().take_if(|held| !held.is_connected()).is_some()
    }
}

/// The focused element, unless it is the body.
fn active() -> Option<Element> {
    document().active_element().filter(|element| element.tag_name() != "BODY")
}

/// Focuses the main control of the page. Returns false if the page is not there yet.
fn focus_main() -> bool {
    let find = |selector| document().query_selector(selector).ok().flatten()?.dyn_into::<HtmlElement>().ok();
    let composer = find(COMPOSER).filter(|_| !is_touch());
    // A composer behind the preview of a call cannot take the focus.
    [composer, find(HEADING)].into_iter().flatten().any(|element| element.focus().is_ok() && active().is_some())
}

/// Calls `act` whenever elements were added or removed, before the browser paints.
fn on_change(act: impl Fn() + 'static) {
    let callback = Closure::<dyn Fn()>::new(act);
    let options = MutationObserverInit::new();
    options.set_child_list(true);
    options.set_subtree(true);
    if let (Ok(observer), Some(body)) = (MutationObserver::new(callback.as_ref().unchecked_ref()), document().body()) {
        // Fails only for options that observe nothing.
        let _ = observer.observe_with_options(&body, &options);
    }
    // The observer calls it as long as the page is open.
    callback.forget();
}
