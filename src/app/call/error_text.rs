//! Errors of calls and devices, in the user's words.

use leptos::prelude::*;
use leptos_i18n::td_string;

use super::context::CallContext;
use crate::app::locale::Language;
use crate::app::refusal;
use crate::client::call::devices::DeviceError;
use crate::client::call::state::{CallError, DeviceState};

pub(super) fn call_error(i18n: Language, error: CallError) -> &'static str {
    match error {
        CallError::Moved => td_string!(i18n.get(), call_joined_elsewhere),
        CallError::Refused(code) => refusal::text(i18n, code),
    }
}

pub(super) fn microphone_error(i18n: Language, error: DeviceError) -> &'static str {
    match error {
        DeviceError::Insecure => td_string!(i18n.get(), devices_insecure),
        DeviceError::Denied => td_string!(i18n.get(), microphone_denied),
        DeviceError::Missing => td_string!(i18n.get(), microphone_missing),
        DeviceError::Busy => td_string!(i18n.get(), microphone_busy),
        DeviceError::Lost => td_string!(i18n.get(), microphone_lost),
        DeviceError::Unresponsive => td_string!(i18n.get(), microphone_unresponsive),
        DeviceError::Failed => td_string!(i18n.get(), microphone_failed),
    }
}

pub(super) fn camera_error(i18n: Language, error: DeviceError) -> &'static str {
    match error {
        DeviceError::Insecure => td_string!(i18n.get(), devices_insecure),
        DeviceError::Denied => td_string!(i18n.get(), camera_denied),
        DeviceError::Missing => td_string!(i18n.get(), camera_missing),
        DeviceError::Busy => td_string!(i18n.get(), camera_busy),
        DeviceError::Lost => td_string!(i18n.get(), camera_lost),
        DeviceError::Unresponsive => td_string!(i18n.get(), camera_unresponsive),
        DeviceError::Failed => td_string!(i18n.get(), camera_failed),
    }
}

fn screen_error(i18n: Language, error: DeviceError) -> &'static str {
    match error {
        DeviceError::Missing => td_string!(i18n.get(), screen_missing),
        DeviceError::Insecure
        | DeviceError::Denied
        | DeviceError::Busy
        | DeviceError::Lost
        | DeviceError::Unresponsive
        | DeviceError::Failed => td_string!(i18n.get(), screen_failed),
    }
}

/// The error of a device that is used in the call, or the reason why it sends nothing. The screen's comes first.
pub(super) fn device_error(i18n: Language, call: CallContext) -> Option<&'static str> {
    let state = call.meeting.state;
    if let DeviceState::Failed(error) = state.screen.get() {
        Some(screen_error(i18n, error))
    } else if let DeviceState::Failed(error) = state.microphone.get() {
        Some(microphone_error(i18n, error))
    } else if let DeviceState::Failed(error) = state.camera.get() {
        Some(camera_error(i18n, error))
    } else if state.microphone_paused.get() {
        Some(td_string!(i18n.get(), microphone_paused))
    } else if state.camera_paused.get() {
        Some(td_string!(i18n.get(), camera_paused))
    } else if state.muted_by_other_tab.get() {
        Some(td_string!(i18n.get(), muted_by_other_tab))
    } else {
        None
    }
}
