//! Exponential backoff with jitter. Pure.

/// Exponential backoff: each delay is twice as long as the one before, up to a limit.
#[derive(Debug)]
pub(crate) struct Backoff {
    first_ms: u64,
    limit_ms: u64,
    steps: u32,
}

impl Backoff {
    /// Starts with a delay of `first_ms`; no delay exceeds `limit_ms`.
    pub(crate) const fn new(first_ms: u64, limit_ms: u64) -> Self {
        Self { first_ms, limit_ms, steps: 0 }
    }

    /// The current delay, in milliseconds.
    pub(crate) fn delay_ms(&self) -> u64 {
        1_u64
            .checked_shl(self.steps)
            .map_or(self.limit_ms, |factor| self.first_ms.saturating_mul(factor))
            .min(self.limit_ms)
    }

    /// Doubles the delay.
    pub(crate) fn grow(&mut self) {
        self.steps = self.steps.saturating_add(1);
    }

    /// Returns to the first delay.
    pub(crate) fn reset(&mut self) {
        self.steps = 0;
    }

    /// Returns whether the delay has not grown since the last reset.
    pub(crate) fn is_reset(&self) -> bool {
        self.steps == 0
    }
}

/// Full jitter: between zero and `delay_ms`, so that many clients spread out as far as possible.
pub(crate) fn full_jitter(delay_ms: u64, random: u64) -> u64 {
    random % (delay_ms + 1)
}

/// Equal jitter: between half of `delay_ms` and all of it, so that no delay is very short.
pub(crate) fn equal_jitter(delay_ms: u64, random: u64) -> u64 {
    let half = delay_ms / 2;
    half + random % (half + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_limit_and_resets() {
        let mut backoff = Backoff::new(500, 30_000);
        let delays: Vec<_> = (0..100)
            .map(|_| {
                let delay = backoff.delay_ms();
                backoff.grow();
                delay
            })
            .collect();
        assert_eq!(delays[..8], [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(delays[99], 30_000, "no overflow after many steps");
        backoff.reset();
        assert!(backoff.is_reset());
        assert_eq!(backoff.delay_ms(), 500);
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        for random in 0..2_000 {
            assert!(full_jitter(1_000, random) <= 1_000);
            assert!((500..=1_000).contains(&equal_jitter(1_000, random)));
        }
        assert_eq!((full_jitter(1_000, 1_001), equal_jitter(1_000, 500)), (0, 1_000));
    }
}
