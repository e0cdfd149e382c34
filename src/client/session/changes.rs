//! Changes of messages: edits, deletions, reactions and pins, by this user and by others. Pure.
//!
//! A change of this user is sent once. If its answer is lost with the connection, the page may send it again: the second
//! one has no effect.

use super::Session;
use super::event::Update;
use super::message_command::MessageCommand;
use super::request::PendingRequest;
use crate::protocol::{Feature, MessageChange, Refusal};

impl Session {
    /// Sends a change of this user.
    pub(super) fn change_message(&mut self, command: MessageCommand) {
        let is_entered = self.rooms.get(command.room()).is_some_and(|room| room.entered);
        if is_entered && self.features.has(command.feature()) {
            let mut sent = command.clone();
            if let MessageCommand::Edit(edit) = &mut sent {
                edit.mentions.take_if(|_| !self.features.has(Feature::Mentions));
            }
            self.send(sent.into(), PendingRequest::Change(command));
        } else {
            self.change_ended(command, Err(None));
        }
    }

    /// A change of this user was accepted, refused, or lost with the connection.
    pub(super) fn change_ended(&mut self, command: MessageCommand, result: Result<(), Option<Refusal>>) {
        self.emit(Update::ChangeEnded { command, result });
    }

    /// A message of a room was changed.
    pub(super) fn message_changed(&mut self, change: MessageChange) {
        let Some(room) = self.rooms.get_mut(&change.room) else { return };
        let Some(position) = room.position.as_mut().filter(|_| room.entered) else { return };
        let known = position.rev.unwrap_or(0);
        if change.state.rev <= known {
            // A duplicate.
        } else if change.state.rev == known + 1 {
            position.rev = Some(change.state.rev);
            self.emit(Update::Changed(change));
        } else {
            // As a gap between messages: it should not happen.
            room.entered = false;
            self.enter(&change.room);
        }
    }
}
