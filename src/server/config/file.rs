//! The configuration file, `Leptos.toml`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

use super::files::FilesSection;
use super::{LimitSettings, ProxiesSetting};
use crate::server::call::ice::MAX_TTL;

/// The default of `hsts_seconds`: half a year.
const HSTS_SECONDS: u64 = 180 * 24 * 3_600;

/// Noom's part of `Leptos.toml`. Leptos reads its own table.
#[derive(Debug, Default, Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) noom: NoomSection,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NoomSection {
    pub(super) listen: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) public_url: Option<String>,
    pub(super) allowed_hosts: Option<Vec<String>>,
    pub(super) trust_forwarded: bool,
    pub(super) trusted_proxies: Option<ProxiesSetting>,
    pub(super) hsts_seconds: u64,
    pub(super) index_rooms: bool,
    pub(super) json_logs: bool,
    pub(super) message_days: Option<NonZeroU32>,
    pub(super) files: FilesSection,
    pub(super) ice: IceSection,
    pub(super) limits: LimitSettings,
}

impl Default for NoomSection {
    fn default() -> Self {
        Self {
            listen: None,
            data_dir: None,
            tls_cert: None,
            tls_key: None,
            public_url: None,
            allowed_hosts: None,
            trust_forwarded: false,
            trusted_proxies: None,
            hsts_seconds: HSTS_SECONDS,
            index_rooms: false,
            json_logs: false,
            message_days: None,
            files: FilesSection::default(),
            ice: IceSection::default(),
            limits: LimitSettings::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IceSection {
    pub(super) stun: Vec<String>,
    pub(super) turn: Vec<String>,
    pub(super) turn_secret: String,
    pub(super) turn_ttl_seconds: u64,
}

impl Default for IceSection {
    fn default() -> Self {
        Self { stun: Vec::new(), turn: Vec::new(), turn_secret: String::new(), turn_ttl_seconds: MAX_TTL.as_secs() }
    }
}

/// Finds `Leptos.toml` in the current folder, or in one above the program: `target/release/noom` finds the project's.
pub(super) fn find() -> Option<PathBuf> {
    let here = PathBuf::from("Leptos.toml");
    if here.exists() {
        return Some(here);
    }
    let program = std::env::current_exe().ok()?;
    program.ancestors().skip(1).map(|folder| folder.join("Leptos.toml")).find(|path| path.exists())
}
