//! Routes and what stands around them.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRef, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, SET_COOKIE};
use http::{Method, StatusCode};
use leptos::config::LeptosOptions;
use leptos::prelude::{expect_context, provide_context, use_context};
use leptos_axum::{LeptosRoutes, ResponseOptions, generate_route_list_with_exclusions_and_ssg_and_context};
use tower::Layer;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::services::ServeDir;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use tracing::Instrument;

use super::files::{Folder, Site, cached};
use super::origin::check_form;
use super::transport::{self, events, ws};
use super::{Server, headers, random, telemetry};
use crate::app::locale::AcceptLanguage;
use crate::app::shell::{App, SiteFiles, shell};
use crate::protocol::{MAX_BATCH_BYTES, UserId};

/// The largest body of a request: a form with the longest message, percent-encoded.
const MAX_BODY: usize = 64 * 1024;
/// The longest pause in a body.
const BODY_PAUSE: Duration = Duration::from_secs(10);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who looks at a page or posts a form.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageVisitor(pub(super) UserId);

#[derive(Clone, FromRef)]
struct AppState {
    server: Arc<Server>,
    leptos: LeptosOptions,
}

/// The whole service.
pub(super) fn router(server: &Arc<Server>) -> Router {
    let state = AppState { server: server.clone(), leptos: server.config.leptos.clone() };
    let (context, options) = (page_context(server.clone()), state.leptos.clone());
    let root = Path::new(server.config.leptos.site_root.as_ref());
    let site = Arc::new(site(root));
    let named = SiteFiles { base: site.base(), scripts: site.scripts(&options.site_pkg_dir) };
    let files = |is_versioned| middleware::from_fn_with_state(Folder { site: site.clone(), is_versioned }, cached);
    let from_disk =
        || ServeDir::new(root).append_index_html_on_directories(false).precompressed_br().precompressed_gzip();
    let mut router = Router::new();
    if !named.base.is_empty() {
        router = router.nest_service(&named.base, files(true).layer(from_disk()));
    }
    // App is run once to learn its routes, in a context like a page's.
    let no_request = || provide_context(AcceptLanguage::default());
    let (routes, _) = generate_route_list_with_exclusions_and_ssg_and_context(App, None, no_request);
    let pages = Router::new()
        .leptos_routes_with_context(&state, routes, context, move || shell(options.clone(), named.clone()))
        .route_layer(middleware::from_fn_with_state(server.clone(), know_visitor))
        .route_layer(middleware::from_fn_with_state(server.clone(), guard_forms))
        // Pages only: files are compressed already, better, and events must not wait for each other.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(server.config.limits.request_seconds),
        ));

    let bounds = (DefaultBodyLimit::max(MAX_BATCH_BYTES), RequestBodyTimeoutLayer::new(BODY_PAUSE));
    let frames = post(events::post).layer::<_, Infallible>(bounds);

    router
        .route("/ws", get(ws::upgrade))
        .route("/events", get(events::open))
        .route("/events/{token}", frames)
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .merge(pages)
        .fallback_service(files(false).layer(from_disk().fallback(get(elsewhere).fallback(nowhere))))
        .layer(CatchPanicLayer::custom(failed))
        .layer(middleware::from_fn(forget))
        .layer(middleware::from_fn(headers::secure))
        .layer(middleware::from_fn(trace))
        .with_state(state)
}

/// The site's files as they are now. Under `cargo leptos watch` they change while the server runs, and none is known.
fn site(root: &Path) -> Site {
    if is_watched() {
        return Site::default();
    }
    Site::read(root).unwrap_or_else(|error| {
        tracing::info!(%error, folder = %root.display(), "there are no files for pages");
        Site::default()
    })
}

/// Whether `cargo leptos watch` has started this.
fn is_watched() -> bool {
    std::env::var_os("LEPTOS_WATCH").is_some()
}

/// What pages and server functions find in their context.
fn page_context(server: Arc<Server>) -> impl Fn() + Clone + Send + Sync + 'static {
    let reload_port = is_watched().then_some(server.config.leptos.reload_port);
    move || {
        provide_context(server.clone());
        let parts = use_context::<http::request::Parts>();
        let header = |name| Some(parts.as_ref()?.headers.get(name)?.to_str().ok()?.to_owned());
        provide_context(AcceptLanguage::resolve(header(http::header::COOKIE), header(ACCEPT_LANGUAGE)));
        let nonce = leptos::nonce::use_nonce().map(|nonce| nonce.to_string());
        if let Ok(policy) = HeaderValue::from_str(&headers::content_security_policy(nonce.as_deref(), reload_port)) {
            expect_context::<ResponseOptions>().insert_header(CONTENT_SECURITY_POLICY, policy);
        }
    }
}

async fn ready(State(server): State<Arc<Server>>) -> Response {
    if server.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else {
        "ready\n".into_response()
    }
}

/// A path that is no page leads home; under the folders of programs it is an error.
async fn elsewhere(request: Request<Body>) -> Response {
    let for_programs = ["/static/", "/pkg/", "/api/", "/health/"];
    if for_programs.iter().any(|folder| request.uri().path().starts_with(folder)) {
        (StatusCode::NOT_FOUND, "not found\n").into_response()
    } else {
        Redirect::to("/").into_response()
    }
}

/// What panicked has been counted and logged by its place; the rest of the server goes on.
fn failed(_: Box<dyn std::any::Any + Send>) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "something failed inside\n").into_response()
}

async fn live() -> String {
    format!("live\npanics {}\n", telemetry::panics())
}

async fn nowhere() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

/// Recognises the visitor by the cookie, or gives them one. Nothing is stored for them yet.
async fn know_visitor(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let known = server.identity.visitor(request.headers());
    let user = known.unwrap_or_else(|| server.identity.new_user());
    request.extensions_mut().insert(PageVisitor(user));
    // Over the limit the page still shows; only, the next one will not know them again.
    let admitted = known.is_none() && {
        let peer = request.extensions().get::<ConnectInfo<std::net::SocketAddr>>().map(|info| info.0);
        peer.is_none_or(|peer| {
            let address = transport::address(peer, request.headers(), server.config.trust_forwarded);
            server.hub.directory.admit_guest(address).is_ok()
        })
    };
    // Without a cookie and above the limit one may look, and do nothing.
    if known.is_none() && !admitted && request.method() == Method::POST {
        return (StatusCode::TOO_MANY_REQUESTS, "too many new guests from this address\n").into_response();
    }
    let mut response = next.run(request).await;
    if admitted && let Ok(cookie) = HeaderValue::from_str(&server.identity.cookie(user)) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Refuses what other sites post here.
async fn guard_forms(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !harmless && let Err(rejected) = check_form(request.headers(), server.config.public_url.as_ref()) {
        return rejected.answer().into_response();
    }
    next.run(request).await
}

/// What says nothing of it is not kept: pages are each person's own.
async fn forget(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Gives each request an id, in its log lines and in the answer. The path is not logged: it may
/// name a room.
async fn trace(request: Request, next: Next) -> Response {
    let id = format!("{:016x}", random::bits());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let span = tracing::info_span!("request", id, method = %request.method());
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, milliseconds) = (response.status().as_u16(), started.elapsed().as_millis() as u64);
    span.in_scope(|| {
        if status >= 500 {
            tracing::warn!(status, milliseconds, route, "answered");
        } else {
            tracing::debug!(status, milliseconds, route, "answered");
        }
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_request_that_panics_is_answered_and_the_next_one_too() {
        async fn page(request: Request) -> &'static str {
            assert!(request.uri().path() != "/boom", "boom");
            "fine"
        }
        let router = Router::new().fallback(page).layer(CatchPanicLayer::custom(failed));
        for (path, status) in [("/boom", 500), ("/", 200), ("/boom", 500)] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status, "{path}");
        }
    }
}
