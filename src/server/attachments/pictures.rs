//! The worker that reads pictures: one at a time, because a large picture takes several hundred MiB.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image::ImageFormat;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::picture::{Picture, read};
use crate::protocol::{ErrorCode, Refusal};
use crate::server::config::LimitSettings;

/// The time that a picture may take. Its worker cannot be interrupted, but the limit of pixels bounds its work.
const DEADLINE: Duration = Duration::from_secs(20);
/// The time that a picture waits for its turn.
const TURN: Duration = Duration::from_secs(20);

/// The worker.
#[derive(Debug)]
pub(super) struct Pictures {
    free: Arc<Semaphore>,
    max_pixels: u64,
}

impl Pictures {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        Self { free: Arc::new(Semaphore::new(1)), max_pixels: limits.picture_pixels }
    }

    /// Reads the picture in a file.
    ///
    /// # Errors
    /// `PICTURE_INVALID`, `PICTURE_TOO_LARGE`; `RATE_LIMITED` if it does not get its turn.
    pub(super) async fn process(&self, path: PathBuf, format: ImageFormat) -> Result<Picture, Refusal> {
        let busy = || Refusal { retry_after_ms: Some(5_000), ..ErrorCode::RateLimited.into() };
        let turn = timeout(TURN, self.free.clone().acquire_owned()).await.map_err(|_| busy())?;
        let turn = turn.map_err(|_| ErrorCode::StoreUnavailable)?;
        let max_pixels = self.max_pixels;
        let work = spawn_blocking(move || {
            // Until the work has ended, even if nobody waits for it any more.
            let _turn = turn;
            let content = std::fs::read(path).map_err(|error| {
                tracing::error!(%error, "cannot read an upload");
                ErrorCode::StoreUnavailable
            })?;
            read(&content, format, max_pixels)
        });
        match timeout(DEADLINE, work).await {
            Ok(Ok(result)) => Ok(result?),
            // A decoder that panics or takes too long has met a file that was made for that.
            Ok(Err(_)) | Err(_) => Err(ErrorCode::PictureInvalid.into()),
        }
    }
}
