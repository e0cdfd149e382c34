//! What a [`super::Session`] takes and gives.

use super::way::Via;
use crate::protocol::call::{CallPresence, Describe, SetMedia, Trickle};
use crate::protocol::frame::{Post, Presence, Renamed};
use crate::protocol::{
    EnterRoomAck, HistoryAck, JoinCallAck, Message, MessageKey, PeerId, Position, Refusal, RoomList, User,
};

/// What happens to a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The page is there: connect.
    Start,
    /// The connection that was asked for is open.
    Opened,
    /// A text frame came.
    Received(String),
    /// The connection ended, or could not be made; the close code.
    Closed(u16),
    /// The probe that was asked for brought a frame.
    Unblocked,
    /// The time of [`Session::next_wake`] has come.
    Tick,
    /// The browser says that there is a network again, or the page was woken up.
    Awake,
    /// The browser says that there is no network.
    Offline,
    /// Somebody wants something.
    Ask(Ask),
}

/// What the page wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Be in a room, now and after every reconnection. `after`: what the page already shows.
    Enter {
        /// The room.
        room: String,
        /// Where to resume.
        after: Option<Position>,
    },
    /// Be in that room no more.
    Leave {
        /// The room.
        room: String,
    },
    /// Say something: new, or failed, or kept since before the page was loaded.
    Post(Post),
    /// Say that no more.
    Discard(MessageKey),
    /// Somebody writes here; at each letter.
    Typing {
        /// The room.
        room: String,
    },
    /// Take a nickname.
    Rename {
        /// The name wanted.
        nickname: String,
    },
    /// Older messages.
    Older {
        /// The room.
        room: String,
        /// Before this place.
        before: u64,
        /// How many.
        limit: u64,
    },
    /// Keep the list of rooms up to date.
    WatchRooms(bool),
    /// Connect now rather than after the pause.
    ReconnectNow,
    /// Be in the call of a room, now and after every reconnection.
    JoinCall {
        /// The room.
        room: String,
    },
    /// Be in that call no more.
    LeaveCall {
        /// The room.
        room: String,
    },
    /// Tell something to others in a call. While there is no connection it is lost: both sides begin
    /// anew when there is one.
    Signal(Signal),
}

/// What is told to others in a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// A proposal, to one.
    Offer(Describe),
    /// Its acceptance, to one.
    Answer(Describe),
    /// A way to be reached, to one.
    Ice(Trickle),
    /// What one sends, to all.
    Media(SetMedia),
}

/// What the browser must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a connection.
    Connect(Via),
    /// Beside the connection, open a WebSocket, send this over it, and say when a frame comes. A
    /// connection that is asked for then may be this one. Earlier probes are given up.
    Probe(String),
    /// Drop the connection; nothing more is expected from it.
    Drop,
    /// Send a text frame.
    Send(String),
    /// Keep a message where a reload of the page does not reach it, until it is stored.
    Keep(Post),
    /// That message needs to be kept no more.
    Forget(MessageKey),
    /// Show something.
    Tell(Change),
}

/// What the page shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The connection.
    Link(Link),
    /// Who one is.
    Me(User),
    /// The build that the server runs.
    Build(String),
    /// One is in a room; what was missed, or the latest.
    Entered(EnterRoomAck),
    /// A room that was asked for under one name has another: they are the same to the server.
    Named {
        /// As asked for.
        asked: String,
        /// Its canonical name, which all else carries.
        room: String,
    },
    /// A message waits to be sent: it was said now, or its room is shown again.
    Unsent(Post),
    /// One cannot be in a room.
    NotEntered {
        /// The room.
        room: String,
        /// Why.
        refusal: Refusal,
    },
    /// A message, the next of its room.
    Message(Message),
    /// Older messages.
    Older {
        /// The room.
        room: String,
        /// Before which place.
        before: u64,
        /// What was found; `None`: it could not be asked or answered.
        history: Option<HistoryAck>,
    },
    /// Somebody came.
    Welcome(Presence),
    /// Somebody left.
    Bye(Presence),
    /// Who of the others is writing.
    Typing {
        /// The room.
        room: String,
        /// All of them.
        users: Vec<User>,
    },
    /// Somebody has a new name.
    Renamed(Renamed),
    /// The name asked for could not be had; `None`: there is no connection to ask over.
    NotRenamed(Option<Refusal>),
    /// What became of a message that was posted.
    Posted {
        /// Its room.
        room: String,
        /// Its key.
        key: MessageKey,
        /// How it stands.
        fate: Fate,
    },
    /// The list of rooms.
    Rooms(RoomList),
    /// Something about the call of a room.
    Call {
        /// The room.
        room: String,
        /// What.
        change: CallChange,
    },
}

/// What happens in a call.
#[derive(Clone, Debug, PartialEq)]
pub enum CallChange {
    /// One is in it, for the first time or again.
    Joined(JoinCallAck),
    /// One cannot be in it.
    NotJoined(Refusal),
    /// Somebody is in it, or back in it on another connection.
    Came(CallPresence),
    /// Somebody is not in it any more.
    Went(CallPresence),
    /// What somebody tells one, or all.
    Signal(Signal),
    /// What one told somebody was refused.
    SignalRefused {
        /// Whom.
        peer: PeerId,
        /// Why.
        refusal: Refusal,
    },
}

/// How a posted message stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It is stored, and shown already.
    Shown,
    /// It is stored at this place, and will come.
    Stored(u64),
    /// It was refused.
    Refused(Refusal),
}

/// How the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not started: the page has just loaded.
    Idle,
    /// Trying.
    Connecting,
    /// There.
    Online,
    /// Waiting until this time to try again.
    Waiting {
        /// When, in milliseconds of the session's clock.
        until: u64,
        /// Whether the server said that it restarts.
        restarting: bool,
    },
    /// The browser has no network.
    Offline,
    /// The server sent us away with this close code.
    Refused(u16),
}
