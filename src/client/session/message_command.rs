//! The commands that change a message. Pure.

use crate::protocol::change::{DeleteMessage, EditMessage, MessageRef, PinMessage, React};
use crate::protocol::{Command, RoomId};

/// A change of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum MessageCommand {
    /// Replace the text.
    Edit(EditMessage),
    /// Delete the message.
    Delete(DeleteMessage),
    /// Add a reaction, or take it back.
    React(React),
    /// Pin the message, or unpin it.
    Pin(PinMessage),
}

impl MessageCommand {
    /// The room of the message.
    pub fn room(&self) -> RoomId {
        match self {
            Self::Edit(edit) => edit.room,
            Self::Delete(delete) => delete.room,
            Self::React(react) => react.room,
            Self::Pin(pin) => pin.room,
        }
    }

    /// The message.
    pub fn target(&self) -> &MessageRef {
        match self {
            Self::Edit(edit) => &edit.target,
            Self::Delete(delete) => &delete.target,
            Self::React(react) => &react.target,
            Self::Pin(pin) => &pin.target,
        }
    }
}

impl From<MessageCommand> for Command {
    fn from(command: MessageCommand) -> Self {
        match command {
            MessageCommand::Edit(edit) => Self::EditMessage(edit),
            MessageCommand::Delete(delete) => Self::DeleteMessage(delete),
            MessageCommand::React(react) => Self::React(react),
            MessageCommand::Pin(pin) => Self::PinMessage(pin),
        }
    }
}
