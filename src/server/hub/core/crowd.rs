//! Crowds: a room with many people sends counts instead of each arrival and departure. An arrival then costs the same
//! in a room of 10,000 people as in one of 100.

use std::time::{Duration, Instant};

use super::{Audience, Core, Except};
use crate::protocol::frame::{Crowd as CrowdFrame, Renamed, RoomPresence};
use crate::protocol::{CROWD, CROWD_ENDS, MembersAck, ServerFrame, User};
use crate::server::id::RoomId;

/// A count is sent when it has changed by one part in this many. All counts together then cost as much per arrival as
/// this many frames.
const NOTABLE: u64 = 100;
/// A count that has changed by less is sent after this time.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// The state of a room that is crowded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    /// The count that was sent last.
    sent: u64,
    sent_at: Instant,
}

impl Crowd {
    fn is_due(&self, now: Instant, count: u64) -> bool {
        let change = count.abs_diff(self.sent);
        change > 0 && (change * NOTABLE >= count || now >= self.sent_at + COUNT_EVERY)
    }
}

/// The direction of a change of presence.
#[derive(Clone, Copy, Debug)]
pub(super) enum Presence {
    Came(Except),
    Left,
}

impl<O: Clone> Core<O> {
    /// A page of the people in a room, in the order of their arrival, after a [`MembersAck::members_after`].
    pub fn member_page(&self, room: RoomId, after: u64, limit: u64) -> MembersAck {
        self.rooms.get(&room).map(|room| room.member_page(after, limit)).unwrap_or_default()
    }

    /// Marks a room as crowded, if it is. Its count is sent at the next tick.
    pub(super) fn note_crowd(&mut self, now: Instant, id: RoomId) {
        if let Some(room) = self.rooms.get_mut(&id).filter(|room| room.crowd.is_none() && room.count() > CROWD) {
            room.crowd = Some(Crowd { sent: 0, sent_at: now });
            self.crowded.insert(id);
        }
    }

    /// Tells the others in a room that a user has come or left, unless it is crowded.
    pub(super) fn announce(&mut self, id: RoomId, user: User, presence: Presence) {
        let Some(room) = self.rooms.get(&id).filter(|room| room.crowd.is_none()) else { return };
        let payload = RoomPresence { room: id, user, count: room.count() };
        let (frame, except) = match presence {
            Presence::Came(except) => (ServerFrame::Welcome(payload), except),
            Presence::Left => (ServerFrame::Bye(payload), Except::Nobody),
        };
        self.broadcast_to(id, Audience::Loaded(except), frame);
    }

    /// Sends the counts that are due. A crowd that has dissolved receives the whole list.
    pub(super) fn tick_crowds(&mut self, now: Instant) {
        for id in self.crowded.clone() {
            let Some(room) = self.rooms.get_mut(&id) else {
                self.crowded.remove(&id);
                continue;
            };
            let count = room.count();
            let members = if count <= CROWD_ENDS {
                room.crowd = None;
                self.crowded.remove(&id);
                Some(room.members())
            } else {
                let Some(crowd) = room.crowd.as_mut().filter(|crowd| crowd.is_due(now, count)) else { continue };
                *crowd = Crowd { sent: count, sent_at: now };
                None
            };
            let frame = ServerFrame::Crowd(CrowdFrame { room: id, count, members });
            self.broadcast_to(id, Audience::Loaded(Except::Nobody), frame);
        }
    }

    /// Tells a room that a user has another name. In a crowd only the user's own connections are told.
    pub(super) fn announce_name(&mut self, id: RoomId, user: User, except: Except) {
        let Some(room) = self.rooms.get(&id) else { return };
        let audience = if room.crowd.is_some() { Audience::Of(user.id, except) } else { Audience::Loaded(except) };
        self.broadcast_to(id, audience, ServerFrame::Nickname(Renamed { room: id, user }));
    }
}
