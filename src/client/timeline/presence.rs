//! Consecutive arrivals and departures, in one row.

use crate::protocol::User;

/// The most people in a row that are known by name.
pub(super) const MOST_NAMED: usize = 20;

/// The consecutive arrivals and departures of one row. Of each person only the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Presence {
    /// Those who have entered the room.
    pub joined: People,
    /// Those who have left the room.
    pub left: People,
}

/// Some people, of whom the first are known by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct People {
    /// The first of them.
    pub named: Vec<User>,
    /// The number of others.
    pub others: u64,
}

/// The direction of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Joined,
    Left,
}

impl People {
    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others == 0
    }

    fn add(&mut self, user: User) {
        self.named.retain(|named| named.id != user.id);
        if self.named.len() < MOST_NAMED {
            self.named.push(user);
        } else {
            self.others += 1;
        }
    }
}

impl Presence {
    pub(super) fn add(&mut self, user: User, change: Change) {
        let (people, opposite) = match change {
            Change::Joined => (&mut self.joined, &mut self.left),
            Change::Left => (&mut self.left, &mut self.joined),
        };
        opposite.named.retain(|named| named.id != user.id);
        people.add(user);
    }
}
