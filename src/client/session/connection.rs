//! The life cycle of connections: opening, heartbeat, loss, reconnect with backoff, and the choice of transport. Pure.

use super::Session;
use super::event::{ABNORMAL_CLOSE, Action, ConnectionState, Update, WaitReason};
use super::heartbeat::Liveness;
use super::request::PendingRequest;
use super::room::Room;
use super::transport_choice::TransportChoice;
use super::typing::TypingUsers;
use crate::client::backoff::full_jitter;
use crate::protocol::frame::{Empty, Hello};
use crate::protocol::{CloseCode, Command, HelloAck, PONG_TIMEOUT_MS, Refusal, VERSION};

/// A connection that was online this long resets the backoff.
const BACKOFF_RESET_MS: u64 = 60_000;
/// The timeout for a connection to open, and again for the answer to `hello`. It doubles with each attempt that times
/// out, because the line may be slow.
pub(super) const OPEN_TIMEOUT_MS: u64 = 10_000;
/// The limit of that timeout.
pub(super) const MAX_OPEN_TIMEOUT_MS: u64 = 60_000;
/// The number of round trips before a connection is open: TCP, TLS, the upgrade, and as many repeated packets.
const OPEN_ROUND_TRIPS: u64 = 6;
/// The close code of a connection that did not open, or did not answer `hello`, in time.
const TIMED_OUT: u16 = CloseCode::HelloTimeout.number();

impl Session {
    pub(super) fn is_online(&self) -> bool {
        self.state == ConnectionState::Online
    }

    /// Returns whether there is a connection, open or opening.
    fn has_connection(&self) -> bool {
        matches!(self.state, ConnectionState::Connecting | ConnectionState::Online)
    }

    pub(super) fn start(&mut self, now: u64) {
        if self.state == ConnectionState::Idle {
            self.connect(now);
        }
    }

    /// The page is kept for the back button, and runs no code meanwhile. A connection would keep it from that.
    pub(super) fn suspend(&mut self) {
        match self.state {
            ConnectionState::Connecting | ConnectionState::Online | ConnectionState::Waiting { .. } => {
                self.drop_connection();
                self.set_state(ConnectionState::Idle);
            }
            ConnectionState::Idle | ConnectionState::Refused(_) => {}
        }
    }

    /// Other tabs need the connections of the browser. For the user that is as if the server had too many.
    pub(super) fn give_way(&mut self) {
        self.has_yielded = true;
        self.drop_connection();
        self.set_state(ConnectionState::Refused(CloseCode::Replaced.number()));
    }

    pub(super) fn opened(&mut self, now: u64) {
        self.opened_at = now;
        self.heartbeat.received(now);
        let hello = Hello { protocol: VERSION, resume: self.resume.clone() };
        self.send(Command::Hello(hello), PendingRequest::Hello);
    }

    /// `hello` was answered.
    pub(super) fn greeted(&mut self, now: u64, ack: HelloAck) {
        self.heartbeat.measured(now.saturating_sub(self.opened_at));
        self.open_patience.reset();
        self.is_offline = false;
        self.resume = Some(ack.resume);
        self.me = Some(ack.user.id);
        self.heartbeat.set_interval(ack.heartbeat_ms);
        self.emit(Update::Me(ack.user));
        self.emit(Update::Build(ack.build));
        self.set_state(ConnectionState::Online);
        self.enter_rooms();
        self.watch_rooms();
        self.watch_my_rooms();
    }

    /// `hello` was refused. Nothing works without it: reconnect later, as after a lost connection.
    pub(super) fn hello_refused(&mut self, now: u64, refusal: &Refusal) {
        self.reconnect_later(now, false, refusal.retry_after_ms.unwrap_or(0));
    }

    /// The browser has a network again, or the reader is back at the page.
    pub(super) fn awake(&mut self, now: u64) {
        // The connection belongs to the network that is gone, unless the browser was wrong.
        let network_changed = std::mem::take(&mut self.is_offline);
        let patience_ms = if network_changed { self.heartbeat.short_patience_ms() } else { PONG_TIMEOUT_MS };
        match self.state {
            ConnectionState::Waiting { .. } => self.connect(now),
            ConnectionState::Refused(_) if self.has_yielded => self.connect(now),
            ConnectionState::Online => {
                self.transport_choice.probe_soon(now);
                self.ping(now, patience_ms);
            }
            ConnectionState::Idle | ConnectionState::Connecting | ConnectionState::Refused(_) => {}
        }
    }

    /// The page or the computer was suspended, so the connection most often died meanwhile.
    pub(super) fn slept(&mut self, now: u64) {
        match self.state {
            ConnectionState::Connecting => self.opened_at = now,
            ConnectionState::Online => {
                self.transport_choice.probe_soon(now);
                self.ping_again(now);
            }
            ConnectionState::Waiting { .. } => self.connect(now),
            ConnectionState::Idle | ConnectionState::Refused(_) => {}
        }
    }

    /// The browser estimates that it has no network. It may be wrong: the server can be in the local network. So the
    /// connection is tested rather than dropped, and lost connections are tried again.
    pub(super) fn offline(&mut self, now: u64) {
        self.is_offline = true;
        self.may_change_network = true;
        match self.state {
            ConnectionState::Online => self.ping(now, self.heartbeat.short_patience_ms()),
            ConnectionState::Waiting { until, .. } => {
                self.set_state(ConnectionState::Waiting { until, reason: WaitReason::Offline });
            }
            ConnectionState::Idle | ConnectionState::Connecting | ConnectionState::Refused(_) => {}
        }
    }

    /// A WebSocket probe was answered while the session is on the fallback.
    pub(super) fn unblocked(&mut self, now: u64) {
        if self.transport_choice.probe_answered() && self.is_online() {
            self.drop_connection();
            self.connect(now);
        }
    }

    pub(super) fn reconnect_now(&mut self, now: u64) {
        match self.state {
            ConnectionState::Waiting { .. } | ConnectionState::Refused(_) => self.connect(now),
            // The attempt hangs, or the user would not ask.
            ConnectionState::Connecting => {
                self.transport_choice.lost(false);
                self.drop_connection();
                self.connect(now);
            }
            ConnectionState::Idle | ConnectionState::Online => {}
        }
    }

    fn open_timeout_ms(&self) -> u64 {
        let measured = OPEN_ROUND_TRIPS * self.heartbeat.round_trip_ms();
        self.open_patience.delay_ms().max(measured).min(MAX_OPEN_TIMEOUT_MS)
    }

    pub(super) fn connection_wake(&self) -> Option<u64> {
        match self.state {
            ConnectionState::Waiting { until, .. } => Some(until),
            ConnectionState::Connecting => Some(self.opened_at + self.open_timeout_ms()),
            ConnectionState::Online => {
                self.transport_choice.next_wake().into_iter().chain([self.heartbeat.next_wake()]).min()
            }
            ConnectionState::Idle | ConnectionState::Refused(_) => None,
        }
    }

    pub(super) fn check_connection(&mut self, now: u64) {
        match self.state {
            ConnectionState::Waiting { until, .. } if until <= now => self.connect(now),
            ConnectionState::Connecting if self.opened_at + self.open_timeout_ms() <= now => {
                self.open_patience.grow();
                self.closed(now, TIMED_OUT);
            }
            ConnectionState::Online => match self.heartbeat.liveness(now) {
                Liveness::Dead => self.closed(now, ABNORMAL_CLOSE),
                Liveness::Suspended => self.ping_again(now),
                Liveness::Idle => self.ping(now, PONG_TIMEOUT_MS),
                Liveness::Alive => {}
            },
            ConnectionState::Waiting { .. }
            | ConnectionState::Connecting
            | ConnectionState::Idle
            | ConnectionState::Refused(_) => {}
        }
        if self.is_online() && self.transport_choice.take_due_probe(now, &mut self.rng) {
            self.probe();
        }
    }

    /// The connection has ended, or could not be opened.
    pub(super) fn closed(&mut self, now: u64, code: u16) {
        // Only Noom's server sends these codes. Any other may come from a proxy that accepts a WebSocket and carries
        // nothing over it.
        if code != TIMED_OUT && matches!(code, 1012 | 1013 | 4400..=4499) {
            self.transport_choice.received(now, &mut self.rng);
        } else {
            self.transport_choice.lost(code == TIMED_OUT);
        }
        if std::mem::take(&mut self.may_change_network) {
            // The next network may treat WebSocket differently.
            self.transport_choice = TransportChoice::new();
        }
        if CloseCode::may_reconnect(code) {
            let restarting = self.announced_delay_ms.is_some() || code == CloseCode::Restarting.number();
            self.reconnect_later(now, restarting, 0);
        } else {
            self.drop_connection();
            self.set_state(ConnectionState::Refused(code));
        }
    }

    /// Drops the connection and schedules the next attempt, not earlier than in `min_delay_ms`.
    pub(super) fn reconnect_later(&mut self, now: u64, restarting: bool, min_delay_ms: u64) {
        if self.is_online() && now.saturating_sub(self.opened_at) >= BACKOFF_RESET_MS {
            self.backoff.reset();
        }
        self.drop_connection();
        let delay_ms = match self.announced_delay_ms.take() {
            Some(announced) => announced,
            None => full_jitter(self.backoff.delay_ms(), self.rng.next()),
        };
        self.backoff.grow();
        let reason = match (restarting, self.is_offline) {
            (true, _) => WaitReason::Restart,
            (false, true) => WaitReason::Offline,
            (false, false) => WaitReason::Lost,
        };
        self.set_state(ConnectionState::Waiting { until: now + delay_ms.max(min_delay_ms), reason });
    }

    fn connect(&mut self, now: u64) {
        self.has_yielded = false;
        self.opened_at = now;
        self.set_state(ConnectionState::Connecting);
        self.actions.push_back(Action::Connect(self.transport_choice.select()));
    }

    fn ping(&mut self, now: u64, timeout_ms: u64) {
        if self.heartbeat.expect_pong(now, timeout_ms) {
            self.send(Command::Ping(Empty {}), PendingRequest::Ping { sent_at: now });
        }
    }

    /// Time has passed in which the page could receive nothing, so an earlier `ping` proves nothing.
    fn ping_again(&mut self, now: u64) {
        self.heartbeat.resumed(now);
        self.send(Command::Ping(Empty {}), PendingRequest::Ping { sent_at: now });
    }

    /// Drops the connection and all requests over it. Unanswered posts stay in the queue. The caller sets the state.
    fn drop_connection(&mut self) {
        if self.has_connection() {
            self.actions.push_back(Action::Drop);
        }
        self.heartbeat.closed();
        self.queue.disconnected();
        self.outgoing.disconnected();
        self.update_typing(TypingUsers::clear);
        self.rooms.values_mut().for_each(Room::disconnected);
        self.left_early.clear();
        self.own_rooms.is_current = false;
        for request in self.requests.take_all() {
            match request {
                PendingRequest::Older { room, before } => self.emit(Update::Older { room, before, history: None }),
                PendingRequest::Search(search) => self.emit(Update::Found { search, result: Err(None) }),
                PendingRequest::Pins { room } => self.emit(Update::Pins { room, result: Err(None) }),
                PendingRequest::Members { room, after } => self.emit(Update::Members { room, after, page: None }),
                PendingRequest::Rename => self.emit(Update::NotRenamed(None)),
                PendingRequest::Change(command) => self.change_ended(command, Err(None)),
                PendingRequest::DeleteOwn { room } => self.emit(Update::OwnDeletion { room, result: Err(None) }),
                PendingRequest::Hello
                | PendingRequest::Ping { .. }
                | PendingRequest::Enter { .. }
                | PendingRequest::Post(_)
                | PendingRequest::WatchRooms
                | PendingRequest::WatchMyRooms
                | PendingRequest::JoinCall { .. }
                | PendingRequest::Outgoing
                | PendingRequest::Untracked => {}
            }
        }
    }

    fn set_state(&mut self, state: ConnectionState) {
        if self.state != state {
            self.state = state;
            self.emit(Update::Connection(state));
        }
    }
}
