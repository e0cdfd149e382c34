//! Typing notifications of one room, in both directions. Pure.

use crate::protocol::{User, UserId};

/// A user whose last notification is older than this has stopped typing.
const EXPIRES_AFTER_MS: u64 = 6_000;
/// A notification is sent at most this often while the user types: often enough that it does not expire.
const NOTIFY_EVERY_MS: u64 = 3_000;

/// The other users who are typing, and the time of our own last notification.
///
/// The methods that change the list return whether it is different from before.
#[derive(Debug, Default)]
pub(super) struct TypingUsers {
    /// Each with the time at which the notification expires.
    others: Vec<(User, u64)>,
    notified_at: Option<u64>,
}

impl TypingUsers {
    /// Returns whether a keystroke should be announced now. Throttled to one notification every 3 s.
    pub(super) fn should_notify(&mut self, now: u64) -> bool {
        let due = self.notified_at.is_none_or(|at| now >= at + NOTIFY_EVERY_MS);
        if due {
            self.notified_at = Some(now);
        }
        due
    }

    /// The text was posted: the next keystroke is announced without delay.
    pub(super) fn posted(&mut self) {
        self.notified_at = None;
    }

    /// A notification of another user has arrived.
    pub(super) fn started(&mut self, user: User, now: u64) -> bool {
        let expires_at = now + EXPIRES_AFTER_MS;
        match self.others.iter_mut().find(|(other, _)| other.id == user.id) {
            Some(known) => {
                known.1 = expires_at;
                std::mem::replace(&mut known.0, user.clone()) != user
            }
            None => {
                self.others.push((user, expires_at));
                true
            }
        }
    }

    /// A user has posted a message or left.
    pub(super) fn stopped(&mut self, user: UserId) -> bool {
        self.retain(|other, _| other.id != user)
    }

    pub(super) fn expire(&mut self, now: u64) -> bool {
        self.retain(|_, expires_at| expires_at > now)
    }

    pub(super) fn clear(&mut self) -> bool {
        self.notified_at = None;
        self.retain(|_, _| false)
    }

    /// The time of the next expiry.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.others.iter().map(|(_, expires_at)| *expires_at).min()
    }

    /// The users who are typing, in the order in which they started.
    pub(super) fn users(&self) -> Vec<User> {
        self.others.iter().map(|(user, _)| user.clone()).collect()
    }

    fn retain(&mut self, keep: impl Fn(&User, u64) -> bool) -> bool {
        let before = self.others.len();
        self.others.retain(|(user, expires_at)| keep(user, *expires_at));
        self.others.len() != before
    }
}
