//! The security headers of every response (P10).

use http::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use tower_http::set_header::SetResponseHeaderLayer;

type SetHeader = SetResponseHeaderLayer<HeaderValue>;

/// Sets the headers. The policy of a page, which has its nonce, is kept.
pub(super) fn layer() -> (SetHeader, SetHeader, SetHeader, SetHeader, SetHeader) {
    let set = |name, value| SetHeader::overriding(name, HeaderValue::from_static(value));
    let policy = HeaderValue::try_from(content_security_policy(None, None)).expect("the policy is ASCII");
    (
        set(X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With no-referrer, browsers would post forms with Origin: null.
        set(REFERRER_POLICY, "same-origin"),
        set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        set(
            HeaderName::from_static("permissions-policy"),
            "camera=(self), microphone=(self), display-capture=(self), geolocation=()",
        ),
        SetHeader::if_not_present(CONTENT_SECURITY_POLICY, policy),
    )
}

/// The Content-Security-Policy (CSP 3) of a page whose own scripts have `nonce`. Without a nonce no script runs.
///
/// `reload_port`: the port that `cargo leptos watch` reports changes on.
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
