//! The people this process knows at the moment: their names, connections and allowances.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::core::ConnId;
use super::outbox::Link;
use crate::protocol::name::guest_name;
use crate::protocol::{CloseCode, ErrorCode, Refusal, UserId};
use crate::server::config::LimitSettings;
use crate::server::name_key::Nick;

/// How long somebody without a connection is remembered: as long as the longest allowance counts.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Somebody who is or was connected, or used a form, lately.
#[derive(Debug)]
pub struct Account {
    /// Who.
    pub id: UserId,
    /// What they are called. Locked while rooms learn of it, so that a change of name and an
    /// entering on another connection do not pass each other.
    pub name: Mutex<Nick>,
    /// Held for a whole change of name, from the check to the store and the rooms.
    pub renaming: tokio::sync::Mutex<()>,
    connections: Mutex<VecDeque<(ConnId, Link)>>,
    seen: Mutex<Instant>,
    messages: DefaultDirectRateLimiter,
    signals: DefaultDirectRateLimiter,
    joins: DefaultDirectRateLimiter,
    rooms_per_minute: DefaultDirectRateLimiter,
    rooms_per_hour: DefaultDirectRateLimiter,
}

/// What an allowance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// A message.
    Message,
    /// Any other command.
    Signal,
    /// Entering a room.
    Join,
}

impl Account {
    fn new(id: UserId, nickname: String, limits: &LimitSettings) -> Self {
        let minute = |count| Quota::per_minute(at_least_one(count));
        Self {
            id,
            name: Mutex::new(Nick::unchecked(nickname)),
            renaming: tokio::sync::Mutex::default(),
            connections: Mutex::default(),
            seen: Mutex::new(Instant::now()),
            messages: RateLimiter::direct(per_second(limits.messages_per_second, limits.message_burst)),
            signals: RateLimiter::direct(per_second(limits.signals_per_second, limits.signal_burst)),
            joins: RateLimiter::direct(minute(limits.joins_per_minute)),
            rooms_per_minute: RateLimiter::direct(minute(limits.rooms_per_minute)),
            rooms_per_hour: RateLimiter::direct(Quota::per_hour(at_least_one(limits.rooms_per_hour))),
        }
    }

    /// What they are called now.
    pub fn nickname(&self) -> String {
        lock(&self.name).text.clone()
    }

    /// Uses up one of an allowance.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the time after which there is one again.
    pub fn spend(&self, allowance: Allowance) -> Result<(), Refusal> {
        *lock(&self.seen) = Instant::now();
        let limiter = match allowance {
            Allowance::Message => &self.messages,
            Allowance::Signal => &self.signals,
            Allowance::Join => &self.joins,
        };
        spend(limiter, ErrorCode::RateLimited)
    }

    /// Uses up one new room.
    ///
    /// # Errors
    /// `ROOM_QUOTA`, with the time after which another may be made.
    pub fn spend_room(&self) -> Result<(), Refusal> {
        spend(&self.rooms_per_minute, ErrorCode::RoomQuota)?;
        spend(&self.rooms_per_hour, ErrorCode::RoomQuota)
    }

    /// Adds a connection. When there are too many, the oldest is closed.
    pub fn connect(&self, conn: ConnId, link: Link, at_most: usize) {
        let mut connections = lock(&self.connections);
        connections.push_back((conn, link));
        if connections.len() > at_most
            && let Some((_, oldest)) = connections.pop_front()
        {
            oldest.close(CloseCode::Replaced);
        }
    }

    /// Removes a connection.
    pub fn disconnect(&self, conn: ConnId) {
        *lock(&self.seen) = Instant::now();
        lock(&self.connections).retain(|(id, _)| *id != conn);
    }

    fn can_be_forgotten(&self, now: Instant) -> bool {
        lock(&self.connections).is_empty() && now.duration_since(*lock(&self.seen)) >= REMEMBERED
    }
}

/// Everyone remembered, and what addresses may still do.
#[derive(Debug)]
pub struct Directory {
    accounts: Mutex<HashMap<UserId, Arc<Account>>>,
    guests: DefaultKeyedRateLimiter<IpAddr>,
}

impl Directory {
    /// Nobody yet.
    pub fn new(limits: &LimitSettings) -> Self {
        let guests = RateLimiter::keyed(Quota::per_minute(at_least_one(limits.guests_per_minute)));
        Self { accounts: Mutex::default(), guests }
    }

    /// Somebody who is remembered.
    pub fn get(&self, user: UserId) -> Option<Arc<Account>> {
        lock(&self.accounts).get(&user).cloned()
    }

    /// Somebody, remembered from now on. `chosen` is the name in the store.
    pub fn get_or_add(&self, user: UserId, chosen: Option<String>, limits: &LimitSettings) -> Arc<Account> {
        let add = || Arc::new(Account::new(user, chosen.unwrap_or_else(|| first_guest_name(user)), limits));
        lock(&self.accounts).entry(user).or_insert_with(add).clone()
    }

    /// Lets an address have one more guest.
    ///
    /// # Errors
    /// `RATE_LIMITED`.
    pub fn admit_guest(&self, address: IpAddr) -> Result<(), Refusal> {
        self.guests.check_key(&address).map_err(|not_until| refusal(ErrorCode::RateLimited, &not_until))
    }

    /// Forgets who has not been seen for an hour.
    pub fn forget_old(&self, now: Instant) {
        lock(&self.accounts).retain(|_, account| !account.can_be_forgotten(now));
        self.guests.retain_recent();
    }
}

/// The name that a guest has until it clashes: the same on every machine and after every restart.
pub fn first_guest_name(user: UserId) -> String {
    guest_name(1_000 + (user.0 % 9_000) as u32)
}

/// A limiter for the control frames of one connection.
pub fn control_frames(limits: &LimitSettings) -> DefaultDirectRateLimiter {
    RateLimiter::direct(per_second(limits.signals_per_second, limits.signal_burst))
}

fn per_second(rate: u32, burst: u32) -> Quota {
    Quota::per_second(at_least_one(rate)).allow_burst(at_least_one(burst))
}

fn at_least_one(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}

fn spend(limiter: &DefaultDirectRateLimiter, code: ErrorCode) -> Result<(), Refusal> {
    limiter.check().map_err(|not_until| refusal(code, &not_until))
}

fn refusal(code: ErrorCode, not_until: &governor::NotUntil<Instant>) -> Refusal {
    let wait = not_until.wait_time_from(DefaultClock::default().now());
    // Rounded up: whoever waits that long is let through.
    Refusal { retry_after_ms: Some(wait.as_millis() as u64 + 1), ..code.into() }
}

/// Nothing that holds one of these locks panics half-way through a change.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
