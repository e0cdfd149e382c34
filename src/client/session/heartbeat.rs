//! The heartbeat of an open connection: detects one that is dead although nothing closed it. Pure.

use crate::protocol::{HEARTBEAT_MS, PONG_TIMEOUT_MS};

/// The shortest timeout of a `ping` while the connection is probably dead.
const MIN_PATIENCE_MS: u64 = 4_000;
/// The same timeout in round trips: one may be much longer than the one before, on a radio link for example.
const PATIENCE_ROUND_TRIPS: u64 = 3;
/// A deadline that is noticed later than this passed while the page was suspended, or its timers were throttled.
const SUSPENDED_MS: u64 = 2_000;

/// Pings an idle connection, and reports it dead when no frame follows in time. Any frame counts.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval_ms: u64,
    last_received_at: u64,
    /// The time by which a frame must arrive, after a `ping` was sent.
    pong_deadline: Option<u64>,
    /// The current deadline replaced one that passed while the page was suspended.
    is_extended: bool,
    /// The round trip of recent pings. It grows at once and shrinks slowly, and outlives the connection.
    round_trip_ms: u64,
}

/// The state of the connection, as far as the heartbeat knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Liveness {
    Alive,
    /// Nothing arrived for one interval: a `ping` is due.
    Idle,
    /// The deadline passed while the page could receive nothing: the answer may be on its way to it.
    Suspended,
    /// No frame arrived in time after a `ping`.
    Dead,
}

impl Heartbeat {
    pub(super) const fn new() -> Self {
        Self {
            interval_ms: HEARTBEAT_MS,
            last_received_at: 0,
            pong_deadline: None,
            is_extended: false,
            round_trip_ms: 0,
        }
    }

    /// Uses the interval that the server asked for.
    pub(super) fn set_interval(&mut self, interval_ms: u64) {
        self.interval_ms = interval_ms.max(1_000);
    }

    /// The connection has opened, or a frame has arrived.
    pub(super) fn received(&mut self, now: u64) {
        self.last_received_at = now;
        self.closed();
    }

    /// The connection is gone.
    pub(super) fn closed(&mut self) {
        self.pong_deadline = None;
        self.is_extended = false;
    }

    /// A request was answered after this time.
    pub(super) fn measured(&mut self, round_trip_ms: u64) {
        self.round_trip_ms = round_trip_ms.max((3 * self.round_trip_ms + round_trip_ms) / 4);
    }

    pub(super) fn round_trip_ms(&self) -> u64 {
        self.round_trip_ms
    }

    /// The timeout of a `ping` over a connection that is probably dead.
    pub(super) fn short_patience_ms(&self) -> u64 {
        (PATIENCE_ROUND_TRIPS * self.round_trip_ms).clamp(MIN_PATIENCE_MS, PONG_TIMEOUT_MS)
    }

    /// Expects a frame within `timeout_ms`, or earlier if one is expected already. Returns whether a `ping` must be
    /// sent for it.
    pub(super) fn expect_pong(&mut self, now: u64, timeout_ms: u64) -> bool {
        let deadline = now + timeout_ms;
        let earlier = self.pong_deadline.replace(self.pong_deadline.map_or(deadline, |known| known.min(deadline)));
        earlier.is_none()
    }

    /// The page was suspended: expects a frame after another `ping`, whatever was expected before.
    pub(super) fn resumed(&mut self, now: u64) {
        self.pong_deadline = Some(now + self.short_patience_ms());
        self.is_extended = true;
    }

    /// The time of the next change of [`Heartbeat::liveness`].
    pub(super) fn next_wake(&self) -> u64 {
        self.pong_deadline.unwrap_or(self.last_received_at + self.interval_ms)
    }

    pub(super) fn liveness(&self, now: u64) -> Liveness {
        match self.pong_deadline {
            Some(deadline) if deadline <= now => {
                let was_suspended = now - deadline > SUSPENDED_MS;
                if was_suspended && !self.is_extended { Liveness::Suspended } else { Liveness::Dead }
            }
            None if self.last_received_at + self.interval_ms <= now => Liveness::Idle,
            Some(_) | None => Liveness::Alive,
        }
    }
}
