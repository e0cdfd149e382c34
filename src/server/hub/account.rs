//! The users that this process knows at the moment: their names, connections and rate limits.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::address::{Address, Networks};
use super::outbox::Outbox;
use super::price::Price;
use super::rate_limit::{Budgets, Quotas, refusal};
use crate::protocol::name::guest_name;
use crate::protocol::{CloseCode, ErrorCode, Refusal, UserId};
use crate::server::config::LimitSettings;
use crate::server::environment::Environment;
use crate::server::id::ConnId;
use crate::server::lock::lock;
use crate::server::name_key::Nick;

/// The time that a user without a connection is remembered: as long as the longest rate limit counts.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// A user who is or was recently connected, or has used a form.
#[derive(Debug)]
pub struct Account {
    /// The user.
    pub id: UserId,
    /// The user's name. Locked while rooms learn of it, so that a change of name and an `enter_room` on another
    /// connection do not miss each other.
    pub(super) name: Mutex<Nick>,
    /// Locked for a whole change of name: check, store, rooms.
    pub(super) renaming: tokio::sync::Mutex<()>,
    connections: Mutex<VecDeque<(ConnId, Arc<Outbox>)>>,
    seen: Mutex<Instant>,
    budgets: Budgets,
    environment: Arc<dyn Environment>,
}

impl Account {
    fn new(id: UserId, nickname: String, quotas: Arc<Quotas>, environment: &Arc<dyn Environment>) -> Self {
        Self {
            id,
            name: Mutex::new(Nick::unchecked(nickname)),
            renaming: tokio::sync::Mutex::default(),
            connections: Mutex::default(),
            seen: Mutex::new(environment.now()),
            budgets: Budgets::new(quotas),
            environment: environment.clone(),
        }
    }

    /// The user's current name.
    pub fn nickname(&self) -> String {
        lock(&self.name).text.clone()
    }

    /// Pays a price from the user's budgets.
    ///
    /// # Errors
    /// `code`, with the time after which to retry.
    pub(super) fn spend(&self, price: Price, code: ErrorCode) -> Result<(), Refusal> {
        self.touch();
        self.budgets.spend(self.environment.now(), price).map_err(|wait| refusal(code, wait))
    }

    /// Pays a price in advance. Returns the time to wait.
    ///
    /// # Errors
    /// The time, if it is longer than `at_most`. Then nothing is paid.
    pub(super) fn reserve(&self, price: Price, at_most: Duration) -> Result<Duration, Duration> {
        self.touch();
        let now = self.environment.now();
        let wait = self.budgets.wait(now, price);
        if wait > at_most {
            return Err(wait);
        }
        self.budgets.take(now, price);
        Ok(wait)
    }

    /// Pays a price back.
    pub(super) fn refund(&self, price: Price) {
        self.budgets.refund(price);
    }

    /// Adds a connection. If there are too many, the oldest is closed.
    pub fn connect(&self, conn: ConnId, outbox: Arc<Outbox>, at_most: usize) {
        let mut connections = lock(&self.connections);
        connections.push_back((conn, outbox));
        if connections.len() > at_most
            && let Some((_, oldest)) = connections.pop_front()
        {
            oldest.close(CloseCode::Replaced);
        }
    }

    /// Removes a connection.
    pub fn disconnect(&self, conn: ConnId) {
        self.touch();
        lock(&self.connections).retain(|(id, _)| *id != conn);
    }

    fn touch(&self) {
        *lock(&self.seen) = self.environment.now();
    }

    fn can_be_forgotten(&self, now: Instant) -> bool {
        lock(&self.connections).is_empty() && now.duration_since(*lock(&self.seen)) >= REMEMBERED
    }
}

/// All accounts in memory, and the budgets of addresses.
#[derive(Debug)]
pub struct Directory {
    accounts: Mutex<HashMap<UserId, Arc<Account>>>,
    networks: Networks,
    quotas: Arc<Quotas>,
    environment: Arc<dyn Environment>,
}

impl Directory {
    pub(super) fn new(limits: &LimitSettings, environment: Arc<dyn Environment>) -> Self {
        let networks = Networks::new(limits, &environment);
        Self { accounts: Mutex::default(), networks, quotas: Arc::new(Quotas::of_user(limits)), environment }
    }

    /// The budgets of an address.
    pub fn address(&self, address: IpAddr) -> Address {
        self.networks.at(address)
    }

    /// An account in memory.
    pub fn get(&self, user: UserId) -> Option<Arc<Account>> {
        lock(&self.accounts).get(&user).cloned()
    }

    /// The account of a user. `chosen` is the name in the store, for a new account.
    pub(super) fn get_or_add(&self, user: UserId, chosen: Option<String>) -> Arc<Account> {
        let nickname = || chosen.unwrap_or_else(|| first_guest_name(user));
        let add = || Arc::new(Account::new(user, nickname(), self.quotas.clone(), &self.environment));
        lock(&self.accounts).entry(user).or_insert_with(add).clone()
    }

    /// Forgets the users who have been away for an hour.
    pub fn forget_old(&self) {
        let now = self.environment.now();
        lock(&self.accounts).retain(|_, account| !account.can_be_forgotten(now));
        self.networks.retain_recent();
    }
}

/// The name of a guest until it conflicts with another: the same on every machine and after every restart.
pub fn first_guest_name(user: UserId) -> String {
    guest_name(1_000 + (user.0 % 9_000) as u32)
}
