//! The form for one's name, and the one for the language.

use leptos::html::Input;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_i18n::td_string;
use leptos_router::hooks::use_query_map;

use super::api::{SetLanguage, SetNickname};
use super::locale::{Language, own_name, say, tag};
use super::text;
use crate::client::Client;
use crate::client::session::Ask;
use crate::client::state::Naming;
use crate::i18n::Locale;
use crate::protocol::ErrorCode;
use crate::protocol::name::{is_guest_name, tidy_nickname};

/// What the address says about a form that was refused.
pub(super) fn query_refusal() -> Option<ErrorCode> {
    use_query_map().with_untracked(|query| query.get("error")).and_then(|code| ErrorCode::from_wire(&code))
}

/// Asks for a name. Works as a plain form; with script it takes effect at once, everywhere.
#[component]
pub(super) fn NameForm(
    /// What one is called now.
    #[prop(into)]
    nickname: Signal<String>,
    /// The page to come back to.
    back: String,
    /// Whether the hint is shown.
    #[prop(optional)]
    with_hint: bool,
) -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let input = NodeRef::<Input>::new();
    let is_name_code = |code: &ErrorCode| code.as_str().starts_with("NICK_");
    let typed = use_query_map().with_untracked(|query| query.get("nickname"));
    let says = RwSignal::new(match query_refusal().filter(is_name_code) {
        Some(code) => Naming::Refused(code),
        None => Naming::Open,
    });
    // Two forms may stand on a page: each shows the answer to its own question.
    let asked = RwSignal::new(false);
    Effect::new(move |_| {
        let answer = client.state.naming.get();
        if asked.get_untracked() && answer != Naming::Open {
            asked.set(false);
            says.set(answer);
        }
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let nickname = input.get_untracked().map(|input| input.value()).unwrap_or_default();
        match tidy_nickname(&nickname) {
            Ok(nickname) => {
                client.state.naming.set(Naming::Open);
                asked.set(true);
                client.ask(Ask::Rename { nickname });
            }
            Err(code) => says.set(Naming::Refused(code)),
        }
    };
    let failed = move || matches!(says.get(), Naming::Refused(_) | Naming::Unreachable);
    let chosen = nickname.get_untracked();
    let value = typed.unwrap_or(if is_guest_name(&chosen) { String::new() } else { chosen });

    view! {
        <form class="field" action=SetNickname::PATH method="post" on:submit=submit>
            <input type="hidden" name="back" value=back/>
            <label for="nickname">{say!(i18n, your_name)}</label>
            <div class="row">
                <input
                    id="nickname" name="nickname" node_ref=input value=value required maxlength="200" autocomplete="nickname"
                    placeholder=move || nickname.get() aria-describedby="nickname-says"
                    aria-invalid=move || failed().then_some("true")
                />
                <button type="submit">{say!(i18n, save_name)}</button>
            </div>
            <p id="nickname-says" class="says" role="status" class:error=failed>
                {move || match says.get() {
                    Naming::Refused(code) => text::refusal(i18n, code),
                    Naming::Unreachable => td_string!(i18n.get(), error_unreachable),
                    Naming::Done => td_string!(i18n.get(), name_saved),
                    Naming::Open if with_hint => td_string!(i18n.get(), name_hint),
                    Naming::Open => "",
                }}
            </p>
        </form>
    }
}

/// Offers the other languages.
#[component]
pub(super) fn LanguageForm(
    /// The page to come back to.
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
        <form class="languages" action=SetLanguage::PATH method="post" aria-label=say!(i18n, language)>
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
