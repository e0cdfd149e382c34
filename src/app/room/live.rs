//! Announcements of new messages by screen readers. The log is a live region (WAI-ARIA, 6.6.3), except while it would
//! flood its reader: history that is loaded is not read out, and neither are more messages than can be listened to.

use std::collections::VecDeque;
use std::time::Duration;

use leptos::prelude::*;
use leptos_i18n::td_string;

use crate::app::locale::Language;
use crate::app::room_context::RoomContext;
use crate::client::timer::now;

/// More messages than this in [`FLOOD_PERIOD_MS`] are a flood.
const FLOOD_MESSAGES: usize = 6;
/// The period over which messages are counted, in milliseconds.
const FLOOD_PERIOD_MS: u64 = 10_000;
/// Time after which the rows of loaded history are on the page, and browsers have reported them.
const SETTLED: Duration = Duration::from_secs(1);

/// The state of the live region. Copies are handles to the same one.
#[derive(Clone, Copy)]
pub(super) struct Live {
    loads_history: RwSignal<bool>,
    is_flooded: RwSignal<bool>,
}

impl Live {
    pub(super) fn new(room: RoomContext) -> Self {
        let this = Self { loads_history: RwSignal::new(false), is_flooded: RwSignal::new(false) };
        Effect::new(move |_| {
            if room.state.loads_history() {
                this.loads_history.set(true);
            } else if this.loads_history.get_untracked() {
                let timer = set_timeout_with_handle(move || this.loads_history.set(false), SETTLED);
                on_cleanup(move || timer.iter().for_each(TimeoutHandle::clear));
            }
        });
        let times = StoredValue::new(VecDeque::new());
        let count = move || {
            times.try_update_value(|times: &mut VecDeque<u64>| {
                let recent = now().saturating_sub(FLOOD_PERIOD_MS);
                while times.pop_front_if(|at| *at < recent).is_some() {}
                times.len()
            })
        };
        Effect::new(move |before: Option<()>| {
            room.state.arrived.track();
            if before.is_some() {
                times.update_value(|times| times.push_back(now()));
                if count().is_some_and(|count| count > FLOOD_MESSAGES) && !this.is_flooded.get_untracked() {
                    this.is_flooded.set(true);
                }
            }
        });
        // The flood ends when its messages are as old as the period.
        Effect::new(move |_| {
            if this.is_flooded.get() {
                let check = move || {
                    if count().is_some_and(|count| count <= FLOOD_MESSAGES) {
                        this.is_flooded.try_set(false);
                    }
                };
                let timer = set_interval_with_handle(check, SETTLED);
                on_cleanup(move || timer.iter().for_each(IntervalHandle::clear));
            }
        });
        this
    }

    /// The value of `aria-live`.
    pub(super) fn politeness(self) -> &'static str {
        if self.loads_history.get() || self.is_flooded.get() { "off" } else { "polite" }
    }
}

/// Says that messages are not read out for a while.
#[component]
pub(super) fn FloodNotice(live: Live) -> impl IntoView {
    let i18n = Language::current();
    let text = move || if live.is_flooded.get() { td_string!(i18n.get(), many_messages) } else { "" };
    view! { <p class="visually-hidden" role="status" translate="no">{text}</p> }
}
