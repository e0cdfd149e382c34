//! One scheduler for everything: clock, network, disk, pages, server. A run follows from its seed.

use std::collections::BTreeMap;

use noom::client::session::{Action, Ask, Change, Event, Fate, Link};
use noom::protocol::frame::Post;
use noom::protocol::{ClientFrame, ErrorCode, Position, ServerFrame, UserId};
use noom::server::hub::core::ConnId;
use noom::server::hub::outbox::OutboxLimits;
use noom::server::name_key::RoomName;

use super::chance::Chance;
use super::disk::{Disk, Image};
use super::figures::Figures;
use super::history::{History, Life, Record};
use super::network::{Parcel, Wire};
use super::page::{Browser, Page};
use super::planted::Planted;
use super::server::{Server, Setup};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// When all faults have stopped, everything must have settled within this: a dead connection is
/// noticed within 35 s, and the longest pause before another is 30 s.
const SETTLE: u64 = 120 * SECOND;

/// What comes at a time that was planned.
#[derive(Clone, Debug)]
pub enum Job {
    /// A page asks the server for its content.
    Load(usize),
    /// Its script runs.
    Hydrate(usize, Life),
    /// Somebody at a page wants something.
    Wish(usize),
    /// A page learns something, or somebody there wants something.
    Tell(usize, Life, Event),
    /// Something breaks.
    Break,
    Wake(usize),
    GoOnline(usize),
    CloseAll,
    ShutDown,
    Start,
    MendDisk,
    /// Faults stop.
    Settle,
}

/// How a run is set up, by its seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The longest way of a parcel, microseconds.
    pub latency: u64,
    pub wish_every: u64,
    pub fault_every: u64,
    pub until: u64,
    pub room_names: Vec<&'static str>,
    pub commit_within: u64,
}

pub struct World {
    pub now: u64,
    pub chance: Chance,
    pub plan: Plan,
    pub server: Server,
    pub pages: Vec<Page>,
    pub browsers: Vec<Browser>,
    pub wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    jobs: BTreeMap<(u64, u64), Job>,
    next_job: u64,
    next_life: u64,
    next_epoch: u64,
    pub history: History,
    pub figures: Figures,
    /// Older copies of the database.
    pub copies: Vec<Image>,
    /// Whether faults have stopped.
    pub quiet: bool,
    pub planted: Option<Planted>,
}

/// What happens next.
enum Source {
    Job,
    Up(u64),
    Down(u64),
    Server,
    Page(usize),
}

impl World {
    pub fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut chance = Chance::new(seed);
        let plan = Plan {
            latency: *chance.pick(&[2 * MS, 50 * MS, 400 * MS]),
            wish_every: *chance.pick(&[400 * MS, SECOND, 3 * SECOND]),
            fault_every: *chance.pick(&[SECOND, 3 * SECOND, 10 * SECOND]),
            until: chance.between(30, 90) * SECOND,
            room_names: ["Lounge", "kitchen", "Straße"][..chance.between(1, 3) as usize].to_vec(),
            commit_within: *chance.pick(&[2 * MS, 20 * MS, 200 * MS]),
        };
        let setup = Setup {
            outbox: OutboxLimits { frames: chance.between(6, 40) as usize, bytes: 128 * 1024 },
            window: *chance.pick(&[1_000, 16_000, 64_000]),
            read_within: *chance.pick(&[MS, 20 * MS, 300 * MS]),
            planted,
        };
        let (capacity, replay_at_most) = (chance.between(3, 24) as usize, *chance.pick(&[8, 40, 1_000]));
        let mut disk = Disk::new("epoch-0".into(), capacity, replay_at_most, planted);
        disk.commit_within = plan.commit_within;
        let browsers = (0..chance.between(2, 4)).map(|_| {
            let cookie = (!chance.one_in(4)).then(|| UserId(chance.bits()));
            Browser { cookie, online: true }
        });
        let browsers: Vec<_> = browsers.collect();
        let pages = (0..chance.between(2, 6) as usize).map(|number| {
            let wanted: Vec<_> = plan.room_names.iter().filter(|_| !chance.one_in(3)).collect();
            let mut rooms: Vec<_> = wanted.into_iter().map(|name| spelling(name, &mut chance)).collect();
            if rooms.is_empty() {
                rooms.push(plan.room_names[0].to_owned());
            }
            Page::new(number % browsers.len(), rooms)
        });
        let pages = pages.collect();
        let mut world = Self {
            now: 0,
            chance,
            plan,
            server: Server::new(disk, setup),
            pages,
            browsers,
            wires: BTreeMap::new(),
            next_wire: 0,
            jobs: BTreeMap::new(),
            next_job: 0,
            next_life: 0,
            next_epoch: 1,
            history: History::default(),
            figures: Figures { seeds: 1, ..Figures::default() },
            copies: Vec::new(),
            quiet: false,
            planted,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.record_epoch();
        self.server.start(0);
        for slot in 0..self.pages.len() {
            let at = self.chance.below(5 * SECOND);
            self.plan_at(at, Job::Load(slot));
            self.plan_at(at + SECOND, Job::Wish(slot));
        }
        self.plan_at(2 * SECOND, Job::Break);
        self.plan_at(self.plan.until, Job::Settle);
    }

    /// Runs to the end.
    pub fn run(&mut self) {
        while self.now < self.plan.until + SETTLE {
            self.step();
        }
        let logs = self.server.disk.image.logs();
        self.history.add(self.now, Record::Ended { logs });
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
        for (id, wire) in &self.wires {
            if self.hears(*id, wire) {
                consider(wire.down.next_at(), Source::Down(*id));
            }
            if wire.up.peek() == Some(&Parcel::Upgrade) || self.server.reads(ConnId(*id)) {
                consider(wire.up.next_at(), Source::Up(*id));
            }
        }
        consider(self.server.next_wake(), Source::Server);
        for (slot, page) in self.pages.iter().enumerate() {
            consider(page.next_wake(), Source::Page(slot));
        }
        let (at, source) = next;
        self.now = self.now.max(at);
        match source {
            None => {}
            Some(Source::Job) => {
                if let Some((_, job)) = self.jobs.pop_first() {
                    self.do_job(job);
                }
            }
            Some(Source::Up(id)) => self.arrive_at_server(id),
            Some(Source::Down(id)) => self.arrive_at_page(id),
            Some(Source::Server) => self.server.handle_time(self.now, &mut self.chance),
            Some(Source::Page(slot)) => self.tell(slot, Event::Tick),
        }
        self.carry();
    }

    /// Takes what the last step left at the server: what became durable, what waits to be written.
    fn carry(&mut self) {
        for message in std::mem::take(&mut self.server.committed) {
            self.history.add(self.now, Record::Committed(message));
        }
        let (chance, latency) = (&mut self.chance, self.plan.latency);
        self.server.flush(self.now, &mut self.wires, || chance.mostly_short(latency));
        for wire in self.wires.values_mut().filter(|wire| wire.server_gone) {
            if let Some(since) = wire.server_since.take() {
                let noticed = match wire.one_way {
                    true => &mut self.figures.noticed_one_way,
                    false => &mut self.figures.noticed_by_server,
                };
                *noticed = (*noticed).max(self.now - since);
            }
        }
        self.wires.retain(|_, wire| !(wire.page_gone && wire.server_gone));
    }

    fn do_job(&mut self, job: Job) {
        match job {
            Job::Load(slot) => self.load(slot),
            Job::Hydrate(slot, life) => self.hydrate(slot, life),
            Job::Wish(slot) => self.wish(slot),
            Job::Tell(slot, life, event) => {
                if self.pages[slot].life == life && self.pages[slot].awake {
                    self.tell(slot, event);
                }
            }
            Job::Break => self.break_something(),
            Job::Wake(slot) => self.wake(slot),
            Job::GoOnline(browser) => self.go_online(browser),
            Job::CloseAll => self.server.close_all(),
            Job::ShutDown => self.shut_down(),
            Job::Start => {
                self.record_epoch();
                self.server.start(self.now);
                self.figures.restarts += 1;
            }
            Job::MendDisk => self.mend_disk(),
            Job::Settle => self.settle(),
        }
    }

    // --- The network ---------------------------------------------------------------------------

    fn hears(&self, id: u64, wire: &Wire) -> bool {
        wire.page_gone || self.pages[wire.page].socket != Some(id) || self.pages[wire.page].awake
    }

    pub fn latency(&mut self) -> u64 {
        self.chance.mostly_short(self.plan.latency)
    }

    fn connect(&mut self, slot: usize) {
        self.next_wire += 1;
        let (id, at) = (self.next_wire, self.now + self.latency());
        let mut wire = Wire { page: slot, ..Wire::default() };
        self.figures.connections += 1;
        if !self.browsers[self.pages[slot].browser].online {
            wire.server_gone = true;
            wire.down.push(at, Parcel::Broken);
        } else if !self.quiet && self.chance.one_in(40) {
            self.fault("upgrade unanswered", format!("connection {id}"));
            (wire.up.stalled, wire.down.stalled, wire.server_gone) = (true, true, true);
        } else {
            wire.up.push(at, Parcel::Upgrade);
        }
        self.wires.insert(id, wire);
        self.pages[slot].socket = Some(id);
        self.pages[slot].asked.clear();
    }

    fn arrive_at_server(&mut self, id: u64) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Some(parcel) = wire.up.pop() else { return };
        if !matches!(parcel, Parcel::Close(_) | Parcel::Broken) {
            wire.heard_by_server(self.now);
        }
        if parcel != Parcel::Upgrade {
            return self.server.receive(self.now, ConnId(id), parcel, &mut self.chance);
        }
        let cookie = self.browsers[self.pages[wire.page].browser].cookie;
        let accepted = self.server.accept(self.now, ConnId(id), cookie);
        let at = self.now + self.latency();
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.server_gone = !accepted;
            wire.down.push(at, if accepted { Parcel::Opened } else { Parcel::Broken });
        }
        if accepted {
            let epoch = self.server.disk.image.epoch.clone();
            self.history.add(self.now, Record::Accepted { conn: id, epoch });
        }
    }

    fn arrive_at_page(&mut self, id: u64) {
        let at = self.now + self.latency();
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Some(parcel) = wire.down.pop() else { return };
        if !matches!(parcel, Parcel::Close(_) | Parcel::Broken) {
            wire.heard_by_page(self.now);
        }
        let slot = wire.page;
        if wire.page_gone {
            return;
        }
        match parcel {
            Parcel::Ping => wire.up.push(at, Parcel::Pong),
            Parcel::Opened => self.tell(slot, Event::Opened),
            Parcel::Text(text) => self.tell(slot, Event::Received(text)),
            Parcel::Close(code) => self.closed(slot, id, code.unwrap_or(1005)),
            Parcel::Broken => self.closed(slot, id, 1006),
            Parcel::Upgrade | Parcel::Pong => {}
        }
    }

    fn closed(&mut self, slot: usize, id: u64, code: u16) {
        self.figures.dropped += 1;
        self.let_go(id);
        self.pages[slot].socket = None;
        self.tell(slot, Event::Closed(code));
    }

    /// The page stops listening. What it noticed by that is written down.
    fn let_go(&mut self, id: u64) {
        let at = self.now + self.latency();
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.page_gone = true;
        wire.up.push(at, Parcel::Close(None));
        if let Some(since) = wire.page_since.take() {
            let noticed = match wire.one_way {
                true => &mut self.figures.noticed_one_way,
                false => &mut self.figures.noticed_by_page,
            };
            *noticed = (*noticed).max(self.now - since);
        }
    }

    // --- Pages ---------------------------------------------------------------------------------

    /// Gives a page's session an event and does what it says.
    pub fn tell(&mut self, slot: usize, event: Event) {
        let page = &mut self.pages[slot];
        let life = page.life;
        if !page.loaded {
            return;
        }
        match (&event, page.socket) {
            (Event::Received(text), Some(conn)) => {
                let frame = ServerFrame::decode(text, |id| page.asked.get(&id).copied());
                let frame = frame.unwrap_or_else(|fault| panic!("the server said {text}: {fault:?}"));
                self.history.add(self.now, Record::Heard { page: life, conn, frame });
            }
            (Event::Ask(ask), _) => self.history.add(self.now, Record::Asked { page: life, ask: ask.clone() }),
            _ => {}
        }
        page.session.handle(page.time(self.now), event);
        while let Some(action) = self.pages[slot].session.poll_action() {
            match action {
                // Here nothing blocks WebSocket: both ways carry the same frames.
                Action::Connect(_) => self.connect(slot),
                Action::Probe(_) => {
                    if self.server.is_up() && self.browsers[self.pages[slot].browser].online {
                        let pause = self.latency();
                        self.plan_in(pause, Job::Tell(slot, life, Event::Unblocked));
                    }
                }
                Action::Keep(post) => self.pages[slot].keep(post),
                Action::Forget(key) => self.pages[slot].kept.retain(|post| post.key != key),
                Action::Drop => {
                    if let Some(id) = self.pages[slot].socket.take() {
                        self.let_go(id);
                    }
                }
                Action::Send(text) => self.send(slot, text),
                Action::Tell(change) => {
                    self.pages[slot].apply(&change);
                    self.history.add(self.now, Record::Saw { page: life, change: change.clone() });
                    self.react(slot, change);
                }
            }
        }
    }

    fn send(&mut self, slot: usize, text: String) {
        let at = self.now + self.latency();
        let page = &mut self.pages[slot];
        let Some(conn) = page.socket else { return };
        let frame = ClientFrame::decode(&text).unwrap_or_else(|fault| panic!("a page said {text}: {fault:?}"));
        if let Some(id) = frame.id {
            page.asked.insert(id, frame.command.ack_kind());
        }
        self.history.add(self.now, Record::Sent { page: page.life, conn, frame });
        if let Some(wire) = self.wires.get_mut(&conn) {
            wire.up.push(at, Parcel::Text(text));
        }
    }

    /// What somebody does about what they see.
    fn react(&mut self, slot: usize, change: Change) {
        let (life, pause) = (self.pages[slot].life, self.chance.between(SECOND / 2, 2 * SECOND));
        let ask = match change {
            Change::NotEntered { refusal, .. }
                if matches!(refusal.code, ErrorCode::NickTaken | ErrorCode::NickConfusable) =>
            {
                Ask::Rename { nickname: format!("Nobody else {}", self.chance.below(1_000_000)) }
            }
            Change::NotRenamed(_) if self.quiet => {
                Ask::Rename { nickname: format!("Somebody {}", self.chance.below(1_000_000)) }
            }
            Change::Posted { key, fate: Fate::Refused(refusal), .. }
                if refusal.code == ErrorCode::StoreUnavailable && !self.chance.one_in(4) =>
            {
                let Some(post) = self.pages[slot].posts.iter().find(|post| post.key == key) else { return };
                Ask::Post(post.clone())
            }
            Change::Link(Link::Refused(_)) => Ask::ReconnectNow,
            _ => return,
        };
        self.plan_in(pause, Job::Tell(slot, life, Event::Ask(ask)));
    }

    fn load(&mut self, slot: usize) {
        let browser = self.pages[slot].browser;
        if !self.server.is_up() || self.server.unreadable || !self.browsers[browser].online {
            return self.plan_in(SECOND, Job::Load(slot));
        }
        self.next_life += 1;
        let (life, seed) = (Life(self.next_life), self.chance.bits());
        // Whoever is somebody else now may not say again what the other may have said.
        let keeps = self.browsers[browser].cookie.is_some();
        self.pages[slot].load(life, seed, keeps);
        let epoch = self.server.disk.image.epoch.clone();
        for room in self.pages[slot].rooms.clone() {
            let folded = RoomName::parse(&room).map(|name| name.folded).unwrap_or_default();
            let found = self.server.disk.find_room(&folded);
            let history = found.as_ref().map(|row| self.server.disk.history_for(row.id, None)).unwrap_or_default();
            let room = found.map_or(room, |row| row.name.to_string());
            let position = Position { epoch: epoch.clone(), seq: history.head };
            self.pages[slot].shown.insert(room.clone(), position);
            let loaded = Record::Loaded { page: life, room, epoch: epoch.clone(), messages: history.messages };
            self.history.add(self.now, loaded);
        }
        self.pages[slot].rooms = self.pages[slot].shown.keys().cloned().collect();
        let pause = self.chance.mostly_short(SECOND);
        self.plan_in(pause, Job::Hydrate(slot, life));
    }

    fn hydrate(&mut self, slot: usize, life: Life) {
        if self.pages[slot].life != life {
            return;
        }
        self.tell(slot, Event::Start);
        for post in self.pages[slot].kept.clone() {
            self.tell(slot, Event::Ask(Ask::Post(post)));
        }
        for room in self.pages[slot].rooms.clone() {
            let after = self.pages[slot].shown.get(&room).cloned();
            self.tell(slot, Event::Ask(Ask::Enter { room, after }));
        }
    }

    /// Something that people do.
    fn wish(&mut self, slot: usize) {
        if self.quiet {
            return;
        }
        let pause = self.chance.mostly_short(2 * self.plan.wish_every);
        self.plan_in(pause, Job::Wish(slot));
        if !self.pages[slot].loaded || !self.pages[slot].awake {
            return;
        }
        if let Some(ask) = self.make_wish(slot) {
            self.tell(slot, Event::Ask(ask));
        }
    }

    fn make_wish(&mut self, slot: usize) -> Option<Ask> {
        let (chance, page) = (&mut self.chance, &mut self.pages[slot]);
        let sent_before = |chance: &mut Chance, page: &Page| -> Option<Post> {
            (!page.posts.is_empty()).then(|| chance.pick(&page.posts).clone())
        };
        match chance.below(40) {
            0 | 1 => Some(Ask::Post(sent_before(chance, page)?)),
            2 => {
                let post = sent_before(chance, page)?;
                Some(Ask::Post(Post { text: format!("{} or not", post.key), ..post }))
            }
            3 | 4 => {
                let room = chance.pick(&page.rooms[..]).clone();
                let before = page.shown.get(&room)?.seq.saturating_sub(chance.below(20)) + 1;
                Some(Ask::Older { room, before, limit: chance.between(1, 100) })
            }
            5 if page.rooms.len() > 1 => {
                let room = page.rooms.swap_remove(chance.below(page.rooms.len() as u64) as usize);
                page.left.push(room.clone());
                Some(Ask::Leave { room })
            }
            6 | 7 => {
                let room = page.left.pop()?;
                page.rooms.push(room.clone());
                if chance.one_in(3) {
                    page.shown.remove(&room);
                }
                let after = page.shown.get(&room).cloned();
                Some(Ask::Enter { room, after })
            }
            8 => {
                let nickname = (*chance.pick(&["ann", "Ann", "bob", "осеаn", "ocean", "Zoë"])).to_owned();
                Some(Ask::Rename { nickname })
            }
            9 => Some(Ask::WatchRooms(!chance.one_in(4))),
            10 => Some(Ask::ReconnectNow),
            12 | 13 => Some(Ask::Typing { room: chance.pick(&page.rooms[..]).clone() }),
            11 => {
                self.tell(slot, Event::Awake);
                None
            }
            _ => page.write(chance).map(Ask::Post),
        }
    }

    // --- The end -------------------------------------------------------------------------------

    /// Faults stop. What is dead stays dead, and must be noticed.
    fn settle(&mut self) {
        self.history.add(self.now, Record::Fault("faults stop".into()));
        self.quiet = true;
        self.mend_disk();
        self.wires.values_mut().for_each(|wire| wire.down.unread_until = 0);
        for browser in 0..self.browsers.len() {
            self.go_online(browser);
        }
        for slot in 0..self.pages.len() {
            self.wake(slot);
            let left = std::mem::take(&mut self.pages[slot].left);
            self.pages[slot].rooms.extend(left);
            for room in self.pages[slot].rooms.clone() {
                let after = self.pages[slot].shown.get(&room).cloned();
                self.tell(slot, Event::Ask(Ask::Enter { room, after }));
            }
        }
    }

    // --- What faults.rs needs ------------------------------------------------------------------

    pub fn fault(&mut self, kind: &'static str, what: String) {
        self.figures.fault(kind);
        self.history.add(self.now, Record::Fault(format!("{kind}: {what}")));
    }

    pub fn new_epoch(&mut self) -> String {
        self.next_epoch += 1;
        format!("epoch-{}", self.next_epoch)
    }

    fn record_epoch(&mut self) {
        let image = &self.server.disk.image;
        let (epoch, logs) = (image.epoch.clone(), image.logs());
        self.history.add(self.now, Record::Epoch { epoch, logs });
    }
}

/// The same room under another spelling, sometimes.
fn spelling(name: &str, chance: &mut Chance) -> String {
    if chance.one_in(4) { name.to_uppercase() } else { name.to_owned() }
}
