//! Uploads. A client announces a file, sends its bytes in as many requests as it takes, and asks for the offset after a
//! lost connection.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::request::Parts;
use http::{Method, StatusCode};
use tokio::time::{sleep, timeout};

use super::refused::Refused;
use super::room::room;
use crate::protocol::{
    Attachment, AttachmentId, ErrorCode, FromJson, Json as JsonValue, NewUpload, Reading, Refusal, UploadState,
    check_file_name,
};
use crate::server::Server;
use crate::server::attachments::uploads::{Begin, Received, Upload};
use crate::server::hub::payer::Payer;
use crate::server::hub::price::{Price, UPLOAD_BYTES};

/// The largest announcement of a file, in bytes: the longest name, escaped.
const MAX_ANNOUNCEMENT_BYTES: usize = 4 * 1024;
/// The timeout between two reads of a body.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest time that bytes wait until they can be paid. The client is not read meanwhile.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// The visitor who sent a request, if it came from a page of this server.
async fn visitor(server: &Server, parts: &Parts) -> Result<Payer, Refused> {
    // Browsers send no `Origin` with a GET.
    let is_own = match parts.method {
        Method::GET => server.own_address.check_stream(&parts.headers),
        _ => server.own_address.check_form(&parts.headers),
    };
    if is_own.is_err() {
        return Err(ErrorCode::CookieNeeded.into());
    }
    let now = server.hub.environment().unix_time();
    let found = server.identity.from_cookie(&parts.headers, now).ok_or(ErrorCode::CookieNeeded)?;
    let account = server.hub.account(found.credential.user).await?;
    Ok(Payer { account, address: server.address_of(&parts.extensions) })
}

/// `POST /r/{room}/files`: begins an upload.
pub(super) async fn begin(server: &Server, parts: &Parts, body: Body, name: &str) -> Result<Response, Refused> {
    let payer = visitor(server, parts).await?;
    payer.spend(Price::UPLOAD)?;
    let announced = timeout(READ_TIMEOUT, to_bytes(body, MAX_ANNOUNCEMENT_BYTES)).await;
    let announced = announced.ok().and_then(Result::ok).ok_or(ErrorCode::BadJson)?;
    let announced = std::str::from_utf8(&announced).map_err(|_| ErrorCode::BadJson)?;
    let announced = JsonValue::parse(announced, Reading::Strict)
        .and_then(|json| NewUpload::from_json(json, Reading::Strict))
        .map_err(|error| Refusal { message: error.to_string(), ..error.code.into() })?;
    check_file_name(&announced.name)?;
    let limits = &server.config.limits;
    if announced.bytes == 0 || announced.bytes > limits.file_bytes {
        return Err(ErrorCode::FileTooLarge.into());
    }
    let room = room(server, name).await?;
    let user = payer.account.id;
    if server.attachments.waiting(user).await? >= limits.uploads_per_user {
        return Err(ErrorCode::TooManyUploads.into());
    }
    let NewUpload { name, bytes } = announced;
    let begin = Begin { user, address: payer.address.network(), room, name, bytes };
    let upload = server.attachments.uploads.begin(begin, server.hub.environment().now())?;
    let state = UploadState { id: upload.id, offset: 0, attachment: None };
    Ok((StatusCode::CREATED, Json(state)).into_response())
}

/// `GET /r/{room}/files/{id}`: the offset of an upload of the visitor.
pub(super) async fn state(server: &Server, parts: &Parts, name: &str, id: AttachmentId) -> Result<Response, Refused> {
    let payer = visitor(server, parts).await?;
    match find(server, &payer, name, id).await? {
        Found::Unfinished(upload) => {
            // The request before may still wait for bytes on a dead connection.
            let _turn = upload.take_turn();
            let offset = upload.received().await.offset;
            Ok(Json(UploadState { id, offset, attachment: None }).into_response())
        }
        Found::Finished(attachment) => Ok(complete(*attachment)),
    }
}

/// `DELETE /r/{room}/files/{id}`: cancels an upload, whether it is finished or not, unless a message has it.
pub(super) async fn cancel(server: &Server, parts: &Parts, name: &str, id: AttachmentId) -> Result<Response, Refused> {
    let payer = visitor(server, parts).await?;
    payer.spend(Price::UPLOAD)?;
    match find(server, &payer, name, id).await? {
        Found::Unfinished(upload) => {
            let _turn = upload.take_turn();
            server.attachments.uploads.remove(id);
        }
        Found::Finished(_) => server.attachments.remove(id).await?,
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PATCH /r/{room}/files/{id}`: appends bytes at `Upload-Offset`, and finishes the upload once all are there.
pub(super) async fn append(
    server: &Arc<Server>,
    parts: &Parts,
    body: Body,
    name: &str,
    id: AttachmentId,
) -> Result<Response, Refused> {
    let payer = visitor(server, parts).await?;
    let offset = parts.headers.get("upload-offset").and_then(|offset| offset.to_str().ok()?.parse::<u64>().ok());
    let offset = offset.ok_or(ErrorCode::UploadOffset)?;
    let upload = match find(server, &payer, name, id).await? {
        Found::Unfinished(upload) => upload,
        Found::Finished(attachment) => return Ok(complete(*attachment)),
    };
    let mut turn = upload.take_turn();
    let mut received = upload.received().await;
    if offset != received.offset {
        return Err(ErrorCode::UploadOffset.into());
    }
    let sent = tokio::select! {
        sent = receive(&payer, &upload, &mut received, body) => sent,
        // What has arrived stays.
        () = turn.ended() => Err(ErrorCode::UploadOffset.into()),
    };
    let offset = received.offset;
    drop(received);
    if let Err(refused) = sent {
        // Nothing is kept of a file that is larger than announced, or when the disk is full.
        if matches!(refused.code, ErrorCode::FileTooLarge | ErrorCode::StoreUnavailable) {
            server.attachments.uploads.remove(id);
        }
        return Err(refused.into());
    }
    if offset < upload.bytes {
        return Ok(Json(UploadState { id, offset, attachment: None }).into_response());
    }
    // In a task: a connection that breaks now must not leave a half of it.
    let server = server.clone();
    let finished = tokio::spawn(async move { server.attachments.finish(upload).await }).await;
    Ok(complete(finished.map_err(|_| ErrorCode::StoreUnavailable)??))
}

/// Takes the bytes of a request.
async fn receive(payer: &Payer, upload: &Upload, received: &mut Received, body: Body) -> Result<(), Refusal> {
    received.resume().await.map_err(|error| broken(&error))?;
    let mut unpaid = 0;
    let mut body = body.into_data_stream();
    loop {
        // A connection that breaks or stops leaves what has arrived.
        let Ok(Some(Ok(bytes))) = timeout(READ_TIMEOUT, body.next()).await else { return Ok(()) };
        if received.offset + bytes.len() as u64 > upload.bytes {
            return Err(ErrorCode::FileTooLarge.into());
        }
        received.append(&bytes).await.map_err(|error| broken(&error))?;
        unpaid += bytes.len();
        if unpaid >= UPLOAD_BYTES {
            let wait = payer.reserve(Price::upload(unpaid), MAX_WAIT)?;
            unpaid %= UPLOAD_BYTES;
            sleep(wait).await;
        }
    }
}

/// An error of the disk, for example because it is full.
fn broken(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "cannot write an upload");
    ErrorCode::StoreUnavailable.into()
}

/// An upload of a visitor.
enum Found {
    Unfinished(Arc<Upload>),
    /// No message has it yet.
    Finished(Box<Attachment>),
}

async fn find(server: &Server, payer: &Payer, name: &str, id: AttachmentId) -> Result<Found, Refused> {
    let (room, user) = (room(server, name).await?, payer.account.id);
    if let Some(upload) = server.attachments.uploads.find(id, user).filter(|upload| upload.room.id == room.id) {
        return Ok(Found::Unfinished(upload));
    }
    let found = server.attachments.finished(id, user).await?.filter(|found| found.file.room == room.id);
    found.map(|found| Found::Finished(Box::new(found.file.attachment))).ok_or_else(|| ErrorCode::UploadNotFound.into())
}

fn complete(attachment: Attachment) -> Response {
    Json(UploadState { id: attachment.id, offset: attachment.bytes, attachment: Some(attachment) }).into_response()
}
