//! The form for the language.

use leptos::prelude::*;
use leptos::server_fn::ServerFn;

use super::api::SetLanguage;
use super::locale::{Language, own_name, t, tag};
use crate::i18n::Locale;

/// A button for each language. Works as a plain form; with script the page switches at once.
#[component]
pub(super) fn LanguageForm(
    /// The page to return to.
    back: String,
) -> impl IntoView {
    let i18n = Language::current();
    let choose = move |locale: Locale| {
        move |event: leptos::ev::MouseEvent| {
            event.prevent_default();
            i18n.choose(locale);
        }
    };
    view! {
        <form class="languages" action=SetLanguage::PATH method="post" aria-label=t!(i18n, language)>
            <input type="hidden" name="back" value=back/>
            {[Locale::en, Locale::ko]
                .map(|locale| view! {
                    <button
                        type="submit" name="lang" value=tag(locale) lang=tag(locale) on:click=choose(locale)
                        aria-pressed=move || (i18n.get() == locale).to_string()
                    >
                        {own_name(locale)}
                    </button>
                })
                .collect_view()}
        </form>
    }
}
