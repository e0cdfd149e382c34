//! The outputs that the state machines of a shard share: [`super::core::Core`] for rooms and
//! [`crate::server::call::signal::Calls`] for calls. Pure.

use std::sync::Arc;

use crate::protocol::{
    Ack, CloseCode, EnterRoomAck, MembersAck, Message, MessageChange, Peer, ServerFrame, User, UserId,
};
use crate::server::history::{History, encoded_bytes, encoded_change_bytes, owned};
use crate::server::id::{ConnId, RoomId, RoomRow};

/// An action that the driver of a state machine carries out. `O` is an outbox.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<O> {
    /// Send a frame to one connection.
    Send(O, ServerFrame),
    /// Answer `enter_room`. The driver adds the room's call, and encodes the answer only when it is written: the list
    /// of members can be long, and the shard is locked now.
    Entered(O, Box<Entered>),
    /// Send a frame to many connections of a room.
    Broadcast(Broadcast),
    /// Send a message to the connections that [`super::core::Core::receivers`] lists.
    Deliver(RoomId, Arc<Message>),
    /// Send a change of a message to the connections that [`super::core::Core::change_receivers`] lists.
    DeliverChange(RoomId, Arc<MessageChange>),
    /// Close a connection.
    Close(O, CloseCode),
    /// An effect outside of the shard.
    Effect(Effect),
}

/// A frame for many connections of a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// The room.
    pub room: RoomId,
    /// The receivers.
    pub audience: Audience,
    /// The frame.
    pub frame: ServerFrame,
}

/// The connections of a room that receive a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Those who were in the room before, or whose history has loaded: the others are about to receive the room's
    /// state with it.
    Loaded(Except),
    /// All of them.
    Everyone(Except),
    /// Those of [`Audience::Loaded`] that belong to one user.
    Of(UserId, Except),
}

/// The connections that a broadcast skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Except {
    /// It skips none.
    Nobody,
    /// It skips one connection.
    Connection(ConnId),
    /// It skips all connections of a user.
    User(UserId),
}

/// An effect outside of the shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The number of people in a room has changed. 0: the room is empty.
    MemberCount(RoomRow, u64),
    /// The number of peers in a room's call has changed. 0: the call has ended.
    CallCount(RoomId, u64),
    /// Read what follows from the store, for [`super::core::Input::Fetched`].
    Fetch(RoomRow, LogPosition),
    /// A room has left memory.
    Unloaded(RoomRow),
}

/// The part of a room's log that a connection, or the server's memory, has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// The last message.
    pub up_to: u64,
    /// The revision of the last change.
    pub rev: u64,
}

/// The answer to `enter_room`, not encoded yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Entered {
    /// The id of the `enter_room` frame.
    pub id: u64,
    /// The room.
    pub room: RoomRow,
    /// The people in the room, or the first of them.
    pub people: MembersAck,
    /// The user, who may not be among them.
    pub you: Option<User>,
    /// The messages.
    pub history: History,
    /// The peers in the room's call. The core leaves it empty.
    pub call: Vec<Peer>,
}

impl Entered {
    /// The answer as a frame.
    pub fn into_frame(self) -> ServerFrame {
        let Self { id, room, people, you, history, call } = self;
        let MembersAck { count, members, members_after, crowded } = people;
        let History { epoch, head, rev, floor, messages, changes, more, recovered, reason } = history;
        let ack = EnterRoomAck {
            room: room.id,
            name: room.name.to_string(),
            epoch,
            head,
            rev,
            floor: (floor > 1).then_some(floor),
            count,
            members,
            members_after,
            crowded,
            you,
            messages: owned(messages),
            changes: changes.map(owned),
            more,
            recovered,
            reason,
            call: (!call.is_empty()).then_some(call),
        };
        ServerFrame::Ack { id, ack: Ack::EnterRoom(ack) }
    }

    /// An estimate of the encoded size, in bytes.
    pub fn estimated_bytes(&self) -> usize {
        let members = self.people.members.iter().map(|user| user.nickname.len() + 48);
        let messages = self.history.messages.iter().map(|message| encoded_bytes(message));
        let changes = self.history.changes.iter().flatten().map(|change| encoded_change_bytes(change));
        let call = self.call.iter().map(|peer| peer.user.nickname.len() + 160);
        256 + self.room.name.len() + members.chain(messages).chain(changes).chain(call).sum::<usize>()
    }
}
