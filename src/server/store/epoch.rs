//! Which history positions count in, and when it must be a new one.
//!
//! A position is an epoch and a `seq`. It holds as long as the database only goes on from where it
//! was. Who puts back an older copy takes messages back, and their numbers will be given again: from
//! then on positions must count in another epoch.
//!
//! So a small file beside the database, the *mark*, says in which epoch how many messages are
//! surely there. It is written after a commit and before anyone hears of it, so whatever was told is
//! marked. A database that has fewer, or another epoch, or no mark that speaks for it, cannot prove
//! that it is what it was. The mark is written in place, within one sector: it is there before or
//! after, and an older one claims less, which is true as well.
//!
//! A copy of the whole folder has a mark that agrees with its database. It gives itself away by the
//! moment its file was made, where the file system knows that.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, OptionalExtension};

/// The version of the database up to which there was no mark.
const UNMARKED_VERSION: i64 = 1;

/// The file beside the database that says how far it was.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    epoch: String,
    /// When the file was made, in nanoseconds since 1970; 0 where that is not known.
    born: u64,
}

/// What a mark said when it was opened.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    epoch: String,
    stored: u64,
    born: u64,
}

/// Why the epoch is not known.
#[derive(Debug)]
pub(super) enum EpochError {
    Database(rusqlite::Error),
    Mark(io::Error),
}

impl std::fmt::Display for EpochError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Mark(error) => write!(f, "noom.mark: {error}"),
        }
    }
}

impl From<rusqlite::Error> for EpochError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<io::Error> for EpochError {
    fn from(error: io::Error) -> Self {
        Self::Mark(error)
    }
}

impl Mark {
    /// Opens the file, making it as needed, for a history that is settled later.
    fn open(folder: &Path) -> io::Result<(File, u64, Option<Claim>)> {
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(folder.join("noom.mark"))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let made = file.metadata()?.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let claim = std::str::from_utf8(&text).ok().and_then(Claim::parse);
        Ok((file, made.map_or(0, |since| since.as_nanos() as u64), claim))
    }

    /// The first claim of a process, which survives a loss of power too.
    fn begin(folder: &Path, file: File, born: u64, epoch: String, stored: u64) -> io::Result<Self> {
        let mark = Self { file, epoch, born };
        mark.claim(stored)?;
        mark.sync()?;
        File::open(folder)?.sync_all()?;
        Ok(mark)
    }

    /// The epoch that it speaks of.
    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Says that so many messages are surely stored.
    pub(super) fn claim(&self, stored: u64) -> io::Result<()> {
        // Of one length, whatever the numbers: a shorter text would leave a rest of the longer.
        self.file.write_all_at(format!("{} {stored:020} {:020}\n", self.epoch, self.born).as_bytes(), 0)
    }

    /// Makes the latest claim survive a loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Claim {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let claim = Self {
            epoch: words.next()?.to_owned(),
            stored: words.next()?.parse().ok()?,
            born: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(claim)
    }
}

/// Gives a database from before there were marks its first one, so that an upgrade does not look
/// like a copy. To be called before the database is migrated: a crash in between changes nothing.
pub(super) fn believe_once(connection: &Connection, folder: &Path) -> Result<(), EpochError> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != UNMARKED_VERSION {
        return Ok(());
    }
    if let ((file, born, None), Some(epoch)) = (Mark::open(folder)?, find_epoch(connection)?) {
        Mark::begin(folder, file, born, epoch, 0)?;
    }
    Ok(())
}

/// Finds the epoch of the database, or gives it `fresh` when it cannot prove to be what it was.
/// Returns the mark for what comes, and how many messages are stored.
pub(super) fn settle(connection: &Connection, folder: &Path, fresh: &str) -> Result<(Mark, u64), EpochError> {
    // Messages are numbered without gaps, and none is ever taken back.
    let stored = connection.query_row("SELECT COALESCE(SUM(head), 0) FROM rooms", [], |row| row.get::<_, i64>(0))?;
    let stored = stored as u64;
    let (file, born, claim) = Mark::open(folder)?;
    let proves = |epoch: &String| {
        claim.is_some_and(|claim| claim.epoch == *epoch && claim.stored <= stored && claim.born == born)
    };
    let epoch = match find_epoch(connection)?.filter(proves) {
        Some(epoch) => epoch,
        None => {
            if stored > 0 {
                tracing::warn!("the database may be an older copy: positions from before do not count any more");
            }
            // Should a crash come before the mark: nobody has heard of this epoch, another will do.
            let transaction = connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM history", [])?;
            transaction.execute("INSERT INTO history (epoch) VALUES (?1)", [fresh])?;
            transaction.commit()?;
            fresh.to_owned()
        }
    };
    Ok((Mark::begin(folder, file, born, epoch, stored)?, stored))
}

fn find_epoch(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT epoch FROM history", [], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use rusqlite_migration::Migrations;

    use super::super::{MIGRATIONS, open_connection};
    use super::*;

    /// A data folder, and what a server would do with it.
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

        /// Starts, stores so many messages, and is killed. Returns the epoch that was told.
        fn run(&self, fresh: &str, messages: u64) -> String {
            let mut connection = self.connect();
            believe_once(&connection, self.0.path()).unwrap();
            Migrations::from_slice(MIGRATIONS).to_latest(&mut connection).unwrap();
            let (mark, stored) = settle(&connection, self.0.path(), fresh).unwrap();
            commit(&connection, messages);
            mark.claim(stored + messages).unwrap();
            mark.epoch().to_owned()
        }

        /// Puts the database of another moment here.
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
    fn it_stays_over_restarts_and_kills() {
        let data = Data::new();
        for fresh in ["a", "b", "c"] {
            assert_eq!(data.run(fresh, 3), "a");
        }
    }

    #[test]
    fn it_stays_when_the_end_comes_between_commit_and_mark() {
        let data = Data::new();
        data.run("a", 3);
        commit(&data.connect(), 2);
        assert_eq!(data.run("b", 0), "a");
    }

    #[test]
    fn it_stays_when_the_loss_of_power_takes_the_latest_marks() {
        let data = Data::new();
        data.run("a", 3);
        let mark = std::fs::read(data.path("noom.mark")).unwrap();
        data.run("b", 4);
        std::fs::write(data.path("noom.mark"), mark).unwrap();
        assert_eq!(data.run("c", 0), "a");
    }

    #[test]
    fn an_older_copy_changes_it_once() {
        let data = Data::new();
        data.run("a", 3);
        let earlier = data.copy();
        data.run("b", 1);
        data.restore(&earlier);
        assert_eq!(data.run("c", 5), "c");
        assert_eq!(data.run("d", 0), "c");
    }

    #[test]
    fn a_copy_from_before_a_copy_was_put_back_changes_it_however_long_it_is() {
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
    fn the_end_before_the_mark_of_a_new_epoch_costs_only_an_epoch_that_nobody_heard_of() {
        let data = Data::new();
        data.run("a", 3);
        data.connect().execute("UPDATE history SET epoch = 'b'", []).unwrap();
        assert_eq!(data.run("c", 0), "c");
        assert_eq!(data.run("d", 0), "c");
    }

    #[test]
    fn without_a_mark_that_can_be_read_it_changes() {
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
    fn another_folder_changes_it_where_the_file_system_knows_when_a_file_was_made() {
        let (data, copy) = (Data::new(), Data::new());
        data.run("a", 3);
        for name in ["noom.sqlite3", "noom.mark"] {
            std::fs::copy(data.path(name), copy.path(name)).unwrap();
        }
        let known = std::fs::metadata(copy.path("noom.mark")).unwrap().created().is_ok();
        assert_eq!(copy.run("b", 0), if known { "b" } else { "a" });
    }

    /// A database as versions before marks left it.
    fn unmarked() -> Data {
        let data = Data::new();
        let mut connection = data.connect();
        Migrations::from_slice(MIGRATIONS).to_version(&mut connection, UNMARKED_VERSION as usize).unwrap();
        connection.execute("INSERT INTO history (epoch) VALUES ('a')", []).unwrap();
        commit(&connection, 7);
        data
    }

    #[test]
    fn an_upgrade_from_before_there_were_marks_keeps_it() {
        assert_eq!(unmarked().run("b", 0), "a");

        let data = unmarked();
        believe_once(&data.connect(), data.0.path()).unwrap();
        assert_eq!(data.run("b", 0), "a", "the end came before the migration");

        let data = unmarked();
        std::fs::write(data.path("noom.mark"), "").unwrap();
        assert_eq!(data.run("b", 0), "a", "the end came before the mark was written");
    }

    #[test]
    fn an_old_database_that_is_put_back_after_the_upgrade_changes_it() {
        let data = unmarked();
        let old = data.copy();
        data.run("b", 1);
        data.restore(&old);
        assert_eq!(data.run("c", 0), "c");
    }
}
