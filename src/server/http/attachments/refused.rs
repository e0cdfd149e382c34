//! Refusals of requests about files, with the codes of the protocol.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use leptos_i18n::td_string;

use crate::app::locale::AcceptLanguage;
use crate::protocol::{ErrorCode, Refusal};
use crate::server::storage::StoreError;

/// A refusal, as the response `{"code": …, "message": …}`.
#[derive(Clone, Debug)]
pub(super) struct Refused(Refusal);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self(code.into())
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

/// The statuses of the codes that are not mistakes in the request itself.
const STATUSES: &[(ErrorCode, StatusCode)] = &[
    (ErrorCode::CookieNeeded, StatusCode::FORBIDDEN),
    (ErrorCode::NotInRoom, StatusCode::NOT_FOUND),
    (ErrorCode::UploadNotFound, StatusCode::NOT_FOUND),
    (ErrorCode::AttachmentNotFound, StatusCode::NOT_FOUND),
    (ErrorCode::UploadOffset, StatusCode::CONFLICT),
    (ErrorCode::FileTooLarge, StatusCode::PAYLOAD_TOO_LARGE),
    (ErrorCode::PictureInvalid, StatusCode::UNPROCESSABLE_ENTITY),
    (ErrorCode::PictureTooLarge, StatusCode::UNPROCESSABLE_ENTITY),
    (ErrorCode::TooManyUploads, StatusCode::TOO_MANY_REQUESTS),
    (ErrorCode::RateLimited, StatusCode::TOO_MANY_REQUESTS),
    (ErrorCode::RoomFull, StatusCode::INSUFFICIENT_STORAGE),
    (ErrorCode::ServerFull, StatusCode::INSUFFICIENT_STORAGE),
    (ErrorCode::StoreUnavailable, StatusCode::SERVICE_UNAVAILABLE),
];

impl Refused {
    fn status(&self) -> StatusCode {
        let found = STATUSES.iter().find(|(code, _)| *code == self.0.code);
        found.map_or(StatusCode::BAD_REQUEST, |(_, status)| *status)
    }

    /// The response in the language of the reader.
    pub(super) fn as_text(&self, headers: &HeaderMap) -> Response {
        let header = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let locale = AcceptLanguage::resolve(header(COOKIE), header(ACCEPT_LANGUAGE)).locale();
        let status = self.status();
        let text = if status == StatusCode::NOT_FOUND {
            td_string!(locale, file_missing)
        } else {
            td_string!(locale, unavailable)
        };
        (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n")).into_response()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.status();
        let seconds = self.0.retry_after_ms.map(|wait_ms| wait_ms.div_ceil(1_000));
        let mut response = (status, Json(self.0)).into_response();
        if let Some(seconds) = seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
