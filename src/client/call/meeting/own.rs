//! One's own devices in a meeting: opened, switched, closed; and what is sent of them.

use leptos::prelude::*;
use leptos::task::spawn_local;
use web_sys::MediaStream;

use super::{Event, Host};
use crate::client::call::devices::{self, Captured, Kind, Problem, Screen};
use crate::client::call::level::Meter;
use crate::client::call::listening::Listening;
use crate::client::call::peer::Outgoing;
use crate::client::call::quality::encoding;
use crate::client::call::state::Usage;
use crate::client::session::{Ask, Signal};
use crate::protocol::Media;
use crate::protocol::call::SetMedia;

/// An open device, and what tells that it is gone.
pub(super) struct Open {
    captured: Captured,
    _ended: Listening,
}

impl Host {
    fn usage(&self, kind: Kind) -> RwSignal<Usage> {
        match kind {
            Kind::Microphone => self.state.microphone,
            Kind::Camera => self.state.camera,
        }
    }

    pub(super) fn open(&mut self, kind: Kind) {
        self.attempts += 1;
        let attempt = self.attempts;
        self.wanted.insert(kind, attempt);
        self.usage(kind).try_set(Usage::Opening);
        let events = self.events.clone();
        spawn_local(async move {
            let result = devices::open(kind, kind.remembered()).await;
            let _ = events.unbounded_send(Event::Opened { kind, attempt, result });
        });
    }

    /// Mutes the microphone, or not; without one, tries to open it.
    pub(super) fn mute(&mut self, muted: bool) {
        self.state.muted.set(muted);
        match &self.microphone {
            Some(open) => open.captured.track().set_enabled(!muted),
            None if !muted => self.open(Kind::Microphone),
            None => {}
        }
        self.say_media();
    }

    pub(super) fn close(&mut self, kind: Kind) {
        self.wanted.remove(&kind);
        match kind {
            Kind::Microphone => {
                self.microphone = None;
                self.meter = None;
                self.speaking(false);
            }
            Kind::Camera => self.camera = None,
        }
        self.usage(kind).try_set(Usage::Off);
    }

    pub(super) fn opened(&mut self, kind: Kind, attempt: u64, result: Result<Captured, Problem>) {
        if self.wanted.get(&kind) != Some(&attempt) {
            // Thought better of meanwhile.
            return;
        }
        self.wanted.remove(&kind);
        match result {
            Ok(captured) => {
                let events = self.events.clone();
                let lost = move || drop(events.unbounded_send(Event::Lost(kind)));
                let track = captured.track();
                let open = Open { _ended: Listening::new(&track, "ended", lost), captured };
                let id = js_sys::Reflect::get(&track.get_settings(), &"deviceId".into());
                let id = id.ok().and_then(|id| id.as_string());
                match kind {
                    Kind::Microphone => {
                        // Before anybody can hear it.
                        track.set_enabled(!self.state.muted.get_untracked());
                        self.meter = Meter::new(&track);
                        self.state.microphone_id.set(id);
                        self.microphone = Some(open);
                    }
                    Kind::Camera => {
                        self.state.camera_id.set(id);
                        self.camera = Some(open);
                    }
                }
                self.usage(kind).set(Usage::On);
                self.find_devices();
            }
            // Whatever was in use still is.
            Err(_) if kind == Kind::Microphone && self.microphone.is_some() => self.state.microphone.set(Usage::On),
            Err(problem) => self.usage(kind).set(Usage::Failed(problem)),
        }
        self.send_tracks();
    }

    pub(super) fn find_devices(&self) {
        let events = self.events.clone();
        spawn_local(async move {
            let _ = events.unbounded_send(Event::Devices(devices::list().await));
        });
    }

    pub(super) fn shared(&mut self, result: Result<Screen, Problem>) {
        match result {
            Ok(screen) => {
                let video = screen.video.track();
                devices::set(&video, "contentHint", &"detail".into());
                let events = self.events.clone();
                let ended = move || drop(events.unbounded_send(Event::ScreenEnded));
                let listening = Listening::new(&video, "ended", ended);
                self.screen = Some((screen, listening));
                self.state.screen.set(Usage::On);
            }
            // Whoever thinks better of it needs no words.
            Err(Problem::Denied) => self.state.screen.set(Usage::Off),
            Err(problem) => self.state.screen.set(Usage::Failed(problem)),
        }
        self.send_tracks();
    }

    pub(super) fn stop_sharing(&mut self) {
        self.screen = None;
        self.state.screen.set(Usage::Off);
        self.send_tracks();
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        let track = |open: &Option<Open>| open.as_ref().map(|open| open.captured.track());
        let screen = self.screen.as_ref().map(|(screen, _)| screen);
        Outgoing {
            stream: Clone::clone(&self.stream),
            audio: track(&self.microphone),
            video: screen.map(|screen| screen.video.track()).or_else(|| track(&self.camera)),
            sound: screen.and_then(|screen| Some(screen.audio.as_ref()?.track())),
        }
    }

    pub(super) fn media(&self) -> Media {
        Media {
            audio: self.microphone.is_some() && !self.state.muted.get_untracked(),
            video: self.camera.is_some(),
            screen: self.screen.is_some(),
        }
    }

    /// After one's devices changed: everyone is sent what is there now, and told so.
    pub(super) fn send_tracks(&mut self) {
        let outgoing = self.outgoing();
        let own = outgoing.video.as_ref().and_then(|track| {
            let stream = MediaStream::new().ok()?;
            stream.add_track(track);
            Some(stream)
        });
        self.state.own.video.try_set(own);
        self.others.values().for_each(|other| other.peer.send(outgoing.clone()));
        self.encode();
        self.say_media();
    }

    pub(super) fn encode(&self) {
        let encoding = encoding(self.others.len(), self.screen.is_some());
        self.others.values().for_each(|other| other.peer.encode(encoding));
    }

    pub(super) fn say_media(&self) {
        let media = self.media();
        self.state.own.media.try_set(media);
        if self.me.is_some() {
            let Media { audio, video, screen } = media;
            let sent = SetMedia { room: self.room_name(), peer: None, audio, video, screen };
            self.client.ask(Ask::Signal(Signal::Media(sent)));
        }
    }
}
