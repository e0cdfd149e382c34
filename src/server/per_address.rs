//! How many of something each address has open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts by address, of one kind of thing.
#[derive(Clone, Debug, Default)]
pub(super) struct PerAddress(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One that counts against its address until it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    counts: PerAddress,
    address: IpAddr,
}

impl PerAddress {
    /// Counts one more; `None` when the address has `at_most` already.
    pub(super) fn admit(&self, address: IpAddr, at_most: usize) -> Option<Guard> {
        let mut counts = self.lock();
        let count = counts.entry(address).or_default();
        (*count < at_most).then(|| {
            *count += 1;
            Guard { counts: self.clone(), address }
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_count_and_gets_back_what_it_closes() {
        let (counts, ann, bob) = (PerAddress::default(), IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
        let first = counts.admit(ann, 1);
        assert!(first.is_some() && counts.admit(ann, 1).is_none() && counts.admit(bob, 1).is_some());
        drop(first);
        assert!(counts.admit(ann, 1).is_some());
        assert!(counts.lock().is_empty(), "nothing is remembered of who has nothing open");
    }
}
