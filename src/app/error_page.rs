//! Pages that explain why there is nothing else to show.

use leptos::prelude::*;
use leptos_i18n::td_string;
use leptos_router::hooks::use_location;

use super::api::ApiError;
use super::locale::{Language, t};
use super::offline_copy;
use super::title::LiveTitle;

/// The page while the server cannot read its database, or cannot be reached.
#[component]
pub(super) fn Unavailable(error: ApiError) -> impl IntoView {
    let i18n = Language::current();
    let path = use_location().pathname;
    Effect::new(move |_| {
        // The user may go from here to another page that cannot be loaded.
        path.track();
        if error == ApiError::Unreachable {
            offline_copy::show();
        }
    });
    view! {
        <LiveTitle text=move || td_string!(i18n.get(), app_name).to_owned()/>
        <main class="error-page">
            <h1 tabindex="-1">{t!(i18n, unavailable_title)}</h1>
            <p>{t!(i18n, unavailable)}</p>
            <a class="button" href="/" rel="external">{t!(i18n, go_home)}</a>
        </main>
    }
}

/// The page at an address that is not a valid room name.
#[component]
pub(super) fn InvalidRoom() -> impl IntoView {
    let i18n = Language::current();
    view! {
        <LiveTitle text=move || td_string!(i18n.get(), room_invalid_title).to_owned()/>
        <main class="error-page">
            <h1 tabindex="-1">{t!(i18n, room_invalid_title)}</h1>
            <p>{t!(i18n, error_room_name)}</p>
            <a class="button" href="/">{t!(i18n, go_home)}</a>
        </main>
    }
}
