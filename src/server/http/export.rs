//! `GET /r/{room}/export?format=…`: all messages of a room as a file.

mod body;
mod refused;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::stream::empty;
use http::header::{ACCEPT_LANGUAGE, ALLOW, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE};
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::app::locale::AcceptLanguage;
use crate::app::time;
use crate::i18n::Locale;
use crate::server::Server;
use crate::server::export::about::About;
use crate::server::export::document::Document;
use crate::server::export::file_name::content_disposition;
use crate::server::export::format::Format;
use crate::server::name_key::RoomName;
use body::{Export, Payment};
use refused::Refused;

/// Nothing in an exported page may run or load, even if a browser shows it at this server's origin.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; sandbox";

#[derive(Deserialize)]
struct Wanted {
    format: Option<String>,
}

/// The room in the path of an export, percent-encoded. The name of a room contains no slash.
pub(super) fn exported_room(path: &str) -> Option<&str> {
    path.strip_prefix("/r/")?.strip_suffix("/export").filter(|room| !room.is_empty() && !room.contains('/'))
}

/// Answers requests for exports, and passes on all others. The router has no route for them, because `/r/{*room}`, the
/// route of pages, would conflict with it.
pub(super) async fn serve(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    if exported_room(request.uri().path()).is_none() {
        return next.run(request).await;
    }
    // Without the body, which may not be shared between threads.
    let (parts, _) = request.into_parts();
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET,HEAD")]).into_response();
    }
    let header = |name: HeaderName| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
    let locale = AcceptLanguage::resolve(header(COOKIE), header(ACCEPT_LANGUAGE)).locale();
    export(&server, &parts, locale).await.unwrap_or_else(|refused| refused.response(locale))
}

async fn export(server: &Arc<Server>, parts: &Parts, locale: Locale) -> Result<Response, Refused> {
    let room = exported_room(parts.uri.path()).unwrap_or_default();
    let wanted = Query::<Wanted>::try_from_uri(&parts.uri).ok().and_then(|Query(wanted)| wanted.format);
    let format = wanted.as_deref().and_then(Format::from_name).ok_or(Refused::Format)?;
    let name = percent_decode_str(room).decode_utf8().ok().and_then(|name| RoomName::parse(&name).ok());
    let found = server.hub.find_with_extent(&name.ok_or(Refused::Name)?).await?;
    let (room, extent) = found.ok_or(Refused::NoRoom)?;
    let at = server.hub.environment().unix_time().as_millis() as u64;
    let disposition = content_disposition(&room.name, &time::Parts::of(at, time::Clock::Utc).date(), format);

    let body = if parts.method == Method::HEAD {
        // Not `Body::empty`, which would say that the length is 0.
        Body::from_stream(empty::<Result<String, Infallible>>())
    } else {
        let (person, payment) = Payment::of(server, parts).await?;
        let place = server.exports.take(person, payment.network()).map_err(Refused::Full)?;
        let epoch = Some(server.hub.epoch().to_owned());
        let document = Document::new(format, About { room: room.clone(), epoch, extent, at, locale });
        Export::new(server.clone(), room, extent, document, payment, place).into_body()
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    headers.insert(CONTENT_DISPOSITION, disposition);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_segment_between_r_and_export_is_a_room() {
        assert_eq!(exported_room("/r/book%20club/export"), Some("book%20club"));
        assert_eq!(exported_room("/r/export/export"), Some("export"));
        for path in ["/r/export", "/r//export", "/r/a/b/export", "/r/a/export/", "/export", "/r/a%2Fexport", "/r/a/"] {
            assert_eq!(exported_room(path), None, "{path}");
        }
    }
}
