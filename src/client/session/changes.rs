//! Changes of messages: edits, deletions, reactions and pins, by this user and by others. Pure.
//!
//! A change of this user is sent once. If its answer is lost with the connection, the page may send it again: the second
//! one has no effect.

use super::Session;
use super::event::Update;
use super::message_command::MessageCommand;
use super::request::PendingRequest;
use crate::protocol::frame::InRoom;
use crate::protocol::{Command, MessageChange, Refusal};

impl Session {
    /// Sends a change of this user.
    pub(super) fn change_message(&mut self, command: MessageCommand) {
        if self.entered_room(command.room()).is_some() {
            self.send(command.clone().into(), PendingRequest::Change(command));
        } else {
            self.change_ended(command, Err(None));
        }
    }

    /// Asks the server to delete all messages of this user in a room.
    pub(super) fn delete_own(&mut self, room: String) {
        if let Some(id) = self.entered_id(&room) {
            self.send(Command::DeleteMessages(InRoom { room: id }), PendingRequest::DeleteOwn { room });
        } else {
            self.emit(Update::OwnDeletion { room, result: Err(None) });
        }
    }

    /// A change of this user was accepted, refused, or lost with the connection.
    pub(super) fn change_ended(&mut self, command: MessageCommand, result: Result<(), Option<Refusal>>) {
        self.emit(Update::ChangeEnded { command, result });
    }

    /// A message of a room was changed.
    pub(super) fn message_changed(&mut self, change: MessageChange) {
        let Some((name, room)) = self.entered_room(change.room) else { return };
        let Some(position) = &mut room.position else { return };
        if change.state.rev <= position.rev {
            // A duplicate.
        } else if change.state.rev == position.rev + 1 {
            position.rev = change.state.rev;
            self.emit(Update::Changed(change));
        } else {
            // As a gap between messages: it should not happen.
            room.entered = false;
            self.enter(&name);
        }
    }
}
