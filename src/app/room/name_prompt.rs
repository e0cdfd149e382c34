//! The request for a name, above the composer.

use leptos::prelude::*;
use leptos_i18n::td_string;

use crate::app::locale::Language;
use crate::app::name_form::NameForm;
use crate::app::refusal;
use crate::app::room_context::RoomContext;
use crate::protocol::name::is_guest_name;

/// Shown to guests, and to users whom the room refuses.
#[component]
pub(super) fn NamePrompt(room: RoomContext, back: String) -> impl IntoView {
    let i18n = Language::current();
    let nickname = Signal::derive(move || room.me.get().nickname);
    let is_guest = Memo::new(move |_| is_guest_name(&nickname.get()));
    let refused = move || room.state.refusal.get();
    let is_shown = Memo::new(move |_| is_guest.get() || refused().is_some());
    view! {
        <Show when=move || is_shown.get()>
            <section class="name-prompt">
                <p translate="no">
                    {move || match refused() {
                        Some(refused) => refusal::explanation(i18n, &refused),
                        None => td_string!(i18n.get(), guest_prompt).to_owned(),
                    }}
                </p>
                {
                    let back = back.clone();
                    let may_help = move || refused().is_none_or(|refused| refusal::is_about_nickname(refused.code));
                    view! { <Show when=may_help><NameForm nickname back=back.clone() compact=true/></Show> }
                }
            </section>
        </Show>
    }
}
