//! Traces of removed words, which SQLite's `secure-delete` leaves: the separator of two pages of the index is the beginning
//! of the word that was the first on its page. Such separators are replaced by the word that is the first now.
//!
//! The formats of the tables are those of FTS5 (`fts5_index.c`): `search_idx` has a separator for each page of a segment
//! but the first, at most as large as the first term of the page and larger than all terms before.

use rusqlite::{Connection, params};

/// A place among the separators: the segment and the separator.
pub(super) type Place = (i64, Vec<u8>);

/// Checks at most `limit` separators after a place. Returns the last of them, if there may be more.
pub(super) fn check(connection: &mut Connection, after: &Place, limit: usize) -> rusqlite::Result<Option<Place>> {
    let (last, outdated) = {
        let mut select = connection.prepare_cached(
            "SELECT i.segid, i.term, i.pgno, d.block FROM search_idx AS i \
             CROSS JOIN search_data AS d ON d.id = (i.segid << 37) + (i.pgno >> 1) \
             WHERE (i.segid, i.term) > (?1, ?2) ORDER BY i.segid, i.term LIMIT ?3",
        )?;
        let mut rows = select.query(params![after.0, after.1, limit as i64])?;
        let (mut count, mut last, mut outdated) = (0, None, Vec::new());
        while let Some(row) = rows.next()? {
            let (segment, page): (i64, i64) = (row.get(0)?, row.get(2)?);
            let (separator, leaf) = (row.get_ref(1)?.as_bytes()?, row.get_ref(3)?.as_blob()?);
            if let Some(first) = first_term(leaf)
                && !first.starts_with(separator)
            {
                outdated.push((segment, separator.to_owned(), first.to_owned(), page));
            }
            count += 1;
            last = Some((segment, separator.to_owned()));
        }
        (last.filter(|_| count == limit), outdated)
    };
    if !outdated.is_empty() {
        let transaction = connection.transaction()?;
        for (segment, separator, first, page) in outdated {
            let delete = "DELETE FROM search_idx WHERE segid = ?1 AND term = ?2";
            transaction.prepare_cached(delete)?.execute(params![segment, separator])?;
            let insert = "INSERT INTO search_idx (segid, term, pgno) VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(insert)?.execute(params![segment, first, page])?;
        }
        transaction.commit()?;
    }
    Ok(last)
}

/// The first term on a page, which is there as a whole. A page in the middle of a long list has none.
fn first_term(leaf: &[u8]) -> Option<&[u8]> {
    let end = usize::from(u16::from_be_bytes([*leaf.get(2)?, *leaf.get(3)?]));
    // After the content come the offsets of the terms.
    let (offset, _) = number(leaf.get(end..)?)?;
    let (length, rest) = number(leaf.get(offset..end)?)?;
    rest.get(..length)
}

/// A number of SQLite's variable length, and what follows it. None of these is large.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(3).enumerate() {
        value = value << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}
