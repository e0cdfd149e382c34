//! The call that a page shows, as signals. Created in the browser only, when the user opens a call.

use leptos::prelude::*;
use web_sys::MediaStream;

use super::devices::{Device, DeviceError};
use super::peer::PeerState;
use super::quality::Quality;
use crate::client::storage::Storage;
use crate::protocol::{ErrorCode, Media, PeerId, User};

/// The user's progress into the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The user sees a preview of their camera and has not joined.
    Preview,
    /// The server has not answered yet.
    Joining,
    /// The user takes part in the call.
    In,
}

/// The reason why the user is not in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The server has refused it.
    Refused(ErrorCode),
    /// Another connection of the user has taken the slot.
    Moved,
}

/// The state of a device of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceState {
    Off,
    /// The browser may be asking for permission.
    Opening,
    On,
    Failed(DeviceError),
}

/// The call that a page shows. Copies are handles to the same call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallState {
    pub(crate) phase: RwSignal<Phase>,
    /// The reason why the user is not in the call, or not any more.
    pub(crate) error: RwSignal<Option<CallError>>,
    pub(crate) microphone: RwSignal<DeviceState>,
    pub(crate) muted: RwSignal<bool>,
    pub(crate) camera: RwSignal<DeviceState>,
    pub(crate) screen: RwSignal<DeviceState>,
    /// True while the system has paused the microphone.
    pub(crate) microphone_paused: RwSignal<bool>,
    /// True while the system has paused the camera.
    pub(crate) camera_paused: RwSignal<bool>,
    /// True if the microphone was muted because the user has joined a call in another tab.
    pub(crate) muted_by_other_tab: RwSignal<bool>,
    /// The level of the microphone, from 0 to 1.
    pub(crate) level: RwSignal<f64>,
    /// The devices that the user can choose from.
    pub(crate) devices: RwSignal<Vec<Device>>,
    /// The id of the microphone in use.
    pub(crate) microphone_id: RwSignal<Option<String>>,
    /// The id of the camera in use.
    pub(crate) camera_id: RwSignal<Option<String>>,
    /// True if details of the connections are shown.
    pub(crate) details: RwSignal<bool>,
    /// True if the server has offered a TURN relay.
    pub(crate) has_relay: RwSignal<bool>,
    /// The user's own tile.
    pub(crate) local: Tile,
    /// The tiles of the other participants, in the order in which they joined.
    pub(crate) remotes: RwSignal<Vec<Tile>>,
}

/// A participant of the call, as shown. Copies are handles to the same tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// Distinguishes the tile from an earlier one of the same peer.
    pub(crate) number: u64,
    /// `None` for the user's own tile.
    pub(crate) peer: Option<PeerId>,
    /// The user, with the nickname at the time of joining.
    pub(crate) user: StoredValue<User>,
    /// The media that the participant sends.
    pub(crate) media: RwSignal<Media>,
    pub(crate) video: RwSignal<Option<MediaStream>, LocalStorage>,
    /// The microphone, and the sound of a shared screen.
    pub(crate) audio: RwSignal<Vec<MediaStream>, LocalStorage>,
    pub(crate) speaking: RwSignal<bool>,
    /// True if the hand is raised.
    pub(crate) hand: RwSignal<bool>,
    /// The emojis that float over the tile, each with a number that distinguishes it.
    pub(crate) reactions: RwSignal<Vec<(u64, String)>>,
    /// The state of the connection to the peer.
    pub(crate) connection: RwSignal<PeerState>,
    /// The quality of the connection, while details are shown.
    pub(crate) quality: RwSignal<Option<Quality>>,
    /// The playback volume, from 0 to 1.
    pub(crate) volume: RwSignal<f64>,
}

/// The most emojis that float over one tile at a time.
const MAX_REACTIONS: usize = 8;

impl CallState {
    pub(super) fn new(me: User) -> Self {
        Self {
            phase: RwSignal::new(Phase::Preview),
            error: RwSignal::new(None),
            microphone: RwSignal::new(DeviceState::Off),
            muted: RwSignal::new(false),
            camera: RwSignal::new(DeviceState::Off),
            screen: RwSignal::new(DeviceState::Off),
            microphone_paused: RwSignal::new(false),
            camera_paused: RwSignal::new(false),
            muted_by_other_tab: RwSignal::new(false),
            level: RwSignal::new(0.0),
            devices: RwSignal::new(Vec::new()),
            microphone_id: RwSignal::new(None),
            camera_id: RwSignal::new(None),
            details: RwSignal::new(false),
            has_relay: RwSignal::new(false),
            local: Tile::new(0, None, me),
            remotes: RwSignal::new(Vec::new()),
        }
    }
}

impl Tile {
    pub(super) fn new(number: u64, peer: Option<PeerId>, user: User) -> Self {
        let volume = Storage::Local.get(&volume_key(&user)).and_then(|text| text.parse().ok()).unwrap_or(1.0);
        Self {
            number,
            peer,
            user: StoredValue::new(user),
            media: RwSignal::new(Media::default()),
            video: RwSignal::new_local(None),
            audio: RwSignal::new_local(Vec::new()),
            speaking: RwSignal::new(false),
            hand: RwSignal::new(false),
            reactions: RwSignal::new(Vec::new()),
            connection: RwSignal::new(PeerState::Connecting),
            quality: RwSignal::new(None),
            volume: RwSignal::new(f64::clamp(volume, 0.0, 1.0)),
        }
    }

    /// Sets the playback volume of a user, from 0 to 1, for this and later calls.
    pub(crate) fn set_volume(self, volume: f64) {
        self.volume.set(volume.clamp(0.0, 1.0));
        self.user.with_value(|user| Storage::Local.set(&volume_key(user), &volume.to_string()));
    }

    /// Lets an emoji float over the tile, unless too many do.
    pub(super) fn add_reaction(self, number: u64, emoji: String) {
        self.reactions.try_update(|reactions| {
            if reactions.len() < MAX_REACTIONS {
                reactions.push((number, emoji));
            }
        });
    }

    /// Removes an emoji whose animation has ended.
    pub(crate) fn remove_reaction(self, number: u64) {
        self.reactions.try_update(|reactions| reactions.retain(|(own, _)| *own != number));
    }
}

fn volume_key(user: &User) -> String {
    format!("noom.volume.{}", user.id)
}
