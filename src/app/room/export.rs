//! The links that export the room.

use leptos::prelude::*;

use crate::app::locale::{Language, t};

/// The formats of an export, behind a small heading.
#[component]
pub(super) fn Export(
    /// The path of the room's page.
    page: String,
) -> impl IntoView {
    let i18n = Language::current();
    let link = |format: &str| format!("{page}/export?format={format}");
    // With `download` the page stays, and a call in it, even if the export is refused.
    view! {
        <details class="export">
            <summary>{t!(i18n, export)}</summary>
            <ul>
                <li><a href=link("html") download="">{t!(i18n, export_html)}</a></li>
                <li><a href=link("jsonl") download="">{t!(i18n, export_jsonl)}</a></li>
            </ul>
        </details>
    }
}
