//! Files as the store knows them, and the writes about them. Their contents are in the file store
//! (`server::attachments`), under their hash.

use std::fs::File;
use std::path::Path;
use std::{fmt, io};

use crate::protocol::{Attachment, AttachmentId, UserId};
use crate::server::id::RoomId;

/// The folder in the data folder that has files, unless they are in a bucket.
pub(in crate::server) const FILES_FOLDER: &str = "files";

/// Opens `files.lock` in the data folder. A backup locks it while it copies files, and the collector while it removes
/// some.
pub(in crate::server) fn open_files_lock(data: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(data.join("files.lock"))
}

/// SHA-256 of a file's content, under which it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileHash(pub [u8; 32]);

impl FileHash {
    /// The path of the content in the file store. Its folders have few entries: some file systems are slow with many.
    pub(in crate::server) fn path(self) -> String {
        format!("{:02x}/{self}", self.0[0])
    }

    /// The path of the thumbnail of the picture at a path.
    pub(in crate::server) fn thumbnail_of(path: &str) -> String {
        format!("{path}.thumbnail")
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A finished upload.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// The room that it was uploaded for.
    pub room: RoomId,
    /// The user who uploaded it.
    pub user: UserId,
    /// Its content.
    pub hash: FileHash,
    /// The description that messages carry.
    pub attachment: Attachment,
}

/// A file as it is stored.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// As [`NewFile`].
    pub file: NewFile,
    /// The message that it belongs to, if one was posted.
    pub seq: Option<u64>,
}

/// A write about files.
#[derive(Clone, Debug)]
pub enum FileWrite {
    /// A content is about to be stored. Until [`FileWrite::Add`] it may belong to no attachment.
    Begin(FileHash),
    /// The content is stored, and belongs to an attachment, which a message may take.
    Add(NewFile),
    /// An attachment that no message has taken is removed.
    Remove(AttachmentId),
    /// An unclaimed content was looked at, and removed unless it belonged to an attachment.
    Forget(FileHash),
}
