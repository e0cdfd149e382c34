//! The router, its middleware, and the handlers that are not pages.

mod attachments;
mod export;
mod middleware;
mod node_count;
mod throttle;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRef, Request, State};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};
use http::{HeaderMap, StatusCode};
use leptos::config::LeptosOptions;
use leptos::prelude::{expect_context, provide_context, use_context};
use leptos_axum::{LeptosRoutes, ResponseOptions, generate_route_list_with_exclusions_and_ssg_and_context};
use tower::Layer;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

use super::files::{Folder, Site, cache_headers};
use super::storage::Usage;
use super::transport::{events, ws};
use super::{Server, security_headers, telemetry};
use crate::app::address::PublicOrigin;
use crate::app::api::OnMalformed;
use crate::app::locale::AcceptLanguage;
use crate::app::shell::{App, SiteFiles, shell};
use crate::protocol::MAX_BATCH_BYTES;
pub(super) use middleware::PageVisitor;
use middleware::{guard_host, hide_from_search, identify_visitor, reject_csrf, render_apart, trace};
use throttle::throttle;

/// The largest body of a form in bytes: the longest message, percent-encoded.
const MAX_FORM_BYTES: usize = 64 * 1024;
/// The timeout between two reads of a body.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, FromRef)]
struct AppState {
    server: Arc<Server>,
    leptos: LeptosOptions,
}

/// The routes of the server.
pub(super) fn router(server: &Arc<Server>) -> Router {
    let state = AppState { server: server.clone(), leptos: server.config.leptos.clone() };
    let root = Path::new(server.config.leptos.site_root.as_ref());
    let site = Arc::new(site(root));
    let named = SiteFiles { base: site.base(), scripts: site.scripts(&state.leptos.site_pkg_dir) };
    let files = |is_versioned| from_fn_with_state(Folder { site: site.clone(), is_versioned }, cache_headers);
    let from_disk =
        || ServeDir::new(root).append_index_html_on_directories(false).precompressed_br().precompressed_gzip();
    let mut router = Router::new();
    if !named.base.is_empty() {
        router = router.nest_service(&named.base, files(true).layer(from_disk()));
    }
    let post_limits = (DefaultBodyLimit::max(MAX_BATCH_BYTES), RequestBodyTimeoutLayer::new(BODY_READ_TIMEOUT));
    router
        .route("/ws", get(ws::upgrade))
        .route("/events", get(events::open))
        .route("/events/{token}", post(events::post).layer::<_, Infallible>(post_limits))
        .route("/robots.txt", get(robots))
        .route("/api/cookie", get(has_cookie))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .merge(pages(&state, named))
        .fallback_service(files(false).layer(from_disk().fallback(get(redirect_home).fallback(not_found))))
        .layer(from_fn_with_state(server.clone(), export::serve))
        .layer(from_fn_with_state(server.clone(), attachments::serve))
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(from_fn_with_state(server.clone(), throttle))
        // By default nothing is cached, because pages are personal.
        .layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(from_fn_with_state(server.clone(), hide_from_search))
        .layer(from_fn_with_state(server.clone(), guard_host))
        .layer(security_headers::layer())
        .layer(from_fn(trace))
        .with_state(state)
}

/// The pages and server functions of the app.
fn pages(state: &AppState, files: SiteFiles) -> Router<AppState> {
    let AppState { server, leptos } = state.clone();
    let request_timeout = Duration::from_secs(server.config.limits.request_seconds);
    // Leptos runs App once to collect its routes, which needs the context of a page.
    let no_request = || provide_context(AcceptLanguage::default());
    let (routes, _) = generate_route_list_with_exclusions_and_ssg_and_context(App, None, no_request);
    Router::new()
        .leptos_routes_with_context(state, routes, page_context(server.clone()), move || {
            shell(leptos.clone(), files.clone())
        })
        .route_layer(map_response(node_count::add))
        .route_layer(from_fn_with_state(server.clone(), render_apart))
        .route_layer(from_fn_with_state(server.clone(), identify_visitor))
        .route_layer(from_fn_with_state(server, reject_csrf))
        // Only pages: files are precompressed, and compression would buffer events.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(RequestBodyLimitLayer::new(MAX_FORM_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_READ_TIMEOUT))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, request_timeout))
}

/// Reads the site's files. Under `cargo leptos watch` they change while the server runs, so the site is left empty.
fn site(root: &Path) -> Site {
    if is_watched() {
        return Site::default();
    }
    Site::read(root).unwrap_or_else(|error| {
        tracing::info!(%error, folder = %root.display(), "cannot read the files of the site");
        Site::default()
    })
}

/// Returns whether `cargo leptos watch` started this process.
fn is_watched() -> bool {
    std::env::var_os("LEPTOS_WATCH").is_some()
}

/// Provides the context of pages and server functions.
fn page_context(server: Arc<Server>) -> impl Fn() + Clone + Send + Sync + 'static {
    let reload_port = is_watched().then_some(server.config.leptos.reload_port);
    move || {
        provide_context(server.clone());
        provide_context(OnMalformed(super::pages::malformed));
        if let Some(url) = &server.config.public_url {
            provide_context(PublicOrigin(url.origin.clone()));
        }
        let parts = use_context::<http::request::Parts>();
        let header = |name| Some(parts.as_ref()?.headers.get(name)?.to_str().ok()?.to_owned());
        provide_context(AcceptLanguage::resolve(header(http::header::COOKIE), header(ACCEPT_LANGUAGE)));
        let nonce = leptos::nonce::use_nonce().map(|nonce| nonce.to_string());
        if let Ok(policy) =
            HeaderValue::from_str(&security_headers::content_security_policy(nonce.as_deref(), reload_port))
        {
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

/// The rules for search engines (RFC 9309).
async fn robots(State(server): State<Arc<Server>>) -> &'static str {
    if server.config.index_rooms {
        "User-agent: *\nDisallow: /api/\n"
    } else {
        "User-agent: *\nDisallow: /r/\nDisallow: /api/\n"
    }
}

/// Redirects unknown pages to `/`. Unknown paths of the API and of files get 404.
async fn redirect_home(request: Request<Body>) -> Response {
    let not_pages = ["/static/", "/pkg/", "/api/", "/health/"];
    if not_pages.iter().any(|folder| request.uri().path().starts_with(folder)) {
        (StatusCode::NOT_FOUND, "not found\n").into_response()
    } else {
        Redirect::to("/").into_response()
    }
}

/// The response to a request that panicked. The panic hook has counted and logged it.
fn panic_response(_: Box<dyn std::any::Any + Send>) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
}

/// Tells a page if the browser has kept the cookie that came with it.
async fn has_cookie(State(server): State<Arc<Server>>, headers: HeaderMap) -> &'static str {
    let now = server.hub.environment().unix_time();
    if server.identity.from_cookie(&headers, now).is_some() { "true" } else { "false" }
}

async fn live(State(server): State<Arc<Server>>) -> String {
    let Usage { stored_bytes, stored_bytes_limit, stored_bytes_today, stored_bytes_per_day_limit } = server.hub.usage();
    format!(
        "live\npanics {}\nstored_bytes {stored_bytes}\nstored_bytes_limit {stored_bytes_limit}\n\
         stored_bytes_today {stored_bytes_today}\nstored_bytes_per_day_limit {stored_bytes_per_day_limit}\n",
        telemetry::panic_count()
    )
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn request_panic_returns_500_and_server_continues() {
        async fn page(request: Request) -> &'static str {
            assert!(request.uri().path() != "/boom", "boom");
            "fine"
        }
        let router = Router::new().fallback(page).layer(CatchPanicLayer::custom(panic_response));
        for (path, status) in [("/boom", 500), ("/", 200), ("/boom", 500)] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status, "{path}");
        }
    }
}
