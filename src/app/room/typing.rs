//! Who is writing.

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::Here;
use crate::app::locale::Language;

/// A quiet line, always of one height, so that nothing moves when somebody begins to write.
#[component]
pub(super) fn Typing(here: Here) -> impl IntoView {
    let i18n = Language::current();
    let words = move || {
        here.room.typing.with(|users| match users.as_slice() {
            [] => String::new(),
            [one] => td_string!(i18n.get(), typing_one, name = isolated(&one.nickname)),
            [one, other] => {
                td_string!(i18n.get(), typing_two, name = isolated(&one.nickname), other = isolated(&other.nickname))
            }
            _ => td_string!(i18n.get(), typing_many).to_owned(),
        })
    };
    view! { <p class="typing" aria-live="off">{words}</p> }
}

/// A name inside of a sentence keeps its direction to itself (UAX #9, first strong isolate).
fn isolated(name: &str) -> String {
    format!("\u{2068}{name}\u{2069}")
}
