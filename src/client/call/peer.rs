//! The connection to one other participant: a handle to the task that owns the browser's `RTCPeerConnection`.

mod message;
mod rtc;
mod stats;
mod task;

use futures::channel::mpsc::{UnboundedSender, unbounded};
use leptos::task::spawn_local;

use super::negotiation;
use super::quality::Encoding;
use crate::protocol::call::IceServer;
use crate::protocol::peer::PeerFrame;
use message::Command;
use task::Task;

pub(crate) use message::{PeerAddress, PeerSetup, PeerState, Report};
pub(crate) use rtc::LocalTracks;

/// A connection to a peer. It closes when it is dropped.
#[derive(Debug)]
pub(super) struct Peer(UnboundedSender<Command>);

impl Peer {
    /// Starts to connect. `report` is called with everything that the meeting must know.
    pub(super) fn open(setup: PeerSetup, report: impl Fn(Report) + 'static) -> Self {
        let (commands, inbox) = unbounded();
        spawn_local(Task::new(setup, commands.clone(), report).run(inbox));
        Self(commands)
    }

    pub(super) fn negotiate(&self, event: negotiation::Event) {
        self.command(Command::Negotiate(event));
    }

    /// Sends these tracks from now on.
    pub(super) fn send_tracks(&self, tracks: LocalTracks) {
        self.command(Command::SendTracks(tracks));
    }

    pub(super) fn set_encoding(&self, encoding: Encoding) {
        self.command(Command::SetEncoding(encoding));
    }

    /// Uses these servers from the next ICE restart on.
    pub(super) fn set_ice_servers(&self, servers: Vec<IceServer>) {
        self.command(Command::SetIceServers(servers));
    }

    /// Sends a frame over the data channel, if it is open.
    pub(super) fn send_frame(&self, frame: PeerFrame) {
        self.command(Command::SendFrame(frame));
    }

    /// Gathers new candidates, because the network has changed.
    pub(super) fn restart_ice(&self) {
        self.command(Command::RestartIce);
    }

    /// Requests a [`Report::Quality`].
    pub(super) fn measure(&self) {
        self.command(Command::Measure);
    }

    fn command(&self, command: Command) {
        // The task ends only after `Close`.
        let _ = self.0.unbounded_send(command);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.command(Command::Close);
    }
}
