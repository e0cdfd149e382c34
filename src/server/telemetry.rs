//! Structured logs. No message text, no nickname and no room name is ever logged.

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error: lines for people, or JSON. `RUST_LOG` chooses what (default
/// `info`).
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rusqlite_migration=warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process, as in tests, keeps the first.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
}
