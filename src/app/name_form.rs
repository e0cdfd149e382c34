//! The form for the user's name.

use leptos::html::Input;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_i18n::td_string;

use super::api::{FormKind, SetNickname};
use super::cookie_notice::CookieNotice;
use super::locale::{Language, t};
use super::refusal;
use crate::client::Client;
use crate::client::session::Intent;
use crate::client::state::RenameStatus;
use crate::protocol::name::{is_guest_name, normalize_nickname};
use crate::protocol::{ErrorCode, Refusal};

/// Asks for a name. Works as a plain form; with script the name changes at once, in every room.
#[component]
pub(super) fn NameForm(
    /// The current name.
    #[prop(into)]
    nickname: Signal<String>,
    /// The page to return to.
    back: String,
    /// Hides the label visually, and shows no hint.
    #[prop(optional)]
    compact: bool,
) -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let input = NodeRef::<Input>::new();
    let (refused, typed) = refusal::of_form(FormKind::Nickname);
    let status = RwSignal::new(refused.map_or(RenameStatus::Idle, RenameStatus::Refused));
    // A page may hold two of these forms: each shows only the answer to its own request.
    let requested = RwSignal::new(false);
    Effect::new(move |_| {
        let answer = client.state.rename_status.get();
        if requested.get_untracked() && answer != RenameStatus::Idle {
            requested.set(false);
            status.set(answer);
        }
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let nickname = input.get_untracked().map(|input| input.value()).unwrap_or_default();
        match normalize_nickname(&nickname) {
            Ok(nickname) => {
                client.state.rename_status.set(RenameStatus::Idle);
                requested.set(true);
                client.dispatch(Intent::Rename { nickname });
            }
            Err(code) => status.set(RenameStatus::Refused(code)),
        }
    };
    let failed = move || !matches!(status.get(), RenameStatus::Idle | RenameStatus::Done);
    let current = nickname.get_untracked();
    let value = typed.unwrap_or(if is_guest_name(&current) { String::new() } else { current });

    view! {
        <form class="field" action=SetNickname::PATH method="post" on:submit=submit>
            <input type="hidden" name="back" value=back/>
            <label for="nickname" class:visually-hidden=compact>{t!(i18n, your_name)}</label>
            <div class="row">
                <input
                    id="nickname" name="nickname" node_ref=input value=value required maxlength="200" autocomplete="nickname"
                    placeholder=move || nickname.get() aria-describedby="nickname-hint"
                    aria-invalid=move || failed().then_some("true")
                />
                <button type="submit">{t!(i18n, save)}</button>
            </div>
            <p id="nickname-hint" class="hint" role="status" translate="no" class:error=failed>
                {move || match status.get() {
                    RenameStatus::Refused(code) => refusal::text(i18n, code).to_owned(),
                    RenameStatus::Limited { retry_after_ms } => {
                        let limited = Refusal { retry_after_ms: Some(retry_after_ms), ..ErrorCode::RateLimited.into() };
                        refusal::explanation(i18n, &limited)
                    }
                    RenameStatus::Unreachable => td_string!(i18n.get(), error_unreachable).to_owned(),
                    RenameStatus::Done => td_string!(i18n.get(), saved).to_owned(),
                    RenameStatus::Idle if !compact => td_string!(i18n.get(), name_hint).to_owned(),
                    RenameStatus::Idle => String::new(),
                }}
            </p>
            <CookieNotice/>
        </form>
    }
}
