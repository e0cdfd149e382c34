//! Opening a device again that has ended: it was unplugged, or its driver or permission failed. Pure.

/// A device that has worked this long counts as a working one.
const WORKING_MS: u64 = 30_000;
/// The delay before the second attempt. It doubles with each.
const FIRST_DELAY_MS: u64 = 2_000;
/// The most attempts in a row to open a device that ends again and again.
const MAX_ATTEMPTS: u32 = 3;
/// A device that comes back later than this after its end is not opened without the user.
const COMES_BACK_WITHIN_MS: u64 = 60_000;

/// The history of one kind of device, since the user has opened or chosen one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reopening {
    opened_at: Option<u64>,
    ended_at: Option<u64>,
    attempts: u32,
    reopen_at: Option<u64>,
}

impl Reopening {
    /// The device is open.
    pub(super) fn opened(&mut self, now: u64) {
        self.opened_at = Some(now);
        self.ended_at = None;
        self.reopen_at = None;
    }

    /// The device has ended, and not by the page. Plans the next attempt to open one, unless there were too many.
    pub(super) fn ended(&mut self, now: u64) {
        if self.opened_at.take().is_some_and(|at| now >= at + WORKING_MS) {
            self.attempts = 0;
        }
        self.ended_at = Some(now);
        self.reopen_at = (self.attempts < MAX_ATTEMPTS).then(|| match self.attempts {
            0 => now,
            more => now + (FIRST_DELAY_MS << (more - 1)),
        });
        self.attempts += 1;
    }

    /// A device of the kind was plugged in.
    pub(super) fn plugged_in(&mut self, now: u64) {
        let is_missed = self.ended_at.is_some_and(|at| now < at + COMES_BACK_WITHIN_MS);
        if is_missed && self.attempts <= MAX_ATTEMPTS {
            self.attempts += 1;
            self.reopen_at = Some(now);
        }
    }

    /// Returns whether to open a device now.
    pub(super) fn is_due(&mut self, now: u64) -> bool {
        self.reopen_at.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each attempt succeeds, and the device ends after `lives_ms`. Returns the attempts within ten minutes.
    fn attempts(lives_ms: u64) -> usize {
        let (mut device, mut attempts, mut ends_at) = (Reopening::default(), 0, Some(0));
        for now in (0..600_000).step_by(10) {
            if ends_at.take_if(|at| *at <= now).is_some() {
                device.ended(now);
            }
            if device.is_due(now) {
                attempts += 1;
                device.opened(now);
                ends_at = Some(now + lives_ms);
            }
        }
        attempts
    }

    #[test]
    fn device_that_ends_at_once_is_given_up_after_three_attempts() {
        assert_eq!(attempts(10), 3);
        assert_eq!(attempts(5_000), 3);
    }

    #[test]
    fn device_that_works_for_a_while_is_opened_each_time() {
        assert!(attempts(60_000) >= 9);
    }

    #[test]
    fn device_that_is_plugged_in_soon_after_its_end_is_opened() {
        let mut device = Reopening::default();
        device.opened(0);
        device.ended(100_000);
        assert!(device.is_due(100_000));
        // No device is left.
        device.plugged_in(130_000);
        assert!(device.is_due(130_000));
        device.plugged_in(161_000);
        assert!(!device.is_due(161_000), "too late to turn a camera on without its user");
        let mut never_open = Reopening::default();
        never_open.plugged_in(10);
        assert!(!never_open.is_due(10));
    }
}
