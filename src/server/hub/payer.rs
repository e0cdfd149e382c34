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
    /// Pays a price: the user first, so that a user who is above the limit does not use up what others at the same
    /// address may use.
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
        Ok(own.max(self.address.reserve(price, at_most).map_err(refused)?))
    }

    fn spend_or(&self, price: Price, code: ErrorCode) -> Result<(), Refusal> {
        self.account.spend(price, code)?;
        self.address.spend_or(price, code)
    }
}
