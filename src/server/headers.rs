//! Headers that stand on every answer (P10).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

const FIXED: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // With no-referrer a form would be posted with Origin: null.
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), geolocation=()",
    ),
];

/// The Content-Security-Policy (CSP 3) of a page whose own scripts carry `nonce`; without one, no
/// script runs.
///
/// `reload_port`: under `cargo leptos watch`, the page also listens there for changes.
pub(super) fn content_security_policy(nonce: Option<&str>, reload_port: Option<u32>) -> String {
    let (script, style) = match nonce {
        Some(nonce) => {
            (format!("'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'"), format!("'self' 'nonce-{nonce}'"))
        }
        None => ("'none'".to_owned(), "'self'".to_owned()),
    };
    let reload = reload_port.map(|port| format!(" ws://127.0.0.1:{port} ws://localhost:{port}")).unwrap_or_default();
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'{reload}; \
         img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self'; manifest-src 'self'; \
         worker-src 'self' blob:; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )
}

/// Adds the headers. A page has set its own policy, with its nonce.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CONTENT_SECURITY_POLICY)
        && let Ok(policy) = HeaderValue::from_str(&content_security_policy(None, None))
    {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}
