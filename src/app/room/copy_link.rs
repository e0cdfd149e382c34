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
        <button type="button" class="copy needs-script" on:click=copy>
            <span aria-live="polite">
                {move || match copied.get() {
                    None => td_string!(i18n.get(), copy_link),
                    Some(true) => td_string!(i18n.get(), link_copied),
                    Some(false) => td_string!(i18n.get(), copy_link_failed),
                }}
            </span>
        </button>
    }
}
