//! Drives a [`Session`] in the browser: feeds it with network events, timers and intents, and carries out its actions.

use std::future::pending;
use std::pin::pin;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, StreamExt, select_biased};

use super::fallback::Fallback;
use super::session::{Action, ConnectionState, Event, Session, TransportKind, Update};
use super::state::State;
use super::tabs::Tabs;
use super::timer::{Clocks, now, sleep_until};
use super::unsent;
use super::websocket::{Probe, Socket};

/// The driver wakes up at least this often.
const MAX_SLEEP_MS: u64 = 5_000;

/// Runs until the sender of `inbox` is gone.
pub(super) async fn run(state: State, mut inbox: UnboundedReceiver<Event>) {
    let mut seed = [0; 8];
    // The seed only spreads out reconnects, so any value will do.
    let _ = getrandom::fill(&mut seed);
    let mut session = Session::new(u64::from_ne_bytes(seed));
    if Fallback::was_needed() {
        session.prefer(TransportKind::EventStream);
    }
    let mut driver = Driver { session, state, connection: None, probe: None, clocks: Clocks::new(), tabs: None };
    while let Some(event) = driver.next_event(&mut inbox).await {
        driver.handle(event).await;
    }
}

struct Driver {
    session: Session,
    state: State,
    connection: Option<Connection>,
    /// While on the fallback: a WebSocket that may turn out to work.
    probe: Option<Probe>,
    clocks: Clocks,
    /// From the first event stream on.
    tabs: Option<Tabs>,
}

impl Driver {
    async fn next_event(&mut self, inbox: &mut UnboundedReceiver<Event>) -> Option<Event> {
        let mut incoming = pin!(next_of(&mut self.connection).fuse());
        let mut answered = pin!(answered(&mut self.probe).fuse());
        // Capped, so that a suspended computer is noticed soon after it wakes.
        let wake = self.session.next_wake().unwrap_or(u64::MAX).min(now() + MAX_SLEEP_MS);
        let mut yielding = pin!(must_yield(&mut self.tabs).fuse());
        let mut wake = pin!(sleep_until(Some(wake)).fuse());
        select_biased! {
            event = incoming => Some(event),
            event = inbox.next() => event,
            () = answered => Some(Event::Unblocked),
            () = yielding => Some(Event::Yield),
            () = wake => Some(Event::Tick),
        }
    }

    async fn handle(&mut self, event: Event) {
        if matches!(event, Event::Closed(_)) {
            self.drop_connection();
        }
        let unblocked = event == Event::Unblocked;
        if let Some(tabs) = &mut self.tabs {
            tabs.tick();
        }
        if self.clocks.have_slept() {
            self.session.handle(now(), Event::Slept);
        }
        self.session.handle(now(), event);
        while let Some(action) = self.session.poll_action() {
            self.carry_out(action).await;
        }
        if unblocked {
            // If the session did not take the probe's WebSocket over, it opens another one when it needs it.
            self.probe = None;
        }
    }

    fn drop_connection(&mut self) {
        self.connection = None;
        if let Some(tabs) = &mut self.tabs {
            tabs.close();
        }
    }

    async fn carry_out(&mut self, action: Action) {
        match action {
            Action::Connect(TransportKind::WebSocket) => {
                let socket = self.probe.take().map_or_else(Socket::open, Probe::into_connection);
                self.connection = Some(Connection::Socket(socket));
            }
            Action::Connect(TransportKind::EventStream) => {
                self.tabs.get_or_insert_with(|| Tabs::new(js_sys::Math::random().to_bits())).open();
                self.connection = Some(Connection::Fallback(Fallback::open()));
            }
            Action::Probe(text) => self.probe = Some(Probe::open(text)),
            Action::Drop => self.drop_connection(),
            Action::Send(text) => {
                if let Some(connection) = &mut self.connection {
                    connection.send(text).await;
                }
            }
            Action::StoreUnsent(post) => unsent::store(&post),
            Action::RemoveUnsent(key) => unsent::remove(key),
            Action::Emit(update) => {
                if update == Update::Connection(ConnectionState::Online) {
                    Fallback::remember(matches!(self.connection, Some(Connection::Fallback(_))));
                }
                self.state.apply(update);
            }
        }
    }
}

/// Completes when this tab must give up its event stream.
async fn must_yield(tabs: &mut Option<Tabs>) {
    match tabs {
        Some(tabs) => tabs.must_yield().await,
        None => pending().await,
    }
}

/// A connection to the server.
enum Connection {
    Socket(Socket),
    Fallback(Fallback),
}

impl Connection {
    async fn send(&mut self, text: String) {
        match self {
            Self::Socket(socket) => socket.send(text).await,
            Self::Fallback(fallback) => fallback.send(text),
        }
    }
}

/// The next event of the connection; never completes without one.
async fn next_of(connection: &mut Option<Connection>) -> Event {
    match connection {
        Some(Connection::Socket(socket)) => socket.next().await,
        Some(Connection::Fallback(fallback)) => fallback.next().await,
        None => pending().await,
    }
}

/// Completes when the probe is answered. A probe that fails is dropped.
async fn answered(probe: &mut Option<Probe>) {
    if let Some(running) = probe {
        if running.is_answered().await {
            return;
        }
        *probe = None;
    }
    pending().await
}
