//! How the connection stands, said calmly: nothing while it works.

use std::time::Duration;

use leptos::either::EitherOf5;
use leptos::prelude::*;
use leptos_i18n::t;

use crate::client::Client;
use crate::client::session::{Ask, Link};
use crate::client::socket::now;
use crate::i18n::*;
use crate::protocol::CloseCode;

/// A line above everything else, while there is something to say.
#[component]
pub(super) fn ConnectionNotice() -> impl IntoView {
    let i18n = use_i18n();
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
        Link::Connecting => EitherOf5::B(view! { <p class="notice late">{t!(i18n, connecting)}</p> }),
        Link::Waiting { until, restarting } => EitherOf5::C({
            let seconds = move || until.saturating_sub(clock.get().max(now())).div_ceil(1_000);
            let text = move || {
                if restarting {
                    t!(i18n, restarting_in, seconds = seconds).into_any()
                } else {
                    t!(i18n, reconnecting_in, seconds = seconds).into_any()
                }
            };
            view! {
                <p class="notice">
                    // Not every second is worth hearing.
                    <span aria-live="off">{text}</span>
                    <button type="button" on:click=reconnect>{t!(i18n, reconnect_now)}</button>
                </p>
            }
        }),
        Link::Offline => EitherOf5::D(view! { <p class="notice">{t!(i18n, offline)}</p> }),
        Link::Refused(code) => EitherOf5::E({
            let outdated = code == CloseCode::UnsupportedVersion.number();
            let text = move || {
                if outdated {
                    t!(i18n, needs_reload).into_any()
                } else if code == CloseCode::Replaced.number() {
                    t!(i18n, replaced).into_any()
                } else {
                    t!(i18n, refused).into_any()
                }
            };
            let action = if outdated {
                view! { <button type="button" on:click=reload>{t!(i18n, reload)}</button> }.into_any()
            } else {
                view! { <button type="button" on:click=reconnect>{t!(i18n, reconnect)}</button> }.into_any()
            };
            view! { <p class="notice"><span>{text}</span>{action}</p> }
        }),
    };
    view! { <div class="connection" role="status">{notice}</div> }
}
