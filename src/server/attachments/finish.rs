//! From a complete upload to an attachment.

use std::io::SeekFrom;
use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA256, digest};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::Attachments;
use super::contents::Kind;
use super::media_type::{self, HEAD_BYTES, MediaType};
use super::picture::Picture;
use super::uploads::{Received, Upload};
use crate::protocol::{Attachment, ErrorCode, Refusal};
use crate::server::store::{FileHash, FileWrite, NewFile};

impl Attachments {
    /// Makes an attachment of an upload whose bytes have all arrived. Whether it succeeds or is refused for good, the
    /// upload is over; after a temporary error it can be finished again.
    ///
    /// # Errors
    /// `PICTURE_INVALID`, `PICTURE_TOO_LARGE`, `ROOM_FULL`, `SERVER_FULL`, `RATE_LIMITED`, `STORE_UNAVAILABLE`.
    pub(in crate::server) async fn finish(&self, upload: Arc<Upload>) -> Result<Attachment, Refusal> {
        let mut received = upload.received().await;
        if received.is_finished {
            // Another request was faster.
            let found = self.finished(upload.id, upload.user).await?;
            return found.map(|found| found.file.attachment).ok_or_else(|| ErrorCode::UploadNotFound.into());
        }
        let result = self.store_content(&upload, &mut received).await;
        let is_temporary = result
            .as_ref()
            .is_err_and(|refusal| refusal.retry_after_ms.is_some() || refusal.code == ErrorCode::StoreUnavailable);
        if !is_temporary {
            received.is_finished = true;
            self.uploads.remove(upload.id);
        }
        result
    }

    async fn store_content(&self, upload: &Upload, received: &mut Received) -> Result<Attachment, Refusal> {
        let _place = self.finishing.acquire().await.map_err(|_| ErrorCode::StoreUnavailable)?;
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let begin = async {
            received.file.seek(SeekFrom::Start(0)).await?;
            (&mut received.file).take(HEAD_BYTES as u64).read_to_end(&mut head).await?;
            received.file.seek(SeekFrom::Start(0)).await
        };
        begin.await.map_err(|error| unavailable(&error))?;
        let found = media_type::of(&head);
        if found.picture.is_none() && media_type::is_named_like_a_picture(&upload.name) {
            return Err(ErrorCode::PictureInvalid.into());
        }
        match found {
            MediaType { name, picture: Some(format) } => {
                let path = received.path.to_path_buf();
                let picture = self.pictures.process(path, format).await?;
                let hash = hash_of(&digest(&SHA256, &picture.content));
                self.keep(upload, hash, name, Content::Picture(Box::new(picture))).await
            }
            MediaType { name, picture: None } => {
                let hash = hash_of(&received.digest.clone().finish());
                self.keep(upload, hash, name, Content::File(received)).await
            }
        }
    }

    /// Stores a content and the attachment that it belongs to.
    async fn keep(
        &self,
        upload: &Upload,
        hash: FileHash,
        media_type: &str,
        content: Content<'_>,
    ) -> Result<Attachment, Refusal> {
        let (bytes, size) = match &content {
            Content::File(_) => (upload.bytes, None),
            Content::Picture(picture) => (picture.content.len() as u64, Some((picture.width, picture.height))),
        };
        let attachment = Attachment {
            id: upload.id,
            name: upload.name.clone(),
            media_type: media_type.to_owned(),
            bytes,
            width: size.map(|(width, _)| width.into()),
            height: size.map(|(_, height)| height.into()),
        };
        // The collector does not remove a content that is stored again at this moment.
        let _lock = self.contents.lock(hash).await;
        self.store.write_file(FileWrite::Begin(hash)).await?;
        // Stored again if it exists: an uploader must not find out by the time that it takes.
        let stored = match content {
            Content::File(received) => self.contents.put_file(hash, &mut received.file, upload.bytes).await,
            Content::Picture(picture) => {
                let Picture { content, thumbnail, .. } = *picture;
                match thumbnail {
                    Some(thumbnail) => self.contents.put(hash, Kind::Thumbnail, thumbnail).await,
                    None => Ok(()),
                }
                .and(self.contents.put(hash, Kind::File, content).await)
            }
        };
        stored.map_err(|error| unavailable(&error))?;
        let file = NewFile { room: upload.room.id, user: upload.user, hash, attachment: attachment.clone() };
        self.store.write_file(FileWrite::Add(file)).await?;
        Ok(attachment)
    }
}

/// The content of an upload.
enum Content<'a> {
    /// As it arrived.
    File(&'a mut Received),
    /// Without the metadata.
    Picture(Box<Picture>),
}

fn hash_of(digest: &Digest) -> FileHash {
    FileHash(digest.as_ref().try_into().expect("a SHA-256 digest has 32 bytes"))
}

fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "cannot store a file");
    ErrorCode::StoreUnavailable.into()
}
