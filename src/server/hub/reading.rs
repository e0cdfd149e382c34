//! The driver of the lists of users' own rooms and of their marks. [`my_rooms`](super::my_rooms) has the rules.

use std::sync::{Arc, Mutex};

use tokio::sync::{RwLock, RwLockReadGuard};

use super::Hub;
use super::connections::ConnectionHandle;
use super::my_rooms::{MyRooms, Update};
use super::outbox::Outbox;
use super::payer::Payer;
use crate::protocol::{
    Ack, ErrorCode, MAX_MY_ROOMS, MessageRef, MyRoom, MyRooms as MyRoomsAck, MyRoomsUpdate, Refusal, ServerFrame,
    UserId,
};
use crate::server::change::MentionsChanged;
use crate::server::id::{ConnId, RoomId, RoomRow};
use crate::server::lock::lock;
use crate::server::membership::{Mark, MarkChange, Membership};
use crate::server::storage::StoreError;

/// The most marks that are stored at once.
const MARKS: usize = 500;
/// The number of times that marks are stored before a list is read. There is more than one only if the user goes on.
const MAX_SAVES: usize = 3;
/// The most rounds of telling at a time. Between two, others get the lock.
const ROUNDS: usize = 20;

/// The lists of the users who watch theirs, and the marks of all users.
#[derive(Debug, Default)]
pub(super) struct Reading {
    lists: Mutex<MyRooms<Arc<Outbox>>>,
    /// Written while marks are being stored, read while a list is. So no mark can be stored after a list was read and
    /// forgotten before the list is there.
    saving: RwLock<()>,
}

impl Reading {
    /// A connection has entered a room.
    pub(super) fn entered(&self, user: UserId, conn: ConnId, room: RoomId) {
        lock(&self.lists).entered(user, conn, room);
    }

    /// A connection has left a room.
    pub(super) fn left(&self, user: UserId, conn: ConnId, room: RoomId) {
        lock(&self.lists).left(user, conn, room);
    }

    /// A message was stored.
    pub(super) fn committed(&self, author: UserId, room: &RoomRow, seq: u64) {
        let mut lists = lock(&self.lists);
        lists.committed(room.id, seq);
        lists.took_part(author, room, seq);
    }

    /// A message mentions users, and others not any more.
    pub(super) fn mentioned(&self, room: RoomId, seq: u64, MentionsChanged { added, removed }: &MentionsChanged) {
        if added.is_empty() && removed.is_empty() {
            return;
        }
        let mut lists = lock(&self.lists);
        added.iter().for_each(|user| lists.mentioned(*user, room, seq, true));
        removed.iter().for_each(|user| lists.mentioned(*user, room, seq, false));
    }

    /// The messages of a room before `floor` have expired.
    pub(super) fn expired(&self, room: RoomId, floor: u64) {
        lock(&self.lists).expired(room, floor);
    }

    /// A user takes part in a room, whose last message is `head`, without a message.
    pub(super) fn took_part(&self, user: UserId, room: &RoomRow, head: u64) {
        lock(&self.lists).took_part(user, room, head);
    }

    /// A connection has ended.
    pub(super) fn unwatch(&self, user: UserId, conn: ConnId) {
        lock(&self.lists).unwatch(user, conn);
    }

    /// Tells watchers what has changed.
    pub(super) fn tell(&self) {
        for _ in 0..ROUNDS {
            // Pushed with the lists locked, so that a connection that begins to watch gets no older numbers after its list.
            let mut lists = lock(&self.lists);
            let updates = lists.take_updates();
            if updates.is_empty() {
                return;
            }
            for Update { to, update } in updates {
                if update != MyRoomsUpdate::default() {
                    super::shards::push_to_all(to.iter(), &ServerFrame::MyRoomsChanged(update));
                }
            }
        }
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
        if watch(&mut lock(&self.reading.lists)) {
            return Ok(());
        }
        let (memberships, _loading) = self.memberships(user).await?;
        let mut lists = lock(&self.reading.lists);
        lists.loaded(user, memberships);
        watch(&mut lists);
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
        let (memberships, _loading) = self.memberships(user).await?;
        let memberships = lock(&self.reading.lists).with_unsaved(user, memberships);
        let mut rooms: Vec<_> = memberships.into_iter().map(MyRoom::from).collect();
        rooms.sort_unstable_by(MyRoom::order);
        Ok(rooms)
    }

    /// The rooms in the list of a user.
    pub(super) async fn own_rooms(&self, user: UserId) -> Result<Vec<RoomRow>, Refusal> {
        let (memberships, _loading) = self.memberships(user).await?;
        let memberships = lock(&self.reading.lists).with_unsaved(user, memberships);
        Ok(memberships.into_iter().map(|membership| membership.room).collect())
    }

    /// The stored list of a user, which has all earlier marks. Later ones can only be added while the guard exists.
    async fn memberships(&self, user: UserId) -> Result<(Vec<Membership>, Loading<'_>), StoreError> {
        for _ in 0..MAX_SAVES {
            let loading = Loading::begin(&self.reading).await;
            // Of a room that only a mark names, the last message is not known.
            if !lock(&self.reading.lists).has_unsaved(user) {
                return Ok((self.storage.memberships(user).await?, loading));
            }
            drop(loading);
            self.save_marks().await?;
        }
        Err(StoreError::Busy)
    }

    /// Adds a room to the list of a user. Without effect if it is in it.
    ///
    /// # Errors
    /// `ROOM_QUOTA` if the list is full, `SERVER_FULL`, `STORE_UNAVAILABLE`, `RATE_LIMITED` if there are too many writes.
    pub async fn keep_room(&self, user: UserId, room: &RoomRow) -> Result<(), Refusal> {
        let rooms = self.my_rooms(user).await?;
        if rooms.iter().any(|own| own.room == room.id) {
            return Ok(());
        }
        if rooms.len() >= MAX_MY_ROOMS {
            return Err(ErrorCode::RoomQuota.into());
        }
        let head = self.storage.extent(room.clone()).await?.head;
        self.storage.save_marks(vec![Mark { user, room: room.id, change: MarkChange::Join(head) }]).await?;
        self.reading.took_part(user, room, head);
        Ok(())
    }

    /// Removes a room from the list of a user. Without effect if it is not in it.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`, `RATE_LIMITED` if there are too many reads or writes.
    pub async fn forget_room(&self, user: UserId, room: RoomId) -> Result<(), Refusal> {
        let Some(room) = self.find_with_id(room).await? else { return Ok(()) };
        self.storage.save_marks(vec![Mark { user, room: room.id, change: MarkChange::Leave }]).await?;
        lock(&self.reading.lists).removed(user, &room);
        Ok(())
    }

    /// Notes how far a user has read a room.
    ///
    /// # Errors
    /// `EPOCH_CHANGED`.
    pub fn mark_read(&self, user: UserId, room: &RoomRow, target: &MessageRef) -> Result<(), Refusal> {
        let seq = self.seq_of(target)?;
        lock(&self.reading.lists).read(user, room, seq);
        Ok(())
    }

    /// Stores what users have read since the last call. Called every few seconds: a process that is killed loses the marks
    /// since then.
    ///
    /// # Errors
    /// The marks are kept.
    pub async fn save_marks(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.reading.saving.write().await;
        loop {
            let marks = lock(&self.reading.lists).take_marks(MARKS);
            if marks.is_empty() {
                return Ok(());
            }
            let is_last = marks.len() < MARKS;
            let saved = match self.storage.save_marks(marks).await {
                // Without the rooms for which there is no space.
                Ok(()) | Err(StoreError::Full) => Ok(()),
                Err(error @ (StoreError::Busy | StoreError::Unavailable)) => Err(error),
            };
            lock(&self.reading.lists).saved(saved.is_ok());
            if is_last || saved.is_err() {
                return saved;
            }
        }
    }
}

/// A list that is being read.
struct Loading<'a> {
    lists: &'a Mutex<MyRooms<Arc<Outbox>>>,
    _no_saving: RwLockReadGuard<'a, ()>,
}

impl<'a> Loading<'a> {
    async fn begin(Reading { lists, saving }: &'a Reading) -> Self {
        let _no_saving = saving.read().await;
        lock(lists).begin_loading();
        Self { lists, _no_saving }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        lock(self.lists).end_loading();
    }
}
