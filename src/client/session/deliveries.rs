//! Sending the commands of the queue [`super::outgoing`], and their answers. Pure.

use super::Session;
use super::outgoing::Outgoing;
use super::refusal::{DEFAULT_RETRY_MS, Recovery, recovery};
use super::request::PendingRequest;
use crate::protocol::Refusal;

impl Session {
    /// Sends the commands that may be sent now.
    pub(super) fn send_outgoing(&mut self, now: u64) {
        while self.is_online()
            && let Some(command) = self.outgoing.start_next(now, self.requests.next_id())
        {
            self.send(command, PendingRequest::Outgoing);
        }
    }

    /// A command of the queue was acknowledged.
    pub(super) fn outgoing_accepted(&mut self, now: u64, id: u64) {
        self.outgoing.accepted(now);
        self.outgoing_settled(id);
    }

    /// A command of the queue was refused. What is out of date, such as a signal to a peer that has left, is dropped.
    pub(super) fn outgoing_refused(&mut self, now: u64, id: u64, refusal: &Refusal) {
        match recovery(refusal) {
            Recovery::RateLimit | Recovery::Store => {
                let retry_after_ms = refusal.retry_after_ms.unwrap_or(DEFAULT_RETRY_MS);
                self.outgoing.refused(now, id, retry_after_ms, self.rng.next());
            }
            Recovery::Quota | Recovery::EnterRoom | Recovery::Never => self.outgoing_settled(id),
        }
    }

    fn outgoing_settled(&mut self, id: u64) {
        // The user may have joined again meanwhile.
        if let Some(Outgoing::LeaveCall(room)) = self.outgoing.settle(id)
            && let Some((name, room)) = self.room_with_id(room)
            && room.needs_to_join_call()
        {
            self.join_call(&name);
        }
    }
}
