//! The check that the browser keeps cookies. The identifying cookie itself is out of reach of scripts.

use gloo_net::http::Request;

/// Returns true if the server did not receive the cookie that it has set with this page.
pub(crate) async fn are_blocked() -> bool {
    match Request::get("/api/cookie").send().await {
        Ok(response) => response.ok() && response.text().await.is_ok_and(|answer| answer == "false"),
        // Nothing is known without an answer.
        Err(_) => false,
    }
}
