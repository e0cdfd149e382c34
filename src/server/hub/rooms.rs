//! Rooms: entering, leaving, history, snapshots for pages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::account::Account;
use super::core::{Enter, Input, SeatId};
use super::naming::RENUMBERINGS;
use super::payer::Payer;
use super::{ConnectionHandle, Hub};
use crate::protocol::{
    CloseCode, ErrorCode, HistoryAck, MAX_HISTORY, MAX_MEMBERS, MembersAck, Message, Peer, PinsAck, Position,
    RECENT_MESSAGES, Refusal,
};
use crate::server::history::{Extent, History, owned};
use crate::server::id::{ConnId, RoomId, RoomRow};
use crate::server::lock::lock;
use crate::server::name_key::{Nick, RoomName};

/// The number of reads for one `enter_room`. There is more than one only if so much is posted or changed during a read
/// that the room's tail does not reach back to its result.
const MAX_READS: usize = 3;

/// The rooms in memory.
#[derive(Debug, Default)]
pub(super) struct RoomCache(Mutex<CachedRooms>);

#[derive(Debug, Default)]
struct CachedRooms {
    by_id: HashMap<RoomId, RoomRow>,
    by_folded_name: HashMap<String, RoomId>,
}

impl RoomCache {
    fn find(&self, name: &RoomName) -> Option<RoomRow> {
        let cached = lock(&self.0);
        cached.by_id.get(cached.by_folded_name.get(&name.folded)?).cloned()
    }

    fn find_with_id(&self, id: RoomId) -> Option<RoomRow> {
        lock(&self.0).by_id.get(&id).cloned()
    }

    fn insert(&self, room: &RoomRow) {
        // Canonical names are valid.
        let Ok(name) = RoomName::parse(&room.name) else { return };
        let mut cached = lock(&self.0);
        cached.by_folded_name.insert(name.folded, room.id);
        cached.by_id.insert(room.id, room.clone());
    }

    /// Removes a room that has left memory.
    pub(super) fn remove(&self, room: &RoomRow) {
        let Ok(name) = RoomName::parse(&room.name) else { return };
        let mut cached = lock(&self.0);
        cached.by_folded_name.remove(&name.folded);
        cached.by_id.remove(&room.id);
    }
}

/// A room as a page shows it.
#[derive(Debug, Default)]
pub struct RoomSnapshot {
    /// The id.
    pub id: RoomId,
    /// The canonical name.
    pub name: Arc<str>,
    /// The `seq` of the last message; 0 for an empty room.
    pub head: u64,
    /// The revision of the last change that the messages contain; 0 if there is none.
    pub rev: u64,
    /// The `seq` of the oldest message that is kept; `head` + 1 if none is. 0 counts as 1.
    pub floor: u64,
    /// Messages, oldest first.
    pub messages: Vec<Message>,
    /// There are older messages.
    pub more: bool,
    /// The first people in the room, in the order of their arrival.
    pub people: MembersAck,
    /// The peers in the room's call.
    pub call: Vec<Peer>,
}

impl Hub {
    /// Lets a connection enter a room: the one with an id, if the client gave one and it exists, otherwise the one with a
    /// name, which is created if necessary. The answer to the frame with this `id` goes to the connection's outbox, in
    /// order with the room's other frames.
    ///
    /// # Errors
    /// `ROOM_QUOTA`, `NICK_TAKEN`, `NICK_CONFUSABLE`, `STORE_UNAVAILABLE`.
    pub async fn enter(
        &self,
        payer: &Payer,
        conn: &ConnectionHandle,
        (room, name): (Option<RoomId>, RoomName),
        after: Option<Position>,
        id: Option<u64>,
    ) -> Result<RoomRow, Refusal> {
        let known = match room {
            Some(room) => self.find_with_id(room).await?,
            None => None,
        };
        let (room, after) = match known {
            Some(known) => (known, after),
            // A position in a room that does not exist means nothing in another.
            None => (self.find_or_create(payer, name).await?, after.filter(|_| room.is_none())),
        };
        self.take_seat(&payer.account, conn, &room, after.clone(), id)?;
        self.rooms.insert(&room);
        self.load_history(conn, &room, after).await?;
        self.reading.entered(payer.account.id, conn.id, room.id);
        Ok(room)
    }

    /// Reads the history for a seat that waits for it.
    async fn load_history(
        &self,
        conn: &ConnectionHandle,
        room: &RoomRow,
        after: Option<Position>,
    ) -> Result<(), Refusal> {
        let seat = SeatId { conn: conn.id, room: room.id };
        for _ in 0..MAX_READS {
            if !self.shards.of(room.id).is_loading(seat) {
                return Ok(());
            }
            match self.storage.history_for(room.clone(), after.clone()).await {
                Ok(history) => self.shards.handle(room.id, Input::HistoryLoaded(seat, history), self)?,
                Err(error) => {
                    self.shards.handle(room.id, Input::HistoryFailed(seat), self)?;
                    return Err(error.into());
                }
            }
        }
        if self.shards.of(room.id).is_loading(seat) {
            // The reader comes back with its position.
            conn.outbox.close(CloseCode::SlowConsumer);
        }
        Ok(())
    }

    /// Takes a connection out of a room.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`.
    pub fn leave(&self, account: &Account, conn: ConnId, room: &RoomRow) -> Result<(), Refusal> {
        self.shards.leave(SeatId { conn, room: room.id }, self)?;
        self.reading.left(account.id, conn, room.id);
        Ok(())
    }

    /// Tells the others in a room that a user is typing.
    ///
    /// # Errors
    /// `NOT_IN_ROOM`.
    pub fn typing(&self, conn: ConnId, room: &RoomRow) -> Result<(), Refusal> {
        Ok(self.shards.handle(room.id, Input::Typing(SeatId { conn, room: room.id }), self)?)
    }

    /// A page of the people in a room.
    ///
    /// # Errors
    /// `LIMIT_OUT_OF_RANGE`.
    pub fn members(&self, room: &RoomRow, after: u64, limit: u64) -> Result<MembersAck, Refusal> {
        if !(1..=MAX_MEMBERS).contains(&limit) {
            return Err(ErrorCode::LimitOutOfRange.into());
        }
        Ok(self.shards.of(room.id).member_page(room.id, after, limit))
    }

    /// Older messages of a room.
    ///
    /// # Errors
    /// `LIMIT_OUT_OF_RANGE`, `STORE_UNAVAILABLE`.
    pub async fn history(&self, room: RoomRow, before: u64, limit: u64) -> Result<HistoryAck, Refusal> {
        if !(1..=MAX_HISTORY).contains(&limit) {
            return Err(ErrorCode::LimitOutOfRange.into());
        }
        let (messages, more) = self.storage.history_before(room, before, limit).await?;
        Ok(HistoryAck { messages: owned(messages), more })
    }

    /// The pinned messages of a room.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn pins(&self, room: RoomRow) -> Result<PinsAck, Refusal> {
        Ok(PinsAck { messages: self.storage.pins(room).await? })
    }

    /// The same for a page, by the room's name. A room that does not exist has none.
    ///
    /// # Errors
    /// As [`Hub::pins`].
    pub async fn pins_by_name(&self, name: &RoomName) -> Result<PinsAck, Refusal> {
        let Some(room) = self.find(name).await? else { return Ok(PinsAck::default()) };
        self.pins(room).await
    }

    /// A room as a page shows it, if it exists: its latest messages, or those before a `seq`.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn snapshot(&self, name: &RoomName, before: Option<u64>) -> Result<Option<RoomSnapshot>, Refusal> {
        let Some(room) = self.find(name).await? else { return Ok(None) };
        let recent = self.shards.of(room.id).recent_history(room.id);
        let mut history = match recent {
            Some(history) => history,
            None => self.storage.history_for(room.clone(), None).await?,
        };
        let (messages, more) = match before {
            None => (std::mem::take(&mut history.messages), history.more),
            Some(before) => self.storage.history_before(room.clone(), before, RECENT_MESSAGES as u64).await?,
        };
        let shard = self.shards.of(room.id);
        let (people, call) = (shard.member_page(room.id, 0, MAX_MEMBERS), shard.peers(room.id));
        let History { head, rev, floor, .. } = history;
        Ok(Some(RoomSnapshot {
            id: room.id,
            name: room.name,
            head,
            rev,
            floor,
            messages: owned(messages),
            more,
            people,
            call,
        }))
    }

    /// A room and its messages that are kept, if the room exists. It is not created.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`, `RATE_LIMITED` if there are too many reads.
    pub async fn find_with_extent(&self, name: &RoomName) -> Result<Option<(RoomRow, Extent)>, Refusal> {
        let Some(room) = self.find(name).await? else { return Ok(None) };
        let extent = self.extent(room.clone()).await?;
        Ok(Some((room, extent)))
    }

    /// The messages of a room that are kept.
    ///
    /// # Errors
    /// As [`Hub::find_with_extent`].
    pub async fn extent(&self, room: RoomRow) -> Result<Extent, Refusal> {
        Ok(self.storage.extent(room).await?)
    }

    /// A page of messages with a `seq` above `after` and at most `up_to`, oldest first.
    ///
    /// # Errors
    /// As [`Hub::find_with_extent`].
    pub async fn history_between(&self, room: RoomRow, after: u64, up_to: u64) -> Result<Vec<Message>, Refusal> {
        Ok(self.storage.history_between(room, after, up_to).await?)
    }

    pub(super) async fn find(&self, name: &RoomName) -> Result<Option<RoomRow>, Refusal> {
        match self.rooms.find(name) {
            Some(room) => Ok(Some(room)),
            None => Ok(self.storage.find_room(name.clone()).await?),
        }
    }

    pub(super) async fn find_with_id(&self, id: RoomId) -> Result<Option<RoomRow>, Refusal> {
        match self.rooms.find_with_id(id) {
            Some(room) => Ok(Some(room)),
            None => Ok(self.storage.find_room_with_id(id).await?),
        }
    }

    pub(super) async fn find_or_create(&self, payer: &Payer, name: RoomName) -> Result<RoomRow, Refusal> {
        if let Some(room) = self.find(&name).await? {
            return Ok(room);
        }
        name.check_new()?;
        // One at a time: of many who follow a link to a new room, only the first pays for it.
        let _creating = self.creating_room.lock().await;
        if let Some(room) = self.find(&name).await? {
            return Ok(room);
        }
        payer.spend_room()?;
        Ok(self.storage.create_room(name).await?)
    }

    /// Gives a connection a seat. A guest whose name is taken gets another number.
    fn take_seat(
        &self,
        account: &Account,
        conn: &ConnectionHandle,
        room: &RoomRow,
        after: Option<Position>,
        id: Option<u64>,
    ) -> Result<(), Refusal> {
        let mut name = lock(&account.name);
        let enter = |nick: &Nick| {
            Input::Enter(Enter {
                conn: conn.id,
                outbox: conn.outbox.clone(),
                user: account.id,
                nick: nick.clone(),
                room: room.clone(),
                id,
                after: after.clone(),
            })
        };
        for _ in 0..RENUMBERINGS {
            match self.shards.handle(room.id, enter(&name), self) {
                Ok(()) => return Ok(()),
                // Another guest may take the new number first.
                Err(code) => *name = self.renumber(account, &name, room, code)?,
            }
        }
        Err(ErrorCode::NickTaken.into())
    }
}
