//! Where the page comes alive in the browser.

#![allow(unreachable_pub, reason = "exported to JavaScript")]

use wasm_bindgen::prelude::wasm_bindgen;

/// Called by the script that loads this module.
#[wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(crate::app::shell::App);
}
