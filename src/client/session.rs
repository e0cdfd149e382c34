//! One person's conversation with the server over as many connections as it takes. Pure.
//!
//! [`Session::handle`] takes an event, [`Session::poll_action`] gives what to do about it, and
//! [`Session::next_wake`] says when to come with [`Event::Tick`]. Time is milliseconds on any
//! steady clock; chance comes from a seed; so a run can be replayed.
//!
//! What it promises: a room's messages come once each and in order, across connections; what was
//! posted while there was no connection is sent once when there is one, in order, one at a time, in
//! rooms that no page shows any more, too.

pub mod event;
mod typing;
pub mod way;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::protocol::call::JoinCall;
use crate::protocol::frame::{EnterRoom, Hello, History, InRoom, Nothing, Post, SetNickname, Typing as Written};
use crate::protocol::{
    Ack, AckKind, ClientFrame, CloseCode, Command, ErrorCode, HEARTBEAT_MS, Message, MessageKey, PONG_TIMEOUT_MS,
    PeerId, Position, Refusal, ServerFrame, User, UserId, VERSION,
};

pub use event::{Action, Ask, CallChange, Change, Event, Fate, Link, Signal};
use typing::Typing;
pub use way::Via;
use way::Ways;

/// The first pause before coming back is up to this long; each further one up to twice as long.
const FIRST_PAUSE_MS: u64 = 500;
/// No pause is longer.
const LONGEST_PAUSE_MS: u64 = 30_000;
/// A connection that held this long makes the next pause a first one.
const CALM_MS: u64 = 60_000;
/// A connection that is not there within this is given up.
const OPEN_WITHIN_MS: u64 = 10_000;
/// A connection that is asked for a sign of life after a sleep most often died in it.
const WOKEN_PONG_MS: u64 = 4_000;
/// The close code of a connection that nobody closed.
const BROKEN: u16 = 1006;
/// The close code of one over which `hello` or its answer did not come.
const HUNG: u16 = CloseCode::HelloTimeout.number();
/// A message that the server could not store is tried again after this, unless it says otherwise.
const RETRY_MS: u64 = 2_000;

/// The state.
#[derive(Debug)]
pub struct Session {
    link: Link,
    /// Whether `hello` was answered on this connection.
    greeted: bool,
    /// Whether there is a connection, open or opening.
    connected: bool,
    opened_at: u64,
    heard_at: u64,
    /// When the `ping` that was sent must have brought a frame, any frame.
    pong_by: Option<u64>,
    heartbeat_ms: u64,
    /// Failed attempts in a row.
    attempts: u32,
    ways: Ways,
    /// What `going_away` said.
    return_in_ms: Option<u64>,
    resume: Option<String>,
    me: Option<UserId>,
    rooms: BTreeMap<String, Room>,
    watching: bool,
    next_id: u64,
    asked: BTreeMap<u64, Asked>,
    unsent: VecDeque<Post>,
    /// The id of the one message that waits for its answer.
    in_flight: Option<u64>,
    hold_posts_until: u64,
    chance: u64,
    actions: VecDeque<Action>,
}

#[derive(Debug, Default)]
struct Room {
    position: Option<Position>,
    entered: bool,
    /// The id of the last `enter_room`: answers to earlier ones say where one was, not where one is.
    asked: Option<u64>,
    /// When to ask again, after a refusal that passes.
    retry_at: Option<u64>,
    /// Whether one wants to be in its call.
    call: Option<Place>,
    /// Whether no page shows it: one is there only to say what is left to say.
    errand: bool,
    typing: Typing,
}

/// One's place in a call.
#[derive(Debug, Default)]
struct Place {
    /// As last given; asked for again after a reconnection.
    peer: Option<PeerId>,
    /// Whether this connection has it.
    taken: bool,
}

/// What an id on the way waits for.
#[derive(Clone, Debug)]
enum Asked {
    Hello,
    Ping,
    Enter(String),
    Post(Post),
    Rename,
    Older(String, u64),
    WatchRooms,
    JoinCall(String),
    Signal(String, PeerId),
    Whatever(AckKind),
}

impl Session {
    /// A session that has not started. `seed` is where its chance comes from.
    pub fn new(seed: u64) -> Self {
        Self {
            link: Link::Idle,
            greeted: false,
            connected: false,
            opened_at: 0,
            heard_at: 0,
            pong_by: None,
            heartbeat_ms: HEARTBEAT_MS,
            attempts: 0,
            ways: Ways::new(),
            return_in_ms: None,
            resume: None,
            me: None,
            rooms: BTreeMap::new(),
            watching: false,
            next_id: 1,
            asked: BTreeMap::new(),
            unsent: VecDeque::new(),
            in_flight: None,
            hold_posts_until: 0,
            chance: seed,
            actions: VecDeque::new(),
        }
    }

    /// Before it starts: the way that worked when somebody was here last.
    pub fn prefer(&mut self, via: Via) {
        self.ways.prefer(via);
    }

    /// Takes an event at the time `now`.
    pub fn handle(&mut self, now: u64, event: Event) {
        match event {
            Event::Start => {
                if self.link == Link::Idle {
                    self.connect(now);
                }
            }
            Event::Opened => {
                self.opened_at = now;
                self.heard_at = now;
                let hello = Hello { protocol: VERSION, resume: self.resume.clone() };
                self.send(Command::Hello(hello), Asked::Hello);
            }
            Event::Received(text) => self.received(now, &text),
            Event::Closed(code) => self.closed(now, code),
            Event::Tick => self.tick(now),
            Event::Awake => match self.link {
                Link::Waiting { .. } | Link::Offline => self.connect(now),
                // A laptop that slept may hold a connection that is long dead: ask at once.
                Link::Online => {
                    self.ways.hope(now);
                    self.ping(now, WOKEN_PONG_MS);
                }
                _ => {}
            },
            Event::Offline => {
                // The next network is another one.
                self.ways = Ways::new();
                if !matches!(self.link, Link::Refused(_) | Link::Idle) {
                    self.drop_connection();
                    self.set_link(Link::Offline);
                }
            }
            Event::Unblocked => {
                if self.ways.unblocked() && self.link == Link::Online {
                    self.drop_connection();
                    self.connect(now);
                }
            }
            Event::Ask(ask) => self.ask(now, ask),
        }
        self.send_next_post(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come with [`Event::Tick`] at the latest.
    pub fn next_wake(&self) -> Option<u64> {
        let wake = match self.link {
            Link::Waiting { until, .. } => until,
            Link::Connecting => self.opened_at + OPEN_WITHIN_MS,
            Link::Online => {
                let silent_until = self.pong_by.unwrap_or(self.heard_at + self.heartbeat_ms);
                self.ways.probe_at().map_or(silent_until, |at| at.min(silent_until))
            }
            Link::Idle | Link::Offline | Link::Refused(_) => return None,
        };
        let posts_wait =
            self.greeted && self.in_flight.is_none() && !self.unsent.is_empty() && self.hold_posts_until > 0;
        let of_room = |room: &Room| [room.retry_at, room.typing.next_wake()];
        let wake = self.rooms.values().flat_map(of_room).flatten().fold(wake, u64::min);
        Some(if posts_wait { wake.min(self.hold_posts_until) } else { wake })
    }

    fn tick(&mut self, now: u64) {
        if self.hold_posts_until <= now {
            self.hold_posts_until = 0;
        }
        let is_due = |room: &mut Room| room.retry_at.take_if(|at| *at <= now).is_some();
        let due: Vec<_> = self.rooms.iter_mut().filter_map(|(name, room)| is_due(room).then(|| name.clone())).collect();
        due.iter().for_each(|name| self.enter(name));
        self.tell_typing(|typing| typing.expire(now));
        match self.link {
            Link::Waiting { until, .. } if until <= now => self.connect(now),
            Link::Connecting if self.opened_at + OPEN_WITHIN_MS <= now => self.closed(now, HUNG),
            Link::Online => match self.pong_by {
                Some(pong_by) if pong_by <= now => self.closed(now, BROKEN),
                None if self.heard_at + self.heartbeat_ms <= now => self.ping(now, PONG_TIMEOUT_MS),
                _ => {}
            },
            _ => {}
        }
        if self.link == Link::Online && self.ways.probes(now, || random(&mut self.chance)) {
            let ping = ClientFrame { id: None, command: Command::Ping(Nothing {}) };
            self.actions.push_back(Action::Probe(ping.encode()));
        }
    }

    fn connect(&mut self, now: u64) {
        self.connected = true;
        // Counts as the beginning of the attempt until it is open.
        self.opened_at = now;
        self.set_link(Link::Connecting);
        self.actions.push_back(Action::Connect(self.ways.take()));
    }

    /// Asks for a sign of life within `patience`.
    fn ping(&mut self, now: u64, patience: u64) {
        if self.pong_by.is_none() {
            self.send(Command::Ping(Nothing {}), Asked::Ping);
        }
        self.pong_by = Some(self.pong_by.unwrap_or(u64::MAX).min(now + patience));
    }

    /// Forgets the connection and all that was asked over it. Unanswered posts stay in the queue.
    fn drop_connection(&mut self) {
        if std::mem::take(&mut self.connected) {
            self.actions.push_back(Action::Drop);
        }
        self.greeted = false;
        self.pong_by = None;
        self.in_flight = None;
        self.tell_typing(Typing::clear);
        for room in self.rooms.values_mut() {
            room.entered = false;
            room.retry_at = None;
            if let Some(place) = &mut room.call {
                place.taken = false;
            }
        }
        for asked in std::mem::take(&mut self.asked).into_values() {
            match asked {
                Asked::Older(room, before) => self.tell(Change::Older { room, before, history: None }),
                Asked::Rename => self.tell(Change::NotRenamed(None)),
                _ => {}
            }
        }
    }

    fn closed(&mut self, now: u64, code: u16) {
        // Only Noom's server says these; others may come from something in between that lets a WebSocket
        // open and no more.
        if code != HUNG && matches!(code, 1012 | 1013 | 4400..=4499) {
            self.ways.heard(now, || random(&mut self.chance));
        } else {
            self.ways.lost(code == HUNG);
        }
        if CloseCode::may_reconnect(code) {
            let restarting = self.return_in_ms.is_some() || code == CloseCode::Restarting.number();
            self.come_back(now, restarting, 0);
        } else {
            self.drop_connection();
            self.set_link(Link::Refused(code));
        }
    }

    /// Gives the connection up, and plans the next one: after `at_least` milliseconds.
    fn come_back(&mut self, now: u64, restarting: bool, at_least: u64) {
        if self.greeted && now.saturating_sub(self.opened_at) >= CALM_MS {
            self.attempts = 0;
        }
        self.drop_connection();
        let pause = self.return_in_ms.take().unwrap_or_else(|| {
            // Full jitter: anything from nothing to the bound, so that a crowd spreads out.
            let bound = FIRST_PAUSE_MS.saturating_mul(1 << self.attempts.min(10)).min(LONGEST_PAUSE_MS);
            random(&mut self.chance) % (bound + 1)
        });
        self.attempts += 1;
        self.set_link(Link::Waiting { until: now + pause.max(at_least), restarting });
    }

    fn ask(&mut self, now: u64, ask: Ask) {
        match ask {
            Ask::Enter { room, after } => {
                self.tell_unsent(&room);
                self.rooms.insert(room.clone(), Room { position: after, ..Room::default() });
                self.enter(&room);
            }
            Ask::Leave { room } => {
                let call = self.rooms.remove(&room).and_then(|room| room.call);
                if self.greeted && self.unsent.iter().any(|post| post.room == room) {
                    if call.is_some() {
                        let leave = Command::LeaveCall(InRoom { room: room.clone() });
                        self.send(leave, Asked::Whatever(AckKind::Nothing));
                    }
                    self.run_errands();
                } else {
                    self.leave(room);
                }
            }
            Ask::Post(post) => {
                if !self.unsent.iter().any(|waiting| waiting.key == post.key) {
                    self.actions.push_back(Action::Keep(post.clone()));
                    self.tell(Change::Unsent(post.clone()));
                    if let Some(room) = self.rooms.get_mut(&post.room) {
                        room.typing.finished();
                    }
                    self.unsent.push_back(post);
                    self.run_errands();
                }
            }
            Ask::Discard(key) => {
                self.unsent.retain(|post| post.key != key);
                self.actions.push_back(Action::Forget(key));
            }
            Ask::Typing { room: name } => {
                let room = self.rooms.get_mut(&name).filter(|room| room.entered);
                if room.is_some_and(|room| room.typing.is_due(now)) {
                    self.send(Command::Typing(InRoom { room: name }), Asked::Whatever(AckKind::Nothing));
                }
            }
            Ask::Rename { nickname } if self.greeted => {
                self.send(Command::Nickname(SetNickname { nickname }), Asked::Rename);
            }
            Ask::Rename { .. } => self.tell(Change::NotRenamed(None)),
            Ask::Older { room, before, limit } if self.rooms.get(&room).is_some_and(|room| room.entered) => {
                let asked = Asked::Older(room.clone(), before);
                self.send(Command::History(History { room, before, limit }), asked);
            }
            Ask::Older { room, before, .. } => self.tell(Change::Older { room, before, history: None }),
            Ask::WatchRooms(watching) => {
                self.watching = watching;
                self.watch_rooms();
            }
            Ask::ReconnectNow => {
                if matches!(self.link, Link::Waiting { .. } | Link::Offline | Link::Refused(_)) {
                    self.connect(now);
                }
            }
            Ask::JoinCall { room: name } => {
                if let Some(room) = self.rooms.get_mut(&name) {
                    room.call.get_or_insert_default();
                    self.join_call(&name);
                }
            }
            Ask::LeaveCall { room: name } => {
                let Some(room) = self.rooms.get_mut(&name) else { return };
                if room.call.take().is_some() && room.entered {
                    self.send(Command::LeaveCall(InRoom { room: name }), Asked::Whatever(AckKind::Nothing));
                }
            }
            Ask::Signal(signal) => self.signal(signal),
        }
    }

    fn join_call(&mut self, name: &str) {
        let Some(room) = self.rooms.get(name).filter(|room| room.entered) else { return };
        let Some(place) = &room.call else { return };
        let join = JoinCall { room: name.to_owned(), peer: place.peer };
        self.send(Command::JoinCall(join), Asked::JoinCall(name.to_owned()));
    }

    fn signal(&mut self, signal: Signal) {
        let (room, to) = match &signal {
            Signal::Offer(sent) | Signal::Answer(sent) => (&sent.room, Some(sent.peer)),
            Signal::Ice(sent) => (&sent.room, None),
            Signal::Media(sent) => (&sent.room, None),
        };
        let place = self.rooms.get(room).and_then(|room| room.call.as_ref());
        if !place.is_some_and(|place| place.taken) {
            return;
        }
        let asked = match to {
            Some(peer) => Asked::Signal(room.clone(), peer),
            None => Asked::Whatever(AckKind::Nothing),
        };
        let command = match signal {
            Signal::Offer(sent) => Command::Offer(sent),
            Signal::Answer(sent) => Command::Answer(sent),
            Signal::Ice(sent) => Command::Ice(sent),
            Signal::Media(sent) => Command::Media(sent),
        };
        self.send(command, asked);
    }

    fn enter(&mut self, name: &str) {
        if !self.greeted {
            return;
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        room.asked = Some(self.next_id);
        let after = room.position.clone();
        self.send(Command::EnterRoom(EnterRoom { room: name.to_owned(), after }), Asked::Enter(name.to_owned()));
    }

    fn leave(&mut self, room: String) {
        if self.greeted {
            self.send(Command::LeaveRoom(InRoom { room }), Asked::Whatever(AckKind::Nothing));
        }
    }

    /// Enters the rooms that no page shows and where something is left to say.
    fn run_errands(&mut self) {
        if !self.greeted {
            return;
        }
        let missing = |post: &&Post| !self.rooms.contains_key(&post.room);
        let errands: BTreeSet<_> = self.unsent.iter().filter(missing).map(|post| post.room.clone()).collect();
        for name in errands {
            self.rooms.insert(name.clone(), Room { errand: true, ..Room::default() });
            self.enter(&name);
        }
    }

    /// Tells what waits to be said in a room.
    fn tell_unsent(&mut self, room: &str) {
        for post in self.unsent.iter().filter(|post| post.room == room) {
            self.actions.push_back(Action::Tell(Change::Unsent(post.clone())));
        }
    }

    /// Leaves a room where nothing is left to say, if one was there for nothing else.
    fn end_errand(&mut self, name: &str) {
        let is_over = !self.unsent.iter().any(|post| post.room == name);
        if is_over && self.rooms.get(name).is_some_and(|room| room.errand) {
            self.rooms.remove(name);
            self.leave(name.to_owned());
        }
    }

    fn watch_rooms(&mut self) {
        match (self.greeted, self.watching) {
            (true, true) => self.send(Command::WatchRooms(Nothing {}), Asked::WatchRooms),
            (true, false) => self.send(Command::UnwatchRooms(Nothing {}), Asked::Whatever(AckKind::Nothing)),
            (false, _) => {}
        }
    }

    /// Sends the first message that may go, if none is on its way.
    fn send_next_post(&mut self, now: u64) {
        if !self.greeted || self.in_flight.is_some() || now < self.hold_posts_until {
            return;
        }
        let may_go = |post: &&Post| self.rooms.get(&post.room).is_some_and(|room| room.entered);
        let Some(post) = self.unsent.iter().find(may_go).cloned() else { return };
        self.in_flight = Some(self.next_id);
        self.send(Command::NewMessage(post.clone()), Asked::Post(post));
    }

    fn received(&mut self, now: u64, text: &str) {
        self.heard_at = now;
        self.pong_by = None;
        self.ways.heard(now, || random(&mut self.chance));
        let asked = &self.asked;
        let kind = |id: u64| asked.get(&id).map(Asked::ack_kind);
        // A frame of a kind that this page does not know comes from a newer server.
        let Ok(frame) = ServerFrame::decode(text, kind) else { return };
        match frame {
            ServerFrame::Ack { id, ack } => {
                if let Some(asked) = self.asked.remove(&id) {
                    self.answered(id, asked, ack);
                }
            }
            ServerFrame::Error { id, refusal } => {
                if let Some((id, asked)) = id.and_then(|id| self.asked.remove(&id).map(|asked| (id, asked))) {
                    self.refused(now, id, asked, refusal);
                }
            }
            ServerFrame::NewMessage(message) => self.message(message),
            ServerFrame::Welcome(presence) => self.tell(Change::Welcome(presence)),
            ServerFrame::Bye(presence) => {
                self.stopped_typing(&presence.room, presence.user.id);
                self.tell(Change::Bye(presence));
            }
            ServerFrame::Typing(Written { room, user }) => {
                let is_me = self.me == Some(user.id);
                if let Some(known) = self.rooms.get_mut(&room).filter(|known| known.entered && !is_me)
                    && known.typing.heard(user, now)
                {
                    let users = known.typing.users();
                    self.tell(Change::Typing { room, users });
                }
            }
            ServerFrame::Nickname(renamed) => {
                if Some(renamed.user.id) == self.me {
                    self.tell(Change::Me(renamed.user.clone()));
                }
                self.tell(Change::Renamed(renamed));
            }
            ServerFrame::RoomChange(rooms) => self.tell(Change::Rooms(rooms)),
            ServerFrame::GoingAway(away) => self.return_in_ms = Some(away.reconnect_in_ms),
            ServerFrame::CallJoined(presence) => self.tell_call(presence.room.clone(), CallChange::Came(presence)),
            ServerFrame::CallLeft(presence) => {
                // One's own place: another connection has it now.
                if let Some(room) = self.rooms.get_mut(&presence.room)
                    && room.call.as_ref().is_some_and(|place| place.peer == Some(presence.peer))
                {
                    room.call = None;
                }
                self.tell_call(presence.room.clone(), CallChange::Went(presence));
            }
            ServerFrame::Offer(told) => self.tell_call(told.room.clone(), CallChange::Signal(Signal::Offer(told))),
            ServerFrame::Answer(told) => self.tell_call(told.room.clone(), CallChange::Signal(Signal::Answer(told))),
            ServerFrame::Ice(told) => self.tell_call(told.room.clone(), CallChange::Signal(Signal::Ice(told))),
            ServerFrame::Media(told) => self.tell_call(told.room.clone(), CallChange::Signal(Signal::Media(told))),
        }
    }

    fn answered(&mut self, id: u64, asked: Asked, ack: Ack) {
        match (asked, ack) {
            (Asked::Hello, Ack::Hello(hello)) => {
                self.greeted = true;
                self.resume = Some(hello.resume);
                self.me = Some(hello.user.id);
                self.heartbeat_ms = hello.heartbeat_ms.max(1_000);
                self.tell(Change::Me(hello.user));
                self.tell(Change::Build(hello.build));
                self.set_link(Link::Online);
                for name in self.rooms.keys().cloned().collect::<Vec<_>>() {
                    self.enter(&name);
                }
                self.run_errands();
                if self.watching {
                    self.watch_rooms();
                }
            }
            (Asked::Enter(name), Ack::EnterRoom(ack)) => {
                let Some(mut room) = self.rooms.remove(&name) else { return };
                if room.asked != Some(id) {
                    self.rooms.insert(name, room);
                    return;
                }
                if ack.room != name {
                    for post in self.unsent.iter_mut().filter(|post| post.room == name) {
                        post.room = ack.room.clone();
                    }
                    self.tell(Change::Named { asked: name, room: ack.room.clone() });
                    self.tell_unsent(&ack.room);
                    // A page shows it already, and what is left to say is said there. What this answer has is
                    // not for that page, which goes on from its own position.
                    if let Some(shown) = self.rooms.get_mut(&ack.room).filter(|_| room.errand) {
                        shown.entered = false;
                        return self.enter(&ack.room);
                    }
                }
                room.entered = true;
                room.position = Some(Position { epoch: ack.epoch.clone(), seq: ack.head });
                let name = ack.room.clone();
                self.rooms.insert(name.clone(), room);
                self.tell(Change::Entered(ack));
                // Entered anew over the same connection, one is still in the call.
                if self.rooms[&name].call.as_ref().is_some_and(|place| !place.taken) {
                    self.join_call(&name);
                }
            }
            (Asked::JoinCall(room), Ack::JoinCall(ack)) => {
                let Some(place) = self.rooms.get_mut(&room).and_then(|room| room.call.as_mut()) else { return };
                *place = Place { peer: Some(ack.peer), taken: true };
                self.tell_call(room, CallChange::Joined(ack));
            }
            (Asked::Post(post), Ack::NewMessage(ack)) => {
                self.post_done(id, post.key);
                let position = self.rooms.get(&post.room).and_then(|room| room.position.as_ref());
                let shown = position.is_some_and(|position| ack.seq <= position.seq);
                let fate = if shown { Fate::Shown } else { Fate::Stored(ack.seq) };
                self.actions.push_back(Action::Forget(post.key));
                self.end_errand(&post.room);
                self.tell(Change::Posted { room: post.room, key: post.key, fate });
            }
            (Asked::Rename, Ack::Nickname(ack)) => {
                if let Some(id) = self.me {
                    self.tell(Change::Me(User { id, nickname: ack.nickname }));
                }
                // A room that the old name kept us out of may be open now.
                for name in self
                    .rooms
                    .iter()
                    .filter(|(_, room)| !room.entered)
                    .map(|(name, _)| name.clone())
                    .collect::<Vec<_>>()
                {
                    self.enter(&name);
                }
                self.run_errands();
            }
            (Asked::Older(room, before), Ack::History(history)) => {
                self.tell(Change::Older { room, before, history: Some(history) });
            }
            (Asked::WatchRooms, Ack::Rooms(rooms)) => self.tell(Change::Rooms(rooms)),
            _ => {}
        }
    }

    fn refused(&mut self, now: u64, id: u64, asked: Asked, refusal: Refusal) {
        match asked {
            // Nothing works without it: come back later, as after a lost connection.
            Asked::Hello => self.come_back(now, false, refusal.retry_after_ms.unwrap_or(0)),
            Asked::Enter(room) if self.rooms.get(&room).is_none_or(|room| room.asked != Some(id)) => {}
            Asked::Enter(room) => match refusal.code {
                ErrorCode::RateLimited | ErrorCode::StoreUnavailable | ErrorCode::RoomQuota => {
                    let pause = refusal.retry_after_ms.unwrap_or(RETRY_MS);
                    let pause = pause + random(&mut self.chance) % (pause / 2 + 1);
                    if let Some(waiting) = self.rooms.get_mut(&room) {
                        waiting.retry_at = Some(now + pause);
                    }
                    self.tell(Change::NotEntered { room, refusal });
                }
                _ => {
                    // What is left to say there waits for somebody to open the room.
                    if self.rooms.get(&room).is_some_and(|room| room.errand) {
                        self.rooms.remove(&room);
                    }
                    self.tell(Change::NotEntered { room, refusal });
                }
            },
            Asked::Post(post) => match refusal.code {
                // What passes: it stays at the head of the queue, so the order is kept.
                ErrorCode::RateLimited | ErrorCode::StoreUnavailable => {
                    self.in_flight = None;
                    self.hold_posts_until = now + refusal.retry_after_ms.unwrap_or(RETRY_MS).max(1);
                }
                // The room is about to be entered again.
                ErrorCode::NotInRoom if self.rooms.contains_key(&post.room) => {
                    self.in_flight = None;
                    if let Some(room) = self.rooms.get_mut(&post.room) {
                        room.entered = false;
                    }
                    self.enter(&post.room);
                }
                _ => {
                    self.post_done(id, post.key);
                    // Its author is told, and may say it again; by itself it is not said later.
                    self.actions.push_back(Action::Forget(post.key));
                    self.end_errand(&post.room);
                    self.tell(Change::Posted { room: post.room, key: post.key, fate: Fate::Refused(refusal) });
                }
            },
            Asked::Rename => self.tell(Change::NotRenamed(Some(refusal))),
            Asked::Older(room, before) => self.tell(Change::Older { room, before, history: None }),
            Asked::JoinCall(name) if refusal.code == ErrorCode::RateLimited => {
                // Whoever has a place keeps it; whoever has none asks again, when the room was entered anew.
                let waiting = self.rooms.get_mut(&name);
                let waiting = waiting.filter(|room| room.call.as_ref().is_some_and(|place| !place.taken));
                if let Some(room) = waiting {
                    room.retry_at = Some(now + refusal.retry_after_ms.unwrap_or(RETRY_MS));
                }
            }
            Asked::JoinCall(name) => {
                if let Some(room) = self.rooms.get_mut(&name) {
                    room.call = None;
                }
                self.tell_call(name, CallChange::NotJoined(refusal));
            }
            Asked::Signal(room, peer) => self.tell_call(room, CallChange::SignalRefused { peer, refusal }),
            Asked::Ping | Asked::WatchRooms | Asked::Whatever(_) => {}
        }
    }

    fn message(&mut self, message: Message) {
        let Some(room) = self.rooms.get_mut(&message.room) else { return };
        let Some(position) = room.position.as_mut().filter(|_| room.entered) else { return };
        match message.seq {
            seq if seq <= position.seq => {}
            seq if seq == position.seq + 1 => {
                position.seq = seq;
                self.stopped_typing(&message.room, message.user.id);
                self.tell(Change::Message(message));
            }
            // A hole should not happen. If it does, the server knows what belongs in it.
            _ => {
                room.entered = false;
                let name = message.room;
                self.enter(&name);
            }
        }
    }

    /// Changes who is writing in each room, and tells of those where that is news.
    fn tell_typing(&mut self, change: impl Fn(&mut Typing) -> bool) {
        for (name, room) in &mut self.rooms {
            if change(&mut room.typing) {
                let change = Change::Typing { room: name.clone(), users: room.typing.users() };
                self.actions.push_back(Action::Tell(change));
            }
        }
    }

    fn stopped_typing(&mut self, room: &str, user: UserId) {
        if let Some(known) = self.rooms.get_mut(room)
            && known.typing.stopped(user)
        {
            let (room, users) = (room.to_owned(), known.typing.users());
            self.tell(Change::Typing { room, users });
        }
    }

    fn post_done(&mut self, id: u64, key: MessageKey) {
        self.unsent.retain(|post| post.key != key);
        if self.in_flight == Some(id) {
            self.in_flight = None;
        }
    }

    fn send(&mut self, command: Command, asked: Asked) {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, asked);
        self.actions.push_back(Action::Send(ClientFrame { id: Some(id), command }.encode()));
    }

    fn set_link(&mut self, link: Link) {
        if self.link != link {
            self.link = link;
            self.tell(Change::Link(link));
        }
    }

    fn tell_call(&mut self, room: String, change: CallChange) {
        self.tell(Change::Call { room, change });
    }

    fn tell(&mut self, change: Change) {
        self.actions.push_back(Action::Tell(change));
    }
}

/// SplitMix64: even enough for jitter, and small.
fn random(chance: &mut u64) -> u64 {
    *chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *chance;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Asked {
    fn ack_kind(&self) -> AckKind {
        match self {
            Self::Hello => AckKind::Hello,
            Self::Ping => AckKind::Nothing,
            Self::Enter(_) => AckKind::EnterRoom,
            Self::Post(_) => AckKind::NewMessage,
            Self::Rename => AckKind::Nickname,
            Self::Older(..) => AckKind::History,
            Self::WatchRooms => AckKind::Rooms,
            Self::JoinCall(_) => AckKind::JoinCall,
            Self::Signal(..) => AckKind::Nothing,
            Self::Whatever(kind) => *kind,
        }
    }
}
