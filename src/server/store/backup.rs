//! A copy of the database while a server uses it, and the other way.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Rooms.
    pub rooms: u64,
    /// Messages in them.
    pub messages: u64,
}

/// Why there is no copy: one line for the person who asked for it.
#[derive(Debug)]
pub struct BackupError(String);

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BackupError {}

/// Copies the database in `folder` to `target`, which must not exist. A server may use it meanwhile:
/// the copy is of one moment, with everything that was acknowledged before the call. It has no
/// epoch, so a server that is started with it draws a new one.
///
/// # Errors
/// One clear line. Nothing is left behind then.
pub fn backup(folder: &Path, target: &Path) -> Result<Copied, BackupError> {
    let source = folder.join("noom.sqlite3");
    if !source.exists() {
        return Err(BackupError(format!("there is no database in {}", folder.display())));
    }
    let failed = |error: &dyn fmt::Display| BackupError(format!("cannot make {}: {error}", target.display()));
    if target.exists() {
        return Err(failed(&"it exists already"));
    }
    let beside = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Under another name until it is whole. Dropped, it is removed.
    let unfinished = tempfile::Builder::new().prefix(".noom-backup-").tempfile_in(beside);
    let unfinished = unfinished.map_err(|error| failed(&error))?;
    let path = unfinished.path().to_str().ok_or_else(|| failed(&"its path is no UTF-8"))?;
    let copied = copy(&source, path).map_err(|error| failed(&error))?;

    unfinished.as_file().sync_all().map_err(|error| failed(&error))?;
    unfinished.persist_noclobber(target).map_err(|error| failed(&error.error))?;
    File::open(beside).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
    Ok(copied)
}

fn copy(source: &Path, target: &str) -> rusqlite::Result<Copied> {
    let source = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    source.busy_timeout(super::BUSY_TIMEOUT)?;
    source.execute("VACUUM INTO ?1", [target])?;
    let copy = Connection::open_with_flags(target, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    copy.execute("DELETE FROM history", [])?;
    copy.query_row("SELECT COUNT(*), COALESCE(SUM(head), 0) FROM rooms", [], |row| {
        Ok(Copied { rooms: row.get::<_, i64>(0)? as u64, messages: row.get::<_, i64>(1)? as u64 })
    })
}

/// Whether a copy was put back without removing the log of the database that was there before.
/// SQLite would write the one into the other.
pub(super) fn has_foreign_log(database: &Path) -> io::Result<bool> {
    /// Where in its head a database says how it is written, and the value with a log.
    const WRITE_VERSION: usize = 18;
    const WITH_LOG: u8 = 2;
    let mut head = [0; WRITE_VERSION + 1];
    if File::open(database).and_then(|mut file| file.read_exact(&mut head)).is_err() {
        return Ok(false);
    }
    let log = database.with_extension("sqlite3-wal");
    // Made by a backup, it has no log of its own; used by a server, it says so before there is one.
    Ok(head[WRITE_VERSION] != WITH_LOG && log.try_exists()? && log.metadata()?.len() > 0)
}
