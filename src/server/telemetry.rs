//! Structured logs, and a count of panics. Message texts, nicknames, room names and session descriptions are never
//! logged.

mod best_effort;

use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::EnvFilter;

use best_effort::BestEffort;

const DEFAULT_FILTER: &str = "info,rusqlite_migration=warn";

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Starts logging to standard error, as text or as JSON lines. `RUST_LOG` sets the filter (default `info`). Lines that
/// cannot be written are dropped.
pub fn init(json: bool) {
    let wanted = std::env::var_os("RUST_LOG").map(|text| text.to_string_lossy().into_owned());
    let wanted = wanted.filter(|text| !text.trim().is_empty()).map(EnvFilter::try_new);
    let (filter, invalid) = match wanted {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
        None => (EnvFilter::new(DEFAULT_FILTER), None),
    };
    // The parser of session descriptions logs lines that it does not know, which can contain a user's address.
    let filter = filter.add_directive("webrtc_sdp=off".parse().expect("the directive is valid"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(BestEffort { json });
    // tracing-subscriber reports a failed write with eprintln!, which panics when standard error fails.
    let logs = logs.log_internal_errors(false);
    // A second call in the same process, as in tests, changes nothing.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
    install_panic_hook();
    if let Some(error) = invalid {
        tracing::warn!(%error, "RUST_LOG is not valid, and is ignored");
    }
}

/// The number of panics since the process started. Each was contained: it ended one connection, room or request.
pub fn panic_count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Counts panics and logs their location. The message is not logged: it may quote what a user wrote.
///
/// A panic in here would abort the process, so the log must not fail.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let count = PANICS.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::error!(location, count, "a panic was contained");
    }));
}
