//! The facts about an export, which every format tells in its own way.

use crate::i18n::Locale;
use crate::server::history::Extent;
use crate::server::id::RoomRow;

/// The facts about an export.
#[derive(Clone, Debug)]
pub(in crate::server) struct About {
    /// The room.
    pub(in crate::server) room: RoomRow,
    /// The epoch that `extent` counts in. A backup has none until a server uses it.
    pub(in crate::server) epoch: Option<String>,
    /// The messages of the room at the start.
    pub(in crate::server) extent: Extent,
    /// The time of the start, in milliseconds since 1970 UTC.
    pub(in crate::server) at: u64,
    /// The language of the texts around the messages.
    pub(in crate::server) locale: Locale,
}
