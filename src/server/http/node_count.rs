//! The number of nodes of a page, which the page compares with its document before it hydrates.

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::app::shell::NODE_COUNT;

/// The tag before which the nodes begin to count.
const BODY: &str = "<body";
/// Elements whose content is text without markup (HTML, 13.2.5.1).
const RAW_TEXT: &[&str] = &["script", "style", "textarea", "title"];

/// Adds the number of nodes in the body to a page. Leptos renders a page completely before it sends the first byte.
pub(super) async fn add(response: Response) -> Response {
    let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_page {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response();
    };
    let html = std::str::from_utf8(&bytes).ok();
    let Some((html, start)) = html.and_then(|html| Some((html, html.find(BODY)? + BODY.len()))) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    let count = html[start..].find('>').map_or(0, |end| count(&html[start + end + 1..]));
    let counted = format!("{} {NODE_COUNT}=\"{count}\"{}", &html[..start], &html[start..]);
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(counted))
}

/// The number of elements, comments and texts that a parser puts into the body, given the rest of a document.
fn count(html: &str) -> usize {
    // Comments after the end tag of the body are not put into it, but elements are (HTML, 13.2.6.4.19 and 22).
    let mut is_after_body = false;
    let (mut nodes, mut rest) = (0, html);
    while !rest.is_empty() {
        let Some(text) = rest.find('<') else { return nodes + 1 };
        nodes += usize::from(text > 0);
        rest = &rest[text..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            nodes += usize::from(!is_after_body);
            rest = after(comment, "-->");
        } else if rest.starts_with("<!") {
            nodes += usize::from(!is_after_body);
            rest = after(rest, ">");
        } else if rest.starts_with("</") {
            is_after_body |= rest.starts_with("</body>");
            rest = after(rest, ">");
        } else {
            is_after_body = false;
            nodes += 1;
            let name = rest[1..].split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
            let content = after_tag(rest);
            rest = content;
            if RAW_TEXT.contains(&name) {
                let end = content.find(&format!("</{name}")).unwrap_or(content.len());
                // A line break at the beginning of a text field is not part of it.
                let is_empty = end == 0 || name == "textarea" && &content[..end] == "\n";
                nodes += usize::from(!is_empty);
                rest = &content[end..];
            }
        }
    }
    nodes
}

fn after<'a>(html: &'a str, end: &str) -> &'a str {
    html.find(end).map_or("", |at| &html[at + end.len()..])
}

/// The text after a start tag, whose attribute values may contain `>`.
fn after_tag(html: &str) -> &str {
    let mut quoted = false;
    let end = html.find(|c| {
        quoted ^= c == '"';
        c == '>' && !quoted
    });
    end.map_or("", |at| &html[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_as_a_parser_makes_them() {
        for (html, expected) in [
            ("", 0),
            ("text", 1),
            ("<p>a<!>b</p>", 4),
            ("<p title=\"a > b\">a &lt; b</p><br/><!--hot-->", 4),
            ("<textarea>\n</textarea><textarea>\na</textarea>", 3),
            ("<p></p><!></body><!><!></html><!><script></script><!>", 4),
            ("<script nonce=\"x\">if (a<b) {}</script></body></html><script></script>", 3),
        ] {
            assert_eq!(count(html), expected, "{html}");
        }
    }

    #[tokio::test]
    async fn page_has_its_node_count_and_other_responses_do_not() {
        let page = |kind: &'static str| {
            let headers = [(CONTENT_TYPE, kind)];
            add((headers, "<html><body class=\"a\"><p>b</p></body></html>").into_response())
        };
        let text = async |response: Response| {
            String::from_utf8(to_bytes(response.into_body(), 1_000).await.unwrap().to_vec()).unwrap()
        };
        let counted = text(page("text/html; charset=utf-8").await).await;
        assert_eq!(counted, format!("<html><body {NODE_COUNT}=\"2\" class=\"a\"><p>b</p></body></html>"));
        assert_eq!(text(page("text/plain").await).await, "<html><body class=\"a\"><p>b</p></body></html>");
    }
}
