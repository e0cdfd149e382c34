//! The payer of a command: a user, and the address that the user is at.

use std::sync::Arc;
use std::time::Duration;

use super::account::Account;
use super::address::Address;
use super::price::Price;
use super::rate_limit::refusal;
use crate::protocol::{ErrorCode, Refusal};

/// A user at an address.
#[derive(Clone, Debug)]
pub struct Payer {
    /// The user.
    pub account: Arc<Account>,
    /// The address.
    pub address: Address,
}

impl Payer {
    /// Pays a price, or nothing: the user first, so that a user who is above the limit does not use up what others at
    /// the same address may use.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the time after which to retry.
    pub fn spend(&self, price: Price) -> Result<(), Refusal> {
        self.spend_or(price, ErrorCode::RateLimited)
    }

    /// Pays for a new room.
    ///
    /// # Errors
    /// `ROOM_QUOTA`, with the time after which to retry.
    pub fn spend_room(&self) -> Result<(), Refusal> {
        self.spend_or(Price::ROOM, ErrorCode::RoomQuota)
    }

    /// Pays a price in advance. Returns the time to wait before what it pays for is carried out.
    ///
    /// # Errors
    /// `RATE_LIMITED`, if the time is longer than `at_most`. Then nothing is paid.
    pub fn reserve(&self, price: Price, at_most: Duration) -> Result<Duration, Refusal> {
        let refused = |wait| refusal(ErrorCode::RateLimited, wait);
        let own = self.account.reserve(price, at_most).map_err(refused)?;
        let shared = self.address.reserve(price, at_most).inspect_err(|_| self.account.refund(price));
        Ok(own.max(shared.map_err(refused)?))
    }

    fn spend_or(&self, price: Price, code: ErrorCode) -> Result<(), Refusal> {
        self.account.spend(price, code)?;
        self.address.spend_or(price, code).inspect_err(|_| self.account.refund(price))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserId;
    use crate::server::config::LimitSettings;
    use crate::server::environment::SystemEnvironment;
    use crate::server::hub::account::Directory;

    #[test]
    fn refusal_of_the_address_costs_the_user_nothing() {
        // Every half hour, so that the test does not depend on time.
        let limits = LimitSettings { users_per_address: 1, rooms_per_hour: 2, ..LimitSettings::default() };
        let accounts = Directory::new(&limits, Arc::new(SystemEnvironment));
        let payer = |user, host| Payer {
            account: accounts.get_or_add(UserId(user), None),
            address: accounts.address([192, 0, 2, host].into()),
        };
        let price = Price::ROOM;
        let count = |payer: Payer| (0..100).take_while(|_| payer.spend(price).is_ok()).count();
        assert_eq!(count(payer(1, 1)), 2);
        // Another user has used up what the address may use.
        assert!(payer(2, 1).spend(price).is_err());
        assert!(payer(2, 1).reserve(price, Duration::ZERO).is_err());
        assert_eq!(count(payer(2, 2)), 2);
    }
}
