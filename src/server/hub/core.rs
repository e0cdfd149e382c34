//! The rooms of one shard, as a state machine: who is in them, who hears what, in which order.
//!
//! Sans-I/O, in the manner of str0m: [`Core::handle`] takes an input, [`Core::poll_output`] gives
//! what follows from it. No clock, no locks, no tasks, no random numbers: time and identifiers come
//! in as arguments, so a run can be replayed.
//!
//! `L` is a link: whatever the driver sends frames through (an outbox; in tests, a list).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::frame::{Presence, Renamed, Typing};
use crate::protocol::{
    Ack, CloseCode, EnterRoomAck, ErrorCode, Message, MessageKey, Peer, PostAck, Refusal, ServerFrame, Unrecovered,
    User, UserId,
};
use crate::server::name_key::{NameKey, Nick};

/// How long somebody whose connection broke is still counted, so that a reload is not announced.
pub const GRACE: Duration = Duration::from_secs(3);
/// How long a room without people stays in memory.
pub const EMPTY_ROOM_STAYS: Duration = Duration::from_secs(60);

/// That somebody is writing is passed on so often, however often it is said.
pub const TYPING_EVERY: Duration = Duration::from_secs(1);
/// How many messages are kept for a connection while its history is read.
pub const GATE_KEEPS: usize = 512;

/// One connection of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A room's number in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub i64);

/// A form post that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// Who waits for the outcome of a post.
#[derive(Clone, Debug, PartialEq)]
pub enum Author<L> {
    /// A frame on a connection; answered when it had an id, or failed.
    Connection {
        /// Where the answer goes.
        link: L,
        /// The frame's id.
        id: Option<u64>,
    },
    /// A form.
    Form(Ticket),
}

/// What happens to the rooms.
#[derive(Clone, Debug)]
pub enum Input<L> {
    /// A connection wants to be in a room. From here on what is said there is kept for it, behind
    /// a gate, until [`Input::Opened`]. Again for a room it is in: the gate closes again.
    Enter {
        /// Which connection.
        conn: ConnId,
        /// How to reach it.
        link: L,
        /// Whose it is.
        user: UserId,
        /// What they are called.
        nick: Nick,
        /// The room's number.
        room: RoomId,
        /// The room's canonical name.
        name: Arc<str>,
    },
    /// The history for a connection behind the gate has been read.
    Opened {
        /// Which connection.
        conn: ConnId,
        /// Which room.
        room: RoomId,
        /// The id of its `enter_room` frame. Without one the gate opens without an answer.
        id: Option<u64>,
        /// What was read, after the gate was closed.
        history: History,
        /// Who is in the room's call.
        call: Vec<Peer>,
    },
    /// A connection leaves a room by its own wish, or its entering failed.
    Leave {
        /// Which connection.
        conn: ConnId,
        /// Which room.
        room: RoomId,
    },
    /// A connection ended.
    Disconnect {
        /// Which connection.
        conn: ConnId,
    },
    /// Somebody has a new name.
    Rename {
        /// Who.
        user: UserId,
        /// The name.
        nick: Nick,
        /// The connection that asked, which gets an `ack` instead.
        asker: Option<ConnId>,
    },
    /// Somebody in the room says something.
    Post {
        /// On which connection.
        conn: ConnId,
        /// In which room.
        room: RoomId,
        /// The id of the frame.
        id: Option<u64>,
        /// The message's key.
        key: MessageKey,
        /// The text, checked.
        text: String,
    },
    /// Somebody in the room is writing.
    Typing {
        /// On which connection.
        conn: ConnId,
        /// In which room.
        room: RoomId,
    },
    /// The store has an outcome for a post.
    Stored {
        /// Who waits for it.
        author: Author<L>,
        /// Which room.
        room: RoomId,
        /// The message in its place, or why not.
        outcome: Result<Stored, Refusal>,
    },
    /// Time has passed.
    Tick,
}

/// A message that the store holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The message.
    pub message: Message,
    /// Whether it was there before.
    pub dup: bool,
}

/// What a connection that enters is given to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The history's epoch.
    pub epoch: String,
    /// The last message when this was read.
    pub head: u64,
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub more: bool,
    /// Whether `messages` continues where the connection was.
    pub recovered: bool,
    /// Why not.
    pub reason: Option<Unrecovered>,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<L> {
    /// Store a message; then say [`Input::Stored`].
    Append {
        /// Who waits.
        author: Author<L>,
        /// Which room.
        room: RoomId,
        /// The room's canonical name.
        name: Arc<str>,
        /// The author as named now.
        user: User,
        /// The key.
        key: MessageKey,
        /// The text.
        text: String,
    },
    /// Send a frame to one connection.
    Send {
        /// To whom.
        to: L,
        /// What.
        frame: ServerFrame,
    },
    /// Send a frame to its [`Core::audience`].
    Broadcast {
        /// Which room.
        room: RoomId,
        /// Whom not to.
        except: Except,
        /// What.
        frame: ServerFrame,
    },
    /// Close a connection.
    Close {
        /// Which.
        link: L,
        /// Why.
        code: CloseCode,
    },
    /// Answer a form.
    Answer {
        /// Which.
        ticket: Ticket,
        /// With what.
        result: Result<PostAck, Refusal>,
    },
    /// So many people are in a room now.
    Count {
        /// Which room.
        room: RoomId,
        /// Its canonical name.
        name: Arc<str>,
        /// How many; 0 when the room is empty.
        count: u64,
    },
}

/// Who does not hear a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Except {
    /// Everyone hears it.
    Nobody,
    /// One connection.
    Connection(ConnId),
    /// All connections of a person.
    Person(UserId),
}

/// The rooms of one shard.
#[derive(Debug)]
pub struct Core<L> {
    rooms: HashMap<RoomId, Room<L>>,
    /// Which rooms a connection is in.
    conns: HashMap<ConnId, Vec<RoomId>>,
    /// Which rooms a person is in.
    people: HashMap<UserId, Vec<RoomId>>,
    /// Who is gone for good when nobody comes back. In order of time, because the grace is constant.
    departures: VecDeque<(Instant, RoomId, UserId)>,
    outputs: VecDeque<Output<L>>,
}

#[derive(Debug)]
struct Room<L> {
    name: Arc<str>,
    people: HashMap<UserId, Person>,
    /// People whom the others know of.
    announced: u64,
    exact: HashMap<String, UserId>,
    skeletons: HashMap<String, UserId>,
    seats: Vec<Seat<L>>,
    /// The last message that was delivered since the room came to memory.
    delivered: u64,
    arrivals: u64,
    empty_since: Option<Instant>,
}

/// Somebody in a room, over one or more connections.
#[derive(Debug)]
struct Person {
    nick: Nick,
    /// Orders the list of members.
    arrival: u64,
    /// Connections in this room.
    seats: usize,
    /// Whether the others were told. They are when the first gate opens.
    announced: bool,
    /// When they count as gone.
    leaves_at: Option<Instant>,
}

/// One connection in one room.
#[derive(Debug)]
struct Seat<L> {
    conn: ConnId,
    user: UserId,
    link: L,
    /// What was said since the gate closed.
    gate: Option<Vec<Message>>,
    /// The last message in the history it was given. The store may have shown that history a
    /// message whose [`Input::Stored`] is still on its way.
    given: u64,
    /// When it was last passed on that somebody is writing here.
    typed_at: Option<Instant>,
}

impl<L> Default for Core<L> {
    fn default() -> Self {
        Self {
            rooms: HashMap::new(),
            conns: HashMap::new(),
            people: HashMap::new(),
            departures: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }
}

impl<L: Clone> Core<L> {
    /// Takes an input. Everything that follows from it is in [`Core::poll_output`] afterwards.
    ///
    /// # Errors
    /// The refusal, when nothing was done: `NICK_TAKEN` or `NICK_CONFUSABLE` from
    /// [`Input::Enter`] and [`Input::Rename`], `NOT_IN_ROOM` from [`Input::Leave`], [`Input::Post`]
    /// and [`Input::Typing`].
    pub fn handle(&mut self, now: Instant, input: Input<L>) -> Result<(), ErrorCode> {
        match input {
            Input::Enter { conn, link, user, nick, room, name } => self.enter(conn, link, user, nick, room, name),
            Input::Opened { conn, room, id, history, call } => {
                self.open(conn, room, id, history, call);
                Ok(())
            }
            Input::Leave { conn, room } => self.leave(now, conn, room),
            Input::Disconnect { conn } => {
                for room in self.conns.remove(&conn).unwrap_or_default() {
                    self.vacate(conn, room, now, Some(now + GRACE));
                }
                Ok(())
            }
            Input::Rename { user, nick, asker } => self.rename(user, nick, asker),
            Input::Post { conn, room, id, key, text } => self.post(conn, room, id, key, text),
            Input::Typing { conn, room } => self.typing(now, conn, room),
            Input::Stored { author, room, outcome } => {
                self.stored(author, room, outcome);
                Ok(())
            }
            Input::Tick => {
                self.tick(now);
                Ok(())
            }
        }
    }

    /// The rooms that an input is about.
    pub fn concerned(&self, input: &Input<L>) -> Vec<RoomId> {
        match input {
            Input::Enter { room, .. }
            | Input::Opened { room, .. }
            | Input::Leave { room, .. }
            | Input::Post { room, .. }
            | Input::Typing { room, .. }
            | Input::Stored { room, .. } => vec![*room],
            Input::Disconnect { conn } => self.conns.get(conn).cloned().unwrap_or_default(),
            Input::Rename { user, .. } => self.people.get(user).cloned().unwrap_or_default(),
            Input::Tick => Vec::new(),
        }
    }

    /// Forgets a room that cannot be trusted any more, and closes the connections in it. It begins anew when they come
    /// back: what was said is in the store.
    pub fn evict(&mut self, id: RoomId) {
        let Some(room) = self.rooms.remove(&id) else { return };
        for seat in room.seats {
            if let Some(rooms) = self.conns.get_mut(&seat.conn) {
                rooms.retain(|other| *other != id);
            }
            self.outputs.push_back(Output::Close { link: seat.link, code: CloseCode::Internal });
        }
        for rooms in self.people.values_mut() {
            rooms.retain(|other| *other != id);
        }
        self.conns.retain(|_, rooms| !rooms.is_empty());
        self.people.retain(|_, rooms| !rooms.is_empty());
        self.outputs.push_back(Output::Count { room: id, name: room.name, count: 0 });
    }

    /// The next thing that follows from what was handled.
    pub fn poll_output(&mut self) -> Option<Output<L>> {
        self.outputs.pop_front()
    }

    /// The links that a broadcast goes to: everyone whose gate is open, and who was not given the
    /// message with the history.
    pub fn audience(&self, room: RoomId, except: Except, frame: &ServerFrame) -> impl Iterator<Item = &L> {
        let seats = self.rooms.get(&room).map(|room| room.seats.as_slice()).unwrap_or_default();
        let seq = match frame {
            ServerFrame::NewMessage(message) => message.seq,
            _ => u64::MAX,
        };
        let hears = move |seat: &&Seat<L>| seat.gate.is_none() && !except.covers(seat) && seat.given < seq;
        seats.iter().filter(hears).map(|seat| &seat.link)
    }

    /// The links of all connections in a room, behind a gate or not.
    pub fn everyone(&self, room: RoomId, except: Option<ConnId>) -> impl Iterator<Item = &L> {
        let seats = self.rooms.get(&room).map(|room| room.seats.as_slice()).unwrap_or_default();
        seats.iter().filter(move |seat| Some(seat.conn) != except).map(|seat| &seat.link)
    }

    /// Whether a name would clash for this person, in one room or in all that they are in.
    pub fn name_conflict(&self, room: Option<RoomId>, user: UserId, key: &NameKey) -> Option<ErrorCode> {
        let own = self.people.get(&user).map(Vec::as_slice).unwrap_or_default();
        let rooms = own.iter().chain(room.iter());
        rooms.filter_map(|id| self.rooms.get(id)).find_map(|room| room.name_conflict(user, key))
    }

    /// The people in a room, in the order they came.
    pub fn members(&self, room: RoomId) -> Vec<User> {
        self.rooms.get(&room).map(Room::members).unwrap_or_default()
    }

    /// Whether this connection is in this room.
    pub fn is_in(&self, conn: ConnId, room: RoomId) -> bool {
        self.conns.get(&conn).is_some_and(|rooms| rooms.contains(&room))
    }

    /// How many rooms are in memory, and how many connections are in them.
    pub fn sizes(&self) -> (usize, usize) {
        (self.rooms.len(), self.conns.len())
    }

    fn enter(
        &mut self,
        conn: ConnId,
        link: L,
        user: UserId,
        nick: Nick,
        id: RoomId,
        name: Arc<str>,
    ) -> Result<(), ErrorCode> {
        let room = self.rooms.entry(id).or_insert_with(|| Room::new(name));
        if let Some(code) = room.name_conflict(user, &nick.key) {
            return Err(code);
        }
        room.empty_since = None;
        if let Some(seat) = room.seats.iter_mut().find(|seat| seat.conn == conn) {
            seat.gate = Some(Vec::new());
            return Ok(());
        }
        room.seats.push(Seat { conn, user, link, gate: Some(Vec::new()), given: 0, typed_at: None });
        self.conns.entry(conn).or_default().push(id);
        if let Some(person) = room.people.get_mut(&user) {
            person.seats += 1;
            person.leaves_at = None;
        } else {
            room.arrivals += 1;
            let person =
                Person { nick: nick.clone(), arrival: room.arrivals, seats: 1, announced: false, leaves_at: None };
            room.claim(user, nick.key);
            room.people.insert(user, person);
            self.people.entry(user).or_default().push(id);
        }
        Ok(())
    }

    fn open(&mut self, conn: ConnId, id: RoomId, frame_id: Option<u64>, history: History, call: Vec<Peer>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(index) = room.seats.iter().position(|seat| seat.conn == conn) else { return };
        let seat = &mut room.seats[index];
        let (user, link) = (seat.user, seat.link.clone());
        let missed = seat.gate.take().unwrap_or_default();
        // Without an id there is no answer, so its history reaches nobody.
        if frame_id.is_some() {
            seat.given = history.head;
        }
        let given = seat.given;

        let mut arrived = None;
        if let Some(person) = room.people.get_mut(&user).filter(|person| !person.announced) {
            person.announced = true;
            room.announced += 1;
            arrived = Some(User { id: user, nickname: person.nick.text.clone() });
        }
        let (name, members) = (room.name.clone(), room.members());
        let count = members.len() as u64;
        if let Some(frame_id) = frame_id {
            let History { epoch, head, messages, more, recovered, reason } = history;
            let (room, call) = (name.to_string(), (!call.is_empty()).then_some(call));
            let ack = EnterRoomAck { room, epoch, head, count, members, messages, more, recovered, reason, call };
            self.send(&link, ServerFrame::Ack { id: frame_id, ack: Ack::EnterRoom(ack) });
        }
        for message in missed.into_iter().filter(|message| message.seq > given) {
            self.send(&link, ServerFrame::NewMessage(message));
        }
        if let Some(user) = arrived {
            let frame = ServerFrame::Welcome(Presence { room: name.to_string(), user, count });
            let except = Except::Connection(conn);
            self.outputs.push_back(Output::Broadcast { room: id, except, frame });
            self.outputs.push_back(Output::Count { room: id, name, count });
        }
    }

    fn leave(&mut self, now: Instant, conn: ConnId, room: RoomId) -> Result<(), ErrorCode> {
        let rooms = self.conns.get_mut(&conn).ok_or(ErrorCode::NotInRoom)?;
        let index = rooms.iter().position(|id| *id == room).ok_or(ErrorCode::NotInRoom)?;
        rooms.swap_remove(index);
        if rooms.is_empty() {
            self.conns.remove(&conn);
        }
        self.vacate(conn, room, now, None);
        Ok(())
    }

    /// Takes a connection out of a room. When it was the person's last one, they are gone at once,
    /// or at `leaves_at`.
    fn vacate(&mut self, conn: ConnId, id: RoomId, now: Instant, leaves_at: Option<Instant>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(index) = room.seats.iter().position(|seat| seat.conn == conn) else { return };
        let user = room.seats.swap_remove(index).user;
        let Some(person) = room.people.get_mut(&user) else { return };
        person.seats -= 1;
        if person.seats > 0 {
            return;
        }
        match leaves_at.filter(|_| person.announced) {
            Some(at) => {
                person.leaves_at = Some(at);
                self.departures.push_back((at, id, user));
            }
            None => self.depart(now, id, user),
        }
    }

    /// Takes a person out of a room, and tells the others if they ever knew.
    fn depart(&mut self, now: Instant, id: RoomId, user: UserId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(person) = room.people.remove(&user) else { return };
        room.release(user, &person.nick.key);
        if room.people.is_empty() {
            room.empty_since = Some(now);
        }
        if let Some(rooms) = self.people.get_mut(&user) {
            rooms.retain(|room| *room != id);
            if rooms.is_empty() {
                self.people.remove(&user);
            }
        }
        if person.announced {
            room.announced -= 1;
            let (name, count) = (room.name.clone(), room.announced);
            let user = User { id: user, nickname: person.nick.text };
            let frame = ServerFrame::Bye(Presence { room: name.to_string(), user, count });
            self.outputs.push_back(Output::Broadcast { room: id, except: Except::Nobody, frame });
            self.outputs.push_back(Output::Count { room: id, name, count });
        }
    }

    fn rename(&mut self, user: UserId, nick: Nick, asker: Option<ConnId>) -> Result<(), ErrorCode> {
        if let Some(code) = self.name_conflict(None, user, &nick.key) {
            return Err(code);
        }
        for id in self.people.get(&user).cloned().unwrap_or_default() {
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            let Some(person) = room.people.get_mut(&user) else { continue };
            let old = std::mem::replace(&mut person.nick, nick.clone());
            let announced = person.announced;
            room.release(user, &old.key);
            room.claim(user, nick.key.clone());
            if announced && old.text != nick.text {
                let user = User { id: user, nickname: nick.text.clone() };
                let frame = ServerFrame::Nickname(Renamed { room: room.name.to_string(), user });
                let except = asker.map_or(Except::Nobody, Except::Connection);
                self.outputs.push_back(Output::Broadcast { room: id, except, frame });
            }
        }
        Ok(())
    }

    fn post(
        &mut self,
        conn: ConnId,
        id: RoomId,
        frame_id: Option<u64>,
        key: MessageKey,
        text: String,
    ) -> Result<(), ErrorCode> {
        let (room, seat, user) = self.seated(conn, id)?;
        let author = Author::Connection { link: seat.link.clone(), id: frame_id };
        let append = Output::Append { author, room: id, name: room.name.clone(), user, key, text };
        // What comes after it is written anew.
        self.note_typed(conn, id, None);
        self.outputs.push_back(append);
        Ok(())
    }

    fn typing(&mut self, now: Instant, conn: ConnId, id: RoomId) -> Result<(), ErrorCode> {
        let (room, seat, user) = self.seated(conn, id)?;
        if seat.typed_at.is_some_and(|at| now < at + TYPING_EVERY) {
            return Ok(());
        }
        let except = Except::Person(user.id);
        let frame = ServerFrame::Typing(Typing { room: room.name.to_string(), user });
        self.note_typed(conn, id, Some(now));
        self.outputs.push_back(Output::Broadcast { room: id, except, frame });
        Ok(())
    }

    fn note_typed(&mut self, conn: ConnId, id: RoomId, at: Option<Instant>) {
        let seats = self.rooms.get_mut(&id).into_iter().flat_map(|room| &mut room.seats);
        seats.filter(|seat| seat.conn == conn).for_each(|seat| seat.typed_at = at);
    }

    /// A room, the connection's seat in it, and whose it is.
    fn seated(&self, conn: ConnId, id: RoomId) -> Result<(&Room<L>, &Seat<L>, User), ErrorCode> {
        let room = self.rooms.get(&id).ok_or(ErrorCode::NotInRoom)?;
        let seat = room.seats.iter().find(|seat| seat.conn == conn).ok_or(ErrorCode::NotInRoom)?;
        let person = room.people.get(&seat.user).ok_or(ErrorCode::NotInRoom)?;
        Ok((room, seat, User { id: seat.user, nickname: person.nick.text.clone() }))
    }

    fn stored(&mut self, author: Author<L>, id: RoomId, outcome: Result<Stored, Refusal>) {
        let answer = outcome.as_ref().map_err(Clone::clone).map(|stored| PostAck {
            room: stored.message.room.clone(),
            key: stored.message.key,
            seq: stored.message.seq,
            at: stored.message.at,
            dup: stored.dup.then_some(true),
        });
        match (author, answer) {
            (Author::Form(ticket), result) => self.outputs.push_back(Output::Answer { ticket, result }),
            (Author::Connection { link, id: Some(id) }, Ok(ack)) => {
                self.send(&link, ServerFrame::Ack { id, ack: Ack::NewMessage(ack) });
            }
            (Author::Connection { id: None, .. }, Ok(_)) => {}
            (Author::Connection { link, id }, Err(refusal)) => {
                self.send(&link, ServerFrame::Error { id, refusal });
            }
        }
        let Ok(Stored { message, dup: false }) = outcome else { return };
        let Some(room) = self.rooms.get_mut(&id) else { return };
        // The store answers in order; a message that comes a second time was delivered already.
        if message.seq <= room.delivered {
            return;
        }
        room.delivered = message.seq;
        for seat in &mut room.seats {
            let Some(gate) = &mut seat.gate else { continue };
            if gate.len() < GATE_KEEPS {
                gate.push(message.clone());
            } else {
                // It resumes, as whoever reads too slowly.
                let (link, code) = (seat.link.clone(), CloseCode::SlowConsumer);
                self.outputs.push_back(Output::Close { link, code });
            }
        }
        let frame = ServerFrame::NewMessage(message);
        self.outputs.push_back(Output::Broadcast { room: id, except: Except::Nobody, frame });
    }

    fn tick(&mut self, now: Instant) {
        while let Some((at, room, user)) = self.departures.front().copied().filter(|(at, ..)| *at <= now) {
            self.departures.pop_front();
            let person = self.rooms.get(&room).and_then(|room| room.people.get(&user));
            // Otherwise they came back, and may be leaving anew.
            if person.is_some_and(|person| person.leaves_at == Some(at)) {
                self.depart(now, room, user);
            }
        }
        self.rooms.retain(|_, room| room.empty_since.is_none_or(|since| now < since + EMPTY_ROOM_STAYS));
    }

    fn send(&mut self, to: &L, frame: ServerFrame) {
        self.outputs.push_back(Output::Send { to: to.clone(), frame });
    }
}

impl Except {
    fn covers<L>(self, seat: &Seat<L>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Connection(conn) => seat.conn == conn,
            Self::Person(user) => seat.user == user,
        }
    }
}

impl<L> Room<L> {
    fn new(name: Arc<str>) -> Self {
        Self {
            name,
            people: HashMap::new(),
            announced: 0,
            exact: HashMap::new(),
            skeletons: HashMap::new(),
            seats: Vec::new(),
            delivered: 0,
            arrivals: 0,
            empty_since: None,
        }
    }

    fn members(&self) -> Vec<User> {
        let mut people: Vec<_> = self.people.iter().filter(|(_, person)| person.announced).collect();
        people.sort_unstable_by_key(|(_, person)| person.arrival);
        people.into_iter().map(|(id, person)| User { id: *id, nickname: person.nick.text.clone() }).collect()
    }

    fn name_conflict(&self, user: UserId, key: &NameKey) -> Option<ErrorCode> {
        let someone_else = |holder: Option<&UserId>| holder.is_some_and(|holder| *holder != user);
        if someone_else(self.exact.get(&key.exact)) {
            Some(ErrorCode::NickTaken)
        } else if someone_else(self.skeletons.get(&key.skeleton)) {
            Some(ErrorCode::NickConfusable)
        } else {
            None
        }
    }

    fn claim(&mut self, user: UserId, key: NameKey) {
        self.exact.insert(key.exact, user);
        self.skeletons.insert(key.skeleton, user);
    }

    fn release(&mut self, user: UserId, key: &NameKey) {
        if self.exact.get(&key.exact) == Some(&user) {
            self.exact.remove(&key.exact);
        }
        if self.skeletons.get(&key.skeleton) == Some(&user) {
            self.skeletons.remove(&key.skeleton);
        }
    }
}
