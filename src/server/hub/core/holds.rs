//! Names that are held for users who post by forms. They have no connection, and so no seat that holds their name.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::names::Names;
use crate::protocol::{ErrorCode, UserId};
use crate::server::id::RoomId;
use crate::server::name_key::NameKey;

/// The time that a name is held after the last post. A reader who reloads the page now and then stays who they are.
pub const FORM_HOLD: Duration = Duration::from_secs(600);
/// The most names that a shard holds. The oldest are released first.
const MAX_HOLDS: usize = 10_000;

/// The held names of one shard.
#[derive(Debug, Default)]
pub(super) struct Holds {
    rooms: HashMap<RoomId, HeldNames>,
    /// The rooms in which a user's name is held.
    users: HashMap<UserId, Vec<RoomId>>,
    /// One entry for each hold: the time to look whether it has ended.
    ends: VecDeque<(Instant, RoomId, UserId)>,
}

#[derive(Debug, Default)]
struct HeldNames {
    names: Names,
    holds: HashMap<UserId, Hold>,
}

#[derive(Debug)]
struct Hold {
    key: NameKey,
    until: Instant,
}

impl Holds {
    /// `NICK_TAKEN` or `NICK_CONFUSABLE` if the name, or a similar one, is held for another user.
    pub(super) fn conflict(&self, room: RoomId, user: UserId, key: &NameKey) -> Option<ErrorCode> {
        self.rooms.get(&room)?.names.conflict(user, key)
    }

    /// Holds a name that does not conflict, instead of the user's earlier one.
    pub(super) fn hold(&mut self, now: Instant, room: RoomId, user: UserId, key: NameKey) {
        let held = self.rooms.entry(room).or_default();
        let until = now + FORM_HOLD;
        match held.holds.insert(user, Hold { key: key.clone(), until }) {
            Some(earlier) => held.names.release(user, &earlier.key),
            None => {
                self.users.entry(user).or_default().push(room);
                self.ends.push_back((until, room, user));
            }
        }
        held.names.claim(user, key);
        while self.ends.len() > MAX_HOLDS
            && let Some((_, room, user)) = self.ends.pop_front()
        {
            self.remove(room, user);
        }
    }

    /// Releases the names of a user in all rooms.
    pub(super) fn release(&mut self, user: UserId) {
        let rooms = self.users.get(&user).cloned().unwrap_or_default();
        if rooms.is_empty() {
            return;
        }
        self.ends.retain(|(_, _, other)| *other != user);
        rooms.into_iter().for_each(|room| self.remove(room, user));
    }

    /// Releases the names whose time is over.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some((_, room, user)) = self.ends.pop_front_if(|(at, ..)| *at <= now) {
            let hold = self.rooms.get(&room).and_then(|held| held.holds.get(&user));
            match hold.map(|hold| hold.until).filter(|until| *until > now) {
                Some(until) => self.ends.push_back((until, room, user)),
                None => self.remove(room, user),
            }
        }
    }

    fn remove(&mut self, room: RoomId, user: UserId) {
        if let Some(held) = self.rooms.get_mut(&room)
            && let Some(hold) = held.holds.remove(&user)
        {
            held.names.release(user, &hold.key);
            if held.holds.is_empty() {
                self.rooms.remove(&room);
            }
        }
        if let Some(rooms) = self.users.get_mut(&user) {
            rooms.retain(|other| *other != room);
            if rooms.is_empty() {
                self.users.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::name_key::Nick;

    const ROOM: RoomId = RoomId(1);

    fn key(name: &str) -> NameKey {
        Nick::unchecked(name.to_owned()).key
    }

    #[test]
    fn held_names_are_bounded_and_leave_nothing_behind() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        for user in 0..MAX_HOLDS as u64 + 10 {
            holds.hold(now, RoomId(user % 7), UserId(user), key(&format!("name {user}")));
            holds.hold(now, RoomId(user % 7), UserId(user), key(&format!("other {user}")));
        }
        assert_eq!((holds.ends.len(), holds.users.len()), (MAX_HOLDS, MAX_HOLDS));
        assert_eq!(holds.conflict(RoomId(0), UserId(1), &key("other 0")), None, "the oldest are released first");
        assert_eq!(holds.conflict(RoomId(3), UserId(1), &key("other 10")), Some(ErrorCode::NickTaken));
        holds.release(UserId(10));
        assert_eq!(holds.ends.len(), MAX_HOLDS - 1);
        holds.tick(now + FORM_HOLD);
        assert!(holds.rooms.is_empty() && holds.users.is_empty() && holds.ends.is_empty());
    }

    #[test]
    fn hold_is_prolonged_by_each_post() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        let later = now + FORM_HOLD / 2;
        holds.hold(now, ROOM, UserId(1), key("Ann"));
        holds.hold(later, ROOM, UserId(1), key("Ann"));
        for (at, conflict) in [(now + FORM_HOLD, Some(ErrorCode::NickTaken)), (later + FORM_HOLD, None)] {
            holds.tick(at);
            assert_eq!(holds.conflict(ROOM, UserId(2), &key("ann")), conflict);
            assert_eq!(holds.conflict(ROOM, UserId(1), &key("ann")), None, "the holder may enter");
        }
    }
}
