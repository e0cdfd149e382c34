//! A notice on a page that was opened under another address than the public one. There, WebSockets are refused.

use leptos::prelude::*;

use super::locale::{Language, t};

/// The origin at which the server accepts connections, if it is configured. In the context of the document.
#[derive(Clone, Debug)]
pub struct PublicOrigin(pub String);

const META_NAME: &str = "noom-origin";

/// The element by which the page learns the public origin.
pub(super) fn public_origin_meta() -> Option<impl IntoView> {
    use_context::<PublicOrigin>().map(|PublicOrigin(origin)| view! { <meta name=META_NAME content=origin/> })
}

/// Links the page at the public origin; empty if it is there already.
#[component]
pub(super) fn WrongAddress() -> impl IntoView {
    let i18n = Language::current();
    let right_url = RwSignal::new(None::<String>);
    // After hydration, because the server does not know the address in the browser.
    Effect::new(move |_| right_url.set(find_right_url()));
    move || {
        right_url.get().map(|url| {
            let href = url.clone();
            view! {
                <div class="connection" role="alert">
                    <p class="notice">
                        <span>{t!(i18n, wrong_address)}</span>
                        <a href=href rel="external">{url}</a>
                    </p>
                </div>
            }
        })
    }
}

/// The URL of this page at the public origin, if that is not where the page is.
fn find_right_url() -> Option<String> {
    let meta = document().query_selector(&format!("meta[name={META_NAME}]")).ok()??;
    let (origin, location) = (meta.get_attribute("content")?, window().location());
    let is_right = location.origin().ok()? == origin;
    (!is_right).then(|| Some(format!("{origin}{}{}", location.pathname().ok()?, location.search().ok()?)))?
}
