//! The room of a file.

use percent_encoding::percent_decode_str;

use crate::protocol::{ErrorCode, Refusal};
use crate::server::Server;
use crate::server::id::RoomRow;
use crate::server::name_key::RoomName;

/// The room of a file. The one place that decides who may read and upload its files: the readers of the room.
pub(super) async fn room(server: &Server, room: &str) -> Result<RoomRow, Refusal> {
    let name = percent_decode_str(room).decode_utf8().ok().and_then(|name| RoomName::parse(&name).ok());
    let found = server.hub.find_with_extent(&name.ok_or(ErrorCode::RoomNameInvalid)?).await?;
    found.map(|(room, _)| room).ok_or_else(|| ErrorCode::NotInRoom.into())
}
