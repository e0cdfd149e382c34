//! The browser's clocks and timers.

use std::future::Future;
use std::time::Duration;

use leptos::prelude::window;

/// Milliseconds on the browser's steady clock. They never go backwards.
pub fn now() -> u64 {
    window().performance().map(|performance| performance.now() as u64).unwrap_or_default()
}

/// The browser's two clocks, compared to notice that the computer was suspended.
///
/// In some systems the steady clock stops meanwhile and only the wall clock moves on, in others both do. If the wall
/// clock is set while the page runs, that looks the same; an unneeded `ping` is all that follows.
pub(super) struct Clocks {
    steady: u64,
    wall: f64,
}

impl Clocks {
    /// Differences between the two clocks below this are inaccuracy.
    const SKEW_MS: f64 = 5_000.0;
    /// Timers of hidden pages may be delayed by a minute.
    const THROTTLED_MS: u64 = 90_000;

    pub(super) fn new() -> Self {
        Self { steady: now(), wall: js_sys::Date::now() }
    }

    /// Returns whether the computer or the page was suspended since the last call.
    pub(super) fn have_slept(&mut self) -> bool {
        let before = std::mem::replace(self, Self::new());
        let (steady, wall) = (self.steady.saturating_sub(before.steady), self.wall - before.wall);
        steady > Self::THROTTLED_MS || wall - steady as f64 > Self::SKEW_MS
    }
}

/// Completes at the time `at` on the clock of [`now`], or never.
pub(crate) fn sleep_until(at: Option<u64>) -> impl Future<Output = ()> {
    // The timer starts now, not when the future is polled first.
    let timer = at.map(|at| gloo_timers::future::sleep(Duration::from_millis(at.saturating_sub(now()))));
    async move {
        match timer {
            Some(timer) => timer.await,
            None => std::future::pending().await,
        }
    }
}
