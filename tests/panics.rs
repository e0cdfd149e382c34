//! The panic hook. It applies to the whole process, so this test has a process of its own.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use noom::server::telemetry;

#[test]
fn contained_panics_are_counted() {
    telemetry::install_panic_hook();
    assert_eq!(telemetry::panic_count(), 0);
    assert!(std::thread::spawn(|| panic!("counted")).join().is_err());
    assert!(std::panic::catch_unwind(|| panic!("counted too")).is_err());
    assert_eq!(telemetry::panic_count(), 2);
}
