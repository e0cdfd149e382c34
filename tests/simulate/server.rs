//! The server around the pure core: what `server/ws`, `server/session`, `hub` and `hub/shards` do,
//! with time, chance and disk from the simulation. Core, lobby, outbox, names and codec are the real ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use futures::FutureExt;
use noom::protocol::frame::{EnterRoom, GoingAway, History as Older, Nothing};
use noom::protocol::name::{guest_name, is_guest_name};
use noom::protocol::{
    Ack, ClientFrame, CloseCode, Command, EnterRoomAck, ErrorCode, HEARTBEAT_MS, HelloAck, HistoryAck, Limits, Message,
    NicknameAck, Position, Refusal, ServerFrame, User, UserId, check_text,
};
use noom::server::hub::account::first_guest_name;
use noom::server::hub::core::{ConnId, Core, Except, History, Input, Output, RoomId};
use noom::server::hub::lobby::Lobby;
use noom::server::hub::outbox::{Link, Outbox, OutboxLimits, Waits};
use noom::server::name_key::{Nick, RoomName};
use noom::server::store::RoomRow;

use super::chance::Chance;
use super::disk::{Disk, Progress, Write, Written};
use super::network::{Parcel, Wire};
use super::planted::Planted;

const SECOND: u64 = 1_000_000;
// As in server/ws.
const HELLO_WITHIN: u64 = 10 * SECOND;
const PING_EVERY: u64 = 25 * SECOND;
const PONG_WITHIN: u64 = 10 * SECOND;
const WRITE_WITHIN: u64 = 30 * SECOND;
/// As in server/hub.
const TICK: u64 = SECOND / 2;

/// How this server is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub outbox: OutboxLimits,
    /// So many bytes can be written to a connection without being read.
    pub window: usize,
    /// A read takes up to so many microseconds.
    pub read_within: u64,
    pub planted: Option<Planted>,
}

#[derive(Debug)]
pub struct Server {
    pub disk: Disk,
    /// Reads fail for now.
    pub unreadable: bool,
    setup: Setup,
    up: bool,
    draining: bool,
    core: Core<Link>,
    lobby: Lobby<Link>,
    conns: BTreeMap<ConnId, Conn>,
    names: BTreeMap<UserId, Nick>,
    /// Which connection changes somebody's name: one at a time.
    renaming: BTreeMap<UserId, ConnId>,
    /// What connections wait for, by time.
    steps: BTreeMap<(u64, u64), (ConnId, Step)>,
    next_step: u64,
    tick_at: u64,
    /// What became durable since the world last asked.
    pub committed: Vec<Arc<Message>>,
    /// What connections are told beside frames.
    out: Vec<(ConnId, Parcel)>,
    /// A message held back by a planted fault.
    held: Option<(RoomId, ServerFrame)>,
    born: Instant,
}

/// One connection's task.
#[derive(Debug)]
struct Conn {
    link: Link,
    cookie: Option<UserId>,
    user: Option<UserId>,
    rooms: BTreeMap<String, RoomRow>,
    /// The command that is being carried out. Until it is, nothing is read or written.
    doing: Option<Doing>,
    hello_by: u64,
    ping_at: u64,
    pong_by: Option<u64>,
    writing: VecDeque<Utf8Bytes>,
    write_by: u64,
}

#[derive(Clone, Debug)]
enum Doing {
    Entering { name: RoomName, after: Option<Position>, id: Option<u64> },
    Renaming { nick: Nick, old: String, id: Option<u64> },
    Reading,
}

/// What comes next for a connection that waits.
#[derive(Debug)]
enum Step {
    FindRoom,
    ReadHistory { room: RoomRow, was_in: bool },
    Open { room: RoomRow, was_in: bool, history: Result<History, Refusal> },
    GateAndOpen { room: RoomRow, history: History },
    Rename,
    ReadOlder { room: RoomRow, wanted: Older, id: Option<u64> },
}

type Answer = Result<Option<Ack>, Refusal>;

impl Server {
    pub fn new(disk: Disk, setup: Setup) -> Self {
        Self {
            disk,
            unreadable: false,
            setup,
            up: false,
            draining: false,
            core: Core::default(),
            lobby: Lobby::default(),
            conns: BTreeMap::new(),
            names: BTreeMap::new(),
            renaming: BTreeMap::new(),
            steps: BTreeMap::new(),
            next_step: 0,
            tick_at: 0,
            committed: Vec::new(),
            out: Vec::new(),
            held: None,
            born: Instant::now(),
        }
    }

    // --- Life ----------------------------------------------------------------------------------

    pub fn is_up(&self) -> bool {
        self.up
    }

    pub fn is_draining(&self) -> bool {
        self.up && self.draining
    }

    pub fn start(&mut self, now: u64) {
        self.up = true;
        self.draining = false;
        self.tick_at = now + TICK;
    }

    /// The process ends without warning.
    pub fn crash(&mut self) {
        self.disk.crash();
        self.stop();
    }

    /// Takes no new connections, and tells everyone to come back.
    pub fn drain(&mut self, chance: &mut Chance) {
        self.draining = true;
        let links: Vec<_> = self.conns.values().map(|conn| conn.link.clone()).collect();
        for link in links {
            let reconnect_in_ms = chance.below(500);
            self.push(&link, &ServerFrame::GoingAway(GoingAway { reconnect_in_ms }));
        }
    }

    /// Closes all connections, after what waits for them.
    pub fn close_all(&self) {
        self.conns.values().for_each(|conn| conn.link.close(CloseCode::Restarting));
    }

    /// The process ends in order.
    pub fn shut_down(&mut self, now: u64) {
        self.committed.extend(self.disk.close(now));
        self.stop();
    }

    fn stop(&mut self) {
        self.up = false;
        self.core = Core::default();
        self.lobby = Lobby::default();
        self.conns.clear();
        self.names.clear();
        self.renaming.clear();
        self.steps.clear();
        self.out.clear();
        self.held = None;
    }

    // --- Connections ---------------------------------------------------------------------------

    /// Takes a connection, unless the server is away or about to be.
    pub fn accept(&mut self, now: u64, conn: ConnId, cookie: Option<UserId>) -> bool {
        let taken = self.up && !self.draining;
        if taken {
            let conn_state = Conn {
                link: Outbox::new(self.setup.outbox),
                cookie,
                user: None,
                rooms: BTreeMap::new(),
                doing: None,
                hello_by: now + HELLO_WITHIN,
                ping_at: now + PING_EVERY,
                pong_by: None,
                writing: VecDeque::new(),
                write_by: 0,
            };
            self.conns.insert(conn, conn_state);
        }
        taken
    }

    /// Whether its task reads: it does one thing at a time.
    pub fn reads(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_none_or(|conn| conn.doing.is_none() && conn.writing.is_empty())
    }

    pub fn receive(&mut self, now: u64, id: ConnId, parcel: Parcel, chance: &mut Chance) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.pong_by = None;
        conn.ping_at = now + PING_EVERY;
        match parcel {
            Parcel::Text(text) => self.command(now, id, &text, chance),
            Parcel::Close(_) | Parcel::Broken => self.end(now, id, Parcel::Broken),
            _ => {}
        }
    }

    fn end(&mut self, now: u64, id: ConnId, last_word: Parcel) {
        if let Some(conn) = self.conns.remove(&id) {
            self.lobby.unwatch(id);
            if conn.user.is_some() {
                // Never refused.
                let _ = self.drive(now, Input::Disconnect { conn: id });
            }
            self.out.push((id, last_word));
        }
    }

    /// Writes what waits for connections whose task is free, as far as their peers read.
    pub fn flush(&mut self, now: u64, wires: &mut BTreeMap<u64, Wire>, mut latency: impl FnMut() -> u64) {
        for id in self.conns.keys().copied().collect::<Vec<_>>() {
            let Some(wire) = wires.get_mut(&id.0) else { continue };
            while let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.doing.is_none()) {
                if conn.writing.is_empty() {
                    let waiting = conn.link.take();
                    if waiting.frames.is_empty() {
                        if let Some(code) = waiting.close {
                            self.end(now, id, Parcel::Close(Some(code.number())));
                        }
                        break;
                    }
                    conn.writing = waiting.frames;
                    conn.write_by = (now + WRITE_WITHIN).min(conn.pong_by.unwrap_or(conn.ping_at + PONG_WITHIN));
                }
                while let Some(frame) = conn.writing.front() {
                    if wire.down.bytes() > 0 && wire.down.bytes() + frame.len() > self.setup.window {
                        break;
                    }
                    wire.down.push(now + latency(), Parcel::Text(frame.to_string()));
                    conn.writing.pop_front();
                }
                if conn.writing.is_empty() {
                    continue;
                }
                if conn.link.overflowed().now_or_never().is_some() {
                    self.end(now, id, Parcel::Close(Some(CloseCode::SlowConsumer.number())));
                }
                break;
            }
        }
        for (id, parcel) in std::mem::take(&mut self.out) {
            let Some(wire) = wires.get_mut(&id.0) else { continue };
            wire.server_gone |= parcel != Parcel::Ping;
            wire.down.push(now + latency(), parcel);
        }
    }

    // --- Time ----------------------------------------------------------------------------------

    pub fn next_wake(&self) -> Option<u64> {
        let conns = self.conns.values().filter_map(Conn::deadline);
        let step = self.steps.keys().next().map(|(at, _)| *at);
        let wakes = conns.chain(step).chain(self.disk.next_wake()).chain([self.tick_at]);
        wakes.min().filter(|_| self.up)
    }

    pub fn handle_time(&mut self, now: u64, chance: &mut Chance) {
        if self.disk.next_wake().is_some_and(|at| at <= now) {
            match self.disk.handle_time(now, chance) {
                Progress::None => {}
                Progress::Committed(messages) => self.committed.extend(messages),
                Progress::Answered(written) => self.written(now, written, chance),
            }
        }
        while let Some(entry) = self.steps.first_entry().filter(|entry| entry.key().0 <= now) {
            let (conn, step) = entry.remove();
            self.step(now, conn, step, chance);
        }
        if self.tick_at <= now {
            self.tick_at = now + TICK;
            // Never refused.
            let _ = self.drive(now, Input::Tick);
            if let Some((rooms, watchers)) = self.lobby.take_change() {
                watchers.iter().for_each(|link| self.push(link, &ServerFrame::RoomChange(rooms.clone())));
            }
        }
        let due = |(id, conn): (&ConnId, &Conn)| conn.deadline().is_some_and(|at| at <= now).then_some(*id);
        for id in self.conns.iter().filter_map(due).collect::<Vec<_>>() {
            self.deadline(now, id);
        }
    }

    fn deadline(&mut self, now: u64, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let code = if !conn.writing.is_empty() {
            CloseCode::SlowConsumer
        } else if conn.user.is_none() {
            CloseCode::HelloTimeout
        } else if conn.pong_by.is_some() {
            CloseCode::HeartbeatTimeout
        } else {
            conn.pong_by = Some(now + PONG_WITHIN);
            return self.out.push((id, Parcel::Ping));
        };
        self.end(now, id, Parcel::Close(Some(code.number())));
    }

    // --- Commands ------------------------------------------------------------------------------

    fn command(&mut self, now: u64, conn: ConnId, text: &str, chance: &mut Chance) {
        let (id, answer) = match ClientFrame::decode(text) {
            Err(unreadable) => (unreadable.id, Err(Refusal::from(unreadable.fault))),
            Ok(ClientFrame { id, command }) => (id, self.carry_out(now, conn, id, command, chance)),
        };
        self.answer(conn, id, answer);
    }

    fn answer(&self, conn: ConnId, id: Option<u64>, answer: Answer) {
        let frame = match (answer, id) {
            (Ok(Some(ack)), Some(id)) => ServerFrame::Ack { id, ack },
            (Ok(_), _) => return,
            (Err(refusal), id) => ServerFrame::Error { id, refusal },
        };
        if let Some(conn) = self.conns.get(&conn) {
            self.push(&conn.link, &frame);
        }
    }

    /// The answer, unless it comes by another way.
    fn carry_out(&mut self, now: u64, id: ConnId, frame: Option<u64>, command: Command, chance: &mut Chance) -> Answer {
        let Some(conn) = self.conns.get_mut(&id) else { return Ok(None) };
        let user = match (&command, conn.user) {
            (Command::Hello(hello), None) => {
                return self.hello(id, hello.resume.as_deref(), chance).map(Some);
            }
            (Command::Hello(_), Some(_)) => return Err(ErrorCode::AlreadyGreeted.into()),
            (_, None) => return Err(ErrorCode::HelloFirst.into()),
            (_, Some(user)) => user,
        };
        let nothing = Ok(Some(Ack::Nothing(Nothing {})));
        match command {
            Command::Ping(_) => nothing,
            Command::Nickname(wanted) => {
                let old = self.names[&user].text.clone();
                if wanted.nickname.trim() == old {
                    return Ok(Some(Ack::Nickname(NicknameAck { nickname: old })));
                }
                let nick = Nick::choose(&wanted.nickname)?;
                conn.doing = Some(Doing::Renaming { nick, old, id: frame });
                self.later(now, id, Step::Rename);
                Ok(None)
            }
            Command::EnterRoom(EnterRoom { room, after }) => {
                conn.doing = Some(Doing::Entering { name: RoomName::parse(&room)?, after, id: frame });
                self.later(now + chance.mostly_short(self.setup.read_within), id, Step::FindRoom);
                Ok(None)
            }
            Command::LeaveRoom(wanted) => {
                let (folded, room) = conn.room(&wanted.room)?;
                conn.rooms.remove(&folded);
                self.drive(now, Input::Leave { conn: id, room: room.id })?;
                nothing
            }
            Command::NewMessage(post) => {
                let (_, room) = conn.room(&post.room)?;
                check_text(&post.text)?;
                let (key, text) = (post.key, post.text);
                self.drive(now, Input::Post { conn: id, room: room.id, id: frame, key, text })?;
                Ok(None)
            }
            Command::History(wanted) => {
                let (_, room) = conn.room(&wanted.room)?;
                conn.doing = Some(Doing::Reading);
                let at = now + chance.mostly_short(self.setup.read_within);
                self.later(at, id, Step::ReadOlder { room, wanted, id: frame });
                Ok(None)
            }
            Command::Typing(in_room) => {
                let (_, room) = conn.room(&in_room.room)?;
                self.drive(now, Input::Typing { conn: id, room: room.id })?;
                nothing
            }
            Command::WatchRooms(_) => {
                self.lobby.watch(id, conn.link.clone());
                Ok(Some(Ack::Rooms(self.lobby.list())))
            }
            Command::UnwatchRooms(_) => {
                self.lobby.unwatch(id);
                nothing
            }
            _ => nothing,
        }
    }

    fn hello(&mut self, id: ConnId, resume: Option<&str>, chance: &mut Chance) -> Result<Ack, Refusal> {
        if self.unreadable {
            return Err(ErrorCode::StoreUnavailable.into());
        }
        let Some(conn) = self.conns.get_mut(&id) else { return Err(ErrorCode::HelloFirst.into()) };
        let known = resume.and_then(|token| token.strip_prefix("resume.")?.parse().ok()).or(conn.cookie);
        let user = known.unwrap_or_else(|| UserId(chance.bits()));
        conn.user = Some(user);
        let chosen = self.disk.nickname(user);
        let nick = self.names.entry(user);
        let nick = nick.or_insert_with(|| Nick::unchecked(chosen.unwrap_or_else(|| first_guest_name(user))));
        Ok(Ack::Hello(HelloAck {
            user: User { id: user, nickname: nick.text.clone() },
            resume: format!("resume.{user}"),
            heartbeat_ms: HEARTBEAT_MS,
            build: "simulated".to_owned(),
            limits: Limits {
                frame_bytes: 65_536,
                text_chars: 4_000,
                nickname_graphemes: 32,
                room_graphemes: 64,
                messages_per_second: 5,
                message_burst: 20,
            },
        }))
    }

    // --- What takes time -----------------------------------------------------------------------

    fn later(&mut self, at: u64, conn: ConnId, step: Step) {
        self.next_step += 1;
        self.steps.insert((at, self.next_step), (conn, step));
    }

    fn step(&mut self, now: u64, id: ConnId, step: Step, chance: &mut Chance) {
        match step {
            Step::FindRoom => {
                let Some(Doing::Entering { name, .. }) = self.doing(id) else { return };
                if self.unreadable {
                    return self.finish(id, Err(ErrorCode::StoreUnavailable.into()));
                }
                match self.disk.find_room(&name.folded) {
                    Some(room) => self.seat(now, id, room, chance),
                    None => {
                        if let Err(refusal) = self.disk.take(now, Write::CreateRoom { conn: id, name }) {
                            self.finish(id, Err(refusal));
                        }
                    }
                }
            }
            Step::ReadHistory { room, was_in } => {
                let Some(Doing::Entering { after, .. }) = self.doing(id) else { return };
                let history = match self.unreadable {
                    true => Err(ErrorCode::StoreUnavailable.into()),
                    false => Ok(self.disk.history_for(room.id, after.as_ref())),
                };
                let at = now + chance.mostly_short(self.setup.read_within);
                self.later(at, id, Step::Open { room, was_in, history });
            }
            Step::Open { room, was_in, history } => self.open(now, id, room, was_in, history),
            Step::GateAndOpen { room, history } => {
                if let Err(refusal) = self.gate(now, id, &room, chance) {
                    return self.finish(id, Err(refusal));
                }
                self.open(now, id, room, false, Ok(history));
            }
            Step::Rename => self.rename(now, id),
            Step::ReadOlder { room, wanted, id: frame } => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.doing = None;
                }
                let answer = match (self.unreadable, wanted.limit) {
                    (true, _) => Err(ErrorCode::StoreUnavailable.into()),
                    (_, 1..=100) => {
                        let (messages, more) = self.disk.history_before(room.id, wanted.before, wanted.limit);
                        Ok(Some(Ack::History(HistoryAck { messages, more })))
                    }
                    _ => Err(ErrorCode::LimitOutOfRange.into()),
                };
                self.answer(id, frame, answer);
            }
        }
    }

    fn written(&mut self, now: u64, written: Written, chance: &mut Chance) {
        match written {
            Written::Append { author, room, outcome } => {
                // Never refused.
                let _ = self.drive(now, Input::Stored { author, room, outcome });
            }
            Written::Room { conn, result: Ok(room) } => self.seat(now, conn, room, chance),
            Written::Room { conn, result: Err(refusal) } => self.finish(conn, Err(refusal)),
            Written::Nickname { conn: None, .. } => {}
            Written::Nickname { conn: Some(conn), result } => self.renamed(now, conn, result),
        }
    }

    /// Closes the gate for a connection; the history is read afterwards.
    fn seat(&mut self, now: u64, id: ConnId, room: RoomRow, chance: &mut Chance) {
        let Some(Doing::Entering { after, .. }) = self.doing(id) else { return };
        let at = now + chance.mostly_short(self.setup.read_within);
        if self.setup.planted == Some(Planted::ReadBeforeGate) {
            let history = self.disk.history_for(room.id, after.as_ref());
            return self.later(at, id, Step::GateAndOpen { room, history });
        }
        let was_in = self.core.is_in(id, room.id);
        if let Err(refusal) = self.gate(now, id, &room, chance) {
            return self.finish(id, Err(refusal));
        }
        if self.setup.planted == Some(Planted::ReleaseBeforeReplay) {
            let (conn, history) = (id, History::default());
            // Never refused.
            let _ = self.drive(now, Input::Opened { conn, room: room.id, id: None, history, call: vec![] });
        }
        self.later(at, id, Step::ReadHistory { room, was_in });
    }

    fn gate(&mut self, now: u64, id: ConnId, room: &RoomRow, chance: &mut Chance) -> Result<(), Refusal> {
        let Some(conn) = self.conns.get(&id) else { return Err(ErrorCode::NotInRoom.into()) };
        let (link, Some(user)) = (conn.link.clone(), conn.user) else { return Err(ErrorCode::NotInRoom.into()) };
        for _ in 0..100 {
            let (link, nick) = (link.clone(), self.names[&user].clone());
            let guest = is_guest_name(&nick.text);
            let enter = Input::Enter { conn: id, link, user, nick, room: room.id, name: room.name.clone() };
            match self.drive(now, enter) {
                Ok(()) => return Ok(()),
                Err(code) if !guest => return Err(code.into()),
                Err(_) => {
                    let nick = Nick::unchecked(guest_name(1_000 + chance.below(9_000) as u32));
                    let free = self.core.name_conflict(Some(room.id), user, &nick.key).is_none();
                    if free && self.drive(now, Input::Rename { user, nick: nick.clone(), asker: None }).is_ok() {
                        self.names.insert(user, nick);
                    }
                }
            }
        }
        Err(ErrorCode::NickTaken.into())
    }

    fn open(&mut self, now: u64, id: ConnId, room: RoomRow, was_in: bool, history: Result<History, Refusal>) {
        let Some(Doing::Entering { name, id: frame, .. }) = self.doing(id) else { return };
        let opened =
            |id_of_frame, history| Input::Opened { conn: id, room: room.id, id: id_of_frame, history, call: vec![] };
        // None of these is ever refused.
        match history {
            Ok(history) if self.setup.planted == Some(Planted::ReleaseBeforeReplay) => {
                let History { epoch, head, messages, more, recovered, reason } = history;
                let (room, members) = (room.name.to_string(), self.core.members(room.id));
                let count = members.len() as u64;
                let ack =
                    EnterRoomAck { room, epoch, head, count, members, messages, more, recovered, reason, call: None };
                self.answer(id, frame, Ok(Some(Ack::EnterRoom(ack))));
            }
            Ok(history) => drop(self.drive(now, opened(frame, history))),
            Err(refusal) => {
                let _ = match was_in {
                    true => self.drive(now, opened(None, History::default())),
                    false => self.drive(now, Input::Leave { conn: id, room: room.id }),
                };
                return self.finish(id, Err(refusal));
            }
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.doing = None;
            conn.rooms.insert(name.folded, room);
        }
    }

    fn rename(&mut self, now: u64, id: ConnId) {
        let Some(Doing::Renaming { nick, .. }) = self.doing(id) else { return };
        let Some(user) = self.conns[&id].user else { return };
        if *self.renaming.entry(user).or_insert(id) != id {
            return self.later(now + 100, id, Step::Rename);
        }
        if let Some(code) = self.core.name_conflict(None, user, &nick.key) {
            return self.finish(id, Err(code.into()));
        }
        let write = Write::Nickname { conn: Some(id), user, nickname: Some(nick.text) };
        if let Err(refusal) = self.disk.take(now, write) {
            self.finish(id, Err(refusal));
        }
    }

    fn renamed(&mut self, now: u64, id: ConnId, saved: Result<(), Refusal>) {
        let Some(Doing::Renaming { nick, old, .. }) = self.doing(id) else { return };
        let Some(user) = self.conns[&id].user else { return };
        let answer = saved.and_then(|()| {
            let renamed = self.drive(now, Input::Rename { user, nick: nick.clone(), asker: Some(id) });
            match renamed {
                Ok(()) => {
                    let nickname = nick.text.clone();
                    self.names.insert(user, nick);
                    Ok(Some(Ack::Nickname(NicknameAck { nickname })))
                }
                Err(code) => {
                    let nickname = (!is_guest_name(&old)).then_some(old);
                    self.disk.take(now, Write::Nickname { conn: None, user, nickname })?;
                    Err(code.into())
                }
            }
        });
        self.finish(id, answer);
    }

    fn doing(&self, id: ConnId) -> Option<Doing> {
        self.conns.get(&id)?.doing.clone()
    }

    fn finish(&mut self, id: ConnId, answer: Answer) {
        let doing = self.conns.get_mut(&id).and_then(|conn| conn.doing.take());
        self.renaming.retain(|_, conn| *conn != id);
        if let Some(Doing::Entering { id: frame, .. } | Doing::Renaming { id: frame, .. }) = doing {
            self.answer(id, frame, answer);
        }
    }

    // --- The core ------------------------------------------------------------------------------

    /// Gives an input to the core and carries out all that follows, as a shard does.
    fn drive(&mut self, now: u64, input: Input<Link>) -> Result<(), ErrorCode> {
        let time = self.born + Duration::from_micros(now);
        let result = self.core.handle(time, input);
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, frame } => self.push(&to, &frame),
                Output::Broadcast { room, except, frame } => self.broadcast(room, except, frame),
                Output::Append { author, room, name, user, key, text } => {
                    let (row, waiting) = (RoomRow { id: room, name }, author.clone());
                    let append = Write::Append { author, room: row, user, key, text };
                    if let Err(refusal) = self.disk.take(now, append) {
                        let stored = Input::Stored { author: waiting, room, outcome: Err(refusal) };
                        // Never refused.
                        let _ = self.core.handle(time, stored);
                    }
                }
                Output::Close { link, code } => link.close(code),
                Output::Count { room, name, count } => self.lobby.count(room, name, count),
                _ => {}
            }
        }
        result
    }

    fn broadcast(&mut self, room: RoomId, except: Except, frame: ServerFrame) {
        if self.setup.planted == Some(Planted::OutOfOrder) && matches!(frame, ServerFrame::NewMessage(_)) {
            let Some((held_room, held)) = self.held.replace((room, frame)) else { return };
            if held_room != room {
                return self.send_to_all(held_room, except, &held);
            }
            if let Some((_, newer)) = self.held.take() {
                self.send_to_all(room, except, &newer);
            }
            return self.send_to_all(room, except, &held);
        }
        self.send_to_all(room, except, &frame);
    }

    fn send_to_all(&self, room: RoomId, except: Except, frame: &ServerFrame) {
        self.core.audience(room, except, frame).for_each(|link| self.push(link, frame));
    }

    fn push(&self, link: &Link, frame: &ServerFrame) {
        if self.setup.planted == Some(Planted::DropOnOverflow) {
            let waiting = link.take();
            let room = waiting.frames.len() + 1 < self.setup.outbox.frames;
            waiting.frames.into_iter().for_each(|frame| link.push(frame, Waits::Whole));
            if !room {
                return;
            }
        }
        link.push(frame.encode().into(), Waits::of(frame));
    }
}

impl Conn {
    /// When its task does something even if nothing comes.
    fn deadline(&self) -> Option<u64> {
        if self.doing.is_some() {
            None
        } else if !self.writing.is_empty() {
            Some(self.write_by)
        } else if self.user.is_none() {
            Some(self.hello_by)
        } else {
            Some(self.pong_by.unwrap_or(self.ping_at))
        }
    }

    /// A room that it is in, under any form of its name.
    fn room(&self, name: &str) -> Result<(String, RoomRow), Refusal> {
        let name = RoomName::parse(name)?;
        let room = self.rooms.get(&name.folded).cloned().ok_or(ErrorCode::NotInRoom)?;
        Ok((name.folded, room))
    }
}
