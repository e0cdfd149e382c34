//! Limits how often a warning is logged, so that a client who causes it cannot fill the log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock::lock;

/// A warning that is logged at most once per period.
#[derive(Debug)]
pub(super) struct Occasional {
    period: Duration,
    last: Mutex<Option<Last>>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    logged_at: Instant,
    /// Occasions since then.
    suppressed: u64,
}

impl Occasional {
    pub(super) const fn once_per(period: Duration) -> Self {
        Self { period, last: Mutex::new(None) }
    }

    /// Returns whether to log now: the number of occasions since the last log line, otherwise `None`.
    pub(super) fn is_due(&self) -> Option<u64> {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> Option<u64> {
        let mut last = lock(&self.last);
        match last.as_mut() {
            Some(last) if now.duration_since(last.logged_at) < self.period => {
                last.suppressed += 1;
                None
            }
            Some(_) | None => {
                let suppressed = last.map_or(0, |last| last.suppressed);
                *last = Some(Last { logged_at: now, suppressed: 0 });
                Some(suppressed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_due_once_per_period_and_counts_the_rest() {
        let (warning, start) = (Occasional::once_per(Duration::from_secs(60)), Instant::now());
        let due = |seconds| warning.is_due_at(start + Duration::from_secs(seconds));
        assert_eq!([due(0), due(1), due(59), due(60), due(61)], [Some(0), None, None, Some(2), None]);
    }
}
