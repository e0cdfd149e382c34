//! The simulated disk, and the storage of a server process on it: a reference model of the store, simple
//! enough to be obviously correct.
//!
//! Like the real store it commits queued writes in groups, recognises keys, assigns `seq`, and answers
//! one write after the other after the commit. A crash loses pending writes. Committed writes stay,
//! whether they were answered or not. Commits and reads take simulated time, and can fail.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use noom::protocol::{
    Found, Message, MessageChange, MessageKey, MessageState, Pin, Place, Position, RECENT_MESSAGES, SearchAck,
    Unrecovered, User, UserId,
};
use noom::server::change::{Change, ChangeError, Changed, Decision, decide, group_reactions};
use noom::server::history::{Expired, Extent, History, Stored, Until};
use noom::server::id::RoomId;
use noom::server::membership::{Mark, MarkChange, Membership};
use noom::server::name_key::RoomName;
use noom::server::search::Query;
use noom::server::storage::{
    Append, AppendError, ChangeOutcome, ChangeRequest, Expiry, Outcome, Purge, RoomRow, Storage, StoreError, ToPurge,
};
use tokio::sync::oneshot;

use super::environment::SimulatedEnvironment;
use super::history::StoredRoom;
use super::mutation::Mutation;
use super::rng::Rng;

/// The most writes in one commit.
const BATCH: usize = 128;
/// The most messages that a turn of a purge deletes.
const TURN: usize = 3;

type Result<T> = std::result::Result<T, StoreError>;

/// The content of a database file.
#[derive(Clone, Debug, Default)]
pub struct Image {
    epoch: String,
    rooms: Vec<Room>,
    nicknames: BTreeMap<UserId, String>,
    /// The marks of users in the rooms of their lists.
    memberships: BTreeMap<(UserId, RoomId), u64>,
    /// The purges that are not finished.
    purges: Vec<Purge>,
    /// The number of purges that were requested.
    last_purge: u64,
}

#[derive(Clone, Debug)]
struct Room {
    row: RoomRow,
    folded: String,
    log: Vec<Arc<Message>>,
    /// The number of changes.
    rev: u64,
    /// The first message that has not expired. The earlier ones are kept to be compared with.
    floor: u64,
    /// The reactions to each message, in the order in which they were made.
    reactions: BTreeMap<u64, Vec<(String, User)>>,
}

/// A change of the database that became durable.
#[derive(Clone, Debug)]
pub enum Committed {
    Message(Arc<Message>),
    Change(Arc<MessageChange>),
    Expired { room: RoomId, floor: u64 },
    Purge { room: RoomId, user: UserId, up_to: u64 },
}

/// The behaviour of a disk.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Capacity of the write queue.
    pub capacity: usize,
    /// The largest gap that a resume replays, in messages.
    pub replay_at_most: u64,
    /// The longest duration of a commit, in microseconds.
    pub commit_within: u64,
    /// The longest time until a read is carried out, and until its result is there, in microseconds.
    pub read_within: u64,
    /// Commits fail.
    pub full: bool,
    /// Reads fail.
    pub unreadable: bool,
}

/// The disk. It outlives the server processes that use it.
#[derive(Debug)]
pub struct Disk {
    environment: Arc<SimulatedEnvironment>,
    mutation: Option<Mutation>,
    state: Mutex<State>,
}

struct State {
    /// The durable state.
    image: Image,
    settings: Settings,
    rng: Rng,
    queue: VecDeque<Write>,
    batch: Vec<Write>,
    /// The time at which the batch was gathered: the timestamp of its messages.
    gathered_at: u64,
    answers: VecDeque<Answer>,
    phase: Phase,
    /// The end of the phase.
    phase_ends_at: Option<u64>,
    /// Pending reads, by time and order of request.
    reads: BTreeMap<(u64, u64), ReadStep>,
    next_read: u64,
    /// The number of ids that were given to rooms. Not a part of the image, so that a restore does not take any back.
    room_ids: u64,
    /// The messages and changes that became durable since the scheduler last took it.
    committed: Vec<Committed>,
    /// For [`Mutation::HistoryReadTooEarly`]: the head of each room when it was last looked up.
    looked_up: BTreeMap<RoomId, u64>,
}

/// A queued write. `done` is taken when it is answered.
enum Write {
    Append { room: RoomRow, user: User, key: MessageKey, text: String, done: Option<Box<dyn FnOnce(Outcome) + Send>> },
    Change { room: RoomRow, user: User, seq: u64, change: Change, done: Option<Box<dyn FnOnce(ChangeOutcome) + Send>> },
    CreateRoom { id: RoomId, name: RoomName, done: Option<oneshot::Sender<Result<RoomRow>>> },
    Nickname { user: UserId, nickname: Option<String>, done: Option<oneshot::Sender<Result<()>>> },
    Marks { marks: Vec<Mark>, done: Option<oneshot::Sender<Result<()>>> },
    Expire { room: RoomRow, until: Until, done: Option<Box<dyn FnOnce(Result<Expired>) + Send>> },
    RequestPurge { room: RoomRow, user: UserId, done: Option<oneshot::Sender<Result<()>>> },
    Purged { purge: Purge, rest: Option<u64>, done: Option<oneshot::Sender<Result<()>>> },
}

/// Delivers the result of a read or write to the server. Called without the lock on the state.
type Answer = Box<dyn FnOnce() + Send>;

enum ReadStep {
    /// Reads the durable state. Returns the answer.
    Read(Box<dyn FnOnce(&mut State) -> Answer + Send>),
    Answer(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Writing,
    Answering,
}

impl Disk {
    pub fn new(
        environment: Arc<SimulatedEnvironment>,
        rng: Rng,
        epoch: String,
        settings: Settings,
        mutation: Option<Mutation>,
    ) -> Arc<Self> {
        let state = State {
            image: Image { epoch, ..Image::default() },
            settings,
            rng,
            queue: VecDeque::new(),
            batch: Vec::new(),
            gathered_at: 0,
            answers: VecDeque::new(),
            phase: Phase::Idle,
            phase_ends_at: None,
            reads: BTreeMap::new(),
            next_read: 0,
            room_ids: 0,
            committed: Vec::new(),
            looked_up: BTreeMap::new(),
        };
        Arc::new(Self { environment, mutation, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn epoch(&self) -> String {
        self.state().image.epoch.clone()
    }

    pub fn image(&self) -> Image {
        self.state().image.clone()
    }

    /// Replaces the database by an older copy of it, under this epoch. No process may use it.
    pub fn restore(&self, copy: Image, epoch: String) {
        let mut state = self.state();
        if self.mutation == Some(Mutation::RoomIdReused) {
            state.room_ids = copy.rooms.len() as u64;
        }
        state.image = Image { epoch, ..copy };
    }

    /// All rooms with their messages.
    pub fn rooms(&self) -> Vec<StoredRoom> {
        let stored = |Room { row, floor, log, .. }: &Room| StoredRoom {
            id: row.id,
            name: row.name.to_string(),
            floor: *floor,
            log: log.clone(),
        };
        self.state().image.rooms.iter().map(stored).collect()
    }

    /// Chooses a room and the last of its messages that is to expire, if there is a room with messages.
    pub fn choose_to_expire(&self) -> Option<(RoomRow, u64)> {
        let mut state = self.state();
        let State { image, rng, .. } = &mut *state;
        let filled: Vec<_> = image.rooms.iter().filter(|room| room.floor <= room.log.len() as u64).collect();
        if filled.is_empty() {
            return None;
        }
        let room = rng.pick(&filled);
        Some((room.row.clone(), rng.between(room.floor, room.log.len() as u64)))
    }

    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state().settings);
    }

    /// Takes what became durable since the last call.
    pub fn take_committed(&self) -> Vec<Committed> {
        std::mem::take(&mut self.state().committed)
    }

    // --- Time ----------------------------------------------------------------------------------

    /// The time of the next step.
    pub fn next_wake(&self) -> Option<u64> {
        let state = self.state();
        let read = state.reads.keys().next().map(|(at, _)| *at);
        read.into_iter().chain(state.phase_ends_at).min()
    }

    /// Runs one step that is due.
    pub fn handle_time(&self) {
        let now = self.environment.micros();
        let answer = self.state().step(now, self.mutation);
        if let Some(answer) = answer {
            answer();
        }
    }

    /// The process that uses the disk is killed.
    pub fn crash(&self) {
        let mut state = self.state();
        // Dropped without the lock: an answer holds parts of the server.
        let lost = (
            std::mem::take(&mut state.queue),
            std::mem::take(&mut state.batch),
            std::mem::take(&mut state.answers),
            std::mem::take(&mut state.reads),
        );
        state.phase = Phase::Idle;
        state.phase_ends_at = None;
        if self.mutation == Some(Mutation::PurgeForgotten) {
            state.image.purges.clear();
        }
        if self.mutation == Some(Mutation::RoomIdChanges) {
            state.image.rooms.iter_mut().for_each(|room| room.row.id.0 ^= 1);
        }
        drop(state);
        drop(lost);
    }

    /// Commits all queued writes at once, for a graceful shutdown.
    fn close(&self) {
        let now = self.environment.micros();
        let mut answers = Vec::new();
        let mut state = self.state();
        loop {
            if state.phase == Phase::Writing {
                state.commit(self.mutation);
            }
            answers.extend(std::mem::take(&mut state.answers));
            state.phase = Phase::Idle;
            if state.queue.is_empty() {
                break;
            }
            state.gather(now);
            state.phase = Phase::Writing;
        }
        state.phase_ends_at = None;
        drop(state);
        answers.into_iter().for_each(|answer| answer());
    }

    // --- Requests ------------------------------------------------------------------------------

    /// An id that no room has or had.
    fn new_room_id(&self) -> RoomId {
        let mut state = self.state();
        state.room_ids += 1;
        // Multiplication by an odd number maps different numbers to different ones.
        RoomId(state.room_ids.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Queues a write. Refuses it if the queue is full.
    fn write(&self, write: Write) -> Result<()> {
        let now = self.environment.micros();
        let mut state = self.state();
        if state.queue.len() >= state.settings.capacity {
            return Err(StoreError::Busy);
        }
        state.queue.push_back(write);
        state.phase_ends_at.get_or_insert(now + 10);
        Ok(())
    }

    fn write_and_wait<T: Send + 'static>(
        &self,
        write: impl FnOnce(Option<oneshot::Sender<Result<T>>>) -> Write,
    ) -> BoxFuture<'static, Result<T>> {
        let (done, reply) = oneshot::channel();
        let queued = self.write(write(Some(done)));
        async move {
            queued?;
            reply.await.unwrap_or(Err(StoreError::Unavailable))
        }
        .boxed()
    }

    /// Schedules a read and, later, its answer.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let (done, reply) = oneshot::channel();
        let step = move |state: &mut State| -> Answer {
            let result = if state.settings.unreadable { Err(StoreError::Unavailable) } else { Ok(read(state)) };
            answer(done, result)
        };
        let now = self.environment.micros();
        self.state().schedule_read(now, ReadStep::Read(Box::new(step)));
        async move { reply.await.unwrap_or(Err(StoreError::Unavailable)) }.boxed()
    }
}

impl State {
    fn step(&mut self, now: u64, mutation: Option<Mutation>) -> Option<Answer> {
        if let Some(entry) = self.reads.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                ReadStep::Read(read) => {
                    let answer = read(self);
                    self.schedule_read(now, ReadStep::Answer(answer));
                    return None;
                }
                ReadStep::Answer(answer) => return Some(answer),
            }
        }
        if self.phase_ends_at.is_none_or(|at| at > now) {
            return None;
        }
        let answers_early = mutation == Some(Mutation::AckBeforeCommit);
        match self.phase {
            Phase::Idle => {
                self.gather(now);
                if answers_early {
                    // Answers from the result on a copy. The batch is committed afterwards.
                    let mut copy = self.image.clone();
                    self.answers.extend(copy.apply(&mut self.batch, self.gathered_at, mutation).0);
                }
                self.begin(if answers_early { Phase::Answering } else { Phase::Writing }, now);
            }
            Phase::Writing => {
                self.commit(mutation);
                self.begin(if answers_early { Phase::Idle } else { Phase::Answering }, now);
            }
            Phase::Answering => match self.answers.pop_front() {
                Some(answer) => {
                    self.phase_ends_at = Some(now + self.rng.mostly_short(500));
                    return Some(answer);
                }
                None => self.begin(if answers_early { Phase::Writing } else { Phase::Idle }, now),
            },
        }
        None
    }

    /// The room with an id.
    fn look_up(&mut self, id: RoomId) -> Option<RoomRow> {
        let Room { row, log, .. } = self.image.room(id)?;
        self.looked_up.insert(id, log.len() as u64);
        Some(row.clone())
    }

    fn schedule_read(&mut self, now: u64, step: ReadStep) {
        self.next_read += 1;
        let at = now + self.rng.mostly_short(self.settings.read_within);
        self.reads.insert((at, self.next_read), step);
    }

    fn gather(&mut self, now: u64) {
        self.batch = self.queue.drain(..self.queue.len().min(BATCH)).collect();
        self.gathered_at = now;
    }

    fn begin(&mut self, phase: Phase, now: u64) {
        self.phase = phase;
        self.phase_ends_at = match phase {
            Phase::Idle if self.queue.is_empty() => None,
            Phase::Idle => Some(now),
            Phase::Writing => Some(now + self.rng.mostly_short(self.settings.commit_within)),
            Phase::Answering => Some(now + self.rng.mostly_short(500)),
        };
    }

    fn commit(&mut self, mutation: Option<Mutation>) {
        if self.settings.full {
            self.answers.extend(self.batch.drain(..).filter_map(Write::fail));
            return;
        }
        let (answers, committed) = self.image.apply(&mut self.batch, self.gathered_at, mutation);
        self.batch.clear();
        self.answers.extend(answers);
        self.committed.extend(committed);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("settings", &self.settings).field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// Sends a result to the future that waits for it. The future may have been dropped.
fn answer<T: Send + 'static>(done: oneshot::Sender<Result<T>>, result: Result<T>) -> Answer {
    Box::new(move || {
        let _ = done.send(result);
    })
}

impl Write {
    /// The answer to a failed write.
    fn fail(self) -> Option<Answer> {
        Some(match self {
            Self::Append { done, .. } => {
                let done = done?;
                Box::new(move || done(Err(AppendError::Unavailable)))
            }
            Self::Change { done, .. } => {
                let done = done?;
                Box::new(move || done(Err(ChangeError::Unavailable)))
            }
            Self::CreateRoom { done, .. } => answer(done?, Err(StoreError::Unavailable)),
            Self::Expire { done, .. } => {
                let done = done?;
                Box::new(move || done(Err(StoreError::Unavailable)))
            }
            Self::Nickname { done, .. }
            | Self::Marks { done, .. }
            | Self::RequestPurge { done, .. }
            | Self::Purged { done, .. } => answer(done?, Err(StoreError::Unavailable)),
        })
    }
}

impl Image {
    /// Carries out a batch. Returns the answers, and what is new.
    fn apply(&mut self, batch: &mut [Write], at: u64, mutation: Option<Mutation>) -> (Vec<Answer>, Vec<Committed>) {
        let (mut answers, mut committed) = (Vec::<Answer>::new(), Vec::new());
        for write in batch {
            match write {
                Write::Append { room, user, key, text, done } => {
                    let outcome = self.append(room, user, *key, text, at / 1_000, mutation);
                    let new = outcome.iter().filter(|stored| !stored.dup);
                    committed.extend(new.map(|stored| Committed::Message(stored.message.clone())));
                    if let Some(done) = done.take() {
                        answers.push(Box::new(move || done(outcome)));
                    }
                }
                Write::Change { room, user, seq, change, done } => {
                    let outcome = self.change(room.id, user, *seq, change, at / 1_000);
                    let new = outcome.iter().filter_map(|changed| changed.change.clone());
                    committed.extend(new.map(Committed::Change));
                    if let Some(done) = done.take() {
                        answers.push(Box::new(move || done(outcome)));
                    }
                }
                Write::CreateRoom { id, name, done } => {
                    let row = self.create_room(*id, name);
                    answers.extend(done.take().map(|done| answer(done, Ok(row))));
                }
                Write::Nickname { user, nickname, done } => {
                    match nickname {
                        Some(nickname) => self.nicknames.insert(*user, nickname.clone()),
                        None => self.nicknames.remove(user),
                    };
                    answers.extend(done.take().map(|done| answer(done, Ok(()))));
                }
                Write::Expire { room, until, done } => {
                    let expired = self.expire(room.id, *until);
                    let new = expired.filter(|expired| expired.messages > 0);
                    committed.extend(new.map(|expired| Committed::Expired { room: room.id, floor: expired.floor }));
                    if let Some(done) = done.take() {
                        answers.push(Box::new(move || done(expired.ok_or(StoreError::Unavailable))));
                    }
                }
                Write::RequestPurge { room, user, done } => {
                    let up_to = self.request_purge(room, *user);
                    committed.push(Committed::Purge { room: room.id, user: *user, up_to });
                    answers.extend(done.take().map(|done| answer(done, Ok(()))));
                }
                Write::Purged { purge, rest, done } => {
                    self.purged(purge, *rest);
                    answers.extend(done.take().map(|done| answer(done, Ok(()))));
                }
                Write::Marks { marks, done } => {
                    marks.iter().for_each(|mark| self.mark(mark));
                    answers.extend(done.take().map(|done| answer(done, Ok(()))));
                }
            }
        }
        (answers, committed)
    }

    fn expire(&mut self, room: RoomId, until: Until) -> Option<Expired> {
        let Until::Seq(last) = until else { unreachable!("the simulation asks for a message") };
        let room = self.room_mut(room)?;
        let floor = (last + 1).min(room.log.len() as u64 + 1).max(room.floor);
        let messages = floor - std::mem::replace(&mut room.floor, floor);
        Some(Expired { messages, floor, is_more: false })
    }

    fn request_purge(&mut self, room: &RoomRow, user: UserId) -> u64 {
        let up_to = self.room(room.id).map_or(0, |room| room.log.len() as u64);
        let earlier = self.purges.iter().filter(|purge| purge.room.id == room.id && purge.user == Some(user));
        let above = earlier.map(|purge| purge.up_to).max().unwrap_or_default();
        if above < up_to {
            self.last_purge += 1;
            let id = self.last_purge;
            self.purges.push(Purge { id, room: room.clone(), user: Some(user), above, up_to });
        }
        up_to
    }

    fn purged(&mut self, purge: &Purge, rest: Option<u64>) {
        let Some(index) = self.purges.iter().position(|stored| stored.id == purge.id) else { return };
        match rest {
            Some(rest) => self.purges[index].up_to = rest,
            None => drop(self.purges.remove(index)),
        }
    }

    /// The next messages of a user that a purge deletes.
    fn messages_to_purge(&self, Purge { room, above, up_to, .. }: &Purge, user: UserId) -> ToPurge {
        let log = self.log(room.id, *up_to).0.iter().rev();
        let is_meant =
            |message: &&Arc<Message>| message.seq > *above && message.user.id == user && !message.is_deleted();
        let mut messages: Vec<_> = log.filter(is_meant).map(|it| (it.seq, it.text.len() as u64)).collect();
        let is_more = messages.len() > TURN;
        messages.truncate(TURN);
        ToPurge { rest: messages.last().filter(|_| is_more).map(|(last, _)| last - 1), messages }
    }

    fn mark(&mut self, Mark { user, room, change }: &Mark) {
        let (known, membership) = (self.memberships.contains_key(&(*user, *room)), (*user, *room));
        match *change {
            MarkChange::Read(read) | MarkChange::Join(read) if known => {
                self.memberships.entry(membership).and_modify(|known| *known = read.max(*known));
            }
            MarkChange::Read(_) => {}
            MarkChange::Join(read) => drop(self.memberships.insert(membership, read)),
            MarkChange::Leave => drop(self.memberships.remove(&membership)),
        }
    }

    fn append(
        &mut self,
        room: &RoomRow,
        user: &User,
        key: MessageKey,
        text: &str,
        at: u64,
        mutation: Option<Mutation>,
    ) -> Outcome {
        let Some(Room { log, .. }) = self.room_mut(room.id) else {
            return Err(AppendError::Unavailable);
        };
        let known = log.iter().find(|message| message.user.id == user.id && message.key == key);
        match known.filter(|_| mutation != Some(Mutation::NoDedupe)) {
            Some(stored) if stored.text == text || stored.is_rewritten() => {
                Ok(Stored { message: stored.clone(), dup: true })
            }
            Some(_) => Err(AppendError::KeyConflict),
            None => {
                let seq = log.len() as u64 + 1;
                let (user, text) = (user.clone(), text.to_owned());
                let message = Arc::new(Message::of_text(room.id, seq, key, user, text, at));
                log.push(message.clone());
                Ok(Stored { message, dup: false })
            }
        }
    }

    fn change(&mut self, room: RoomId, user: &User, seq: u64, change: &Change, at: u64) -> ChangeOutcome {
        let Some(Room { log, rev, floor, reactions, .. }) = self.room_mut(room) else {
            return Err(ChangeError::Unavailable);
        };
        if seq < *floor {
            return Err(ChangeError::NotFound);
        }
        let index = (seq as usize).wrapping_sub(1);
        let made = reactions.entry(seq).or_default();
        let pins = log.iter().filter(|message| message.pinned().is_some()).count() as u64;
        let message = log.get_mut(index).ok_or(ChangeError::NotFound)?;
        let edits = message.edits();
        if decide(change, user.id, message, pins)? == Decision::Unchanged {
            return Ok(Changed { rev: message.rev(), ..Changed::default() });
        }
        *rev += 1;
        let mut state = MessageState { rev: *rev, ..message.state.as_deref().cloned().unwrap_or_default() };
        let mut text = None;
        match change {
            Change::Edit { text: new, .. } => {
                (state.edits, state.edited_at) = (edits + 1, Some(at));
                text = Some(new.clone());
            }
            Change::Delete => {
                made.clear();
                (state.deleted_at, state.pinned) = (Some(at), None);
            }
            Change::React(emoji) => made.push((emoji.clone(), user.clone())),
            Change::Unreact(emoji) => made.retain(|(other, by)| other != emoji || by.id != user.id),
            Change::Pin => state.pinned = Some(Pin { user: user.clone(), at }),
            Change::Unpin => state.pinned = None,
        }
        state.reactions = group_reactions(made.iter().cloned());
        let change = MessageChange { room, seq, text, mentions: None, state };
        Arc::make_mut(message).apply(&change);
        Ok(Changed { rev: *rev, change: Some(Arc::new(change)), ..Changed::default() })
    }

    fn create_room(&mut self, id: RoomId, name: &RoomName) -> RoomRow {
        if let Some(room) = self.find_room(&name.folded) {
            return room;
        }
        let row = RoomRow { id, number: self.rooms.len() as i64 + 1, name: name.canonical.as_str().into() };
        self.rooms.push(Room {
            row: row.clone(),
            folded: name.folded.clone(),
            log: Vec::new(),
            rev: 0,
            floor: 1,
            reactions: BTreeMap::new(),
        });
        row
    }

    fn find_room(&self, folded: &str) -> Option<RoomRow> {
        self.rooms.iter().find(|room| room.folded == folded).map(|room| room.row.clone())
    }

    fn room(&self, id: RoomId) -> Option<&Room> {
        self.rooms.iter().find(|room| room.row.id == id)
    }

    fn room_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|room| room.row.id == id)
    }

    fn rev(&self, room: RoomId) -> u64 {
        self.room(room).map_or(0, |room| room.rev)
    }

    /// The messages of a room up to `head` that have not expired, and what is kept of all. With
    /// [`Mutation::AckBeforeCommit`] the room may not exist yet.
    fn log(&self, room: RoomId, head: u64) -> (&[Arc<Message>], Extent) {
        let Some(Room { log, floor, .. }) = self.room(room) else { return (&[], Extent { floor: 1, head: 0 }) };
        let head = log.len().min(head as usize);
        let floor = (*floor).min(head as u64 + 1);
        (&log[floor as usize - 1..head], Extent { floor, head: head as u64 })
    }
}

/// The states of the messages up to a position that were changed after it.
fn changes_since(log: &[Arc<Message>], after: &Position) -> Vec<Arc<MessageChange>> {
    let changed = log.iter().filter(|message| message.seq <= after.seq && message.rev() > after.rev);
    let change = |message: &Arc<Message>| {
        let state = message.state.as_deref()?.clone();
        let text = (state.edits > 0 && state.deleted_at.is_none()).then(|| message.text.clone());
        Some(Arc::new(MessageChange { room: message.room, seq: message.seq, text, mentions: None, state }))
    };
    let mut changes: Vec<_> = changed.filter_map(change).collect();
    changes.sort_by_key(|change| change.state.rev);
    changes
}

/// The history for an entering connection, by the rules of the protocol.
fn history_for(
    epoch: &str,
    ((log, extent), rev): ((&[Arc<Message>], Extent), u64),
    after: Option<&Position>,
    replay_at_most: u64,
    mutation: Option<Mutation>,
) -> History {
    let Extent { floor, head } = extent;
    let mut history = History { epoch: epoch.to_owned(), head, rev, floor, ..History::default() };
    let is_expired = |after: &Position| after.seq + 1 < floor && mutation != Some(Mutation::ReplayIgnoresFloor);
    if let Some(after) = after
        && after.epoch == epoch
        && after.seq <= head
        && after.rev <= rev
        && !is_expired(after)
    {
        let late = usize::from(mutation == Some(Mutation::ReplayLosesChange));
        let changes: Vec<_> = changes_since(log, after).into_iter().skip(late).collect();
        history.changes = (changes.len() as u64 <= replay_at_most).then_some(changes);
    }
    let reason = match after {
        None => None,
        Some(after) if after.epoch != epoch => Some(Unrecovered::EpochChanged),
        Some(after) if after.seq > head || after.rev > rev => Some(Unrecovered::PositionAhead),
        Some(after) if is_expired(after) => Some(Unrecovered::Expired),
        Some(_) if history.changes.is_none() => Some(Unrecovered::GapTooLarge),
        Some(after) if head - after.seq > replay_at_most => Some(Unrecovered::GapTooLarge),
        Some(after) => {
            let late = u64::from(mutation == Some(Mutation::ReplayOffByOne));
            let messages = log.iter().filter(|message| message.seq > after.seq + late).cloned().collect();
            return History { messages, recovered: true, ..history };
        }
    };
    let (messages, more) = history_before(log, head + 1, RECENT_MESSAGES as u64);
    History { messages, more, reason, ..history }
}

fn history_before(log: &[Arc<Message>], before: u64, limit: u64) -> (Vec<Arc<Message>>, bool) {
    let until = log.partition_point(|message| message.seq < before);
    let from = until.saturating_sub(limit as usize);
    (log[from..until].to_vec(), from > 0)
}

/// The storage of one server process.
#[derive(Debug)]
pub struct SimulatedStorage {
    epoch: String,
    disk: Arc<Disk>,
}

impl SimulatedStorage {
    /// Opens the database on a disk.
    pub fn open(disk: Arc<Disk>) -> Arc<Self> {
        Arc::new(Self { epoch: disk.epoch(), disk })
    }
}

impl Storage for SimulatedStorage {
    fn epoch(&self) -> &str {
        &self.epoch
    }

    fn nickname(&self, user: UserId) -> BoxFuture<'_, Result<Option<String>>> {
        self.disk.read(move |state| state.image.nicknames.get(&user).cloned())
    }

    fn find_room(&self, name: RoomName) -> BoxFuture<'_, Result<Option<RoomRow>>> {
        self.disk.read(move |state| {
            let row = state.image.find_room(&name.folded)?;
            state.look_up(row.id)
        })
    }

    fn find_room_with_id(&self, id: RoomId) -> BoxFuture<'_, Result<Option<RoomRow>>> {
        self.disk.read(move |state| state.look_up(id))
    }

    fn create_room(&self, name: RoomName) -> BoxFuture<'_, Result<RoomRow>> {
        let id = self.disk.new_room_id();
        self.disk.write_and_wait(|done| Write::CreateRoom { id, name, done })
    }

    fn history_for(&self, room: RoomRow, after: Option<Position>) -> BoxFuture<'_, Result<History>> {
        let mutation = self.disk.mutation;
        self.disk.read(move |state| {
            let head = match mutation {
                Some(Mutation::HistoryReadTooEarly) => state.looked_up.get(&room.id).copied().unwrap_or_default(),
                _ => u64::MAX,
            };
            let log = (state.image.log(room.id, head), state.image.rev(room.id));
            history_for(&state.image.epoch, log, after.as_ref(), state.settings.replay_at_most, mutation)
        })
    }

    fn history_before(
        &self,
        room: RoomRow,
        before: u64,
        limit: u64,
    ) -> BoxFuture<'_, Result<(Vec<Arc<Message>>, bool)>> {
        let mutation = self.disk.mutation;
        self.disk.read(move |state| {
            let (mut messages, more) = history_before(state.image.log(room.id, u64::MAX).0, before, limit);
            if mutation == Some(Mutation::HistoryWithoutChanges) {
                messages.iter_mut().for_each(|message| Arc::make_mut(message).state = None);
            }
            (messages, more)
        })
    }

    fn pins(&self, room: RoomRow) -> BoxFuture<'_, Result<Vec<Message>>> {
        self.disk.read(move |state| {
            let (log, _) = state.image.log(room.id, u64::MAX);
            let mut pinned: Vec<_> = log.iter().filter(|message| message.pinned().is_some()).collect();
            pinned.sort_by_key(|message| Reverse((message.pinned().map(|pin| pin.at), message.seq)));
            pinned.into_iter().map(|message| Message::clone(message)).collect()
        })
    }

    fn search(
        &self,
        rooms: Vec<RoomRow>,
        query: Query,
        before: Option<Place>,
        limit: u64,
    ) -> BoxFuture<'_, Result<SearchAck>> {
        self.disk.read(move |state| {
            let place = |message: &Message| Place { at: message.at, room: message.room, seq: message.seq };
            let mut found = Vec::new();
            for message in rooms.iter().flat_map(|room| state.image.log(room.id, u64::MAX).0) {
                let marks = query.find(&message.text).filter(|_| before.is_none_or(|before| place(message) < before));
                found.extend(marks.map(|marks| Found { message: Message::clone(message), marks, name: None }));
            }
            found.sort_by_key(|found| Reverse(place(&found.message)));
            let before = found.get(limit as usize).map(|next| place(&next.message));
            found.truncate(limit as usize);
            SearchAck { found, before: before.map(|next| Place { seq: next.seq + 1, ..next }) }
        })
    }

    fn extent(&self, room: RoomRow) -> BoxFuture<'_, Result<Extent>> {
        self.disk.read(move |state| state.image.log(room.id, u64::MAX).1)
    }

    fn history_between(&self, room: RoomRow, after: u64, up_to: u64) -> BoxFuture<'_, Result<Vec<Message>>> {
        self.disk.read(move |state| {
            let (log, _) = state.image.log(room.id, up_to);
            let missed = log.iter().filter(|message| message.seq > after);
            missed.take(100).map(|message| Message::clone(message)).collect()
        })
    }

    fn memberships(&self, user: UserId) -> BoxFuture<'_, Result<Vec<Membership>>> {
        self.disk.read(move |state| {
            let rooms = state.image.rooms.iter().filter_map(|room| {
                let read = *state.image.memberships.get(&(user, room.row.id))?;
                let Extent { floor, head } = state.image.log(room.row.id, u64::MAX).1;
                let read = read.max(floor - 1);
                Some(Membership { room: room.row.clone(), head, read, mentions: BTreeSet::new() })
            });
            rooms.collect()
        })
    }

    fn save_marks(&self, marks: Vec<Mark>) -> BoxFuture<'_, Result<()>> {
        self.disk.write_and_wait(|done| Write::Marks { marks, done })
    }

    fn save_nickname(&self, user: UserId, nickname: Option<String>) -> BoxFuture<'_, Result<()>> {
        self.disk.write_and_wait(|done| Write::Nickname { user, nickname, done })
    }

    fn change(&self, ChangeRequest { room, user, seq, change, done }: ChangeRequest) -> Result<()> {
        self.disk.write(Write::Change { room, user, seq, change, done: Some(done) })
    }

    fn append(
        &self,
        Append { room, user, key, text, reply_to: _, attachments: _, mentions: _, done }: Append,
    ) -> Result<()> {
        self.disk.write(Write::Append { room, user, key, text, done: Some(done) })
    }

    fn expire(&self, Expiry { room, until, done }: Expiry) -> Result<()> {
        self.disk.write(Write::Expire { room, until, done: Some(done) })
    }

    fn request_purge(&self, room: RoomRow, user: UserId) -> BoxFuture<'_, Result<()>> {
        self.disk.write_and_wait(|done| Write::RequestPurge { room, user, done })
    }

    fn purges(&self, limit: u64) -> BoxFuture<'_, Result<Vec<Purge>>> {
        self.disk.read(move |state| state.image.purges.iter().take(limit as usize).cloned().collect())
    }

    fn messages_to_purge(&self, purge: Purge, user: UserId) -> BoxFuture<'_, Result<ToPurge>> {
        self.disk.read(move |state| state.image.messages_to_purge(&purge, user))
    }

    fn purged(&self, purge: Purge, rest: Option<u64>) -> BoxFuture<'_, Result<()>> {
        self.disk.write_and_wait(|done| Write::Purged { purge, rest, done })
    }

    fn close(&self) {
        self.disk.close();
    }
}
