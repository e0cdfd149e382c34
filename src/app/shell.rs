//! The HTML document around every page, and the routes.

use leptos::nonce::use_nonce;
use leptos::prelude::*;
use leptos_meta::{MetaTags, provide_meta_context};
use leptos_router::components::{Redirect, Route, Router, Routes};
use leptos_router::{SsrMode, StaticSegment, path};

use super::address::{WrongAddress, public_origin_meta};
use super::connection::ConnectionNotice;
use super::focus;
use super::lobby::Lobby;
use super::locale::{AcceptLanguage, Language, tag};
use super::notifications::notify_of_rooms;
use super::offline_copy::OfflineCopies;
use super::room::Room;
use super::switcher::{Switcher, SwitcherDialog};
use crate::client::Client;

/// The attribute of `body` that has the number of nodes in it.
pub const NODE_COUNT: &str = "data-nodes";

/// The addresses of the site's files.
#[derive(Clone, Debug, Default)]
pub struct SiteFiles {
    /// The prefix of every path.
    pub base: String,
    /// The paths of all script modules.
    pub scripts: Vec<String>,
}

/// The document that the server renders.
pub fn shell(options: LeptosOptions, files: SiteFiles) -> impl IntoView {
    let lang = tag(use_context::<AcceptLanguage>().unwrap_or_default().locale());
    let SiteFiles { base, scripts } = files;
    // HydrationScripts preloads without a nonce, which the content security policy blocks.
    let preloads = scripts
        .into_iter()
        .map(|script| view! { <link rel="modulepreload" href=format!("{base}/{script}") nonce=use_nonce()/> })
        .collect_view();
    view! {
        <!DOCTYPE html>
        <html lang=lang>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"/>
                {public_origin_meta()}
                <meta name="color-scheme" content="light dark"/>
                <meta name="theme-color" media="(prefers-color-scheme: light)" content="#f7f6f3"/>
                <meta name="theme-color" media="(prefers-color-scheme: dark)" content="#16181d"/>
                <link rel="icon" href=format!("{base}/favicon.svg") type="image/svg+xml"/>
                <link rel="apple-touch-icon" href=format!("{base}/icon-touch-180.png")/>
                <link rel="manifest" href="/manifest.webmanifest"/>
                <link rel="stylesheet" href=format!("{base}/pkg/noom.css")/>
                <noscript><style nonce=use_nonce()>".needs-script{display:none}.without-script{display:block!important}"</style></noscript>
                {preloads}
                <AutoReload options=options.clone()/>
                <HydrationScripts options root=base/>
                <MetaTags/>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

/// The app: provides the context that all pages use, and the routes.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    Language::provide();
    let client = Client::new();
    provide_context(client);
    provide_context(Switcher::new());
    let copies = OfflineCopies::new(client);
    provide_context(copies);
    copies.start();
    notify_of_rooms(client, Language::current());
    Effect::new(move |_| client.start());

    view! {
        <Router>
            <FocusKeeper/>
            <WrongAddress/>
            <ConnectionNotice/>
            <SwitcherDialog/>
            <Routes fallback=|| view! { <Redirect path="/"/> }>
                <Route path=path!("/") view=Lobby ssr=SsrMode::Async/>
                <Route path=path!("/r/*room") view=Room ssr=SsrMode::Async/>
                // Without a name the room page explains which names are valid.
                <Route path=path!("/r") view=Room ssr=SsrMode::Async/>
                <Route path=StaticSegment("r/") view=Room ssr=SsrMode::Async/>
            </Routes>
        </Router>
    }
}

/// Keeps the keyboard focus on the page. Renders nothing.
#[component]
fn FocusKeeper() -> impl IntoView {
    focus::keep();
}
