//! Who may open a connection and who may post a form: pages of our own (P9).

use http::header::{HOST, ORIGIN, REFERER};
use http::{HeaderMap, StatusCode, Uri};

use super::config::PublicUrl;

/// Why a request from another site was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// No `Origin` at all.
    Missing,
    /// Not ours.
    Foreign,
}

impl Rejected {
    /// The answer's status and text.
    pub(super) fn answer(self) -> (StatusCode, &'static str) {
        let text = match self {
            Self::Missing => "ORIGIN_MISSING: send the Origin header of the page, e.g. Origin: http://127.0.0.1:3000\n",
            Self::Foreign => "ORIGIN_REJECTED: this address accepts connections from its own pages only\n",
        };
        (StatusCode::FORBIDDEN, text)
    }
}

/// Whether `Origin` names this server: `public_url`, or the host that the request was sent to.
pub(super) fn check_origin(headers: &HeaderMap, public_url: Option<&PublicUrl>) -> Result<(), Rejected> {
    let origin = headers.get(ORIGIN).ok_or(Rejected::Missing)?.to_str().map_err(|_| Rejected::Foreign)?;
    check(origin, headers, public_url)
}

fn check(origin: &str, headers: &HeaderMap, public_url: Option<&PublicUrl>) -> Result<(), Rejected> {
    let ours = match public_url {
        Some(url) => origin.eq_ignore_ascii_case(&url.origin),
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let sent_from = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            !host.is_empty() && sent_from.is_some_and(|from| from.eq_ignore_ascii_case(host))
        }
    };
    if ours { Ok(()) } else { Err(Rejected::Foreign) }
}

/// Whether a form was sent by a page of ours: `Sec-Fetch-Site`, or `Origin` from browsers that do
/// not send that.
pub(super) fn check_form(headers: &HeaderMap, public_url: Option<&PublicUrl>) -> Result<(), Rejected> {
    match headers.get("sec-fetch-site") {
        Some(site) if site == "same-origin" => Ok(()),
        Some(_) => Err(Rejected::Foreign),
        None => check_origin(headers, public_url),
    }
}

/// Whether a page of ours opens an event stream. Browsers send no `Origin` with that, and over plain
/// HTTP no `Sec-Fetch-Site` either: there the page's address counts, which no page can make up.
pub(super) fn check_stream(headers: &HeaderMap, public_url: Option<&PublicUrl>) -> Result<(), Rejected> {
    match headers.get(REFERER) {
        Some(page) if !headers.contains_key("sec-fetch-site") && !headers.contains_key(ORIGIN) => {
            let page: Uri = page.as_bytes().try_into().map_err(|_| Rejected::Foreign)?;
            let (Some(scheme), Some(host)) = (page.scheme_str(), page.authority()) else {
                return Err(Rejected::Foreign);
            };
            check(&format!("{scheme}://{host}"), headers, public_url)
        }
        _ => check_form(headers, public_url),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_the_own_origin_is_let_in() {
        let cases = [
            ("http://noom.example:3000", Ok(())),
            ("http://NOOM.example:3000", Ok(())),
            ("http://noom.example", Err(Rejected::Foreign)),
            ("http://noom.example:3000.evil.example", Err(Rejected::Foreign)),
            ("http://evil.noom.example:3000", Err(Rejected::Foreign)),
            ("http://evil.example", Err(Rejected::Foreign)),
            ("null", Err(Rejected::Foreign)),
            ("", Err(Rejected::Foreign)),
        ];
        for (origin, expected) in cases {
            assert_eq!(
                check_origin(&headers(&[("host", "noom.example:3000"), ("origin", origin)]), None),
                expected,
                "{origin}"
            );
        }
        assert_eq!(check_origin(&headers(&[("host", "noom.example")]), None), Err(Rejected::Missing));
    }

    #[test]
    fn behind_a_proxy_the_public_url_counts() {
        let url: PublicUrl = "https://noom.example".parse().unwrap();
        let seen = |origin| check_origin(&headers(&[("host", "127.0.0.1:3000"), ("origin", origin)]), Some(&url));
        assert_eq!(seen("https://noom.example"), Ok(()));
        assert_eq!(seen("http://noom.example"), Err(Rejected::Foreign));
        assert_eq!(seen("http://127.0.0.1:3000"), Err(Rejected::Foreign));
    }

    #[test]
    fn a_form_from_elsewhere_is_refused_even_with_our_origin() {
        let form =
            |site| check_form(&headers(&[("host", "h"), ("origin", "http://h"), ("sec-fetch-site", site)]), None);
        assert_eq!(form("same-origin"), Ok(()));
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(form(site), Err(Rejected::Foreign), "{site}");
        }
        assert_eq!(check_form(&headers(&[("host", "h"), ("origin", "http://h")]), None), Ok(()));
        assert_eq!(check_form(&headers(&[("host", "h")]), None), Err(Rejected::Missing));
    }

    #[test]
    fn a_stream_is_opened_by_pages_of_ours_whatever_their_browser_says_of_them() {
        let stream = |pairs: &[(&str, &str)]| check_stream(&headers(&[&[("host", "h:1")], pairs].concat()), None);
        assert_eq!(stream(&[("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(stream(&[("origin", "http://h:1")]), Ok(()));
        assert_eq!(stream(&[("referer", "http://h:1/r/%EB%B0%A9?a")]), Ok(()));
        for page in ["http://evil.example/h:1", "http://h:1.evil.example/", "http://h/", "h:1", "/r/x"] {
            assert_eq!(stream(&[("referer", page)]), Err(Rejected::Foreign), "{page}");
        }
        // What the browser says of a page counts more than the page's address.
        assert_eq!(stream(&[("sec-fetch-site", "cross-site"), ("referer", "http://h:1/")]), Err(Rejected::Foreign));
        assert_eq!(stream(&[("origin", "null"), ("referer", "http://h:1/")]), Err(Rejected::Foreign));
        assert_eq!(stream(&[]), Err(Rejected::Missing));
    }
}
