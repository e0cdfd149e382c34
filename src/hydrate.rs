//! The entry point in the browser: hydrates the page that the server has rendered.
//!
//! Hydration walks the document and expects the nodes that the server has sent. Proxies that remove comments, extensions
//! that insert elements, and translators change them. The server therefore sends the number of nodes
//! (`server::http::node_count`). If the document has another number, the page is built in the browser instead.

#![allow(unreachable_pub, reason = "exported to JavaScript")]

use std::cell::Cell;

use leptos::mount::{hydrate_body, mount_to_body};
use leptos::prelude::{document, window};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::app::broken;
use crate::app::shell::{App, NODE_COUNT};

thread_local! {
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Called by the script that loads this module.
#[wasm_bindgen]
pub fn hydrate() {
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        // A page whose hydration panics is loaded once more, and built in the browser.
        if !IS_RUNNING.get() && broken::request_rebuild() {
            let _ = window().location().reload();
        } else {
            broken::show();
        }
    }));
    if !broken::take_rebuild_request() && is_as_sent() {
        hydrate_body(App);
    } else {
        if let Some(body) = document().body() {
            body.replace_children_with_node_0();
        }
        mount_to_body(App);
    }
    IS_RUNNING.set(true);
}

/// Returns whether the document has as many nodes as the server has sent.
fn is_as_sent() -> bool {
    let Some(body) = document().body() else { return false };
    let sent = body.get_attribute(NODE_COUNT).and_then(|count| count.parse().ok());
    let Ok(walker) = document().create_tree_walker(&body) else { return false };
    let found = std::iter::from_fn(|| walker.next_node().ok().flatten()).count();
    // Without the attribute, as under `cargo leptos watch`, the page is taken as it is.
    sent.is_none_or(|sent: usize| sent == found)
}
