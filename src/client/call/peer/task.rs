//! The task of a peer connection. It carries out one command after the other, as `negotiation` decides, and restarts
//! ICE with backoff while the connection does not work.

use std::cell::RefCell;
use std::pin::pin;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender};
use futures::{FutureExt, StreamExt, select_biased};
use wasm_bindgen::JsValue;
use web_sys::{MediaStream, MediaStreamTrack, RtcPeerConnectionState};

use super::message::{Command, PeerAddress, PeerSetup, PeerState, Report};
use super::rtc::{LocalTracks, RtcConnection, RtcEvent};
use super::stats::counters;
use crate::client::backoff::Backoff;
use crate::client::call::description::{is_described, without_candidates};
use crate::client::call::js::stream_of;
use crate::client::call::negotiation::{self, Initiator, Negotiation, Step};
use crate::client::call::quality::{Counters, Encoding};
use crate::client::session::Signal;
use crate::client::timer::{now, sleep_until};
use crate::protocol::MAX_SDP_BYTES;
use crate::protocol::call::{Candidate, Describe, Description, DescriptionKind, IceServer, Trickle};
use crate::protocol::peer::PeerFrame;

/// The time for a remote initiator to make the first offer.
const INITIATOR_TIMEOUT_MS: u64 = 3_000;
/// A connection that is not established by then is reported as unreachable.
const CONNECT_TIMEOUT_MS: u64 = 15_000;
/// The time for a disconnected connection to recover before ICE is restarted.
const RECOVERY_MS: u64 = 3_000;
/// The first delay between ICE restarts. It doubles with each restart.
const FIRST_RESTART_MS: u64 = 2_000;
/// The limit of that delay.
const MAX_RESTART_MS: u64 = 30_000;
/// The time to find candidates before a description is sent. Those that are found later are sent one by one.
const GATHER_MS: u64 = 250;
/// The interval in which it is checked that all were found.
const GATHER_STEP_MS: u64 = 25;
/// A description above this length is sent without its candidates, which follow one by one. The server allows twice as
/// much (`MAX_SDP_BYTES`).
const MAX_COMPLETE_SDP_BYTES: usize = MAX_SDP_BYTES / 2;
/// A connection whose negotiation fails is replaced by a new one at most this often.
const MAX_REBUILDS: u32 = 5;

pub(super) struct Task {
    address: PeerAddress,
    commands: UnboundedSender<Command>,
    report: Box<dyn Fn(Report)>,
    negotiation: Negotiation,
    /// The description that was sent last. It contains the candidates that need not be sent.
    described: RefCell<String>,
    ice_servers: Vec<IceServer>,
    tracks: LocalTracks,
    encoding: Encoding,
    /// `None`: the browser could not create a connection.
    rtc: Option<RtcConnection>,
    /// All received audio.
    audio: Vec<MediaStream>,
    state: PeerState,
    /// The time at which the connection is reported as unreachable.
    connect_deadline: Option<u64>,
    /// The time at which the wait for a remote initiator ends.
    initiator_deadline: Option<u64>,
    restart_at: Option<u64>,
    restart_backoff: Backoff,
    rebuilds: u32,
    counters: Counters,
}

impl Task {
    pub(super) fn new(setup: PeerSetup, commands: UnboundedSender<Command>, report: impl Fn(Report) + 'static) -> Self {
        let PeerSetup { address, role, initiator, ice_servers, tracks, encoding } = setup;
        Self {
            address,
            commands,
            report: Box::new(report),
            negotiation: Negotiation::new(role, initiator),
            described: RefCell::default(),
            ice_servers,
            tracks,
            encoding,
            rtc: None,
            audio: Vec::new(),
            state: PeerState::Connecting,
            connect_deadline: Some(now() + CONNECT_TIMEOUT_MS),
            initiator_deadline: (initiator == Initiator::Remote).then(|| now() + INITIATOR_TIMEOUT_MS),
            restart_at: None,
            restart_backoff: Backoff::new(FIRST_RESTART_MS, MAX_RESTART_MS),
            rebuilds: 0,
            counters: Counters::default(),
        }
    }

    pub(super) async fn run(mut self, mut inbox: UnboundedReceiver<Command>) {
        self.connect();
        loop {
            let next_wake =
                [self.connect_deadline, self.initiator_deadline, self.restart_at].into_iter().flatten().min();
            let command = {
                let mut wake = pin!(sleep_until(next_wake).fuse());
                select_biased! {
                    command = inbox.next() => Some(command.unwrap_or(Command::Close)),
                    () = wake => None,
                }
            };
            match command {
                Some(Command::Close) => return,
                Some(command) => self.carry_out(command).await,
                None => self.tick().await,
            }
        }
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Negotiate(event) => self.negotiate(event).await,
            Command::SendTracks(tracks) => {
                self.tracks = tracks;
                if let Some(rtc) = &mut self.rtc {
                    rtc.replace_tracks(&self.tracks).await;
                }
                self.apply_encoding().await;
            }
            Command::SetEncoding(encoding) => {
                self.encoding = encoding;
                self.apply_encoding().await;
            }
            Command::SetIceServers(servers) => {
                self.ice_servers = servers;
                if let Some(rtc) = &self.rtc {
                    rtc.set_ice_servers(&self.ice_servers);
                }
            }
            Command::SendFrame(frame) => {
                if let Some(rtc) = &self.rtc {
                    rtc.send_text(&frame.encode());
                }
            }
            Command::RestartIce => self.restart_at = Some(now()),
            Command::Measure => self.measure().await,
            Command::Rtc(event) => self.browser_event(event).await,
            // Ends `run`.
            Command::Close => {}
        }
    }

    async fn browser_event(&mut self, event: RtcEvent) {
        match event {
            RtcEvent::NegotiationNeeded => self.negotiate(negotiation::Event::NegotiationNeeded).await,
            RtcEvent::Candidate(candidate) => self.send_candidate(candidate),
            RtcEvent::StateChanged => self.state_changed(),
            RtcEvent::Track(track) => self.received_track(&track),
            RtcEvent::ChannelOpen => (self.report)(Report::ChannelOpen),
            RtcEvent::ChannelMessage(text) => {
                // A frame that cannot be decoded comes from a newer page, or from a modified one.
                if let Ok(frame) = PeerFrame::decode(&text) {
                    (self.report)(Report::Frame(frame));
                }
            }
        }
    }

    /// Creates the browser's connection with the current tracks.
    fn connect(&mut self) {
        let commands = self.commands.clone();
        let on_event = move |event| drop(commands.unbounded_send(Command::Rtc(event)));
        self.audio.clear();
        self.rtc = RtcConnection::open(&self.ice_servers, on_event).ok();
        if let Some(rtc) = &mut self.rtc {
            rtc.add_tracks(&self.tracks);
        }
    }

    async fn tick(&mut self) {
        let now = now();
        if self.initiator_deadline.take_if(|at| *at <= now).is_some() {
            self.negotiate(negotiation::Event::WaitExpired).await;
        }
        if self.connect_deadline.take_if(|at| *at <= now).is_some() {
            self.set_state(PeerState::Unreachable);
        }
        if self.restart_at.take_if(|at| *at <= now).is_some()
            && let Some(rtc) = &self.rtc
        {
            rtc.restart_ice();
            // Repeated until it works. A connection that works reports no new state when it merely changes its path.
            if rtc.state() != RtcPeerConnectionState::Connected {
                self.restart_at = Some(now + self.next_restart_delay());
            }
        }
    }

    fn next_restart_delay(&mut self) -> u64 {
        let delay = self.restart_backoff.delay_ms();
        self.restart_backoff.grow();
        delay
    }

    async fn negotiate(&mut self, event: negotiation::Event) {
        let mut steps = self.negotiation.handle(event);
        while let Some(failed) = self.first_failing(steps).await {
            if self.rebuilds >= MAX_REBUILDS {
                break;
            }
            // The two connections do not fit each other any more: replace ours.
            self.rebuilds += 1;
            self.connect();
            self.negotiation.reset();
            steps = self.negotiation.handle(match failed {
                // The peer may have replaced its connection already; its offer fits a new one.
                Step::Accept(offer) => negotiation::Event::Description(offer),
                Step::Offer | Step::Resend | Step::Complete(_) | Step::AddCandidate(_) => {
                    negotiation::Event::NegotiationNeeded
                }
            });
        }
        self.apply_encoding().await;
    }

    /// Carries steps out until one fails; returns that one.
    async fn first_failing(&self, steps: Vec<Step>) -> Option<Step> {
        for step in steps {
            if self.step(&step).await.is_err() {
                return Some(step);
            }
        }
        None
    }

    async fn step(&self, step: &Step) -> Result<(), JsValue> {
        let Some(rtc) = &self.rtc else { return Ok(()) };
        match step {
            Step::Offer => {
                rtc.describe().await?;
                self.send_description(rtc).await;
            }
            Step::Resend => self.send_description(rtc).await,
            Step::Accept(offer) => {
                rtc.apply(offer).await?;
                rtc.describe().await?;
                self.send_description(rtc).await;
            }
            Step::Complete(answer) => rtc.apply(answer).await?,
            Step::AddCandidate(candidate) => rtc.add_candidate(candidate.as_ref()).await,
        }
        Ok(())
    }

    /// Sends the description, after a short time in which most candidates are found: one signal instead of many.
    async fn send_description(&self, rtc: &RtcConnection) {
        let deadline = now() + GATHER_MS;
        while !rtc.has_all_candidates() && now() < deadline {
            sleep_until(Some(now() + GATHER_STEP_MS)).await;
        }
        let Some(mut description) = rtc.local_description() else { return };
        if description.sdp.len() > MAX_COMPLETE_SDP_BYTES {
            let mut split = without_candidates(&description.sdp);
            std::mem::swap(&mut description.sdp, &mut split.sdp);
            self.described.replace(String::new());
            self.report_description(description);
            split.candidates.into_iter().for_each(|candidate| self.report_candidate(Some(candidate)));
            return;
        }
        self.described.replace(description.sdp.clone());
        self.report_description(description);
    }

    fn report_description(&self, description: Description) {
        let PeerAddress { room, peer } = self.address.clone();
        let kind = description.kind;
        let signal = Describe { room, peer, description };
        (self.report)(Report::Signal(match kind {
            DescriptionKind::Offer => Signal::Offer(signal),
            DescriptionKind::Answer => Signal::Answer(signal),
        }));
    }

    /// Sends a candidate, unless the last description contains it.
    fn send_candidate(&self, candidate: Option<Candidate>) {
        if !is_described(&self.described.borrow(), candidate.as_ref()) {
            self.report_candidate(candidate);
        }
    }

    fn report_candidate(&self, candidate: Option<Candidate>) {
        let PeerAddress { room, peer } = self.address.clone();
        (self.report)(Report::Signal(Signal::Ice(Trickle { room, peer, candidate })));
    }

    async fn apply_encoding(&self) {
        if let Some(rtc) = &self.rtc {
            rtc.set_encoding(self.encoding).await;
        }
    }

    fn state_changed(&mut self) {
        let Some(rtc) = &self.rtc else { return };
        let was_connected = matches!(self.state, PeerState::Connected | PeerState::Interrupted);
        let state = match rtc.state() {
            RtcPeerConnectionState::Connected => {
                self.restart_at = None;
                self.connect_deadline = None;
                self.restart_backoff.reset();
                PeerState::Connected
            }
            RtcPeerConnectionState::Disconnected => {
                self.restart_at = Some(now() + RECOVERY_MS);
                PeerState::Interrupted
            }
            RtcPeerConnectionState::Failed => {
                let delay = if self.restart_backoff.is_reset() { 0 } else { self.next_restart_delay() };
                self.restart_at = Some(now() + delay);
                if was_connected { PeerState::Interrupted } else { PeerState::Unreachable }
            }
            // A new attempt is not yet an improvement.
            _ => return,
        };
        self.set_state(state);
    }

    fn set_state(&mut self, state: PeerState) {
        if self.state != state {
            self.state = state;
            (self.report)(Report::State(state));
        }
    }

    fn received_track(&mut self, track: &MediaStreamTrack) {
        if self.rtc.is_none() {
            return;
        }
        let Some(stream) = stream_of(track) else { return };
        if track.kind() == "video" {
            (self.report)(Report::Video(stream));
        } else {
            self.audio.push(stream);
            (self.report)(Report::Audio(self.audio.clone()));
        }
    }

    async fn measure(&mut self) {
        let Some(rtc) = &self.rtc else { return };
        let Ok(report) = rtc.stats().await else { return };
        let counters = counters(&report);
        let quality = counters.since(&std::mem::replace(&mut self.counters, counters));
        (self.report)(Report::Quality(quality));
    }
}
