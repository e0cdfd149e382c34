//! The button that copies the room's link.

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::clipboard;
use crate::app::locale::Language;

#[component]
pub(super) fn CopyLink() -> impl IntoView {
    let i18n = Language::current();
    let copied = RwSignal::new(None::<bool>);
    let copy = move |_| {
        let address = window().location().href().unwrap_or_default();
        clipboard::copy(address.split('?').next().unwrap_or_default(), copied, || ());
    };
    view! {
        <button type="button" class="copy needs-script" class:copied=move || copied.get().is_some() on:click=copy>
            <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
                <path d="M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1"></path>
            </svg>
            <span class="label" aria-live="polite">
                {move || match copied.get() {
                    None => td_string!(i18n.get(), copy_link),
                    Some(true) => td_string!(i18n.get(), link_copied),
                    Some(false) => td_string!(i18n.get(), copy_link_failed),
                }}
            </span>
        </button>
    }
}
