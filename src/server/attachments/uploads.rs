//! Unfinished uploads. They are in memory, with a temporary file each: after a restart of the server, a client begins
//! again.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::protocol::{AttachmentId, ErrorCode, UserId};
use crate::server::config::LimitSettings;
use crate::server::id::RoomRow;
use crate::server::lock::lock;
use crate::server::per_address::{Guard, PerAddress};
use crate::server::random;
use crate::server::start_error::StartError;

/// The folder in the data folder.
const FOLDER: &str = "uploads";

/// The unfinished uploads.
#[derive(Debug)]
pub(in crate::server) struct Uploads {
    folder: std::path::PathBuf,
    table: Mutex<HashMap<AttachmentId, Arc<Upload>>>,
    addresses: PerAddress,
    per_address: usize,
    total: usize,
    lifetime: Duration,
}

/// An unfinished upload. Its file is removed when it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Upload {
    pub(in crate::server) id: AttachmentId,
    pub(in crate::server) user: UserId,
    pub(in crate::server) room: RoomRow,
    /// The checked name.
    pub(in crate::server) name: String,
    /// The size that was announced.
    pub(in crate::server) bytes: u64,
    began: Instant,
    /// Changes when a request begins: an earlier one, whose connection may be dead, gives way.
    turn: watch::Sender<u64>,
    received: tokio::sync::Mutex<Received>,
    _address: Guard,
}

/// The bytes of an upload that have arrived.
pub(in crate::server) struct Received {
    pub(super) file: File,
    pub(super) path: TempPath,
    pub(in crate::server) offset: u64,
    pub(super) digest: Context,
    pub(super) is_finished: bool,
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// The upload to begin.
pub(in crate::server) struct Begin {
    pub(in crate::server) user: UserId,
    pub(in crate::server) address: IpAddr,
    pub(in crate::server) room: RoomRow,
    pub(in crate::server) name: String,
    pub(in crate::server) bytes: u64,
}

impl Uploads {
    /// Creates the folder, and removes what an earlier process left there.
    pub(super) fn open(data: &Path, limits: &LimitSettings) -> Result<Self, StartError> {
        let folder = data.join(FOLDER);
        let failed = |source| StartError::CreateDataFolder { path: folder.clone(), source };
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(failed)?;
        }
        std::fs::create_dir(&folder).map_err(failed)?;
        Ok(Self {
            folder,
            table: Mutex::default(),
            addresses: PerAddress::default(),
            per_address: limits.uploads_per_address,
            total: limits.uploads,
            lifetime: Duration::from_secs(limits.upload_seconds),
        })
    }

    /// Begins an upload. The user's own limit has been checked.
    ///
    /// # Errors
    /// `TOO_MANY_UPLOADS`, or `STORE_UNAVAILABLE` if no file can be created.
    pub(in crate::server) fn begin(&self, begin: Begin, now: Instant) -> Result<Arc<Upload>, ErrorCode> {
        let Begin { user, address, room, name, bytes } = begin;
        let address = self.addresses.admit(address, self.per_address).ok_or(ErrorCode::TooManyUploads)?;
        let mut table = lock(&self.table);
        if table.len() >= self.total {
            return Err(ErrorCode::TooManyUploads);
        }
        let file = tempfile::NamedTempFile::new_in(&self.folder).map_err(|error| {
            tracing::error!(%error, "cannot create the file of an upload");
            ErrorCode::StoreUnavailable
        })?;
        let (file, path) = file.into_parts();
        let received =
            Received { file: File::from_std(file), path, offset: 0, digest: Context::new(&SHA256), is_finished: false };
        let id = AttachmentId(random::bits());
        let upload = Arc::new(Upload {
            id,
            user,
            room,
            name,
            bytes,
            began: now,
            turn: watch::Sender::new(0),
            received: tokio::sync::Mutex::new(received),
            _address: address,
        });
        table.insert(id, upload.clone());
        Ok(upload)
    }

    /// The unfinished upload of a user.
    pub(in crate::server) fn find(&self, id: AttachmentId, user: UserId) -> Option<Arc<Upload>> {
        lock(&self.table).get(&id).filter(|upload| upload.user == user).cloned()
    }

    /// The number of unfinished uploads of a user.
    pub(super) fn of(&self, user: UserId) -> usize {
        lock(&self.table).values().filter(|upload| upload.user == user).count()
    }

    /// Ends an upload, whether it is finished or not.
    pub(in crate::server) fn remove(&self, id: AttachmentId) {
        // Dropped after the lock is released, because that removes a file.
        let removed = lock(&self.table).remove(&id);
        drop(removed);
    }

    /// Removes the uploads that are not complete in time. Slow ones must not keep the places of others.
    pub(super) fn expire(&self, now: Instant) {
        let is_old = |upload: &Upload| now.saturating_duration_since(upload.began) >= self.lifetime;
        let old: Vec<_> = lock(&self.table).extract_if(|_, upload| is_old(upload)).collect();
        drop(old);
    }
}

/// The turn of a request that sends bytes of an upload, until a later request begins.
pub(in crate::server) struct Turn {
    later: watch::Receiver<u64>,
}

impl Turn {
    /// Waits until a later request for the same upload begins.
    pub(in crate::server) async fn ended(&mut self) {
        // An error means that the upload is gone, which ends the request as well.
        let _ = self.later.changed().await;
    }
}

impl Upload {
    /// Begins a turn, which ends the one before.
    pub(in crate::server) fn take_turn(&self) -> Turn {
        self.turn.send_modify(|turn| *turn += 1);
        Turn { later: self.turn.subscribe() }
    }

    /// Waits for the request before.
    pub(in crate::server) async fn received(&self) -> tokio::sync::MutexGuard<'_, Received> {
        self.received.lock().await
    }
}

impl Received {
    /// Continues at the offset: a request that was cancelled may have written more.
    pub(in crate::server) async fn resume(&mut self) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.offset)).await.map(drop)
    }

    /// Appends bytes.
    pub(in crate::server) async fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes).await?;
        // Tokio writes in the background, and reports an error of the disk only here.
        self.file.flush().await?;
        self.digest.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }
}
