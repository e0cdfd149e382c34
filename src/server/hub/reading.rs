//! The driver of the lists of users' own rooms and of their marks. [`my_rooms`](super::my_rooms) has the rules.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Hub;
use super::connections::ConnectionHandle;
use super::my_rooms::{MyRooms, Update};
use super::outbox::Outbox;
use super::payer::Payer;
use crate::protocol::{
    Ack, ErrorCode, MAX_MY_ROOMS, Message, MessageRef, MyRoom, MyRooms as MyRoomsAck, MyRoomsUpdate, Refusal,
    ServerFrame, UserId,
};
use crate::server::id::{ConnId, RoomId, RoomRow};
use crate::server::lock::lock;
use crate::server::membership::{Mark, MarkChange};
use crate::server::storage::StoreError;

/// The most marks that are stored at once.
const MARKS: usize = 500;

/// The lists of the users who watch theirs.
#[derive(Debug)]
pub(super) struct Reading {
    lists: Mutex<MyRooms<Arc<Outbox>>>,
    /// Nobody watches a list, so that the path of a message need not take the lock.
    is_idle: AtomicBool,
    /// Locked while marks are being stored.
    saving: tokio::sync::Mutex<()>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { lists: Mutex::default(), is_idle: AtomicBool::new(true), saving: tokio::sync::Mutex::default() }
    }
}

impl Reading {
    fn change<T>(&self, change: impl FnOnce(&mut MyRooms<Arc<Outbox>>) -> T) -> T {
        let mut lists = lock(&self.lists);
        let result = change(&mut lists);
        self.is_idle.store(lists.is_idle(), Ordering::SeqCst);
        result
    }

    /// Does nothing while nobody watches a list.
    fn change_if_watched(&self, change: impl FnOnce(&mut MyRooms<Arc<Outbox>>)) {
        if !self.is_idle.load(Ordering::SeqCst) {
            self.change(change);
        }
    }

    /// A connection has entered a room.
    pub(super) fn entered(&self, user: UserId, conn: ConnId, room: RoomId) {
        self.change_if_watched(|lists| lists.entered(user, conn, room));
    }

    /// A connection has left a room.
    pub(super) fn left(&self, user: UserId, conn: ConnId, room: RoomId) {
        self.change_if_watched(|lists| lists.left(user, conn, room));
    }

    /// A message was stored.
    pub(super) fn committed(&self, room: RoomId, message: &Message) {
        self.change_if_watched(|lists| {
            lists.committed(room, message.seq);
            lists.posted(message.user.id, &RoomRow { id: room, name: message.room.as_str().into() }, message.seq);
        });
    }

    /// A user takes part in a room without a message.
    pub(super) fn took_part(&self, user: UserId, room: &RoomRow) {
        self.change_if_watched(|lists| lists.took_part(user, room));
    }

    /// A connection has ended.
    pub(super) fn unwatch(&self, user: UserId, conn: ConnId) {
        self.change_if_watched(|lists| lists.unwatch(user, conn));
    }

    /// Tells watchers what has changed.
    pub(super) fn tell(&self) {
        self.change_if_watched(|lists| {
            for Update { to, update: MyRoomsUpdate { rooms, removed } } in lists.take_updates() {
                if !rooms.is_empty() || !removed.is_empty() {
                    let frame = ServerFrame::MyRoomsChanged(MyRoomsUpdate { rooms, removed });
                    super::shards::push_to_all(to.iter(), &frame);
                }
            }
        });
    }
}

impl Hub {
    /// Answers a connection with the list of its user's own rooms, and sends it every change from now on. `seats`: the
    /// rooms that it is in.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`, `RATE_LIMITED` if there are too many reads.
    pub async fn watch_my_rooms(
        &self,
        payer: &Payer,
        conn: &ConnectionHandle,
        seats: Vec<RoomId>,
        id: Option<u64>,
    ) -> Result<(), Refusal> {
        let user = payer.account.id;
        let watch = |lists: &mut MyRooms<Arc<Outbox>>| {
            let is_known = lists.watch(user, conn.id, conn.outbox.clone(), seats.iter().copied());
            if let (true, Some(id)) = (is_known, id) {
                // With the lists locked, so that no change comes before the answer. Encoded later.
                let rooms = lists.list(user).unwrap_or_default();
                let size = rooms.iter().map(|room| room.name.len() + 60).sum();
                let ack = move || ServerFrame::Ack { id, ack: Ack::MyRooms(MyRoomsAck { rooms }) }.encode();
                conn.outbox.push_deferred(size, ack);
            }
            is_known
        };
        if self.reading.change(watch) {
            return Ok(());
        }
        self.reading.change(MyRooms::begin_loading);
        // Ends also if the caller gives up.
        let mut loading = Loading { reading: &self.reading, is_over: false };
        let memberships = self.storage.memberships(user).await?;
        loading.is_over = true;
        self.reading.change(|lists| {
            lists.loaded(user, memberships);
            watch(lists);
        });
        Ok(())
    }

    /// The list of a user's own rooms, for a page.
    ///
    /// # Errors
    /// As [`Hub::watch_my_rooms`].
    pub async fn my_rooms(&self, user: UserId) -> Result<Vec<MyRoom>, Refusal> {
        if let Some(rooms) = lock(&self.reading.lists).list(user) {
            return Ok(rooms);
        }
        let memberships = self.storage.memberships(user).await?;
        let rooms = memberships.into_iter().map(|membership| MyRoom {
            name: membership.room.name.to_string(),
            head: membership.head,
            read: membership.read.min(membership.head),
        });
        Ok(rooms.collect())
    }

    /// Adds a room to the list of a user, or removes it.
    ///
    /// # Errors
    /// `ROOM_QUOTA` if the list is full, `SERVER_FULL`, `STORE_UNAVAILABLE`, `RATE_LIMITED` if there are too many writes.
    pub async fn keep_room(&self, user: UserId, room: &RoomRow, on: bool) -> Result<(), Refusal> {
        let head = self.storage.head(room.clone()).await?;
        if on && self.my_rooms(user).await?.len() >= MAX_MY_ROOMS {
            return Err(ErrorCode::RoomQuota.into());
        }
        if !on {
            self.reading.change(|lists| lists.drop_marks(user, room.id));
        }
        let change = if on { MarkChange::Join(head) } else { MarkChange::Leave };
        self.storage.save_marks(vec![Mark { user, room: room.id, change }]).await?;
        self.reading.change(|lists| if on { lists.kept(user, room, head) } else { lists.removed(user, room) });
        Ok(())
    }

    /// Removes a room from the list of a user, by its name. Without effect if it is not in it.
    ///
    /// # Errors
    /// As [`Hub::keep_room`].
    pub async fn forget_room(&self, user: UserId, name: &crate::server::name_key::RoomName) -> Result<(), Refusal> {
        match self.find(name).await? {
            Some(room) => self.keep_room(user, &room, false).await,
            None => Ok(()),
        }
    }

    /// Notes how far a user has read a room.
    ///
    /// # Errors
    /// `EPOCH_CHANGED`.
    pub fn mark_read(&self, user: UserId, room: &RoomRow, target: &MessageRef) -> Result<(), Refusal> {
        let seq = self.seq_of(target)?;
        self.reading.change_if_watched(|lists| lists.read(user, room.id, seq));
        Ok(())
    }

    /// Stores what users have read since the last call. Called every few seconds: a process that is killed loses the marks
    /// since then.
    pub async fn save_marks(&self) {
        let _one_at_a_time = self.reading.saving.lock().await;
        loop {
            let marks = lock(&self.reading.lists).take_marks(MARKS);
            if marks.is_empty() {
                return;
            }
            let is_last = marks.len() < MARKS;
            let is_saved = match self.storage.save_marks(marks).await {
                // Without the rooms for which there is no space.
                Ok(()) | Err(StoreError::Full) => true,
                Err(StoreError::Busy | StoreError::Unavailable) => false,
            };
            self.reading.change(|lists| lists.saved(is_saved));
            if is_last || !is_saved {
                return;
            }
        }
    }
}

/// A list that is being read.
struct Loading<'a> {
    reading: &'a Reading,
    is_over: bool,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.reading.change(MyRooms::load_failed);
        }
    }
}
