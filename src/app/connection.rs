//! How the connection stands, said calmly: nothing while it works.

use std::time::Duration;

use leptos::either::{Either, EitherOf6};
use leptos::prelude::*;
use leptos_i18n::td;
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, HtmlTextAreaElement};

use super::locale::{Language, say};
use crate::client::Client;
use crate::client::session::{Ask, Link};
use crate::client::socket::now;
use crate::protocol::CloseCode;

/// A line above everything else, while there is something to say.
#[component]
pub(super) fn ConnectionNotice() -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let link = client.state.link;
    let clock = RwSignal::new(0);
    Effect::new(move |_| {
        let tick = set_interval_with_handle(
            move || {
                if matches!(link.get_untracked(), Link::Waiting { .. }) {
                    clock.set(now());
                }
            },
            Duration::from_millis(500),
        );
        on_cleanup(move || tick.iter().for_each(IntervalHandle::clear));
    });
    let newer = move || client.state.other_build.with(Option::is_some);
    reload_unseen(client);
    let reconnect = move |_| client.ask(Ask::ReconnectNow);
    let reload = move |_| drop(window().location().reload());

    let notice = move || match link.get() {
        Link::Online if newer() => EitherOf6::F(view! {
            <p class="notice">
                <span>{say!(i18n, new_build)}</span>
                <button type="button" on:click=reload>{say!(i18n, reload)}</button>
            </p>
        }),
        Link::Idle | Link::Online => EitherOf6::A(()),
        // A connection that is there in a moment needs no words: the style shows them late.
        Link::Connecting => EitherOf6::B(view! { <p class="notice late">{say!(i18n, connecting)}</p> }),
        Link::Waiting { until, restarting } => EitherOf6::C({
            let seconds = move || until.saturating_sub(clock.get().max(now())).div_ceil(1_000);
            let text = move || {
                if restarting {
                    td!(i18n.get(), restarting_in, seconds = seconds).into_any()
                } else {
                    td!(i18n.get(), reconnecting_in, seconds = seconds).into_any()
                }
            };
            view! {
                <p class="notice">
                    // Not every second is worth hearing.
                    <span aria-live="off">{text}</span>
                    <button type="button" on:click=reconnect>{say!(i18n, reconnect_now)}</button>
                </p>
            }
        }),
        Link::Offline => EitherOf6::D(view! { <p class="notice">{say!(i18n, offline)}</p> }),
        Link::Refused(code) => EitherOf6::E({
            let outdated = code == CloseCode::UnsupportedVersion.number();
            let text = if outdated {
                say!(i18n, needs_reload)
            } else if code == CloseCode::Replaced.number() {
                say!(i18n, replaced)
            } else {
                say!(i18n, refused)
            };
            let action = if outdated {
                Either::Left(view! { <button type="button" on:click=reload>{say!(i18n, reload)}</button> })
            } else {
                Either::Right(view! { <button type="button" on:click=reconnect>{say!(i18n, reconnect)}</button> })
            };
            view! { <p class="notice"><span>{text}</span>{action}</p> }
        }),
    };
    view! { <div class="connection" role="status">{notice}</div> }
}

/// Where the build is noted for which a page reloaded by itself, so that it does so once.
const RELOADED_FOR: &str = "noom.reloaded-for";

/// Whether a field holds anything but what the server put there.
fn is_written_in() -> bool {
    let Ok(fields) = document().query_selector_all("input, textarea") else { return false };
    (0..fields.length()).filter_map(|index| fields.get(index)).any(|field| {
        let text = field.dyn_ref::<HtmlTextAreaElement>().map(|text| Ok(text.value()) != text.default_value());
        let line = || field.dyn_ref::<HtmlInputElement>().map(|line| line.value() != line.default_value());
        text.or_else(line).unwrap_or(false)
    })
}

/// Reloads a page that is of another build than the server while nobody looks at it, writes in it or
/// talks in it.
fn reload_unseen(client: Client) {
    let attempt = move || {
        let Some(build) = client.state.other_build.get_untracked() else { return };
        let in_use = !document().hidden() || is_written_in() || client.state.calls.has_meeting();
        let Ok(Some(storage)) = window().session_storage() else { return };
        let was_tried = storage.get_item(RELOADED_FOR).ok().flatten().is_some_and(|tried| tried == build);
        if !in_use && !was_tried && storage.set_item(RELOADED_FOR, &build).is_ok() {
            let _ = window().location().reload();
        }
    };
    Effect::new(move |_| {
        client.state.other_build.track();
        attempt();
    });
    Effect::new(move |_| {
        let handle = window_event_listener(leptos::ev::visibilitychange, move |_| attempt());
        on_cleanup(move || handle.remove());
    });
}
