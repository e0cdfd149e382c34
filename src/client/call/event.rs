//! The inputs of a meeting.

use super::devices::{Captured, Device, DeviceError, DeviceKind, Screen};
use super::network::NetworkEvent;
use super::other_tabs::Joined;
use super::peer::Report;
use crate::client::session::CallUpdate;
use crate::protocol::PeerId;

/// An input of the meeting's task.
#[derive(Debug)]
pub(crate) enum Event {
    /// An update of the session.
    Call(CallUpdate),
    /// A request of the page.
    Intent(CallIntent),
    /// A request to open a device has completed.
    Opened { kind: DeviceKind, attempt: u64, result: Result<Captured, DeviceError> },
    /// A request to share a screen has completed.
    Shared(Result<Screen, DeviceError>),
    /// The device that this attempt opened has ended: it was unplugged, or its permission was revoked.
    DeviceEnded { kind: DeviceKind, attempt: u64 },
    /// The system has paused or resumed a device, for a phone call or by a switch on the device.
    DevicePaused { kind: DeviceKind, attempt: u64, paused: bool },
    /// The user has ended the screen share outside of the page.
    ScreenEnded,
    /// A device was plugged in or unplugged.
    DevicesChanged,
    /// The list of devices.
    Devices(Vec<Device>),
    /// The browser reports a change of the network.
    Network(NetworkEvent),
    /// Another tab of this browser has joined a call.
    JoinedElsewhere(Joined),
    /// A report of the connection to a peer.
    Peer(PeerId, Report),
}

/// A request of the page. The booleans turn something on or off.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CallIntent {
    Join,
    Mute(bool),
    Camera(bool),
    Share(bool),
    /// Use the device with this id.
    Use(DeviceKind, String),
    RaiseHand(bool),
    /// React with an emoji.
    React(&'static str),
    /// Show details of the connections.
    Details(bool),
    /// Leave, and close the devices.
    Close,
}
