//! The meeting's task. It handles one event at a time and never waits meanwhile: what takes time, such as a permission
//! prompt or a negotiation, reports back as an event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender};
use futures::{FutureExt, StreamExt, select_biased};
use js_sys::Reflect;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{EventTarget, MediaStream};

use crate::client::Client;
use crate::client::call::devices::{self, Captured, DeviceKind, Prompt, Screen};
use crate::client::call::event::{CallIntent, Event};
use crate::client::call::level::Meter;
use crate::client::call::network::{NetworkEvent, NetworkWatch};
use crate::client::call::other_tabs::OtherTabs;
use crate::client::call::peer::{Peer, PeerState};
use crate::client::call::reopening::Reopening;
use crate::client::call::state::{CallState, DeviceState, Phase, Tile};
use crate::client::call::wake_lock::WakeLock;
use crate::client::event_listener::EventListener;
use crate::client::session::Intent;
use crate::client::state::Room;
use crate::client::timer::now;
use crate::protocol::call::IceServer;
use crate::protocol::peer::{PeerFrame, Reaction, Switch};
use crate::protocol::{Media, PeerId, RoomId};

/// The interval of measurements of the microphone.
const TICK: Duration = Duration::from_millis(150);
/// A pause of this length ends speech.
const SPEECH_PAUSE_MS: u64 = 600;
/// The interval of measurements of the connections, in ticks.
const QUALITY_TICKS: u64 = 13;
/// The time for a peer to come back after a reconnect at which the server did not list it.
const MISSING_TIMEOUT_MS: u64 = 15_000;
/// The same while its media still arrives: longer than the longest reconnect delay of its page.
const CONNECTED_MISSING_TIMEOUT_MS: u64 = 45_000;

pub(super) struct MeetingTask {
    pub(super) client: Client,
    pub(super) room: Room,
    pub(super) state: CallState,
    /// Owns the signals of tiles.
    pub(super) owner: Owner,
    pub(super) events: UnboundedSender<Event>,
    /// Our own peer id, while in the call.
    pub(super) me: Option<PeerId>,
    pub(super) remotes: BTreeMap<PeerId, Remote>,
    /// Peers that did not come back in time. They may still hold the connection that was closed here.
    pub(super) given_up: BTreeSet<PeerId>,
    pub(super) ice_servers: Vec<IceServer>,
    /// The time to request new TURN credentials, if there are any.
    pub(super) renew_at: Option<u64>,
    pub(super) microphone: Option<OpenDevice>,
    pub(super) camera: Option<OpenDevice>,
    pub(super) screen: Option<OpenScreen>,
    /// Groups the tracks that are sent.
    pub(super) stream: MediaStream,
    pub(super) meter: Option<Meter>,
    pub(super) spoke_at: Option<u64>,
    /// The number of attempts to open a device.
    pub(super) attempts: u64,
    /// The attempt whose result each device waits for.
    pub(super) wanted: BTreeMap<DeviceKind, Attempt>,
    /// The devices that have ended by themselves.
    pub(super) reopening: BTreeMap<DeviceKind, Reopening>,
    /// The media that were announced last, and when.
    pub(super) announced: Option<(Media, u64)>,
    network: NetworkWatch,
    /// While in the call.
    pub(super) presence: Option<CallPresence>,
    /// The last number that was given to a tile or reaction.
    numbers: u64,
    ticks: u64,
}

/// Another participant.
pub(super) struct Remote {
    pub(super) peer: Peer,
    pub(super) tile: Tile,
    /// The time of the reconnect at which the server did not list the peer.
    pub(super) missing_since: Option<u64>,
}

/// The effects of the call on the rest of the browser. They end when this is dropped.
pub(super) struct CallPresence {
    pub(super) _wake_lock: WakeLock,
    pub(super) _other_tabs: Option<OtherTabs>,
}

/// An attempt to open a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) since: u64,
}

pub(super) struct OpenDevice {
    pub(super) captured: Captured,
    /// The attempt that opened it.
    pub(super) attempt: u64,
    /// True while the system has paused the device: it sends nothing.
    pub(super) is_paused: bool,
    pub(super) _listeners: [EventListener; 3],
}

pub(super) struct OpenScreen {
    pub(super) screen: Screen,
    pub(super) _ended: EventListener,
}

impl MeetingTask {
    pub(super) fn new(
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
            remotes: BTreeMap::new(),
            given_up: BTreeSet::new(),
            ice_servers: Vec::new(),
            renew_at: None,
            microphone: None,
            camera: None,
            screen: None,
            stream,
            meter: None,
            spoke_at: None,
            attempts: 0,
            wanted: BTreeMap::new(),
            reopening: BTreeMap::new(),
            announced: None,
            network: NetworkWatch::new(network_kind()),
            presence: None,
            numbers: 0,
            ticks: 0,
        }
    }

    pub(super) async fn run(mut self, mut inbox: UnboundedReceiver<Event>) {
        let _listeners = self.listen();
        self.open(DeviceKind::Microphone, Prompt::Allowed);
        self.open(DeviceKind::Camera, Prompt::Allowed);
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
                Some(Event::Intent(CallIntent::Close)) | None => break,
                // The page of the meeting is gone, and its `Close` is still in the channel.
                Some(_) if self.state.phase.try_get_untracked().is_none() => break,
                Some(event) => self.handle(event),
            }
        }
        self.leave();
    }

    /// Listens to changes of devices and networks.
    fn listen(&self) -> Vec<EventListener> {
        let on = |target: &EventTarget, name, event: fn() -> Event| {
            let events = self.events.clone();
            EventListener::new(target, name, move |_| drop(events.unbounded_send(event())))
        };
        let window = window();
        let mut listeners = vec![on(&window, "online", || Event::Network(NetworkEvent::Online))];
        if let Ok(devices) = devices::media_devices() {
            listeners.push(on(&devices, "devicechange", || Event::DevicesChanged));
        }
        // A change from Wi-Fi to mobile data without being offline in between.
        if let Some(connection) = network_information() {
            let changed = || Event::Network(NetworkEvent::Changed(network_kind()));
            listeners.push(on(&connection, "change", changed));
        }
        listeners
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Call(update) => self.apply(update),
            Event::Intent(intent) => self.intend(intent),
            Event::Opened { kind, attempt, result } => self.opened(kind, attempt, result),
            Event::Shared(result) => self.shared(result),
            Event::DeviceEnded { kind, attempt } => self.device_ended(kind, attempt),
            Event::DevicePaused { kind, attempt, paused } => self.device_paused(kind, attempt, paused),
            Event::ScreenEnded => self.stop_sharing(),
            Event::DevicesChanged => self.find_devices(),
            Event::Devices(devices) => self.found_devices(devices),
            Event::Network(event) => {
                self.network.handle(now(), event);
                self.restart_ice_if_due(now());
            }
            Event::JoinedElsewhere(other) => self.joined_elsewhere(&other),
            Event::Peer(peer, report) => self.reported(peer, report),
        }
    }

    fn intend(&mut self, intent: CallIntent) {
        match intent {
            CallIntent::Join => {
                self.state.error.set(None);
                self.state.phase.set(Phase::Joining);
                self.client.dispatch(Intent::JoinCall { room: self.room_name() });
            }
            CallIntent::Mute(muted) => self.mute(muted),
            CallIntent::Camera(true) => self.open_for_user(DeviceKind::Camera),
            CallIntent::Camera(false) => {
                self.reopening.remove(&DeviceKind::Camera);
                self.close(DeviceKind::Camera);
                self.send_tracks();
            }
            CallIntent::Share(true) => self.share(),
            CallIntent::Share(false) => self.stop_sharing(),
            CallIntent::Use(kind, id) => self.use_device(kind, &id),
            CallIntent::RaiseHand(on) => {
                self.state.local.hand.set(on);
                self.broadcast(&PeerFrame::Hand(Switch { on }));
            }
            CallIntent::React(emoji) => {
                self.add_reaction(self.state.local, emoji.to_owned());
                self.broadcast(&PeerFrame::Reaction(Reaction { emoji: emoji.to_owned() }));
            }
            CallIntent::Details(shown) => {
                self.state.details.set(shown);
                self.measure_quality();
            }
            // Ends `run`.
            CallIntent::Close => {}
        }
    }

    fn tick(&mut self) {
        self.ticks += 1;
        let now = now();
        if let Some((level, is_speech)) = self.meter.as_mut().map(Meter::measure) {
            self.state.level.try_set(level);
            if is_speech {
                self.spoke_at = Some(now);
            }
            let speaks = self.spoke_at.is_some_and(|at| now < at + SPEECH_PAUSE_MS);
            self.set_speaking(speaks && self.media().audio);
        }
        if self.ticks.is_multiple_of(QUALITY_TICKS) {
            self.measure_quality();
        }
        self.give_up_missing(now);
        self.restart_ice_if_due(now);
        self.check_devices(now);
        self.announce_media(now);
        self.renew_credentials(now);
    }

    fn restart_ice_if_due(&mut self, now: u64) {
        if self.network.is_restart_due(now) {
            self.remotes.values().for_each(|remote| remote.peer.restart_ice());
        }
    }

    /// Removes the participants that did not come back in time after a reconnect.
    fn give_up_missing(&mut self, now: u64) {
        let timeout = |remote: &Remote| match remote.tile.connection.try_get_untracked() {
            Some(PeerState::Connected) => CONNECTED_MISSING_TIMEOUT_MS,
            Some(PeerState::Connecting | PeerState::Interrupted | PeerState::Unreachable) | None => MISSING_TIMEOUT_MS,
        };
        let is_lost = |remote: &Remote| remote.missing_since.is_some_and(|since| now > since + timeout(remote));
        let lost: Vec<_> = self.remotes.iter().filter(|(_, remote)| is_lost(remote)).map(|(peer, _)| *peer).collect();
        for peer in lost {
            self.given_up.insert(peer);
            self.remove_remote(peer);
        }
    }

    pub(super) fn set_speaking(&self, on: bool) {
        if self.state.local.speaking.try_get_untracked() == Some(!on) {
            self.state.local.speaking.set(on);
            self.broadcast(&PeerFrame::Speaking(Switch { on }));
        }
    }

    /// Measures the connections, if details are shown.
    fn measure_quality(&self) {
        if self.state.details.try_get_untracked() == Some(true) {
            self.remotes.values().for_each(|remote| remote.peer.measure());
        } else {
            for remote in self.remotes.values() {
                remote.tile.quality.try_set(None);
            }
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn room_id(&self) -> RoomId {
        self.room.id.try_get_value().unwrap_or_default()
    }

    pub(super) fn room_name(&self) -> String {
        self.room.name.try_get_value().unwrap_or_default()
    }

    pub(super) fn device_state(&self, kind: DeviceKind) -> RwSignal<DeviceState> {
        match kind {
            DeviceKind::Microphone => self.state.microphone,
            DeviceKind::Camera => self.state.camera,
        }
    }
}

/// The browser's information about the network. Not in all browsers.
fn network_information() -> Option<EventTarget> {
    Reflect::get(&window().navigator(), &"connection".into()).ok()?.dyn_into().ok()
}

/// The kind of network, on devices that tell it.
fn network_kind() -> Option<String> {
    let information = network_information()?;
    Reflect::get(&information, &"type".into()).ok()?.as_string()
}
