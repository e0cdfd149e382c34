//! Requests that wait for their `ack` or `error`. Pure.

use std::collections::BTreeMap;

use super::event::Search;
use super::message_command::MessageCommand;
use super::unsent_message::UnsentMessage;
use crate::protocol::{AckKind, ClientFrame, Command};

/// The purpose of a request, kept until its answer arrives.
#[derive(Clone, Debug)]
pub(super) enum PendingRequest {
    Hello,
    Ping {
        sent_at: u64,
    },
    Enter {
        room: String,
    },
    Post(UnsentMessage),
    Change(MessageCommand),
    DeleteOwn {
        room: String,
    },
    Rename,
    Older {
        room: String,
        before: u64,
    },
    Search(Search),
    Pins {
        room: String,
    },
    Members {
        room: String,
        after: u64,
    },
    WatchRooms,
    WatchMyRooms,
    JoinCall {
        room: String,
    },
    /// A command of the queue [`super::outgoing`].
    Outgoing,
    /// Nothing depends on the answer.
    Untracked,
}

/// All requests of one connection that are not answered yet, by their ids. Ids are never reused.
#[derive(Debug)]
pub(super) struct Requests {
    next_id: u64,
    pending: BTreeMap<u64, (AckKind, PendingRequest)>,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { next_id: 1, pending: BTreeMap::new() }
    }

    /// The id that the next request will get.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Registers a request; returns its encoded frame.
    pub(super) fn add(&mut self, command: Command, request: PendingRequest) -> String {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, (command.ack_kind(), request));
        ClientFrame { id: Some(id), command }.encode()
    }

    /// The kind of `ack` that answers the request with this id.
    pub(super) fn ack_kind(&self, id: u64) -> Option<AckKind> {
        self.pending.get(&id).map(|(kind, _)| *kind)
    }

    /// Removes the request that is answered.
    pub(super) fn take(&mut self, id: u64) -> Option<PendingRequest> {
        self.pending.remove(&id).map(|(_, request)| request)
    }

    /// Removes all requests, in the order in which they were made.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = PendingRequest> + use<> {
        std::mem::take(&mut self.pending).into_values().map(|(_, request)| request)
    }
}
