//! The file store: contents under their hash, in a folder or in an S3 bucket.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{
    ClientOptions, Error, GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart,
    path,
};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, MutexGuard};

use crate::server::config::{Bucket, FileStore};
use crate::server::start_error::StartError;
use crate::server::store::{FILES_FOLDER, FileHash};

/// A file that is at most this large is stored with one request; a larger one in parts of this size, which is the least
/// that S3 allows.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// The most parts of a file that are on their way.
const PARTS: usize = 2;
/// The bytes of a file that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// The time after which a bucket that does not answer is unavailable.
const SILENCE: Duration = Duration::from_secs(15);
/// The number of locks. Contents that share one wait for each other.
const LOCKS: usize = 16;

/// The kinds of contents that are stored under a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The file.
    File,
    /// The thumbnail of a picture, if the picture is not small itself.
    Thumbnail,
}

/// The contents of files. Two attachments with the same content share one.
#[derive(Debug)]
pub(super) struct Contents {
    store: Arc<dyn ObjectStore>,
    /// Held from before a content is stored until an attachment has claimed it, and while it is removed.
    locks: [Mutex<()>; LOCKS],
}

impl Contents {
    pub(super) fn open(data: &Path, settings: &FileStore) -> Result<Self, StartError> {
        let failed = |source: Error| StartError::FileStore(source.into());
        let store: Arc<dyn ObjectStore> = match settings {
            FileStore::Folder => {
                let path = data.join(FILES_FOLDER);
                std::fs::create_dir_all(&path)
                    .map_err(|source| StartError::CreateDataFolder { path: path.clone(), source })?;
                remove_staged(&path).unwrap_or_else(
                    |error| tracing::warn!(%error, "cannot remove unfinished files from the file store"),
                );
                // A message must not name a file that a power loss removes.
                Arc::new(LocalFileSystem::new_with_prefix(&path).map_err(failed)?.with_fsync(true))
            }
            FileStore::Bucket(bucket) => {
                Arc::new(PrefixStore::new(open_bucket(bucket).map_err(failed)?, bucket.prefix.as_str()))
            }
        };
        Ok(Self { store, locks: [const { Mutex::const_new(()) }; LOCKS] })
    }

    /// Waits until nobody stores or removes this content.
    pub(super) async fn lock(&self, hash: FileHash) -> MutexGuard<'_, ()> {
        self.locks[usize::from(hash.0[0]) % LOCKS].lock().await
    }

    /// Stores bytes.
    pub(super) async fn put(&self, hash: FileHash, kind: Kind, bytes: Vec<u8>) -> object_store::Result<()> {
        self.store.put(&path_of(hash, kind), PutPayload::from(bytes)).await.map(drop)
    }

    /// Stores what is in a file, from where it is read next.
    pub(super) async fn put_file(&self, hash: FileHash, file: &mut File, bytes: u64) -> object_store::Result<()> {
        if bytes <= PART_BYTES as u64 {
            let mut content = Vec::with_capacity(bytes as usize);
            file.read_to_end(&mut content).await.map_err(unreadable)?;
            return self.put(hash, Kind::File, content).await;
        }
        let upload = self.store.put_multipart(&path_of(hash, Kind::File)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut buffer = vec![0; READ_BYTES];
        let copied = async {
            loop {
                upload.wait_for_capacity(PARTS).await?;
                match file.read(&mut buffer).await.map_err(unreadable)? {
                    0 => return Ok(()),
                    read => upload.write(&buffer[..read]),
                }
            }
        };
        match copied.await {
            Ok(()) => upload.finish().await.map(drop),
            Err(error) => {
                // If this fails, too, the parts are left for the rules of the bucket.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Opens a content. `None`: there is none.
    pub(super) async fn read(
        &self,
        hash: FileHash,
        kind: Kind,
        options: GetOptions,
    ) -> object_store::Result<Option<GetResult>> {
        found(self.store.get_opts(&path_of(hash, kind), options).await)
    }

    /// Removes a content and its thumbnail.
    pub(super) async fn remove(&self, hash: FileHash) -> object_store::Result<()> {
        for kind in [Kind::Thumbnail, Kind::File] {
            found(self.store.delete(&path_of(hash, kind)).await)?;
        }
        Ok(())
    }
}

/// Removes the files that a process was writing when it was killed. `object_store` writes a content under its name with
/// `#` and a number, and renames it when it is complete.
fn remove_staged(files: &Path) -> io::Result<()> {
    for folder in std::fs::read_dir(files)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder.path())? {
            let file = file?;
            if file.file_name().as_encoded_bytes().contains(&b'#') {
                std::fs::remove_file(file.path())?;
            }
        }
    }
    Ok(())
}

fn found<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::Generic { store: "uploads", source: error.into() }
}

fn path_of(hash: FileHash, kind: Kind) -> path::Path {
    let path = hash.path();
    path::Path::from(match kind {
        Kind::File => path,
        Kind::Thumbnail => FileHash::thumbnail_of(&path),
    })
}

fn open_bucket(bucket: &Bucket) -> object_store::Result<impl ObjectStore + use<>> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&bucket.name)
        .with_region(&bucket.region)
        .with_access_key_id(&bucket.access_key_id)
        .with_secret_access_key(&bucket.secret_access_key);
    let mut options = ClientOptions::new();
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder.with_endpoint(endpoint);
        options = options.with_allow_http(endpoint.starts_with("http://"));
    }
    // A visitor may read slowly, so that a whole request may take long.
    let options = options.with_timeout_disabled().with_read_timeout(SILENCE);
    let retries = RetryConfig { max_retries: 3, retry_timeout: SILENCE, ..RetryConfig::default() };
    builder.with_client_options(options).with_retry(retries).build()
}
