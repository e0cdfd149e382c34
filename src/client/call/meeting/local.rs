//! The local side of a meeting: opening, switching and closing the user's devices, and sending their tracks.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::task::{Attempt, MeetingTask, OpenDevice, OpenScreen};
use crate::client::call::devices::{self, Captured, Device, DeviceError, DeviceKind, Prompt, Screen};
use crate::client::call::event::Event;
use crate::client::call::js::stream_of;
use crate::client::call::level::Meter;
use crate::client::call::peer::LocalTracks;
use crate::client::call::quality::encoding;
use crate::client::call::state::DeviceState;
use crate::client::session::{Intent, Signal};
use crate::client::timer::now;
use crate::protocol::Media;
use crate::protocol::call::SetMedia;

/// The time after which a device that does not answer is reported. The browser may be asking for permission meanwhile.
const ANSWER_TIMEOUT_MS: u64 = 10_000;
/// The shortest time between two announcements of the own media.
const MEDIA_INTERVAL_MS: u64 = 300;

impl MeetingTask {
    pub(super) fn open(&mut self, kind: DeviceKind, prompt: Prompt) {
        self.attempts += 1;
        let attempt = self.attempts;
        self.wanted.insert(kind, Attempt { number: attempt, since: now() });
        self.device_state(kind).try_set(DeviceState::Opening);
        let events = self.events.clone();
        spawn_local(async move {
            let result = devices::open(kind, kind.preferred(), prompt).await;
            let _ = events.unbounded_send(Event::Opened { kind, attempt, result });
        });
    }

    /// Opens a device that the user wants: earlier failures do not count any more.
    pub(super) fn open_for_user(&mut self, kind: DeviceKind) {
        self.reopening.remove(&kind);
        self.open(kind, Prompt::Allowed);
    }

    /// Mutes or unmutes the microphone. Unmuting without a microphone tries to open one.
    pub(super) fn mute(&mut self, muted: bool) {
        self.state.muted.set(muted);
        self.state.muted_by_other_tab.set(false);
        match &self.microphone {
            Some(open) => open.captured.track().set_enabled(!muted),
            None if !muted => self.open_for_user(DeviceKind::Microphone),
            None => {}
        }
        self.send_media();
    }

    pub(super) fn close(&mut self, kind: DeviceKind) {
        self.wanted.remove(&kind);
        match kind {
            DeviceKind::Microphone => {
                self.microphone = None;
                self.meter = None;
                self.set_speaking(false);
            }
            DeviceKind::Camera => self.camera = None,
        }
        self.paused(kind).try_set(false);
        self.device_state(kind).try_set(DeviceState::Off);
    }

    /// Uses another device from now on. A camera that is off stays off.
    pub(super) fn use_device(&mut self, kind: DeviceKind, id: &str) {
        kind.prefer(id);
        let is_in_use = match kind {
            DeviceKind::Microphone => true,
            // Closed first, because phones open one camera at a time.
            DeviceKind::Camera => self.camera.take().is_some(),
        };
        if is_in_use {
            self.open_for_user(kind);
        }
    }

    pub(super) fn opened(&mut self, kind: DeviceKind, attempt: u64, result: Result<Captured, DeviceError>) {
        if self.wanted.get(&kind).is_none_or(|wanted| wanted.number != attempt) {
            // The device was closed, or another one chosen, while the browser asked for permission.
            return;
        }
        self.wanted.remove(&kind);
        match result {
            Ok(captured) => self.use_captured(kind, attempt, captured),
            // The microphone in use stays in use.
            Err(_) if kind == DeviceKind::Microphone && self.microphone.is_some() => {
                self.state.microphone.set(DeviceState::On);
            }
            Err(error) => self.device_state(kind).set(DeviceState::Failed(error)),
        }
        self.send_tracks();
    }

    fn use_captured(&mut self, kind: DeviceKind, attempt: u64, captured: Captured) {
        let on = |name, event: fn(DeviceKind, u64) -> Event| {
            let events = self.events.clone();
            captured.on(name, move || drop(events.unbounded_send(event(kind, attempt))))
        };
        let listeners = [
            on("ended", |kind, attempt| Event::DeviceEnded { kind, attempt }),
            on("mute", |kind, attempt| Event::DevicePaused { kind, attempt, paused: true }),
            on("unmute", |kind, attempt| Event::DevicePaused { kind, attempt, paused: false }),
        ];
        let (id, is_paused) = (captured.device_id(), captured.is_paused());
        self.paused(kind).set(is_paused);
        self.reopening.entry(kind).or_default().opened(now());
        match kind {
            DeviceKind::Microphone => {
                // Muted before anything is sent.
                captured.track().set_enabled(!self.state.muted.get_untracked());
                self.meter = Meter::new(&captured.track());
                self.state.microphone_id.set(id);
                self.microphone = Some(OpenDevice { captured, attempt, is_paused, _listeners: listeners });
            }
            DeviceKind::Camera => {
                self.state.camera_id.set(id);
                self.camera = Some(OpenDevice { captured, attempt, is_paused, _listeners: listeners });
            }
        }
        self.device_state(kind).set(DeviceState::On);
        self.find_devices();
    }

    /// A device has ended, and not by the page. The others must not see its last picture for the rest of the call.
    pub(super) fn device_ended(&mut self, kind: DeviceKind, attempt: u64) {
        if self.device(kind).as_ref().is_none_or(|open| open.attempt != attempt) {
            return;
        }
        self.close(kind);
        self.device_state(kind).try_set(DeviceState::Failed(DeviceError::Lost));
        self.send_tracks();
        // There may be another device of the kind.
        self.reopening.entry(kind).or_default().ended(now());
        self.check_devices(now());
    }

    /// The system has paused or resumed a device.
    pub(super) fn device_paused(&mut self, kind: DeviceKind, attempt: u64, paused: bool) {
        if let Some(open) = self.device(kind).as_mut().filter(|open| open.attempt == attempt) {
            open.is_paused = paused;
            self.paused(kind).try_set(paused);
            self.send_media();
        }
    }

    /// Opens the devices that are to be opened again, and reports those that do not answer.
    pub(super) fn check_devices(&mut self, now: u64) {
        for kind in [DeviceKind::Microphone, DeviceKind::Camera] {
            if self.reopening.get_mut(&kind).is_some_and(|device| device.is_due(now)) {
                self.open(kind, Prompt::Avoided);
            }
            let is_late = self.wanted.get(&kind).is_some_and(|wanted| now > wanted.since + ANSWER_TIMEOUT_MS);
            if is_late && self.device_state(kind).try_get_untracked() == Some(DeviceState::Opening) {
                // A late answer is still used.
                self.device_state(kind).try_set(DeviceState::Failed(DeviceError::Unresponsive));
            }
        }
    }

    /// The list of devices. One that was plugged in may replace one that has ended.
    pub(super) fn found_devices(&mut self, found: Vec<Device>) {
        let known = self.state.devices.try_get_untracked().unwrap_or_default();
        for kind in [DeviceKind::Microphone, DeviceKind::Camera] {
            let is_new = |device: &&Device| device.kind == kind && !known.iter().any(|other| other.id == device.id);
            let is_open = self.device(kind).is_some() || self.wanted.contains_key(&kind);
            if !is_open && found.iter().any(|device| is_new(&device)) {
                self.reopening.entry(kind).or_default().plugged_in(now());
            }
        }
        self.state.devices.try_set(found);
        self.check_devices(now());
    }

    fn device(&mut self, kind: DeviceKind) -> &mut Option<OpenDevice> {
        match kind {
            DeviceKind::Microphone => &mut self.microphone,
            DeviceKind::Camera => &mut self.camera,
        }
    }

    fn paused(&self, kind: DeviceKind) -> RwSignal<bool> {
        match kind {
            DeviceKind::Microphone => self.state.microphone_paused,
            DeviceKind::Camera => self.state.camera_paused,
        }
    }

    pub(super) fn find_devices(&self) {
        let events = self.events.clone();
        spawn_local(async move {
            let _ = events.unbounded_send(Event::Devices(devices::list().await));
        });
    }

    pub(super) fn share(&mut self) {
        // The browser already asks what to share.
        if self.state.screen.get_untracked() == DeviceState::Opening {
            return;
        }
        self.state.screen.set(DeviceState::Opening);
        let events = self.events.clone();
        spawn_local(async move {
            let _ = events.unbounded_send(Event::Shared(Screen::open().await));
        });
    }

    pub(super) fn shared(&mut self, result: Result<Screen, DeviceError>) {
        match result {
            Ok(screen) => {
                let events = self.events.clone();
                let ended = screen.video.on_ended(move || drop(events.unbounded_send(Event::ScreenEnded)));
                self.screen = Some(OpenScreen { screen, _ended: ended });
                self.state.screen.set(DeviceState::On);
            }
            // A user who cancels needs no error message.
            Err(DeviceError::Denied) => self.state.screen.set(DeviceState::Off),
            Err(error) => self.state.screen.set(DeviceState::Failed(error)),
        }
        self.send_tracks();
    }

    pub(super) fn stop_sharing(&mut self) {
        self.screen = None;
        self.state.screen.set(DeviceState::Off);
        self.send_tracks();
    }

    pub(super) fn local_tracks(&self) -> LocalTracks {
        let track = |open: &Option<OpenDevice>| open.as_ref().map(|open| open.captured.track());
        let screen = self.screen.as_ref().map(|open| &open.screen);
        LocalTracks {
            stream: Clone::clone(&self.stream),
            audio: track(&self.microphone),
            video: screen.map(|screen| screen.video.track()).or_else(|| track(&self.camera)),
            screen_audio: screen.and_then(|screen| Some(screen.audio.as_ref()?.track())),
        }
    }

    pub(super) fn media(&self) -> Media {
        let sends = |open: &Option<OpenDevice>| open.as_ref().is_some_and(|open| !open.is_paused);
        Media {
            audio: sends(&self.microphone) && !self.state.muted.get_untracked(),
            video: sends(&self.camera),
            screen: self.screen.is_some(),
        }
    }

    /// Sends the current tracks to all peers, after a device or the screen has changed.
    pub(super) fn send_tracks(&mut self) {
        let tracks = self.local_tracks();
        self.state.local.video.try_set(tracks.video.as_ref().and_then(stream_of));
        self.remotes.values().for_each(|remote| remote.peer.send_tracks(tracks.clone()));
        self.update_encoding();
        self.send_media();
    }

    /// Adapts the encoding to the number of receivers.
    pub(super) fn update_encoding(&self) {
        let encoding = encoding(self.remotes.len(), self.screen.is_some());
        self.remotes.values().for_each(|remote| remote.peer.set_encoding(encoding));
    }

    /// Announces to all peers which media the user sends.
    pub(super) fn send_media(&mut self) {
        self.state.local.media.try_set(self.media());
        self.announce_media(now());
    }

    /// Announces the media if they differ from the last announcement, and not too often: a device may come and go.
    pub(super) fn announce_media(&mut self, now: u64) {
        let media = self.media();
        let is_due = self.announced.is_none_or(|(announced, at)| announced != media && now >= at + MEDIA_INTERVAL_MS);
        if self.me.is_some() && is_due {
            self.announced = Some((media, now));
            let Media { audio, video, screen } = media;
            let signal = Signal::Media(SetMedia { room: self.room_id(), peer: None, audio, video, screen });
            self.client.dispatch(Intent::Signal(signal));
        }
    }
}
