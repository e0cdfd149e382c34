//! The exports that run at the same time: one for each person, few for each address, and a number in total.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::protocol::UserId;
use crate::server::config::LimitSettings;
use crate::server::lock::lock;
use crate::server::per_address::{Guard, PerAddress};

/// The person who exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::server) enum Person {
    /// A visitor with a cookie.
    User(UserId),
    /// All clients without a cookie at an address.
    Address(IpAddr),
}

/// The reason why an export may not start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Full {
    /// The person has one.
    Person,
    /// The address has its number.
    Address,
    /// The server has its number.
    Server,
}

/// The running exports.
#[derive(Debug)]
pub(in crate::server) struct Places {
    persons: Arc<Mutex<HashSet<Person>>>,
    addresses: PerAddress,
    per_address: usize,
    total: Arc<Semaphore>,
}

/// A running export, until it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Place {
    persons: Arc<Mutex<HashSet<Person>>>,
    person: Person,
    _address: Guard,
    _total: OwnedSemaphorePermit,
}

impl Places {
    pub(in crate::server) fn new(limits: &LimitSettings) -> Self {
        Self {
            persons: Arc::default(),
            addresses: PerAddress::default(),
            per_address: limits.exports_per_address,
            total: Arc::new(Semaphore::new(limits.exports.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Takes a place for an export of `person` at `address`.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(in crate::server) fn take(&self, person: Person, address: IpAddr) -> Result<Place, Full> {
        let mut persons = lock(&self.persons);
        if persons.contains(&person) {
            return Err(Full::Person);
        }
        let address = self.addresses.admit(address, self.per_address).ok_or(Full::Address)?;
        let total = self.total.clone().try_acquire_owned().map_err(|_| Full::Server)?;
        persons.insert(person);
        Ok(Place { persons: self.persons.clone(), person, _address: address, _total: total })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.persons).remove(&self.person);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn user(id: u64) -> Person {
        Person::User(UserId(id))
    }

    #[test]
    fn person_has_one_place_until_it_is_dropped() {
        let places = Places::new(&LimitSettings::default());
        let place = places.take(user(1), ADDRESS).unwrap();
        assert_eq!(places.take(user(1), [192, 0, 2, 1].into()).unwrap_err(), Full::Person);
        let other = places.take(Person::Address(ADDRESS), ADDRESS).unwrap();
        drop(place);
        drop((places.take(user(1), ADDRESS).unwrap(), other));
        assert!(lock(&places.persons).is_empty());
    }

    #[test]
    fn address_and_server_have_a_number_of_places() {
        let limits = LimitSettings { exports: 3, exports_per_address: 2, ..LimitSettings::default() };
        let places = Places::new(&limits);
        let first: Vec<_> = (1..=2).map(|id| places.take(user(id), ADDRESS).unwrap()).collect();
        assert_eq!(places.take(user(3), ADDRESS).unwrap_err(), Full::Address);
        let third = places.take(user(4), [192, 0, 2, 1].into()).unwrap();
        assert_eq!(places.take(user(5), [192, 0, 2, 2].into()).unwrap_err(), Full::Server);
        drop(third);
        places.take(user(5), [192, 0, 2, 2].into()).unwrap();
        drop(first);
        places.take(user(3), ADDRESS).unwrap();
    }
}
