//! What the page shows of a call, as signals. Made in the browser only, when somebody opens a call.

use leptos::prelude::*;
use web_sys::MediaStream;

use super::devices::{self, Device, Problem};
use super::peer::Link;
use super::quality::Quality;
use crate::protocol::{ErrorCode, Media, PeerId, User};

/// How far one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking at oneself before the others do.
    Preview,
    /// Asking to be let in.
    Joining,
    /// In the call.
    In,
}

/// Why one is not in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It was refused.
    Refused(ErrorCode),
    /// One has joined it elsewhere, in this place.
    Moved,
}

/// How it stands with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Not in use.
    Off,
    /// Being opened: the browser may be asking for permission.
    Opening,
    /// In use.
    On,
    /// Cannot be used.
    Failed(Problem),
}

/// The call that a page shows. A handle: copies show the same.
#[derive(Clone, Copy, Debug)]
pub struct CallState {
    /// How far one is.
    pub phase: RwSignal<Phase>,
    /// Why one is not in, or no more.
    pub trouble: RwSignal<Option<Trouble>>,
    /// One's microphone …
    pub microphone: RwSignal<Usage>,
    /// … and whether nothing is to be heard from it.
    pub muted: RwSignal<bool>,
    /// One's camera.
    pub camera: RwSignal<Usage>,
    /// One's screen.
    pub screen: RwSignal<Usage>,
    /// How loud one is, from 0 to 1.
    pub level: RwSignal<f64>,
    /// What there is to choose from.
    pub devices: RwSignal<Vec<Device>>,
    /// The microphone in use.
    pub microphone_id: RwSignal<Option<String>>,
    /// The camera in use.
    pub camera_id: RwSignal<Option<String>>,
    /// Whether details of the connections are shown.
    pub details: RwSignal<bool>,
    /// Whether the server named a relay (TURN).
    pub has_relay: RwSignal<bool>,
    /// Oneself.
    pub own: Tile,
    /// The others, in the order they came.
    pub others: RwSignal<Vec<Tile>>,
}

/// Somebody in the call, as shown.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Tells it apart from earlier tiles of the same peer.
    pub number: u64,
    /// Who; `None` for oneself.
    pub peer: Option<PeerId>,
    /// Whose place it is, as named when they came.
    pub user: StoredValue<User>,
    /// What they send.
    pub media: RwSignal<Media>,
    /// Their picture.
    pub video: RwSignal<Option<MediaStream>, LocalStorage>,
    /// Their sounds.
    pub audio: RwSignal<Vec<MediaStream>, LocalStorage>,
    /// Whether they talk.
    pub speaking: RwSignal<bool>,
    /// Whether their hand is raised.
    pub hand: RwSignal<bool>,
    /// Emojis that float up: a number to tell them apart, and what.
    pub reactions: RwSignal<Vec<(u64, String)>>,
    /// How the connection stands.
    pub link: RwSignal<Link>,
    /// How well it works, while that is asked for.
    pub quality: RwSignal<Option<Quality>>,
    /// How loud they are played, from 0 to 1.
    pub volume: RwSignal<f64>,
}

/// As many emojis float over one tile at once.
const MAX_REACTIONS: usize = 8;

impl CallState {
    /// A call that one looks at, before joining.
    pub fn new(me: User) -> Self {
        Self {
            phase: RwSignal::new(Phase::Preview),
            trouble: RwSignal::new(None),
            microphone: RwSignal::new(Usage::Off),
            muted: RwSignal::new(false),
            camera: RwSignal::new(Usage::Off),
            screen: RwSignal::new(Usage::Off),
            level: RwSignal::new(0.0),
            devices: RwSignal::new(Vec::new()),
            microphone_id: RwSignal::new(None),
            camera_id: RwSignal::new(None),
            details: RwSignal::new(false),
            has_relay: RwSignal::new(false),
            own: Tile::new(0, None, me),
            others: RwSignal::new(Vec::new()),
        }
    }
}

impl Tile {
    /// Somebody of whom nothing is seen or heard yet.
    pub(super) fn new(number: u64, peer: Option<PeerId>, user: User) -> Self {
        let volume = devices::remembered(&volume_key(&user)).and_then(|text| text.parse().ok()).unwrap_or(1.0);
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
            link: RwSignal::new(Link::Connecting),
            quality: RwSignal::new(None),
            volume: RwSignal::new(f64::clamp(volume, 0.0, 1.0)),
        }
    }

    /// Plays somebody louder or quieter, from 0 to 1, now and whenever they are met again.
    pub fn set_volume(self, volume: f64) {
        self.volume.set(volume.clamp(0.0, 1.0));
        self.user.with_value(|user| devices::remember(&volume_key(user), &volume.to_string()));
    }

    /// Lets an emoji float up.
    pub(super) fn react(self, number: u64, emoji: String) {
        self.reactions.try_update(|reactions| {
            if reactions.len() < MAX_REACTIONS {
                reactions.push((number, emoji));
            }
        });
    }

    /// An emoji has floated away.
    pub fn forget_reaction(self, number: u64) {
        self.reactions.try_update(|reactions| reactions.retain(|(own, _)| *own != number));
    }
}

fn volume_key(user: &User) -> String {
    format!("noom.volume.{}", user.id)
}
