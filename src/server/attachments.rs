//! Files in messages: uploads in progress ([`uploads`]), their contents ([`contents`]), and the collector of contents that
//! belong to no message ([`collector`]).
//!
//! An upload becomes an attachment in these steps: its bytes arrive in a temporary file; a picture is checked, and the
//! place where it was taken is removed ([`pictures`]); the content is stored under its hash; and a row in the database
//! names it. A message can then take it. After each step the process may end: what is left is either in the folder of
//! uploads, which is emptied at the next start, or known to the database as unclaimed.

pub(super) mod collector;
mod contents;
mod finish;
pub(super) mod media_type;
mod metadata;
mod picture;
mod pictures;
pub(super) mod uploads;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error, GetOptions, GetRange, GetResult};
use tokio::sync::Semaphore;

use super::config::{FileStore, LimitSettings};
use super::start_error::StartError;
use super::store::{FileHash, FileWrite, Store, StoreError, StoredFile};
use crate::protocol::{AttachmentId, Refusal, UserId};
use contents::{Contents, Kind};
use pictures::Pictures;
use uploads::Uploads;

/// The most uploads that are finished at the same time. Each holds a few MiB.
const FINISHING: usize = 4;

/// The bytes of a file, as they are read.
pub(super) type Content = BoxStream<'static, object_store::Result<Bytes>>;

/// The files of this server.
#[derive(Debug)]
pub struct Attachments {
    /// Unfinished uploads.
    pub(super) uploads: Uploads,
    store: Arc<Store>,
    contents: Contents,
    pictures: Pictures,
    finishing: Semaphore,
}

impl Attachments {
    /// Opens the file store, and empties the folder of uploads.
    ///
    /// # Errors
    /// The folders cannot be created, or the settings are not valid.
    pub(super) fn open(
        store: Arc<Store>,
        data: &Path,
        settings: &FileStore,
        limits: &LimitSettings,
    ) -> Result<Self, StartError> {
        Ok(Self {
            uploads: Uploads::open(data, limits)?,
            contents: Contents::open(data, settings)?,
            pictures: Pictures::new(limits),
            finishing: Semaphore::new(FINISHING),
            store,
        })
    }

    /// The attachment with this id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn find(&self, id: AttachmentId) -> Result<Option<StoredFile>, StoreError> {
        self.store.file(id).await
    }

    /// A finished upload of a user that no message has taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn finished(&self, id: AttachmentId, user: UserId) -> Result<Option<StoredFile>, StoreError> {
        let found = self.find(id).await?;
        Ok(found.filter(|found| found.file.user == user && found.seq.is_none()))
    }

    /// The number of uploads of a user that are not in a message: unfinished and finished ones.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn waiting(&self, user: UserId) -> Result<u64, StoreError> {
        Ok(self.store.unsent_files(user).await? + self.uploads.of(user) as u64)
    }

    /// Removes a finished upload, unless a message has taken it.
    ///
    /// # Errors
    /// `RATE_LIMITED` if the store is busy, `STORE_UNAVAILABLE`.
    pub(super) async fn remove(&self, id: AttachmentId) -> Result<(), Refusal> {
        self.store.write_file(FileWrite::Remove(id)).await
    }

    /// Returns whether there is a content. It may be missing, for example because a backup was restored without its files.
    ///
    /// # Errors
    /// The file store cannot be read.
    pub(super) async fn has(&self, hash: FileHash) -> object_store::Result<bool> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        Ok(self.contents.read(hash, Kind::File, options).await?.is_some())
    }

    /// Opens a range of a content. `None`: it is missing.
    ///
    /// # Errors
    /// The file store cannot be read.
    pub(super) async fn read(&self, hash: FileHash, range: Range<u64>) -> object_store::Result<Option<Content>> {
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        match self.contents.read(hash, Kind::File, options).await {
            Ok(found) => Ok(found.map(GetResult::into_stream)),
            // Some services answer a range with status 200, which `object_store` refuses.
            Err(Error::Generic { .. }) => {
                let whole = self.contents.read(hash, Kind::File, GetOptions::default()).await?;
                Ok(whole.map(|whole| cut(whole.into_stream(), range)))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the thumbnail of a picture, or the picture itself if it is small. Also returns its size in bytes.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn read_thumbnail(&self, hash: FileHash) -> object_store::Result<Option<(u64, Content)>> {
        let mut found = self.contents.read(hash, Kind::Thumbnail, GetOptions::default()).await?;
        if found.is_none() {
            found = self.contents.read(hash, Kind::File, GetOptions::default()).await?;
        }
        Ok(found.map(|found| (found.meta.size, found.into_stream())))
    }
}

/// A range of a content.
fn cut(content: Content, range: Range<u64>) -> Content {
    let mut begin = 0;
    let parts = content.map_ok(move |bytes: Bytes| {
        let within = |position: u64| position.saturating_sub(begin).min(bytes.len() as u64) as usize;
        let part = bytes.slice(within(range.start)..within(range.end));
        begin += bytes.len() as u64;
        part
    });
    let is_empty = |part: &object_store::Result<Bytes>| part.as_ref().is_ok_and(|part| part.is_empty());
    parts.skip_while(move |part| ready(is_empty(part))).take_while(move |part| ready(!is_empty(part))).boxed()
}

#[cfg(test)]
mod tests {
    use futures::stream::iter;

    use super::*;

    #[tokio::test]
    async fn range_of_a_content_in_pieces_is_cut_out() {
        for (range, expected) in [(0..9, "abcdefghi"), (1..2, "b"), (2..7, "cdefg"), (3..6, "def"), (8..9, "i")] {
            let content = iter(["abc", "def", "ghi"].map(|piece| Ok(Bytes::from(piece)))).boxed();
            let parts: Vec<_> = cut(content, range).map(Result::unwrap).collect().await;
            assert_eq!(parts.concat(), expected.as_bytes());
        }
    }
}
