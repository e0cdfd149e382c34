//! The inputs and outputs of a [`super::Session`]. Pure.

use super::message_command::MessageCommand;
use super::transport_choice::TransportKind;
use super::unsent_message::UnsentMessage;
use crate::protocol::call::{CallPresence, Describe, SetMedia, Trickle};
use crate::protocol::change::{MessageChange, MessageRef};
use crate::protocol::frame::{Crowd, MessagesExpired, Renamed, RoomPresence};
use crate::protocol::{
    EnterRoomAck, HistoryAck, JoinCallAck, MembersAck, Message, MessageKey, MyRoom, PinsAck, Place, Position, Refusal,
    RoomId, RoomList, SearchAck, User,
};

/// The close code of a connection that ended without a close frame (RFC 6455, 7.1.5).
pub const ABNORMAL_CLOSE: u16 = 1006;

/// An input of the session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The page has loaded, or is shown again after [`Event::Suspend`]: connect.
    Start,
    /// The requested connection is open.
    Opened,
    /// A text frame has arrived.
    Received(String),
    /// The connection has ended or could not be opened, with this close code (RFC 6455, 7.4), or with
    /// [`ABNORMAL_CLOSE`].
    Closed(u16),
    /// A frame has arrived over the WebSocket that [`Action::Probe`] opened.
    Unblocked,
    /// The time of [`Session::next_wake`](super::Session::next_wake) has come.
    Tick,
    /// The browser has a network again, or the reader is back at the page.
    Awake,
    /// The page is hidden now, and may be closed without another event.
    Hidden,
    /// The page or the computer was suspended until now.
    Slept,
    /// The browser estimates that it has no network.
    Offline,
    /// The page gives up its connection, because the browser has too few for all tabs. It connects again when the reader
    /// is back.
    Yield,
    /// The page goes into the back/forward cache of the browser. [`Event::Start`] follows when it is shown again.
    Suspend,
    /// A request of the page.
    Intent(Intent),
}

/// A request of the page.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Enter a room now, and again after each reconnect.
    Enter {
        /// The room, in any form of its name.
        room: String,
        /// The last message that the page shows already; the session resumes after it.
        after: Option<Position>,
    },
    /// Leave a room.
    Leave {
        /// The room's name as entered, or its canonical name.
        room: String,
    },
    /// Send a message: a new one, a failed one, or one that an earlier page left in storage.
    Post(UnsentMessage),
    /// Give up a message that was not sent.
    Discard(MessageKey),
    /// Change a message. [`Update::ChangeEnded`] follows.
    Change(MessageCommand),
    /// Delete all messages of this user in a room. [`Update::OwnDeletion`] follows.
    DeleteOwn {
        /// An entered room.
        room: String,
    },
    /// The user has pressed a key in the composer. Notifications to the server are throttled.
    Typing {
        /// The room of the composer.
        room: String,
    },
    /// Change the user's nickname.
    Rename {
        /// The new nickname, not yet checked by the server.
        nickname: String,
    },
    /// Load older messages.
    Older {
        /// An entered room.
        room: String,
        /// Only messages with a smaller `seq` are loaded.
        before: u64,
        /// At most this many: 1 to [`MAX_HISTORY`](crate::protocol::MAX_HISTORY).
        limit: u64,
    },
    /// Search messages. [`Update::Found`] follows.
    Search(Search),
    /// Load the pinned messages of a room. [`Update::Pins`] follows.
    Pins {
        /// An entered room.
        room: String,
    },
    /// Load a page of the members of a room.
    Members {
        /// An entered room.
        room: String,
        /// The [`MembersAck::members_after`] of the page before; 0 for the first page.
        after: u64,
    },
    /// Subscribe to the list of rooms, or unsubscribe.
    WatchRooms(bool),
    /// Subscribe to the list of the user's own rooms, from now on.
    WatchMyRooms,
    /// Add a room to that list, or remove it. Without a connection nothing happens.
    KeepRoom {
        /// An entered room, or one in the list.
        room: RoomId,
        /// Add it.
        on: bool,
    },
    /// Note how far the user has read. The latest mark of a room is sent, now and then and when the room is left.
    MarkRead {
        /// An entered room.
        room: String,
        /// The last message that the user has read.
        target: MessageRef,
    },
    /// Connect now instead of after the backoff.
    ReconnectNow,
    /// Join the call of a room now, and again after each reconnect.
    JoinCall {
        /// An entered room.
        room: String,
    },
    /// Leave the call of a room.
    LeaveCall {
        /// An entered room.
        room: String,
    },
    /// Send a signal to peers in a call, in order, and again if the rate limit refuses it. Without a connection it is
    /// dropped: both sides negotiate again after a reconnect.
    Signal(Signal),
}

/// A search on the page of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The room of the page, entered.
    pub room: String,
    /// Search in all rooms of the user, not only in this one.
    pub in_all: bool,
    /// The words to find.
    pub text: String,
    /// The [`SearchAck::before`] of the page before.
    pub before: Option<Place>,
}

/// A signaling message between the peers of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// A session description that proposes a connection.
    Offer(Describe),
    /// The session description that accepts an offer.
    Answer(Describe),
    /// An ICE candidate.
    Ice(Trickle),
    /// The media that the sender sends, for all peers.
    Media(SetMedia),
}

impl Signal {
    /// The room whose call it belongs to.
    pub fn room(&self) -> RoomId {
        match self {
            Self::Offer(signal) | Self::Answer(signal) => signal.room,
            Self::Ice(signal) => signal.room,
            Self::Media(signal) => signal.room,
        }
    }
}

/// An output of the session, for its driver to carry out.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a connection over this transport.
    Connect(TransportKind),
    /// Open a WebSocket beside the connection, send this frame over it, and report an answer as [`Event::Unblocked`].
    /// A connection that is requested then may reuse this WebSocket. A new probe replaces an earlier one.
    Probe(String),
    /// Drop the connection and any further event of it.
    Drop,
    /// Send a text frame.
    Send(String),
    /// Keep a message in storage that survives a reload of the page.
    StoreUnsent(UnsentMessage),
    /// Remove a message from that storage.
    RemoveUnsent(MessageKey),
    /// Update what the page shows.
    Emit(Update),
}

/// A change of what the page shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The state of the connection.
    Connection(ConnectionState),
    /// The user of this page.
    Me(User),
    /// The build of the server.
    Build(String),
    /// Server and page do not understand each other: one of them is of another version.
    NotUnderstood,
    /// A room was entered, with the missed messages or the latest ones.
    Entered(EnterRoomAck),
    /// A room has a canonical name that differs from the requested one. All later updates use the canonical name.
    Named {
        /// The name in the request.
        requested: String,
        /// The canonical name.
        room: String,
    },
    /// A message waits to be sent. It was posted now, or a page shows its room again.
    Unsent(UnsentMessage),
    /// A room could not be entered.
    NotEntered {
        /// The room's name as requested.
        room: String,
        /// The server's answer.
        refusal: Refusal,
    },
    /// The next message of a room.
    Message(Message),
    /// The next change of a message in a room.
    Changed(MessageChange),
    /// An [`Intent::Change`] has ended. If it was accepted, [`Update::Changed`] tells the result, unless it had no effect.
    ChangeEnded {
        /// As requested.
        command: MessageCommand,
        /// The refusal; `None`: there was no connection, or it was lost before the answer.
        result: Result<(), Option<Refusal>>,
    },
    /// The oldest messages of a room are no longer kept.
    Expired(MessagesExpired),
    /// The answer to [`Intent::DeleteOwn`]. If it was accepted, each deletion arrives as [`Update::Changed`].
    OwnDeletion {
        /// As requested.
        room: String,
        /// The refusal; `None`: there was no connection, or it was lost before the answer.
        result: Result<(), Option<Refusal>>,
    },
    /// The answer to [`Intent::Older`].
    Older {
        /// As requested.
        room: String,
        /// As requested.
        before: u64,
        /// `None`: the request could not be sent, was refused, or was lost with the connection.
        history: Option<HistoryAck>,
    },
    /// A user has entered a room.
    Welcome(RoomPresence),
    /// A user has left a room.
    Bye(RoomPresence),
    /// The number of users in a crowded room has changed.
    Crowd(Crowd),
    /// The answer to [`Intent::Members`].
    Members {
        /// As requested.
        room: String,
        /// As requested.
        after: u64,
        /// `None`: the request could not be sent, was refused, or was lost with the connection.
        page: Option<MembersAck>,
    },
    /// The answer to [`Intent::Search`].
    Found {
        /// As requested.
        search: Search,
        /// The refusal is `None` if the request could not be sent, or was lost with the connection.
        result: Result<SearchAck, Option<Refusal>>,
    },
    /// The answer to [`Intent::Pins`].
    Pins {
        /// As requested.
        room: String,
        /// The refusal is `None` if the request could not be sent, or was lost with the connection.
        result: Result<PinsAck, Option<Refusal>>,
    },
    /// The other users who are typing in a room have changed.
    Typing {
        /// The room's canonical name.
        room: String,
        /// All users who are typing, in the order in which they started.
        users: Vec<User>,
    },
    /// A user has a new nickname.
    Renamed(Renamed),
    /// [`Intent::Rename`] has failed; `None`: without a connection.
    NotRenamed(Option<Refusal>),
    /// A posted message is stored, or was refused.
    Posted {
        /// The room's canonical name.
        room: String,
        /// The message's key.
        key: MessageKey,
        /// The outcome.
        status: SendStatus,
    },
    /// The list of rooms.
    Rooms(RoomList),
    /// The list of the user's own rooms.
    MyRooms(Vec<MyRoom>),
    /// The call of a room has changed.
    Call {
        /// The room's canonical name.
        room: String,
        /// The change.
        update: CallUpdate,
    },
}

/// A change in a call.
#[derive(Clone, Debug, PartialEq)]
pub enum CallUpdate {
    /// This page has joined, for the first time or again.
    Joined(JoinCallAck),
    /// This page could not join.
    NotJoined(Refusal),
    /// Another peer has joined, or is back over a new connection.
    PeerJoined(CallPresence),
    /// A peer has left. If it is our own, another connection has taken the slot.
    PeerLeft(CallPresence),
    /// A signal of another peer.
    Signal(Signal),
}

/// The outcome of a posted message.
#[derive(Clone, Debug, PartialEq)]
pub enum SendStatus {
    /// It is stored and shown already.
    Shown,
    /// It is stored with this `seq` and will arrive as [`Update::Message`].
    Stored(u64),
    /// It was refused and is not retried.
    Refused(Refusal),
}

/// The state of the connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not started: the page has just loaded, or is suspended.
    Idle,
    /// Opening, or waiting for the answer to `hello`.
    Connecting,
    /// Open and greeted.
    Online,
    /// Lost; the next attempt follows after a delay.
    Waiting {
        /// The time of the next attempt, in milliseconds of the session's clock.
        until: u64,
        /// The reason, for the user.
        reason: WaitReason,
    },
    /// Closed by the server with this code, which forbids to reconnect automatically.
    Refused(u16),
}

/// The reason for waiting before the next connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The connection was lost, or could not be opened.
    Lost,
    /// The server has announced a restart.
    Restart,
    /// The browser estimates that it has no network.
    Offline,
}
