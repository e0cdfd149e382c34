//! Structured logs. No message text, no nickname, no room name and no session description is ever
//! logged.

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: lines for people, or JSON. `RUST_LOG` chooses what (default
/// `info`).
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rusqlite_migration=warn"));
    // The parser of session descriptions quotes what it does not know, which is somebody's address.
    let filter = filter.add_directive("webrtc_sdp=off".parse().unwrap_or_default());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process, as in tests, keeps the first.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
}
