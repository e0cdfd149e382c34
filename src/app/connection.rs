//! The state of the connection, shown while it needs the user's attention.

use std::time::Duration;

use leptos::either::EitherOf5;
use leptos::ev::MouseEvent;
use leptos::prelude::*;
use leptos_i18n::td;

use super::erase::Erase;
use super::locale::{Language, t};
use super::reload::{reload_when_outdated, reload_when_unsupported};
use crate::client::Client;
use crate::client::session::{ConnectionState, Intent, WaitReason};
use crate::client::timer::now;
use crate::protocol::CloseCode;

/// Interval at which the countdown to the next attempt is updated.
const COUNTDOWN_TICK: Duration = Duration::from_millis(500);

/// A notice above the page; empty while the connection works.
#[component]
pub(super) fn ConnectionNotice() -> impl IntoView {
    let i18n = Language::current();
    let client = expect_context::<Client>();
    let connection = client.state.connection;
    let newer = move || client.state.other_build.with(Option::is_some);
    let outdated = move || client.state.is_outdated.get();
    reload_when_outdated(client);
    reload_when_unsupported(client);
    let clock = countdown_clock(connection);
    let reload_button = move || button(t!(i18n, reload), |_| drop(window().location().reload()));
    let reconnect = move |_| client.dispatch(Intent::ReconnectNow);

    let notice = move || match connection.get() {
        ConnectionState::Idle => EitherOf5::A(()),
        ConnectionState::Connecting | ConnectionState::Online | ConnectionState::Waiting { .. } if outdated() => {
            EitherOf5::B(view! { <p class="notice"><span>{t!(i18n, page_outdated)}</span>{reload_button()}</p> })
        }
        ConnectionState::Online if newer() => {
            EitherOf5::B(view! { <p class="notice"><span>{t!(i18n, new_version)}</span>{reload_button()}</p> })
        }
        ConnectionState::Online => EitherOf5::A(()),
        // The style delays this notice, because most connections are established in a moment.
        ConnectionState::Connecting => EitherOf5::C(view! {
            <p class="notice delayed"><span>{t!(i18n, connecting)}</span>{button(t!(i18n, retry_now), reconnect)}</p>
        }),
        ConnectionState::Waiting { until, reason } => EitherOf5::D({
            let seconds = move || until.saturating_sub(clock.get().max(now())).div_ceil(1_000);
            let text = move || match reason {
                WaitReason::Lost => td!(i18n.get(), reconnecting_in, seconds = seconds).erase(),
                WaitReason::Restart => td!(i18n.get(), restarting_in, seconds = seconds).erase(),
                WaitReason::Offline => td!(i18n.get(), offline, seconds = seconds).erase(),
            };
            view! {
                <p class="notice">
                    // Screen readers must not announce every second.
                    <span aria-live="off">{text}</span>
                    {button(t!(i18n, retry_now), reconnect)}
                </p>
            }
        }),
        ConnectionState::Refused(code) => EitherOf5::E({
            let outdated = [CloseCode::UnsupportedVersion, CloseCode::BadFrames];
            let is_outdated = outdated.iter().any(|outdated| outdated.number() == code);
            let is_paused = code == CloseCode::Replaced.number();
            let text = if is_outdated {
                t!(i18n, page_outdated)
            } else if is_paused {
                t!(i18n, page_paused)
            } else {
                t!(i18n, connection_closed)
            };
            // For the code of a newer server, either may help.
            let reload = (!is_paused).then(reload_button);
            let reconnect = (!is_outdated).then(|| button(t!(i18n, reconnect), reconnect));
            view! { <p class="notice"><span>{text}</span>{reconnect}{reload}</p> }
        }),
    };
    // For tests: a page that works shows nothing of its connection.
    let is_online = move || (connection.get() == ConnectionState::Online).then_some("");
    view! { <div class="connection" role="status" translate="no" data-online=is_online>{notice}</div> }
}

fn button(
    text: impl Fn() -> &'static str + Copy + Send + Sync + 'static,
    act: impl Fn(MouseEvent) + 'static,
) -> impl IntoView {
    view! { <button type="button" on:click=act>{text}</button> }
}

/// The current time, updated while the page waits for the next attempt.
fn countdown_clock(connection: RwSignal<ConnectionState>) -> RwSignal<u64> {
    let clock = RwSignal::new(0);
    Effect::new(move |_| {
        let tick = set_interval_with_handle(
            move || {
                if matches!(connection.get_untracked(), ConnectionState::Waiting { .. }) {
                    clock.set(now());
                }
            },
            COUNTDOWN_TICK,
        );
        on_cleanup(move || tick.iter().for_each(IntervalHandle::clear));
    });
    clock
}
