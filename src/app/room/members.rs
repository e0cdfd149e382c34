//! Who is in the room: beside the talk where there is space, behind a button where there is not.

use leptos::prelude::*;

use super::{Here, named};
use crate::app::lobby::people;
use crate::app::locale::{Language, say};
use crate::app::name_form::{LanguageForm, NameForm};

/// The list, with the forms for one's name and language below.
#[component]
pub(super) fn Members(here: Here, back: String) -> impl IntoView {
    let i18n = Language::current();
    let members = here.room.members;
    view! {
        <h2>{say!(i18n, who_is_here)}</h2>
        <Show when=move || members.with(Vec::is_empty)>
            <p class="empty">{say!(i18n, nobody_here)}</p>
        </Show>
        <ul class="members">
            <For each=move || members.get() key=|user| (user.id, user.nickname.clone()) let:user>
                <li>{named(here, &user)}</li>
            </For>
        </ul>
        <LanguageForm back/>
    }
}

/// The same behind a button, for narrow screens.
#[component]
pub(super) fn MembersMenu(here: Here, back: String) -> impl IntoView {
    let i18n = Language::current();
    let count = move || here.room.members.with(Vec::len) as u64;
    view! {
        <details class="menu">
            <summary>{move || people(i18n, count())}</summary>
            <div class="panel"><Members here back/></div>
        </details>
    }
}

/// Asks a guest for a name, until there is one.
#[component]
pub(super) fn NameYourself(here: Here, back: String) -> impl IntoView {
    let i18n = Language::current();
    let nickname = Signal::derive(move || here.me.get().nickname);
    let is_guest = Memo::new(move |_| crate::protocol::name::is_guest_name(&nickname.get()));
    let blocked = move || here.room.refusal.get();
    let wanted = Memo::new(move |_| is_guest.get() || blocked().is_some());
    view! {
        <Show when=move || wanted.get()>
            <section class="name-yourself">
                <p>
                    {move || match blocked() {
                        Some(code) => crate::app::text::refusal(i18n, code),
                        None => leptos_i18n::td_string!(i18n.get(), name_yourself),
                    }}
                </p>
                {
                    let back = back.clone();
                    let may_help = move || blocked().is_none_or(|code| code.as_str().starts_with("NICK_"));
                    view! { <Show when=may_help><NameForm nickname back=back.clone()/></Show> }
                }
            </section>
        </Show>
    }
}
