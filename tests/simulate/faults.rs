//! What breaks.

use noom::client::session::Event;

use super::history::Record;
use super::network::Parcel;
use super::planted::Planted;
use super::world::{Job, World};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

impl World {
    pub fn break_something(&mut self) {
        if self.quiet {
            return;
        }
        let pause = self.chance.mostly_short(2 * self.plan.fault_every);
        self.plan_in(pause, Job::Break);
        if self.chance.one_in(6) {
            self.copies.push(self.server.disk.image.clone());
        }
        match self.chance.below(29) {
            0..=5 => self.cut(),
            6..=9 => self.silence(),
            10..=11 => self.crash(false),
            12 => self.crash(true),
            13..=14 => self.drain(),
            15..=17 => self.reload(),
            18..=19 => self.sleep(),
            20..=21 => self.go_offline(),
            22..=24 => self.stop_reading(),
            25 => self.fill_disk(),
            26 => self.slow_disk(),
            27 => self.fail_reads(),
            _ => self.restore(),
        }
    }

    fn some_wire(&mut self) -> Option<u64> {
        let alive = self.wires.iter().filter(|(_, wire)| !wire.page_gone && !wire.server_gone && !wire.up.stalled);
        let alive: Vec<_> = alive.map(|(id, _)| *id).collect();
        (!alive.is_empty()).then(|| *self.chance.pick(&alive))
    }

    fn some_page(&mut self) -> Option<usize> {
        let alive = self.pages.iter().enumerate().filter(|(_, page)| page.loaded && page.awake);
        let alive: Vec<_> = alive.map(|(slot, _)| slot).collect();
        (!alive.is_empty()).then(|| *self.chance.pick(&alive))
    }

    /// A connection breaks, at any byte in either direction.
    fn cut(&mut self) {
        let Some(id) = self.some_wire() else { return };
        let at = self.now + self.latency();
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let (up, down) =
            (self.chance.below(wire.up.bytes() as u64 + 1), self.chance.below(wire.down.bytes() as u64 + 1));
        wire.up.cut(up as usize, at);
        wire.down.cut(down as usize, at);
        self.fault("connection cut", format!("{id} after {up} bytes up and {down} down"));
    }

    /// A connection stops forwarding, without a word to anyone.
    fn silence(&mut self) {
        let Some(id) = self.some_wire() else { return };
        let which = self.chance.below(4);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        wire.up.stalled |= which != 0;
        wire.down.stalled |= which != 1;
        wire.one_way = which < 2;
        (wire.page_since, wire.server_since) = (Some(self.now), Some(self.now));
        let (kind, what) = match which {
            0 => ("silent one way", "down"),
            1 => ("silent one way", "up"),
            _ => ("silent both ways", "both"),
        };
        self.fault(kind, format!("connection {id} {what}"));
    }

    /// The server's process ends at once. With the power, nobody hears of it.
    fn crash(&mut self, with_the_power: bool) {
        if !self.server.is_up() {
            return;
        }
        self.fault(if with_the_power { "power loss" } else { "server crash" }, String::new());
        self.server.crash();
        self.lose_server(with_the_power);
        let pause = self.chance.mostly_short(20 * SECOND);
        self.plan_in(pause, Job::Start);
    }

    fn lose_server(&mut self, silently: bool) {
        for id in self.wires.keys().copied().collect::<Vec<_>>() {
            let at = self.now + self.latency();
            let Some(wire) = self.wires.get_mut(&id) else { continue };
            wire.server_since = None;
            if wire.server_gone || wire.up.peek() == Some(&Parcel::Upgrade) {
                continue;
            }
            wire.server_gone = true;
            if silently {
                (wire.up.stalled, wire.down.stalled) = (true, true);
                (wire.page_since, wire.one_way) = (Some(self.now), false);
            } else {
                let after = self.chance.below(wire.down.bytes() as u64 + 1);
                wire.down.cut(after as usize, at);
            }
        }
    }

    /// SIGTERM.
    fn drain(&mut self) {
        if !self.server.is_up() || self.server.is_draining() {
            return;
        }
        self.fault("drain", String::new());
        self.server.drain(&mut self.chance);
        self.plan_in(100 * MS, Job::CloseAll);
        let pause = self.chance.between(SECOND, 20 * SECOND);
        self.plan_in(pause, Job::ShutDown);
    }

    pub fn shut_down(&mut self) {
        // Unless it crashed in the middle of it.
        if self.server.is_draining() {
            self.server.shut_down(self.now);
            self.lose_server(false);
            let pause = self.chance.mostly_short(5 * SECOND);
            self.plan_in(pause, Job::Start);
        }
    }

    /// The page is loaded again: its session is gone, and all that it had not sent.
    fn reload(&mut self) {
        let Some(slot) = self.some_page() else { return };
        let life = self.pages[slot].life;
        self.fault("page reload", format!("page {}", life.0));
        self.history.add(self.now, Record::Gone(life));
        self.pages[slot].loaded = false;
        let at = self.now + self.latency();
        if let Some(wire) = self.pages[slot].socket.take().and_then(|id| self.wires.get_mut(&id)) {
            wire.page_gone = true;
            wire.up.push(at, Parcel::Close(Some(1001)));
        }
        let pause = self.chance.mostly_short(6 * SECOND);
        self.plan_in(pause, Job::Load(slot));
    }

    /// A laptop sleeps. Its connection may outlive that or not.
    fn sleep(&mut self) {
        let Some(slot) = self.some_page() else { return };
        self.fault("laptop sleep", format!("page {}", self.pages[slot].life.0));
        self.pages[slot].fall_asleep(self.now);
        let forgotten = self.chance.one_in(2);
        if let Some(wire) = self.pages[slot].socket.and_then(|id| self.wires.get_mut(&id)).filter(|_| forgotten) {
            (wire.up.stalled, wire.down.stalled, wire.one_way) = (true, true, false);
            wire.server_since = Some(self.now);
        }
        let pause = self.chance.mostly_short(60 * SECOND);
        self.plan_in(pause, Job::Wake(slot));
    }

    pub fn wake(&mut self, slot: usize) {
        if self.pages[slot].awake {
            return;
        }
        let (clock_ran, pause) = (self.chance.one_in(2), self.chance.mostly_short(SECOND));
        self.pages[slot].wake_up(self.now, clock_ran);
        if let Some(wire) = self.pages[slot].socket.and_then(|id| self.wires.get_mut(&id)) {
            // Asleep it could not notice anything.
            wire.page_since = (wire.up.stalled || wire.down.stalled).then_some(self.now);
        }
        // Frames and the clock may be there before the page hears that it was asleep.
        let life = self.pages[slot].life;
        self.plan_in(pause, Job::Tell(slot, life, Event::Awake));
    }

    /// A browser loses its network, and mostly notices.
    fn go_offline(&mut self) {
        let browser = self.chance.below(self.browsers.len() as u64) as usize;
        if !self.browsers[browser].online {
            return;
        }
        self.fault("offline", format!("browser {browser}"));
        self.browsers[browser].online = false;
        let noticed = !self.chance.one_in(4);
        for wire in self.wires.values_mut().filter(|wire| self.pages[wire.page].browser == browser) {
            (wire.up.stalled, wire.down.stalled, wire.one_way) = (true, true, false);
            (wire.page_since, wire.server_since) = (Some(self.now), Some(self.now));
        }
        for slot in self.pages_of(browser).into_iter().filter(|_| noticed) {
            self.tell(slot, Event::Offline);
        }
        let pause = self.chance.mostly_short(40 * SECOND);
        self.plan_in(pause, Job::GoOnline(browser));
    }

    pub fn go_online(&mut self, browser: usize) {
        if self.browsers[browser].online {
            return;
        }
        self.browsers[browser].online = true;
        for slot in self.pages_of(browser) {
            self.tell(slot, Event::Awake);
        }
    }

    fn pages_of(&self, browser: usize) -> Vec<usize> {
        let awake = |slot: &usize| self.pages[*slot].awake && self.pages[*slot].browser == browser;
        (0..self.pages.len()).filter(awake).collect()
    }

    /// A page does not read what comes for it.
    fn stop_reading(&mut self) {
        let Some(id) = self.some_wire() else { return };
        let pause = self.chance.mostly_short(40 * SECOND);
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.down.unread_until = self.now + pause;
        }
        self.fault("slow reader", format!("connection {id} for {} ms", pause / MS));
    }

    fn fill_disk(&mut self) {
        self.fault("disk full", String::new());
        self.server.disk.full = true;
        let pause = self.chance.mostly_short(8 * SECOND);
        self.plan_in(pause, Job::MendDisk);
    }

    fn slow_disk(&mut self) {
        self.fault("disk slow", String::new());
        self.server.disk.commit_within = 3 * SECOND;
        let pause = self.chance.mostly_short(10 * SECOND);
        self.plan_in(pause, Job::MendDisk);
    }

    fn fail_reads(&mut self) {
        self.fault("reads fail", String::new());
        self.server.unreadable = true;
        let pause = self.chance.mostly_short(4 * SECOND);
        self.plan_in(pause, Job::MendDisk);
    }

    pub fn mend_disk(&mut self) {
        self.server.disk.full = false;
        self.server.disk.commit_within = self.plan.commit_within;
        self.server.unreadable = false;
    }

    /// The database is replaced by an older copy of it, and the server started again.
    fn restore(&mut self) {
        if !self.server.is_up() || self.copies.is_empty() {
            return;
        }
        self.fault("older database", String::new());
        self.server.crash();
        self.lose_server(false);
        let epoch = match self.planted {
            Some(Planted::EpochKept) => self.server.disk.image.epoch.clone(),
            _ => self.new_epoch(),
        };
        let copy = self.chance.pick(&self.copies).clone();
        self.server.disk.image = copy;
        self.server.disk.image.epoch = epoch;
        let pause = self.chance.mostly_short(5 * SECOND);
        self.plan_in(pause, Job::Start);
    }
}
