//! A call, from its preview to its end: one's devices, the others, and what each is told.
//!
//! One task takes one event after the other and never waits while it handles one; what takes time (a
//! device that asks for permission, a connection that is negotiated) reports back as an event.

mod others;
mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt, select_biased};
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast;
use web_sys::{EventTarget, MediaStream};

use super::devices::{self, Captured, Device, Kind, Problem, Screen};
use super::level::Meter;
use super::listening::Listening;
use super::state::{CallState, Phase, Usage};
use crate::client::Client;
use crate::client::session::{Ask, CallChange};
use crate::client::socket::now;
use crate::client::state::Room;
use crate::protocol::call::{IceServer, PeerFrame, Reaction, Switch};
use crate::protocol::{PeerId, User};

pub use super::peer::{Link, Report};
use others::Other;
use own::Open;

/// How often one's own voice is listened to.
const TICK: Duration = Duration::from_millis(150);
/// Whoever pauses this long has stopped talking.
const PAUSE_MS: u64 = 600;
/// How often the quality of connections is asked for, in ticks.
const LOOK_EVERY: u64 = 13;
/// Somebody whom the server does not know after a reconnection may come back in this time …
const MISSED_FOR_MS: u64 = 15_000;
/// … or in this, as long as one sees and hears them: the longest pause of a page that comes back, and then some.
const SEEN_FOR_MS: u64 = 45_000;

/// What happens to a meeting.
#[derive(Debug)]
pub enum Event {
    /// The server says something about the call.
    Call(CallChange),
    /// One wants something.
    Wish(Wish),
    /// A device was opened, or not.
    Opened {
        /// What it is.
        kind: Kind,
        /// Which attempt this answers.
        attempt: u64,
        /// The track, or why not.
        result: Result<Captured, Problem>,
    },
    /// A screen is shared, or not.
    Shared(Result<Screen, Problem>),
    /// A device is gone.
    Lost(Kind),
    /// The screen is shared no more: ended outside of the page.
    ScreenEnded,
    /// Devices came or went.
    DevicesChanged,
    /// The devices that there are.
    Devices(Vec<Device>),
    /// The network is another one.
    NetworkChanged,
    /// Something about the connection to somebody.
    Peer(PeerId, Report),
}

/// What one wants in a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// To join it.
    Join,
    /// To be heard, or not.
    Mute(bool),
    /// To be seen, or not.
    Camera(bool),
    /// To share a screen, or not.
    Share(bool),
    /// To use another device.
    Use(Kind, String),
    /// To raise one's hand, or not.
    Hand(bool),
    /// To react with an emoji.
    React(&'static str),
    /// To see details of the connections, or not.
    Details(bool),
    /// To leave, and close the devices.
    Close,
}

/// A meeting, for views. Copies are the same.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// What is shown.
    pub state: CallState,
    events: StoredValue<UnboundedSender<Event>>,
}

impl Meeting {
    /// Opens the devices for a look at oneself. Only in the browser; ended with [`Wish::Close`].
    pub fn open(client: Client, room: Room, me: User) -> Self {
        let (events, inbox) = unbounded();
        let state = CallState::new(me);
        client.state.calls.attach(events.clone());
        if let Some(stream) = MediaStream::new().ok().zip(Owner::current()) {
            let (stream, owner) = stream;
            spawn_local(Host::new(client, room, state, owner, events.clone(), stream).run(inbox));
        }
        Self { state, events: StoredValue::new(events) }
    }

    /// Wants something.
    pub fn wish(&self, wish: Wish) {
        self.events.try_with_value(|events| {
            // A meeting that has ended grants nothing.
            let _ = events.unbounded_send(Event::Wish(wish));
        });
    }
}

/// The task.
struct Host {
    client: Client,
    room: Room,
    state: CallState,
    /// Owns the signals of tiles.
    owner: Owner,
    events: UnboundedSender<Event>,
    me: Option<PeerId>,
    others: BTreeMap<PeerId, Other>,
    /// Whom one gave up on while the server did not know them either.
    given_up: BTreeSet<PeerId>,
    ice_servers: Vec<IceServer>,
    ice_servers_at: u64,
    microphone: Option<Open>,
    camera: Option<Open>,
    screen: Option<(Screen, Listening)>,
    stream: MediaStream,
    meter: Option<Meter>,
    spoke_at: Option<u64>,
    attempts: u64,
    /// The attempt whose result each device waits for.
    wanted: BTreeMap<Kind, u64>,
    /// What tiles and reactions are told apart by.
    numbers: u64,
    ticks: u64,
}

impl Host {
    fn new(
        client: Client,
        room: Room,
        state: CallState,
        owner: Owner,
        events: UnboundedSender<Event>,
        stream: MediaStream,
    ) -> Self {
        Self {
            client,
            room,
            state,
            owner,
            events,
            me: None,
            others: BTreeMap::new(),
            given_up: BTreeSet::new(),
            ice_servers: Vec::new(),
            ice_servers_at: 0,
            microphone: None,
            camera: None,
            screen: None,
            stream,
            meter: None,
            spoke_at: None,
            attempts: 0,
            wanted: BTreeMap::new(),
            numbers: 0,
            ticks: 0,
        }
    }

    async fn run(mut self, mut inbox: UnboundedReceiver<Event>) {
        let _listening = self.listen();
        self.open(Kind::Microphone);
        self.open(Kind::Camera);
        loop {
            let mut tick = gloo_timers::future::sleep(TICK).fuse();
            let event = select_biased! {
                event = inbox.next() => event,
                () = tick => {
                    self.tick();
                    continue;
                }
            };
            match event {
                Some(Event::Wish(Wish::Close)) | None => break,
                // The page that shows the meeting is gone, and its wish to close is on its way.
                Some(_) if self.state.phase.try_get_untracked().is_none() => break,
                Some(event) => self.handle(event),
            }
        }
        self.leave();
    }

    /// Listens for what the browser says of devices and networks.
    fn listen(&self) -> Vec<Listening> {
        let tell = |event: fn() -> Event| {
            let events = self.events.clone();
            move || drop(events.unbounded_send(event()))
        };
        let window = window();
        let mut listening = vec![Listening::new(&window, "online", tell(|| Event::NetworkChanged))];
        if let Some(devices) = devices::watched() {
            listening.push(Listening::new(&devices, "devicechange", tell(|| Event::DevicesChanged)));
        }
        // Not in all browsers: Wi-Fi to mobile, without being offline in between.
        if let Ok(connection) = js_sys::Reflect::get(&window.navigator(), &"connection".into())
            && let Ok(connection) = connection.dyn_into::<EventTarget>()
        {
            listening.push(Listening::new(&connection, "change", tell(|| Event::NetworkChanged)));
        }
        listening
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Call(change) => self.call_changed(change),
            Event::Wish(wish) => self.grant(wish),
            Event::Opened { kind, attempt, result } => self.opened(kind, attempt, result),
            Event::Shared(result) => self.shared(result),
            Event::Lost(kind) => {
                self.close(kind);
                // Another may do.
                self.open(kind);
            }
            Event::ScreenEnded => self.stop_sharing(),
            Event::DevicesChanged => self.find_devices(),
            Event::Devices(devices) => {
                self.state.devices.try_set(devices);
            }
            Event::NetworkChanged => self.others.values().for_each(|other| other.peer.restart()),
            Event::Peer(peer, report) => self.reported(peer, report),
        }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Join => {
                self.state.trouble.set(None);
                self.state.phase.set(Phase::Joining);
                self.client.ask(Ask::JoinCall { room: self.room_name() });
            }
            Wish::Mute(muted) => self.mute(muted),
            Wish::Camera(true) => self.open(Kind::Camera),
            Wish::Camera(false) => {
                self.close(Kind::Camera);
                self.send_tracks();
            }
            // The browser is asking already.
            Wish::Share(true) if self.state.screen.get_untracked() == Usage::Opening => {}
            Wish::Share(true) => {
                self.state.screen.set(Usage::Opening);
                let events = self.events.clone();
                spawn_local(async move {
                    let _ = events.unbounded_send(Event::Shared(Screen::open().await));
                });
            }
            Wish::Share(false) => self.stop_sharing(),
            Wish::Use(kind, id) => {
                kind.remember(&id);
                // Phones open one camera at a time. A camera that is off stays off.
                let in_use = match kind {
                    Kind::Microphone => true,
                    Kind::Camera => self.camera.take().is_some(),
                };
                if in_use {
                    self.open(kind);
                }
            }
            Wish::Hand(on) => {
                self.state.own.hand.set(on);
                self.tell_all(&PeerFrame::Hand(Switch { on }));
            }
            Wish::React(emoji) => {
                self.react(self.state.own, emoji.to_owned());
                self.tell_all(&PeerFrame::Reaction(Reaction { emoji: emoji.to_owned() }));
            }
            Wish::Details(shown) => {
                self.state.details.set(shown);
                self.look();
            }
            Wish::Close => {}
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        let now = now();
        if let Some((level, speaks)) = self.meter.as_mut().map(Meter::look) {
            self.state.level.try_set(level);
            if speaks {
                self.spoke_at = Some(now);
            }
            let heard = self.media().audio && self.spoke_at.is_some_and(|at| now < at + PAUSE_MS);
            self.speaking(heard);
        }
        if self.ticks.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        let patience = |other: &Other| match other.tile.link.try_get_untracked() {
            Some(Link::Connected) => SEEN_FOR_MS,
            _ => MISSED_FOR_MS,
        };
        let is_lost = |other: &Other| other.missed_since.is_some_and(|since| now > since + patience(other));
        let lost: Vec<_> = self.others.iter().filter(|(_, other)| is_lost(other)).map(|(peer, _)| *peer).collect();
        for peer in lost {
            self.given_up.insert(peer);
            self.part(peer);
        }
    }

    fn speaking(&self, on: bool) {
        if self.state.own.speaking.try_get_untracked() == Some(!on) {
            self.state.own.speaking.set(on);
            self.tell_all(&PeerFrame::Speaking(Switch { on }));
        }
    }

    fn look(&self) {
        if self.state.details.try_get_untracked() == Some(true) {
            self.others.values().for_each(|other| other.peer.look());
        } else {
            for other in self.others.values() {
                other.tile.quality.try_set(None);
            }
        }
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn room_name(&self) -> String {
        self.room.name.try_get_value().unwrap_or_default()
    }
}
