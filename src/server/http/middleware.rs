//! Middleware of the router: identifies visitors, rejects forged forms, logs requests.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue, SET_COOKIE, STRICT_TRANSPORT_SECURITY};
use http::{Method, StatusCode};
use tracing::Instrument;

use crate::protocol::UserId;
use crate::server::hub::address::Address;
use crate::server::hub::price::Price;
use crate::server::{Server, random};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// The visitor who requests a page or posts a form. A request extension.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct PageVisitor {
    pub(in crate::server) user: UserId,
    /// The request had a valid cookie.
    pub(in crate::server) is_known: bool,
}

/// Identifies the visitor by the cookie, or issues a new one. Renews it from time to time. Stores nothing yet.
pub(super) async fn identify_visitor(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let now = server.hub.environment().unix_time();
    let known = server.identity.from_cookie(request.headers(), now);
    let visitor = known.map_or_else(|| server.identity.new_visitor(), |found| found.credential);
    request.extensions_mut().insert(PageVisitor { user: visitor.user, is_known: known.is_some() });
    let is_new_guest = known.is_none() && admit_guest(&server, &request);
    // Above the limit pages still render, but without a cookie, and forms are refused.
    if known.is_none() && !is_new_guest && request.method() == Method::POST {
        return (StatusCode::TOO_MANY_REQUESTS, "too many new guests from this address\n").into_response();
    }
    let mut response = next.run(request).await;
    let cookies = match known {
        Some(found) => server.identity.renewal(found, now),
        None if is_new_guest => vec![server.identity.set_cookie(visitor, now)],
        None => Vec::new(),
    };
    response.headers_mut().extend(cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// Counts a new guest against the limit of the address.
fn admit_guest(server: &Server, request: &Request) -> bool {
    // Absent only in tests that call the router directly.
    request.extensions().get::<Address>().is_none_or(|address| {
        let is_admitted = address.spend(Price::GUEST).is_ok();
        if !is_admitted {
            server.client_addresses.limit_reached(address.network());
        }
        is_admitted
    })
}

/// Rejects cross-site request forgery (CSRF): forms that pages of other sites post.
pub(super) async fn reject_csrf(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe && let Err(refused) = server.own_address.check_form(request.headers()) {
        return refused.into_response();
    }
    next.run(request).await
}

/// Refuses requests that were sent to another host name, and lets browsers use HTTPS from now on if this process
/// terminates TLS (HSTS, RFC 6797). Health checks may use any name.
pub(super) async fn guard_host(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let requires_https = server.own_address.may_require_https(request.headers());
    let is_health_check = request.uri().path().starts_with("/health/");
    let mut response = match server.own_address.check_host(request.headers()) {
        Err(refused) if !is_health_check => return refused.into_response(),
        Ok(()) | Err(_) => next.run(request).await,
    };
    let lifetime = format!("max-age={}", server.config.hsts_seconds);
    if requires_https && let Ok(lifetime) = HeaderValue::try_from(lifetime) {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, lifetime);
    }
    response
}

/// Asks search engines not to index rooms, unless the configuration allows it.
pub(super) async fn hide_from_search(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let is_room =
        matches!(request.uri().path().strip_prefix("/r"), Some(rest) if rest.is_empty() || rest.starts_with('/'));
    let mut response = next.run(request).await;
    if is_room && !server.config.index_rooms {
        response.headers_mut().insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex, nofollow, noarchive"));
    }
    response
}

/// Renders pages on threads of their own.
pub(super) async fn render_apart(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let rendered = server.page_threads.run(next.run(request)).await;
    rendered.unwrap_or_else(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

/// Gives each request an id, for its log lines and for the response. The path is not logged: it may contain a room
/// name.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let id = format!("{:016x}", random::bits());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let span = tracing::info_span!("request", id, method = %request.method());
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, milliseconds) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
    span.in_scope(|| {
        if status >= 500 {
            tracing::warn!(status, milliseconds, route, "responded");
        } else {
            tracing::debug!(status, milliseconds, route, "responded");
        }
    });
    response.headers_mut().insert(REQUEST_ID, HeaderValue::try_from(id).expect("hexadecimal digits are ASCII"));
    response
}
