//! One connection's conversation: frames in, what to do about them. Every command is authorised and
//! counted here, before the hub hears of it.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::call::{Describe, DescriptionKind};
use crate::protocol::frame::Nothing;
use crate::protocol::{
    Ack, BUILD, ClientFrame, CloseCode, Command, ErrorCode, HEARTBEAT_MS, HelloAck, Limits, MAX_FRAME_BYTES,
    MAX_NICKNAME_GRAPHEMES, MAX_ROOM_GRAPHEMES, MAX_TEXT_CHARS, NicknameAck, Refusal, ServerFrame, User, UserId,
    VERSION, check_text,
};
use crate::server::hub::account::{Account, Allowance};
use crate::server::hub::{Hub, Registered, acknowledge, send};
use crate::server::identity::Identity;
use crate::server::name_key::RoomName;
use crate::server::store::RoomRow;

/// So many faults of form …
const FAULTS: usize = 20;
/// … within so long close the connection.
const FAULTS_WITHIN: Duration = Duration::from_secs(60);

/// A description counts as one more command for each of these.
const SIGNAL_BYTES: usize = 4 * 1024;

/// Who is at the other end, as far as the upgrade told.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// From the cookie.
    pub user: Option<UserId>,
    /// The address that new guests count against.
    pub address: std::net::IpAddr,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    hub: Arc<Hub>,
    identity: Arc<Identity>,
    visitor: Visitor,
    at: Registered,
    account: Option<Arc<Account>>,
    /// The rooms it entered, by folded name.
    rooms: HashMap<String, RoomRow>,
    faults: VecDeque<Instant>,
    /// Whether the peer itself ended the connection.
    farewell: bool,
}

impl Session {
    /// A connection that has not said hello.
    pub fn new(hub: Arc<Hub>, identity: Arc<Identity>, visitor: Visitor, at: Registered) -> Self {
        let (rooms, faults) = (HashMap::new(), VecDeque::new());
        Self { hub, identity, visitor, at, account: None, rooms, faults, farewell: false }
    }

    /// The peer has said that it closes, as a page does when it is left.
    pub fn farewell(&mut self) {
        self.farewell = true;
    }

    /// The outbox of this connection.
    pub fn outbox(&self) -> &crate::server::hub::outbox::Link {
        &self.at.outbox
    }

    /// Whether `hello` was said.
    pub fn is_greeted(&self) -> bool {
        self.account.is_some()
    }

    /// Takes one text frame. Answers go to the outbox. Breaks when the connection must close.
    pub async fn handle(&mut self, text: &str) -> ControlFlow<CloseCode> {
        let (id, result) = match ClientFrame::decode(text) {
            Err(unreadable) => (unreadable.id, Err(Refusal::from(unreadable.fault))),
            Ok(ClientFrame { command: Command::Hello(hello), .. }) if hello.protocol != VERSION => {
                return ControlFlow::Break(CloseCode::UnsupportedVersion);
            }
            Ok(ClientFrame { id, command }) => (id, self.command(id, command).await),
        };
        match result {
            Ok(Some(ack)) => acknowledge(&self.at.outbox, id, ack),
            Ok(None) => {}
            Err(refusal) => {
                let is_fault = refusal.code.is_fault_of_form();
                send(&self.at.outbox, &ServerFrame::Error { id, refusal });
                if is_fault && self.too_many_faults(Instant::now()) {
                    return ControlFlow::Break(CloseCode::BadFrames);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Carries out a command. `None`: the answer comes by another way.
    async fn command(&mut self, id: Option<u64>, command: Command) -> Result<Option<Ack>, Refusal> {
        let account = match (&command, self.account.clone()) {
            (Command::Hello(_), Some(_)) => return Err(ErrorCode::AlreadyGreeted.into()),
            (Command::Hello(hello), None) => return self.hello(hello.resume.as_deref()).await.map(Some),
            (_, None) => return Err(ErrorCode::HelloFirst.into()),
            (_, Some(account)) => account,
        };
        let nothing = || Ok(Some(Ack::Nothing(Nothing {})));
        if !matches!(command, Command::NewMessage(_)) {
            account.spend(Allowance::Signal)?;
        }
        match command {
            Command::Hello(_) | Command::Ping(_) => nothing(),
            Command::Nickname(wanted) => {
                let nickname = self.hub.rename(&account, &wanted.nickname, Some(self.at.conn)).await?;
                Ok(Some(Ack::Nickname(NicknameAck { nickname })))
            }
            Command::EnterRoom(wanted) => {
                let name = RoomName::parse(&wanted.room)?;
                let folded = name.folded.clone();
                let is_new = !self.rooms.contains_key(&folded);
                if is_new && self.rooms.len() >= self.hub.limits.rooms_per_connection {
                    return Err(ErrorCode::RoomQuota.into());
                }
                let room = self.hub.enter(&account, &self.at, name, wanted.after, id).await?;
                self.rooms.insert(folded, room);
                Ok(None)
            }
            Command::LeaveRoom(wanted) => {
                let (folded, room) = self.room(&wanted.room)?;
                self.hub.leave(self.at.conn, &room)?;
                self.rooms.remove(&folded);
                nothing()
            }
            Command::NewMessage(post) => {
                let (_, room) = self.room(&post.room)?;
                check_text(&post.text)?;
                account.spend(Allowance::Message)?;
                self.hub.post(self.at.conn, &room, id, post.key, post.text)?;
                Ok(None)
            }
            Command::History(wanted) => {
                let (_, room) = self.room(&wanted.room)?;
                Ok(Some(Ack::History(self.hub.history(room, wanted.before, wanted.limit).await?)))
            }
            Command::Typing(in_room) => {
                let (_, room) = self.room(&in_room.room)?;
                self.hub.typing(self.at.conn, &room)?;
                nothing()
            }
            Command::WatchRooms(_) => Ok(Some(Ack::Rooms(self.hub.watch(&self.at)))),
            Command::UnwatchRooms(_) => {
                self.hub.unwatch(self.at.conn);
                nothing()
            }
            Command::JoinCall(wanted) => {
                let (_, room) = self.room(&wanted.room)?;
                self.hub.join_call(&account, &self.at, &room, wanted.peer, id)?;
                Ok(None)
            }
            Command::LeaveCall(wanted) => {
                let (_, room) = self.room(&wanted.room)?;
                self.hub.leave_call(self.at.conn, &room)?;
                nothing()
            }
            Command::Offer(sent) => self.describe(&account, sent, DescriptionKind::Offer),
            Command::Answer(sent) => self.describe(&account, sent, DescriptionKind::Answer),
            Command::Ice(sent) => {
                let (_, room) = self.room(&sent.room)?;
                self.hub.trickle(self.at.conn, &room, sent.peer, sent.candidate)?;
                nothing()
            }
            Command::Media(sent) => {
                let (_, room) = self.room(&sent.room)?;
                self.hub.set_media(self.at.conn, &room, sent.media())?;
                nothing()
            }
        }
    }

    fn describe(&self, account: &Account, sent: Describe, sent_as: DescriptionKind) -> Result<Option<Ack>, Refusal> {
        let (_, room) = self.room(&sent.room)?;
        // By its size, so that nobody can fill another's outbox with what they are allowed.
        for _ in 0..sent.description.sdp.len() / SIGNAL_BYTES {
            account.spend(Allowance::Signal)?;
        }
        self.hub.describe(self.at.conn, &room, sent.peer, sent_as, sent.description)?;
        Ok(Some(Ack::Nothing(Nothing {})))
    }

    async fn hello(&mut self, resume: Option<&str>) -> Result<Ack, Refusal> {
        let known = resume.and_then(|token| self.identity.read_resume(token)).or(self.visitor.user);
        let user = match known {
            Some(user) => user,
            None => {
                self.hub.directory.admit_guest(self.visitor.address)?;
                self.identity.new_user()
            }
        };
        let account = self.hub.account(user).await?;
        account.connect(self.at.conn, self.at.outbox.clone(), self.hub.limits.connections_per_user);
        let user = User { id: user, nickname: account.nickname() };
        self.account = Some(account);
        Ok(Ack::Hello(HelloAck {
            resume: self.identity.resume(user.id),
            user,
            heartbeat_ms: HEARTBEAT_MS,
            build: BUILD.to_owned(),
            limits: Limits {
                frame_bytes: MAX_FRAME_BYTES as u64,
                text_chars: MAX_TEXT_CHARS as u64,
                nickname_graphemes: MAX_NICKNAME_GRAPHEMES as u64,
                room_graphemes: MAX_ROOM_GRAPHEMES as u64,
                messages_per_second: self.hub.limits.messages_per_second.into(),
                message_burst: self.hub.limits.message_burst.into(),
            },
        }))
    }

    /// A room that this connection is in, under any form of its name.
    fn room(&self, name: &str) -> Result<(String, RoomRow), Refusal> {
        let name = RoomName::parse(name)?;
        let room = self.rooms.get(&name.folded).cloned().ok_or(ErrorCode::NotInRoom)?;
        Ok((name.folded, room))
    }

    fn too_many_faults(&mut self, now: Instant) -> bool {
        self.faults.retain(|fault| now.duration_since(*fault) < FAULTS_WITHIN);
        self.faults.push_back(now);
        self.faults.len() >= FAULTS
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.unregister(self.at.conn, self.account.as_deref(), self.farewell);
    }
}
