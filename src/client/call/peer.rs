//! The connection to one other peer: an `RTCPeerConnection`, and a task that does one thing after the
//! other with it. What to do is `negotiation`'s to say.

mod wire;

use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt, select_biased};
use js_sys::{Array, Reflect};
use leptos::task::spawn_local;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    MediaStream, MediaStreamTrack, RtcDataChannelState, RtcIceCandidateInit, RtcPeerConnection, RtcPeerConnectionState,
    RtcSdpType,
};

use super::devices::set;
use super::negotiation::{Event as Heard, Negotiation, Step};
use super::quality::{Counters, Encoding, Quality};
use crate::client::session::Signal;
use crate::client::socket::now;
use crate::protocol::PeerId;
use crate::protocol::call::{Candidate, Describe, Description, DescriptionKind, IceServer, PeerFrame, Trickle};

use wire::{Wire, configuration, read_stats, take_description};

/// A newcomer has this long to begin; then we do.
const NEWCOMER_BEGINS_WITHIN_MS: u64 = 3_000;
/// A connection that is not there after this is said not to be.
const CONNECTS_WITHIN_MS: u64 = 15_000;
/// A connection that went quiet may come back by itself in this time.
const QUIET_MS: u64 = 3_000;
/// The first pause between attempts to connect anew; each further one is twice as long …
const FIRST_PAUSE_MS: u64 = 1_000;
/// … up to this.
const LONGEST_PAUSE_MS: u64 = 30_000;
/// A connection that cannot be negotiated is thrown away and made anew so many times.
const REBUILDS: u32 = 5;

/// What one sends to the others.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    /// Groups the tracks.
    pub(super) stream: MediaStream,
    /// The microphone.
    pub(super) audio: Option<MediaStreamTrack>,
    /// The screen, else the camera.
    pub(super) video: Option<MediaStreamTrack>,
    /// The screen's sound.
    pub(super) sound: Option<MediaStreamTrack>,
}

/// How it stands with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not there yet.
    Connecting,
    /// There.
    Connected,
    /// It was there, and will be again.
    Interrupted,
    /// No way was found; more are tried.
    Unreachable,
}

/// What the meeting hears of a connection.
#[derive(Clone, Debug)]
pub enum Report {
    /// Pass this to the other side, through the server.
    Signal(Signal),
    /// The server refused to pass something on, and may do so now.
    Refused,
    /// How it stands.
    Link(Link),
    /// A picture comes in.
    Video(MediaStream),
    /// A sound comes in: all sounds up to now.
    Audio(Vec<MediaStream>),
    /// The other side can be told things directly now.
    Reachable,
    /// The other side said something directly.
    Told(PeerFrame),
    /// How well it works.
    Quality(Quality),
}

/// What the connection's task is to do next.
enum Command {
    Hear(Heard),
    Send(Outgoing),
    Encode(Encoding),
    IceServers(Vec<IceServer>),
    Tell(PeerFrame),
    Restart,
    Look,
    Close,
    // From the browser.
    Found(Option<Candidate>),
    StateChanged,
    Track(MediaStreamTrack),
    ChannelOpen,
    ChannelSaid(String),
}

/// A connection. Dropped, it closes.
#[derive(Debug)]
pub(super) struct Peer(UnboundedSender<Command>);

impl Peer {
    /// Begins to connect. `waits`: the other side begins. `report` hears what happens.
    pub(super) fn open(
        names: Names,
        polite: bool,
        waits: bool,
        ice_servers: Vec<IceServer>,
        outgoing: Outgoing,
        encoding: Encoding,
        report: impl Fn(Report) + 'static,
    ) -> Self {
        let (commands, inbox) = unbounded();
        let task = Task {
            names,
            commands: commands.clone(),
            report: Box::new(report),
            negotiation: Negotiation::new(polite, waits),
            ice_servers,
            outgoing,
            encoding,
            wire: None,
            link: Link::Connecting,
            overdue_at: Some(now() + CONNECTS_WITHIN_MS),
            begin_at: waits.then(|| now() + NEWCOMER_BEGINS_WITHIN_MS),
            restart_at: None,
            attempts: 0,
            rebuilds: 0,
            counters: Counters::default(),
        };
        spawn_local(task.run(inbox));
        Self(commands)
    }

    /// Something came from the other side, through the server.
    pub(super) fn hear(&self, heard: Heard) {
        self.command(Command::Hear(heard));
    }

    /// Sends these tracks from now on.
    pub(super) fn send(&self, outgoing: Outgoing) {
        self.command(Command::Send(outgoing));
    }

    /// Sends pictures like this from now on.
    pub(super) fn encode(&self, encoding: Encoding) {
        self.command(Command::Encode(encoding));
    }

    /// Uses these servers from the next attempt on.
    pub(super) fn use_servers(&self, servers: Vec<IceServer>) {
        self.command(Command::IceServers(servers));
    }

    /// Tells the other side something directly.
    pub(super) fn tell(&self, frame: PeerFrame) {
        self.command(Command::Tell(frame));
    }

    /// Looks for a way anew: the network changed.
    pub(super) fn restart(&self) {
        self.command(Command::Restart);
    }

    /// Asks for a [`Report::Quality`].
    pub(super) fn look(&self) {
        self.command(Command::Look);
    }

    fn command(&self, command: Command) {
        // The task ends only with this.
        let _ = self.0.unbounded_send(command);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.command(Command::Close);
    }
}

/// Who talks to whom, and where.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The room.
    pub(super) room: String,
    /// The other side.
    pub(super) peer: PeerId,
}

struct Task {
    names: Names,
    commands: UnboundedSender<Command>,
    report: Box<dyn Fn(Report)>,
    negotiation: Negotiation,
    ice_servers: Vec<IceServer>,
    outgoing: Outgoing,
    encoding: Encoding,
    wire: Option<Wire>,
    link: Link,
    overdue_at: Option<u64>,
    begin_at: Option<u64>,
    restart_at: Option<u64>,
    attempts: u32,
    rebuilds: u32,
    counters: Counters,
}

impl Task {
    async fn run(mut self, mut inbox: UnboundedReceiver<Command>) {
        self.connect();
        loop {
            let wakes = [self.overdue_at, self.begin_at, self.restart_at];
            let mut wake = match wakes.into_iter().flatten().min() {
                Some(at) => gloo_timers::future::sleep(Duration::from_millis(at.saturating_sub(now()))).boxed_local(),
                None => std::future::pending().boxed_local(),
            }
            .fuse();
            let command = select_biased! {
                command = inbox.next() => command.unwrap_or(Command::Close),
                () = wake => {
                    self.wake().await;
                    continue;
                }
            };
            match command {
                Command::Hear(heard) => self.hear(heard).await,
                Command::Send(outgoing) => {
                    self.outgoing = outgoing;
                    self.send_tracks().await;
                }
                Command::Encode(encoding) => {
                    self.encoding = encoding;
                    self.apply_encoding().await;
                }
                Command::IceServers(servers) => self.use_servers(servers),
                Command::Tell(frame) => {
                    if let Some(wire) = &self.wire
                        && wire.channel.ready_state() == RtcDataChannelState::Open
                    {
                        let _ = wire.channel.send_with_str(&frame.encode());
                    }
                }
                Command::Restart => self.restart_at = Some(now()),
                Command::Look => self.look().await,
                Command::Found(candidate) => {
                    let Names { room, peer } = self.names.clone();
                    (self.report)(Report::Signal(Signal::Ice(Trickle { room, peer, candidate })));
                }
                Command::StateChanged => self.state_changed(),
                Command::Track(track) => self.take_track(&track),
                Command::ChannelOpen => (self.report)(Report::Reachable),
                Command::ChannelSaid(text) => {
                    // What cannot be read comes from a newer page, or from somebody odd.
                    if let Ok(frame) = PeerFrame::decode(&text) {
                        (self.report)(Report::Told(frame));
                    }
                }
                Command::Close => return,
            }
        }
    }

    /// Makes the connection with what is sent at the moment.
    fn connect(&mut self) {
        self.wire = Wire::open(&self.ice_servers, &self.commands).ok();
        if let Some(wire) = &mut self.wire {
            wire.add_tracks(&self.outgoing);
        }
    }

    async fn wake(&mut self) {
        let now = now();
        if self.begin_at.take_if(|at| *at <= now).is_some() {
            self.hear(Heard::Waited).await;
        }
        if self.overdue_at.take_if(|at| *at <= now).is_some() {
            self.set_link(Link::Unreachable);
        }
        if self.restart_at.take_if(|at| *at <= now).is_some()
            && let Some(wire) = &self.wire
        {
            wire.connection.restart_ice();
            // Again, until it works. One that works says so no more while it is made to find another way.
            if wire.connection.connection_state() != RtcPeerConnectionState::Connected {
                self.restart_at = Some(now + self.next_pause());
            }
        }
    }

    fn next_pause(&mut self) -> u64 {
        let pause = FIRST_PAUSE_MS.saturating_mul(2 << self.attempts.min(8)).min(LONGEST_PAUSE_MS);
        self.attempts += 1;
        pause
    }

    async fn hear(&mut self, heard: Heard) {
        let mut steps = self.negotiation.handle(heard);
        while !steps.is_empty() {
            let mut failed = None;
            for step in steps.drain(..) {
                if self.step(&step).await.is_err() {
                    failed = Some(step);
                    break;
                }
            }
            // Two connections that no longer understand each other begin anew.
            if failed.is_none() || self.rebuilds >= REBUILDS {
                break;
            }
            self.rebuilds += 1;
            self.connect();
            self.negotiation.reset();
            steps = self.negotiation.handle(match failed {
                // The other side may have begun anew already: what it offers fits a fresh connection.
                Some(Step::Accept(offer)) => Heard::Description(offer),
                _ => Heard::Needed,
            });
        }
        self.apply_encoding().await;
    }

    async fn step(&self, step: &Step) -> Result<(), JsValue> {
        let Some(Wire { connection, .. }) = &self.wire else { return Ok(()) };
        match step {
            Step::Offer => {
                JsFuture::from(connection.describe_itself()).await?;
                self.send_description(connection);
            }
            Step::SendAgain => self.send_description(connection),
            Step::Accept(offer) => {
                take_description(connection, offer, RtcSdpType::Offer).await?;
                JsFuture::from(connection.describe_itself()).await?;
                self.send_description(connection);
            }
            Step::Complete(answer) => take_description(connection, answer, RtcSdpType::Answer).await?,
            Step::Add(candidate) => {
                let init = candidate.as_ref().map(|candidate| {
                    let init = RtcIceCandidateInit::new(&candidate.candidate);
                    init.set_sdp_mid(candidate.sdp_mid.as_deref());
                    init.set_sdp_m_line_index(candidate.sdp_m_line_index.and_then(|index| index.try_into().ok()));
                    init
                });
                // One way less to try is no reason to give up.
                let _ =
                    JsFuture::from(connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(init.as_ref())).await;
            }
        }
        Ok(())
    }

    fn send_description(&self, connection: &RtcPeerConnection) {
        let Some(local) = connection.local_description() else { return };
        let Names { room, peer } = self.names.clone();
        let is_offer = local.type_() == RtcSdpType::Offer;
        let kind = if is_offer { DescriptionKind::Offer } else { DescriptionKind::Answer };
        let sent = Describe { room, peer, description: Description { kind, sdp: local.sdp() } };
        (self.report)(Report::Signal(if is_offer { Signal::Offer(sent) } else { Signal::Answer(sent) }));
    }

    async fn send_tracks(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.replace_tracks(&self.outgoing).await;
        }
        self.apply_encoding().await;
    }

    async fn apply_encoding(&self) {
        let Some(sender) = self.wire.as_ref().and_then(|wire| wire.video.as_ref()) else { return };
        let parameters = sender.get_parameters();
        let encodings = Reflect::get(&parameters, &"encodings".into()).unwrap_or_default();
        let first = Array::from(&encodings).get(0);
        // There are none until the first description.
        if first.is_undefined() {
            return;
        }
        let Encoding { scale_down, frame_rate, bit_rate } = self.encoding;
        set(&first, "scaleResolutionDownBy", &scale_down.into());
        set(&first, "maxFramerate", &frame_rate.into());
        set(&first, "maxBitrate", &bit_rate.into());
        // A browser that knows less sends more.
        let _ = JsFuture::from(sender.set_parameters_with_parameters(&parameters)).await;
    }

    fn use_servers(&mut self, servers: Vec<IceServer>) {
        self.ice_servers = servers;
        if let Some(wire) = &self.wire {
            // For the next restart.
            let configuration = configuration(&self.ice_servers);
            if let Ok(set) = Reflect::get(&wire.connection, &"setConfiguration".into()) {
                let _ = set.unchecked_into::<js_sys::Function>().call1(&wire.connection, &configuration);
            }
        }
    }

    fn state_changed(&mut self) {
        let Some(wire) = &self.wire else { return };
        let was_there = matches!(self.link, Link::Connected | Link::Interrupted);
        let link = match wire.connection.connection_state() {
            RtcPeerConnectionState::Connected => {
                self.restart_at = None;
                self.overdue_at = None;
                self.attempts = 0;
                Link::Connected
            }
            RtcPeerConnectionState::Disconnected => {
                self.restart_at = Some(now() + QUIET_MS);
                Link::Interrupted
            }
            RtcPeerConnectionState::Failed => {
                self.restart_at = Some(now() + if self.attempts == 0 { 0 } else { self.next_pause() });
                if was_there { Link::Interrupted } else { Link::Unreachable }
            }
            // What did not work is not better because it is tried again.
            _ => return,
        };
        self.set_link(link);
    }

    fn set_link(&mut self, link: Link) {
        if self.link != link {
            self.link = link;
            (self.report)(Report::Link(link));
        }
    }

    fn take_track(&mut self, track: &MediaStreamTrack) {
        let Some(wire) = &mut self.wire else { return };
        let Ok(stream) = MediaStream::new() else { return };
        stream.add_track(track);
        if track.kind() == "video" {
            (self.report)(Report::Video(stream));
        } else {
            wire.sounds.push(stream);
            (self.report)(Report::Audio(wire.sounds.clone()));
        }
    }

    async fn look(&mut self) {
        let Some(wire) = &self.wire else { return };
        let Ok(stats) = JsFuture::from(wire.connection.get_stats()).await else { return };
        let counters = read_stats(&stats.unchecked_into());
        let quality = counters.since(&std::mem::replace(&mut self.counters, counters));
        (self.report)(Report::Quality(quality));
    }
}
