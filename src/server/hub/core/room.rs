//! One room in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::super::output::LogPosition;
use super::super::recent_changes::RecentChanges;
use super::super::tail::{Sequenced, Tail};
use super::crowd::Crowd;
use super::input::Enter;
use super::names::Names;
use super::seats::{Loading, Seat, Seats};
use super::tails::TailUse;
use crate::protocol::{
    MAX_HISTORY_BYTES, MAX_REPLAY_BYTES, MembersAck, Message, MessageChange, Position, RECENT_MESSAGES, Unrecovered,
    User, UserId,
};
use crate::server::history::{History, check_position, encoded_bytes, encoded_change_bytes};
use crate::server::id::RoomRow;
use crate::server::name_key::Nick;

#[derive(Debug)]
pub(super) struct Room<O> {
    pub(super) row: RoomRow,
    pub(super) people: HashMap<UserId, Person>,
    /// The people that the others know of, in the order of their arrival.
    pub(super) announced: BTreeMap<u64, UserId>,
    pub(super) names: Names,
    pub(super) seats: Seats<O>,
    pub(super) tail: Tail<Arc<Message>>,
    pub(super) changes: RecentChanges,
    pub(super) tail_use: TailUse,
    /// The epoch that the tail counts in; empty until it is seeded.
    epoch: String,
    /// The `seq` of the oldest message that is kept, as far as it is known.
    floor: u64,
    /// A gap in the tail is being read from the store.
    pub(super) is_fetching: bool,
    /// Set while the room is crowded.
    pub(super) crowd: Option<Crowd>,
    arrivals: u64,
    pub(super) empty_since: Option<Instant>,
}

/// A user in a room, over one or more connections.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) nick: Nick,
    /// Orders the list of members.
    pub(super) arrival: u64,
    /// The number of connections in this room.
    pub(super) seats: usize,
    /// The end of the grace period, after the last connection has ended.
    pub(super) leaves_at: Option<Instant>,
}

impl Sequenced for Arc<Message> {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn bytes(&self) -> usize {
        encoded_bytes(self)
    }
}

impl<O> Room<O> {
    pub(super) fn new(row: RoomRow) -> Self {
        Self {
            row,
            people: HashMap::new(),
            announced: BTreeMap::new(),
            names: Names::default(),
            seats: Seats::default(),
            tail: Tail::default(),
            changes: RecentChanges::default(),
            tail_use: TailUse::default(),
            epoch: String::new(),
            floor: 1,
            is_fetching: false,
            crowd: None,
            arrivals: 0,
            empty_since: None,
        }
    }

    /// The number of people in the room.
    pub(super) fn count(&self) -> u64 {
        self.announced.len() as u64
    }

    /// The people in the room, in the order of their arrival.
    pub(super) fn members(&self) -> Vec<User> {
        self.announced.values().filter_map(|id| self.user(*id)).collect()
    }

    /// At most `limit` people, of those who came after the arrival number `after`.
    pub(super) fn member_page(&self, after: u64, limit: u64) -> MembersAck {
        let mut rest = self.announced.range(after.saturating_add(1)..);
        let page: Vec<_> = rest.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        let last = page.last().map(|(arrival, _)| **arrival);
        let members = page.iter().filter_map(|(_, id)| self.user(**id)).collect();
        let members_after = last.filter(|_| rest.next().is_some());
        MembersAck { count: self.count(), members, members_after, crowded: self.crowd.is_some().then_some(true) }
    }

    pub(super) fn user(&self, id: UserId) -> Option<User> {
        self.people.get(&id).map(|person| User { id, nickname: person.nick.text.clone() })
    }

    /// Returns whether the others know of this user.
    pub(super) fn is_announced(&self, user: UserId) -> bool {
        self.people.get(&user).is_some_and(|person| self.announced.contains_key(&person.arrival))
    }

    /// Gives a connection a seat whose history is loading. Returns whether its user was not in the room before.
    pub(super) fn take_seat(&mut self, enter: Enter<O>) -> bool {
        let Enter { conn, outbox, user, nick, room: _, id, after: _ } = enter;
        self.empty_since = None;
        let head = self.tail.head().unwrap_or_default();
        if let Some(seat) = self.seats.get_mut(conn) {
            let rev = self.changes.rev().unwrap_or_default();
            let received = match seat.loading {
                Some(loading) => loading.received,
                None => Some(LogPosition { up_to: head.max(seat.delivered.up_to), rev: rev.max(seat.delivered.rev) }),
            };
            seat.loading = Some(Loading { id, received });
            return false;
        }
        let loading = Some(Loading { id, received: None });
        let delivered = LogPosition::default();
        self.seats.insert(Seat { conn, user, outbox, loading, delivered, typed_at: None });
        if let Some(person) = self.people.get_mut(&user) {
            person.seats += 1;
            person.leaves_at = None;
            return false;
        }
        self.arrivals += 1;
        self.names.claim(user, nick.key.clone());
        self.people.insert(user, Person { nick, arrival: self.arrivals, seats: 1, leaves_at: None });
        true
    }

    /// Lets the room learn from a history that the store returned, and brings that up to date ([`Room::update`]). Returns
    /// false if it has to be read again.
    pub(super) fn seed(&mut self, history: &mut History) -> bool {
        self.changes.seed(history.rev);
        if !self.update(history) {
            return false;
        }
        self.expire_before(history.floor);
        if self.tail.head().is_none() {
            self.epoch.clone_from(&history.epoch);
        }
        if self.epoch == history.epoch {
            self.tail.seed(history.head, &history.messages);
        }
        true
    }

    /// The store no longer has the messages before `floor`.
    pub(super) fn expire_before(&mut self, floor: u64) {
        if self.floor < floor {
            self.floor = floor;
            self.forget_expired();
            // Some may be of messages that have expired.
            self.changes.forget();
        }
    }

    /// Forgets what the tail has of expired messages. A message can expire before it was delivered.
    pub(super) fn forget_expired(&mut self) {
        self.tail.forget_before(self.floor);
    }

    /// Brings a history up to date with the changes that have come since it was read. Returns false if they are not in
    /// memory any more, or if messages have expired since.
    pub(super) fn update(&self, history: &mut History) -> bool {
        if history.floor.max(1) < self.floor {
            return false;
        }
        let Some(missed) = self.changes.since(history.rev) else { return false };
        let first = history.messages.first().map_or(0, |message| message.seq);
        for change in missed {
            let index = change.seq.checked_sub(first).and_then(|index| usize::try_from(index).ok());
            if let Some(message) = index.and_then(|index| history.messages.get_mut(index)) {
                Arc::make_mut(message).apply(change);
            }
            if let Some(changes) = &mut history.changes {
                changes.push(change.clone());
            }
            history.rev = change.state.rev;
        }
        true
    }

    /// The position up to which the room's log is known, if its messages are known up to a `seq`.
    pub(super) fn known_up_to(&self, up_to: u64) -> LogPosition {
        LogPosition { up_to, rev: self.changes.rev().unwrap_or_default() }
    }

    /// The size of what is remembered of the room's log, in bytes.
    pub(super) fn tail_bytes(&self) -> usize {
        self.tail.bytes() + self.changes.bytes()
    }

    /// Forgets what the store can tell.
    pub(super) fn forget_tail(&mut self) {
        self.tail.forget();
        self.changes.forget();
    }

    /// The history for a connection that enters, from the tail; `None` if only the store can answer. Equals what
    /// [`crate::server::storage::Storage::history_for`] returns, except that `changes` may have several states of a message.
    pub(super) fn recent_history(&self, after: Option<&Position>) -> Option<History> {
        // The store may be ahead with an expiry, too.
        let is_known = |head: &u64| self.tail.gap().is_none() && self.floor <= head + 1;
        let head = self.tail.head().filter(is_known)?;
        let rev = self.changes.rev()?;
        let mut history = History { epoch: self.epoch.clone(), head, rev, floor: self.floor, ..History::default() };
        let reason = match after.map(|after| (after, check_position(after, &history))) {
            None => None,
            // The store may be ahead of the tail: deliveries are queued.
            Some((_, Err(Unrecovered::PositionAhead))) => return None,
            Some((_, Err(reason @ (Unrecovered::EpochChanged | Unrecovered::Expired)))) => Some(reason),
            Some((after, Err(reason @ Unrecovered::GapTooLarge))) => {
                history.changes = Some(self.changes_for(after)?);
                Some(reason)
            }
            Some((after, Ok(()))) => {
                history.changes = Some(self.changes_for(after)?);
                let messages = self.tail.since(after.seq)?;
                let changes = history.changes.iter().flatten().map(|change| encoded_change_bytes(change));
                let bytes = messages.clone().map(|message| encoded_bytes(message)).chain(changes).sum::<usize>();
                if bytes <= MAX_REPLAY_BYTES {
                    return Some(History { messages: messages.cloned().collect(), recovered: true, ..history });
                }
                Some(Unrecovered::GapTooLarge)
            }
        };
        let messages: Vec<_> = self.tail.latest(RECENT_MESSAGES, MAX_HISTORY_BYTES, self.floor)?.cloned().collect();
        let more = messages.first().is_some_and(|oldest| oldest.seq > self.floor);
        Some(History { messages, more, reason, ..history })
    }

    /// The changes after a position of messages up to it; `None` if they are not in memory.
    fn changes_for(&self, after: &Position) -> Option<Vec<Arc<MessageChange>>> {
        let changes = self.changes.since(after.rev)?.filter(|change| change.seq <= after.seq);
        Some(changes.cloned().collect())
    }
}
