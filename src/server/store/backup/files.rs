//! The files that a backup copies: those in the data folder that its copy of the database names. Files in a bucket are
//! not copied.

use std::fs::{File, create_dir_all};
use std::io;
use std::path::Path;

use super::super::attachment::{FILES_FOLDER, FileHash, open_files_lock};

/// Keeps the collector of a running server from removing files, until it is dropped.
pub(super) fn pause_collector(folder: &Path) -> io::Result<File> {
    let lock = open_files_lock(folder)?;
    lock.lock_shared()?;
    Ok(lock)
}

/// Copies files to a folder, which is created if there are any. Returns their number. A file that is missing is not an
/// error: the page says so, and the messages must be saved all the same.
pub(super) fn copy(folder: &Path, hashes: &[FileHash], target: &Path) -> io::Result<u64> {
    let source = folder.join(FILES_FOLDER);
    let mut copied = 0;
    for path in hashes.iter().map(|hash| hash.path()) {
        if !source.join(&path).exists() {
            continue;
        }
        if let Some(parent) = target.join(&path).parent() {
            create_dir_all(parent)?;
        }
        std::fs::copy(source.join(&path), target.join(&path))?;
        File::open(target.join(&path))?.sync_all()?;
        let thumbnail = FileHash::thumbnail_of(&path);
        if source.join(&thumbnail).exists() {
            std::fs::copy(source.join(&thumbnail), target.join(&thumbnail))?;
        }
        copied += 1;
    }
    Ok(copied)
}
