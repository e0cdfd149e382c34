//! Searches: in a room, and in all rooms of a user.

use super::Hub;
use crate::protocol::{ErrorCode, MAX_SEARCH, Place, Refusal, SearchAck, UserId};
use crate::server::id::RoomRow;
use crate::server::name_key::RoomName;
use crate::server::search::Query;

impl Hub {
    /// The newest messages of a room before a place that match.
    ///
    /// # Errors
    /// `LIMIT_OUT_OF_RANGE`, `STORE_UNAVAILABLE`.
    pub async fn search(
        &self,
        room: RoomRow,
        query: Query,
        before: Option<Place>,
        limit: u64,
    ) -> Result<SearchAck, Refusal> {
        self.search_in(vec![room], query, before, limit).await
    }

    /// The same for a page, by the room's name. A room that does not exist has no messages.
    ///
    /// # Errors
    /// As [`Hub::search`].
    pub async fn search_by_name(
        &self,
        name: &RoomName,
        query: Query,
        before: Option<Place>,
        limit: u64,
    ) -> Result<SearchAck, Refusal> {
        match self.find(name).await? {
            Some(room) => self.search(room, query, before, limit).await,
            None => Ok(SearchAck::default()),
        }
    }

    /// The newest messages before a place that match, in all rooms of a user's own list.
    ///
    /// # Errors
    /// As [`Hub::search`], `TEXT_EMPTY` if a search in many rooms cannot find such words: a single character of a script
    /// without spaces.
    pub async fn search_own(
        &self,
        user: UserId,
        query: Query,
        before: Option<Place>,
        limit: u64,
    ) -> Result<SearchAck, Refusal> {
        if query.expression_for_many_rooms().is_empty() {
            return Err(ErrorCode::TextEmpty.into());
        }
        let rooms = self.own_rooms(user).await?;
        let mut ack = self.search_in(rooms.clone(), query, before, limit).await?;
        for found in &mut ack.found {
            let room = rooms.iter().find(|room| room.id == found.message.room);
            found.name = room.map(|room| room.name.to_string());
        }
        Ok(ack)
    }

    async fn search_in(
        &self,
        rooms: Vec<RoomRow>,
        query: Query,
        before: Option<Place>,
        limit: u64,
    ) -> Result<SearchAck, Refusal> {
        if !(1..=MAX_SEARCH).contains(&limit) {
            return Err(ErrorCode::LimitOutOfRange.into());
        }
        Ok(self.storage.search(rooms, query, before, limit).await?)
    }
}
