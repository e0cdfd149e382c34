//! Connections to the database file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// The time that a connection waits for another one, for example of a backup.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The size of the WAL's file, in bytes, that is kept. It grows beyond while a reader holds an old snapshot, as a backup
/// does.
pub(super) const WAL_BYTES: i64 = 64 * 1024 * 1024;

/// Opens a connection with the settings that all connections of the server have.
pub(super) fn open_connection(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // An acknowledged message survives a power loss: the WAL is synced at every commit (FULL). EXTRA also syncs the
    // folder when a rollback journal is removed, which exists until the WAL is used for the first time. If that journal
    // came back after a power loss, it would undo everything.
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Checkpoints are explicit (`checkpoint`): automatic ones do not report errors, and delay a commit.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // After a checkpoint of the whole WAL, its file shrinks to this size.
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What an edit or a deletion replaces is overwritten in the file, too.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
