//! The title of a page.

use leptos::prelude::*;
use leptos_meta::Title;

/// A title that follows the signals its text reads. On the server leptos renders the title after the page's signals
/// were disposed, so the first text is computed at once. Only a hydrated page computes it again.
#[component]
pub(super) fn LiveTitle(text: impl Fn() -> String + Send + Sync + 'static) -> impl IntoView {
    let first = untrack(&text);
    let hydrated = ArcRwSignal::new(false);
    Effect::new({
        let hydrated = hydrated.clone();
        move |_| hydrated.set(true)
    });
    view! { <Title text=move || if hydrated.get() { text() } else { first.clone() }/> }
}
