//! Copying text.

use std::time::Duration;

use leptos::prelude::*;

/// Time for which a button shows the result.
const RESULT_SHOWN: Duration = Duration::from_secs(3);

/// Copies a text, and shows the result in `copied` for some time. `failed` is called if the browser refuses.
pub(super) fn copy(text: &str, copied: RwSignal<Option<bool>>, failed: impl FnOnce() + 'static) {
    let window = window();
    // Browsers give the clipboard to secure pages only.
    if !window.is_secure_context() {
        copied.set(Some(false));
        failed();
        return;
    }
    let writing = window.navigator().clipboard().write_text(text);
    leptos::task::spawn_local(async move {
        let written = wasm_bindgen_futures::JsFuture::from(writing).await.is_ok();
        // The button may be gone.
        copied.try_set(Some(written));
        if !written {
            failed();
        }
        let hide = move || {
            copied.try_set(None);
        };
        set_timeout(hide, RESULT_SHOWN);
    });
}
