//! How the connection stands, said calmly: nothing while it works.

use std::time::Duration;

use leptos::either::EitherOf5;
use leptos::prelude::*;
use leptos_i18n::td;

use super::locale::Language;
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
    let reconnect = move |_| client.ask(Ask::ReconnectNow);
    let reload = move |_| drop(window().location().reload());

    let notice = move || match link.get() {
        Link::Idle | Link::Online => EitherOf5::A(()),
        // A connection that is there in a moment needs no words: the style shows them late.
        Link::Connecting => EitherOf5::B(view! { <p class="notice late">{td!(i18n.get(), connecting)}</p> }),
        Link::Waiting { until, restarting } => EitherOf5::C({
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
                    <button type="button" on:click=reconnect>{td!(i18n.get(), reconnect_now)}</button>
                </p>
            }
        }),
        Link::Offline => EitherOf5::D(view! { <p class="notice">{td!(i18n.get(), offline)}</p> }),
        Link::Refused(code) => EitherOf5::E({
            let outdated = code == CloseCode::UnsupportedVersion.number();
            let text = move || {
                if outdated {
                    td!(i18n.get(), needs_reload).into_any()
                } else if code == CloseCode::Replaced.number() {
                    td!(i18n.get(), replaced).into_any()
                } else {
                    td!(i18n.get(), refused).into_any()
                }
            };
            let action = if outdated {
                view! { <button type="button" on:click=reload>{td!(i18n.get(), reload)}</button> }.into_any()
            } else {
                view! { <button type="button" on:click=reconnect>{td!(i18n.get(), reconnect)}</button> }.into_any()
            };
            view! { <p class="notice"><span>{text}</span>{action}</p> }
        }),
    };
    view! { <div class="connection" role="status">{notice}</div> }
}
