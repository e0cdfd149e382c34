//! Connections and rooms, as the server knows them.

use std::sync::Arc;

pub use crate::protocol::RoomId;

/// A connection of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A room as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRow {
    /// Its id.
    pub id: RoomId,
    /// Its number in the store.
    pub number: i64,
    /// Its canonical name, as first entered.
    pub name: Arc<str>,
}
