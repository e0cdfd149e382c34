//! Checkpoints: copying the WAL into the database file, beside the commits.
//!
//! A thread of its own copies, so that no commit waits for it: SQLite lets one connection copy while another one
//! appends. What is appended meanwhile is left over. The writer copies that rest between two transactions, once it is
//! small and the WAL is large, and begins the WAL again from its start.
//!
//! A reader with an old snapshot, such as a backup, stops both: the WAL grows until the reader has finished.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::connection::{BUSY_TIMEOUT, WAL_BYTES, open_connection};
use super::epoch::Watermark;
use super::failure::{UNSURE, report};
use super::scrub::scrub;
use crate::server::start_error::Source;

/// The pages that are copied once the writer is idle.
const PAGES_IDLE: i64 = 1_000;
/// The pages that are copied while the writer is busy. The more, the fewer copies of a page that changes often.
const PAGES_BUSY: i64 = 4_000;
/// The pages in the WAL above which it begins again from its start.
const PAGES_LARGE: i64 = 8_000;
/// The pages that the writer may copy itself.
const PAGES_SMALL: i64 = 1_000;
/// The pages of a WAL above [`WAL_BYTES`].
const PAGES_HUGE: i64 = WAL_BYTES / 4_096;
/// The time that commits wait for readers when the WAL begins again.
const READERS_FINISH: Duration = Duration::from_millis(20);
/// The interval between two attempts that a reader stops.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// The interval between two attempts that fail, for example because the disk is full. Each is logged.
const RETRY_FAILED: Duration = Duration::from_secs(10);

/// The current activity of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    Idle,
    Busy,
}

/// The handle of the thread that copies.
#[derive(Debug)]
pub(super) struct Checkpoints {
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
    /// The WAL does not begin again before this time.
    restart_at: Instant,
    database: Arc<File>,
}

/// The number of pages in the WAL, and how many of them are in the database file, too.
#[derive(Clone, Copy, Debug)]
struct Wal {
    pages: i64,
    copied: i64,
}

impl Wal {
    /// Runs a checkpoint and returns the state afterwards; `None` if another checkpoint is running. `NOOP` only returns
    /// the state.
    fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
        // The first column tells whether a reader or writer was in the way, which the other two show as well.
        let wal = statement.query_row([], |row| Ok(Self { pages: row.get(1)?, copied: row.get(2)? }))?;
        Ok((wal.pages >= 0).then_some(wal))
    }

    fn rest(self) -> i64 {
        self.pages - self.copied
    }
}

impl Checkpoints {
    /// Starts the thread for the database at `path`. `database` is that file. It must not be closed before the last
    /// connection of this process: that would release the connections' locks (POSIX).
    pub(super) fn start(path: &Path, database: Arc<File>, watermark: Arc<Watermark>) -> Result<Self, Source> {
        let connection = open_connection(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let (wake, woken) = sync_channel(1);
        let thread = CheckpointThread { connection, database: database.clone(), woken, watermark };
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(move || {
            // Without this thread the WAL would grow without end.
            if catch_unwind(AssertUnwindSafe(|| thread.run())).is_err() {
                std::process::exit(UNSURE);
            }
        })?;
        Ok(Self { wake, thread, database, restart_at: Instant::now() })
    }

    /// Keeps the WAL small, between two transactions of the writer's connection. Returns whether it should be called
    /// again soon, even if nothing is written.
    pub(super) fn tend(&mut self, connection: &Connection, writing: Writing) -> bool {
        let wal = match Wal::checkpoint(connection, "NOOP") {
            Ok(Some(wal)) => wal,
            Ok(None) => return false,
            Err(error) => {
                report(&error, "cannot read the size of the WAL");
                return false;
            }
        };
        let enough = if writing == Writing::Idle { PAGES_IDLE } else { PAGES_BUSY };
        if wal.rest() >= enough {
            // If it is awake already, it will look again.
            let _ = self.wake.try_send(());
        }
        // The next transaction restarts the WAL if there is no rest.
        let is_done = |wal: Wal| wal.pages < PAGES_LARGE || (wal.rest() == 0 && wal.pages <= PAGES_HUGE);
        if !is_done(wal) && wal.rest() < PAGES_SMALL && Instant::now() >= self.restart_at {
            self.restart_at = Instant::now() + RETRY;
            match restart(connection, wal.pages) {
                Ok(restarted) => return restarted.is_none_or(|wal| !is_done(wal)),
                Err(error) => {
                    self.restart_at += RETRY_FAILED;
                    report(&error, "cannot checkpoint the WAL");
                }
            }
        }
        !is_done(wal)
    }

    /// Ends the thread, and copies everything: then the database is complete without a WAL, and a copy of the one file
    /// is a copy of everything.
    pub(super) fn finish(self, connection: &Connection, watermark: &Watermark) {
        let Self { wake, thread, database, .. } = self;
        drop(wake);
        // If this fails, the thread has panicked, and the process ends.
        let _ = thread.join();
        if let Err(error) = Wal::checkpoint(connection, "TRUNCATE") {
            report(&error, "cannot checkpoint the WAL");
        }
        remove_traces(connection, &database);
        sync_watermark(watermark);
    }
}

/// Removes what is left of erased texts, if a message was ever changed or has expired.
fn remove_traces(connection: &Connection, database: &File) {
    match try_to_remove_traces(connection, database) {
        Ok(true) => {}
        Ok(false) => tracing::warn!("copies of erased messages may be left in the free space of the database"),
        Err(error) => report(&error, "cannot remove copies of erased messages from the database"),
    }
}

/// Returns whether nothing is left.
fn try_to_remove_traces(connection: &Connection, database: &File) -> rusqlite::Result<bool> {
    let was_erased = "SELECT EXISTS (SELECT 1 FROM rooms WHERE rev > 0 OR floor > 1)";
    if !connection.query_row(was_erased, [], |row| row.get::<_, bool>(0))? {
        return Ok(true);
    }
    // Nobody else can write while this transaction is open. With an empty WAL nobody can copy pages into the file, either.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let wal = connection.path().map(|path| format!("{path}-wal"));
    let is_whole = wal.is_some_and(|wal| std::fs::metadata(wal).map_or(true, |wal| wal.len() == 0));
    let is_clean = is_whole && scrub(database).unwrap_or(false);
    connection.execute_batch("ROLLBACK")?;
    Ok(is_clean)
}

/// Copies the rest of the WAL, and lets it begin again from its start unless readers still need it.
fn restart(connection: &Connection, pages: i64) -> rusqlite::Result<Option<Wal>> {
    connection.busy_timeout(READERS_FINISH)?;
    let restarted = Wal::checkpoint(connection, if pages > PAGES_HUGE { "TRUNCATE" } else { "RESTART" });
    connection.busy_timeout(BUSY_TIMEOUT)?;
    restarted
}

/// The state of the thread that copies.
struct CheckpointThread {
    connection: Connection,
    database: Arc<File>,
    woken: Receiver<()>,
    watermark: Arc<Watermark>,
}

/// The outcome of an attempt to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copied {
    /// Little is left.
    Enough,
    /// More was appended meanwhile.
    Some,
    /// Nothing: a reader is in the way.
    Nothing,
    /// An error, which was logged.
    Failed,
}

impl CheckpointThread {
    fn run(self) {
        while self.woken.recv().is_ok() {
            loop {
                let pause = match self.copy() {
                    Copied::Enough => break,
                    Copied::Some => Duration::ZERO,
                    Copied::Nothing => RETRY,
                    Copied::Failed => RETRY_FAILED,
                };
                if self.is_over_after(pause) {
                    return;
                }
            }
        }
    }

    /// Pauses, even if it is woken. Returns whether the writer has ended.
    fn is_over_after(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            match self.woken.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// Copies what can be copied.
    fn copy(&self) -> Copied {
        let before = Wal::checkpoint(&self.connection, "NOOP").ok().flatten();
        let wal = match Wal::checkpoint(&self.connection, "PASSIVE") {
            Ok(Some(wal)) => wal,
            // The writer is copying the rest.
            Ok(None) => return Copied::Enough,
            Err(error) => {
                report(&error, "cannot checkpoint the WAL");
                return Copied::Failed;
            }
        };
        if wal.rest() >= PAGES_IDLE && before.is_some_and(|before| before.copied == wal.copied) {
            return Copied::Nothing;
        }
        // SQLite syncs the file only if nothing was appended meanwhile, and then the writer would wait for all of it.
        if let Err(error) = self.database.sync_data() {
            tracing::error!(%error, "cannot sync the database");
            std::process::exit(UNSURE);
        }
        sync_watermark(&self.watermark);
        if wal.rest() >= PAGES_IDLE { Copied::Some } else { Copied::Enough }
    }
}

fn sync_watermark(watermark: &Watermark) {
    if let Err(error) = watermark.sync() {
        tracing::warn!(%error, "cannot write to noom.mark");
    }
}
