//! Removing what is left of erased texts in the free space of database pages.
//!
//! With `secure_delete` SQLite overwrites what is deleted. But when it balances a B-tree, it moves cells to other pages
//! and leaves their bytes in the gap between the list of cells and the cells (SQLite's "Database File Format", 1.6). Such
//! a copy of a message stays there when the message is erased later. The bytes in the gap have no meaning, so zeros can be
//! written there, and the work can end anywhere. The database must not be written to meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// The length of the header of a database file, which precedes the header of its first page.
const FILE_HEADER: usize = 100;
/// From this number of pages on, the first byte of a page that is not a part of a B-tree could look like one that is.
const MAX_PAGES: u64 = 0x0200_0000;

/// The longest time that a server takes for this when it stops.
const AT_MOST: Duration = Duration::from_secs(5);

/// Writes zeros into the gaps of all pages. The caller holds SQLite's write lock, and the WAL is empty. Returns false if
/// it could not do so for all pages: there are too many, or the file has pages of other kinds.
pub(super) fn scrub(database: &File) -> io::Result<bool> {
    let mut header = [0; FILE_HEADER];
    database.read_exact_at(&mut header, 0)?;
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => usize::from(size),
    };
    // With `auto_vacuum` there are pointer maps, whose first byte can be that of a page of a B-tree.
    let has_pointer_maps = header[52..56] != [0; 4];
    let is_valid = header.starts_with(b"SQLite format 3\0") && page_size.is_power_of_two() && page_size >= 512;
    let pages = database.metadata()?.len() / page_size.max(512) as u64;
    if has_pointer_maps || !is_valid || pages >= MAX_PAGES {
        return Ok(false);
    }
    let (began, mut written) = (Instant::now(), false);
    let mut page = vec![0; page_size];
    for number in 0..pages {
        if began.elapsed() >= AT_MOST {
            return Ok(false);
        }
        let start = number * page_size as u64;
        database.read_exact_at(&mut page, start)?;
        let Some((from, to)) = gap(&page, if number == 0 { FILE_HEADER } else { 0 }) else { continue };
        if page[from..to].iter().any(|byte| *byte != 0) {
            database.write_all_at(&vec![0; to - from], start + from as u64)?;
            written = true;
        }
    }
    if written {
        database.sync_data()?;
    }
    Ok(true)
}

/// The gap of a page of a B-tree, whose header begins at `at`. `None` for other pages.
fn gap(page: &[u8], at: usize) -> Option<(usize, usize)> {
    let header = match *page.get(at)? {
        // Leaves, and inner pages, of indexes and tables.
        0x0a | 0x0d => 8,
        0x02 | 0x05 => 12,
        _ => return None,
    };
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])));
    let content = match number(at + 5)? {
        0 => 65_536,
        content => content,
    };
    let list = at + header + 2 * number(at + 3)?;
    (list < content && content <= page.len()).then_some((list, content))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use rusqlite::{Connection, params};

    use super::*;

    #[test]
    fn copies_of_erased_rows_leave_the_file_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.sqlite3");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "secure_delete", true).unwrap();
        connection
            .execute_batch("CREATE TABLE t (a INTEGER, b INTEGER, c TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID; BEGIN")
            .unwrap();
        let write = |row: i64, text: &str| {
            connection.execute("INSERT OR REPLACE INTO t VALUES (1, ?1, ?2)", params![row, text]).unwrap();
        };
        (0..1_200).for_each(|row| write(row, &format!("secret {row} {}", "x".repeat(60))));
        (0..1_200).for_each(|row| write(row, if row % 2 == 0 { "" } else { "kept" }));
        connection.execute_batch("COMMIT").unwrap();
        let sum = "SELECT COUNT(*), SUM(b), SUM(length(c)) FROM t";
        let content = |connection: &Connection| -> (i64, i64, i64) {
            connection.query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
        };
        let before = content(&connection);
        drop(connection);

        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let has_traces = || std::fs::read(&path).unwrap().windows(6).any(|bytes| bytes == b"secret");
        assert!(has_traces(), "SQLite has left something to remove");
        assert!(scrub(&file).unwrap());
        assert!(!has_traces());
        drop(file);
        let connection = Connection::open(&path).unwrap();
        let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!((check.as_str(), content(&connection)), ("ok", before));
    }

    #[test]
    fn database_with_pointer_maps_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.sqlite3");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA auto_vacuum = FULL; CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
        drop(connection);
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(!scrub(&file).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn page_that_is_not_a_valid_part_of_a_b_tree_is_left_alone() {
        let page = |start: &[u8]| {
            let mut page = vec![7; 512];
            page[..start.len()].copy_from_slice(start);
            page
        };
        assert_eq!(gap(&page(&[0, 0, 0, 5]), 0), None);
        assert_eq!(gap(&page(&[0x0d, 0, 0, 0xff, 0xff, 0, 20, 0]), 0), None);
        assert_eq!(gap(&page(&[0x0d, 0, 0, 0, 2, 9, 0, 0]), 0), None);
        assert_eq!(gap(&page(&[0x0d, 0, 0, 0, 2, 1, 0, 0]), 0), Some((12, 256)));
        assert_eq!(gap(&[], 0), None);
    }
}
