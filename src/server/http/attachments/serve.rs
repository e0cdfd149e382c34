//! Files of messages. Only pictures whose content was checked are shown by a browser; everything else is saved. No file
//! can run anything in the origin of the server, even if it is opened.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::refused::Refused;
use super::room::room;
use crate::protocol::{Attachment, AttachmentId, ErrorCode};
use crate::server::Server;
use crate::server::attachments::media_type::is_picture;
use crate::server::export::file_name::disposition;
use crate::server::store::StoredFile;

/// Nothing in a file may run or load. Styles are those that a browser shows a picture with.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; sandbox";
/// A file never changes. It is for those who may read the room, and for no shared cache.
const CACHING: &str = "private, max-age=31536000, immutable";

/// `GET /r/{room}/files/{id}/{name}`.
pub(super) async fn file(server: &Server, parts: &Parts, name: &str, id: AttachmentId) -> Result<Response, Refused> {
    let StoredFile { file, .. } = find(server, name, id).await?;
    let Attachment { name, media_type, bytes, .. } = &file.attachment;
    if is_known(&parts.headers, id) {
        return Ok(unchanged(id));
    }
    let range = match range_of(&parts.headers, *bytes, id) {
        Ok(range) => range,
        Err(Unsatisfiable) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            response.headers_mut().insert(CONTENT_RANGE, value(format!("bytes */{bytes}")));
            return Ok(response);
        }
    };
    let (begin, end) = range.unwrap_or((0, *bytes));
    let body = if parts.method == Method::HEAD {
        server.attachments.has(file.hash).await.map_err(unavailable)?.then(Body::empty)
    } else {
        server.attachments.read(file.hash, begin..end).await.map_err(unavailable)?.map(Body::from_stream)
    };
    let mut response = respond(body.ok_or(ErrorCode::AttachmentNotFound)?, id);
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(CONTENT_RANGE, value(format!("bytes {begin}-{}/{bytes}", end - 1)));
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, (end - begin).into());
    headers.insert(CONTENT_TYPE, value(media_type.clone()));
    headers
        .insert(CONTENT_DISPOSITION, disposition(if is_picture(media_type) { "inline" } else { "attachment" }, name));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

/// `GET /r/{room}/thumbnails/{id}`.
pub(super) async fn thumbnail(
    server: &Server,
    parts: &Parts,
    name: &str,
    id: AttachmentId,
) -> Result<Response, Refused> {
    let StoredFile { file, .. } = find(server, name, id).await?;
    file.attachment.size().ok_or(ErrorCode::AttachmentNotFound)?;
    if is_known(&parts.headers, id) {
        return Ok(unchanged(id));
    }
    let content = server.attachments.read_thumbnail(file.hash).await.map_err(unavailable)?;
    let (length, content) = content.ok_or(ErrorCode::AttachmentNotFound)?;
    let body = if parts.method == Method::HEAD { Body::empty() } else { Body::from_stream(content) };
    let mut response = respond(body, id);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    // Browsers recognize the formats of pictures, and `nosniff` lets them do so among pictures only.
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/*"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    Ok(response)
}

/// A file of a message in this room.
async fn find(server: &Server, name: &str, id: AttachmentId) -> Result<StoredFile, Refused> {
    let room = room(server, name).await?;
    let found = server.attachments.find(id).await?;
    let found = found.filter(|found| found.file.room == room.id && found.seq.is_some());
    Ok(found.ok_or(ErrorCode::AttachmentNotFound)?)
}

/// The response with a content, and the headers of all files.
fn respond(body: Body, id: AttachmentId) -> Response {
    let mut response = Response::new(body);
    put_headers(response.headers_mut(), id);
    response
}

fn unchanged(id: AttachmentId) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    put_headers(response.headers_mut(), id);
    response
}

fn put_headers(headers: &mut HeaderMap, id: AttachmentId) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHING));
    headers.insert(ETAG, value(tag(id)));
}

/// Not the hash: nobody must find out who else has a file.
fn tag(id: AttachmentId) -> String {
    format!("\"{id}\"")
}

fn is_known(headers: &HeaderMap, id: AttachmentId) -> bool {
    headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag(id).as_bytes())
}

/// The range cannot be served.
struct Unsatisfiable;

/// The range that a request asks for (RFC 9110, 14.2): the first byte, and the one after the last. `None`: the whole file.
/// More than one range is answered with the whole file.
fn range_of(headers: &HeaderMap, bytes: u64, id: AttachmentId) -> Result<Option<(u64, u64)>, Unsatisfiable> {
    if headers.get(IF_RANGE).is_some_and(|known| known.as_bytes() != tag(id).as_bytes()) {
        return Ok(None);
    }
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return Ok(None) };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (begin, end) = match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            Some(count) => (bytes.saturating_sub(count), bytes),
            None => return Ok(None),
        },
        (first, "") => match number(first) {
            Some(first) => (first, bytes),
            None => return Ok(None),
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(bytes)),
            _ => return Ok(None),
        },
    };
    if begin < end { Ok(Some((begin, end))) } else { Err(Unsatisfiable) }
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("types, numbers and ids are ASCII without control characters")
}

fn unavailable(error: object_store::Error) -> Refused {
    tracing::error!(%error, "cannot read a file");
    ErrorCode::StoreUnavailable.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_is_within_the_file_or_refused() {
        for (range, expected) in [
            ("bytes=0-9", Some(Some((0, 10)))),
            ("bytes=90-1000", Some(Some((90, 100)))),
            ("bytes=90-", Some(Some((90, 100)))),
            ("bytes=-10", Some(Some((90, 100)))),
            ("bytes=-1000", Some(Some((0, 100)))),
            ("bytes=100-", None),
            ("bytes=-0", None),
            ("bytes=9-0", Some(None)),
            ("bytes=0-1,5-6", Some(None)),
            ("lines=0-1", Some(None)),
        ] {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]);
            assert_eq!(range_of(&headers, 100, AttachmentId(1)).ok(), expected, "{range}");
        }
    }
}
