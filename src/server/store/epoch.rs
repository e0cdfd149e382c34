//! The epoch of the database: the history that positions refer to.
//!
//! A position is an epoch, a `seq` and a `rev`. It stays valid as long as the database only grows. Restoring
//! an older copy removes messages and changes, and their numbers will be assigned again. Positions from before
//! the restore are then ambiguous, so the database must get a new epoch.
//!
//! To detect this, a small file beside the database (`noom.mark`) holds a *watermark*: the epoch, and
//! how many messages and changes are durable in it. It is advanced after each commit and before the commit is
//! acknowledged, so everything that a client has seen is covered. A database gets a new epoch when
//! it has fewer of them than the watermark, when it has another epoch, or when there is no readable
//! watermark. The watermark is written in place and fits into one disk sector, so a write of it is
//! atomic. After a loss of power the file may hold an older watermark, which is a valid lower bound.
//!
//! A copy of the whole data folder has a watermark that agrees with its database. It is detected by
//! the creation time of the file, on file systems that record it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, OptionalExtension};

/// The last schema version without a watermark.
const UNMARKED_VERSION: i64 = 1;

/// The open watermark file, `noom.mark`.
#[derive(Debug)]
pub(super) struct Watermark {
    file: File,
    epoch: String,
    /// Creation time of the file in nanoseconds since 1970; 0 if the file system does not record it.
    created_at: u64,
}

/// The content of a watermark file.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    epoch: String,
    /// A lower bound of the number of messages and changes in the database.
    stored: u64,
    created_at: u64,
}

/// The epoch could not be resolved.
#[derive(Debug)]
pub(super) enum EpochError {
    Database(rusqlite::Error),
    Watermark(io::Error),
}

impl std::fmt::Display for EpochError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Watermark(error) => write!(f, "noom.mark: {error}"),
        }
    }
}

impl std::error::Error for EpochError {}

impl From<rusqlite::Error> for EpochError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<io::Error> for EpochError {
    fn from(error: io::Error) -> Self {
        Self::Watermark(error)
    }
}

impl Watermark {
    /// Opens the file, creating it if necessary, before the epoch is known. Returns it with its
    /// creation time and its content, if that is valid.
    fn open(folder: &Path) -> io::Result<(File, u64, Option<Record>)> {
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(folder.join("noom.mark"))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let created = file.metadata()?.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let record = std::str::from_utf8(&text).ok().and_then(Record::parse);
        Ok((file, created.map_or(0, |since| since.as_nanos() as u64), record))
    }

    /// Writes the first watermark of a process and syncs the file and its folder.
    fn begin(folder: &Path, file: File, created_at: u64, epoch: String, stored: u64) -> io::Result<Self> {
        let watermark = Self { file, epoch, created_at };
        watermark.advance(stored)?;
        watermark.sync()?;
        File::open(folder)?.sync_all()?;
        Ok(watermark)
    }

    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Records that at least `stored` messages and changes are durable.
    pub(super) fn advance(&self, stored: u64) -> io::Result<()> {
        // Zero-padded: a shorter text would leave the end of a longer one in the file.
        self.file.write_all_at(format!("{} {stored:020} {:020}\n", self.epoch, self.created_at).as_bytes(), 0)
    }

    /// Makes the latest watermark survive a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Record {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let record = Self {
            epoch: words.next()?.to_owned(),
            stored: words.next()?.parse().ok()?,
            created_at: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(record)
    }
}

/// Writes the first watermark for a database of a version that had none, so that an upgrade keeps
/// its epoch. Must be called before the database is migrated, so that it is repeated after a crash in
/// between.
pub(super) fn adopt_legacy(connection: &Connection, folder: &Path) -> Result<(), EpochError> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != UNMARKED_VERSION {
        return Ok(());
    }
    if let ((file, created_at, None), Some(epoch)) = (Watermark::open(folder)?, find_epoch(connection)?) {
        Watermark::begin(folder, file, created_at, epoch, 0)?;
    }
    Ok(())
}

/// Returns the watermark and the number of stored messages and changes. The database keeps its epoch if the
/// watermark proves that it has not gone back. Otherwise `fresh` becomes its epoch.
pub(super) fn resolve_epoch(
    connection: &Connection,
    folder: &Path,
    fresh: &str,
) -> Result<(Watermark, u64), EpochError> {
    // Messages and changes are numbered without gaps, and no number is given back.
    let stored =
        connection.query_row("SELECT COALESCE(SUM(head + rev), 0) FROM rooms", [], |row| row.get::<_, i64>(0))?;
    let stored = stored as u64;
    let (file, created_at, record) = Watermark::open(folder)?;
    let proves = |epoch: &String| {
        record
            .is_some_and(|record| record.epoch == *epoch && record.stored <= stored && record.created_at == created_at)
    };
    let epoch = match find_epoch(connection)?.filter(proves) {
        Some(epoch) => epoch,
        None => {
            if stored > 0 {
                tracing::warn!(
                    "the database may be an older copy: it starts a new epoch, earlier positions are invalid"
                );
            }
            // After a crash before the watermark is written, the next start draws another epoch. No
            // client has seen this one.
            let transaction = connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM history", [])?;
            transaction.execute("INSERT INTO history (epoch) VALUES (?1)", [fresh])?;
            transaction.commit()?;
            fresh.to_owned()
        }
    };
    Ok((Watermark::begin(folder, file, created_at, epoch, stored)?, stored))
}

fn find_epoch(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT epoch FROM history", [], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use rusqlite_migration::Migrations;

    use super::super::migration::MIGRATIONS;
    use super::super::open_connection;
    use super::*;

    /// A data folder, with the operations of a server on it.
    struct Data(tempfile::TempDir);

    impl Data {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        fn connect(&self) -> Connection {
            open_connection(&self.path("noom.sqlite3"), rusqlite::OpenFlags::default()).unwrap()
        }

        /// Starts a server, stores `messages` messages and kills it. Returns the epoch that clients saw.
        fn run(&self, fresh: &str, messages: u64) -> String {
            let mut connection = self.connect();
            adopt_legacy(&connection, self.0.path()).unwrap();
            Migrations::from_slice(MIGRATIONS).to_latest(&mut connection).unwrap();
            let (watermark, stored) = resolve_epoch(&connection, self.0.path(), fresh).unwrap();
            commit(&connection, messages);
            watermark.advance(stored + messages).unwrap();
            watermark.epoch().to_owned()
        }

        /// Replaces the database by an earlier or later copy of it.
        fn restore(&self, copy: &[u8]) {
            std::fs::write(self.path("noom.sqlite3"), copy).unwrap();
        }

        fn copy(&self) -> Vec<u8> {
            std::fs::read(self.path("noom.sqlite3")).unwrap()
        }
    }

    fn commit(connection: &Connection, messages: u64) {
        let insert = "INSERT INTO rooms (name, folded, created_at) VALUES ('r', 'r', 0) ON CONFLICT DO NOTHING";
        connection.execute(insert, []).unwrap();
        connection.execute("UPDATE rooms SET head = head + ?1", [messages as i64]).unwrap();
    }

    #[test]
    fn epoch_survives_restart_and_kill() {
        let data = Data::new();
        for fresh in ["a", "b", "c"] {
            assert_eq!(data.run(fresh, 3), "a");
        }
    }

    #[test]
    fn epoch_survives_crash_between_commit_and_watermark() {
        let data = Data::new();
        data.run("a", 3);
        commit(&data.connect(), 2);
        assert_eq!(data.run("b", 0), "a");
    }

    #[test]
    fn epoch_survives_power_loss_that_reverts_the_watermark() {
        let data = Data::new();
        data.run("a", 3);
        let watermark = std::fs::read(data.path("noom.mark")).unwrap();
        data.run("b", 4);
        std::fs::write(data.path("noom.mark"), watermark).unwrap();
        assert_eq!(data.run("c", 0), "a");
    }

    #[test]
    fn restoring_older_copy_changes_epoch_once() {
        let data = Data::new();
        data.run("a", 3);
        let earlier = data.copy();
        data.run("b", 1);
        data.restore(&earlier);
        assert_eq!(data.run("c", 5), "c");
        assert_eq!(data.run("d", 0), "c");
    }

    #[test]
    fn restoring_longer_copy_of_a_former_epoch_changes_epoch() {
        let data = Data::new();
        data.run("a", 3);
        let short = data.copy();
        data.run("b", 100);
        let long = data.copy();
        data.restore(&short);
        assert_eq!(data.run("c", 1), "c");
        data.restore(&long);
        assert_eq!(data.run("d", 0), "d");
    }

    #[test]
    fn crash_before_watermark_of_new_epoch_draws_another_epoch() {
        let data = Data::new();
        data.run("a", 3);
        data.connect().execute("UPDATE history SET epoch = 'b'", []).unwrap();
        assert_eq!(data.run("c", 0), "c");
        assert_eq!(data.run("d", 0), "c");
    }

    #[test]
    fn missing_or_unreadable_watermark_changes_epoch() {
        let data = Data::new();
        data.run("a", 3);
        std::fs::remove_file(data.path("noom.mark")).unwrap();
        assert_eq!(data.run("b", 0), "b");
        for broken in ["", "b", "b 0 0", "b x 0\n", "\u{0}\u{0}"] {
            std::fs::write(data.path("noom.mark"), broken).unwrap();
            assert_eq!(data.run("c", 0), "c");
            std::fs::write(data.path("noom.mark"), broken).unwrap();
            assert_eq!(data.run("b", 0), "b", "{broken:?}");
        }
    }

    #[test]
    fn copied_folder_changes_epoch_if_creation_times_are_known() {
        let (data, copy) = (Data::new(), Data::new());
        data.run("a", 3);
        for name in ["noom.sqlite3", "noom.mark"] {
            std::fs::copy(data.path(name), copy.path(name)).unwrap();
        }
        let known = std::fs::metadata(copy.path("noom.mark")).unwrap().created().is_ok();
        assert_eq!(copy.run("b", 0), if known { "b" } else { "a" });
    }

    /// A database as a version without watermarks left it.
    fn unmarked() -> Data {
        let data = Data::new();
        let mut connection = data.connect();
        Migrations::from_slice(MIGRATIONS).to_version(&mut connection, UNMARKED_VERSION as usize).unwrap();
        connection.execute("INSERT INTO history (epoch) VALUES ('a')", []).unwrap();
        commit(&connection, 7);
        data
    }

    #[test]
    fn upgrade_from_version_without_watermark_keeps_epoch() {
        assert_eq!(unmarked().run("b", 0), "a");

        let data = unmarked();
        adopt_legacy(&data.connect(), data.0.path()).unwrap();
        assert_eq!(data.run("b", 0), "a", "crash before the migration");

        let data = unmarked();
        std::fs::write(data.path("noom.mark"), "").unwrap();
        assert_eq!(data.run("b", 0), "a", "crash before the watermark was written");
    }

    #[test]
    fn restoring_legacy_database_after_upgrade_changes_epoch() {
        let data = unmarked();
        let old = data.copy();
        data.run("b", 1);
        data.restore(&old);
        assert_eq!(data.run("c", 0), "c");
    }
}
