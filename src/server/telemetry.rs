//! Structured logs, and a count of what must never happen. No message text, no nickname, no room name and
//! no session description is ever logged.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Starts logging to standard error: lines for people, or JSON. `RUST_LOG` chooses what (default
/// `info`).
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rusqlite_migration=warn"));
    // The parser of session descriptions quotes what it does not know, which is somebody's address.
    let filter = filter.add_directive("webrtc_sdp=off".parse().unwrap_or_default());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process, as in tests, keeps the first.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
    count_panics();
}

/// How often something panicked since the process began. Each time only a connection, a room or a request
/// ended.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// From now on a panic is counted, and logged by its place alone: its message may quote what somebody wrote.
pub fn count_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let count = PANICS.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::error!(place, count, "something panicked, and was contained");
    }));
}
