//! One user's session with the server, over as many connections as it takes. Pure: a sans-I/O state machine.
//!
//! [`Session::handle`] takes an event, [`Session::poll_action`] returns what the driver must do, and
//! [`Session::next_wake`] is the time at which [`Event::Tick`] is due. Time is in milliseconds of any steady clock, and
//! randomness comes from a seed, so a run can be replayed.
//!
//! Guarantees: the messages of a room are emitted exactly once and in order, across connections, and so are the changes
//! of those that a page shows. Messages posted
//! without a connection are sent exactly once when there is one: in order, one at a time, and also in rooms that no
//! page shows any more.
//!
//! A driver runs this loop:
//!
//! ```
//! use noom::client::session::{ABNORMAL_CLOSE, Action, ConnectionState, Event, Session, TransportKind, Update};
//!
//! // The network of this example fails every attempt to connect.
//! let mut session = Session::new(7);
//! let mut events = vec![Event::Start];
//! let mut now = 0;
//! let mut states = Vec::new();
//! while states.len() < 4 {
//!     // A real driver waits for the network, the user or `next_wake`, whichever comes first.
//!     let event = events.pop().unwrap_or_else(|| {
//!         now = session.next_wake().expect("a session that was not refused always waits for something");
//!         Event::Tick
//!     });
//!     session.handle(now, event);
//!     while let Some(action) = session.poll_action() {
//!         match action {
//!             Action::Connect(TransportKind::WebSocket) => events.push(Event::Closed(ABNORMAL_CLOSE)),
//!             Action::Connect(TransportKind::EventStream) => events.push(Event::Closed(ABNORMAL_CLOSE)),
//!             Action::Emit(Update::Connection(state)) => states.push(state),
//!             Action::Send(_) | Action::Drop | Action::Probe(_) => {}
//!             Action::StoreUnsent(_) | Action::RemoveUnsent(_) | Action::Emit(_) => {}
//!         }
//!     }
//! }
//! assert!(matches!(
//!     states[..],
//!     [
//!         ConnectionState::Connecting,
//!         ConnectionState::Waiting { .. },
//!         ConnectionState::Connecting,
//!         ConnectionState::Waiting { .. },
//!     ]
//! ));
//! ```

mod calls;
mod changes;
mod connection;
mod deliveries;
pub mod event;
mod heartbeat;
mod message_command;
mod my_rooms;
mod outgoing;
mod own_rooms;
mod posts;
mod receive;
mod refusal;
mod request;
mod rng;
mod room;
mod room_list;
mod rooms;
mod send_queue;
pub mod transport_choice;
mod typing;
pub mod unsent_message;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::backoff::Backoff;
use crate::protocol::frame::{Empty, SetNickname};
use crate::protocol::{ClientFrame, Command, Refusal, RoomId, RoomList, RoomUpdate, UserId};
use connection::{MAX_OPEN_TIMEOUT_MS, OPEN_TIMEOUT_MS};
use heartbeat::Heartbeat;
use outgoing::OutgoingQueue;
use own_rooms::OwnRooms;
use refusal::list_retry_at;
use request::{PendingRequest, Requests};
use rng::Rng;
use room::Room;
use room_list::ListedRooms;
use send_queue::SendQueue;
use transport_choice::TransportChoice;

pub use event::{
    ABNORMAL_CLOSE, Action, CallUpdate, ConnectionState, Event, Intent, Search, SendStatus, Signal, Update, WaitReason,
};
pub use message_command::MessageCommand;
pub use transport_choice::TransportKind;
pub use unsent_message::UnsentMessage;

/// The bound of the first reconnect delay. It doubles with each attempt.
const FIRST_RECONNECT_MS: u64 = 500;
/// The limit of that bound.
const MAX_RECONNECT_MS: u64 = 30_000;

/// The state machine.
#[derive(Debug)]
pub struct Session {
    /// Online means that `hello` was answered on this connection.
    state: ConnectionState,
    /// The time at which the connection opened; while it does not, when the attempt began.
    opened_at: u64,
    heartbeat: Heartbeat,
    /// The timeout of an attempt to connect.
    open_patience: Backoff,
    /// The browser estimates that it has no network.
    is_offline: bool,
    /// The connection was given up for other tabs.
    has_yielded: bool,
    /// After this connection, the browser may be in another network.
    may_change_network: bool,
    backoff: Backoff,
    transport_choice: TransportChoice,
    /// The delay that `going_away` asked for.
    announced_delay_ms: Option<u64>,
    /// The token with which the next `hello` proves that it is the same user.
    resume: Option<String>,
    me: Option<UserId>,
    /// By the names under which pages show them.
    rooms: BTreeMap<String, Room>,
    /// The ids of the rooms that were entered, by the names that were asked for and by their canonical names.
    ids: BTreeMap<String, RoomId>,
    /// Rooms that this connection is in, although pages left them before they were entered.
    left_early: BTreeSet<RoomId>,
    room_list: ListedRooms,
    own_rooms: OwnRooms,
    requests: Requests,
    queue: SendQueue,
    outgoing: OutgoingQueue,
    rng: Rng,
    actions: VecDeque<Action>,
}

impl Session {
    /// Creates a session that has not started. All its randomness comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: ConnectionState::Idle,
            opened_at: 0,
            heartbeat: Heartbeat::new(),
            open_patience: Backoff::new(OPEN_TIMEOUT_MS, MAX_OPEN_TIMEOUT_MS),
            is_offline: false,
            has_yielded: false,
            may_change_network: false,
            backoff: Backoff::new(FIRST_RECONNECT_MS, MAX_RECONNECT_MS),
            transport_choice: TransportChoice::new(),
            announced_delay_ms: None,
            resume: None,
            me: None,
            rooms: BTreeMap::new(),
            ids: BTreeMap::new(),
            left_early: BTreeSet::new(),
            room_list: ListedRooms::default(),
            own_rooms: OwnRooms::default(),
            requests: Requests::new(),
            queue: SendQueue::default(),
            outgoing: OutgoingQueue::new(),
            rng: Rng::new(seed),
            actions: VecDeque::new(),
        }
    }

    /// Prefers the transport that worked for an earlier page. Call it before [`Event::Start`].
    pub fn prefer(&mut self, transport: TransportKind) {
        self.transport_choice.prefer(transport);
    }

    /// Handles an event that happens at the time `now`.
    pub fn handle(&mut self, now: u64, event: Event) {
        match event {
            Event::Start => self.start(now),
            Event::Opened => self.opened(now),
            Event::Received(text) => self.received(now, &text),
            Event::Closed(code) => self.closed(now, code),
            Event::Unblocked => self.unblocked(now),
            Event::Tick => self.tick(now),
            Event::Awake => self.awake(now),
            Event::Hidden => self.send_all_marks(now),
            Event::Slept => self.slept(now),
            Event::Offline => self.offline(now),
            Event::Yield => self.give_way(),
            Event::Suspend => self.suspend(),
            Event::Intent(intent) => self.intend(now, intent),
        }
        self.send_next_post(now);
        self.send_outgoing(now);
        self.send_due_marks(now);
    }

    /// Returns the next action, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The time at which [`Event::Tick`] is due at the latest; `None` while only the browser or the user can change
    /// something.
    pub fn next_wake(&self) -> Option<u64> {
        let connection = self.connection_wake()?;
        let posts = self.queue.next_wake().filter(|_| self.is_online());
        let rooms = self.rooms.values().flat_map(|room| [room.retry_at, room.typing.next_wake()]).flatten();
        let outgoing = self.outgoing.next_wake().filter(|_| self.is_online());
        let lists = [self.room_list.retry_at, self.own_rooms.retry_at, self.marks_wake()];
        let lists = lists.into_iter().flatten().filter(|_| self.is_online());
        rooms.chain(posts).chain(outgoing).chain(lists).chain([connection]).min()
    }

    fn tick(&mut self, now: u64) {
        self.queue.tick(now);
        self.retry_rooms(now);
        if self.room_list.is_due(now) {
            self.watch_rooms();
        }
        if self.own_rooms.is_due(now) {
            self.watch_my_rooms();
        }
        self.update_typing(|typing| typing.expire(now));
        self.check_connection(now);
    }

    fn intend(&mut self, now: u64, intent: Intent) {
        match intent {
            Intent::Enter { room, after } => self.show_room(room, after),
            Intent::Leave { room } => self.hide_room(now, room),
            Intent::Post(post) => self.post(post),
            Intent::Discard(key) => self.discard(key),
            Intent::Change(command) => self.change_message(command),
            Intent::DeleteOwn { room } => self.delete_own(room),
            Intent::Typing { room } => self.notify_typing(now, room),
            Intent::Rename { nickname } => self.rename(nickname),
            Intent::Older { room, before, limit } => self.load_older(room, before, limit),
            Intent::Search(search) => self.search(search),
            Intent::Pins { room } => self.load_pins(room),
            Intent::Members { room, after } => self.load_members(room, after),
            Intent::WatchRooms(is_wanted) => self.show_room_list(is_wanted),
            Intent::WatchMyRooms => self.show_my_rooms(),
            Intent::KeepRoom { room, on } => self.keep_room(room, on),
            Intent::MarkRead { room, target } => self.mark_read(&room, target),
            Intent::ReconnectNow => self.reconnect_now(now),
            Intent::JoinCall { room } => self.want_call(&room),
            Intent::LeaveCall { room } => self.leave_call(room),
            Intent::Signal(signal) => self.signal(signal),
        }
    }

    fn rename(&mut self, nickname: String) {
        if self.is_online() {
            self.send(Command::Nickname(SetNickname { nickname }), PendingRequest::Rename);
        } else {
            self.emit(Update::NotRenamed(None));
        }
    }

    /// The page begins or ends to show the list of rooms.
    fn show_room_list(&mut self, is_shown: bool) {
        self.room_list.is_shown = is_shown;
        self.watch_rooms();
        if !is_shown && self.is_online() {
            self.send(Command::UnwatchRooms(Empty {}), PendingRequest::Untracked);
        }
    }

    /// Subscribes to the list of rooms, if the page shows it.
    fn watch_rooms(&mut self) {
        self.room_list.retry_at = None;
        if self.room_list.is_shown && self.is_online() {
            self.send(Command::WatchRooms(Empty {}), PendingRequest::WatchRooms);
        }
    }

    /// `watch_rooms` was refused.
    fn watch_refused(&mut self, now: u64, refusal: &Refusal) {
        self.room_list.retry_at = list_retry_at(now, refusal);
    }

    /// The list of rooms has arrived.
    fn listed(&mut self, list: RoomList) {
        self.room_list.replace(&list.rooms);
        self.emit(Update::Rooms(list));
    }

    /// The list of rooms has changed.
    fn list_changed(&mut self, update: &RoomUpdate) {
        let rooms = self.room_list.change(update);
        self.emit(Update::Rooms(RoomList { rooms }));
    }

    fn send(&mut self, command: Command, request: PendingRequest) {
        let frame = self.requests.add(command, request);
        self.actions.push_back(Action::Send(frame));
    }

    fn probe(&mut self) {
        let ping = ClientFrame { id: None, command: Command::Ping(Empty {}) };
        self.actions.push_back(Action::Probe(ping.encode()));
    }

    fn emit(&mut self, update: Update) {
        self.actions.push_back(Action::Emit(update));
    }
}
