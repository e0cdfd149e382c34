//! The conversation of one connection: decodes frames, checks that a command is allowed, and calls the hub.
//!
//! A session is driven by its transport, one frame at a time. [`Session::handle`] waits only for the hub and its
//! storage, so that a simulator can poll it by hand.

mod dispatch;

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::protocol::frame::Hello;
use crate::protocol::{
    Ack, BUILD, ClientFrame, CloseCode, Command, HelloAck, Limits, MAX_FRAME_BYTES, MAX_NICKNAME_GRAPHEMES,
    MAX_ROOM_GRAPHEMES, MAX_TEXT_CHARS, Refusal, ServerFrame, User, UserId, VERSION,
};
use crate::server::hub::address::Address;
use crate::server::hub::outbox::Outbox;
use crate::server::hub::payer::Payer;
use crate::server::hub::price::{Budget, Price};
use crate::server::hub::rate_limit::{Bucket, Quota};
use crate::server::hub::{ConnectionHandle, Hub};
use crate::server::id::{RoomId, RoomRow};
use crate::server::identity::{Credential, Identity};

/// The number of malformed frames within [`FAULTS_WITHIN`] that closes the connection.
const FAULTS: usize = 20;
/// The time that a malformed frame counts.
const FAULTS_WITHIN: Duration = Duration::from_secs(60);
/// The signals above the limit that a connection may send before it is closed. A client that waits as it is told, and
/// competes with others at its address, stays below.
const TOLERANCE: Quota = Quota::per_second(5, 100);

/// The client at the other end, as far as the upgrade request identified it.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The user and session in the cookie.
    pub cookie: Option<Credential>,
    /// The address that new guests count against.
    pub address: std::net::IpAddr,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    hub: Arc<Hub>,
    identity: Arc<Identity>,
    visitor: Visitor,
    conn: ConnectionHandle,
    /// The address, which pays alone before `hello`.
    address: Address,
    /// The user, who pays together with the address, after `hello`.
    payer: Option<Payer>,
    /// The rooms that the connection has entered.
    rooms: HashMap<RoomId, RoomRow>,
    /// The times of the latest malformed frames.
    faults: VecDeque<Instant>,
    /// Paid by frames above the limit.
    tolerance: Bucket,
    /// The peer has closed the connection.
    is_clean_close: bool,
}

impl Session {
    /// The session of a connection that has not sent `hello` yet.
    pub fn new(hub: Arc<Hub>, identity: Arc<Identity>, visitor: Visitor, conn: ConnectionHandle) -> Self {
        let address = hub.directory.address(visitor.address);
        Self {
            hub,
            identity,
            visitor,
            conn,
            address,
            payer: None,
            rooms: HashMap::new(),
            faults: VecDeque::new(),
            tolerance: Bucket::default(),
            is_clean_close: false,
        }
    }

    /// Notes that the peer has closed the connection, as a page does when it is left. It does not come back, so its
    /// calls need not wait for it.
    pub fn clean_close(&mut self) {
        self.is_clean_close = true;
    }

    /// The outbox of this connection.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.conn.outbox
    }

    /// Returns whether the connection has sent `hello`.
    pub fn is_greeted(&self) -> bool {
        self.payer.is_some()
    }

    /// Handles one text frame. Answers go to the outbox. Breaks if the connection must be closed.
    pub async fn handle(&mut self, text: &str) -> ControlFlow<CloseCode> {
        let decoded = ClientFrame::decode(text);
        let (id, price) = match &decoded {
            Ok(frame) => (frame.id, Price::command(&frame.command)),
            Err(invalid) => (invalid.id, Price::undecodable(invalid.error.code)),
        };
        let frame = Price::frame(text.len());
        if let Err(refusal) = self.pay(frame) {
            return self.refuse_payment(id, refusal, frame);
        }
        if let Ok(ClientFrame { command: Command::Hello(hello), .. }) = &decoded
            && hello.protocol != VERSION
        {
            return ControlFlow::Break(CloseCode::UnsupportedVersion);
        }
        if let Err(refusal) = self.pay(price) {
            return self.refuse_payment(id, refusal, frame);
        }
        let result = match decoded {
            Ok(ClientFrame { command, .. }) => self.dispatch(id, command).await,
            Err(invalid) => Err(Refusal::from(invalid.error)),
        };
        match result {
            Ok(Some(ack)) => self.conn.outbox.acknowledge(id, ack),
            Ok(None) => {}
            Err(refusal) => {
                let is_fault = refusal.code.is_bad_frame();
                self.conn.outbox.send(&ServerFrame::Error { id, refusal });
                if is_fault && self.has_too_many_faults(self.hub.environment().now()) {
                    return ControlFlow::Break(CloseCode::BadFrames);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pay(&self, price: Price) -> Result<(), Refusal> {
        self.payer.as_ref().map_or_else(|| self.address.spend(price), |payer| payer.spend(price))
    }

    /// Answers a frame above the limit. A client that goes on regardless is closed.
    fn refuse_payment(&mut self, id: Option<u64>, refusal: Refusal, frame: Price) -> ControlFlow<CloseCode> {
        self.conn.outbox.send(&ServerFrame::Error { id, refusal });
        let now = self.hub.environment().now();
        match self.tolerance.spend(now, TOLERANCE, frame.amount(Budget::Signals)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(CloseCode::RateAbuse),
        }
    }

    /// Identifies the user: by the resume token, else by the cookie, else as a new guest.
    async fn hello(&mut self, hello: &Hello) -> Result<Ack, Refusal> {
        let now = self.hub.environment().unix_time();
        let resume = hello.resume.as_deref();
        let cookie = self.visitor.cookie;
        let known = resume.and_then(|token| self.identity.verify_resume_token(token, cookie, now)).or(cookie);
        let (credential, account) = match known {
            Some(credential) => (credential, self.hub.account(credential.user).await?),
            None => {
                self.address.spend(Price::GUEST)?;
                let user = UserId(self.hub.environment().random_bits());
                (self.identity.without_cookie(user), self.hub.new_account(user))
            }
        };
        account.connect(self.conn.id, self.conn.outbox.clone(), self.hub.limits.connections_per_user);
        let user = User { id: credential.user, nickname: account.nickname() };
        self.payer = Some(Payer { account, address: self.address.clone() });
        Ok(Ack::Hello(HelloAck {
            resume: self.identity.resume_token(credential, cookie, now),
            user,
            heartbeat_ms: self.hub.limits.heartbeat_seconds.saturating_mul(1_000),
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

    fn has_too_many_faults(&mut self, now: Instant) -> bool {
        self.faults.retain(|fault| now.duration_since(*fault) < FAULTS_WITHIN);
        self.faults.push_back(now);
        self.faults.len() >= FAULTS
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let account = self.payer.as_ref().map(|payer| &*payer.account);
        self.hub.unregister(self.conn.id, account, self.is_clean_close);
    }
}
