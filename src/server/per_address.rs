//! How many of something each address has open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
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

/// What counts as one address: of IPv6 the network (RFC 6177: a site has at least a /64, and all of its addresses).
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        address => address,
    }
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
    fn a_network_of_ipv6_is_one_address_and_a_mapped_one_is_what_it_stands_for() {
        let counted = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), counted("2001:db8:1:2::1"));
        assert_ne!(counted("2001:db8:1:2::1"), counted("2001:db8:1:3::1"));
        assert_eq!([counted("::ffff:192.0.2.7"), counted("192.0.2.7")], ["192.0.2.7", "192.0.2.7"]);
    }

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
