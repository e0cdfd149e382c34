//! Migrations of the database, and the copy that is made before them.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations, SchemaVersion};

use super::backup;
use crate::server::start_error::{Source, StartError};

pub(super) const MIGRATIONS: &[M<'_>] = &[
    M::up(include_str!("../../../migrations/1-rooms.sql")),
    M::up(include_str!("../../../migrations/2-mark.sql")),
    M::up(include_str!("../../../migrations/3-usage.sql")),
    M::up(include_str!("../../../migrations/4-changes.sql")),
    M::up(include_str!("../../../migrations/5-memberships.sql")),
    M::up(include_str!("../../../migrations/6-search.sql")),
    M::up(include_str!("../../../migrations/7-files.sql")),
    M::up(include_str!("../../../migrations/8-pins.sql")),
    M::up(include_str!("../../../migrations/9-mentions.sql")),
    M::up(include_str!("../../../migrations/10-room-ids.sql")),
    M::up(include_str!("../../../migrations/11-retention.sql")),
    M::up(include_str!("../../../migrations/12-purges.sql")),
];

/// Migrates the database at `path` to the latest version. Before that it is copied, unless it is new: an earlier version
/// of the program can read the copy, but not the migrated database.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StartError> {
    let failed = |source: Source| StartError::OpenDatabase { path: path.to_owned(), source };
    let migrations = Migrations::from_slice(MIGRATIONS);
    let version = migrations.current_version(connection).map_err(|error| failed(error.into()))?;
    if let SchemaVersion::Inside(version) = version
        && version.get() < MIGRATIONS.len()
    {
        let copy = copy_path(path, version.get());
        tracing::info!(copy = %copy.display(), "copying the database before its migration");
        backup::copy_to(path, &copy)?;
    }
    migrations.to_latest(connection).map_err(|error| failed(error.into()))?;
    // A migration may have rewritten everything, and lies in the WAL as a whole.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(|error| failed(error.into()))
}

/// The copy of the database as it was at a version.
fn copy_path(database: &Path, version: usize) -> PathBuf {
    database.with_extension(format!("before-{}.sqlite3", version + 1))
}

#[cfg(test)]
mod tests {
    use rusqlite::OpenFlags;

    use super::super::Store;
    use super::super::connection::open_connection;
    use super::*;

    /// A database of version 1 with a room.
    fn earlier(folder: &Path) -> PathBuf {
        let path = folder.join("noom.sqlite3");
        let mut connection = open_connection(&path, OpenFlags::default()).unwrap();
        Migrations::from_slice(MIGRATIONS).to_version(&mut connection, 1).unwrap();
        connection.execute("INSERT INTO rooms (name, folded, created_at) VALUES ('r', 'r', 0)", []).unwrap();
        path
    }

    fn version(path: &Path) -> i64 {
        let connection = Connection::open(path).unwrap();
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn database_is_copied_before_its_migration_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = earlier(folder.path());
        Store::open(folder.path(), "e").unwrap();
        let copy = folder.path().join("noom.before-2.sqlite3");
        assert_eq!((version(&copy), version(&path)), (1, MIGRATIONS.len() as i64));
        let rooms = Connection::open(&copy).unwrap().query_row("SELECT COUNT(*) FROM rooms", [], |row| row.get(0));
        assert_eq!(rooms, Ok(1));

        std::fs::remove_file(&copy).unwrap();
        Store::open(folder.path(), "e").unwrap();
        let new = tempfile::tempdir().unwrap();
        Store::open(new.path(), "e").unwrap();
        for folder in [folder.path(), new.path()] {
            let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
            assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("before")));
        }
    }

    #[test]
    fn rooms_of_an_earlier_database_get_ids_and_keep_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = earlier(folder.path());
        let insert = "INSERT INTO rooms (name, folded, created_at) VALUES ('s', 's', 0)";
        Connection::open(&path).unwrap().execute(insert, []).unwrap();
        let ids = || -> Vec<i64> {
            drop(Store::open(folder.path(), "e").unwrap());
            let connection = Connection::open(&path).unwrap();
            let mut ids = connection.prepare("SELECT public_id FROM rooms ORDER BY id").unwrap();
            ids.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let migrated = ids();
        assert!(migrated.len() == 2 && migrated[0] != migrated[1] && !migrated.contains(&0), "{migrated:?}");
        assert_eq!(ids(), migrated);
    }

    #[test]
    fn database_that_cannot_be_copied_is_not_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let path = earlier(folder.path());
        std::fs::create_dir_all(folder.path().join("noom.before-2.sqlite3/full")).unwrap();
        let error = Store::open(folder.path(), "e").unwrap_err().one_line();
        assert!(error.contains("noom.before-2.sqlite3"), "{error}");
        assert_eq!(version(&path), 1);
    }

    #[test]
    fn copy_of_an_attempt_that_was_interrupted_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        earlier(folder.path());
        let copy = folder.path().join("noom.before-2.sqlite3");
        std::fs::write(&copy, "an older copy").unwrap();
        Store::open(folder.path(), "e").unwrap();
        assert_eq!(version(&copy), 1);
    }
}
