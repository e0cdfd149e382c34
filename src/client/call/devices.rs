//! Capture devices: microphones, cameras and screens (W3C Media Capture and Streams, Screen Capture).

use js_sys::{Array, Function, Promise, Reflect};
use leptos::prelude::window;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MediaDeviceInfo, MediaDeviceKind, MediaDevices, MediaStream, MediaStreamConstraints, MediaStreamTrack};

use super::js::{object, set};
use crate::client::event_listener::EventListener;
use crate::client::storage::Storage;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum DeviceKind {
    Microphone,
    Camera,
}

/// The reason why a device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceError {
    /// The page was not loaded over HTTPS (W3C Secure Contexts).
    Insecure,
    /// The user or a policy has denied permission.
    Denied,
    /// There is no such device.
    Missing,
    /// Another program uses it.
    Busy,
    /// It was in use and has ended: it was unplugged, for example.
    Lost,
    /// The browser has not answered for a while: it may still ask for permission, or the driver hangs.
    Unresponsive,
    /// Any other reason.
    Failed,
}

/// A device that the user can choose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    pub(crate) kind: DeviceKind,
    /// The browser's id of the device, for this origin.
    pub(crate) id: String,
    /// The name to show; empty until the user has granted permission.
    pub(crate) label: String,
}

impl DeviceKind {
    const fn storage_key(self) -> &'static str {
        match self {
            Self::Microphone => "noom.microphone",
            Self::Camera => "noom.camera",
        }
    }

    /// The id of the device that the user chose last.
    pub(super) fn preferred(self) -> Option<String> {
        Storage::Local.get(self.storage_key())
    }

    /// Remembers the user's choice for later calls.
    pub(super) fn prefer(self, id: &str) {
        Storage::Local.set(self.storage_key(), id);
    }
}

/// A track of a device or screen. It stops when it is dropped, wherever that happens: the camera's light goes off.
#[derive(Debug)]
pub(crate) struct Captured(MediaStreamTrack);

impl Captured {
    /// The track itself. `track.clone()` would call the browser's method, which creates another track with a light and
    /// a mute state of its own; clippy.toml forbids it.
    pub(super) fn track(&self) -> MediaStreamTrack {
        Clone::clone(&self.0)
    }

    /// The browser's id of the device.
    pub(super) fn device_id(&self) -> Option<String> {
        Reflect::get(&self.0.get_settings(), &"deviceId".into()).ok()?.as_string()
    }

    /// Calls back when the track ends although it was not stopped here.
    pub(super) fn on_ended(&self, callback: impl FnMut() + 'static) -> EventListener {
        self.on("ended", callback)
    }

    /// Calls back with each event of the track: `ended`, `mute` or `unmute`. A track is muted by the system, not by the
    /// page, and sends nothing meanwhile.
    pub(super) fn on(&self, name: &'static str, mut callback: impl FnMut() + 'static) -> EventListener {
        EventListener::new(&self.0, name, move |_| callback())
    }

    /// Returns whether the system has paused the device.
    pub(super) fn is_paused(&self) -> bool {
        self.0.muted()
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The rule for a device that needs the user's permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    /// The browser may ask.
    Allowed,
    /// The user has not asked for the device just now, so it is opened only if permission is granted already.
    Avoided,
}

/// Opens the device with this id, or another one if it is gone.
pub(super) async fn open(kind: DeviceKind, id: Option<String>, prompt: Prompt) -> Result<Captured, DeviceError> {
    if prompt == Prompt::Avoided && !is_permitted(kind).await {
        return Err(DeviceError::Denied);
    }
    match request(kind, id.as_deref()).await {
        // It was unplugged since the user chose it.
        Err(DeviceError::Missing) if id.is_some() => request(kind, None).await,
        result => result,
    }
}

/// Returns whether the permission is granted, as far as the browser tells (W3C Permissions).
async fn is_permitted(kind: DeviceKind) -> bool {
    let name = match kind {
        DeviceKind::Microphone => "microphone",
        DeviceKind::Camera => "camera",
    };
    let query = || -> Option<Promise> {
        let permissions = Reflect::get(&window().navigator(), &"permissions".into()).ok()?;
        let query: Function = Reflect::get(&permissions, &"query".into()).ok()?.dyn_into().ok()?;
        query.call1(&permissions, &object(&[("name", name.into())])).ok()?.dyn_into().ok()
    };
    let Some(promise) = query() else { return true };
    let Ok(status) = JsFuture::from(promise).await else { return true };
    Reflect::get(&status, &"state".into()).is_ok_and(|state| state.as_string().as_deref() == Some("granted"))
}

async fn request(kind: DeviceKind, id: Option<&str>) -> Result<Captured, DeviceError> {
    let wanted = match kind {
        DeviceKind::Microphone => object(&[("echoCancellation", true.into()), ("noiseSuppression", true.into())]),
        // The resolution that `quality` assumes. A camera that does not have it uses the nearest one.
        DeviceKind::Camera => object(&[
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
        DeviceKind::Microphone => constraints.set_audio(&wanted),
        DeviceKind::Camera => constraints.set_video(&wanted),
    }
    let promise = media_devices()?.get_user_media_with_constraints(&constraints).map_err(device_error)?;
    let stream: MediaStream = JsFuture::from(promise).await.map_err(device_error)?.unchecked_into();
    captured(&stream).into_iter().next().ok_or(DeviceError::Missing)
}

/// A shared screen, window or tab, with its sound where the browser can capture it.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(super) video: Captured,
    pub(super) audio: Option<Captured>,
}

impl Screen {
    /// Lets the user choose what to share. [`DeviceError::Denied`] most often means that the user has cancelled.
    pub(super) async fn open() -> Result<Self, DeviceError> {
        let devices = media_devices()?;
        // Phones cannot share a screen.
        if !Reflect::has(&devices, &"getDisplayMedia".into()).unwrap_or(false) {
            return Err(DeviceError::Missing);
        }
        let constraints = web_sys::DisplayMediaStreamConstraints::new();
        constraints.set_video(&JsValue::TRUE);
        constraints.set_audio(&JsValue::TRUE);
        let promise = devices.get_display_media_with_constraints(&constraints).map_err(device_error)?;
        let stream: MediaStream = JsFuture::from(promise).await.map_err(device_error)?.unchecked_into();
        let is_audio = |captured: &Captured| captured.0.kind() == "audio";
        let (audio, video): (Vec<_>, Vec<_>) = captured(&stream).into_iter().partition(is_audio);
        let video = video.into_iter().next().ok_or(DeviceError::Missing)?;
        // Prefer sharp text over smooth motion.
        set(&video.0, "contentHint", &"detail".into());
        Ok(Self { video, audio: audio.into_iter().next() })
    }
}

/// The microphones and cameras that the user can choose from.
pub(super) async fn list() -> Vec<Device> {
    let Ok(promise) = media_devices().and_then(|devices| devices.enumerate_devices().map_err(device_error)) else {
        return Vec::new();
    };
    let Ok(infos) = JsFuture::from(promise).await else { return Vec::new() };
    let infos = Array::from(&infos).to_vec().into_iter().map(JsCast::unchecked_into::<MediaDeviceInfo>);
    let device = |info: MediaDeviceInfo| {
        let kind = match info.kind() {
            MediaDeviceKind::Audioinput => DeviceKind::Microphone,
            MediaDeviceKind::Videoinput => DeviceKind::Camera,
            _ => return None,
        };
        // Without permission the ids are empty.
        Some(Device { kind, id: info.device_id(), label: info.label() }).filter(|device| !device.id.is_empty())
    };
    infos.filter_map(device).collect()
}

/// The browser's media devices. They also send `devicechange`.
pub(super) fn media_devices() -> Result<MediaDevices, DeviceError> {
    // The property is missing on insecure pages, although its type says otherwise.
    let navigator = window().navigator();
    match Reflect::get(&navigator, &"mediaDevices".into()) {
        Ok(devices) if !devices.is_undefined() => Ok(devices.unchecked_into()),
        _ => Err(DeviceError::Insecure),
    }
}

fn captured(stream: &MediaStream) -> Vec<Captured> {
    stream.get_tracks().iter().map(|track| Captured(track.unchecked_into())).collect()
}

fn device_error(error: JsValue) -> DeviceError {
    let name = Reflect::get(&error, &"name".into()).ok().and_then(|name| name.as_string()).unwrap_or_default();
    match name.as_str() {
        "NotAllowedError" | "SecurityError" => DeviceError::Denied,
        "NotFoundError" | "OverconstrainedError" => DeviceError::Missing,
        "NotReadableError" | "AbortError" => DeviceError::Busy,
        _ => DeviceError::Failed,
    }
}
