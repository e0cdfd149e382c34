//! The collector: removes expired uploads, and contents that belong to no attachment.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Attachments;
use crate::protocol::Refusal;
use crate::server::config::Config;
use crate::server::environment::Environment;
use crate::server::store::{FileHash, FileWrite, open_files_lock};

/// The most uploads, and the most contents, that a round removes.
const ROUND: u64 = 200;

/// Collects as long as the server runs.
pub(in crate::server) async fn run(attachments: Arc<Attachments>, environment: Arc<dyn Environment>, config: Config) {
    let lifetime = Duration::from_secs(config.limits.upload_seconds);
    let mut rounds = interval(Duration::from_secs(config.limits.collect_seconds));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        attachments.uploads.expire(environment.now());
        let before = environment.unix_time().saturating_sub(lifetime).as_millis() as u64;
        if let Err(refusal) = attachments.collect(&config.data_dir, before).await {
            tracing::warn!(code = refusal.code.as_str(), "cannot remove files that no message has; will try again");
        }
    }
}

impl Attachments {
    /// One round.
    async fn collect(&self, data: &Path, before: u64) -> Result<(), Refusal> {
        for id in self.store.unsent_files_before(before, ROUND).await? {
            self.store.write_file(FileWrite::Remove(id)).await?;
        }
        let unclaimed = self.store.unclaimed_files(ROUND).await?;
        if unclaimed.is_empty() {
            return Ok(());
        }
        let Some(_lock) = lock_exclusively(data) else { return Ok(()) };
        for hash in unclaimed {
            self.look_at(hash).await?;
        }
        Ok(())
    }

    /// Removes a content that belongs to no attachment.
    async fn look_at(&self, hash: FileHash) -> Result<(), Refusal> {
        // Nobody stores it again meanwhile.
        let _lock = self.contents.lock(hash).await;
        if !self.store.is_claimed(hash).await?
            && let Err(error) = self.contents.remove(hash).await
        {
            // It stays unclaimed, so that a later round tries again.
            tracing::warn!(%error, "cannot remove a file that no message has");
            return Ok(());
        }
        self.store.write_file(FileWrite::Forget(hash)).await
    }
}

/// `None`: a backup copies files at the moment, and needs those that its copy of the database names.
fn lock_exclusively(data: &Path) -> Option<File> {
    let file = open_files_lock(data).inspect_err(|error| tracing::warn!(%error, "cannot open files.lock")).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => {
            tracing::warn!(%error, "cannot lock files.lock");
            None
        }
    }
}
