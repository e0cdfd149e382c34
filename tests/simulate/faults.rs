//! Fault injection.

use noom::client::session::Event;

use super::history::Record;
use super::mutation::Mutation;
use super::network::Packet;
use super::world::{Job, World};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

impl World {
    pub fn inject_fault(&mut self) {
        if self.quiet {
            return;
        }
        let pause = self.rng.mostly_short(2 * self.plan.fault_every);
        self.plan_in(pause, Job::Fault);
        if self.rng.one_in(6) {
            self.copies.push(self.server.disk.image());
        }
        match self.rng.below(31) {
            0..=5 => self.cut(),
            6..=9 => self.silence(),
            10..=11 => self.crash(false),
            12 => self.crash(true),
            13..=14 => self.drain(),
            15..=17 => self.reload(),
            18..=19 => self.sleep(),
            20..=21 => self.go_offline(),
            22..=24 => self.stall_reader(),
            25 => self.fill_disk(),
            26 => self.slow_disk(),
            27 => self.fail_reads(),
            28..=29 => self.expire(),
            _ => self.restore(),
        }
    }

    fn random_socket(&mut self) -> Option<u64> {
        let alive =
            self.sockets.iter().filter(|(_, socket)| !socket.page_gone && !socket.server_gone && !socket.up.stalled);
        let alive: Vec<_> = alive.map(|(id, _)| *id).collect();
        (!alive.is_empty()).then(|| *self.rng.pick(&alive))
    }

    fn random_page(&mut self) -> Option<usize> {
        let alive = self.pages.iter().enumerate().filter(|(_, page)| page.loaded && page.awake);
        let alive: Vec<_> = alive.map(|(slot, _)| slot).collect();
        (!alive.is_empty()).then(|| *self.rng.pick(&alive))
    }

    /// A connection breaks, at a random byte in each direction.
    fn cut(&mut self) {
        let Some(id) = self.random_socket() else { return };
        let at = self.now + self.latency();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let (up, down) = (self.rng.below(socket.up.bytes() as u64 + 1), self.rng.below(socket.down.bytes() as u64 + 1));
        socket.up.cut(up as usize, at);
        socket.down.cut(down as usize, at);
        self.fault("connection cut", format!("{id} after {up} bytes up and {down} down"));
    }

    /// A connection stops delivering packets in one or both directions. Neither side is informed.
    fn silence(&mut self) {
        let Some(id) = self.random_socket() else { return };
        let which = self.rng.below(4);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.up.stalled |= which != 0;
        socket.down.stalled |= which != 1;
        socket.one_way = which < 2;
        (socket.page_since, socket.server_since) = (Some(self.now), Some(self.now));
        let (kind, what) = match which {
            0 => ("silent one way", "down"),
            1 => ("silent one way", "up"),
            _ => ("silent both ways", "both"),
        };
        self.fault(kind, format!("connection {id} {what}"));
    }

    /// The server process is killed. After a power loss its clients are not informed.
    fn crash(&mut self, power_loss: bool) {
        if !self.server.is_up() {
            return;
        }
        self.fault(if power_loss { "power loss" } else { "server crash" }, String::new());
        let lost = self.server.crash();
        self.retry_loads(lost);
        self.lose_server(power_loss);
        let pause = self.rng.mostly_short(20 * SECOND);
        self.plan_in(pause, Job::Start);
    }

    fn lose_server(&mut self, silently: bool) {
        for id in self.sockets.keys().copied().collect::<Vec<_>>() {
            let at = self.now + self.latency();
            let Some(socket) = self.sockets.get_mut(&id) else { continue };
            socket.server_since = None;
            if socket.server_gone || socket.up.peek() == Some(&Packet::Upgrade) {
                continue;
            }
            socket.server_gone = true;
            if silently {
                (socket.up.stalled, socket.down.stalled) = (true, true);
                (socket.page_since, socket.one_way) = (Some(self.now), false);
            } else {
                let after = self.rng.below(socket.down.bytes() as u64 + 1);
                socket.down.cut(after as usize, at);
            }
        }
    }

    /// SIGTERM.
    fn drain(&mut self) {
        if !self.server.is_up() || self.server.is_draining() {
            return;
        }
        self.fault("drain", String::new());
        self.server.drain(&mut self.rng);
        self.plan_in(100 * MS, Job::CloseAll);
        let pause = self.rng.between(SECOND, 20 * SECOND);
        self.plan_in(pause, Job::ShutDown);
    }

    pub fn shut_down(&mut self) {
        // The server may have crashed during the drain.
        if self.server.is_draining() {
            let lost = self.server.shut_down();
            self.retry_loads(lost);
            self.lose_server(false);
            let pause = self.rng.mostly_short(5 * SECOND);
            self.plan_in(pause, Job::Start);
        }
    }

    /// The user reloads the page. Its session is lost; unsent messages stay in browser storage.
    fn reload(&mut self) {
        let Some(slot) = self.random_page() else { return };
        let page_id = self.pages[slot].id;
        self.fault("page reload", format!("page {}", page_id.0));
        self.history.add(self.now, Record::Closed(page_id));
        self.pages[slot].loaded = false;
        let at = self.now + self.latency();
        if let Some(socket) = self.pages[slot].socket.take().and_then(|id| self.sockets.get_mut(&id)) {
            socket.page_gone = true;
            socket.up.push(at, Packet::Close(Some(1001)));
        }
        let pause = self.rng.mostly_short(6 * SECOND);
        self.plan_in(pause, Job::Load(slot));
    }

    /// A laptop sleeps. Its connection survives that or not.
    fn sleep(&mut self) {
        let Some(slot) = self.random_page() else { return };
        self.fault("laptop sleep", format!("page {}", self.pages[slot].id.0));
        self.pages[slot].fall_asleep(self.now);
        let forgotten = self.rng.one_in(2);
        if let Some(socket) = self.pages[slot].socket.and_then(|id| self.sockets.get_mut(&id)).filter(|_| forgotten) {
            (socket.up.stalled, socket.down.stalled, socket.one_way) = (true, true, false);
            socket.server_since = Some(self.now);
        }
        let pause = self.rng.mostly_short(60 * SECOND);
        self.plan_in(pause, Job::Wake(slot));
    }

    pub fn wake(&mut self, slot: usize) {
        if self.pages[slot].awake {
            return;
        }
        let (clock_ran, pause) = (self.rng.one_in(2), self.rng.mostly_short(SECOND));
        self.pages[slot].wake_up(self.now, clock_ran);
        if let Some(socket) = self.pages[slot].socket.and_then(|id| self.sockets.get_mut(&id)) {
            // It could not detect anything while asleep.
            socket.page_since = (socket.up.stalled || socket.down.stalled).then_some(self.now);
        }
        // Frames and timers may come before the page learns that it was asleep.
        let page_id = self.pages[slot].id;
        self.plan_in(pause, Job::Deliver(slot, page_id, Event::Slept));
    }

    /// A browser loses its network, and usually detects it.
    fn go_offline(&mut self) {
        let browser = self.rng.below(self.browsers.len() as u64) as usize;
        if !self.browsers[browser].online {
            return;
        }
        self.fault("offline", format!("browser {browser}"));
        self.browsers[browser].online = false;
        let noticed = !self.rng.one_in(4);
        for socket in self.sockets.values_mut().filter(|socket| self.pages[socket.page].browser == browser) {
            (socket.up.stalled, socket.down.stalled, socket.one_way) = (true, true, false);
            (socket.page_since, socket.server_since) = (Some(self.now), Some(self.now));
        }
        for slot in self.pages_of(browser).into_iter().filter(|_| noticed) {
            self.deliver(slot, Event::Offline);
        }
        let pause = self.rng.mostly_short(40 * SECOND);
        self.plan_in(pause, Job::GoOnline(browser));
    }

    pub fn go_online(&mut self, browser: usize) {
        if self.browsers[browser].online {
            return;
        }
        self.browsers[browser].online = true;
        for slot in self.pages_of(browser) {
            self.deliver(slot, Event::Awake);
        }
    }

    fn pages_of(&self, browser: usize) -> Vec<usize> {
        let awake = |slot: &usize| self.pages[*slot].awake && self.pages[*slot].browser == browser;
        (0..self.pages.len()).filter(awake).collect()
    }

    /// A page stops reading for a while.
    fn stall_reader(&mut self) {
        let Some(id) = self.random_socket() else { return };
        let pause = self.rng.mostly_short(40 * SECOND);
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.down.unread_until = self.now + pause;
        }
        self.fault("slow reader", format!("connection {id} for {} ms", pause / MS));
    }

    fn fill_disk(&mut self) {
        self.fault("disk full", String::new());
        self.server.disk.configure(|disk| disk.full = true);
        let pause = self.rng.mostly_short(8 * SECOND);
        self.plan_in(pause, Job::RepairDisk);
    }

    fn slow_disk(&mut self) {
        self.fault("disk slow", String::new());
        self.server.disk.configure(|disk| disk.commit_within = 3 * SECOND);
        let pause = self.rng.mostly_short(10 * SECOND);
        self.plan_in(pause, Job::RepairDisk);
    }

    fn fail_reads(&mut self) {
        self.fault("reads fail", String::new());
        self.server.disk.configure(|disk| disk.unreadable = true);
        let pause = self.rng.mostly_short(4 * SECOND);
        self.plan_in(pause, Job::RepairDisk);
    }

    pub fn repair_disk(&mut self) {
        let commit_within = self.plan.commit_within;
        self.server.disk.configure(|disk| {
            (disk.full, disk.unreadable, disk.commit_within) = (false, false, commit_within);
        });
    }

    /// The oldest messages of a room expire.
    pub fn expire(&mut self) {
        let Some((room, last)) = self.server.disk.choose_to_expire() else { return };
        self.fault("messages expire", format!("{} to {last}", room.id));
        self.server.expire(room, last);
    }

    /// The database is replaced by an older copy, and the server is restarted.
    fn restore(&mut self) {
        if !self.server.is_up() || self.copies.is_empty() {
            return;
        }
        self.fault("older database", String::new());
        let lost = self.server.crash();
        self.retry_loads(lost);
        self.lose_server(false);
        let epoch = match self.mutation {
            Some(Mutation::EpochKept) => self.server.disk.epoch(),
            Some(_) | None => self.new_epoch(),
        };
        let copy = self.rng.pick(&self.copies).clone();
        self.server.disk.restore(copy, epoch);
        let pause = self.rng.mostly_short(5 * SECOND);
        self.plan_in(pause, Job::Start);
    }
}
