//! A server in the simulation: the real hub and real sessions over a simulated storage, clock and random
//! number generator. Only the transport is simulated. It treats a connection as `server/transport` does, with
//! the same time limits.
//!
//! The futures of sessions, page loads and fan-out are polled by hand ([`Task`]), so a command takes
//! simulated time wherever it waits for the storage. Fan-out of committed messages is a step of its own, so
//! that other events come between commit and delivery.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use futures::FutureExt;
use noom::protocol::frame::GoingAway;
use noom::protocol::{CloseCode, Refusal, ServerFrame, UserId};
use noom::server::call::ice::IceSettings;
use noom::server::config::LimitSettings;
use noom::server::history::Until;
use noom::server::hub::outbox::Outbox;
use noom::server::hub::purger::Purger;
use noom::server::hub::{Hub, RoomSnapshot, TICK};
use noom::server::id::RoomRow;
use noom::server::identity::Identity;
use noom::server::name_key::RoomName;
use noom::server::session::{Session, Visitor};
use noom::server::transport::{HELLO_TIMEOUT, PING_INTERVAL, PONG_TIMEOUT, WRITE_TIMEOUT};

use super::disk::{Disk, SimulatedStorage};
use super::environment::SimulatedEnvironment;
use super::mutation::{FrameMutator, Mutation};
use super::network::{Packet, SimulatedSocket};
use super::rng::Rng;
use super::task::Task;

/// A rate limit that is never reached.
const UNLIMITED: u32 = 1_000_000;

/// The parameters of a server.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Capacity of an outbox, in frames.
    pub outbox_frames: usize,
    /// Bytes that the network buffers for a peer that does not read.
    pub window: usize,
    /// The default rate limit applies to messages. Otherwise there is none.
    pub is_rate_limited: bool,
    /// The longest time until a commit is delivered, in microseconds.
    pub fan_out_within: u64,
    pub mutation: Option<Mutation>,
}

#[derive(Debug)]
pub struct Server {
    pub disk: Arc<Disk>,
    environment: Arc<SimulatedEnvironment>,
    setup: Setup,
    process: Option<Process>,
}

/// The content of a loaded page.
#[derive(Debug)]
pub struct PageContent {
    pub epoch: String,
    /// The rooms of the page by their requested names, and what the server knows of them.
    pub rooms: Vec<(String, Option<RoomSnapshot>)>,
}

/// A running server process.
#[derive(Debug)]
struct Process {
    hub: Arc<Hub>,
    identity: Arc<Identity>,
    is_draining: bool,
    tick_at: u64,
    connections: BTreeMap<u64, Connection>,
    /// Page loads in progress, by the slot of the page.
    page_loads: BTreeMap<usize, Task<Result<PageContent, Refusal>>>,
    /// The fan-out of each shard, with the time of its next step.
    fan_out: Vec<(Task<()>, Option<u64>)>,
    /// Expiry in progress.
    removals: Vec<Task<()>>,
    /// The purger between its steps, and its step in progress.
    purger: Option<Purger>,
    purging: Option<Task<Purger>>,
    /// Packets other than frames that are due to be sent.
    out: Vec<(u64, Packet)>,
}

/// A connection, as its transport task keeps it.
#[derive(Debug)]
struct Connection {
    outbox: Arc<Outbox>,
    /// `None` while a command is carried out. Until then nothing is read or written.
    session: Option<Session>,
    command: Option<Task<(Session, ControlFlow<CloseCode>)>>,
    hello_by: u64,
    ping_at: u64,
    pong_by: Option<u64>,
    writing: VecDeque<Utf8Bytes>,
    write_by: u64,
    mutator: FrameMutator,
}

impl Server {
    pub fn new(disk: Arc<Disk>, environment: Arc<SimulatedEnvironment>, setup: Setup) -> Self {
        Self { disk, environment, setup, process: None }
    }

    // --- Process -------------------------------------------------------------------------------

    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub fn is_draining(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.is_draining)
    }

    pub fn start(&mut self, now: u64) {
        let outbox_frames = match self.setup.mutation {
            Some(Mutation::DropOnOverflow) => usize::MAX,
            _ => self.setup.outbox_frames,
        };
        let defaults = LimitSettings::default();
        let limits = LimitSettings {
            outbox_frames,
            outbox_bytes: 128 * 1024,
            messages_per_second: if self.setup.is_rate_limited { defaults.messages_per_second } else { UNLIMITED },
            message_burst: if self.setup.is_rate_limited { defaults.message_burst } else { UNLIMITED },
            signals_per_second: UNLIMITED,
            signal_burst: UNLIMITED,
            announcements_per_second: UNLIMITED,
            announcement_burst: UNLIMITED,
            reads_per_second: UNLIMITED,
            read_burst: UNLIMITED,
            joins_per_minute: UNLIMITED,
            rooms_per_minute: UNLIMITED,
            rooms_per_hour: UNLIMITED,
            guests_per_minute: UNLIMITED,
            ..defaults
        };
        let storage = SimulatedStorage::open(self.disk.clone());
        let hub = Hub::new(storage, self.environment.clone(), limits, IceSettings::default());
        let worker = |shard| {
            let hub = hub.clone();
            (Task::new(async move { hub.run_fan_out(shard).await }), None)
        };
        self.process = Some(Process {
            identity: Arc::new(Identity::from_key(&[7; 64], false)),
            is_draining: false,
            tick_at: now + micros(TICK),
            connections: BTreeMap::new(),
            page_loads: BTreeMap::new(),
            removals: Vec::new(),
            purger: Some(Purger::default()),
            purging: None,
            fan_out: (0..hub.shard_count()).map(worker).collect(),
            out: Vec::new(),
            hub,
        });
    }

    /// The process is killed. Returns the pages whose loading fails.
    pub fn crash(&mut self) -> Vec<usize> {
        let process = self.process.take();
        self.disk.crash();
        process.map(|process| process.page_loads.into_keys().collect()).unwrap_or_default()
    }

    /// Refuses new connections, and asks all clients to reconnect.
    pub fn drain(&mut self, rng: &mut Rng) {
        let Some(process) = &mut self.process else { return };
        process.is_draining = true;
        for connection in process.connections.values() {
            let reconnect_in_ms = rng.below(500);
            connection.outbox.send(&ServerFrame::GoingAway(GoingAway { reconnect_in_ms }));
        }
    }

    /// Closes all connections, after the frames in their outboxes.
    pub fn close_all(&self) {
        let connections = self.process.iter().flat_map(|process| process.connections.values());
        connections.for_each(|connection| connection.outbox.close(CloseCode::Restarting));
    }

    /// The process exits gracefully. Returns the pages whose loading fails.
    pub fn shut_down(&mut self) -> Vec<usize> {
        if let Some(process) = &self.process {
            process.hub.close();
        }
        self.crash()
    }

    // --- Connections ---------------------------------------------------------------------------

    /// Accepts a connection, unless the server is down or draining. Returns the epoch of the server.
    pub fn accept(&mut self, now: u64, id: u64, cookie: Option<UserId>) -> Option<String> {
        let process = self.process.as_mut().filter(|process| !process.is_draining)?;
        let handle = process.hub.register()?;
        let outbox = handle.outbox.clone();
        let cookie = cookie.map(|user| process.identity.without_cookie(user));
        let visitor = Visitor { cookie, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let session = Session::new(process.hub.clone(), process.identity.clone(), visitor, handle);
        let connection = Connection {
            outbox,
            session: Some(session),
            command: None,
            hello_by: now + micros(HELLO_TIMEOUT),
            ping_at: now + micros(PING_INTERVAL),
            pong_by: None,
            writing: VecDeque::new(),
            write_by: 0,
            mutator: FrameMutator::default(),
        };
        process.connections.insert(id, connection);
        Some(process.hub.epoch().to_owned())
    }

    /// Returns whether the server reads from a connection now.
    pub fn reads(&self, id: u64) -> bool {
        let Some(process) = &self.process else { return true };
        process.connections.get(&id).is_none_or(|connection| {
            connection.session.is_some()
                && connection.writing.is_empty()
                && process.hub.wait_for_capacity().now_or_never().is_some()
        })
    }

    pub fn receive(&mut self, now: u64, id: u64, packet: Packet) {
        let Some(process) = &mut self.process else { return };
        let Some(connection) = process.connections.get_mut(&id) else { return };
        connection.pong_by = None;
        connection.ping_at = now + micros(PING_INTERVAL);
        match packet {
            Packet::Text(text) => {
                let Some(mut session) = connection.session.take() else { return };
                connection.command = Some(Task::new(async move {
                    let flow = session.handle(&text).await;
                    (session, flow)
                }));
            }
            Packet::Close(code) => {
                // A client that closes with a code leaves. Without one it comes back.
                if let Some(session) = connection.session.as_mut().filter(|_| code.is_some()) {
                    session.clean_close();
                }
                process.end(id, Packet::Broken);
            }
            Packet::Broken => process.end(id, Packet::Broken),
            Packet::Upgrade | Packet::Opened | Packet::Ping | Packet::Pong => {}
        }
    }

    /// Writes the outboxes of idle connections, as far as their peers read.
    pub fn flush(
        &mut self,
        now: u64,
        sockets: &mut BTreeMap<u64, SimulatedSocket>,
        rng: &mut Rng,
        latency: impl Fn(&mut Rng) -> u64,
    ) {
        let Some(process) = &mut self.process else { return };
        for id in process.connections.keys().copied().collect::<Vec<_>>() {
            let Some(socket) = sockets.get_mut(&id) else { continue };
            while let Some(connection) = process.connections.get_mut(&id).filter(|it| it.session.is_some()) {
                if connection.writing.is_empty() {
                    let waiting = connection.outbox.take();
                    if waiting.frames.is_empty() {
                        if let Some(code) = waiting.close {
                            process.close(id, code);
                        }
                        break;
                    }
                    connection.writing = match self.setup.mutation {
                        Some(mutation) => {
                            connection.mutator.apply(mutation, waiting.frames, self.setup.outbox_frames / 4, rng)
                        }
                        None => waiting.frames,
                    };
                    let deadline = connection.pong_by.unwrap_or(connection.ping_at + micros(PONG_TIMEOUT));
                    connection.write_by = deadline.min(now + micros(WRITE_TIMEOUT));
                }
                while let Some(frame) = connection.writing.front() {
                    if socket.down.bytes() > 0 && socket.down.bytes() + frame.len() > self.setup.window {
                        break;
                    }
                    socket.down.push(now + latency(rng), Packet::Text(frame.to_string()));
                    connection.writing.pop_front();
                }
                if connection.writing.is_empty() {
                    continue;
                }
                if connection.outbox.overflowed().now_or_never().is_some() {
                    process.close(id, CloseCode::SlowConsumer);
                }
                break;
            }
        }
        for (id, packet) in std::mem::take(&mut process.out) {
            let Some(socket) = sockets.get_mut(&id) else { continue };
            socket.server_gone |= packet != Packet::Ping;
            socket.down.push(now + latency(rng), packet);
        }
    }

    // --- Pages ---------------------------------------------------------------------------------

    /// Starts to load a page with these rooms. Returns false if the server is down.
    pub fn load_page(&mut self, slot: usize, rooms: Vec<String>) -> bool {
        let Some(process) = &mut self.process else { return false };
        let hub = process.hub.clone();
        let load = async move {
            let mut content = PageContent { epoch: hub.epoch().to_owned(), rooms: Vec::new() };
            for room in rooms {
                let name = RoomName::parse(&room)?;
                content.rooms.push((room, hub.snapshot(&name, None).await?));
            }
            Ok(content)
        };
        process.page_loads.insert(slot, Task::new(load));
        true
    }

    // --- Time ----------------------------------------------------------------------------------

    pub fn next_wake(&self) -> Option<u64> {
        let process = self.process.as_ref()?;
        let connections = process.connections.values().filter_map(Connection::deadline);
        let fan_out = process.fan_out.iter().filter_map(|(_, at)| *at);
        connections.chain(fan_out).chain(self.disk.next_wake()).chain([process.tick_at]).min()
    }

    /// Lets the messages of a room up to `last` expire.
    pub fn expire(&mut self, room: RoomRow, last: u64) {
        let Some(process) = &mut self.process else { return };
        let hub = process.hub.clone();
        process.removals.push(Task::new(async move {
            // If it fails, the messages stay.
            let _ = hub.expire(&room, Until::Seq(last)).await;
        }));
    }

    /// Carries out the next step of a purge, if the one before has ended.
    pub fn purge(&mut self) {
        let Some(process) = &mut self.process else { return };
        let Some(mut purger) = process.purger.take() else { return };
        let hub = process.hub.clone();
        purger.look();
        process.purging = Some(Task::new(async move {
            // If it fails, it is tried again.
            let _ = purger.step(&hub).await;
            purger
        }));
    }

    /// Runs what is due. `run_tasks` must follow.
    pub fn handle_time(&mut self, now: u64) {
        let Some(process) = &mut self.process else { return };
        if self.disk.next_wake().is_some_and(|at| at <= now) {
            self.disk.handle_time();
        }
        for (worker, at) in process.fan_out.iter_mut().filter(|(_, at)| at.is_some_and(|at| at <= now)) {
            *at = None;
            assert!(worker.poll().is_none(), "the fan-out ends");
        }
        if process.tick_at <= now {
            process.tick_at = now + micros(TICK);
            process.hub.tick();
        }
        let due = |(id, connection): (&u64, &Connection)| connection.deadline().filter(|at| *at <= now).map(|_| *id);
        for id in process.connections.iter().filter_map(due).collect::<Vec<_>>() {
            process.handle_deadline(now, id);
        }
    }

    /// Polls the tasks that were woken, and schedules fan-out. Returns the pages that were loaded.
    pub fn run_tasks(&mut self, now: u64, rng: &mut Rng) -> Vec<(usize, Result<PageContent, Refusal>)> {
        let Some(process) = &mut self.process else { return Vec::new() };
        // One task may wake another.
        while process.poll_commands() {}
        if let Some(purger) = process.purging.as_mut().filter(|task| task.is_woken()).and_then(Task::poll) {
            (process.purging, process.purger) = (None, Some(purger));
        }
        process.removals.retain_mut(|task| !task.is_woken() || task.poll().is_none());
        let mut loaded = Vec::new();
        process.page_loads.retain(|slot, task| match task.is_woken().then(|| task.poll()).flatten() {
            Some(content) => {
                loaded.push((*slot, content));
                false
            }
            None => true,
        });
        for (_, at) in process.fan_out.iter_mut().filter(|(worker, at)| worker.is_woken() && at.is_none()) {
            *at = Some(now + rng.mostly_short(self.setup.fan_out_within));
        }
        loaded
    }
}

impl Process {
    /// Polls the commands that were woken. Returns false if there was none.
    fn poll_commands(&mut self) -> bool {
        let mut is_any = false;
        for connection in self.connections.values_mut() {
            let Some(command) = connection.command.as_mut().filter(|command| command.is_woken()) else { continue };
            is_any = true;
            if let Some((session, flow)) = command.poll() {
                connection.command = None;
                connection.session = Some(session);
                if let ControlFlow::Break(code) = flow {
                    connection.outbox.close(code);
                }
            }
        }
        is_any
    }

    fn handle_deadline(&mut self, now: u64, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let code = if !connection.writing.is_empty() {
            CloseCode::SlowConsumer
        } else if !connection.is_greeted() {
            CloseCode::HelloTimeout
        } else if connection.pong_by.is_some() {
            CloseCode::HeartbeatTimeout
        } else {
            connection.pong_by = Some(now + micros(PONG_TIMEOUT));
            return self.out.push((id, Packet::Ping));
        };
        self.close(id, code);
    }

    fn close(&mut self, id: u64, code: CloseCode) {
        // Panics are contained by the hub, and show here only.
        assert_ne!(code, CloseCode::Internal, "a part of the server panicked");
        self.end(id, Packet::Close(Some(code.number())));
    }

    fn end(&mut self, id: u64, last_packet: Packet) {
        if let Some(connection) = self.connections.remove(&id) {
            let outbox = connection.outbox.clone();
            drop(connection);
            outbox.end();
            self.out.push((id, last_packet));
        }
    }
}

impl Connection {
    fn is_greeted(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_greeted)
    }

    /// The next deadline of its transport task. There is none while a command is carried out.
    fn deadline(&self) -> Option<u64> {
        if self.session.is_none() {
            None
        } else if !self.writing.is_empty() {
            Some(self.write_by)
        } else if !self.is_greeted() {
            Some(self.hello_by)
        } else {
            Some(self.pong_by.unwrap_or(self.ping_at))
        }
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
