//! Refusals of exports, as the sender can read them.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use leptos_i18n::td_string;

use crate::i18n::Locale;
use crate::protocol::Refusal;
use crate::server::export::places::Full;

/// `Retry-After` of a refusal that is only temporary, in seconds.
const RETRY_SECONDS: u64 = 10;

/// The reason why an export is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refused {
    /// The query names no format.
    Format,
    /// No room can have this name.
    Name,
    /// The room does not exist.
    NoRoom,
    /// Too many exports run.
    Full(Full),
    /// The store cannot read now.
    Unavailable,
}

impl From<Refusal> for Refused {
    /// The refusals of reads: all are temporary.
    fn from(_: Refusal) -> Self {
        Self::Unavailable
    }
}

impl Refused {
    pub(super) fn response(self, locale: Locale) -> Response {
        let seconds = RETRY_SECONDS;
        let (status, text) = match self {
            Self::Format => (StatusCode::BAD_REQUEST, td_string!(locale, export_format).to_owned()),
            Self::Name => (StatusCode::BAD_REQUEST, td_string!(locale, error_room_name).to_owned()),
            Self::NoRoom => (StatusCode::NOT_FOUND, td_string!(locale, export_no_room).to_owned()),
            Self::Full(Full::Person) => (StatusCode::TOO_MANY_REQUESTS, td_string!(locale, export_running).to_owned()),
            Self::Full(Full::Address) => {
                (StatusCode::TOO_MANY_REQUESTS, td_string!(locale, export_busy, seconds).to_string())
            }
            Self::Full(Full::Server) => {
                (StatusCode::SERVICE_UNAVAILABLE, td_string!(locale, export_busy, seconds).to_string())
            }
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, td_string!(locale, unavailable).to_owned()),
        };
        let mut response = (status, text + "\n").into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if matches!(self, Self::Full(_) | Self::Unavailable) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
