//! Typing notifications.

use leptos::prelude::*;
use leptos_i18n::td_string;

use crate::app::locale::Language;
use crate::app::room_context::RoomContext;

/// The users who are typing. The line keeps its height while it is empty, so that nothing shifts.
#[component]
pub(super) fn Typing(room: RoomContext) -> impl IntoView {
    let i18n = Language::current();
    let text = move || {
        room.state.typing.with(|users| match users.as_slice() {
            [] => String::new(),
            [user] => td_string!(i18n.get(), typing_one, name = isolated(&user.nickname)),
            [user, other] => {
                td_string!(i18n.get(), typing_two, name = isolated(&user.nickname), other = isolated(&other.nickname))
            }
            _ => td_string!(i18n.get(), typing_many).to_owned(),
        })
    };
    view! { <p class="typing" aria-live="off" translate="no">{text}</p> }
}

/// Isolates a name from the text direction of the sentence around it (UAX #9, first strong isolate).
fn isolated(name: &str) -> String {
    format!("\u{2068}{name}\u{2069}")
}
