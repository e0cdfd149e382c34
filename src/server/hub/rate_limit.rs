//! Rate limits: token buckets of users, networks and connections.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::price::{Budget, Price};
use crate::protocol::{ErrorCode, Refusal};
use crate::server::config::LimitSettings;
use crate::server::lock::lock;

/// The rate and the burst of a token bucket.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// The time in which one token is added.
    every: Duration,
    burst: u32,
}

impl Quota {
    /// This many tokens in a second.
    pub const fn per_second(rate: u32, burst: u32) -> Self {
        Self { every: Duration::from_nanos(1_000_000_000 / if rate == 0 { 1 } else { rate } as u64), burst }
    }

    /// This many tokens in a period, all of which may be used at once.
    fn per(period: Duration, count: u32) -> Self {
        Self { every: period / count.max(1), burst: count }
    }

    /// A quota that is this many times as large.
    fn times(self, factor: u32) -> Self {
        Self { every: self.every / factor.max(1), burst: self.burst.saturating_mul(factor) }
    }
}

/// A token bucket (GCRA: it stores only when it will be full).
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// The time until this many tokens are there. More than the burst count as the burst.
    fn wait(self, now: Instant, quota: Quota, count: u32) -> Duration {
        let full_at = self.after(now, quota, count);
        full_at.saturating_duration_since(now + quota.every * quota.burst)
    }

    /// Takes tokens, even if they are not there yet: then later takers wait longer.
    fn take(&mut self, now: Instant, quota: Quota, count: u32) {
        self.full_at = Some(self.after(now, quota, count));
    }

    /// Takes tokens if they are there.
    ///
    /// # Errors
    /// The time after which they are.
    pub fn spend(&mut self, now: Instant, quota: Quota, count: u32) -> Result<(), Duration> {
        let wait = self.wait(now, quota, count);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.take(now, quota, count);
        Ok(())
    }

    /// Returns tokens that were taken.
    fn put_back(&mut self, quota: Quota, count: u32) {
        self.full_at = self.full_at.and_then(|at| at.checked_sub(quota.every * count.min(quota.burst)));
    }

    fn after(self, now: Instant, quota: Quota, count: u32) -> Instant {
        self.full_at.map_or(now, |at| at.max(now)) + quota.every * count.min(quota.burst)
    }
}

/// The quota of each budget; `None`: no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quotas([Option<Quota>; Budget::COUNT]);

impl Quotas {
    /// The quotas of a user.
    pub(super) fn of_user(limits: &LimitSettings) -> Self {
        Self(Budget::ALL.map(|budget| match budget {
            Budget::Signals => Some(Quota::per_second(limits.signals_per_second, limits.signal_burst)),
            Budget::Messages => Some(Quota::per_second(limits.messages_per_second, limits.message_burst)),
            Budget::Announcements => {
                Some(Quota::per_second(limits.announcements_per_second, limits.announcement_burst))
            }
            Budget::Reads => Some(Quota::per_second(limits.reads_per_second, limits.read_burst)),
            Budget::Joins => Some(Quota::per(Duration::from_secs(60), limits.joins_per_minute)),
            Budget::Rooms => Some(Quota::per(Duration::from_secs(60), limits.rooms_per_minute)),
            Budget::RoomsPerHour => Some(Quota::per(Duration::from_secs(3_600), limits.rooms_per_hour)),
            Budget::ExportPages => Some(Quota::per_second(limits.export_pages_per_second, limits.export_page_burst)),
            Budget::Uploads => Some(Quota::per_second(limits.upload_kib_per_second, limits.upload_kib_burst)),
            Budget::Text | Budget::Guests | Budget::Requests => None,
        }))
    }

    /// The quotas of a network that has `share` times the limits of an address.
    pub(super) fn of_network(limits: &LimitSettings, share: u32) -> Self {
        let of_user = Self::of_user(limits);
        let factor = limits.users_per_address.saturating_mul(share);
        Self(Budget::ALL.map(|budget| match budget {
            Budget::Text => of_user.get(Budget::Messages).map(|quota| quota.times(factor)),
            Budget::Guests => Some(Quota::per(Duration::from_secs(60), limits.guests_per_minute).times(share)),
            Budget::Requests => Some(Quota::per_second(limits.requests_per_second, limits.request_burst).times(share)),
            Budget::Signals
            | Budget::Messages
            | Budget::Announcements
            | Budget::Reads
            | Budget::Joins
            | Budget::Rooms
            | Budget::RoomsPerHour
            | Budget::ExportPages
            | Budget::Uploads => of_user.get(budget).map(|quota| quota.times(factor)),
        }))
    }

    fn get(&self, budget: Budget) -> Option<Quota> {
        self.0[budget as usize]
    }
}

/// The budgets of a user or a network.
#[derive(Debug)]
pub(super) struct Budgets {
    quotas: Arc<Quotas>,
    buckets: Mutex<[Bucket; Budget::COUNT]>,
}

impl Budgets {
    pub(super) fn new(quotas: Arc<Quotas>) -> Self {
        Self { quotas, buckets: Mutex::default() }
    }

    /// Pays a price, or nothing of it.
    ///
    /// # Errors
    /// The time after which it can be paid.
    pub(super) fn spend(&self, now: Instant, price: Price) -> Result<(), Duration> {
        let mut buckets = lock(&self.buckets);
        let wait = self.wait_for(&buckets, now, price);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.take_from(&mut buckets, now, price);
        Ok(())
    }

    /// The time until a price can be paid.
    pub(super) fn wait(&self, now: Instant, price: Price) -> Duration {
        self.wait_for(&lock(&self.buckets), now, price)
    }

    /// Pays a price in advance.
    pub(super) fn take(&self, now: Instant, price: Price) {
        self.take_from(&mut lock(&self.buckets), now, price);
    }

    /// Pays a price back: what it was paid for is not carried out.
    pub(super) fn refund(&self, price: Price) {
        let mut buckets = lock(&self.buckets);
        for (budget, amount) in price.amounts() {
            if let Some(quota) = self.quotas.get(budget) {
                buckets[budget as usize].put_back(quota, amount);
            }
        }
    }

    /// Returns whether every bucket is full.
    pub(super) fn is_untouched(&self, now: Instant) -> bool {
        lock(&self.buckets).iter().all(|bucket| bucket.full_at.is_none_or(|at| at <= now))
    }

    fn wait_for(&self, buckets: &[Bucket; Budget::COUNT], now: Instant, price: Price) -> Duration {
        let wait = |(budget, amount): (Budget, u32)| {
            Some(buckets[budget as usize].wait(now, self.quotas.get(budget)?, amount))
        };
        price.amounts().filter_map(wait).max().unwrap_or_default()
    }

    fn take_from(&self, buckets: &mut [Bucket; Budget::COUNT], now: Instant, price: Price) {
        for (budget, amount) in price.amounts() {
            if let Some(quota) = self.quotas.get(budget) {
                buckets[budget as usize].take(now, quota, amount);
            }
        }
    }
}

/// The refusal of a client that has to wait.
pub(super) fn refusal(code: ErrorCode, wait: Duration) -> Refusal {
    // Rounded up: a client that waits this long is admitted.
    Refusal { retry_after_ms: Some(wait.as_millis() as u64 + 1), ..code.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets() -> Budgets {
        Budgets::new(Arc::new(Quotas::of_user(&LimitSettings::default())))
    }

    #[test]
    fn bucket_takes_its_burst_at_once_and_then_its_rate() {
        let (budgets, start) = (budgets(), Instant::now());
        let message = Price::message(1);
        assert!((0..20).all(|_| budgets.spend(start, message).is_ok()));
        let wait = budgets.spend(start, message).unwrap_err();
        assert_eq!(wait, Duration::from_millis(200), "5 a second");
        let later = start + wait;
        assert!(budgets.spend(later, message).is_ok() && budgets.spend(later, message).is_err());
        assert!((0..20).all(|_| budgets.spend(start + Duration::from_secs(60), message).is_ok()));
    }

    #[test]
    fn price_is_paid_whole_or_not_at_all() {
        let (budgets, now) = (budgets(), Instant::now());
        let both = Price::RENAME.and(Budget::Messages, 20);
        budgets.spend(now, Price::message(1)).unwrap();
        assert!(budgets.spend(now, both).is_err(), "19 messages are left");
        assert_eq!((0..100).take_while(|_| budgets.spend(now, Price::RENAME).is_ok()).count(), 12);
    }

    #[test]
    fn refund_restores_what_was_paid() {
        let (budgets, now) = (budgets(), Instant::now());
        let messages = || (0..100).take_while(|_| budgets.spend(now, Price::message(1)).is_ok()).count();
        let large = Price::of(Budget::Messages, 1_000);
        budgets.spend(now, large).unwrap();
        budgets.refund(large);
        assert!(budgets.is_untouched(now));
        assert_eq!(messages(), 20);
        budgets.refund(Price::message(1));
        assert_eq!(messages(), 1);
    }

    #[test]
    fn price_above_the_burst_is_the_whole_burst() {
        let (budgets, now) = (budgets(), Instant::now());
        let large = Price::of(Budget::Messages, 1_000);
        assert!(budgets.spend(now, large).is_ok() && budgets.spend(now, Price::message(1)).is_err());
    }

    #[test]
    fn network_has_budgets_of_ten_users_and_bounded_text() {
        let limits = LimitSettings::default();
        let (now, network) = (Instant::now(), |share| Budgets::new(Arc::new(Quotas::of_network(&limits, share))));
        let count = |budgets: &Budgets, price| (0..10_000).take_while(|_| budgets.spend(now, price).is_ok()).count();
        assert_eq!(count(&network(1), Price::message(1)), 200);
        assert_eq!(count(&network(2), Price::message(1)), 400);
        assert_eq!(count(&network(1), Price::message(16_000)), 12, "200 KiB");
        assert_eq!(count(&budgets(), Price::message(16_000)), 20, "a user's messages are counted");
    }
}
