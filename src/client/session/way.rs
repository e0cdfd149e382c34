//! Which way to take to the server: a WebSocket, or what stands in for it where something between
//! lets none through.

/// What carries frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A WebSocket.
    WebSocket,
    /// An event stream down, POSTs up.
    Events,
}

impl Via {
    fn other(self) -> Self {
        match self {
            Self::WebSocket => Self::Events,
            Self::Events => Self::WebSocket,
        }
    }
}

/// So many failures in a row put a way in doubt that has not worked yet …
const DOUBTED_AFTER: u32 = 2;
/// … and so many one that has: a server that restarts is no reason to leave it.
const PROVED_DOUBTED_AFTER: u32 = 4;
/// What is slow to fail counts as several failures: people wait.
const HANGING: u32 = 2;
/// On the way around, WebSocket is tried again after at most this long; each further time, after up
/// to twice as long.
const FIRST_PROBE_MS: u64 = 15_000;
/// No pause between two of these is longer.
const LONGEST_PROBE_MS: u64 = 600_000;

/// What is known of the ways.
#[derive(Debug)]
pub(super) struct Ways {
    /// The one that worked last, or is hoped to.
    best: Via,
    /// Whether it has worked.
    proved: bool,
    /// Attempts in a row over which not one frame came.
    failures: u32,
    /// The one of the connection that is, or is tried.
    taken: Via,
    /// Whether that works.
    works: bool,
    /// When to see whether WebSocket works by now.
    probe_at: Option<u64>,
    probe_pause: u64,
}

impl Ways {
    /// Nothing is known: WebSocket is hoped for.
    pub(super) fn new() -> Self {
        Self {
            best: Via::WebSocket,
            proved: false,
            failures: 0,
            taken: Via::WebSocket,
            works: false,
            probe_at: None,
            probe_pause: FIRST_PROBE_MS,
        }
    }

    /// This way is hoped for instead.
    pub(super) fn prefer(&mut self, via: Via) {
        self.best = via;
    }

    /// The way for the next attempt: the best, and when that is in doubt, the other one by turns.
    pub(super) fn take(&mut self) -> Via {
        let doubted_after = if self.proved { PROVED_DOUBTED_AFTER } else { DOUBTED_AFTER };
        let doubts = self.failures.checked_sub(doubted_after);
        self.taken = if doubts.is_some_and(|doubts| doubts % 2 == 0) { self.best.other() } else { self.best };
        self.works = false;
        self.probe_at = None;
        self.taken
    }

    /// The server was heard over the way that was taken. `chance` is any number.
    pub(super) fn heard(&mut self, now: u64, chance: impl FnOnce() -> u64) {
        if self.works {
            return;
        }
        self.works = true;
        self.prove(self.taken);
        match self.taken {
            Via::WebSocket => self.probe_pause = FIRST_PROBE_MS,
            Via::Events => self.plan_probe(now, chance()),
        }
    }

    /// The connection is lost, or could not be had, after it was waited for in vain or at once.
    pub(super) fn lost(&mut self, hung: bool) {
        if !self.works {
            self.failures += if hung { HANGING } else { 1 };
        }
    }

    /// When to ask [`Ways::probes`].
    pub(super) fn probe_at(&self) -> Option<u64> {
        self.probe_at
    }

    /// Whether it is time to see if WebSocket works.
    pub(super) fn probes(&mut self, now: u64, chance: impl FnOnce() -> u64) -> bool {
        if self.probe_at.is_none_or(|at| now < at) {
            return false;
        }
        self.probe_pause = self.probe_pause.saturating_mul(2).min(LONGEST_PROBE_MS);
        self.plan_probe(now, chance());
        true
    }

    /// Something may have changed: look soon, but not each time that this is said.
    pub(super) fn hope(&mut self, now: u64) {
        self.probe_at = self.probe_at.map(|at| at.min(now + FIRST_PROBE_MS));
    }

    /// WebSocket works by now. Whether that is a reason to change over.
    pub(super) fn unblocked(&mut self) -> bool {
        self.prove(Via::WebSocket);
        self.taken == Via::Events
    }

    fn prove(&mut self, via: Via) {
        self.best = via;
        self.proved = true;
        self.failures = 0;
    }

    /// From half the pause to all of it, so that a crowd spreads out.
    fn plan_probe(&mut self, now: u64, chance: u64) {
        let half = self.probe_pause / 2;
        self.probe_at = Some(now + half + chance % (half + 1));
    }
}
