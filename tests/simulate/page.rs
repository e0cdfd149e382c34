//! A page in a browser: a client session, and the part of the page that decides what it requests.

use std::collections::{BTreeMap, BTreeSet};

use noom::client::session::{MessageCommand, Session, UnsentMessage, Update};
use noom::protocol::change::{DeleteMessage, EditMessage, PinMessage, React};
use noom::protocol::{AckKind, MessageKey, MessageRef, Position, RoomId, UserId};

use super::history::PageId;
use super::rng::Rng;

/// Unanswered messages after which a user stops writing.
const MAX_UNANSWERED: usize = 20;

/// State shared by the pages of a browser.
#[derive(Clone, Debug)]
pub struct Browser {
    /// The user of its cookie. Without one, each page is a guest.
    pub cookie: Option<UserId>,
    pub online: bool,
}

#[derive(Debug)]
pub struct Page {
    pub id: PageId,
    pub browser: usize,
    /// False while the page loads.
    pub loaded: bool,
    /// False while the laptop sleeps.
    pub awake: bool,
    pub session: Session,
    /// Its current connection.
    pub socket: Option<u64>,
    /// Ack kinds of the requests pending on this connection, by id.
    pub asked: BTreeMap<u64, AckKind>,
    /// The rooms that it is in or enters, by their current name.
    pub rooms: Vec<String>,
    /// The rooms that it left.
    pub left: Vec<String>,
    /// The position up to which it shows each room.
    pub shown: BTreeMap<String, Position>,
    /// The ids of the rooms, by name, once they are known.
    pub ids: BTreeMap<String, RoomId>,
    /// All messages that it posted.
    pub posts: Vec<UnsentMessage>,
    /// Messages in browser storage: not known to be stored by the server. They survive a reload.
    pub kept: Vec<UnsentMessage>,
    /// Posted messages without an answer.
    unanswered: BTreeSet<MessageKey>,
    /// Milliseconds that its clock lost during sleep.
    behind: u64,
    fell_asleep: u64,
}

impl Page {
    pub fn new(browser: usize, rooms: Vec<String>) -> Self {
        Self {
            id: PageId(0),
            browser,
            loaded: false,
            awake: true,
            session: Session::new(0),
            socket: None,
            asked: BTreeMap::new(),
            rooms,
            left: Vec::new(),
            shown: BTreeMap::new(),
            ids: BTreeMap::new(),
            posts: Vec::new(),
            kept: Vec::new(),
            unanswered: BTreeSet::new(),
            behind: 0,
            fell_asleep: 0,
        }
    }

    /// Replaces the page by a new one. The rooms in its address survive, and `kept` if `keeps`.
    pub fn load(&mut self, id: PageId, seed: u64, keeps: bool) {
        let rooms = std::mem::take(&mut self.rooms);
        let kept = if keeps { std::mem::take(&mut self.kept) } else { Vec::new() };
        *self = Self { id, session: Session::new(seed), rooms, kept, ..Self::new(self.browser, Vec::new()) };
        self.loaded = true;
    }

    /// The time on its clock in milliseconds. `now` is in microseconds.
    pub fn time(&self, now: u64) -> u64 {
        now / 1_000 - self.behind
    }

    /// The next deadline of the session, in microseconds.
    pub fn next_wake(&self) -> Option<u64> {
        let wake = self.session.next_wake().filter(|_| self.loaded && self.awake)?;
        Some((wake + self.behind) * 1_000)
    }

    pub fn fall_asleep(&mut self, now: u64) {
        self.awake = false;
        self.fell_asleep = now;
    }

    /// Ends the sleep. Some clocks run during sleep, others do not.
    pub fn wake_up(&mut self, now: u64, clock_ran: bool) {
        self.awake = true;
        if !clock_ran {
            self.behind += (now - self.fell_asleep) / 1_000;
        }
    }

    pub fn keep(&mut self, post: UnsentMessage) {
        if !self.kept.iter().any(|kept| kept.key == post.key) {
            self.kept.push(post);
        }
    }

    /// Writes a new message, unless too many are unanswered.
    pub fn write(&mut self, rng: &mut Rng) -> Option<UnsentMessage> {
        if self.rooms.is_empty() || self.unanswered.len() >= MAX_UNANSWERED {
            return None;
        }
        let room = rng.pick(&self.rooms).clone();
        let key = MessageKey::from_random(u128::from(rng.bits()) << 64 | u128::from(rng.bits()));
        let mut text = format!("{}.{}", self.id.0, self.posts.len());
        if rng.one_in(8) {
            let filling = *rng.pick(&["x", "가", "\"", "🤔"]);
            text.push_str(&filling.repeat(rng.mostly_short(1_500) as usize));
        }
        let post = UnsentMessage::of_text(room, key, text);
        self.posts.push(post.clone());
        self.unanswered.insert(key);
        Some(post)
    }

    /// Changes one of the latest messages of a room. It may belong to another user, or be deleted: then the change is refused.
    pub fn change(&self, rng: &mut Rng) -> Option<MessageCommand> {
        let name = rng.pick(self.rooms.get(..).filter(|rooms| !rooms.is_empty())?);
        let position = self.shown.get(name).filter(|position| position.seq > 0)?;
        let room = *self.ids.get(name)?;
        let seq = position.seq - rng.below(position.seq.min(8));
        let target = MessageRef { epoch: position.epoch.clone(), seq };
        Some(match rng.below(9) {
            0 => MessageCommand::Delete(DeleteMessage { room, target }),
            1..=3 => {
                let text = format!("{} edited {}", self.id.0, rng.below(1_000_000));
                MessageCommand::Edit(EditMessage { room, target, edits: rng.below(3), text, mentions: None })
            }
            4 => MessageCommand::Pin(PinMessage { room, target, on: !rng.one_in(3) }),
            _ => {
                let emoji = (*rng.pick(&["👍", "🎉", "❤️"])).to_owned();
                MessageCommand::React(React { room, target, emoji, on: !rng.one_in(3) })
            }
        })
    }

    /// The position up to which it shows the room with an id.
    fn position(&mut self, room: RoomId) -> Option<&mut Position> {
        let (name, _) = self.ids.iter().find(|(_, id)| **id == room)?;
        self.shown.get_mut(name)
    }

    /// Applies an update to the page.
    pub fn apply(&mut self, update: &Update) {
        match update {
            Update::Entered(ack) => {
                let position = Position { epoch: ack.epoch.clone(), seq: ack.head, rev: ack.rev };
                self.shown.insert(ack.name.clone(), position);
                self.ids.insert(ack.name.clone(), ack.room);
            }
            Update::Message(message) => {
                if let Some(position) = self.position(message.room) {
                    position.seq = message.seq;
                }
            }
            Update::Changed(change) => {
                if let Some(position) = self.position(change.room) {
                    position.rev = change.state.rev;
                }
            }
            Update::Posted { key, .. } => {
                self.unanswered.remove(key);
            }
            Update::Named { requested, room } => {
                for name in self.rooms.iter_mut().filter(|name| *name == requested) {
                    name.clone_from(room);
                }
                self.posts
                    .iter_mut()
                    .filter(|post| post.room == *requested)
                    .for_each(|post| post.room.clone_from(room));
            }
            Update::Connection(_)
            | Update::Me(_)
            | Update::Build(_)
            | Update::NotUnderstood
            | Update::Unsent(_)
            | Update::NotEntered { .. }
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
            | Update::NotRenamed(_)
            | Update::Rooms(_)
            | Update::MyRooms(_)
            | Update::Call { .. } => {}
        }
    }
}
