//! Answers to commands.

use serde::Serialize;

use super::envelope::Empty;
use crate::protocol::call::JoinCallAck;
use crate::protocol::change::ChangeAck;
use crate::protocol::chat::{EnterRoomAck, HelloAck, HistoryAck, MembersAck, NicknameAck, PinsAck, PostAck, RoomList};
use crate::protocol::codec::{DecodeError, FromJson, Json, Reading};
use crate::protocol::my_rooms::MyRooms;
use crate::protocol::search::SearchAck;

/// Declares [`Ack`] and [`AckKind`], one answer per line.
macro_rules! acks {
    ($($(#[$meta:meta])* $Variant:ident($Payload:ty),)*) => {
        /// The payload of an `ack`. Its type is not on the wire: it follows from the command that is answered
        /// ([`Command::ack_kind`](super::Command::ack_kind)).
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Ack {
            $($(#[$meta])* $Variant($Payload),)*
        }

        /// The kind of an [`Ack`], needed to decode it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum AckKind {
            $($(#[$meta])* $Variant,)*
        }

        impl AckKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$Variant,)*];
        }

        impl Ack {
            pub(super) fn decode(kind: AckKind, payload: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
                match kind { $(AckKind::$Variant => <$Payload>::from_json(payload, reading).map(Self::$Variant),)* }
            }
        }
    };
}

acks! {
    /// To `hello`.
    Hello(HelloAck),
    /// To commands whose answer carries nothing.
    Empty(Empty),
    /// To `nickname`.
    Nickname(NicknameAck),
    /// To `enter_room`.
    EnterRoom(EnterRoomAck),
    /// To `members`.
    Members(MembersAck),
    /// To `new_message`.
    NewMessage(PostAck),
    /// To `edit_message`, `delete_message`, `react` and `pin_message`.
    Change(ChangeAck),
    /// To `pins`.
    Pins(PinsAck),
    /// To `history`.
    History(HistoryAck),
    /// To `search`.
    Search(SearchAck),
    /// To `watch_rooms`.
    Rooms(RoomList),
    /// To `watch_my_rooms`.
    MyRooms(MyRooms),
    /// To `join_call`.
    JoinCall(JoinCallAck),
}
