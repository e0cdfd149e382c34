//! The notice that the browser blocks cookies, so that the user's name will not be remembered.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::api::VisitorCookie;
use super::locale::{Language, t};
use crate::client::cookies;

/// True if the browser blocks cookies.
#[derive(Clone, Copy, Debug)]
struct Blocked(RwSignal<bool>);

/// Provides what the server knows to [`CookieNotice`]. A visitor's first page finds out the rest.
pub(super) fn provide(cookie: VisitorCookie) {
    let blocked = RwSignal::new(cookie == VisitorCookie::Blocked);
    provide_context(Blocked(blocked));
    if cookie == VisitorCookie::Unknown {
        Effect::new(move |_| {
            spawn_local(async move {
                if cookies::are_blocked().await {
                    // The page may be gone.
                    let _ = blocked.try_set(true);
                }
            });
        });
    }
}

/// Shown beside the form for the name.
#[component]
pub(super) fn CookieNotice() -> impl IntoView {
    let i18n = Language::current();
    let blocked = move || use_context::<Blocked>().is_some_and(|blocked| blocked.0.get());
    view! {
        <p class="hint cookie-notice" role="status" translate="no">{move || blocked().then(|| t!(i18n, cookies_blocked))}</p>
    }
}
