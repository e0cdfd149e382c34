//! The values of environment variables.

use std::str::FromStr;

use crate::server::start_error::StartError;

/// Reads a variable of the process. Bytes that are not valid UTF-8 are replaced, so that the value is refused and not
/// ignored.
pub(super) fn from_environment(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}

/// Returns whether the value of a variable counts as unset: an empty one does, because that is what a template or a
/// container's configuration makes of a setting without a value.
pub(super) fn is_unset(value: &str) -> bool {
    value.trim().is_empty()
}

/// Parses a number.
///
/// # Errors
/// [`StartError::InvalidNumber`], which names the setting.
pub(super) fn number<T: FromStr>(setting: &'static str, value: String) -> Result<T, StartError> {
    value.trim().parse().map_err(|_| StartError::InvalidNumber { setting, value })
}

/// Parses a boolean.
///
/// # Errors
/// [`StartError::InvalidFlag`], which names the setting.
pub(super) fn flag(setting: &'static str, value: String) -> Result<bool, StartError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(StartError::InvalidFlag { setting, value }),
    }
}

/// The entries of a list that is separated by commas.
pub(super) fn list(value: &str) -> Vec<String> {
    value.split(',').map(|entry| entry.trim().to_owned()).collect()
}
