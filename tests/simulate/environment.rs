//! The clock and the random numbers of the simulated server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use noom::server::environment::Environment;

use super::rng::Rng;

/// Simulated time when a run starts, since 1970.
const UNIX_START: Duration = Duration::from_secs(1_700_000_000);

#[derive(Debug)]
pub struct SimulatedEnvironment {
    start: Instant,
    /// Microseconds since the start of the run.
    now: AtomicU64,
    rng: Mutex<Rng>,
    shards: usize,
}

impl SimulatedEnvironment {
    pub fn new(rng: Rng, shards: usize) -> Self {
        Self { start: Instant::now(), now: AtomicU64::new(0), rng: Mutex::new(rng), shards }
    }

    /// Advances the clock to this time, in microseconds since the start of the run.
    pub fn advance_to(&self, now: u64) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// Microseconds since the start of the run.
    pub fn micros(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}

impl Environment for SimulatedEnvironment {
    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.micros())
    }

    fn unix_time(&self) -> Duration {
        UNIX_START + Duration::from_micros(self.micros())
    }

    fn random_bits(&self) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).bits()
    }

    fn shards(&self) -> usize {
        self.shards
    }
}
