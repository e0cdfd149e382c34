//! Accounting of the stored bytes, and their quotas.
//!
//! Sizes are those of the texts and names, with a fixed part for the rest of a row and its index entries. The database
//! file is a little larger. The size of a room is in its row; the total is their sum, and that of the nicknames
//! and of the lists of users' own rooms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::AppendError;
use crate::protocol::User;
use crate::server::storage::Usage;

/// The size of a row without its texts, in bytes. `migrations/3-usage.sql` has the same number.
pub(super) const ROW: u64 = 100;
const DAY_MS: i64 = 86_400_000;
/// The part of a quota, in percent, from which on the operator is warned.
const WARN_AT: [u64; 2] = [80, 95];
/// The interval between two warnings about refused writes.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// The size of a row that names a user.
pub(super) fn bytes_of_row(user: &User) -> u64 {
    ROW + user.nickname.len() as u64
}

/// The most that is stored, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// In one room.
    pub room: u64,
    /// By the messages of one day (UTC).
    pub day: u64,
    /// In total.
    pub total: u64,
}

impl Quotas {
    /// No quotas.
    pub const UNLIMITED: Self = Self { room: u64::MAX, day: u64::MAX, total: u64::MAX };
}

/// The counters that the writer shares, for [`super::Store::usage`].
#[derive(Debug, Default)]
pub(super) struct Gauges {
    total: AtomicU64,
    day: AtomicU64,
}

impl Gauges {
    pub(super) fn read(&self, quotas: Quotas) -> Usage {
        Usage {
            stored_bytes: self.total.load(Relaxed),
            stored_bytes_limit: quotas.total,
            stored_bytes_today: self.day.load(Relaxed),
            stored_bytes_per_day_limit: quotas.day,
        }
    }
}

/// The bytes that are stored in total and today. A transaction works on a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    total: u64,
    /// The day, in days since 1970 UTC.
    day: i64,
    day_bytes: u64,
}

/// The bytes that are stored in one room.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredInRoom {
    pub(super) bytes: u64,
    pub(super) day: i64,
    pub(super) day_bytes: u64,
}

impl Stored {
    /// Reads the sums from the database.
    pub(super) fn read(connection: &Connection, now: i64) -> rusqlite::Result<Self> {
        let day = now / DAY_MS;
        let sums = "SELECT COALESCE(SUM(bytes), 0), COALESCE(SUM(day_bytes) FILTER (WHERE day = ?1), 0) FROM rooms";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64));
        let (rooms, day_bytes) = connection.query_row(sums, [day], row)?;
        let names = format!("SELECT COALESCE(SUM(octet_length(nickname) + {ROW}), 0) FROM users");
        let names = connection.query_row(&names, [], |row| row.get::<_, i64>(0))? as u64;
        let memberships = connection.query_row("SELECT COUNT(*) FROM memberships", [], |row| row.get::<_, i64>(0))?;
        Ok(Self { total: rooms + names + memberships as u64 * ROW, day, day_bytes })
    }

    /// Adds a message to a room, unless a quota forbids that.
    pub(super) fn add_message(
        &mut self,
        room: &mut StoredInRoom,
        size: u64,
        now: i64,
        quotas: Quotas,
    ) -> Result<(), AppendError> {
        self.change_message(room, 0, ROW + size, now, quotas)
    }

    /// Adds a file to a room. Files may use half of each quota, so that messages can be posted when there is no room for
    /// files.
    pub(super) fn add_file(
        &mut self,
        room: &mut StoredInRoom,
        size: u64,
        now: i64,
        Quotas { room: in_room, day, total }: Quotas,
    ) -> Result<(), AppendError> {
        self.change_message(room, 0, size, now, Quotas { room: in_room / 2, day: day / 2, total: total / 2 })
    }

    /// Removes a file that no message has. If it was added today, it does not count towards the quota of the day any more.
    pub(super) fn remove_file(&mut self, room: &mut StoredInRoom, size: u64, added_at: i64, now: i64) {
        self.begin_day(now);
        self.free(room, size);
        if added_at / DAY_MS == self.day {
            self.day_bytes = self.day_bytes.saturating_sub(size);
            if room.day == self.day {
                room.day_bytes = room.day_bytes.saturating_sub(size);
            }
        }
    }

    /// Counts what was removed from a room.
    pub(super) fn free(&mut self, room: &mut StoredInRoom, size: u64) {
        room.bytes = room.bytes.saturating_sub(size);
        self.total = self.total.saturating_sub(size);
    }

    /// Replaces a part of a message of the size `old`, unless a quota forbids the new size. What frees space is always
    /// allowed.
    pub(super) fn change_message(
        &mut self,
        room: &mut StoredInRoom,
        old: u64,
        new: u64,
        now: i64,
        quotas: Quotas,
    ) -> Result<(), AppendError> {
        self.begin_day(now);
        let Some(size) = new.checked_sub(old) else {
            self.free(room, old - new);
            return Ok(());
        };
        if room.bytes + size > quotas.room {
            return Err(AppendError::RoomFull);
        }
        if self.day_bytes + size > quotas.day {
            let retry_after_ms = ((self.day + 1) * DAY_MS - now).max(1) as u64;
            return Err(AppendError::ServerFull { retry_after_ms: Some(retry_after_ms) });
        }
        if self.total + size > quotas.total {
            return Err(AppendError::ServerFull { retry_after_ms: None });
        }
        if room.day != self.day {
            (room.day, room.day_bytes) = (self.day, 0);
        }
        room.bytes += size;
        room.day_bytes += size;
        self.day_bytes += size;
        self.total += size;
        Ok(())
    }

    /// Adds a room, and returns its size. `None`: the quota forbids it.
    pub(super) fn add_room(&mut self, canonical: &str, folded: &str, quotas: Quotas) -> Option<u64> {
        let size = ROW + canonical.len() as u64 + folded.len() as u64;
        self.replace(0, size, quotas).then_some(size)
    }

    /// Adds a room to the list of a user. Returns false if the quota forbids it.
    pub(super) fn add_membership(&mut self, quotas: Quotas) -> bool {
        self.replace(0, ROW, quotas)
    }

    /// Removes a room from the list of a user.
    pub(super) fn remove_membership(&mut self) {
        self.total = self.total.saturating_sub(ROW);
    }

    /// Replaces a nickname. Returns false if the quota forbids it.
    pub(super) fn replace_nickname(&mut self, old: Option<u64>, new: Option<&str>, quotas: Quotas) -> bool {
        let old = old.map_or(0, |length| length + ROW);
        self.replace(old, new.map_or(0, |nickname| nickname.len() as u64 + ROW), quotas)
    }

    fn replace(&mut self, old: u64, new: u64, quotas: Quotas) -> bool {
        let total = self.total.saturating_sub(old) + new;
        if new > old && total > quotas.total {
            return false;
        }
        self.total = total;
        true
    }

    fn begin_day(&mut self, now: i64) {
        // A clock that went back does not begin an earlier day.
        if now / DAY_MS > self.day {
            (self.day, self.day_bytes) = (now / DAY_MS, 0);
        }
    }
}

/// Tells the operator how much is stored.
#[derive(Debug)]
pub(super) struct Operator {
    quotas: Quotas,
    gauges: Arc<Gauges>,
    /// The time of the last warning about refused writes.
    refused_at: Option<Instant>,
}

impl Operator {
    /// Warns at once if much is stored already.
    pub(super) fn new(quotas: Quotas, gauges: Arc<Gauges>, stored: Stored) -> Self {
        let mut operator = Self { quotas, gauges, refused_at: None };
        operator.tell(Stored { total: 0, day: stored.day, day_bytes: 0 }, stored);
        operator
    }

    /// Tells of a commit: what was stored before and afterwards.
    pub(super) fn tell(&mut self, before: Stored, after: Stored) {
        self.gauges.total.store(after.total, Relaxed);
        self.gauges.day.store(after.day_bytes, Relaxed);
        let day_before = if before.day == after.day { before.day_bytes } else { 0 };
        warn_of("stored_bytes", before.total, after.total, self.quotas.total);
        warn_of("stored_bytes_per_day", day_before, after.day_bytes, self.quotas.day);
    }

    /// Tells of a room that has grown.
    pub(super) fn tell_of_room(&self, room: i64, before: u64, after: u64) {
        if let Some(percent) = crossed(before, after, self.quotas.room) {
            tracing::warn!(
                room,
                stored = after,
                limit = self.quotas.room,
                percent,
                "a room reaches stored_bytes_per_room"
            );
        }
    }

    /// Tells of a write that a quota refused.
    pub(super) fn tell_of_refusal(&mut self) {
        let now = Instant::now();
        if self.refused_at.is_none_or(|at| now.duration_since(at) >= WARN_EVERY) {
            self.refused_at = Some(now);
            let (total, day) = (self.gauges.total.load(Relaxed), self.gauges.day.load(Relaxed));
            tracing::warn!(total, day, quotas = ?self.quotas, "writes are refused: a quota of stored bytes is used up");
        }
    }
}

fn warn_of(quota: &str, before: u64, after: u64, limit: u64) {
    if let Some(percent) = crossed(before, after, limit) {
        tracing::warn!(quota, stored = after, limit, percent, "the stored messages reach a quota");
    }
}

/// The highest part of a quota, in percent, that was passed.
fn crossed(before: u64, after: u64, limit: u64) -> Option<u64> {
    let passed = |percent: u64| (limit / 100).saturating_mul(percent).max(1);
    WARN_AT.into_iter().rev().find(|percent| before < passed(*percent) && after >= passed(*percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn stored() -> (Stored, StoredInRoom) {
        let stored = Stored { total: 0, day: NOON / DAY_MS, day_bytes: 0 };
        (stored, StoredInRoom { bytes: 0, day: 0, day_bytes: 0 })
    }

    #[test]
    fn day_quota_is_renewed_at_midnight_and_room_quota_is_not() {
        let (mut all, mut room) = stored();
        let quotas = Quotas { room: 500, day: 250, total: 10_000 };
        let mut add = |now| all.add_message(&mut room, 8, now, quotas);
        assert_eq!((add(NOON), add(NOON)), (Ok(()), Ok(())));
        assert_eq!(add(NOON), Err(AppendError::ServerFull { retry_after_ms: Some(DAY_MS as u64 / 2) }));
        let tomorrow = NOON + DAY_MS / 2;
        assert_eq!((add(tomorrow), add(NOON)), (Ok(()), Ok(())), "a clock that goes back stays in its day");
        assert_eq!(add(tomorrow + DAY_MS), Err(AppendError::RoomFull));
        assert_eq!((room.bytes, all.total, all.day_bytes), (432, 432, 0));
    }

    #[test]
    fn total_quota_covers_messages_rooms_and_nicknames() {
        let (mut all, mut room) = stored();
        let quotas = Quotas { room: 1_000, day: 1_000, total: 320 };
        assert_eq!(all.add_room("a", "a", quotas), Some(102));
        assert!(all.replace_nickname(None, Some("Annabelle"), quotas));
        assert_eq!(all.add_room("b", "b", quotas), Some(102));
        assert_eq!(all.add_room("c", "c", quotas), None);
        let full = Err(AppendError::ServerFull { retry_after_ms: None });
        assert_eq!(all.add_message(&mut room, 4, NOON, quotas), full);
        assert!(!all.replace_nickname(Some(9), Some("Annabelle of Green"), quotas));
        assert!(all.replace_nickname(Some(9), None, quotas), "what makes room is never refused");
        assert_eq!(all.add_message(&mut room, 4, NOON, quotas), Ok(()));
    }

    #[test]
    fn operator_is_warned_once_at_each_step() {
        let steps = [(0, 79, None), (79, 80, Some(80)), (80, 94, None), (94, 99, Some(95)), (0, 99, Some(95))];
        for (before, after, expected) in steps {
            assert_eq!(crossed(before * 10, after * 10, 1_000), expected, "{before} to {after}");
        }
    }
}
