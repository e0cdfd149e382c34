//! The hub: rooms, the people in them, and the messages between them.
//!
//! The path of a message is a straight line: [`crate::server::session`] → [`posting`] → the store → [`fan_out`] → [`core`] →
//! [`outbox`] → the socket. [`shards`] drives the state machines [`core`] (rooms) and
//! [`crate::server::call::signal`] (calls) under a lock for each core of the machine.
//!
//! | Module | Job |
//! |---|---|
//! | [`connections`] | numbers and outboxes of connections |
//! | [`account`], [`address`] | users and networks in memory, and their budgets |
//! | [`price`], [`payer`], [`rate_limit`] | the cost of commands, and paying it |
//! | [`naming`] | nicknames: choosing, conflicts, guests |
//! | [`rooms`] | entering, leaving, history, snapshots for pages |
//! | [`search`] | searches in a room, and in all rooms of a user |
//! | [`posting`] | admission of messages and changes |
//! | [`fan_out`] | from a commit to the outboxes |
//! | [`tail`], [`recent_changes`] | the order and the recent entries of a room's log |
//! | [`removal`], [`purger`] | expiry; the steps of purges |
//! | [`lobby`] | the list of rooms |
//! | [`my_rooms`], [`reading`] | the lists of users' own rooms, and what they have read |
//! | [`calls`] | call signalling |

pub mod account;
pub mod address;
mod calls;
mod connections;
pub mod core;
mod fan_out;
pub mod lobby;
pub mod my_rooms;
mod naming;
pub mod outbox;
pub mod output;
pub mod payer;
mod posting;
pub mod price;
pub mod purger;
pub mod rate_limit;
mod reading;
pub mod recent_changes;
mod removal;
mod rooms;
mod search;
mod shards;
pub mod tail;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::protocol::{Ack, RoomList, ServerFrame};
use crate::server::call::ice::IceSettings;
use crate::server::config::LimitSettings;
use crate::server::environment::Environment;
use crate::server::id::ConnId;
use crate::server::lock::lock;
use crate::server::storage::{Storage, Usage};
use account::Directory;
pub use connections::ConnectionHandle;
use connections::Connections;
use core::Effect;
use fan_out::FanOut;
use lobby::Lobby;
use outbox::{Flusher, Outbox};
pub use posting::NewPost;
use rate_limit::Quota;
use reading::Reading;
use rooms::RoomCache;
pub use rooms::RoomSnapshot;
use shards::{Context, Shards};

/// The interval between calls of [`Hub::tick`]. The list of rooms is sent at most this often.
pub const TICK: Duration = Duration::from_millis(500);

/// All rooms of this process and everyone in them.
#[derive(Debug)]
pub struct Hub {
    /// The users in memory.
    pub directory: Directory,
    /// The configured limits.
    pub limits: LimitSettings,
    ice: IceSettings,
    storage: Arc<dyn Storage>,
    environment: Arc<dyn Environment>,
    connections: Connections,
    rooms: RoomCache,
    /// Locked while a room is created.
    creating_room: tokio::sync::Mutex<()>,
    shards: Shards,
    fan_out: Arc<FanOut>,
    lobby: Mutex<Lobby<Arc<Outbox>>>,
    reading: Reading,
    flushers: Box<[Arc<Flusher>]>,
}

impl Hub {
    /// A hub over a store. `ice`: the servers that peers in calls are told about.
    pub fn new(
        storage: Arc<dyn Storage>,
        environment: Arc<dyn Environment>,
        limits: LimitSettings,
        ice: IceSettings,
    ) -> Arc<Self> {
        let shards = environment.shards().max(1);
        Arc::new(Self {
            directory: Directory::new(&limits, environment.clone()),
            connections: Connections::new(&limits),
            shards: Shards::new(shards, limits.buffers().tails),
            limits,
            ice,
            storage,
            environment,
            rooms: RoomCache::default(),
            creating_room: tokio::sync::Mutex::default(),
            fan_out: FanOut::new(shards),
            lobby: Mutex::default(),
            reading: Reading::default(),
            flushers: (0..shards).map(|_| Arc::default()).collect(),
        })
    }

    /// Starts the background tasks on the current runtime: fan-out and flushers. A simulator calls [`Hub::deliver`] and
    /// [`Outbox::take`] instead.
    pub fn spawn_workers(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let fan_out = (0..self.shard_count()).map(|shard| {
            let hub = self.clone();
            tokio::spawn(async move { hub.run_fan_out(shard).await })
        });
        let flushers = self.flushers.iter().map(|flusher| {
            let flusher = flusher.clone();
            tokio::spawn(async move { flusher.run().await })
        });
        fan_out.chain(flushers).collect()
    }

    /// The number of shards, and of [`Hub::run_fan_out`] workers.
    pub fn shard_count(&self) -> usize {
        self.flushers.len()
    }

    /// The clock and the random numbers.
    pub fn environment(&self) -> &Arc<dyn Environment> {
        &self.environment
    }

    /// The epoch that positions count in.
    pub fn epoch(&self) -> &str {
        self.storage.epoch()
    }

    /// The stored bytes and their quotas.
    pub fn usage(&self) -> Usage {
        self.storage.usage()
    }

    /// The flusher for a connection whose outbox has a direct socket.
    pub fn flusher(&self, conn: ConnId) -> Arc<Flusher> {
        self.flushers[conn.0 as usize % self.flushers.len()].clone()
    }

    /// Backpressure: waits while outboxes fill faster than they are written.
    pub async fn wait_for_capacity(&self) {
        for flusher in &self.flushers {
            flusher.wait_for_capacity().await;
        }
    }

    /// The quota of control frames for one connection.
    pub fn control_frame_quota(&self) -> Quota {
        Quota::per_second(self.limits.signals_per_second, self.limits.signal_burst)
    }

    /// The rooms with people in them.
    pub fn rooms(&self) -> RoomList {
        lock(&self.lobby).list()
    }

    /// Answers a connection with the list of rooms, and sends it every change from now on.
    pub fn watch(&self, conn: &ConnectionHandle, id: Option<u64>) {
        let mut lobby = lock(&self.lobby);
        let list = lobby.watch(conn.id, conn.outbox.clone());
        // With the lobby locked, so that no change comes before the list. Encoded later, because shards wait for it.
        if let Some(id) = id {
            let size = list.rooms.iter().map(|room| room.name.len() + 40).sum();
            conn.outbox.push_deferred(size, move || ServerFrame::Ack { id, ack: Ack::Rooms(list) }.encode());
        }
    }

    /// Ends [`Hub::watch`].
    pub fn unwatch(&self, conn: ConnId) {
        lock(&self.lobby).unwatch(conn);
    }

    /// Lets time pass: users leave whose grace period is over, watchers receive the changed lists of rooms, empty rooms
    /// leave memory.
    pub fn tick(&self) {
        self.shards.tick(self);
        let change = lock(&self.lobby).take_change();
        if let Some(change) = change {
            shards::push_to_all(change.lists_to.iter(), &ServerFrame::RoomChange(change.list));
            shards::push_to_all(change.updates_to.iter(), &ServerFrame::RoomUpdate(change.update));
        }
        self.reading.tell();
    }

    /// Waits until every post that was admitted has been answered and delivered. New posts wait meanwhile.
    pub async fn settle(&self) {
        self.fan_out.settle().await;
    }

    /// Commits the queued writes, delivers their outcomes, and closes the store.
    pub fn close(&self) {
        self.storage.close();
        self.deliver();
        self.fan_out.close();
    }
}

impl Context for Hub {
    fn now(&self) -> Instant {
        self.environment.now()
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::MemberCount(room, count) => lock(&self.lobby).count(room.id, room.name, count),
            Effect::CallCount(room, count) => lock(&self.lobby).call(room, count),
            Effect::Fetch(room, after) => self.fan_out.push_gap(room, after),
            Effect::Unloaded(room) => self.rooms.remove(&room),
        }
    }
}
