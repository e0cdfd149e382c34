//! The user as other users see them.

use super::codec::wire;
use super::id::UserId;

wire! {
    /// A user as other users see them.
    pub struct User {
        /// Identifies the user. Two users may have the same nickname, never the same id.
        pub id: UserId,
        /// In NFC. Unique among the users of one room, not over all rooms.
        pub nickname: String,
    }
}
