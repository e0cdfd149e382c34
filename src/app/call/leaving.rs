//! Leaving by accident: a link, the back button or a closed tab would end the call, so the user is asked first.

use js_sys::Reflect;
use leptos::ev;
use leptos::html::Dialog;
use leptos::prelude::*;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, HtmlElement, MouseEvent};

use super::context::CallContext;
use crate::app::locale::{Language, t};
use crate::client::call::state::Phase;

/// The property of a history entry that follows the room's own entry during the call: "back" leads to the room, and
/// not away from it.
const GUARD: &str = "noomCall";

/// The step that the user is asked about.
#[derive(Clone, Copy)]
enum Step {
    /// A link of this page was followed.
    Link,
    Back,
}

/// Asks before the page is left, while it is mounted.
#[component]
pub(super) fn LeaveGuard(call: CallContext) -> impl IntoView {
    let i18n = Language::current();
    let step = RwSignal::new(None::<Step>);
    let dialog = NodeRef::<Dialog>::new();
    let link = StoredValue::new_local(None::<HtmlElement>);
    let confirmed = StoredValue::new(false);
    let path = StoredValue::new(path());
    Effect::new(move |_| {
        let Some(dialog) = dialog.get().filter(|_| step.with(Option::is_some)) else { return };
        if !dialog.open() {
            let _ = dialog.show_modal();
        }
    });
    push_guard();
    let unload = window_event_listener(ev::beforeunload, move |event| {
        if !confirmed.get_value() {
            // The browser asks in its own words.
            event.prevent_default();
            event.set_return_value("unsaved");
        }
    });
    let back = window_event_listener(ev::popstate, move |_| {
        if path.get_value() == self::path() && !is_guarded() && !is_at_fragment() {
            step.set(Some(Step::Back));
        }
    });
    let follow = capture_clicks(move |event| {
        let Some(followed) = left_by(event).filter(|_| !confirmed.get_value()) else { return };
        event.prevent_default();
        event.stop_propagation();
        link.set_value(Some(followed));
        step.set(Some(Step::Link));
    });
    on_cleanup(move || {
        unload.remove();
        back.remove();
        follow.dispose();
        // The page stays, but the call is over.
        let is_over = call.meeting.state.phase.try_get_untracked().is_some_and(|phase| phase != Phase::In);
        if (call.open.try_get_untracked() == Some(false) || is_over) && is_guarded() {
            go_back();
        }
    });

    let stay = move || {
        if let Some(Step::Back) = step.try_update(Option::take).flatten() {
            push_guard();
        }
    };
    let leave = move || {
        confirmed.set_value(true);
        match step.try_update(Option::take).flatten() {
            Some(Step::Link) => link.with_value(|link| link.iter().for_each(HtmlElement::click)),
            Some(Step::Back) => {
                call.close();
                go_back();
            }
            None => {}
        }
    };
    let close = move || {
        if let Some(dialog) = dialog.get_untracked() {
            dialog.close();
        }
    };
    view! {
        <dialog class="leave-dialog" node_ref=dialog aria-labelledby="leave-question" on:close=move |_| stay()>
            <p id="leave-question">{t!(i18n, call_leave_question)}</p>
            <div class="row actions">
                <button type="button" class="primary" on:click=move |_| close()>{t!(i18n, call_stay)}</button>
                <button
                    type="button" on:click=move |_| {
                        leave();
                        close();
                    }
                >
                    {t!(i18n, call_leave)}
                </button>
            </div>
        </dialog>
    }
}

fn push_guard() {
    let state = js_sys::Object::new();
    let _ = Reflect::set(&state, &GUARD.into(), &JsValue::TRUE);
    if let Ok(history) = window().history() {
        let _ = history.push_state_with_url(&state, "", None);
    }
}

fn is_guarded() -> bool {
    let state = window().history().and_then(|history| history.state()).unwrap_or_default();
    Reflect::get(&state, &GUARD.into()).is_ok_and(|guard| guard.is_truthy())
}

fn path() -> Option<String> {
    window().location().pathname().ok()
}

/// Returns whether the address has a fragment. A step to a fragment does not leave the page.
fn is_at_fragment() -> bool {
    window().location().hash().is_ok_and(|hash| !hash.is_empty())
}

fn go_back() {
    if let Ok(history) = window().history() {
        let _ = history.back();
    }
}

/// The link that this click follows to another page, in this tab.
fn left_by(event: &MouseEvent) -> Option<HtmlElement> {
    if event.default_prevented() || event.button() != 0 {
        return None;
    }
    if event.ctrl_key() || event.meta_key() || event.shift_key() || event.alt_key() {
        return None;
    }
    let link = event.target()?.dyn_into::<Element>().ok()?.closest("a[href]").ok()??;
    let text = |name: &str| Reflect::get(&link, &name.into()).ok().and_then(|text| text.as_string());
    let opens_elsewhere = text("target").is_some_and(|target| !target.is_empty() && target != "_self");
    let location = window().location();
    // A link to another origin ends the page, and the browser asks.
    let is_own = text("origin") == location.origin().ok() && text("pathname") != location.pathname().ok();
    (is_own && !opens_elsewhere && !link.has_attribute("download")).then(|| link.unchecked_into())
}

/// Calls back with each click before the page's own listeners, until the result is dropped.
fn capture_clicks(callback: impl Fn(&MouseEvent) + 'static) -> StoredValue<Capture, LocalStorage> {
    let capture = Capture(Closure::new(move |event| callback(&event)));
    let listener = capture.0.as_ref().unchecked_ref();
    let _ = window().add_event_listener_with_callback_and_bool("click", listener, true);
    StoredValue::new_local(capture)
}

/// A listener that is removed when it is dropped.
struct Capture(Closure<dyn FnMut(MouseEvent)>);

impl Drop for Capture {
    fn drop(&mut self) {
        let listener = self.0.as_ref().unchecked_ref();
        let _ = window().remove_event_listener_with_callback_and_bool("click", listener, true);
    }
}
