//! Frames from the server: each is passed to the part of the session that it concerns. Pure.
//!
//! Every variant is listed, so that a new frame or request is a compile error here until it is handled.

use super::Session;
use super::event::{CallUpdate, SendStatus, Signal, Update};
use super::request::PendingRequest;
use crate::protocol::frame::FrameError;
use crate::protocol::{Ack, ErrorCode, NicknameAck, Reading, Refusal, ServerFrame, User};

impl Session {
    pub(super) fn received(&mut self, now: u64, text: &str) {
        self.heartbeat.received(now);
        self.transport_choice.received(now, &mut self.rng);
        let frame = match ServerFrame::decode(text, Reading::Tolerant, |id| self.requests.ack_kind(id)) {
            Ok(frame) => frame,
            Err(error) => return self.not_understood(now, error),
        };
        match frame {
            ServerFrame::Ack { id, ack } => {
                if let Some(request) = self.requests.take(id) {
                    self.acknowledged(now, id, request, ack);
                }
            }
            ServerFrame::Error { id, refusal } => {
                if let Some((id, request)) = id.and_then(|id| Some((id, self.requests.take(id)?))) {
                    self.refused(now, id, request, refusal);
                }
            }
            ServerFrame::NewMessage(message) => self.message(message),
            ServerFrame::MessageChanged(change) => self.message_changed(change),
            ServerFrame::MessagesExpired(expired) => self.emit(Update::Expired(expired)),
            ServerFrame::Welcome(presence) => self.emit(Update::Welcome(presence)),
            ServerFrame::Bye(presence) => {
                self.stopped_typing(presence.room, presence.user.id);
                self.emit(Update::Bye(presence));
            }
            ServerFrame::Crowd(crowd) => self.emit(Update::Crowd(crowd)),
            ServerFrame::Typing(typing) => self.started_typing(now, typing),
            ServerFrame::Nickname(renamed) => {
                if Some(renamed.user.id) == self.me {
                    self.emit(Update::Me(renamed.user.clone()));
                }
                self.emit(Update::Renamed(renamed));
            }
            ServerFrame::RoomChange(rooms) => self.listed(rooms),
            ServerFrame::RoomUpdate(update) => self.list_changed(&update),
            ServerFrame::MyRoomsChanged(update) => self.my_rooms_changed(&update),
            ServerFrame::GoingAway(away) => self.announced_delay_ms = Some(away.reconnect_in_ms),
            ServerFrame::CallJoined(presence) => {
                self.emit_call_in(presence.room, CallUpdate::PeerJoined(presence));
            }
            ServerFrame::CallLeft(presence) => self.peer_left(presence),
            ServerFrame::Offer(offer) => self.signaled(Signal::Offer(offer)),
            ServerFrame::Answer(answer) => self.signaled(Signal::Answer(answer)),
            ServerFrame::Ice(candidate) => self.signaled(Signal::Ice(candidate)),
            ServerFrame::Media(media) => self.signaled(Signal::Media(media)),
        }
    }

    /// The codec reads an `ack` by the request's kind, so the two always match.
    fn acknowledged(&mut self, now: u64, id: u64, request: PendingRequest, ack: Ack) {
        match request {
            PendingRequest::Hello => {
                if let Ack::Hello(ack) = ack {
                    self.greeted(now, ack);
                }
            }
            PendingRequest::Enter { room } => {
                if let Ack::EnterRoom(ack) = ack {
                    self.entered(id, room, ack);
                }
            }
            PendingRequest::Post(post) => {
                if let Ack::NewMessage(ack) = ack {
                    self.post_stored(id, post, &ack);
                }
            }
            PendingRequest::Change(command) => self.change_ended(command, Ok(())),
            PendingRequest::DeleteOwn { room } => self.emit(Update::OwnDeletion { room, result: Ok(()) }),
            PendingRequest::Rename => {
                if let Ack::Nickname(ack) = ack {
                    self.renamed(ack);
                }
            }
            PendingRequest::Older { room, before } => {
                if let Ack::History(history) = ack {
                    self.emit(Update::Older { room, before, history: Some(history) });
                }
            }
            PendingRequest::Search(search) => {
                if let Ack::Search(found) = ack {
                    self.emit(Update::Found { search, result: Ok(found) });
                }
            }
            PendingRequest::Pins { room } => {
                if let Ack::Pins(pins) = ack {
                    self.emit(Update::Pins { room, result: Ok(pins) });
                }
            }
            PendingRequest::Members { room, after } => {
                if let Ack::Members(page) = ack {
                    self.emit(Update::Members { room, after, page: Some(page) });
                }
            }
            PendingRequest::WatchRooms => {
                if let Ack::Rooms(rooms) = ack {
                    self.listed(rooms);
                }
            }
            PendingRequest::WatchMyRooms => {
                if let Ack::MyRooms(list) = ack {
                    self.my_rooms_listed(list.rooms);
                }
            }
            PendingRequest::JoinCall { room } => {
                if let Ack::JoinCall(ack) = ack {
                    self.call_joined(room, ack);
                }
            }
            PendingRequest::Ping { sent_at } => self.heartbeat.measured(now.saturating_sub(sent_at)),
            PendingRequest::Outgoing => self.outgoing_accepted(now, id),
            PendingRequest::Untracked => {}
        }
    }

    /// A frame of another version that this page cannot decode. An event is skipped. An answer ends its request, so
    /// that nothing waits for it.
    fn not_understood(&mut self, now: u64, FrameError { id, .. }: FrameError) {
        let Some((id, request)) = id.and_then(|id| Some((id, self.requests.take(id)?))) else { return };
        match request {
            // Only an `ack` cannot be decoded, so the message is stored. It arrives as one of the room.
            PendingRequest::Post(post) => {
                self.emit(Update::NotUnderstood);
                self.settle(id, post, SendStatus::Shown);
            }
            // Nothing depends on the content of the answer.
            PendingRequest::Outgoing => self.outgoing_accepted(now, id),
            PendingRequest::Change(command) => self.change_ended(command, Ok(())),
            PendingRequest::DeleteOwn { room } => self.emit(Update::OwnDeletion { room, result: Ok(()) }),
            PendingRequest::Ping { .. } | PendingRequest::Untracked => {}
            request @ (PendingRequest::Hello
            | PendingRequest::Enter { .. }
            | PendingRequest::Rename
            | PendingRequest::Older { .. }
            | PendingRequest::Search(_)
            | PendingRequest::Pins { .. }
            | PendingRequest::Members { .. }
            | PendingRequest::WatchRooms
            | PendingRequest::WatchMyRooms
            | PendingRequest::JoinCall { .. }) => {
                self.emit(Update::NotUnderstood);
                self.refused(now, id, request, ErrorCode::Unknown.into());
            }
        }
    }

    fn refused(&mut self, now: u64, id: u64, request: PendingRequest, refusal: Refusal) {
        // The page sends well-formed frames, so this server is of another version.
        if refusal.code.is_bad_frame() {
            self.emit(Update::NotUnderstood);
        }
        match request {
            PendingRequest::Hello => self.hello_refused(now, &refusal),
            PendingRequest::Enter { room } => self.enter_refused(now, id, room, refusal),
            PendingRequest::Post(post) => self.post_refused(now, id, post, refusal),
            PendingRequest::Change(command) => self.change_ended(command, Err(Some(refusal))),
            PendingRequest::DeleteOwn { room } => {
                self.emit(Update::OwnDeletion { room, result: Err(Some(refusal)) });
            }
            PendingRequest::Rename => self.emit(Update::NotRenamed(Some(refusal))),
            PendingRequest::Older { room, before } => self.emit(Update::Older { room, before, history: None }),
            PendingRequest::Search(search) => self.emit(Update::Found { search, result: Err(Some(refusal)) }),
            PendingRequest::Pins { room } => self.emit(Update::Pins { room, result: Err(Some(refusal)) }),
            PendingRequest::Members { room, after } => self.emit(Update::Members { room, after, page: None }),
            PendingRequest::JoinCall { room } => self.call_refused(now, room, refusal),
            PendingRequest::Outgoing => self.outgoing_refused(now, id, &refusal),
            PendingRequest::WatchRooms => self.watch_refused(now, &refusal),
            PendingRequest::WatchMyRooms => self.my_rooms_refused(now, &refusal),
            PendingRequest::Ping { .. } | PendingRequest::Untracked => {}
        }
    }

    fn renamed(&mut self, ack: NicknameAck) {
        if let Some(id) = self.me {
            self.emit(Update::Me(User { id, nickname: ack.nickname }));
        }
        self.enter_refused_rooms();
    }
}
