//! A page in a browser: a session, and as much of the page around it as decides what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use noom::client::session::{Change, Session};
use noom::protocol::frame::Post;
use noom::protocol::{AckKind, MessageKey, Position, UserId};

use super::chance::Chance;
use super::history::Life;

/// Whoever has so much unanswered waits before saying more.
const PATIENCE: usize = 20;

/// What several pages share.
#[derive(Clone, Debug)]
pub struct Browser {
    /// Who its cookie says that one is; without one, a guest.
    pub cookie: Option<UserId>,
    pub online: bool,
}

#[derive(Debug)]
pub struct Page {
    pub life: Life,
    pub browser: usize,
    /// Whether the page is there: it is not while it loads.
    pub loaded: bool,
    /// Whether the laptop is.
    pub awake: bool,
    pub session: Session,
    /// The connection that it listens to.
    pub socket: Option<u64>,
    /// What ids on this connection wait for.
    pub asked: BTreeMap<u64, AckKind>,
    /// The rooms it is in or wants to be in, as they are called.
    pub rooms: Vec<String>,
    /// The rooms it was in once.
    pub left: Vec<String>,
    /// What it shows of each room.
    pub shown: BTreeMap<String, Position>,
    /// What it has posted.
    pub posts: Vec<Post>,
    /// What a reload does not reach: messages that are not stored for sure.
    pub kept: Vec<Post>,
    /// What of it has no answer yet.
    unanswered: BTreeSet<MessageKey>,
    /// Milliseconds by which its clock stayed behind, because it stands still in sleep.
    behind: u64,
    fell_asleep: u64,
}

impl Page {
    pub fn new(browser: usize, rooms: Vec<String>) -> Self {
        Self {
            life: Life(0),
            browser,
            loaded: false,
            awake: true,
            session: Session::new(0),
            socket: None,
            asked: BTreeMap::new(),
            rooms,
            left: Vec::new(),
            shown: BTreeMap::new(),
            posts: Vec::new(),
            kept: Vec::new(),
            unanswered: BTreeSet::new(),
            behind: 0,
            fell_asleep: 0,
        }
    }

    /// Begins a new life. Nothing but the address is left of the old one, and what was `kept`.
    pub fn load(&mut self, life: Life, seed: u64, keeps: bool) {
        let rooms = std::mem::take(&mut self.rooms);
        let kept = if keeps { std::mem::take(&mut self.kept) } else { Vec::new() };
        *self = Self { life, session: Session::new(seed), rooms, kept, ..Self::new(self.browser, Vec::new()) };
        self.loaded = true;
    }

    /// The time on its clock: milliseconds, from microseconds.
    pub fn time(&self, now: u64) -> u64 {
        now / 1_000 - self.behind
    }

    /// When the session wants to be woken, in microseconds.
    pub fn next_wake(&self) -> Option<u64> {
        let wake = self.session.next_wake().filter(|_| self.loaded && self.awake)?;
        Some((wake + self.behind) * 1_000)
    }

    pub fn fall_asleep(&mut self, now: u64) {
        self.awake = false;
        self.fell_asleep = now;
    }

    /// Some clocks have run on in sleep, others have not.
    pub fn wake_up(&mut self, now: u64, clock_ran: bool) {
        self.awake = true;
        if !clock_ran {
            self.behind += (now - self.fell_asleep) / 1_000;
        }
    }

    pub fn keep(&mut self, post: Post) {
        if !self.kept.iter().any(|kept| kept.key == post.key) {
            self.kept.push(post);
        }
    }

    /// Something new to say.
    pub fn write(&mut self, chance: &mut Chance) -> Option<Post> {
        if self.rooms.is_empty() || self.unanswered.len() >= PATIENCE {
            return None;
        }
        let room = chance.pick(&self.rooms).clone();
        let key = MessageKey::from_random(u128::from(chance.bits()) << 64 | u128::from(chance.bits()));
        let mut text = format!("{}.{}", self.life.0, self.posts.len());
        if chance.one_in(8) {
            let filling = *chance.pick(&["x", "가", "\"", "🤔"]);
            text.push_str(&filling.repeat(chance.mostly_short(1_500) as usize));
        }
        let post = Post { room, key, text };
        self.posts.push(post.clone());
        self.unanswered.insert(key);
        Some(post)
    }

    /// Keeps what the page shows.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Entered(ack) => {
                let position = Position { epoch: ack.epoch.clone(), seq: ack.head };
                self.shown.insert(ack.room.clone(), position);
            }
            Change::Message(message) => {
                if let Some(position) = self.shown.get_mut(&message.room) {
                    position.seq = message.seq;
                }
            }
            Change::Posted { key, .. } => {
                self.unanswered.remove(key);
            }
            Change::Named { asked, room } => {
                for name in self.rooms.iter_mut().filter(|name| *name == asked) {
                    name.clone_from(room);
                }
                self.posts.iter_mut().filter(|post| post.room == *asked).for_each(|post| post.room.clone_from(room));
            }
            _ => {}
        }
    }
}
