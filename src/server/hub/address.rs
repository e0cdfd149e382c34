//! The budgets of addresses. All users at an address share them, because a new user costs nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::price::Price;
use super::rate_limit::{Budgets, Quotas, refusal};
use crate::protocol::{ErrorCode, Refusal};
use crate::server::config::LimitSettings;
use crate::server::environment::Environment;
use crate::server::lock::lock;
use crate::server::network::Network;

/// The budgets of all networks that were active recently.
#[derive(Debug)]
pub(super) struct Networks {
    budgets: Mutex<HashMap<Network, Arc<Budgets>>>,
    limits: LimitSettings,
    environment: Arc<dyn Environment>,
}

/// The budgets of the networks that an address belongs to.
#[derive(Clone, Debug)]
pub struct Address {
    network: IpAddr,
    networks: Arc<[Arc<Budgets>]>,
    environment: Arc<dyn Environment>,
}

impl Networks {
    pub(super) fn new(limits: &LimitSettings, environment: &Arc<dyn Environment>) -> Self {
        Self { budgets: Mutex::default(), limits: limits.clone(), environment: environment.clone() }
    }

    pub(super) fn at(&self, address: IpAddr) -> Address {
        let mut budgets = lock(&self.budgets);
        let networks = Network::all_of(address).map(|network| {
            let quotas = || Arc::new(Quotas::of_network(&self.limits, network.share()));
            budgets.entry(network).or_insert_with(|| Arc::new(Budgets::new(quotas()))).clone()
        });
        Address { network: address, networks: networks.collect(), environment: self.environment.clone() }
    }

    /// Drops the networks that no connection uses and whose budgets are whole again.
    pub(super) fn retain_recent(&self) {
        let now = self.environment.now();
        lock(&self.budgets).retain(|_, budgets| Arc::strong_count(budgets) > 1 || !budgets.is_untouched(now));
    }
}

impl Address {
    /// The IPv4 address, or the IPv6 /64.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// Pays a price from the budgets of each network, or from none.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the time after which to retry.
    pub fn spend(&self, price: Price) -> Result<(), Refusal> {
        self.spend_or(price, ErrorCode::RateLimited)
    }

    pub(super) fn spend_or(&self, price: Price, code: ErrorCode) -> Result<(), Refusal> {
        let now = self.environment.now();
        for (index, budgets) in self.networks.iter().enumerate() {
            if let Err(wait) = budgets.spend(now, price) {
                self.networks[..index].iter().for_each(|paid| paid.refund(price));
                return Err(refusal(code, wait));
            }
        }
        Ok(())
    }

    /// Pays a price in advance. Returns the time to wait before the request is carried out.
    ///
    /// # Errors
    /// The time, if it is longer than `at_most`. Then nothing is paid.
    pub fn reserve(&self, price: Price, at_most: Duration) -> Result<Duration, Duration> {
        let now = self.environment.now();
        let wait = self.networks.iter().map(|budgets| budgets.wait(now, price)).max().unwrap_or_default();
        if wait > at_most {
            return Err(wait);
        }
        self.networks.iter().for_each(|budgets| budgets.take(now, price));
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::environment::SystemEnvironment;

    #[test]
    fn subnets_of_one_household_share_its_budgets() {
        let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
        // Far below one a second, so that the test does not depend on time.
        let limits = LimitSettings { guests_per_minute: 1, ..LimitSettings::default() };
        let networks = Networks::new(&limits, &environment);
        let guests = |subnets: std::ops::Range<u16>| {
            let addresses = subnets.map(|subnet| IpAddr::from([0x2001, 0xdb8, 1, subnet, 0, 0, 0, 1]));
            addresses.filter(|address| networks.at(*address).spend(Price::GUEST).is_ok()).count()
        };
        assert_eq!(guests(0..256), 2, "a /56 has twice the limit of an address");
        assert_eq!((guests(256..512), guests(512..768)), (2, 0), "a /48 has four times the limit");
    }

    #[test]
    fn refusal_of_a_network_costs_the_others_nothing() {
        let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
        let limits = LimitSettings { guests_per_minute: 2, ..LimitSettings::default() };
        let networks = Networks::new(&limits, &environment);
        let at = |subnet| networks.at([0x2001, 0xdb8, 1, subnet, 0, 0, 0, 1].into());
        // The /56 is used up by others, so that the /64 cannot pay.
        assert_eq!((1..9).filter(|subnet| at(*subnet).spend(Price::GUEST).is_ok()).count(), 4);
        assert!(at(0).spend(Price::GUEST).is_err());
        assert!(at(0).networks[0].is_untouched(environment.now()));
    }

    #[test]
    fn idle_networks_are_forgotten_when_their_budgets_are_whole() {
        let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
        let networks = Networks::new(&LimitSettings::default(), &environment);
        let (busy, open) = ([192, 0, 2, 1].into(), networks.at([192, 0, 2, 2].into()));
        networks.at(busy).spend(Price::GUEST).unwrap();
        networks.at([192, 0, 2, 3].into());
        networks.retain_recent();
        assert_eq!(lock(&networks.budgets).len(), 2);
        drop(open);
        networks.retain_recent();
        assert_eq!(lock(&networks.budgets).len(), 1, "of the busy address");
    }
}
