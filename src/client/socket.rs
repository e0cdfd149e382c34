//! Runs a [`Session`] in the browser: a connection, a clock, and the page's wishes.

use std::future::poll_fn;
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt, SinkExt, StreamExt, select_biased};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message as Frame, State, WebSocketError};
use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::fallback::Fallback;
use super::session::{Action, Ask, Change, Event, Link, Session, Via};
use super::state::{self, Older, Room};
use super::unsent;
use crate::protocol::MessageKey;
use crate::protocol::frame::Post;

/// What components use: the state to show, and a way to say what is wanted. On the server it is
/// there too, and does nothing.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// What is shown.
    pub state: state::State,
    events: StoredValue<UnboundedSender<Event>>,
    inbox: StoredValue<Option<UnboundedReceiver<Event>>>,
}

impl Client {
    /// A client that has not started.
    pub fn new() -> Self {
        let (events, inbox) = unbounded();
        Self { state: state::State::new(), events: StoredValue::new(events), inbox: StoredValue::new(Some(inbox)) }
    }

    /// Connects, and stays connected. Only in the browser, and only once.
    pub fn start(&self) {
        let Some(inbox) = self.inbox.try_update_value(Option::take).flatten() else { return };
        self.tell(Event::Start);
        unsent::all().into_iter().for_each(|post| self.ask(Ask::Post(post)));
        let awake = ["online", "focus", "pageshow"].map(|name| (name, Event::Awake));
        for (name, event) in awake.into_iter().chain([("offline", Event::Offline)]) {
            let this = *self;
            let handle = window_event_listener_untyped(name, move |_| this.tell(event.clone()));
            on_cleanup(move || handle.remove());
        }
        let this = *self;
        let handle = window_event_listener(ev::visibilitychange, move |_| {
            if !document().hidden() {
                this.tell(Event::Awake);
            }
        });
        on_cleanup(move || handle.remove());
        let state = self.state;
        spawn_local(run(state, inbox));
    }

    /// Wants something.
    pub fn ask(&self, ask: Ask) {
        self.tell(Event::Ask(ask));
    }

    /// Shows a room and stays in it until [`Client::leave`].
    pub fn enter(&self, room: Room) {
        self.state.show(room);
        self.ask(Ask::Enter { room: room.name.get_value(), after: Some(room.position()) });
    }

    /// Is in that room no more.
    pub fn leave(&self, room: Room) {
        self.state.hide(room);
        if let Some(name) = room.name.try_get_value() {
            self.ask(Ask::Leave { room: name });
        }
    }

    /// Says something in a room: now, or when there is a connection.
    pub fn post(&self, room: Room, text: String) {
        self.ask(Ask::Post(Post { room: room.name.get_value(), key: new_key(), text }));
    }

    /// Tries a failed message again.
    pub fn retry(&self, room: Room, key: MessageKey) {
        if let Some(post) = room.retry(key) {
            self.ask(Ask::Post(post));
        }
    }

    /// Forgets a failed message.
    pub fn discard(&self, room: Room, key: MessageKey) {
        room.discard(key);
        self.ask(Ask::Discard(key));
    }

    /// Says that one is writing in a room; at each letter.
    pub fn typing(&self, room: Room) {
        self.ask(Ask::Typing { room: room.name.get_value() });
    }

    /// Loads what is missing before a place in the middle.
    pub fn load_missing(&self, room: Room, before: u64) {
        if room.filling.try_update_value(|filling| filling.insert(before)) != Some(true) {
            return;
        }
        self.ask(Ask::Older { room: room.name.get_value(), before, limit: 100 });
    }

    /// Loads older messages, unless that is going on.
    pub fn load_older(&self, room: Room) {
        let wanted = matches!(room.older.get_untracked(), Older::More | Older::Failed);
        let Some(before) = room.timeline.oldest_seq().filter(|_| wanted) else { return };
        room.older.set(Older::Loading);
        self.ask(Ask::Older { room: room.name.get_value(), before, limit: 100 });
    }

    fn tell(&self, event: Event) {
        // The task ends with the page, and nobody is left to hear it.
        let _ = self.events.try_with_value(|events| events.unbounded_send(event));
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// A new message's key. `crypto.randomUUID` is missing on pages without HTTPS.
fn new_key() -> MessageKey {
    let mut bytes = [0; 16];
    // A browser without random numbers cannot have opened the page.
    let _ = getrandom::fill(&mut bytes);
    MessageKey::from_random(u128::from_be_bytes(bytes))
}

/// Milliseconds on the browser's steady clock.
pub fn now() -> u64 {
    window().performance().map(|performance| performance.now() as u64).unwrap_or_default()
}

async fn run(state: state::State, mut inbox: UnboundedReceiver<Event>) {
    let mut seed = [0; 8];
    let _ = getrandom::fill(&mut seed);
    let mut session = Session::new(u64::from_ne_bytes(seed));
    if Fallback::was_needed() {
        session.prefer(Via::Events);
    }
    let mut connection: Option<Connection> = None;
    let mut probe: Option<Probe> = None;
    loop {
        let event = {
            let mut heard = async {
                match connection.as_mut() {
                    Some(connection) => connection.next().await,
                    None => std::future::pending().await,
                }
            }
            .boxed_local()
            .fuse();
            let mut probed = async {
                match probe.as_mut() {
                    Some(probe) => probe.is_answered().await,
                    None => std::future::pending().await,
                }
            }
            .boxed_local()
            .fuse();
            let mut wake = match session.next_wake() {
                Some(at) => gloo_timers::future::sleep(Duration::from_millis(at.saturating_sub(now()))).boxed_local(),
                None => std::future::pending().boxed_local(),
            }
            .fuse();
            select_biased! {
                event = heard => Some(event),
                event = inbox.next() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
                answered = probed => answered.then_some(Event::Unblocked),
                () = wake => Some(Event::Tick),
            }
        };
        let Some(event) = event else {
            probe = None;
            continue;
        };
        if matches!(event, Event::Closed(_)) {
            connection = None;
        }
        let unblocked = event == Event::Unblocked;
        session.handle(now(), event);
        while let Some(action) = session.poll_action() {
            match action {
                Action::Connect(Via::WebSocket) => {
                    let socket = probe.take().map_or_else(Socket::open, |probe| probe.socket.anew());
                    connection = Some(Connection::Socket(socket));
                }
                Action::Connect(Via::Events) => connection = Some(Connection::Fallback(Fallback::open())),
                Action::Probe(text) => probe = Some(Probe { socket: Socket::open(), text }),
                Action::Drop => connection = None,
                Action::Send(text) => {
                    if let Some(connection) = &mut connection {
                        connection.send(text).await;
                    }
                }
                Action::Keep(post) => unsent::keep(&post),
                Action::Forget(key) => unsent::forget(key),
                Action::Tell(change) => {
                    if change == Change::Link(Link::Online) {
                        Fallback::remember(matches!(connection, Some(Connection::Fallback(_))));
                    }
                    state.apply(change);
                }
            }
        }
        if unblocked {
            // Whoever did not want it then will open another.
            probe = None;
        }
    }
}

/// A connection to the server.
enum Connection {
    Socket(Socket),
    Fallback(Fallback),
}

impl Connection {
    async fn next(&mut self) -> Event {
        match self {
            Self::Socket(socket) => socket.next().await,
            Self::Fallback(fallback) => fallback.next().await,
        }
    }

    async fn send(&mut self, text: String) {
        match self {
            Self::Socket(socket) => socket.send(text).await,
            Self::Fallback(fallback) => fallback.send(text),
        }
    }
}

/// A WebSocket that shows whether any works.
struct Probe {
    socket: Socket,
    text: String,
}

impl Probe {
    /// Whether a frame comes over it.
    async fn is_answered(&mut self) -> bool {
        loop {
            match self.socket.next().await {
                Event::Opened => self.socket.send(self.text.clone()).await,
                Event::Received(_) => return true,
                _ => return false,
            }
        }
    }
}

/// A WebSocket that reports its opening and closing as events like any other. Dropped, it closes.
struct Socket {
    /// `None`: it could not even be made.
    inner: Option<WebSocket>,
    opened: bool,
}

impl Socket {
    fn open() -> Self {
        let location = window().location();
        let scheme = if location.protocol().as_deref() == Ok("https:") { "wss" } else { "ws" };
        let url = format!("{scheme}://{}/ws", location.host().unwrap_or_default());
        Self { inner: WebSocket::open(&url).ok(), opened: false }
    }

    /// The same, as if it had not been open yet.
    fn anew(self) -> Self {
        Self { opened: false, ..self }
    }

    async fn next(&mut self) -> Event {
        let Some(socket) = self.inner.as_mut() else { return Event::Closed(1006) };
        if !self.opened {
            // A sink is ready when the socket is no longer connecting.
            let _ = poll_fn(|context| socket.poll_ready_unpin(context)).await;
            if matches!(socket.state(), State::Open) {
                self.opened = true;
                return Event::Opened;
            }
        }
        loop {
            match socket.next().await {
                Some(Ok(Frame::Text(text))) => return Event::Received(text),
                Some(Err(WebSocketError::ConnectionClose(close))) => return Event::Closed(close.code),
                None => return Event::Closed(1006),
                // Noom's server sends text only, and an error is followed by a close.
                Some(Ok(Frame::Bytes(_)) | Err(_)) => {}
            }
        }
    }

    async fn send(&mut self, text: String) {
        if let Some(socket) = self.inner.as_mut() {
            // A connection that broke reports it by itself.
            let _ = socket.send(Frame::Text(text)).await;
        }
    }
}
