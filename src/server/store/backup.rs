//! Online backup of the database, and the check against restoring one beside a foreign WAL.

mod files;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::connection::BUSY_TIMEOUT;
use super::files::hashes;
use crate::server::start_error::{Source, StartError};

/// The size of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// Number of rooms, including empty ones.
    pub rooms: u64,
    /// Number of messages in all rooms.
    pub messages: u64,
    /// Number of files that were copied.
    pub files: u64,
}

/// Copies the database in `folder` to `target`, and the files that it names to a folder beside it, whose name has `.files`
/// at the end; both must not exist. A server may use the database
/// meanwhile: the copy is a snapshot that contains every message acknowledged before the call. It has
/// no epoch, so a server that is started with it draws a new one.
///
/// # Errors
/// There is no database, `target` exists, or an I/O error. No file is left behind.
pub fn backup(folder: &Path, target: &Path) -> Result<BackupSummary, StartError> {
    let source = folder.join("noom.sqlite3");
    if !source.exists() {
        return Err(StartError::NoDatabase(folder.to_owned()));
    }
    let to = files_beside(target);
    for path in [target, &to] {
        if path.exists() {
            return Err(StartError::Backup { path: path.to_owned(), source: "the file already exists".into() });
        }
    }
    let failed = |error: io::Error| StartError::Backup { path: to.clone(), source: error.into() };
    let _lock = files::pause_collector(folder).map_err(failed)?;
    let mut summary = write_copy(&source, target, Existing::Keep)?;
    let hashes = Connection::open_with_flags(target, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|copy| hashes(&copy))
        .map_err(|error| StartError::Backup { path: target.to_owned(), source: error.into() })?;
    let copied = files::copy(folder, &hashes, &to);
    if copied.is_err() {
        // Neither a half copy, nor one without its files.
        let _ = (std::fs::remove_dir_all(&to), std::fs::remove_file(target));
    }
    summary.files = copied.map_err(failed)?;
    Ok(summary)
}

/// The folder to which a backup at `target` copies files.
pub fn files_beside(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".files");
    name.into()
}

/// Copies a database before it is migrated. A file from an earlier attempt is replaced.
pub(super) fn copy_to(source: &Path, target: &Path) -> Result<(), StartError> {
    write_copy(source, target, Existing::Replace).map(drop)
}

/// The handling of a file that exists at the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Keep,
    Replace,
}

fn write_copy(source: &Path, target: &Path, existing: Existing) -> Result<BackupSummary, StartError> {
    let failed = |source: Source| StartError::Backup { path: target.to_owned(), source };
    let target_folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Under a temporary name until it is complete. It is removed when dropped.
    let unfinished = tempfile::Builder::new().prefix(".noom-backup-").tempfile_in(target_folder);
    let unfinished = unfinished.map_err(|error| failed(error.into()))?;
    let path = unfinished.path().to_str().ok_or_else(|| failed("the path is not valid UTF-8".into()))?;
    let summary = copy(source, path).map_err(|error| failed(error.into()))?;

    unfinished.as_file().sync_all().map_err(|error| failed(error.into()))?;
    let persisted = match existing {
        Existing::Keep => unfinished.persist_noclobber(target),
        Existing::Replace => unfinished.persist(target),
    };
    persisted.map_err(|error| failed(error.error.into()))?;
    File::open(target_folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(error.into()))?;
    Ok(summary)
}

fn copy(source: &Path, target: &str) -> rusqlite::Result<BackupSummary> {
    let source = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    source.busy_timeout(BUSY_TIMEOUT)?;
    source.execute("VACUUM INTO ?1", [target])?;
    let copy = Connection::open_with_flags(target, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    copy.execute("DELETE FROM history", [])?;
    copy.query_row("SELECT (SELECT COUNT(*) FROM rooms), COUNT(*) FROM messages", [], |row| {
        Ok(BackupSummary { rooms: row.get::<_, i64>(0)? as u64, messages: row.get::<_, i64>(1)? as u64, files: 0 })
    })
}

/// Returns whether a backup was restored without removing the WAL of the previous database. SQLite
/// would apply that WAL to the restored file and corrupt it.
pub(super) fn has_foreign_wal(database: &Path) -> io::Result<bool> {
    /// Offset of the file format write version in the SQLite header, and its value in WAL mode.
    const WRITE_VERSION: usize = 18;
    const WAL_MODE: u8 = 2;
    let mut head = [0; WRITE_VERSION + 1];
    if File::open(database).and_then(|mut file| file.read_exact(&mut head)).is_err() {
        return Ok(false);
    }
    let wal = database.with_extension("sqlite3-wal");
    // `VACUUM INTO` writes a database that is not in WAL mode. A server switches to WAL mode before it
    // creates the WAL, so a WAL beside a database in another mode belongs to another database.
    Ok(head[WRITE_VERSION] != WAL_MODE && wal.try_exists()? && wal.metadata()?.len() > 0)
}
