//! Cryptographically secure random numbers from the operating system.

/// 64 random bits.
pub(super) fn bits() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A number below `limit`, which must not be 0. The bias is below `limit` / 2^64.
pub(super) fn below(limit: u32) -> u32 {
    (bits() % u64::from(limit)) as u32
}

/// Fills a buffer with random bytes.
///
/// # Panics
/// If the operating system has no random numbers: then no cookie or key of this process would be safe.
pub(super) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system provides random numbers");
}
