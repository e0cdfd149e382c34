//! The scheduler of a run. It owns the clock, the network, the disk, the pages and the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use noom::client::session::{Action, ConnectionState, Event, Intent, Search, SendStatus, UnsentMessage, Update};
use noom::protocol::{ClientFrame, ErrorCode, MessageRef, Position, Reading, Refusal, ServerFrame, UserId};
use noom::server::hub::RoomSnapshot;

use super::disk::{Committed, Disk, Image, Settings};
use super::environment::SimulatedEnvironment;
use super::figures::Figures;
use super::history::{History, PageId, Record};
use super::mutation::Mutation;
use super::network::{Packet, SimulatedSocket};
use super::page::{Browser, Page};
use super::rng::Rng;
use super::server::{PageContent, Server, Setup};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// Time between the last fault and the final checks: a dead connection is detected within 35 s, and the
/// longest backoff is 30 s.
const SETTLE: u64 = 120 * SECOND;

/// An event scheduled for a time.
#[derive(Clone, Debug)]
pub enum Job {
    /// A page requests its HTML.
    Load(usize),
    /// The page hydrates.
    Hydrate(usize, PageId),
    /// The user of a page acts.
    Act(usize),
    /// An event for the session of a page.
    Deliver(usize, PageId, Event),
    /// A fault is injected.
    Fault,
    Wake(usize),
    GoOnline(usize),
    CloseAll,
    ShutDown,
    Start,
    RepairDisk,
    /// Messages expire.
    Expire,
    /// The server carries out purges.
    Purge,
    /// Faults stop.
    Settle,
}

/// The parameters of a run, drawn from its seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The largest latency of a packet, in microseconds.
    pub latency: u64,
    pub act_every: u64,
    pub fault_every: u64,
    pub until: u64,
    pub room_names: Vec<&'static str>,
    pub commit_within: u64,
}

pub struct World {
    pub now: u64,
    pub rng: Rng,
    pub plan: Plan,
    environment: Arc<SimulatedEnvironment>,
    pub server: Server,
    pub pages: Vec<Page>,
    pub browsers: Vec<Browser>,
    /// The slots of pages that the server renders.
    loading: BTreeSet<usize>,
    pub sockets: BTreeMap<u64, SimulatedSocket>,
    next_socket: u64,
    jobs: BTreeMap<(u64, u64), Job>,
    next_job: u64,
    next_page: u64,
    next_epoch: u64,
    pub history: History,
    pub figures: Figures,
    /// Earlier copies of the database.
    pub copies: Vec<Image>,
    /// Set when faults have stopped.
    pub quiet: bool,
    pub mutation: Option<Mutation>,
}

/// The source of the next event.
enum Source {
    Job,
    Up(u64),
    Down(u64),
    Server,
    Page(usize),
}

impl World {
    pub fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan {
            latency: *rng.pick(&[2 * MS, 50 * MS, 400 * MS]),
            act_every: *rng.pick(&[400 * MS, SECOND, 3 * SECOND]),
            fault_every: *rng.pick(&[SECOND, 3 * SECOND, 10 * SECOND]),
            until: rng.between(30, 90) * SECOND,
            room_names: ["Lounge", "kitchen", "Straße"][..rng.between(1, 3) as usize].to_vec(),
            commit_within: *rng.pick(&[2 * MS, 20 * MS, 200 * MS]),
        };
        let setup = Setup {
            outbox_frames: rng.between(6, 40) as usize,
            window: *rng.pick(&[1_000, 16_000, 64_000]),
            is_rate_limited: rng.one_in(2),
            fan_out_within: *rng.pick(&[100, 5 * MS, 200 * MS]),
            mutation,
        };
        let settings = Settings {
            capacity: rng.between(3, 24) as usize,
            replay_at_most: *rng.pick(&[8, 40, 1_000]),
            commit_within: plan.commit_within,
            read_within: *rng.pick(&[MS, 20 * MS, 300 * MS]),
            full: false,
            unreadable: false,
        };
        let shards = rng.between(1, 3) as usize;
        let environment = Arc::new(SimulatedEnvironment::new(Rng::new(rng.bits()), shards));
        let disk = Disk::new(environment.clone(), Rng::new(rng.bits()), "epoch-0".into(), settings, mutation);
        let browsers = (0..rng.between(2, 4)).map(|_| {
            let cookie = (!rng.one_in(4)).then(|| UserId(rng.bits()));
            Browser { cookie, online: true }
        });
        let browsers: Vec<_> = browsers.collect();
        let pages = (0..rng.between(2, 6) as usize).map(|number| {
            let wanted: Vec<_> = plan.room_names.iter().filter(|_| !rng.one_in(3)).collect();
            let mut rooms: Vec<_> = wanted.into_iter().map(|name| spelling(name, &mut rng)).collect();
            if rooms.is_empty() {
                rooms.push(plan.room_names[0].to_owned());
            }
            Page::new(number % browsers.len(), rooms)
        });
        let pages = pages.collect();
        let mut world = Self {
            now: 0,
            rng,
            plan,
            server: Server::new(disk, environment.clone(), setup),
            environment,
            pages,
            browsers,
            loading: BTreeSet::new(),
            sockets: BTreeMap::new(),
            next_socket: 0,
            jobs: BTreeMap::new(),
            next_job: 0,
            next_page: 0,
            next_epoch: 1,
            history: History::default(),
            figures: Figures { seeds: 1, ..Figures::default() },
            copies: Vec::new(),
            quiet: false,
            mutation,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.record_epoch();
        self.server.start(0);
        for slot in 0..self.pages.len() {
            let at = self.rng.below(5 * SECOND);
            self.plan_at(at, Job::Load(slot));
            self.plan_at(at + SECOND, Job::Act(slot));
        }
        self.plan_at(2 * SECOND, Job::Fault);
        self.plan_at(2 * SECOND, Job::Purge);
        self.plan_at(self.plan.until, Job::Settle);
    }

    /// Runs to the end.
    pub fn run(&mut self) {
        while self.now < self.plan.until + SETTLE {
            self.step();
        }
        let rooms = self.server.disk.rooms();
        self.history.add(self.now, Record::Ended { rooms });
    }

    // --- Scheduling ----------------------------------------------------------------------------

    pub fn plan_in(&mut self, pause: u64, job: Job) {
        self.plan_at(self.now + pause, job);
    }

    fn plan_at(&mut self, at: u64, job: Job) {
        self.next_job += 1;
        self.jobs.insert((at, self.next_job), job);
    }

    fn step(&mut self) {
        let mut next = (self.plan.until + SETTLE, None);
        let mut consider = |at: Option<u64>, source: Source| {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, Some(source));
            }
        };
        consider(self.jobs.keys().next().map(|(at, _)| *at), Source::Job);
        for (id, socket) in &self.sockets {
            if self.hears(*id, socket) {
                consider(socket.down.next_at(), Source::Down(*id));
            }
            if socket.up.peek() == Some(&Packet::Upgrade) || self.server.reads(*id) {
                consider(socket.up.next_at(), Source::Up(*id));
            }
        }
        consider(self.server.next_wake(), Source::Server);
        for (slot, page) in self.pages.iter().enumerate() {
            consider(page.next_wake(), Source::Page(slot));
        }
        let (at, source) = next;
        self.now = self.now.max(at);
        self.environment.advance_to(self.now);
        match source {
            None => {}
            Some(Source::Job) => {
                if let Some((_, job)) = self.jobs.pop_first() {
                    self.do_job(job);
                }
            }
            Some(Source::Up(id)) => self.arrive_at_server(id),
            Some(Source::Down(id)) => self.arrive_at_page(id),
            Some(Source::Server) => self.server.handle_time(self.now),
            Some(Source::Page(slot)) => self.deliver(slot, Event::Tick),
        }
        self.carry();
    }

    /// Collects the effects of a step on the server: committed messages, loaded pages and queued frames.
    fn carry(&mut self) {
        for committed in self.server.disk.take_committed() {
            let record = match committed {
                Committed::Message(message) => Record::Committed(message),
                Committed::Change(change) => Record::Changed(change),
                Committed::Expired { room, floor } => Record::Expired { room, floor },
                Committed::Purge { room, user, up_to } => Record::PurgeRequested { room, user, up_to },
            };
            self.history.add(self.now, record);
        }
        for (slot, content) in self.server.run_tasks(self.now, &mut self.rng) {
            self.finish_load(slot, content);
        }
        let latency = self.plan.latency;
        self.server.flush(self.now, &mut self.sockets, &mut self.rng, |rng| rng.mostly_short(latency));
        for socket in self.sockets.values_mut().filter(|socket| socket.server_gone) {
            if let Some(since) = socket.server_since.take() {
                let noticed = match socket.one_way {
                    true => &mut self.figures.noticed_one_way,
                    false => &mut self.figures.noticed_by_server,
                };
                *noticed = (*noticed).max(self.now - since);
            }
        }
        self.sockets.retain(|_, socket| !(socket.page_gone && socket.server_gone));
    }

    fn do_job(&mut self, job: Job) {
        match job {
            Job::Load(slot) => self.load(slot),
            Job::Hydrate(slot, page_id) => self.hydrate(slot, page_id),
            Job::Act(slot) => self.act(slot),
            Job::Deliver(slot, page_id, event) => {
                if self.pages[slot].id == page_id && self.pages[slot].awake {
                    self.deliver(slot, event);
                }
            }
            Job::Fault => self.inject_fault(),
            Job::Wake(slot) => self.wake(slot),
            Job::GoOnline(browser) => self.go_online(browser),
            Job::CloseAll => self.server.close_all(),
            Job::Expire => self.expire(),
            Job::Purge => {
                self.server.purge();
                let pause = if self.quiet { SECOND / 10 } else { self.rng.between(1, 15) * SECOND / 10 };
                self.plan_in(pause, Job::Purge);
            }
            Job::ShutDown => self.shut_down(),
            Job::Start => {
                self.record_epoch();
                self.server.start(self.now);
                self.figures.restarts += 1;
            }
            Job::RepairDisk => self.repair_disk(),
            Job::Settle => self.settle(),
        }
    }

    // --- The network ---------------------------------------------------------------------------

    fn hears(&self, id: u64, socket: &SimulatedSocket) -> bool {
        socket.page_gone || self.pages[socket.page].socket != Some(id) || self.pages[socket.page].awake
    }

    pub fn latency(&mut self) -> u64 {
        self.rng.mostly_short(self.plan.latency)
    }

    fn connect(&mut self, slot: usize) {
        self.next_socket += 1;
        let (id, at) = (self.next_socket, self.now + self.latency());
        let mut socket = SimulatedSocket { page: slot, ..SimulatedSocket::default() };
        self.figures.connections += 1;
        if !self.browsers[self.pages[slot].browser].online {
            socket.server_gone = true;
            socket.down.push(at, Packet::Broken);
        } else if !self.quiet && self.rng.one_in(40) {
            self.fault("upgrade unanswered", format!("connection {id}"));
            (socket.up.stalled, socket.down.stalled, socket.server_gone) = (true, true, true);
        } else {
            socket.up.push(at, Packet::Upgrade);
        }
        self.sockets.insert(id, socket);
        self.pages[slot].socket = Some(id);
        self.pages[slot].asked.clear();
    }

    fn arrive_at_server(&mut self, id: u64) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(packet) = socket.up.pop() else { return };
        if !matches!(packet, Packet::Close(_) | Packet::Broken) {
            socket.received_by_server(self.now);
        }
        if packet != Packet::Upgrade {
            return self.server.receive(self.now, id, packet);
        }
        let cookie = self.browsers[self.pages[socket.page].browser].cookie;
        let epoch = self.server.accept(self.now, id, cookie);
        let at = self.now + self.latency();
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.server_gone = epoch.is_none();
            socket.down.push(at, if epoch.is_some() { Packet::Opened } else { Packet::Broken });
        }
        if let Some(epoch) = epoch {
            self.history.add(self.now, Record::Accepted { conn: id, epoch });
        }
    }

    fn arrive_at_page(&mut self, id: u64) {
        let at = self.now + self.latency();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(packet) = socket.down.pop() else { return };
        if !matches!(packet, Packet::Close(_) | Packet::Broken) {
            socket.received_by_page(self.now);
        }
        let slot = socket.page;
        if socket.page_gone {
            return;
        }
        match packet {
            Packet::Ping => socket.up.push(at, Packet::Pong),
            Packet::Opened => self.deliver(slot, Event::Opened),
            Packet::Text(text) => self.deliver(slot, Event::Received(text)),
            Packet::Close(code) => self.closed(slot, id, code.unwrap_or(1005)),
            Packet::Broken => self.closed(slot, id, 1006),
            Packet::Upgrade | Packet::Pong => {}
        }
    }

    fn closed(&mut self, slot: usize, id: u64, code: u16) {
        self.figures.dropped += 1;
        self.detach(id);
        self.pages[slot].socket = None;
        self.deliver(slot, Event::Closed(code));
    }

    /// The page closes its end. Records the detection time if the connection was dead.
    fn detach(&mut self, id: u64) {
        let at = self.now + self.latency();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.page_gone = true;
        socket.up.push(at, Packet::Close(None));
        if let Some(since) = socket.page_since.take() {
            let noticed = match socket.one_way {
                true => &mut self.figures.noticed_one_way,
                false => &mut self.figures.noticed_by_page,
            };
            *noticed = (*noticed).max(self.now - since);
        }
    }

    // --- Pages ---------------------------------------------------------------------------------

    /// Passes an event to the session of a page and performs its actions.
    pub fn deliver(&mut self, slot: usize, event: Event) {
        let page = &mut self.pages[slot];
        let page_id = page.id;
        if !page.loaded {
            return;
        }
        if let (Event::Received(text), Some(conn)) = (&event, page.socket) {
            let frame = ServerFrame::decode(text, Reading::Strict, |id| page.asked.get(&id).copied());
            let frame = frame.unwrap_or_else(|fault| panic!("the server sent {text}: {fault:?}"));
            self.history.add(self.now, Record::Received { page: page_id, conn, frame });
        } else if let Event::Intent(intent) = &event {
            self.history.add(self.now, Record::Intended { page: page_id, intent: intent.clone() });
        }
        page.session.handle(page.time(self.now), event);
        while let Some(action) = self.pages[slot].session.poll_action() {
            match action {
                // The simulated network does not block WebSocket, so all transports are the same.
                Action::Connect(_) => self.connect(slot),
                Action::Probe(_) => {
                    if self.server.is_up() && self.browsers[self.pages[slot].browser].online {
                        let pause = self.latency();
                        self.plan_in(pause, Job::Deliver(slot, page_id, Event::Unblocked));
                    }
                }
                Action::StoreUnsent(post) => self.pages[slot].keep(post),
                Action::RemoveUnsent(key) => self.pages[slot].kept.retain(|post| post.key != key),
                Action::Drop => {
                    if let Some(id) = self.pages[slot].socket.take() {
                        self.detach(id);
                    }
                }
                Action::Send(text) => self.send(slot, text),
                Action::Emit(update) => {
                    self.pages[slot].apply(&update);
                    self.history.add(self.now, Record::Shown { page: page_id, update: update.clone() });
                    self.react(slot, update);
                }
            }
        }
    }

    fn send(&mut self, slot: usize, text: String) {
        let at = self.now + self.latency();
        let page = &mut self.pages[slot];
        let Some(conn) = page.socket else { return };
        let frame = ClientFrame::decode(&text).unwrap_or_else(|fault| panic!("a page sent {text}: {fault:?}"));
        if let Some(id) = frame.id {
            page.asked.insert(id, frame.command.ack_kind());
        }
        self.history.add(self.now, Record::Sent { page: page.id, conn, frame });
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.up.push(at, Packet::Text(text));
        }
    }

    /// The reaction of a user to an update.
    fn react(&mut self, slot: usize, update: Update) {
        let (page_id, pause) = (self.pages[slot].id, self.rng.between(SECOND / 2, 2 * SECOND));
        if let Some(intent) = self.reaction(slot, update) {
            self.plan_in(pause, Job::Deliver(slot, page_id, Event::Intent(intent)));
        }
    }

    fn reaction(&mut self, slot: usize, update: Update) -> Option<Intent> {
        match update {
            Update::NotEntered { refusal, .. } => {
                let is_name_taken = matches!(refusal.code, ErrorCode::NickTaken | ErrorCode::NickConfusable);
                is_name_taken
                    .then(|| Intent::Rename { nickname: format!("Another name {}", self.rng.below(1_000_000)) })
            }
            Update::NotRenamed(_) => {
                self.quiet.then(|| Intent::Rename { nickname: format!("Settled name {}", self.rng.below(1_000_000)) })
            }
            Update::Posted { key, status: SendStatus::Refused(refusal), .. } => {
                let is_retried = refusal.code == ErrorCode::StoreUnavailable && !self.rng.one_in(4);
                let mut posts = self.pages[slot].posts.iter().filter(|_| is_retried);
                posts.find(|post| post.key == key).cloned().map(Intent::Post)
            }
            Update::Connection(ConnectionState::Refused(_)) => Some(Intent::ReconnectNow),
            Update::Posted { status: SendStatus::Shown | SendStatus::Stored(_), .. }
            | Update::Connection(
                ConnectionState::Idle
                | ConnectionState::Connecting
                | ConnectionState::Online
                | ConnectionState::Waiting { .. },
            )
            | Update::Me(_)
            | Update::Build(_)
            | Update::NotUnderstood
            | Update::Entered(_)
            | Update::Named { .. }
            | Update::Unsent(_)
            | Update::Message(_)
            | Update::Changed(_)
            | Update::ChangeEnded { .. }
            | Update::OwnDeletion { .. }
            | Update::Expired(_)
            | Update::Older { .. }
            | Update::Welcome(_)
            | Update::Bye(_)
            | Update::Crowd(_)
            | Update::Found { .. }
            | Update::Pins { .. }
            | Update::Members { .. }
            | Update::Typing { .. }
            | Update::Renamed(_)
            | Update::Rooms(_)
            | Update::MyRooms(_)
            | Update::Call { .. } => None,
        }
    }

    /// Requests the HTML of a page.
    fn load(&mut self, slot: usize) {
        let is_online = self.browsers[self.pages[slot].browser].online;
        if is_online && self.server.load_page(slot, self.pages[slot].rooms.clone()) {
            self.loading.insert(slot);
        } else {
            self.plan_in(SECOND, Job::Load(slot));
        }
    }

    /// The HTML of a page is there.
    fn finish_load(&mut self, slot: usize, content: Result<PageContent, Refusal>) {
        self.loading.remove(&slot);
        let Ok(content) = content else { return self.plan_in(SECOND, Job::Load(slot)) };
        self.next_page += 1;
        let (page_id, seed) = (PageId(self.next_page), self.rng.bits());
        // A guest page comes back as another user, who must not repeat the messages of the former one.
        let keeps = self.browsers[self.pages[slot].browser].cookie.is_some();
        self.pages[slot].load(page_id, seed, keeps);
        let PageContent { epoch, rooms } = content;
        for (room, snapshot) in rooms {
            let id = snapshot.as_ref().map(|snapshot| snapshot.id);
            let RoomSnapshot { name, rev, messages, .. } =
                snapshot.unwrap_or_else(|| RoomSnapshot { name: room.into(), ..RoomSnapshot::default() });
            let (room, epoch) = (name.to_string(), epoch.clone());
            // As the page: if all messages have expired, it has none.
            let seq = messages.last().map_or(0, |message| message.seq);
            let position = Position { epoch: epoch.clone(), seq, rev };
            self.pages[slot].shown.insert(room.clone(), position);
            self.pages[slot].ids.extend(id.map(|id| (room.clone(), id)));
            self.history.add(self.now, Record::Loaded { page: page_id, id, room, epoch, messages });
        }
        self.pages[slot].rooms = self.pages[slot].shown.keys().cloned().collect();
        let pause = self.rng.mostly_short(SECOND);
        self.plan_in(pause, Job::Hydrate(slot, page_id));
    }

    /// Page loads failed with the server.
    pub fn retry_loads(&mut self, slots: Vec<usize>) {
        for slot in slots {
            self.loading.remove(&slot);
            self.plan_in(SECOND, Job::Load(slot));
        }
    }

    fn hydrate(&mut self, slot: usize, page_id: PageId) {
        if self.pages[slot].id != page_id {
            return;
        }
        self.deliver(slot, Event::Start);
        for post in self.pages[slot].kept.clone() {
            self.deliver(slot, Event::Intent(Intent::Post(post)));
        }
        for room in self.pages[slot].rooms.clone() {
            let after = self.pages[slot].shown.get(&room).cloned();
            self.deliver(slot, Event::Intent(Intent::Enter { room, after }));
        }
    }

    /// A user acts.
    fn act(&mut self, slot: usize) {
        if self.quiet {
            return;
        }
        let pause = self.rng.mostly_short(2 * self.plan.act_every);
        self.plan_in(pause, Job::Act(slot));
        if !self.pages[slot].loaded || !self.pages[slot].awake {
            return;
        }
        if let Some(intent) = self.choose_intent(slot) {
            self.deliver(slot, Event::Intent(intent));
        }
    }

    fn choose_intent(&mut self, slot: usize) -> Option<Intent> {
        let (rng, page) = (&mut self.rng, &mut self.pages[slot]);
        let sent_before = |rng: &mut Rng, page: &Page| -> Option<UnsentMessage> {
            (!page.posts.is_empty()).then(|| rng.pick(&page.posts).clone())
        };
        match rng.below(42) {
            0 | 1 => Some(Intent::Post(sent_before(rng, page)?)),
            2 => {
                let post = sent_before(rng, page)?;
                Some(Intent::Post(UnsentMessage { text: format!("{} or not", post.key), ..post }))
            }
            3 | 4 => {
                let room = rng.pick(&page.rooms[..]).clone();
                let before = page.shown.get(&room)?.seq.saturating_sub(rng.below(20)) + 1;
                Some(Intent::Older { room, before, limit: rng.between(1, 100) })
            }
            5 if page.rooms.len() > 1 => {
                let room = page.rooms.swap_remove(rng.below(page.rooms.len() as u64) as usize);
                page.left.push(room.clone());
                Some(Intent::Leave { room })
            }
            6 | 7 => {
                let room = page.left.pop()?;
                page.rooms.push(room.clone());
                if rng.one_in(3) {
                    page.shown.remove(&room);
                }
                let after = page.shown.get(&room).cloned();
                Some(Intent::Enter { room, after })
            }
            8 => {
                let nickname = (*rng.pick(&["ann", "Ann", "bob", "осеаn", "ocean", "Zoë"])).to_owned();
                Some(Intent::Rename { nickname })
            }
            9 => Some(Intent::WatchRooms(!rng.one_in(4))),
            10 => Some(Intent::ReconnectNow),
            12 | 13 => Some(Intent::Typing { room: rng.pick(&page.rooms[..]).clone() }),
            11 => {
                self.deliver(slot, Event::Awake);
                None
            }
            22 => {
                // The texts are numbers of pages and posts.
                let (room, text) = (rng.pick(&page.rooms[..]).clone(), rng.below(3).to_string());
                let search = Search { room: room.clone(), in_all: rng.one_in(2), text, before: None };
                Some(if rng.one_in(2) { Intent::Pins { room } } else { Intent::Search(search) })
            }
            14..=21 => page.change(rng).map(Intent::Change),
            23 | 27 => Some(Intent::WatchMyRooms),
            24 | 25 => {
                let (room, position) = page.shown.iter().next()?;
                let seq = position.seq.saturating_sub(rng.below(3));
                let target = MessageRef { epoch: position.epoch.clone(), seq };
                Some(Intent::MarkRead { room: room.clone(), target })
            }
            26 => {
                let room = *page.ids.get(rng.pick(&page.rooms[..]))?;
                Some(Intent::KeepRoom { room, on: !rng.one_in(3) })
            }
            40 if rng.one_in(3) => Some(Intent::DeleteOwn { room: rng.pick(&page.rooms[..]).clone() }),
            _ => page.write(rng).map(Intent::Post),
        }
    }

    // --- End -----------------------------------------------------------------------------------

    /// Stops the faults. Dead connections stay dead and must be detected.
    fn settle(&mut self) {
        self.history.add(self.now, Record::Fault("faults stop".into()));
        self.quiet = true;
        // When all pages are in their rooms again, so that they have to be told.
        self.plan_in(SETTLE / 2, Job::Expire);
        self.repair_disk();
        self.sockets.values_mut().for_each(|socket| socket.down.unread_until = 0);
        for browser in 0..self.browsers.len() {
            self.go_online(browser);
        }
        for slot in 0..self.pages.len() {
            self.wake(slot);
            let left = std::mem::take(&mut self.pages[slot].left);
            self.pages[slot].rooms.extend(left);
            if self.loading.contains(&slot) {
                // With all rooms this time.
                self.load(slot);
            }
            for room in self.pages[slot].rooms.clone() {
                let after = self.pages[slot].shown.get(&room).cloned();
                self.deliver(slot, Event::Intent(Intent::Enter { room, after }));
            }
        }
    }

    // --- Used by faults.rs ---------------------------------------------------------------------

    pub fn fault(&mut self, kind: &'static str, what: String) {
        self.figures.fault(kind);
        self.history.add(self.now, Record::Fault(format!("{kind}: {what}")));
    }

    pub fn new_epoch(&mut self) -> String {
        self.next_epoch += 1;
        format!("epoch-{}", self.next_epoch)
    }

    fn record_epoch(&mut self) {
        let (epoch, rooms) = (self.server.disk.epoch(), self.server.disk.rooms());
        self.history.add(self.now, Record::Epoch { epoch, rooms });
    }
}

/// Sometimes writes the name of a room in another case.
fn spelling(name: &str, rng: &mut Rng) -> String {
    if rng.one_in(4) { name.to_uppercase() } else { name.to_owned() }
}
