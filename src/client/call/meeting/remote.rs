//! The remote side of a meeting: the other participants, the connections to them, and joining and leaving.

use leptos::prelude::*;

use super::task::{CallPresence, MeetingTask, Remote};
use crate::client::call::devices::DeviceKind;
use crate::client::call::event::Event;
use crate::client::call::negotiation::{self, Initiator, Role};
use crate::client::call::other_tabs::{Joined, OtherTabs};
use crate::client::call::peer::{Peer, PeerAddress, PeerSetup, Report};
use crate::client::call::quality::encoding;
use crate::client::call::state::{CallError, Phase, Tile};
use crate::client::call::wake_lock::WakeLock;
use crate::client::session::{CallUpdate, Intent, Signal};
use crate::client::timer::now;
use crate::protocol::peer::{PeerFrame, Reaction, Switch};
use crate::protocol::{JoinCallAck, Media, PeerId, User};

/// The validity of TURN credentials if the server does not tell it, in seconds.
const DEFAULT_ICE_SECONDS: u64 = 20 * 60;
/// The shortest time between two requests for TURN credentials.
const MIN_RENEWAL_MS: u64 = 5_000;

impl MeetingTask {
    pub(super) fn apply(&mut self, update: CallUpdate) {
        // The update may belong to a call that the user has left.
        if self.state.phase.get_untracked() == Phase::Preview {
            return;
        }
        match update {
            CallUpdate::Joined(ack) => self.joined(ack),
            CallUpdate::NotJoined(refusal) => self.removed(CallError::Refused(refusal.code)),
            CallUpdate::PeerJoined(presence) => {
                if self.me.is_some() {
                    self.add_remote(presence.peer, presence.user, Media::default(), Initiator::Remote);
                    self.update_encoding();
                }
            }
            CallUpdate::PeerLeft(presence) if Some(presence.peer) == self.me => self.removed(CallError::Moved),
            CallUpdate::PeerLeft(presence) => self.remove_remote(presence.peer),
            CallUpdate::Signal(signal) => self.signaled(signal),
        }
    }

    fn signaled(&mut self, signal: Signal) {
        match signal {
            Signal::Offer(sent) | Signal::Answer(sent) => {
                self.negotiate(sent.peer, negotiation::Event::Description(sent.description));
            }
            Signal::Ice(sent) => self.negotiate(sent.peer, negotiation::Event::Candidate(sent.candidate)),
            Signal::Media(sent) => {
                if let Some(remote) = sent.peer.and_then(|peer| self.remotes.get(&peer)) {
                    remote.tile.media.try_set(sent.media());
                }
            }
        }
    }

    fn joined(&mut self, ack: JoinCallAck) {
        let JoinCallAck { peer, peers, ice_servers, ice_seconds } = ack;
        if self.me.replace(peer).is_some_and(|earlier| earlier != peer) {
            // The slot was lost, and with it all peer connections.
            self.remove_all_remotes();
        }
        let is_relay = |url: &String| url.starts_with("turn");
        let has_relay = ice_servers.iter().flat_map(|server| &server.urls).any(is_relay);
        self.state.has_relay.set(has_relay);
        // Halfway, so that a lost connection to the server does not matter for a while.
        let lifetime_ms = ice_seconds.unwrap_or(DEFAULT_ICE_SECONDS) * 1_000;
        self.renew_at = has_relay.then(|| now() + MIN_RENEWAL_MS.max(lifetime_ms / 2));
        self.ice_servers = ice_servers;
        for remote in self.remotes.values_mut() {
            remote.peer.set_ice_servers(self.ice_servers.clone());
            remote.missing_since = Some(now());
        }
        for other in peers {
            self.add_remote(other.peer, other.user, other.media, Initiator::Local);
        }
        self.state.phase.set(Phase::In);
        self.update_encoding();
        self.announced = None;
        self.send_media();
        if self.presence.is_none() {
            let events = self.events.clone();
            let on_later = move |other| drop(events.unbounded_send(Event::JoinedElsewhere(other)));
            let other_tabs = OtherTabs::announce(self.room_name(), on_later);
            self.presence = Some(CallPresence { _wake_lock: WakeLock::new(), _other_tabs: other_tabs });
        }
    }

    /// The user has joined a call in another tab. Two open microphones on one table howl.
    pub(super) fn joined_elsewhere(&mut self, other: &Joined) {
        if self.me.is_none() {
            return;
        }
        if other.room == self.room_name() {
            self.client.dispatch(Intent::LeaveCall { room: self.room_name() });
            self.removed(CallError::Moved);
            self.close(DeviceKind::Microphone);
            self.close(DeviceKind::Camera);
            self.send_tracks();
        } else if !self.state.muted.get_untracked() {
            self.mute(true);
            self.state.muted_by_other_tab.set(true);
        }
    }

    /// The server has listed or announced a participant, who may be known already.
    fn add_remote(&mut self, peer: PeerId, user: User, media: Media, initiator: Initiator) {
        let Some(me) = self.me else { return };
        if self.given_up.contains(&peer) {
            // The peer still has the connection that was closed here. Under a new peer id we are new to it.
            return self.rejoin();
        }
        if let Some(known) = self.remotes.get_mut(&peer) {
            if known.tile.user.with_value(|known| known.id == user.id) {
                known.missing_since = None;
                known.peer.negotiate(negotiation::Event::Resync);
                if initiator == Initiator::Local {
                    known.tile.media.set(media);
                }
                return;
            }
            // Another user has taken the slot, which makes it a new peer.
            self.remove_remote(peer);
        }
        let number = self.next_number();
        let tile = self.owner.with(|| Tile::new(number, Some(peer), user));
        tile.media.set(media);
        let events = self.events.clone();
        let report = move |report| drop(events.unbounded_send(Event::Peer(peer, report)));
        let setup = PeerSetup {
            address: PeerAddress { room: self.room_id(), peer },
            role: if me < peer { Role::Polite } else { Role::Impolite },
            initiator,
            ice_servers: self.ice_servers.clone(),
            tracks: self.local_tracks(),
            encoding: encoding(self.remotes.len() + 1, self.screen.is_some()),
        };
        self.remotes.insert(peer, Remote { peer: Peer::open(setup, report), tile, missing_since: None });
        self.state.remotes.update(|tiles| tiles.push(tile));
    }

    pub(super) fn remove_remote(&mut self, peer: PeerId) {
        if let Some(Remote { tile, .. }) = self.remotes.remove(&peer) {
            // A view may still hold the tile. It must not hold its streams.
            tile.video.try_set(None);
            tile.audio.try_set(Vec::new());
            self.state.remotes.try_update(|tiles| tiles.retain(|tile| tile.peer != Some(peer)));
            self.update_encoding();
        }
    }

    fn remove_all_remotes(&mut self) {
        for peer in self.remotes.keys().copied().collect::<Vec<_>>() {
            self.remove_remote(peer);
        }
    }

    /// Requests new TURN credentials in time before the current ones expire. A relay may ask for valid ones at any
    /// time, and an ICE restart needs them.
    pub(super) fn renew_credentials(&mut self, now: u64) {
        if self.me.is_some() && self.renew_at.is_some_and(|at| at <= now) {
            // Until it is answered, or again if it is refused.
            self.renew_at = Some(now + MIN_RENEWAL_MS);
            self.client.dispatch(Intent::JoinCall { room: self.room_name() });
        }
    }

    fn negotiate(&self, peer: PeerId, event: negotiation::Event) {
        if let Some(remote) = self.remotes.get(&peer) {
            remote.peer.negotiate(event);
        }
    }

    pub(super) fn reported(&mut self, id: PeerId, report: Report) {
        let Some(Remote { peer, tile, .. }) = self.remotes.get(&id) else { return };
        let tile = *tile;
        match report {
            Report::Signal(signal) => self.client.dispatch(Intent::Signal(signal)),
            Report::State(state) => {
                tile.connection.try_set(state);
            }
            Report::Video(stream) => {
                tile.video.try_set(Some(stream));
            }
            Report::Audio(streams) => {
                tile.audio.try_set(streams);
            }
            Report::ChannelOpen => {
                peer.send_frame(PeerFrame::Hand(Switch { on: self.state.local.hand.get_untracked() }));
                peer.send_frame(PeerFrame::Speaking(Switch { on: self.state.local.speaking.get_untracked() }));
            }
            Report::Frame(PeerFrame::Speaking(Switch { on })) => {
                tile.speaking.try_set(on);
            }
            Report::Frame(PeerFrame::Hand(Switch { on })) => {
                tile.hand.try_set(on);
            }
            Report::Frame(PeerFrame::Reaction(Reaction { emoji })) => self.add_reaction(tile, emoji),
            Report::Quality(quality) => {
                if self.state.details.get_untracked() {
                    tile.quality.try_set(Some(quality));
                }
            }
        }
    }

    pub(super) fn add_reaction(&mut self, tile: Tile, emoji: String) {
        tile.add_reaction(self.next_number(), emoji);
    }

    /// Sends a frame to all peers over their data channels.
    pub(super) fn broadcast(&self, frame: &PeerFrame) {
        self.remotes.values().for_each(|remote| remote.peer.send_frame(frame.clone()));
    }

    /// The server has refused or removed us.
    fn removed(&mut self, error: CallError) {
        self.hang_up();
        self.presence = None;
        self.stop_sharing();
        self.state.local.hand.set(false);
        self.state.error.set(Some(error));
        self.state.phase.set(Phase::Preview);
    }

    pub(super) fn leave(&mut self) {
        // The session knows whether there is a slot to give up.
        self.client.dispatch(Intent::LeaveCall { room: self.room_name() });
        self.hang_up();
    }

    /// Leaves, and joins under a new peer id.
    fn rejoin(&mut self) {
        let room = self.room_name();
        self.hang_up();
        self.client.dispatch(Intent::LeaveCall { room: room.clone() });
        self.client.dispatch(Intent::JoinCall { room });
    }

    fn hang_up(&mut self) {
        self.me = None;
        self.given_up.clear();
        self.remove_all_remotes();
    }
}
