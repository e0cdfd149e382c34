//! The browser's `RTCPeerConnection` and its data channel (W3C WebRTC 1.0).

use js_sys::{Array, Map, Reflect};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    EventTarget, MediaStream, MediaStreamTrack, MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelInit,
    RtcDataChannelState, RtcIceCandidateInit, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState,
    RtcRtpSender, RtcSdpType, RtcSessionDescriptionInit, RtcTrackEvent,
};

use crate::client::call::js::{object, set};
use crate::client::call::quality::Encoding;
use crate::client::event_listener::EventListener;
use crate::protocol::call::{Candidate, Description, DescriptionKind, IceServer};
use crate::protocol::peer::{CHANNEL_ID, CHANNEL_LABEL};

#[wasm_bindgen]
extern "C" {
    /// Adds the methods that `web_sys` lacks.
    #[wasm_bindgen(extends = RtcPeerConnection)]
    type Connection;
    /// Makes an offer or an answer, whichever fits, and applies it.
    #[wasm_bindgen(method, js_name = setLocalDescription)]
    fn set_implicit_local_description(this: &Connection) -> js_sys::Promise;
    #[wasm_bindgen(method, js_name = restartIce)]
    fn restart_ice(this: &Connection);
}

/// The tracks that the user sends.
#[derive(Clone, Debug)]
pub(crate) struct LocalTracks {
    /// Groups the tracks for the receivers.
    pub(crate) stream: MediaStream,
    /// The microphone.
    pub(crate) audio: Option<MediaStreamTrack>,
    /// The screen, or else the camera.
    pub(crate) video: Option<MediaStreamTrack>,
    /// The sound of the screen.
    pub(crate) screen_audio: Option<MediaStreamTrack>,
}

/// An event of the browser.
#[derive(Debug)]
pub(super) enum RtcEvent {
    NegotiationNeeded,
    /// A local candidate; `None`: there are no more.
    Candidate(Option<Candidate>),
    StateChanged,
    /// A received track.
    Track(MediaStreamTrack),
    ChannelOpen,
    ChannelMessage(String),
}

/// A connection of the browser. It closes when it is dropped.
pub(super) struct RtcConnection {
    connection: Connection,
    channel: RtcDataChannel,
    audio: Option<RtcRtpSender>,
    video: Option<RtcRtpSender>,
    screen_audio: Option<RtcRtpSender>,
    listeners: Vec<EventListener>,
}

impl RtcConnection {
    pub(super) fn open(servers: &[IceServer], on_event: impl Fn(RtcEvent) + Clone + 'static) -> Result<Self, JsValue> {
        let connection = RtcPeerConnection::new_with_configuration(&configuration(servers))?;
        let init = RtcDataChannelInit::new();
        init.set_negotiated(true);
        init.set_id(CHANNEL_ID);
        let channel = connection.create_data_channel_with_data_channel_dict(CHANNEL_LABEL, &init);
        let on = |target: &EventTarget, name, parse: fn(JsValue) -> Option<RtcEvent>| {
            let on_event = on_event.clone();
            EventListener::new(target, name, move |event| {
                if let Some(event) = parse(event) {
                    on_event(event);
                }
            })
        };
        let listeners = vec![
            on(&connection, "negotiationneeded", |_| Some(RtcEvent::NegotiationNeeded)),
            on(&connection, "icecandidate", |event| Some(RtcEvent::Candidate(candidate(&event.unchecked_into())))),
            on(&connection, "connectionstatechange", |_| Some(RtcEvent::StateChanged)),
            on(&connection, "track", |event| Some(RtcEvent::Track(event.unchecked_into::<RtcTrackEvent>().track()))),
            on(&channel, "open", |_| Some(RtcEvent::ChannelOpen)),
            on(&channel, "message", |event| {
                event.unchecked_into::<MessageEvent>().data().as_string().map(RtcEvent::ChannelMessage)
            }),
        ];
        let connection = connection.unchecked_into();
        Ok(Self { connection, channel, audio: None, video: None, screen_audio: None, listeners })
    }

    pub(super) fn state(&self) -> RtcPeerConnectionState {
        self.connection.connection_state()
    }

    pub(super) fn restart_ice(&self) {
        self.connection.restart_ice();
    }

    /// Sends text over the data channel, if it is open.
    pub(super) fn send_text(&self, text: &str) {
        if self.channel.ready_state() == RtcDataChannelState::Open {
            let _ = self.channel.send_with_str(text);
        }
    }

    /// Makes an offer, or the answer to the offer that was applied last.
    pub(super) async fn describe(&self) -> Result<(), JsValue> {
        JsFuture::from(self.connection.set_implicit_local_description()).await.map(drop)
    }

    /// Returns whether the browser has found all its candidates.
    pub(super) fn has_all_candidates(&self) -> bool {
        let state = Reflect::get(&self.connection, &"iceGatheringState".into()).unwrap_or_default();
        state.as_string().as_deref() == Some("complete")
    }

    /// The offer or answer that was made last, with the candidates that were found so far.
    pub(super) fn local_description(&self) -> Option<Description> {
        let local = self.connection.local_description()?;
        let kind = match local.type_() {
            RtcSdpType::Offer => DescriptionKind::Offer,
            _ => DescriptionKind::Answer,
        };
        Some(Description { kind, sdp: local.sdp() })
    }

    /// Applies a description of the peer.
    pub(super) async fn apply(&self, description: &Description) -> Result<(), JsValue> {
        let init = RtcSessionDescriptionInit::new(match description.kind {
            DescriptionKind::Offer => RtcSdpType::Offer,
            DescriptionKind::Answer => RtcSdpType::Answer,
        });
        init.set_sdp(&description.sdp);
        JsFuture::from(self.connection.set_remote_description(&init)).await.map(drop)
    }

    /// Adds a candidate of the peer. One that does not fit is ignored, because others may.
    pub(super) async fn add_candidate(&self, candidate: Option<&Candidate>) {
        let init = candidate.map(|candidate| {
            let init = RtcIceCandidateInit::new(&candidate.candidate);
            init.set_sdp_mid(candidate.sdp_mid.as_deref());
            init.set_sdp_m_line_index(candidate.sdp_m_line_index.and_then(|index| index.try_into().ok()));
            init
        });
        let _ = JsFuture::from(self.connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(init.as_ref())).await;
    }

    fn senders<'a>(
        &'a mut self,
        tracks: &'a LocalTracks,
    ) -> [(&'a mut Option<RtcRtpSender>, Option<&'a MediaStreamTrack>); 3] {
        [
            (&mut self.audio, tracks.audio.as_ref()),
            (&mut self.video, tracks.video.as_ref()),
            (&mut self.screen_audio, tracks.screen_audio.as_ref()),
        ]
    }

    /// Adds the tracks that have no sender yet.
    pub(super) fn add_tracks(&mut self, tracks: &LocalTracks) {
        let connection = self.connection.clone().unchecked_into::<RtcPeerConnection>();
        for (sender, track) in self.senders(tracks) {
            if let (None, Some(track)) = (&sender, track) {
                *sender = Some(connection.add_track_0(track, &tracks.stream));
            }
        }
    }

    /// Sends these tracks instead of the earlier ones. A sender stays when its track ends, so that most changes need
    /// no negotiation.
    pub(super) async fn replace_tracks(&mut self, tracks: &LocalTracks) {
        for (sender, track) in self.senders(tracks) {
            if let Some(sender) = sender {
                // Fails only on a closed connection or for a track of another kind.
                let _ = JsFuture::from(sender.replace_track(track)).await;
            }
        }
        self.add_tracks(tracks);
    }

    /// Limits the encoding of the video.
    pub(super) async fn set_encoding(&self, encoding: Encoding) {
        let Some(sender) = &self.video else { return };
        let parameters = sender.get_parameters();
        let encodings = Reflect::get(&parameters, &"encodings".into()).unwrap_or_default();
        let first = Array::from(&encodings).get(0);
        // There are none before the first description.
        if first.is_undefined() {
            return;
        }
        let Encoding { scale_down, frame_rate, bit_rate } = encoding;
        set(&first, "scaleResolutionDownBy", &scale_down.into());
        set(&first, "maxFramerate", &frame_rate.into());
        set(&first, "maxBitrate", &bit_rate.into());
        // A browser that does not support a limit sends more.
        let _ = JsFuture::from(sender.set_parameters_with_parameters(&parameters)).await;
    }

    /// Uses these servers from the next ICE restart on.
    pub(super) fn set_ice_servers(&self, servers: &[IceServer]) {
        // Missing in some browsers and in `web_sys`.
        if let Ok(set_configuration) = Reflect::get(&self.connection, &"setConfiguration".into()) {
            let set_configuration = set_configuration.unchecked_into::<js_sys::Function>();
            let _ = set_configuration.call1(&self.connection, &configuration(servers));
        }
    }

    /// The statistics of the connection.
    pub(super) async fn stats(&self) -> Result<Map, JsValue> {
        JsFuture::from(self.connection.get_stats()).await.map(JsCast::unchecked_into)
    }
}

impl Drop for RtcConnection {
    fn drop(&mut self) {
        // No event of a closed connection reaches the task.
        self.listeners.clear();
        self.connection.close();
    }
}

fn configuration(servers: &[IceServer]) -> RtcConfiguration {
    let servers = servers.iter().map(|server| {
        let urls = server.urls.iter().map(|url| JsValue::from_str(url)).collect::<Array>();
        let text = |text: &Option<String>| text.as_deref().map_or(JsValue::UNDEFINED, JsValue::from_str);
        object(&[("urls", urls.into()), ("username", text(&server.username)), ("credential", text(&server.credential))])
    });
    let configuration = RtcConfiguration::new();
    // All media share one transport, so there is one set of candidates instead of one per medium.
    set(&configuration, "bundlePolicy", &"max-bundle".into());
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
