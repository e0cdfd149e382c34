//! The state that pages show, as signals, and how the session's updates change it.
//!
//! Updates are applied one by one: a signal that keeps only the latest would lose messages.

mod expiry;
mod members;
mod older;
mod pins;
mod room;

use std::collections::BTreeMap;

use leptos::prelude::{Update as _, *};

use super::call::channel::CallChannel;
use super::session::{ConnectionState, Update};
use crate::protocol::{BUILD, EnterRoomAck, ErrorCode, Message, MyRoom, RoomCount, RoomId, User};

pub use room::{ChangeEnded, MoreMembers, Older, Pending, Room, SearchAnswer};

/// The state that all pages share. Copies are handles to the same state.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The connection to the server.
    pub connection: RwSignal<ConnectionState>,
    /// The user of this page, once the server has answered.
    pub me: RwSignal<Option<User>>,
    /// The rooms with people in them, once the server has answered.
    pub rooms: RwSignal<Option<Vec<RoomCount>>>,
    /// The user's own rooms, once the server has answered.
    pub my_rooms: RwSignal<Option<Vec<MyRoom>>>,
    /// The outcome of the last rename.
    pub rename_status: RwSignal<RenameStatus>,
    /// The build of the server, if it differs from that of the page.
    pub other_build: RwSignal<Option<String>>,
    /// True once server and page did not understand each other.
    pub is_outdated: RwSignal<bool>,
    /// Passes call updates on to the meeting.
    pub(crate) calls: CallChannel,
    /// The first message that was in view when a room was left, by its name. Not of rooms at their newest message.
    places: StoredValue<BTreeMap<String, u64>>,
    /// The room that is shown.
    room: RwSignal<Option<Room>>,
}

/// The outcome of the user's last rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameStatus {
    /// None was requested, or the answer is outstanding.
    Idle,
    /// The user has the requested name.
    Done,
    /// The name was refused.
    Refused(ErrorCode),
    /// The user changes names too often.
    Limited {
        /// The time after which it can succeed.
        retry_after_ms: u64,
    },
    /// There was no connection.
    Unreachable,
}

impl State {
    /// Creates the state of a page that has just loaded.
    pub fn new() -> Self {
        Self {
            connection: RwSignal::new(ConnectionState::Idle),
            me: RwSignal::new(None),
            rooms: RwSignal::new(None),
            my_rooms: RwSignal::new(None),
            rename_status: RwSignal::new(RenameStatus::Idle),
            other_build: RwSignal::new(None),
            is_outdated: RwSignal::new(false),
            calls: CallChannel::new(),
            places: StoredValue::new(BTreeMap::new()),
            room: RwSignal::new(None),
        }
    }

    /// Applies updates of this room to `room` from now on.
    pub fn show(&self, room: Room) {
        self.room.set(Some(room));
    }

    /// The room that is shown.
    pub fn shown(&self) -> Option<Room> {
        self.room.get_untracked()
    }

    /// The message that was first in view when the room was left.
    pub fn place(&self, room: &str) -> Option<u64> {
        self.places.with_value(|places| places.get(room).copied())
    }

    /// The first unread message of a room, if that is the one that is still shown: its page is being loaded again to show
    /// other messages, which the user has not read because of that.
    pub fn line_before_reload(&self, room: &str) -> Option<u64> {
        let shown =
            self.room.get_untracked().filter(|shown| shown.name.try_get_value().is_some_and(|name| name == room));
        shown.and_then(|shown| shown.first_unread.try_get_untracked().flatten())
    }

    /// Applies no more updates to `room`: its page is gone.
    pub fn hide(&self, room: Room) {
        if let (Some(name), Some(in_view)) = (room.name.try_get_value(), room.in_view.try_get_value()) {
            self.places.update_value(|places| match in_view {
                Some(seq) => drop(places.insert(name, seq)),
                None => drop(places.remove(&name)),
            });
        }
        self.room.try_update(|shown| {
            if shown.is_some_and(|shown| shown.name == room.name) {
                *shown = None;
            }
        });
    }

    /// Applies an update of the session.
    pub fn apply(&self, update: Update) {
        match update {
            Update::Connection(connection) => self.connection.set(connection),
            Update::Me(me) => self.identified(me),
            Update::Build(build) => self.other_build.set(Some(build).filter(|build| build != BUILD)),
            Update::NotUnderstood => self.is_outdated.set(true),
            Update::Rooms(list) => self.rooms.set(Some(list.rooms)),
            Update::MyRooms(rooms) => self.my_rooms.set(Some(rooms)),
            Update::NotRenamed(Some(refusal)) => self.rename_status.set(match refusal.retry_after_ms {
                Some(retry_after_ms) => RenameStatus::Limited { retry_after_ms },
                None => RenameStatus::Refused(refusal.code),
            }),
            Update::NotRenamed(None) => self.rename_status.set(RenameStatus::Unreachable),
            Update::Entered(ack) => self.entered(ack),
            Update::Named { requested, room } => self.with_room(&requested, |shown| shown.named(room)),
            Update::Unsent(post) => self.with_room(&post.room.clone(), |room| room.unsent(post)),
            Update::NotEntered { room, refusal } => {
                self.with_room(&room, |room| room.refusal.set(Some(refusal)));
            }
            Update::Message(message) => self.message(message),
            Update::Older { room, before, history } => self.with_room(&room, |room| room.loaded(before, history)),
            Update::Found { search, result } => {
                self.with_room(&search.room.clone(), |room| {
                    room.search_answer.set(Some(SearchAnswer { search: Some(search), result }));
                });
            }
            Update::Pins { room, result } => self.with_room(&room, |room| room.pins_loaded(result)),
            Update::Welcome(joined) => self.with_room_id(joined.room, |room| room.joined(joined.user, joined.count)),
            Update::Bye(left) => self.with_room_id(left.room, |room| room.left(left.user, left.count)),
            Update::Crowd(crowd) => self.with_room_id(crowd.room, |room| room.crowd(crowd.count, crowd.members)),
            Update::Members { room, after, page } => {
                let me = self.me.get_untracked();
                self.with_room(&room, |room| room.members_loaded(after, page, me.as_ref()));
            }
            Update::Typing { room, users } => self.with_room(&room, |room| room.typing.set(users)),
            Update::Renamed(renamed) => self.with_room_id(renamed.room, |room| room.rename(&renamed.user)),
            Update::Call { room, update } => {
                self.with_room(&room, |room| room.update_call(&update));
                self.calls.send(update);
            }
            Update::Changed(change) => self.with_room_id(change.room, |room| room.changed(change)),
            Update::Expired(expired) => self.with_room_id(expired.room, |room| room.expired(expired.floor)),
            Update::OwnDeletion { room, result } => {
                self.with_room(&room, |room| room.own_deletion.set(Some(result)));
            }
            Update::ChangeEnded { command, result } => {
                let ended = |room: Room| {
                    room.changes_ended.update(|ended| ended.push(ChangeEnded { command: command.clone(), result }))
                };
                self.with_room_id(command.room(), ended);
            }
            Update::Posted { room, key, status } => self.with_room(&room, |room| room.posted(key, status)),
        }
    }

    fn identified(&self, me: User) {
        self.rename_status.set(RenameStatus::Done);
        if let Some(room) = self.room.get_untracked() {
            room.rename(&me);
        }
        self.me.set(Some(me));
    }

    fn entered(&self, ack: EnterRoomAck) {
        self.with_room(&ack.name.clone(), |room| {
            let id = self.me.with_untracked(|me| me.as_ref().map(|me| me.id));
            // In a crowd the list may not reach to this user.
            let listed = || ack.members.iter().find(|member| Some(member.id) == id);
            if let Some(me) = ack.you.as_ref().or_else(listed) {
                self.me.set(Some(me.clone()));
            }
            room.entered(ack);
        });
    }

    fn message(&self, message: Message) {
        let is_own = self.me.with_untracked(|me| me.as_ref().is_some_and(|me| me.id == message.user.id));
        self.with_room_id(message.room, |room| room.message(message, is_own));
    }

    /// Calls `apply` with the room that is shown, if it has this id.
    fn with_room_id(&self, id: RoomId, apply: impl FnOnce(Room)) {
        let room = self.room.get_untracked();
        if let Some(room) = room.filter(|room| room.id.try_get_value() == Some(id)) {
            apply(room);
        }
    }

    /// Calls `apply` with the room that is shown, if it has this name.
    fn with_room(&self, name: &str, apply: impl FnOnce(Room)) {
        let room = self.room.get_untracked();
        if let Some(room) = room.filter(|room| room.name.try_with_value(|own| own == name).unwrap_or(false)) {
            apply(room);
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}
