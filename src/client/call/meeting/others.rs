//! The others in a meeting: who comes and goes, what they tell, and how one reaches them.

use std::time::Duration;

use leptos::prelude::*;

use super::{Event, Host, Report};
use crate::client::call::negotiation::Event as Heard;
use crate::client::call::peer::{Link, Names, Peer};
use crate::client::call::quality::encoding;
use crate::client::call::state::{Phase, Tile, Trouble};
use crate::client::session::{Ask, CallChange, Signal};
use crate::client::socket::now;
use crate::protocol::call::{PeerFrame, Reaction, Switch};
use crate::protocol::{ErrorCode, JoinCallAck, Media, PeerId, User};

/// Credentials for relays older than this are renewed before they are used again.
const FRESH_MS: u64 = 10 * 60_000;

/// One of the others.
pub(super) struct Other {
    pub(super) peer: Peer,
    pub(super) tile: Tile,
    /// Since when the server has not named them, after a reconnection.
    pub(super) missed_since: Option<u64>,
}

impl Host {
    pub(super) fn call_changed(&mut self, change: CallChange) {
        // What belongs to a call that one has left.
        if self.state.phase.get_untracked() == Phase::Preview {
            return;
        }
        match change {
            CallChange::Joined(ack) => self.joined(ack),
            CallChange::NotJoined(refusal) => self.put_out(Trouble::Refused(refusal.code)),
            CallChange::Came(presence) if self.me.is_some() => {
                self.renew_credentials();
                self.meet(presence.peer, presence.user, Media::default(), true);
                self.encode();
            }
            CallChange::Came(_) => {}
            CallChange::Went(presence) if Some(presence.peer) == self.me => self.put_out(Trouble::Moved),
            CallChange::Went(presence) => self.part(presence.peer),
            CallChange::Signal(Signal::Offer(told) | Signal::Answer(told)) => {
                self.hear(told.peer, Heard::Description(told.description));
            }
            CallChange::Signal(Signal::Ice(told)) => self.hear(told.peer, Heard::Candidate(told.candidate)),
            CallChange::Signal(Signal::Media(told)) => {
                if let Some(other) = told.peer.and_then(|peer| self.others.get(&peer)) {
                    other.tile.media.try_set(told.media());
                }
            }
            // Most often too much at once: say it again, when it may be heard.
            CallChange::SignalRefused { peer, refusal } if refusal.code == ErrorCode::RateLimited => {
                let pause = Duration::from_millis(refusal.retry_after_ms.unwrap_or(1_000));
                let events = self.events.clone();
                set_timeout(move || drop(events.unbounded_send(Event::Peer(peer, Report::Refused))), pause);
            }
            CallChange::SignalRefused { .. } => {}
        }
    }

    fn joined(&mut self, ack: JoinCallAck) {
        let JoinCallAck { peer, peers, ice_servers } = ack;
        if self.me.replace(peer).is_some_and(|earlier| earlier != peer) {
            // The place was lost, and with it all connections.
            for peer in self.others.keys().copied().collect::<Vec<_>>() {
                self.part(peer);
            }
        }
        let is_relay = |url: &String| url.starts_with("turn");
        self.state.has_relay.set(ice_servers.iter().flat_map(|server| &server.urls).any(is_relay));
        self.ice_servers = ice_servers;
        self.ice_servers_at = now();
        self.others.values().for_each(|other| other.peer.use_servers(self.ice_servers.clone()));
        for other in self.others.values_mut() {
            other.missed_since = Some(now());
        }
        for other in peers {
            self.meet(other.peer, other.user, other.media, false);
        }
        self.state.phase.set(Phase::In);
        self.encode();
        self.say_media();
    }

    /// Somebody is there: for the first time, or still. `waits`: they are to begin.
    fn meet(&mut self, peer: PeerId, user: User, media: Media, waits: bool) {
        let Some(me) = self.me else { return };
        if self.given_up.contains(&peer) {
            // They still hold on to what one has thrown away: under another name one is new to them.
            return self.renew();
        }
        if let Some(known) = self.others.get_mut(&peer) {
            // The same place in other hands is another peer.
            if known.tile.user.with_value(|known| known.id == user.id) {
                known.missed_since = None;
                known.peer.hear(Heard::Resync);
                if !waits {
                    known.tile.media.set(media);
                }
                return;
            }
            self.part(peer);
        }
        let number = self.next_number();
        let tile = self.owner.with(|| Tile::new(number, Some(peer), user));
        tile.media.set(media);
        let events = self.events.clone();
        let report = move |report| drop(events.unbounded_send(Event::Peer(peer, report)));
        let names = Names { room: self.room_name(), peer };
        let encoding = encoding(self.others.len() + 1, self.screen.is_some());
        let polite = me < peer;
        let peer_task = Peer::open(names, polite, waits, self.ice_servers.clone(), self.outgoing(), encoding, report);
        self.others.insert(peer, Other { peer: peer_task, tile, missed_since: None });
        self.state.others.update(|tiles| tiles.push(tile));
        // The newcomer has not heard it.
        if waits {
            self.say_media();
        }
    }

    pub(super) fn part(&mut self, peer: PeerId) {
        if let Some(Other { tile, .. }) = self.others.remove(&peer) {
            // The handle may live on; what it held must not.
            tile.video.try_set(None);
            tile.audio.try_set(Vec::new());
            self.state.others.try_update(|tiles| tiles.retain(|tile| tile.peer != Some(peer)));
            self.encode();
        }
    }

    /// Asks for fresh credentials where those one has may have expired.
    fn renew_credentials(&mut self) {
        if now() > self.ice_servers_at + FRESH_MS && !self.ice_servers.is_empty() {
            self.ice_servers_at = now();
            self.client.ask(Ask::JoinCall { room: self.room_name() });
        }
    }

    fn hear(&self, peer: PeerId, heard: Heard) {
        if let Some(other) = self.others.get(&peer) {
            other.peer.hear(heard);
        }
    }

    pub(super) fn reported(&mut self, id: PeerId, report: Report) {
        let Some(Other { peer, tile, .. }) = self.others.get(&id) else { return };
        let tile = *tile;
        match report {
            Report::Signal(signal) => self.client.ask(Ask::Signal(signal)),
            Report::Refused => peer.hear(Heard::Refused),
            Report::Link(link) => {
                tile.link.try_set(link);
                if link != Link::Connected {
                    self.renew_credentials();
                }
            }
            Report::Video(stream) => {
                tile.video.try_set(Some(stream));
            }
            Report::Audio(streams) => {
                tile.audio.try_set(streams);
            }
            Report::Reachable => {
                peer.tell(PeerFrame::Hand(Switch { on: self.state.own.hand.get_untracked() }));
                peer.tell(PeerFrame::Speaking(Switch { on: self.state.own.speaking.get_untracked() }));
            }
            Report::Told(PeerFrame::Speaking(Switch { on })) => {
                tile.speaking.try_set(on);
            }
            Report::Told(PeerFrame::Hand(Switch { on })) => {
                tile.hand.try_set(on);
            }
            Report::Told(PeerFrame::Reaction(Reaction { emoji })) => self.react(tile, emoji),
            Report::Quality(quality) => {
                if self.state.details.get_untracked() {
                    tile.quality.try_set(Some(quality));
                }
            }
        }
    }

    pub(super) fn react(&mut self, tile: Tile, emoji: String) {
        tile.react(self.next_number(), emoji);
    }

    pub(super) fn tell_all(&self, frame: &PeerFrame) {
        self.others.values().for_each(|other| other.peer.tell(frame.clone()));
    }

    /// Out of the call, by no wish of one's own.
    fn put_out(&mut self, trouble: Trouble) {
        self.hang_up();
        self.stop_sharing();
        self.state.own.hand.set(false);
        self.state.trouble.set(Some(trouble));
        self.state.phase.set(Phase::Preview);
    }

    pub(super) fn leave(&mut self) {
        // Asked for or not, answered or not: the session knows whether there is a place to give up.
        self.client.ask(Ask::LeaveCall { room: self.room_name() });
        self.hang_up();
    }

    /// Leaves, and is back as somebody new.
    fn renew(&mut self) {
        let room = self.room_name();
        self.hang_up();
        self.client.ask(Ask::LeaveCall { room: room.clone() });
        self.client.ask(Ask::JoinCall { room });
    }

    fn hang_up(&mut self) {
        self.me = None;
        self.given_up.clear();
        for peer in self.others.keys().copied().collect::<Vec<_>>() {
            self.part(peer);
        }
    }
}
