//! Payloads about the rooms of a user, and what the user has read in them.
//!
//! The numbers of messages have no gaps, so the number of unread messages is the difference of two of them.

use std::cmp::Ordering;

use super::change::MessageRef;
use super::codec::wire;
use super::id::RoomId;

wire! {
    /// A room in a user's own list.
    pub struct MyRoom {
        /// The room.
        pub room: RoomId,
        /// Its canonical name.
        pub name: String,
        /// The `seq` of its last message; 0 when there is none.
        pub head: u64,
        /// The `seq` up to which the user has read. A message that the user posts counts as read, and so does everything
        /// before it.
        pub read: u64,
        /// The number of unread messages that mention the user, if there are some. At most
        /// [`MAX_UNREAD`](super::MAX_UNREAD).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub mentions: Option<u64>,
    }

    /// Answer to `watch_my_rooms`: the user's rooms, at most [`MAX_MY_ROOMS`](super::MAX_MY_ROOMS), by name.
    pub struct MyRooms {
        /// The whole list.
        pub rooms: Vec<MyRoom>,
    }

    /// Payload of `my_rooms_changed`.
    #[derive(Default)]
    pub struct MyRoomsUpdate {
        /// The rooms that are new in the list, or whose numbers changed.
        pub rooms: Vec<MyRoom>,
        /// The rooms that are no longer in it.
        pub removed: Vec<RoomId>,
    }

    /// Payload of `keep_room`.
    pub struct KeepRoom {
        /// The room, which the connection must have entered if it is added.
        pub room: RoomId,
        /// Adds the room to the user's list, or removes it.
        pub on: bool,
    }

    /// Payload of `mark_read`.
    pub struct MarkRead {
        /// The room, which the connection must have entered.
        pub room: RoomId,
        /// The last message that the user has read.
        pub target: MessageRef,
    }
}

impl MyRoom {
    /// The order of lists: by name, by code points.
    pub fn order(&self, other: &Self) -> Ordering {
        (&self.name, self.room).cmp(&(&other.name, other.room))
    }

    /// The number of messages that the user has not read.
    pub fn unread(&self) -> u64 {
        self.head.saturating_sub(self.read)
    }

    /// The number of these that mention the user.
    pub fn unread_mentions(&self) -> u64 {
        self.mentions.unwrap_or(0)
    }
}

impl MyRoomsUpdate {
    /// Changes a list accordingly.
    pub fn apply(&self, rooms: &mut Vec<MyRoom>) {
        let is_changed = |room: &MyRoom| self.rooms.iter().any(|changed| changed.room == room.room);
        rooms.retain(|room| !self.removed.contains(&room.room) && !is_changed(room));
        rooms.extend(self.rooms.iter().cloned());
        rooms.sort_unstable_by(MyRoom::order);
    }
}
