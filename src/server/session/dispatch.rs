//! From a command, which has been paid, to the call of the hub that carries it out.

use super::Session;
use crate::protocol::call::{Describe, DescriptionKind};
use crate::protocol::frame::{Empty, EnterRoom, Post};
use crate::protocol::{
    Ack, Command, ErrorCode, MAX_ATTACHMENTS, MessageRef, NicknameAck, Refusal, check_emoji, check_text,
};
use crate::server::change::Change;
use crate::server::hub::NewPost;
use crate::server::hub::payer::Payer;
use crate::server::id::{RoomId, RoomRow};
use crate::server::name_key::RoomName;
use crate::server::search::Query;

/// The answer to a command. `None`: the hub answers later, through the outbox.
type Answer = Result<Option<Ack>, Refusal>;

/// The answer without content.
fn done() -> Answer {
    Ok(Some(Ack::Empty(Empty {})))
}

impl Session {
    /// Carries out a command.
    pub(super) async fn dispatch(&mut self, id: Option<u64>, command: Command) -> Answer {
        if let (Command::Hello(hello), None) = (&command, &self.payer) {
            return self.hello(hello).await.map(Some);
        }
        let payer = self.payer.clone().ok_or(ErrorCode::HelloFirst)?;
        let (hub, conn) = (self.hub.clone(), self.conn.id);
        match command {
            Command::Hello(_) => Err(ErrorCode::AlreadyGreeted.into()),
            Command::Ping(_) => done(),
            Command::Nickname(wanted) => {
                let nickname = hub.rename(&payer.account, &wanted.nickname, Some(conn)).await?;
                Ok(Some(Ack::Nickname(NicknameAck { nickname })))
            }
            Command::EnterRoom(wanted) => self.enter_room(&payer, id, wanted).await,
            Command::LeaveRoom(wanted) => self.leave_room(&payer, wanted.room),
            Command::NewMessage(post) => self.new_message(id, post).await,
            Command::EditMessage(edit) => {
                check_text(&edit.text)?;
                let room = self.room(edit.room)?;
                hub.edit(&self.conn, room, id, edit).await?;
                Ok(None)
            }
            Command::DeleteMessage(delete) => self.change(id, delete.room, &delete.target, Change::Delete).await,
            Command::DeleteMessages(wanted) => {
                hub.request_purge(self.room(wanted.room)?, payer.account.id).await?;
                done()
            }
            Command::React(react) => {
                check_emoji(&react.emoji)?;
                let change = if react.on { Change::React(react.emoji) } else { Change::Unreact(react.emoji) };
                self.change(id, react.room, &react.target, change).await
            }
            Command::PinMessage(pin) => {
                let change = if pin.on { Change::Pin } else { Change::Unpin };
                self.change(id, pin.room, &pin.target, change).await
            }
            Command::Pins(wanted) => {
                let room = self.room(wanted.room)?.clone();
                Ok(Some(Ack::Pins(hub.pins(room).await?)))
            }
            Command::History(wanted) => {
                let room = self.room(wanted.room)?.clone();
                Ok(Some(Ack::History(hub.history(room, wanted.before, wanted.limit).await?)))
            }
            Command::Search(wanted) => {
                let query = Query::parse(&wanted.text)?;
                let found = match wanted.room {
                    Some(room) => {
                        let room = self.room(room)?.clone();
                        hub.search(room, query, wanted.before, wanted.limit).await?
                    }
                    None => hub.search_own(payer.account.id, query, wanted.before, wanted.limit).await?,
                };
                Ok(Some(Ack::Search(found)))
            }
            Command::Members(wanted) => {
                let page = hub.members(self.room(wanted.room)?, wanted.after.unwrap_or(0), wanted.limit)?;
                Ok(Some(Ack::Members(page)))
            }
            Command::Typing(sent) => self.in_room(sent.room, |room| hub.typing(conn, room)),
            Command::WatchRooms(_) => {
                hub.watch(&self.conn, id);
                Ok(None)
            }
            Command::UnwatchRooms(_) => {
                hub.unwatch(conn);
                done()
            }
            Command::WatchMyRooms(_) => {
                let seats = self.rooms.values().map(|room| room.id).collect();
                hub.watch_my_rooms(&payer, &self.conn, seats, id).await?;
                Ok(None)
            }
            Command::KeepRoom(wanted) => {
                if wanted.on {
                    hub.keep_room(payer.account.id, self.room(wanted.room)?).await?;
                } else {
                    hub.forget_room(payer.account.id, wanted.room).await?;
                }
                done()
            }
            Command::MarkRead(mark) => {
                self.in_room(mark.room, |room| hub.mark_read(payer.account.id, room, &mark.target))
            }
            Command::JoinCall(wanted) => {
                hub.join_call(&payer.account, &self.conn, self.room(wanted.room)?, wanted.peer, id)?;
                Ok(None)
            }
            Command::LeaveCall(wanted) => self.in_room(wanted.room, |room| hub.leave_call(conn, room)),
            Command::Offer(sent) => self.describe(sent, DescriptionKind::Offer),
            Command::Answer(sent) => self.describe(sent, DescriptionKind::Answer),
            Command::Ice(sent) => self.in_room(sent.room, |room| hub.trickle(conn, room, sent.peer, sent.candidate)),
            Command::Media(sent) => self.in_room(sent.room, |room| hub.set_media(conn, room, sent.media())),
        }
    }

    async fn enter_room(&mut self, payer: &Payer, id: Option<u64>, wanted: EnterRoom) -> Answer {
        let name = RoomName::parse(&wanted.name)?;
        let has_name = |room: &RoomRow| RoomName::parse(&room.name).is_ok_and(|known| known.folded == name.folded);
        let is_in_it = || match wanted.room {
            Some(room) => self.rooms.contains_key(&room),
            None => self.rooms.values().any(has_name),
        };
        if self.rooms.len() >= self.hub.limits.rooms_per_connection && !is_in_it() {
            return Err(ErrorCode::RoomQuota.into());
        }
        let room = self.hub.enter(payer, &self.conn, (wanted.room, name), wanted.after, id).await?;
        self.rooms.insert(room.id, room);
        Ok(None)
    }

    fn leave_room(&mut self, payer: &Payer, id: RoomId) -> Answer {
        let room = self.room(id)?;
        self.hub.leave(&payer.account, self.conn.id, room)?;
        self.rooms.remove(&id);
        done()
    }

    async fn new_message(&self, id: Option<u64>, post: Post) -> Answer {
        let room = self.room(post.room)?;
        let Post { room: _, key, text, reply_to, attachments, mentions } = post;
        let attachments = attachments.unwrap_or_default();
        let is_repeated = |(place, file)| attachments[..place].contains(file);
        if attachments.len() > MAX_ATTACHMENTS || attachments.iter().enumerate().any(is_repeated) {
            return Err(ErrorCode::TooManyAttachments.into());
        }
        if attachments.is_empty() || !text.is_empty() {
            check_text(&text)?;
        }
        self.hub
            .post(
                &self.conn,
                room,
                id,
                NewPost { key, text, reply_to, attachments, mentions: mentions.unwrap_or_default() },
            )
            .await?;
        Ok(None)
    }

    async fn change(&self, id: Option<u64>, room: RoomId, target: &MessageRef, change: Change) -> Answer {
        let room = self.room(room)?;
        self.hub.change(&self.conn, room, id, target, change).await?;
        Ok(None)
    }

    fn describe(&self, sent: Describe, sent_as: DescriptionKind) -> Answer {
        self.in_room(sent.room, |room| self.hub.describe(self.conn.id, room, sent.peer, sent_as, sent.description))
    }

    /// Carries out an action in a room that this connection is in.
    fn in_room(&self, room: RoomId, act: impl FnOnce(&RoomRow) -> Result<(), Refusal>) -> Answer {
        act(self.room(room)?)?;
        done()
    }

    /// A room that this connection is in.
    fn room(&self, id: RoomId) -> Result<&RoomRow, Refusal> {
        Ok(self.rooms.get(&id).ok_or(ErrorCode::NotInRoom)?)
    }
}
