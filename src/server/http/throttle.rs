//! Throttling: requests are paid from the budgets of their address. A request above the limit waits for its turn, so
//! that a client cannot make the server answer faster by asking faster. One that would wait too long gets 429.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use leptos_i18n::td_string;
use tokio::time::sleep;

use super::attachments::file_address;
use super::export::exported_room;
use crate::app::locale::AcceptLanguage;
use crate::server::Server;
use crate::server::hub::address::Address;
use crate::server::hub::price::Price;

/// The longest time that a request waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Lets a request wait until its address can pay for it. Its [`Address`] becomes an extension.
pub(super) async fn throttle(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    // Absent only in tests that call the router directly.
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        return next.run(request).await;
    };
    let client = server.client_addresses.of(*peer, request.headers());
    let address = server.hub.directory.address(client);
    match address.reserve(price(request.uri().path()), MAX_WAIT) {
        Ok(wait) => {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            request.extensions_mut().insert::<Address>(address);
            next.run(request).await
        }
        Err(wait) => {
            server.client_addresses.limit_reached(client);
            // Otherwise a client could ask again at once.
            sleep(MAX_WAIT).await;
            too_many_requests(request.headers(), wait.saturating_sub(MAX_WAIT))
        }
    }
}

/// The price of a request. What a form does is paid when its text is known, and each frame of a POST by its connection.
fn price(path: &str) -> Price {
    match path {
        "/ws" | "/events" => Price::CONNECTION,
        "/" | "/api/lobby" | "/api/room" => Price::PAGE,
        // A load balancer that shares its address with a busy client must not take the server for dead.
        _ if path.starts_with("/health/") => Price::default(),
        _ if exported_room(path).is_some() => Price::EXPORT,
        _ if file_address(path).is_some() => Price::FILE,
        _ if path.starts_with("/r/") => Price::PAGE,
        _ => Price::REQUEST,
    }
}

/// The response to a request that would wait too long, in the language of its sender.
fn too_many_requests(headers: &HeaderMap, wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let header = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let locale = AcceptLanguage::resolve(header(COOKIE), header(ACCEPT_LANGUAGE)).locale();
    let text = td_string!(locale, error_too_many_requests, seconds);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (RETRY_AFTER, HeaderValue::from(seconds)),
    ];
    (StatusCode::TOO_MANY_REQUESTS, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_except_health_checks_costs_its_address() {
        for (path, expected) in [
            ("/ws", Price::CONNECTION),
            ("/events", Price::CONNECTION),
            ("/events/0123", Price::REQUEST),
            ("/", Price::PAGE),
            ("/r/garden", Price::PAGE),
            ("/r/garden/export", Price::EXPORT),
            ("/r/garden/files", Price::FILE),
            ("/r/garden/thumbnails/000000000000005e", Price::FILE),
            ("/api/room", Price::PAGE),
            ("/api/post", Price::REQUEST),
            ("/pkg/noom.wasm", Price::REQUEST),
            ("/nowhere", Price::REQUEST),
            ("/health/live", Price::default()),
        ] {
            assert_eq!(price(path), expected, "{path}");
        }
    }
}
