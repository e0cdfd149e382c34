//! Automatic reload of a page whose build, or whose protocol, differs from the server's.

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, HtmlTextAreaElement};

use crate::client::Client;
use crate::client::session::ConnectionState;
use crate::client::storage::Storage;
use crate::protocol::{CloseCode, VERSION};

/// The storage key of the last build, or protocol, that a page reloaded for. One reload for each prevents a reload loop.
const RELOADED_FOR: &str = "noom.reloaded-for";

/// Stands for the build of a server whose answers the page does not understand.
const UNKNOWN_BUILD: &str = "unknown";

/// Reloads an outdated page while it is hidden, has no unsent input and is in no call.
pub(super) fn reload_when_outdated(client: Client) {
    let attempt = move || {
        let is_outdated = client.state.is_outdated.get_untracked();
        let build = client.state.other_build.get_untracked().or_else(|| is_outdated.then(|| UNKNOWN_BUILD.to_owned()));
        let Some(build) = build else { return };
        let in_use = !document().hidden() || has_input() || client.state.calls.has_meeting();
        let was_tried = Storage::Session.get(RELOADED_FOR).is_some_and(|tried| tried == build);
        if !in_use && !was_tried && Storage::Session.set(RELOADED_FOR, &build) {
            let _ = window().location().reload();
        }
    };
    Effect::new(move |_| {
        client.state.other_build.track();
        client.state.is_outdated.track();
        attempt();
    });
    Effect::new(move |_| {
        let handle = window_event_listener(leptos::ev::visibilitychange, move |_| attempt());
        on_cleanup(move || handle.remove());
    });
}

/// Reloads a page whose protocol the server does not speak, at once: nothing works on it. What was typed and not sent is
/// in storage. A call goes on between the browsers, so its page is left alone. If the new page speaks the same protocol,
/// another reload would not help.
pub(super) fn reload_when_unsupported(client: Client) {
    Effect::new(move |_| {
        let unsupported = ConnectionState::Refused(CloseCode::UnsupportedVersion.number());
        let protocol = format!("protocol {VERSION}");
        let was_tried = || Storage::Session.get(RELOADED_FOR).is_some_and(|tried| tried == protocol);
        if client.state.connection.get() == unsupported
            && !client.state.calls.has_meeting()
            && !was_tried()
            && Storage::Session.set(RELOADED_FOR, &protocol)
        {
            let _ = window().location().reload();
        }
    });
}

/// True if a field differs from the value that the server rendered.
fn has_input() -> bool {
    let Ok(fields) = document().query_selector_all("input, textarea") else { return false };
    (0..fields.length()).filter_map(|index| fields.get(index)).any(|field| {
        let text = field.dyn_ref::<HtmlTextAreaElement>().map(|text| Ok(text.value()) != text.default_value());
        let line = || field.dyn_ref::<HtmlInputElement>().map(|line| line.value() != line.default_value());
        text.or_else(line).unwrap_or(false)
    })
}
