//! The title of a page.

use leptos::prelude::*;
use leptos_meta::Title;

/// A title that follows what it reads. While the server renders, a title is asked for its text after
/// the page's own signals are out of reach; so the first text is made at once, and only a page that
/// is alive asks again.
#[component]
pub(super) fn LiveTitle(
    /// Makes the text.
    text: impl Fn() -> String + Send + Sync + 'static,
) -> impl IntoView {
    let first = untrack(&text);
    let alive = ArcRwSignal::new(false);
    Effect::new({
        let alive = alive.clone();
        move |_| alive.set(true)
    });
    view! { <Title text=move || if alive.get() { text() } else { first.clone() }/> }
}
