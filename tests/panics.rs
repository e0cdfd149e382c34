//! Panics are counted. Alone in its process: the hook that counts them is everybody's.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use noom::server::telemetry;

#[test]
fn a_panic_is_counted_wherever_it_is_contained() {
    telemetry::count_panics();
    assert_eq!(telemetry::panics(), 0);
    assert!(std::thread::spawn(|| panic!("counted")).join().is_err());
    assert!(std::panic::catch_unwind(|| panic!("counted too")).is_err());
    assert_eq!(telemetry::panics(), 2);
}
