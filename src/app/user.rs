//! Users as the pages show them: avatar, name and number.

use leptos::either::Either;
use leptos::prelude::*;
use leptos_i18n::td;
use unicode_segmentation::UnicodeSegmentation;

use super::locale::{Language, t};
use crate::protocol::User;

/// A colored disc with the first character of the nickname. Decorative: it adds nothing to the name beside it.
pub(super) fn avatar(user: &User) -> impl IntoView + use<> {
    let initial = user.nickname.graphemes(true).next().unwrap_or_default().to_uppercase();
    let class = format!("avatar hue-{}", user.id.0 % 8);
    view! { <span class=class aria-hidden="true">{initial}</span> }
}

/// An avatar and a nickname, marked "you" if the user is `me`.
pub(super) fn user_name(me: Signal<User>, user: &User) -> impl IntoView + use<> {
    let i18n = Language::current();
    let (id, nickname) = (user.id, user.nickname.clone());
    let is_me = move || me.with(|me| me.id == id);
    view! {
        {avatar(user)}
        <bdi>{nickname}</bdi>
        {move || if is_me() { Either::Left(view! { <span class="you">" " {t!(i18n, you)}</span> }) } else { Either::Right(()) }}
    }
}

/// A number of users: `3 people`.
pub(super) fn user_count(i18n: Language, count: u64) -> impl IntoView {
    if count == 1 { Either::Left(t!(i18n, people_one)) } else { Either::Right(td!(i18n.get(), people_many, count)) }
}
