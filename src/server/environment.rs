//! The clock and the source of random numbers, behind a trait: a deterministic simulation replaces both.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::random;

/// The nondeterministic inputs of the hub and its sessions. Nothing there reads a clock or draws a random number
/// in any other way.
pub trait Environment: fmt::Debug + Send + Sync {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock, as the time since 1970 UTC.
    fn unix_time(&self) -> Duration;

    /// 64 random bits, unpredictable for clients.
    fn random_bits(&self) -> u64;

    /// A random number below `limit`, which must not be 0. The bias is below `limit` / 2^64.
    fn random_below(&self, limit: u32) -> u32 {
        (self.random_bits() % u64::from(limit)) as u32
    }

    /// The number of shards that rooms are spread over.
    fn shards(&self) -> usize;
}

/// The operating system's clocks and random numbers, and a shard for each core.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn random_bits(&self) -> u64 {
        random::bits()
    }

    fn shards(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}
