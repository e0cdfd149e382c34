//! The members of the room: a column on wide screens, a menu on narrow ones.

use leptos::either::Either;
use leptos::prelude::*;
use leptos_i18n::td;

use super::copy_link::CopyLink;
use super::delete_own::DeleteOwnForm;
use super::export::Export;
use super::search::{PinsLink, Search};
use crate::app::language_form::LanguageForm;
use crate::app::locale::{Language, t};
use crate::app::room_context::RoomContext;
use crate::app::user::{user_count, user_name};
use crate::client::state::MoreMembers;

/// The list of members, with the links to pinned messages and exports, the form that deletes own messages and the
/// language form below.
#[component]
pub(super) fn Members(room: RoomContext, search: Search, back: String) -> impl IntoView {
    let i18n = Language::current();
    let members = room.state.members;
    view! {
        <h2>{t!(i18n, members)}</h2>
        <Show when=move || members.with(Vec::is_empty)>
            <p class="empty">{t!(i18n, no_members)}</p>
        </Show>
        <ul class="members">
            <For each=move || members.get() key=|user| (user.id, user.nickname.clone()) let:user>
                <li>{user_name(room.me, &user)}</li>
            </For>
        </ul>
        <More room/>
        <PinsLink search/>
        <Export page=back.clone()/>
        <DeleteOwnForm room/>
        <LanguageForm back/>
    }
}

/// The number of members that are not in the list, and a button that loads them.
#[component]
fn More(room: RoomContext) -> impl IntoView {
    let i18n = Language::current();
    let RoomContext { client, state, .. } = room;
    let hidden = Memo::new(move |_| state.count.get().saturating_sub(state.members.with(Vec::len) as u64));
    let is_out_of_date =
        Memo::new(move |_| matches!(state.more_members.get(), MoreMembers::After(0) | MoreMembers::Loading(0)));
    let is_loading = move || matches!(state.more_members.get(), MoreMembers::Loading(_));
    view! {
        <Show when=move || state.more_members.get() != MoreMembers::None>
            <div class="more-members">
                <Show when=move || hidden.get() != 0>
                    <p>{move || td!(i18n.get(), members_more, count = hidden.get())}</p>
                </Show>
                <button
                    type="button" class="needs-script" aria-disabled=move || is_loading().to_string()
                    on:click=move |_| client.load_members(state)
                >
                    {move || if is_out_of_date.get() {
                        Either::Left(t!(i18n, refresh_members))
                    } else {
                        Either::Right(t!(i18n, show_more_members))
                    }}
                </button>
            </div>
        </Show>
    }
}

/// [`Members`] behind a button.
#[component]
pub(super) fn MembersMenu(room: RoomContext, search: Search, back: String) -> impl IntoView {
    let i18n = Language::current();
    let count = room.state.count;
    view! {
        <details class="menu">
            <summary>{move || user_count(i18n, count.get())}</summary>
            <div class="panel"><CopyLink/><Members room search back/></div>
        </details>
    }
}
