//! Parts of the page whose code is fetched when they are first shown.

use std::future::Future;

use super::erase::Erase;
use super::locale::{Language, t};
use leptos::prelude::*;
use leptos::wasm_split::SplitLoaderError;

/// Shows a part of the WASM program. `load` is its split point, and `waiting` is shown until its code is there. If that
/// cannot be fetched, `failed` is shown, which can try again by changing its signal.
pub(super) fn lazy_part<Loading>(
    load: impl Fn() -> Loading + Send + Sync + 'static,
    waiting: impl Fn() -> AnyView + Send + Sync + 'static,
    failed: impl Fn(RwSignal<u32>) -> AnyView + Clone + Send + Sync + 'static,
) -> AnyView
where
    Loading: Future<Output = Result<AnyView, SplitLoaderError>> + Send + 'static,
{
    let attempt = RwSignal::new(0);
    let part = move || {
        attempt.track();
        let (loading, failed) = (load(), failed.clone());
        Suspend::new(async move { loading.await.unwrap_or_else(|_| failed(attempt)) })
    };
    view! { <Suspense fallback=waiting>{part}</Suspense> }.erase()
}

/// Says that a part could not be fetched, with a button that tries again.
pub(super) fn retry(i18n: Language, attempt: RwSignal<u32>) -> AnyView {
    view! {
        <div role="alert">
            <p>{t!(i18n, error_unreachable)}</p>
            <button type="button" on:click=move |_| attempt.update(|n| *n += 1)>{t!(i18n, try_again)}</button>
        </div>
    }
    .erase()
}
