//! The form for one's name, and the one for the language.

use leptos::html::Input;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_i18n::{t, t_string};
use leptos_router::hooks::use_query_map;

use super::api::{SetLanguage, SetNickname};
use super::locale::{COOKIE, own_name, tag};
use super::text;
use crate::client::Client;
use crate::client::session::Ask;
use crate::i18n::*;
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
    let i18n = use_i18n();
    let client = expect_context::<Client>();
    let input = NodeRef::<Input>::new();
    let is_name_code = |code: &ErrorCode| code.as_str().starts_with("NICK_");
    let refusal = RwSignal::new(query_refusal().filter(is_name_code));
    let typed = use_query_map().with_untracked(|query| query.get("nickname"));
    let asked = RwSignal::new(false);
    let saved = RwSignal::new(false);

    Effect::new(move |_| {
        let (answer, me) = (client.state.name_refusal.get(), client.state.me.get());
        if asked.get_untracked() && (answer.is_some() || me.is_some()) {
            asked.set(false);
            refusal.set(answer);
            saved.set(answer.is_none());
        }
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let nickname = input.get_untracked().map(|input| input.value()).unwrap_or_default();
        saved.set(false);
        match tidy_nickname(&nickname) {
            Ok(nickname) => {
                client.state.name_refusal.set(None);
                asked.set(true);
                client.ask(Ask::Rename { nickname });
            }
            Err(code) => refusal.set(Some(code)),
        }
    };
    let chosen = nickname.get_untracked();
    let value = typed.unwrap_or(if is_guest_name(&chosen) { String::new() } else { chosen });

    view! {
        <form class="field" action=SetNickname::PATH method="post" on:submit=submit>
            <input type="hidden" name="back" value=back/>
            <label for="nickname">{t!(i18n, your_name)}</label>
            <div class="row">
                <input
                    id="nickname" name="nickname" node_ref=input value=value required maxlength="200" autocomplete="nickname"
                    placeholder=move || nickname.get() aria-describedby="nickname-says"
                    aria-invalid=move || refusal.get().is_some().then_some("true")
                />
                <button type="submit">{t!(i18n, save_name)}</button>
            </div>
            <p id="nickname-says" class="says" role="status" class:error=move || refusal.get().is_some()>
                {move || match refusal.get() {
                    Some(code) => text::refusal(i18n, code),
                    None if saved.get() => t_string!(i18n, name_saved),
                    None if with_hint => t_string!(i18n, name_hint),
                    None => "",
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
    let i18n = use_i18n();
    let choose = move |locale: Locale| {
        move |event: leptos::ev::MouseEvent| {
            event.prevent_default();
            let cookie = format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax", tag(locale));
            // Without cookies the choice lasts as long as the page.
            let _ = js_sys::Reflect::set(&document(), &"cookie".into(), &cookie.into());
            i18n.set_locale(locale);
        }
    };
    view! {
        <form class="languages" action=SetLanguage::PATH method="post" aria-label=move || t_string!(i18n, language)>
            <input type="hidden" name="back" value=back/>
            {[Locale::en, Locale::ko]
                .map(|locale| view! {
                    <button
                        type="submit" name="lang" value=tag(locale) lang=tag(locale) on:click=choose(locale)
                        aria-pressed=move || (i18n.get_locale() == locale).to_string()
                    >
                        {own_name(locale)}
                    </button>
                })
                .collect_view()}
        </form>
    }
}
