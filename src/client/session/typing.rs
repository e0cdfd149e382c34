//! Who is writing in a room, and when one last said so oneself. Pure.

use crate::protocol::{User, UserId};

/// Somebody who has not said so again for this long has stopped.
const FORGOTTEN_AFTER_MS: u64 = 6_000;
/// Whoever goes on writing says so this often.
const SAID_EVERY_MS: u64 = 3_000;

/// The writers of one room.
#[derive(Debug, Default)]
pub(super) struct Typing {
    others: Vec<(User, u64)>,
    said_at: Option<u64>,
}

impl Typing {
    /// Whether it is time to say that one is writing; counted as said.
    pub(super) fn is_due(&mut self, now: u64) -> bool {
        let due = self.said_at.is_none_or(|at| now >= at + SAID_EVERY_MS);
        if due {
            self.said_at = Some(now);
        }
        due
    }

    /// What one wrote is sent: the next letter is news again.
    pub(super) fn finished(&mut self) {
        self.said_at = None;
    }

    /// Somebody is writing. Whether that is news.
    pub(super) fn heard(&mut self, user: User, now: u64) -> bool {
        let until = now + FORGOTTEN_AFTER_MS;
        match self.others.iter_mut().find(|(other, _)| other.id == user.id) {
            Some(known) => {
                known.1 = until;
                std::mem::replace(&mut known.0, user.clone()) != user
            }
            None => {
                self.others.push((user, until));
                true
            }
        }
    }

    /// Somebody stopped: what they wrote is here, or they left. Whether that is news.
    pub(super) fn stopped(&mut self, user: UserId) -> bool {
        self.keep(|other, _| other.id != user)
    }

    /// Time has passed. Whether that is news.
    pub(super) fn expire(&mut self, now: u64) -> bool {
        self.keep(|_, until| until > now)
    }

    /// Nobody is known to write. Whether that is news.
    pub(super) fn clear(&mut self) -> bool {
        self.said_at = None;
        self.keep(|_, _| false)
    }

    /// When [`Typing::expire`] has something to do.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.others.iter().map(|(_, until)| *until).min()
    }

    /// Who is writing, in the order they began.
    pub(super) fn users(&self) -> Vec<User> {
        self.others.iter().map(|(user, _)| user.clone()).collect()
    }

    fn keep(&mut self, stays: impl Fn(&User, u64) -> bool) -> bool {
        let before = self.others.len();
        self.others.retain(|(user, until)| stays(user, *until));
        self.others.len() != before
    }
}
