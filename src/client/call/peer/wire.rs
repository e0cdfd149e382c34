//! The browser's side of a connection to another peer.

use futures::channel::mpsc::UnboundedSender;
use js_sys::{Array, Map, Reflect};
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    MediaStream, MediaStreamTrack, MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelInit,
    RtcPeerConnection, RtcPeerConnectionIceEvent, RtcRtpSender, RtcSdpType, RtcSessionDescriptionInit, RtcTrackEvent,
};

use super::{Command, Outgoing};
use crate::client::call::devices::object;
use crate::client::call::negotiation::Event as Heard;
use crate::client::call::quality::Counters;
use crate::protocol::call::{CHANNEL_ID, CHANNEL_LABEL, Candidate, Description, IceServer};

#[wasm_bindgen]
extern "C" {
    /// What `web_sys` does not have yet.
    #[wasm_bindgen(extends = RtcPeerConnection)]
    pub(super) type Connection;
    #[wasm_bindgen(method, js_name = setLocalDescription)]
    pub(super) fn describe_itself(this: &Connection) -> js_sys::Promise;
    #[wasm_bindgen(method, js_name = restartIce)]
    pub(super) fn restart_ice(this: &Connection);
}

/// The browser's side of a connection. Dropped, it closes.
pub(super) struct Wire {
    pub(super) connection: Connection,
    pub(super) channel: RtcDataChannel,
    audio: Option<RtcRtpSender>,
    pub(super) video: Option<RtcRtpSender>,
    sound: Option<RtcRtpSender>,
    /// What comes in.
    pub(super) sounds: Vec<MediaStream>,
    // Called by the connection for as long as it is.
    _callbacks: [Callback; 6],
}

type Callback = Closure<dyn FnMut(JsValue)>;

impl Wire {
    pub(super) fn open(servers: &[IceServer], commands: &UnboundedSender<Command>) -> Result<Self, JsValue> {
        let connection = RtcPeerConnection::new_with_configuration(&configuration(servers))?;
        let agreed = RtcDataChannelInit::new();
        agreed.set_negotiated(true);
        agreed.set_id(CHANNEL_ID);
        let channel = connection.create_data_channel_with_data_channel_dict(CHANNEL_LABEL, &agreed);

        let on = |command: fn(JsValue) -> Option<Command>| {
            let commands = commands.clone();
            Closure::new(move |event: JsValue| {
                if let Some(command) = command(event) {
                    let _ = commands.unbounded_send(command);
                }
            })
        };
        let needed: Callback = on(|_| Some(Command::Hear(Heard::Needed)));
        let found: Callback = on(|event| Some(Command::Found(candidate(&event.unchecked_into()))));
        let changed: Callback = on(|_| Some(Command::StateChanged));
        let track: Callback = on(|event| Some(Command::Track(event.unchecked_into::<RtcTrackEvent>().track())));
        let opened: Callback = on(|_| Some(Command::ChannelOpen));
        let said: Callback =
            on(|event| event.unchecked_into::<MessageEvent>().data().as_string().map(Command::ChannelSaid));
        connection.set_onnegotiationneeded(Some(needed.as_ref().unchecked_ref()));
        connection.set_onicecandidate(Some(found.as_ref().unchecked_ref()));
        connection.add_event_listener_with_callback("connectionstatechange", changed.as_ref().unchecked_ref())?;
        connection.set_ontrack(Some(track.as_ref().unchecked_ref()));
        channel.set_onopen(Some(opened.as_ref().unchecked_ref()));
        channel.set_onmessage(Some(said.as_ref().unchecked_ref()));
        Ok(Self {
            connection: connection.unchecked_into(),
            channel,
            audio: None,
            video: None,
            sound: None,
            sounds: Vec::new(),
            _callbacks: [needed, found, changed, track, opened, said],
        })
    }

    fn slots<'a>(
        &'a mut self,
        outgoing: &'a Outgoing,
    ) -> [(&'a mut Option<RtcRtpSender>, Option<&'a MediaStreamTrack>); 3] {
        let Outgoing { audio, video, sound, .. } = outgoing;
        [(&mut self.audio, audio.as_ref()), (&mut self.video, video.as_ref()), (&mut self.sound, sound.as_ref())]
    }

    /// Adds tracks that have no sender yet.
    pub(super) fn add_tracks(&mut self, outgoing: &Outgoing) {
        let connection = self.connection.clone().unchecked_into::<RtcPeerConnection>();
        for (sender, track) in self.slots(outgoing) {
            if let (None, Some(track)) = (&sender, track) {
                *sender = Some(connection.add_track_0(track, &outgoing.stream));
            }
        }
    }

    /// Sends these tracks in place of those before. A sender stays when its track ends, so most
    /// changes need no negotiation.
    pub(super) async fn replace_tracks(&mut self, outgoing: &Outgoing) {
        for (sender, track) in self.slots(outgoing) {
            if let Some(sender) = sender {
                // Fails only for a connection that is closed, or for a track of another kind.
                let _ = JsFuture::from(sender.replace_track(track)).await;
            }
        }
        self.add_tracks(outgoing);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.connection.set_onnegotiationneeded(None);
        self.connection.set_onicecandidate(None);
        self.connection.set_ontrack(None);
        self.channel.set_onopen(None);
        self.channel.set_onmessage(None);
        let [_, _, changed, ..] = &self._callbacks;
        let _ = self
            .connection
            .remove_event_listener_with_callback("connectionstatechange", changed.as_ref().unchecked_ref());
        self.connection.close();
    }
}

pub(super) fn configuration(servers: &[IceServer]) -> RtcConfiguration {
    let servers = servers.iter().map(|server| {
        let urls = server.urls.iter().map(|url| JsValue::from_str(url)).collect::<Array>();
        let text = |text: &Option<String>| text.as_deref().map_or(JsValue::UNDEFINED, JsValue::from_str);
        object(&[("urls", urls.into()), ("username", text(&server.username)), ("credential", text(&server.credential))])
    });
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&servers.collect::<Array>());
    configuration
}

fn candidate(event: &RtcPeerConnectionIceEvent) -> Option<Candidate> {
    let candidate = event.candidate()?;
    Some(Candidate {
        candidate: candidate.candidate(),
        sdp_mid: candidate.sdp_mid(),
        sdp_m_line_index: candidate.sdp_m_line_index().map(u64::from),
    })
}

pub(super) async fn take_description(
    connection: &RtcPeerConnection,
    description: &Description,
    kind: RtcSdpType,
) -> Result<(), JsValue> {
    let init = RtcSessionDescriptionInit::new(kind);
    init.set_sdp(&description.sdp);
    JsFuture::from(connection.set_remote_description(&init)).await.map(drop)
}

/// Adds up a report (W3C Identifiers for WebRTC's Statistics API).
pub(super) fn read_stats(stats: &Map) -> Counters {
    let mut counters = Counters::default();
    let mut used = Vec::new();
    let mut relays = Vec::new();
    stats.for_each(&mut |entry, _| {
        let field = |name: &str| Reflect::get(&entry, &name.into()).unwrap_or_default();
        let text = |name: &str| field(name).as_string().unwrap_or_default();
        let number = |name: &str| field(name).as_f64();
        match text("type").as_str() {
            "candidate-pair" if field("nominated").is_truthy() && text("state") == "succeeded" => {
                counters.round_trip = number("currentRoundTripTime");
                used = vec![text("localCandidateId"), text("remoteCandidateId")];
            }
            "local-candidate" | "remote-candidate" if text("candidateType") == "relay" => relays.push(text("id")),
            "inbound-rtp" => {
                counters.received += number("packetsReceived").unwrap_or_default() as u64;
                counters.lost += number("packetsLost").unwrap_or_default().max(0.0) as u64;
                if let (Some(width), Some(height)) = (number("frameWidth"), number("frameHeight")) {
                    counters.size = Some((width as u32, height as u32));
                    counters.frame_rate = number("framesPerSecond");
                }
            }
            _ => {}
        }
    });
    counters.relayed = used.iter().any(|id| relays.contains(id));
    counters
}
