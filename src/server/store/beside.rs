//! The database beside a server that may use it, for the command line.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite_migration::{Migrations, SchemaVersion};

use super::backup;
use super::migration::MIGRATIONS;
use crate::server::start_error::{Source, StartError};

/// The database in a data folder.
///
/// # Errors
/// There is none, or it would be opened with the WAL of another one.
pub(super) fn path_in(folder: &Path) -> Result<PathBuf, StartError> {
    let path = folder.join("noom.sqlite3");
    if !path.exists() {
        return Err(StartError::NoDatabase(folder.to_owned()));
    }
    match backup::has_foreign_wal(&path) {
        Ok(false) => Ok(path),
        Ok(true) => Err(failed(&path, "noom.sqlite3-wal belongs to a different database".into())),
        Err(error) => Err(failed(&path, error.into())),
    }
}

/// Checks that the database has the tables of this program.
///
/// # Errors
/// It is of another version.
pub(super) fn check_version(connection: &Connection, path: &Path) -> Result<(), StartError> {
    let version = Migrations::from_slice(MIGRATIONS).current_version(connection);
    match version.map_err(|error| failed(path, error.into()))? {
        SchemaVersion::Inside(version) if version.get() == MIGRATIONS.len() => Ok(()),
        SchemaVersion::Outside(_) => Err(failed(path, "it was made by a newer version of Noom".into())),
        SchemaVersion::NoneSet | SchemaVersion::Inside(_) => {
            Err(failed(path, "it was made by an earlier version of Noom; start the server to migrate it".into()))
        }
    }
}

fn failed(path: &Path, source: Source) -> StartError {
    StartError::ReadDatabase { path: path.to_owned(), source }
}
