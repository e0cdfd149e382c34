//! The document around every page, and which page is at which address.

use leptos::nonce::use_nonce;
use leptos::prelude::*;
use leptos_meta::{MetaTags, provide_meta_context};
use leptos_router::components::{Redirect, Route, Router, Routes};
use leptos_router::{SsrMode, StaticSegment, path};

use super::connection::ConnectionNotice;
use super::lobby::Lobby;
use super::locale::{AcceptLanguage, Language, tag};
use super::room::Room;
use crate::client::Client;

/// The document that the server sends.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let lang = tag(use_context::<AcceptLanguage>().unwrap_or_default().locale());
    view! {
        <!DOCTYPE html>
        <html lang=lang>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="theme-color" media="(prefers-color-scheme: light)" content="#f7f6f3"/>
                <meta name="theme-color" media="(prefers-color-scheme: dark)" content="#16181d"/>
                <link rel="icon" href="/favicon.svg" type="image/svg+xml"/>
                <link rel="stylesheet" href="/pkg/noom.css"/>
                <noscript><style nonce=use_nonce()>".needs-script{display:none}.without-script{display:block!important}"</style></noscript>
                <AutoReload options=options.clone()/>
                <HydrationScripts options/>
                <MetaTags/>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

/// All pages.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    Language::provide();
    let client = Client::new();
    provide_context(client);
    Effect::new(move |_| client.start());

    view! {
        <Router>
                <ConnectionNotice/>
                <Routes fallback=|| view! { <Redirect path="/"/> }>
                    <Route path=path!("/") view=Lobby ssr=SsrMode::Async/>
                    <Route path=path!("/r/*room") view=Room ssr=SsrMode::Async/>
                    // Without a name: the page that says what a name is.
                    <Route path=path!("/r") view=Room ssr=SsrMode::Async/>
                    <Route path=StaticSegment("r/") view=Room ssr=SsrMode::Async/>
                </Routes>
        </Router>
    }
}
