//! The configurable limits.

use serde::Deserialize;

use super::StartError;
use super::variable::number;
use crate::protocol::{HEARTBEAT_MS, MAX_REPLAY_BYTES};

/// Declares [`LimitSettings`]: each key, its default, and the variable that overrides it.
macro_rules! limits {
    ($($(#[$meta:meta])* $key:ident: $type:ty = $default:expr, $variable:literal;)*) => {
        /// The configurable limits, `[noom.limits]` in Leptos.toml. All are at least 1.
        #[derive(Clone, Debug, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct LimitSettings { $($(#[$meta])* pub $key: $type,)* }

        impl Default for LimitSettings {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl LimitSettings {
            /// Overrides the limits that have a variable.
            pub(super) fn override_from(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), StartError> {
                $(if let Some(value) = variable($variable) {
                    self.$key = number($variable, value)?;
                })*
                Ok(())
            }

            /// Refuses a limit of 0.
            pub(super) fn check(&self) -> Result<(), StartError> {
                $(if self.$key == 0 {
                    return Err(StartError::ZeroLimit(stringify!($key)));
                })*
                Ok(())
            }
        }
    };
}

limits! {
    /// Messages per second, per user, sustained.
    messages_per_second: u32 = 5, "NOOM_LIMITS_MESSAGES_PER_SECOND";
    /// Burst of messages, per user.
    message_burst: u32 = 20, "NOOM_LIMITS_MESSAGE_BURST";
    /// Other commands per second, per user; control frames per second, per connection.
    signals_per_second: u32 = 50, "NOOM_LIMITS_SIGNALS_PER_SECOND";
    /// Burst of other commands.
    signal_burst: u32 = 200, "NOOM_LIMITS_SIGNAL_BURST";
    /// Announcements per second, per user: names, arrivals, calls.
    announcements_per_second: u32 = 3, "NOOM_LIMITS_ANNOUNCEMENTS_PER_SECOND";
    /// Burst of announcements.
    announcement_burst: u32 = 60, "NOOM_LIMITS_ANNOUNCEMENT_BURST";
    /// Reads per second, per user: history, pages, lists.
    reads_per_second: u32 = 10, "NOOM_LIMITS_READS_PER_SECOND";
    /// Burst of reads.
    read_burst: u32 = 200, "NOOM_LIMITS_READ_BURST";
    /// Rooms entered per minute, per user.
    joins_per_minute: u32 = 60, "NOOM_LIMITS_JOINS_PER_MINUTE";
    /// Rooms created per minute, per user.
    rooms_per_minute: u32 = 5, "NOOM_LIMITS_ROOMS_PER_MINUTE";
    /// Rooms created per hour, per user.
    rooms_per_hour: u32 = 50, "NOOM_LIMITS_ROOMS_PER_HOUR";
    /// Pages of 100 exported messages per second, per user.
    export_pages_per_second: u32 = 50, "NOOM_LIMITS_EXPORT_PAGES_PER_SECOND";
    /// Burst of pages of exported messages.
    export_page_burst: u32 = 500, "NOOM_LIMITS_EXPORT_PAGE_BURST";
    /// Exports at the same time, per address.
    exports_per_address: usize = 4, "NOOM_LIMITS_EXPORTS_PER_ADDRESS";
    /// Exports at the same time, in total.
    exports: usize = 16, "NOOM_LIMITS_EXPORTS";
    /// The budgets of an address are those of this many users.
    users_per_address: u32 = 10, "NOOM_LIMITS_USERS_PER_ADDRESS";
    /// HTTP requests per second, per address.
    requests_per_second: u32 = 100, "NOOM_LIMITS_REQUESTS_PER_SECOND";
    /// Burst of HTTP requests.
    request_burst: u32 = 2_000, "NOOM_LIMITS_REQUEST_BURST";
    /// New guests per minute, per address.
    guests_per_minute: u32 = 200, "NOOM_LIMITS_GUESTS_PER_MINUTE";
    /// Connections per user; one more closes the oldest.
    connections_per_user: usize = 8, "NOOM_LIMITS_CONNECTIONS_PER_USER";
    /// Connections per address.
    connections_per_address: usize = 200, "NOOM_LIMITS_CONNECTIONS_PER_ADDRESS";
    /// Connections in total.
    connections: usize = 10_000, "NOOM_LIMITS_CONNECTIONS";
    /// Rooms that one connection is in.
    rooms_per_connection: usize = 50, "NOOM_LIMITS_ROOMS_PER_CONNECTION";
    /// HTTP requests per address: open connections that are not WebSockets, and requests over HTTP/2 or from a proxy.
    requests_per_address: usize = 512, "NOOM_LIMITS_REQUESTS_PER_ADDRESS";
    /// HTTP connections in total that are neither WebSockets nor event streams; more of them wait.
    http_connections: usize = 4_096, "NOOM_LIMITS_HTTP_CONNECTIONS";
    /// Timeout of a request in seconds, body included; and of a response that the client does not read.
    request_seconds: u64 = 30, "NOOM_LIMITS_REQUEST_SECONDS";
    /// The server pings a connection after this many seconds without a frame, and asks clients to do the same.
    heartbeat_seconds: u64 = HEARTBEAT_MS / 1_000, "NOOM_LIMITS_HEARTBEAT_SECONDS";
    /// Frames in the outbox of one connection.
    outbox_frames: usize = 512, "NOOM_LIMITS_OUTBOX_FRAMES";
    /// Bytes in the outbox of one connection.
    outbox_bytes: usize = 1024 * 1024, "NOOM_LIMITS_OUTBOX_BYTES";
    /// Bytes in memory of all outboxes, the recent messages of rooms, and the results of reads, together.
    buffered_bytes: usize = 256 * 1024 * 1024, "NOOM_LIMITS_BUFFERED_BYTES";
    /// Size of a file in bytes.
    file_bytes: u64 = 25 * 1024 * 1024, "NOOM_LIMITS_FILE_BYTES";
    /// Pixels of a picture.
    picture_pixels: u64 = 40_000_000, "NOOM_LIMITS_PICTURE_PIXELS";
    /// Uploads of a user that are unfinished or in no message yet.
    uploads_per_user: u64 = 20, "NOOM_LIMITS_UPLOADS_PER_USER";
    /// Unfinished uploads per address.
    uploads_per_address: usize = 50, "NOOM_LIMITS_UPLOADS_PER_ADDRESS";
    /// Unfinished uploads in total.
    uploads: usize = 200, "NOOM_LIMITS_UPLOADS";
    /// The time in which an upload has to be complete, and then the time in which a message has to take it.
    upload_seconds: u64 = 3_600, "NOOM_LIMITS_UPLOAD_SECONDS";
    /// KiB of uploads per second, per user, sustained.
    upload_kib_per_second: u32 = 8 * 1024, "NOOM_LIMITS_UPLOAD_KIB_PER_SECOND";
    /// Burst of uploads in KiB.
    upload_kib_burst: u32 = 128 * 1024, "NOOM_LIMITS_UPLOAD_KIB_BURST";
    /// The interval in seconds at which files are removed that no message has.
    collect_seconds: u64 = 60, "NOOM_LIMITS_COLLECT_SECONDS";
    /// Bytes stored in one room.
    stored_bytes_per_room: u64 = 1 << 30, "NOOM_LIMITS_STORED_BYTES_PER_ROOM";
    /// Bytes stored by the messages of one day (UTC).
    stored_bytes_per_day: u64 = 4 << 30, "NOOM_LIMITS_STORED_BYTES_PER_DAY";
    /// Bytes stored in total.
    stored_bytes: u64 = 32 << 30, "NOOM_LIMITS_STORED_BYTES";
    /// Size of a request's head in bytes.
    header_bytes: usize = 16 * 1024, "NOOM_LIMITS_HEADER_BYTES";
    /// Timeout of a request's head in seconds.
    header_seconds: u64 = 10, "NOOM_LIMITS_HEADER_SECONDS";
}

/// The most results of reads that wait to be taken at the same time.
const READ_RESULTS: usize = 16;

/// The parts of [`LimitSettings::buffered_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Buffers {
    /// For the recent messages of rooms, in bytes.
    pub(in crate::server) tails: usize,
    /// The results of reads that may wait to be taken, each of at most [`MAX_REPLAY_BYTES`].
    pub(in crate::server) read_results: usize,
    /// For the frames in outboxes, in bytes.
    pub(in crate::server) outboxes: usize,
}

impl LimitSettings {
    /// Divides `buffered_bytes`.
    pub(in crate::server) fn buffers(&self) -> Buffers {
        let (tails, reads) = (self.buffered_bytes / 4, self.buffered_bytes / 8);
        let read_results = (reads / MAX_REPLAY_BYTES).clamp(1, READ_RESULTS);
        let outboxes = self.buffered_bytes.saturating_sub(tails + read_results * MAX_REPLAY_BYTES);
        Buffers { tails, read_results, outboxes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_the_whole_budget_unless_it_is_too_small_for_one_read() {
        for (mebibytes, read_results) in [(256, 16), (64, 16), (32, 8), (4, 1)] {
            let settings = LimitSettings { buffered_bytes: mebibytes << 20, ..LimitSettings::default() };
            let Buffers { tails, read_results: results, outboxes } = settings.buffers();
            assert_eq!((results, tails + results * MAX_REPLAY_BYTES + outboxes), (read_results, mebibytes << 20));
        }
        let buffers = LimitSettings { buffered_bytes: 1, ..LimitSettings::default() }.buffers();
        assert_eq!(buffers, Buffers { tails: 0, read_results: 1, outboxes: 0 });
    }
}
