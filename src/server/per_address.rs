//! Limits per client address: connections and requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::network::Network;

/// The number of open connections or requests of each network.
#[derive(Clone, Debug, Default)]
pub(super) struct PerAddress(Arc<Mutex<HashMap<Network, usize>>>);

/// A connection or request that counts against its address until it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    counts: PerAddress,
    address: IpAddr,
}

impl PerAddress {
    /// Counts one more; `None` if the address has reached `limit`, or a larger network its multiple.
    pub(super) fn admit(&self, address: IpAddr, limit: usize) -> Option<Guard> {
        let mut counts = self.lock();
        let has_capacity = |network: Network| {
            let count = counts.get(&network).copied().unwrap_or_default();
            count < limit.saturating_mul(network.share() as usize)
        };
        if !Network::all_of(address).all(has_capacity) {
            return None;
        }
        Network::all_of(address).for_each(|network| *counts.entry(network).or_default() += 1);
        drop(counts);
        Some(Guard { counts: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        for network in Network::all_of(self.address) {
            if let Some(count) = counts.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_guard_releases_its_address() {
        let (counts, ann, bob) = (PerAddress::default(), IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
        let first = counts.admit(ann, 1);
        assert!(first.is_some() && counts.admit(ann, 1).is_none() && counts.admit(bob, 1).is_some());
        drop(first);
        assert!(counts.admit(ann, 1).is_some());
        assert!(counts.lock().is_empty(), "addresses without connections use no memory");
    }

    #[test]
    fn household_with_56_cannot_multiply_its_connections() {
        const LIMIT: usize = 10;
        let counts = PerAddress::default();
        let addresses = |site: u16| (0..256_u16).map(move |subnet| [0x2001, 0xdb8, 1, site << 8 | subnet, 0, 0, 0, 1]);
        let admit = |address| counts.admit(IpAddr::from(address), LIMIT);
        let household: Vec<_> = addresses(1).cycle().take(256 * LIMIT).filter_map(admit).collect();
        assert_eq!(household.len(), 2 * LIMIT, "of 256 subnets with {LIMIT} each");
        let neighbour: Vec<_> = addresses(2).filter_map(admit).collect();
        assert_eq!(neighbour.len(), 2 * LIMIT, "another household is not affected");
    }
}
