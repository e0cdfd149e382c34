//! The hub: everything that people do in rooms passes here, from sockets and forms alike.
//!
//! `core` says what happens, `shards` carries it out, `account` knows who people are, `lobby` lists
//! the rooms, `outbox` holds what waits for a connection, `calls` introduces
//! people to each other.

pub mod account;
mod calls;
pub mod core;
pub mod lobby;
pub mod outbox;
mod shards;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::protocol::name::{guest_name, is_guest_name};
use crate::protocol::{
    Ack, ErrorCode, HistoryAck, MAX_HISTORY, MessageKey, Peer, Position, PostAck, RECENT_MESSAGES, Refusal, RoomList,
    ServerFrame, User, UserId,
};
use crate::server::call::ice::IceSettings;
use crate::server::config::LimitSettings;
use crate::server::name_key::{Nick, RoomName};
use crate::server::random;
use crate::server::store::{Append, AppendError, RoomRow, Store, StoreError};

use account::{Account, Allowance, Directory, lock};
use core::{Author, ConnId, Input, Output, RoomId, Ticket};
use lobby::Lobby;
use outbox::{Flusher, Link, Outbox, OutboxLimits, Waits};
use shards::{Effects, Shards};

/// How often [`Hub::tick`] wants to be called: the list of rooms is sent at most so often.
pub const TICK: Duration = Duration::from_millis(500);
/// How many numbers a guest whose name is taken is offered before giving up.
const RENUMBERINGS: u32 = 100;

/// All rooms of this process and everyone in them.
#[derive(Debug)]
pub struct Hub {
    /// Who is known.
    pub directory: Arc<Directory>,
    /// How much of everything.
    pub limits: LimitSettings,
    ice: IceSettings,
    store: Store,
    shards: Shards,
    lobby: Mutex<Lobby<Link>>,
    connections: Mutex<HashMap<ConnId, Link>>,
    flushers: Box<[Arc<Flusher>]>,
    forms: Mutex<HashMap<Ticket, oneshot::Sender<Result<PostAck, Refusal>>>>,
    next_number: AtomicU64,
    myself: std::sync::Weak<Self>,
}

/// A place among the connections, given back with [`Hub::unregister`].
#[derive(Debug)]
pub struct Registered {
    /// Its number.
    pub conn: ConnId,
    /// Its outbox.
    pub outbox: Link,
}

/// What somebody sees who merely looks at a room.
#[derive(Debug, Default)]
pub struct Look {
    /// Its canonical name.
    pub name: Arc<str>,
    /// What was said.
    pub history: core::History,
    /// Who is there, in the order they came.
    pub members: Vec<User>,
    /// Who is in its call.
    pub call: Vec<Peer>,
}

impl Hub {
    /// A hub over a store, with a shard and a flusher a core. `ice`: what people in calls are told.
    pub fn new(store: Store, limits: LimitSettings, ice: IceSettings) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new_cyclic(|myself| Self {
            directory: Arc::new(Directory::new(&limits)),
            limits,
            ice,
            store,
            shards: Shards::new(cores),
            lobby: Mutex::default(),
            connections: Mutex::default(),
            flushers: (0..cores).map(|_| Arc::default()).collect(),
            forms: Mutex::default(),
            next_number: AtomicU64::new(1),
            myself: myself.clone(),
        })
    }

    // --- Connections ---------------------------------------------------------------------------

    /// Gives a new connection its number and outbox; `None` when there are too many in total.
    pub fn register(&self) -> Option<Registered> {
        let limits = OutboxLimits { frames: self.limits.outbox_frames, bytes: self.limits.outbox_bytes };
        let mut connections = lock(&self.connections);
        (connections.len() < self.limits.connections).then(|| {
            let (conn, outbox) = (ConnId(self.number()), Outbox::new(limits));
            connections.insert(conn, outbox.clone());
            Registered { conn, outbox }
        })
    }

    /// Ends a connection: its rooms learn of it, after a grace; its calls at once when it said
    /// farewell.
    pub fn unregister(&self, conn: ConnId, account: Option<&Account>, farewell: bool) {
        lock(&self.connections).remove(&conn);
        lock(&self.lobby).unwatch(conn);
        if let Some(account) = account {
            account.disconnect(conn);
            self.shards.disconnect(conn, farewell, self);
        }
    }

    /// Who writes to a connection whose outbox has a line.
    pub fn flusher(&self, conn: ConnId) -> Arc<Flusher> {
        self.flushers[conn.0 as usize % self.flushers.len()].clone()
    }

    /// All who write to lines. Each has to run.
    pub fn flushers(&self) -> &[Arc<Flusher>] {
        &self.flushers
    }

    /// Waits while what was said before fills outboxes faster than it is written.
    pub async fn caught_up(&self) {
        for flusher in &self.flushers {
            flusher.caught_up().await;
        }
    }

    /// The outboxes of all connections.
    pub fn links(&self) -> Vec<Link> {
        lock(&self.connections).values().cloned().collect()
    }

    // --- People --------------------------------------------------------------------------------

    /// Somebody, with the name they chose earlier if they did.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn account(&self, user: UserId) -> Result<Arc<Account>, Refusal> {
        if let Some(account) = self.directory.get(user) {
            return Ok(account);
        }
        let chosen = self.store.nickname(user).await?;
        Ok(self.directory.get_or_add(user, chosen, &self.limits))
    }

    /// How somebody is called, without remembering them: for pages that are merely looked at.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn peek(&self, user: UserId) -> Result<User, Refusal> {
        let nickname = match self.directory.get(user) {
            Some(account) => account.nickname(),
            None => self.store.nickname(user).await?.unwrap_or_else(|| account::first_guest_name(user)),
        };
        Ok(User { id: user, nickname })
    }

    /// Gives somebody the name they ask for, in all rooms or in none, and remembers it. Returns it
    /// as stored.
    ///
    /// # Errors
    /// Why the name cannot be had; `STORE_UNAVAILABLE`.
    pub async fn rename(&self, account: &Account, wanted: &str, asker: Option<ConnId>) -> Result<String, Refusal> {
        let _one_at_a_time = account.renaming.lock().await;
        let old = account.nickname();
        if wanted.trim() == old {
            return Ok(old);
        }
        let nick = Nick::choose(wanted)?;
        if let Some(code) = self.shards.name_conflict(None, account.id, &nick.key) {
            return Err(code.into());
        }
        self.store.save_nickname(account.id, Some(nick.text.clone())).await?;
        let renamed = {
            let mut name = lock(&account.name);
            let renamed = self.shards.rename(account.id, &nick, asker, self);
            if renamed.is_ok() {
                *name = nick.clone();
            }
            renamed
        };
        if let Err(code) = renamed {
            // Somebody took the name while it was being stored.
            let previous = (!is_guest_name(&old)).then_some(old);
            self.store.save_nickname(account.id, previous).await?;
            return Err(code.into());
        }
        Ok(nick.text)
    }

    // --- Rooms ---------------------------------------------------------------------------------

    /// Lets a connection into a room. The answer, with the history, goes to its outbox, in its place
    /// among the room's frames.
    ///
    /// # Errors
    /// `RATE_LIMITED`, `ROOM_QUOTA`, `NICK_TAKEN`, `NICK_CONFUSABLE`, `STORE_UNAVAILABLE`.
    pub async fn enter(
        &self,
        account: &Account,
        at: &Registered,
        name: RoomName,
        after: Option<Position>,
        id: Option<u64>,
    ) -> Result<RoomRow, Refusal> {
        account.spend(Allowance::Join)?;
        let room = self.find_or_create(account, name).await?;
        let was_in = self.shards.of(room.id).is_in(at.conn, room.id);
        self.seat(account, at, &room)?;
        let conn = at.conn;
        match self.store.history_for(room.clone(), after).await {
            Ok(history) => self.shards.open(conn, room.id, id, history, self)?,
            Err(error) => {
                // As if nothing had been asked.
                if was_in {
                    self.shards.open(conn, room.id, None, core::History::default(), self)?;
                } else {
                    self.shards.leave(conn, room.id, self)?;
                }
                return Err(error.into());
            }
        }
        Ok(room)
    }

    /// Takes a connection out of a room.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`.
    pub fn leave(&self, conn: ConnId, room: &RoomRow) -> Result<(), Refusal> {
        Ok(self.shards.leave(conn, room.id, self)?)
    }

    /// Says something in a room that the connection is in. The answer goes to its outbox, after the
    /// commit.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`. Everything else is answered later.
    pub fn post(
        &self,
        conn: ConnId,
        room: &RoomRow,
        id: Option<u64>,
        key: MessageKey,
        text: String,
    ) -> Result<(), Refusal> {
        Ok(self.shards.handle(room.id, Input::Post { conn, room: room.id, id, key, text }, self)?)
    }

    /// Tells the others in a room that somebody is writing.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`.
    pub fn typing(&self, conn: ConnId, room: &RoomRow) -> Result<(), Refusal> {
        Ok(self.shards.handle(room.id, Input::Typing { conn, room: room.id }, self)?)
    }

    /// Says something from a form, without being in the room.
    ///
    /// # Errors
    /// As [`Hub::enter`], and `KEY_CONFLICT`.
    pub async fn post_form(
        &self,
        account: &Account,
        name: RoomName,
        key: MessageKey,
        text: String,
    ) -> Result<PostAck, Refusal> {
        account.spend(Allowance::Message)?;
        self.caught_up().await;
        let room = self.find_or_create(account, name).await?;
        let user = {
            let mut name = lock(&account.name);
            if let Some(code) = self.shards.name_conflict(Some(room.id), account.id, &name.key) {
                *name = self.renumber(account, &name, &room, code)?;
            }
            User { id: account.id, nickname: name.text.clone() }
        };
        let (sender, answer) = oneshot::channel();
        let ticket = Ticket(self.number());
        lock(&self.forms).insert(ticket, sender);
        let author = Author::Form(ticket);
        if let Some(refused) = self.append(author, room.clone(), user, key, text) {
            self.shards.handle(room.id, refused, self)?;
        }
        answer.await.unwrap_or(Err(ErrorCode::StoreUnavailable.into()))
    }

    /// Older messages of a room.
    ///
    /// # Errors
    /// `LIMIT_OUT_OF_RANGE`, `STORE_UNAVAILABLE`.
    pub async fn history(&self, room: RoomRow, before: u64, limit: u64) -> Result<HistoryAck, Refusal> {
        if !(1..=MAX_HISTORY).contains(&limit) {
            return Err(ErrorCode::LimitOutOfRange.into());
        }
        let (messages, more) = self.store.history_before(room, before, limit).await?;
        Ok(HistoryAck { messages, more })
    }

    /// What somebody sees who merely looks at a room, if it exists: its latest messages, or those
    /// before a place.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn look(&self, name: &RoomName, before: Option<u64>) -> Result<Option<Look>, Refusal> {
        let Some(room) = self.store.find_room(name).await? else { return Ok(None) };
        let mut history = self.store.history_for(room.clone(), None).await?;
        if let Some(before) = before {
            (history.messages, history.more) =
                self.store.history_before(room.clone(), before, RECENT_MESSAGES as u64).await?;
        }
        let shard = self.shards.of(room.id);
        let (members, call) = (shard.members(room.id), shard.peers(room.id));
        Ok(Some(Look { name: room.name, history, members, call }))
    }

    /// The epoch that positions count in.
    pub fn epoch(&self) -> &str {
        self.store.epoch()
    }

    // --- The list of rooms ---------------------------------------------------------------------

    /// The rooms with people in them.
    pub fn rooms(&self) -> RoomList {
        lock(&self.lobby).list()
    }

    /// The same, and a frame whenever it changes.
    pub fn watch(&self, at: &Registered) -> RoomList {
        let mut lobby = lock(&self.lobby);
        lobby.watch(at.conn, at.outbox.clone());
        lobby.list()
    }

    /// Ends [`Hub::watch`].
    pub fn unwatch(&self, conn: ConnId) {
        lock(&self.lobby).unwatch(conn);
    }

    // --- Time ----------------------------------------------------------------------------------

    /// Does what time brings: people whose grace is over leave, watchers learn of changes, what is
    /// no longer needed is forgotten.
    pub fn tick(&self) {
        self.shards.tick(self);
        let change = lock(&self.lobby).take_change();
        if let Some((rooms, watchers)) = change {
            let frame = ServerFrame::RoomChange(rooms);
            shards::push_to_all(watchers.iter(), &frame);
        }
    }

    /// Commits what waits and closes the store.
    pub fn close(&self) {
        self.store.close();
    }

    // --- Parts ---------------------------------------------------------------------------------

    async fn find_or_create(&self, account: &Account, name: RoomName) -> Result<RoomRow, Refusal> {
        if let Some(room) = self.store.find_room(&name).await? {
            return Ok(room);
        }
        account.spend_room()?;
        Ok(self.store.create_room(name).await?)
    }

    /// Seats a connection behind the gate. A guest whose name is taken gets another number.
    fn seat(&self, account: &Account, at: &Registered, room: &RoomRow) -> Result<(), Refusal> {
        let mut name = lock(&account.name);
        let enter = |nick: &Nick| Input::Enter {
            conn: at.conn,
            link: at.outbox.clone(),
            user: account.id,
            nick: nick.clone(),
            room: room.id,
            name: room.name.clone(),
        };
        for _ in 0..RENUMBERINGS {
            match self.shards.handle(room.id, enter(&name), self) {
                Ok(()) => return Ok(()),
                // Somebody may take the new number first: then there is another.
                Err(code) => *name = self.renumber(account, &name, room, code)?,
            }
        }
        Err(ErrorCode::NickTaken.into())
    }

    /// Another number for a guest whose name clashes in a room, announced where they are already.
    fn renumber(&self, account: &Account, old: &Nick, room: &RoomRow, clash: ErrorCode) -> Result<Nick, Refusal> {
        if !is_guest_name(&old.text) {
            return Err(clash.into());
        }
        for attempt in 0..RENUMBERINGS {
            // Four digits while they last, then more.
            let range = if attempt < RENUMBERINGS / 2 { 9_000 } else { 9_000_000 };
            let nick = Nick::unchecked(guest_name(1_000 + random::below(range)));
            let free = self.shards.name_conflict(Some(room.id), account.id, &nick.key).is_none();
            if free && self.shards.rename(account.id, &nick, None, self).is_ok() {
                return Ok(nick);
            }
        }
        Err(clash.into())
    }

    /// Hands a message to the store; what comes of it reaches the room's shard. Returns the refusal
    /// when it was not taken.
    fn append(
        &self,
        author: Author<Link>,
        room: RoomRow,
        user: User,
        key: MessageKey,
        text: String,
    ) -> Option<Input<Link>> {
        let id = room.id;
        let stored = move |author, outcome: Result<_, Refusal>| Input::Stored { author, room: id, outcome };
        let (hub, waiting) = (self.myself.clone(), author.clone());
        let done = Box::new(move |outcome: Result<_, AppendError>| {
            if let Some(hub) = hub.upgrade() {
                let outcome = outcome.map_err(|error| ErrorCode::from(error).into());
                // Stored is never refused.
                let _ = hub.shards.handle(id, stored(waiting, outcome), &*hub);
            }
        });
        let taken = self.store.append(Append { room, user, key, text, done });
        taken.err().map(|error| stored(author, Err(error.into())))
    }

    fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }
}

impl Effects for Hub {
    fn carry_out(&self, output: Output<Link>) -> Option<Input<Link>> {
        match output {
            Output::Append { author, room, name, user, key, text } => {
                return self.append(author, RoomRow { id: room, name }, user, key, text);
            }
            Output::Answer { ticket, result } => {
                if let Some(form) = lock(&self.forms).remove(&ticket) {
                    // Whoever posted may have gone away.
                    let _ = form.send(result);
                }
            }
            Output::Count { room, name, count } => lock(&self.lobby).count(room, name, count),
            // Shards send by themselves.
            Output::Send { .. } | Output::Broadcast { .. } | Output::Close { .. } => {}
        }
        None
    }

    fn count_call(&self, room: RoomId, count: u64) {
        lock(&self.lobby).call(room, count);
    }
}

/// Puts a frame into an outbox.
pub fn send(link: &Link, frame: &ServerFrame) {
    link.push(frame.encode().into(), Waits::of(frame));
}

/// Answers a command that had an id.
pub fn acknowledge(link: &Link, id: Option<u64>, ack: Ack) {
    if let Some(id) = id {
        send(link, &ServerFrame::Ack { id, ack });
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable => ErrorCode::StoreUnavailable.into(),
            StoreError::Busy => Self { retry_after_ms: Some(1_000), ..ErrorCode::RateLimited.into() },
        }
    }
}
