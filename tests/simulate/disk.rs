//! A model of the store that is obviously right: what is durable, and what is not yet.
//!
//! Like the real one it commits everything that queued up together, finds keys again, assigns `seq`,
//! and answers one by one after the commit. A crash takes what is pending; what is durable stays,
//! answered or not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use noom::protocol::{ErrorCode, Message, MessageKey, Position, RECENT_MESSAGES, Refusal, Unrecovered, User, UserId};
use noom::server::hub::core::{Author, ConnId, History, RoomId, Stored};
use noom::server::hub::outbox::Link;
use noom::server::name_key::RoomName;
use noom::server::store::RoomRow;

use super::chance::Chance;
use super::planted::Planted;

/// The most writes in one commit.
const BATCH: usize = 128;

/// What a server asks to be written.
#[derive(Clone, Debug)]
pub enum Write {
    Append {
        author: Author<Link>,
        room: RoomRow,
        user: User,
        key: MessageKey,
        text: String,
    },
    CreateRoom {
        conn: ConnId,
        name: RoomName,
    },
    /// Without a connection nobody waits for the answer.
    Nickname {
        conn: Option<ConnId>,
        user: UserId,
        nickname: Option<String>,
    },
}

/// What became of it.
#[derive(Debug)]
pub enum Written {
    Append { author: Author<Link>, room: RoomId, outcome: Result<Stored, Refusal> },
    Room { conn: ConnId, result: Result<RoomRow, Refusal> },
    Nickname { conn: Option<ConnId>, result: Result<(), Refusal> },
}

/// What a moment of the disk's time brings.
#[derive(Debug)]
pub enum Progress {
    /// Nothing that anyone sees.
    None,
    /// These are durable from now on.
    Committed(Vec<Arc<Message>>),
    /// Somebody has an answer.
    Answered(Written),
}

/// What a database file holds.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub epoch: String,
    rooms: Vec<Room>,
    nicknames: BTreeMap<UserId, String>,
}

#[derive(Clone, Debug)]
struct Room {
    row: RoomRow,
    folded: String,
    log: Vec<Arc<Message>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Writing,
    Answering,
}

#[derive(Debug)]
pub struct Disk {
    /// What is durable.
    pub image: Image,
    queue: VecDeque<Write>,
    batch: Vec<Write>,
    /// When it was gathered: the time that its messages bear.
    gathered_at: u64,
    answers: VecDeque<Written>,
    phase: Phase,
    /// When the phase is over.
    at: Option<u64>,
    /// Nothing can be written for now.
    pub full: bool,
    /// A commit takes up to so many microseconds.
    pub commit_within: u64,
    /// So many writes may wait.
    capacity: usize,
    /// The most messages that are replayed.
    replay_at_most: u64,
    planted: Option<Planted>,
}

impl Disk {
    pub fn new(epoch: String, capacity: usize, replay_at_most: u64, planted: Option<Planted>) -> Self {
        Self {
            image: Image { epoch, ..Image::default() },
            queue: VecDeque::new(),
            batch: Vec::new(),
            gathered_at: 0,
            answers: VecDeque::new(),
            phase: Phase::Idle,
            at: None,
            full: false,
            commit_within: 4_000,
            capacity,
            replay_at_most,
            planted,
        }
    }

    // --- Writing -------------------------------------------------------------------------------

    /// Queues a write, or says that so much waits that no more is taken.
    pub fn take(&mut self, now: u64, write: Write) -> Result<(), Refusal> {
        if self.queue.len() >= self.capacity {
            return Err(Refusal { retry_after_ms: Some(1_000), ..ErrorCode::RateLimited.into() });
        }
        self.queue.push_back(write);
        self.at.get_or_insert(now + 10);
        Ok(())
    }

    /// When something happens by itself.
    pub fn next_wake(&self) -> Option<u64> {
        self.at
    }

    /// Lets that happen.
    pub fn handle_time(&mut self, now: u64, chance: &mut Chance) -> Progress {
        let answers_early = self.planted == Some(Planted::AckBeforeCommit);
        match self.phase {
            Phase::Idle => {
                self.gather(now);
                if answers_early {
                    self.answers = self.write(&mut self.image.clone()).0;
                }
                self.begin(if answers_early { Phase::Answering } else { Phase::Writing }, now, chance);
                Progress::None
            }
            Phase::Writing => {
                let committed = self.commit();
                self.begin(if answers_early { Phase::Idle } else { Phase::Answering }, now, chance);
                Progress::Committed(committed)
            }
            Phase::Answering => match self.answers.pop_front() {
                Some(answer) => {
                    self.at = Some(now + chance.mostly_short(500));
                    Progress::Answered(answer)
                }
                None => {
                    self.begin(if answers_early { Phase::Writing } else { Phase::Idle }, now, chance);
                    Progress::None
                }
            },
        }
    }

    /// The process ends without warning.
    pub fn crash(&mut self) {
        self.queue.clear();
        self.batch.clear();
        self.answers.clear();
        self.phase = Phase::Idle;
        self.at = None;
    }

    /// The process ends in order: what waits is committed.
    pub fn close(&mut self, now: u64) -> Vec<Arc<Message>> {
        let mut committed = Vec::new();
        if self.phase == Phase::Writing {
            committed = self.commit();
        }
        while !self.queue.is_empty() {
            self.gather(now);
            committed.extend(self.commit());
        }
        self.crash();
        committed
    }

    fn gather(&mut self, now: u64) {
        self.batch = self.queue.drain(..self.queue.len().min(BATCH)).collect();
        self.gathered_at = now;
    }

    fn begin(&mut self, phase: Phase, now: u64, chance: &mut Chance) {
        self.phase = phase;
        self.at = match phase {
            Phase::Idle if self.queue.is_empty() => None,
            Phase::Idle => Some(now),
            Phase::Writing => Some(now + chance.mostly_short(self.commit_within)),
            Phase::Answering => Some(now + chance.mostly_short(500)),
        };
    }

    fn commit(&mut self) -> Vec<Arc<Message>> {
        if self.full {
            let batch = std::mem::take(&mut self.batch);
            self.answers = batch.into_iter().map(|write| failed(write, ErrorCode::StoreUnavailable.into())).collect();
            return Vec::new();
        }
        let mut next = self.image.clone();
        let (answers, committed) = self.write(&mut next);
        self.image = next;
        if self.planted != Some(Planted::AckBeforeCommit) {
            self.answers = answers;
        }
        committed
    }

    fn write(&self, image: &mut Image) -> (VecDeque<Written>, Vec<Arc<Message>>) {
        let mut committed = Vec::new();
        let answers = self.batch.iter().cloned().map(|write| match write {
            Write::Append { author, room, user, key, text } => {
                let log = &mut image.rooms[room.id.0 as usize].log;
                let known = log.iter().find(|message| message.user.id == user.id && message.key == key);
                let outcome = match known.filter(|_| self.planted != Some(Planted::NoDedupe)) {
                    Some(stored) if stored.text == text => Ok(Stored { message: (**stored).clone(), dup: true }),
                    Some(_) => Err(ErrorCode::KeyConflict.into()),
                    None => {
                        let (seq, at) = (log.len() as u64 + 1, self.gathered_at / 1_000);
                        let message = Message { room: room.name.to_string(), seq, key, user, text, at };
                        log.push(Arc::new(message.clone()));
                        committed.extend(log.last().cloned());
                        Ok(Stored { message, dup: false })
                    }
                };
                Written::Append { author, room: room.id, outcome }
            }
            Write::CreateRoom { conn, name } => Written::Room { conn, result: Ok(image.create_room(name)) },
            Write::Nickname { conn, user, nickname } => {
                match nickname {
                    Some(nickname) => image.nicknames.insert(user, nickname),
                    None => image.nicknames.remove(&user),
                };
                Written::Nickname { conn, result: Ok(()) }
            }
        });
        (answers.collect(), committed)
    }

    // --- Reading -------------------------------------------------------------------------------

    pub fn nickname(&self, user: UserId) -> Option<String> {
        self.image.nicknames.get(&user).cloned()
    }

    pub fn find_room(&self, folded: &str) -> Option<RoomRow> {
        self.image.rooms.iter().find(|room| room.folded == folded).map(|room| room.row.clone())
    }

    /// What a connection that enters is given, by the rules of the protocol.
    pub fn history_for(&self, room: RoomId, after: Option<&Position>) -> History {
        let log = &self.image.rooms[room.0 as usize].log;
        let head = log.len() as u64;
        let history = History { epoch: self.image.epoch.clone(), head, ..History::default() };
        let reason = match after {
            None => None,
            Some(after) if after.epoch != self.image.epoch => Some(Unrecovered::EpochChanged),
            Some(after) if after.seq > head => Some(Unrecovered::PositionAhead),
            Some(after) if head - after.seq > self.replay_at_most => Some(Unrecovered::GapTooLarge),
            Some(after) => {
                let late = u64::from(self.planted == Some(Planted::ReplayOffByOne));
                let messages = log.iter().filter(|message| message.seq > after.seq + late).map(|m| (**m).clone());
                return History { messages: messages.collect(), recovered: true, ..history };
            }
        };
        let (messages, more) = self.history_before(room, head + 1, RECENT_MESSAGES as u64);
        History { messages, more, reason, ..history }
    }

    pub fn history_before(&self, room: RoomId, before: u64, limit: u64) -> (Vec<Message>, bool) {
        let log = &self.image.rooms[room.0 as usize].log;
        let until = before.saturating_sub(1).min(log.len() as u64);
        let from = until.saturating_sub(limit);
        (log[from as usize..until as usize].iter().map(|message| (**message).clone()).collect(), from > 0)
    }
}

impl Image {
    /// All messages, by the room's canonical name.
    pub fn logs(&self) -> BTreeMap<String, Vec<Arc<Message>>> {
        self.rooms.iter().map(|room| (room.row.name.to_string(), room.log.clone())).collect()
    }

    fn create_room(&mut self, name: RoomName) -> RoomRow {
        if let Some(room) = self.rooms.iter().find(|room| room.folded == name.folded) {
            return room.row.clone();
        }
        let row = RoomRow { id: RoomId(self.rooms.len() as i64), name: name.canonical.into() };
        self.rooms.push(Room { row: row.clone(), folded: name.folded, log: Vec::new() });
        row
    }
}

/// The answer to a write that was not carried out.
fn failed(write: Write, refusal: Refusal) -> Written {
    match write {
        Write::Append { author, room, .. } => Written::Append { author, room: room.id, outcome: Err(refusal) },
        Write::CreateRoom { conn, .. } => Written::Room { conn, result: Err(refusal) },
        Write::Nickname { conn, .. } => Written::Nickname { conn, result: Err(refusal) },
    }
}
