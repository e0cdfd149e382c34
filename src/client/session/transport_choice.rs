//! The choice between WebSocket and its fallback, where something between page and server blocks WebSocket. Pure.

use super::rng::Rng;
use crate::client::backoff::{Backoff, equal_jitter};

/// The transport that carries frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// A WebSocket.
    WebSocket,
    /// The fallback: an event stream down, POST requests up.
    EventStream,
}

impl TransportKind {
    fn other(self) -> Self {
        match self {
            Self::WebSocket => Self::EventStream,
            Self::EventStream => Self::WebSocket,
        }
    }
}

/// After this many failures in a row, the other transport is tried too, if the preferred one has never worked.
const FAILURES_BEFORE_FALLBACK: u32 = 2;
/// The same for a transport that has worked: it also fails while the server restarts.
const FAILURES_BEFORE_FALLBACK_IF_PROVEN: u32 = 4;
/// A connection attempt that times out counts as this many failures, because the user waits longer for it.
const TIMEOUT_FAILURES: u32 = 2;
/// The delay of the first WebSocket probe while on the fallback. It doubles with each probe.
const FIRST_PROBE_MS: u64 = 15_000;
/// The limit of that delay.
const MAX_PROBE_MS: u64 = 600_000;

/// Selects the transport of each connection attempt.
#[derive(Debug)]
pub(super) struct TransportChoice {
    /// The transport that worked last, or the first choice while none has.
    preferred: TransportKind,
    /// True if the preferred transport has worked.
    proven: bool,
    /// Attempts in a row over which no frame arrived.
    failures: u32,
    /// The transport of the current connection or attempt.
    current: TransportKind,
    /// True if a frame arrived over the current connection.
    current_works: bool,
    /// The time of the next WebSocket probe, while on the fallback.
    probe_at: Option<u64>,
    probe_backoff: Backoff,
}

impl TransportChoice {
    /// Prefers WebSocket.
    pub(super) const fn new() -> Self {
        Self {
            preferred: TransportKind::WebSocket,
            proven: false,
            failures: 0,
            current: TransportKind::WebSocket,
            current_works: false,
            probe_at: None,
            probe_backoff: Backoff::new(FIRST_PROBE_MS, MAX_PROBE_MS),
        }
    }

    pub(super) fn prefer(&mut self, transport: TransportKind) {
        self.preferred = transport;
    }

    /// Selects the transport of the next attempt: the preferred one or, after too many failures, both in turn.
    pub(super) fn select(&mut self) -> TransportKind {
        let tolerated = if self.proven { FAILURES_BEFORE_FALLBACK_IF_PROVEN } else { FAILURES_BEFORE_FALLBACK };
        let excess = self.failures.checked_sub(tolerated);
        let try_other = excess.is_some_and(|excess| excess.is_multiple_of(2));
        self.current = if try_other { self.preferred.other() } else { self.preferred };
        self.current_works = false;
        self.probe_at = None;
        self.current
    }

    /// The current transport has brought a frame, or a close code that only the server sends.
    pub(super) fn received(&mut self, now: u64, rng: &mut Rng) {
        if self.current_works {
            return;
        }
        self.current_works = true;
        self.prove(self.current);
        match self.current {
            TransportKind::WebSocket => self.probe_backoff.reset(),
            TransportKind::EventStream => self.schedule_probe(now, rng),
        }
    }

    /// The connection is lost, or the attempt has failed.
    pub(super) fn lost(&mut self, timed_out: bool) {
        if !self.current_works {
            self.failures += if timed_out { TIMEOUT_FAILURES } else { 1 };
        }
    }

    /// The time of the next WebSocket probe.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.probe_at
    }

    /// Returns whether a WebSocket probe is due now; schedules the next one.
    pub(super) fn take_due_probe(&mut self, now: u64, rng: &mut Rng) -> bool {
        if self.probe_at.is_none_or(|at| now < at) {
            return false;
        }
        self.probe_backoff.grow();
        self.schedule_probe(now, rng);
        true
    }

    /// The network may have changed: probes soon, however long the backoff is. Repeated calls do not add probes.
    pub(super) fn probe_soon(&mut self, now: u64) {
        self.probe_at = self.probe_at.map(|at| at.min(now + FIRST_PROBE_MS));
    }

    /// A probe was answered. Returns whether the connection should move to WebSocket.
    pub(super) fn probe_answered(&mut self) -> bool {
        self.prove(TransportKind::WebSocket);
        self.current == TransportKind::EventStream
    }

    fn prove(&mut self, transport: TransportKind) {
        self.preferred = transport;
        self.proven = true;
        self.failures = 0;
    }

    fn schedule_probe(&mut self, now: u64, rng: &mut Rng) {
        self.probe_at = Some(now + equal_jitter(self.probe_backoff.delay_ms(), rng.next()));
    }
}
