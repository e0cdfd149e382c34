//! The document around every page, and which page is at which address.

use leptos::prelude::*;
use leptos_meta::{MetaTags, provide_meta_context};
use leptos_router::components::{Redirect, Route, Router, Routes};
use leptos_router::{SsrMode, path};

use super::connection::ConnectionNotice;
use super::lobby::Lobby;
use super::locale::AcceptLanguage;
use super::room::Room;
use crate::client::Client;
use crate::i18n::I18nContextProvider;

/// The document that the server sends.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    view! {
        <!DOCTYPE html>
        <html>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="theme-color" media="(prefers-color-scheme: light)" content="#f7f6f3"/>
                <meta name="theme-color" media="(prefers-color-scheme: dark)" content="#16181d"/>
                <link rel="icon" href="/favicon.svg" type="image/svg+xml"/>
                <link rel="stylesheet" href="/pkg/noom.css"/>
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
    let client = Client::new();
    provide_context(client);
    Effect::new(move |_| client.start());

    view! {
        <I18nContextProvider ssr_lang_header_getter=AcceptLanguage::options()>
            <Router>
                <ConnectionNotice/>
                <Routes fallback=|| view! { <Redirect path="/"/> }>
                    <Route path=path!("/") view=Lobby ssr=SsrMode::Async/>
                    <Route path=path!("/r/*room") view=Room ssr=SsrMode::Async/>
                </Routes>
            </Router>
        </I18nContextProvider>
    }
}
