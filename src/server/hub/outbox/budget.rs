//! The memory of all outboxes together.
//!
//! Each frame is counted once, as long as any outbox, task or socket holds it. If the budget is used up, the debtors that
//! hold most are closed, largest first: their peers do not read. They resume after reconnecting.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;

use crate::server::lock::lock;

/// The memory of a frame besides its text, in bytes.
const FRAME: usize = 128;
/// A debtor that holds less is never closed, in bytes.
const SMALL: usize = 16 * 1024;
/// After the budget was used up, this part of it is free.
const FREED: usize = 8;

/// A holder of memory that can be closed.
pub(super) trait Debtor: Debug + Send + Sync {
    /// The memory that it holds.
    fn debt(&self) -> Debt;

    /// Drops what it holds and closes its connection.
    fn close(&self);
}

/// The memory that a debtor holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debt {
    Open(usize),
    /// It has been closed, and this much is about to be released.
    Closing(usize),
}

/// The budget that outboxes share.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Debtors are closed when more is used.
    relieve_above: AtomicUsize,
    debtors: Mutex<Vec<Weak<dyn Debtor>>>,
}

/// A part of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// A text that is counted.
struct Charged {
    text: String,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        let (used, relieve_above) = (AtomicUsize::new(0), AtomicUsize::new(limit));
        Arc::new(Self { limit, used, relieve_above, debtors: Mutex::default() })
    }

    /// The bytes that are used.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// A frame that is counted until nobody holds it any more.
    pub(crate) fn frame(self: &Arc<Self>, text: String) -> Utf8Bytes {
        let charge = self.charge(FRAME + text.capacity());
        let bytes = Bytes::from_owner(Charged { text, _charge: charge });
        Utf8Bytes::try_from(bytes).expect("the bytes of a String are UTF-8")
    }

    /// Counts memory that is not a frame.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Relaxed);
        Charge { budget: self.clone(), bytes }
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// Adds a debtor, until it is dropped.
    pub(super) fn add(&self, debtor: Weak<dyn Debtor>) {
        let mut debtors = lock(&self.debtors);
        if debtors.len() == debtors.capacity() {
            debtors.retain(|debtor| debtor.strong_count() > 0);
        }
        debtors.push(debtor);
    }

    /// Closes debtors if the budget is used up. No lock of a debtor may be held.
    pub(super) fn settle(&self) {
        let (used, relieve_above) = (self.used(), self.relieve_above.load(Relaxed));
        if used > relieve_above {
            self.relieve();
        } else if relieve_above > self.limit && used <= self.limit {
            self.relieve_above.store(self.limit, Relaxed);
        }
    }

    fn relieve(&self) {
        // Otherwise another thread is closing debtors.
        let Ok(debtors) = self.debtors.try_lock() else { return };
        let target = self.limit - self.limit / FREED;
        let mut closing = 0;
        let mut open = Vec::new();
        for debtor in debtors.iter().filter_map(Weak::upgrade) {
            match debtor.debt() {
                Debt::Open(bytes) if bytes < SMALL => {}
                Debt::Open(bytes) => open.push((bytes, debtor)),
                Debt::Closing(bytes) => closing += bytes,
            }
        }
        open.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut closed = 0;
        for (_, debtor) in &open {
            if self.used().saturating_sub(closing) <= target {
                break;
            }
            debtor.close();
            closed += 1;
            if let Debt::Closing(bytes) = debtor.debt() {
                closing += bytes;
            }
        }
        if closed > 0 {
            tracing::warn!(
                closed,
                limit = self.limit,
                "connections that do not read are closed: buffered_bytes is used up"
            );
        }
        // If much is still used, nobody is left to close. The next look waits until more is used.
        self.relieve_above.store(self.limit.max(self.used() + self.limit / 16), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds one frame.
    #[derive(Debug)]
    struct Holder(Mutex<Option<Utf8Bytes>>);

    impl Debtor for Holder {
        fn debt(&self) -> Debt {
            lock(&self.0).as_ref().map_or(Debt::Closing(0), |frame| Debt::Open(frame.len()))
        }

        fn close(&self) {
            lock(&self.0).take();
        }
    }

    fn hold(budget: &Arc<Budget>, bytes: usize) -> Arc<Holder> {
        let frame = budget.frame("x".repeat(bytes));
        let holder = Arc::new(Holder(Mutex::new(Some(frame))));
        budget.add(Arc::downgrade(&holder) as Weak<dyn Debtor>);
        budget.settle();
        holder
    }

    fn is_open(holder: &Holder) -> bool {
        lock(&holder.0).is_some()
    }

    #[test]
    fn largest_debtors_are_closed_until_a_part_is_free() {
        let budget = Budget::new(1_000_000);
        let holders = [100_000, 300_000, 15_000, 200_000, 250_000].map(|bytes| hold(&budget, bytes));
        assert!(holders.iter().all(|holder| is_open(holder)));
        let last = hold(&budget, 200_000);
        let open: Vec<_> = holders.iter().map(|holder| is_open(holder)).collect();
        assert_eq!((open, is_open(&last)), (vec![true, false, true, true, true], true));
        assert!(budget.used() < 875_000);
        drop((holders, last));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn shared_frame_is_counted_once_and_until_nobody_holds_it() {
        let budget = Budget::new(1_000_000);
        let frame = budget.frame("x".repeat(600_000));
        let others = [frame.clone(), frame.clone()];
        assert!(budget.used() < 700_000);
        drop(frame);
        assert!(budget.used() > 600_000);
        drop(others);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn small_debtors_are_kept_even_if_the_budget_is_too_small() {
        let budget = Budget::new(20_000);
        let holders: Vec<_> = (0..10).map(|_| hold(&budget, 10_000)).collect();
        assert!(holders.iter().all(|holder| is_open(holder)));
        assert!(!is_open(&hold(&budget, 50_000)));
        drop(holders);
        budget.settle();
        assert!(!is_open(&hold(&budget, 30_000)), "the limit is the same as at first");
    }
}
