//! Microphones, cameras and screens.

use js_sys::{Array, Object, Reflect};
use leptos::prelude::window;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MediaDeviceInfo, MediaDeviceKind, MediaDevices, MediaStream, MediaStreamConstraints, MediaStreamTrack};

/// What one can be heard or seen with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A microphone.
    Microphone,
    /// A camera.
    Camera,
}

/// Why there is no picture or sound of oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Browsers give devices to secure pages only (W3C Secure Contexts).
    Insecure,
    /// Somebody, or a policy, said no.
    Denied,
    /// There is none.
    Missing,
    /// Something else uses it.
    Busy,
    /// Another reason.
    Failed,
}

/// A device to choose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// What it is.
    pub kind: Kind,
    /// Names it to the browser.
    pub id: String,
    /// Names it to people; empty until the browser trusts the page.
    pub label: String,
}

impl Kind {
    const fn storage_key(self) -> &'static str {
        match self {
            Self::Microphone => "noom.microphone",
            Self::Camera => "noom.camera",
        }
    }

    /// The device that was last chosen.
    pub fn remembered(self) -> Option<String> {
        remembered(self.storage_key())
    }

    /// Chooses a device for next time too.
    pub fn remember(self, id: &str) {
        remember(self.storage_key(), id);
    }
}

/// Reads what this browser remembers; nothing where it may not.
pub(super) fn remembered(key: &str) -> Option<String> {
    window().local_storage().ok()??.get_item(key).ok()?
}

/// Remembers something in this browser, where it may.
pub(super) fn remember(key: &str, value: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        let _ = storage.set_item(key, value);
    }
}

fn all() -> Result<MediaDevices, Problem> {
    // The property is absent from insecure pages, whatever its type says.
    let navigator = window().navigator();
    match Reflect::get(&navigator, &"mediaDevices".into()) {
        Ok(devices) if !devices.is_undefined() => Ok(devices.unchecked_into()),
        _ => Err(Problem::Insecure),
    }
}

/// A device or a screen that is open. Dropped, it is closed, wherever it got to: its light goes off.
#[derive(Debug)]
pub struct Captured(MediaStreamTrack);

impl Captured {
    /// What it captures: the track itself. `track.clone()` would be the browser's own method, which
    /// makes another one, with a light and a mute of its own; clippy.toml forbids it.
    pub fn track(&self) -> MediaStreamTrack {
        Clone::clone(&self.0)
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Opens a device: this one if it is there, else any.
///
/// # Errors
/// Why it cannot be had.
pub async fn open(kind: Kind, id: Option<String>) -> Result<Captured, Problem> {
    match request(kind, id.as_deref()).await {
        // It was unplugged since it was chosen.
        Err(Problem::Missing) if id.is_some() => request(kind, None).await,
        result => result,
    }
}

async fn request(kind: Kind, id: Option<&str>) -> Result<Captured, Problem> {
    let wanted = match kind {
        Kind::Microphone => object(&[("echoCancellation", true.into()), ("noiseSuppression", true.into())]),
        // What `quality` counts with; a camera that cannot gives what it has.
        Kind::Camera => object(&[
            ("width", object(&[("ideal", 1280.into())]).into()),
            ("height", object(&[("ideal", 720.into())]).into()),
            ("frameRate", object(&[("ideal", 30.into())]).into()),
        ]),
    };
    if let Some(id) = id {
        set(&wanted, "deviceId", &object(&[("exact", id.into())]));
    }
    let constraints = MediaStreamConstraints::new();
    match kind {
        Kind::Microphone => constraints.set_audio(&wanted),
        Kind::Camera => constraints.set_video(&wanted),
    }
    let asked = all()?.get_user_media_with_constraints(&constraints).map_err(problem)?;
    let stream: MediaStream = JsFuture::from(asked).await.map_err(problem)?.unchecked_into();
    captured(&stream).into_iter().next().ok_or(Problem::Missing)
}

/// A screen, window or tab that is shared, with its sound where the browser can.
#[derive(Debug)]
pub struct Screen {
    /// Its picture.
    pub video: Captured,
    /// Its sound.
    pub audio: Option<Captured>,
}

impl Screen {
    /// Asks what to share.
    ///
    /// # Errors
    /// Why nothing is: most often because somebody thought better of it.
    pub async fn open() -> Result<Self, Problem> {
        let devices = all()?;
        // Phones have none.
        if !Reflect::has(&devices, &"getDisplayMedia".into()).unwrap_or(false) {
            return Err(Problem::Missing);
        }
        let constraints = web_sys::DisplayMediaStreamConstraints::new();
        constraints.set_video(&JsValue::TRUE);
        constraints.set_audio(&JsValue::TRUE);
        let asked = devices.get_display_media_with_constraints(&constraints).map_err(problem)?;
        let stream: MediaStream = JsFuture::from(asked).await.map_err(problem)?.unchecked_into();
        let is_sound = |captured: &Captured| captured.0.kind() == "audio";
        let (audio, video): (Vec<_>, Vec<_>) = captured(&stream).into_iter().partition(is_sound);
        let video = video.into_iter().next().ok_or(Problem::Missing)?;
        Ok(Self { video, audio: audio.into_iter().next() })
    }
}

/// The devices that there are.
pub async fn list() -> Vec<Device> {
    let Ok(asked) = all().and_then(|devices| devices.enumerate_devices().map_err(problem)) else { return Vec::new() };
    let Ok(found) = JsFuture::from(asked).await else { return Vec::new() };
    let found = Array::from(&found).to_vec().into_iter().map(JsCast::unchecked_into::<MediaDeviceInfo>);
    let device = |info: MediaDeviceInfo| {
        let kind = match info.kind() {
            MediaDeviceKind::Audioinput => Kind::Microphone,
            MediaDeviceKind::Videoinput => Kind::Camera,
            _ => return None,
        };
        // Without permission they have no names.
        Some(Device { kind, id: info.device_id(), label: info.label() }).filter(|device| !device.id.is_empty())
    };
    found.filter_map(device).collect()
}

/// Where the browser tells of devices that come and go.
pub(super) fn watched() -> Option<MediaDevices> {
    all().ok()
}

fn captured(stream: &MediaStream) -> Vec<Captured> {
    stream.get_tracks().iter().map(|track| Captured(track.unchecked_into())).collect()
}

fn problem(error: JsValue) -> Problem {
    let name = Reflect::get(&error, &"name".into()).ok().and_then(|name| name.as_string()).unwrap_or_default();
    match name.as_str() {
        "NotAllowedError" | "SecurityError" => Problem::Denied,
        "NotFoundError" | "OverconstrainedError" => Problem::Missing,
        "NotReadableError" | "AbortError" => Problem::Busy,
        _ => Problem::Failed,
    }
}

/// A JavaScript object.
pub(super) fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    fields.iter().for_each(|(name, value)| set(&object, name, value));
    object
}

/// Sets a field of a JavaScript object, which a plain one never refuses.
pub(super) fn set(object: &JsValue, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &name.into(), value);
}
