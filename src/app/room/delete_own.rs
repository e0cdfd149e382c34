//! The form that deletes all messages of the user in the room.

use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_i18n::td_string;

use crate::app::api::{DeleteOwn, FormKind};
use crate::app::locale::{Language, t};
use crate::app::refusal;
use crate::app::room_context::RoomContext;

/// The form, behind a small heading, so that a second click decides. Works as a plain form; with script the page stays.
#[component]
pub(super) fn DeleteOwnForm(room: RoomContext) -> impl IntoView {
    let i18n = Language::current();
    let RoomContext { client, state, .. } = room;
    let (refused, _) = refusal::of_form(FormKind::DeleteOwn);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        client.delete_own(state);
    };
    let status = move || match state.own_deletion.get() {
        None => refused.map(|code| refusal::text(i18n, code).to_owned()).unwrap_or_default(),
        Some(Ok(())) => td_string!(i18n.get(), delete_own_begun).to_owned(),
        Some(Err(None)) => td_string!(i18n.get(), error_unreachable).to_owned(),
        Some(Err(Some(refusal))) => refusal::explanation(i18n, &refusal),
    };
    view! {
        <details class="delete-own" open=refused.is_some()>
            <summary>{t!(i18n, delete_own)}</summary>
            <form action=DeleteOwn::PATH method="post" on:submit=submit>
                <input type="hidden" name="room" value=state.name.get_value()/>
                <p>{t!(i18n, delete_own_hint)}</p>
                <button type="submit" class="danger">{t!(i18n, delete_own_sure)}</button>
                <p role="status">{status}</p>
            </form>
        </details>
    }
}
