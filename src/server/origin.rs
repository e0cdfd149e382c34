//! Host and origin checks: the server answers only under its own names, and only its own pages may open connections and
//! post forms (P9).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{HOST, HeaderName, ORIGIN, REFERER};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use url::Url;

use super::config::PublicUrl;
use super::occasional::Occasional;
use super::tls::Tls;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request that is refused because of its host or its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rejected {
    /// The request has no `Origin`.
    Missing,
    /// The origin is another site.
    Foreign,
}

/// The response to a request with another host or origin.
#[derive(Debug)]
pub(super) struct Refused(String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, self.0).into_response()
    }
}

/// The names and the origin of this server.
#[derive(Debug)]
pub(super) struct OwnAddress {
    public_url: Option<PublicUrl>,
    /// Host names in ASCII and lower case; `*.` before a name stands for its sub-domains.
    hosts: Vec<String>,
    /// The certificate, if this process terminates TLS.
    tls: Option<Arc<Tls>>,
    warning: Occasional,
}

impl OwnAddress {
    /// `allowed_hosts`: the names of the configuration; `None` for the machine's own.
    pub(super) fn new(
        public_url: Option<PublicUrl>,
        allowed_hosts: Option<Vec<String>>,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let hosts = allowed_hosts.unwrap_or_else(machine_names);
        Self { public_url, hosts, tls, warning: Occasional::once_per(Duration::from_secs(60)) }
    }

    /// Checks that the request was sent to one of the server's own names.
    ///
    /// DNS rebinding: a site can let its own name point to an address of a local network. To the browser, this server
    /// is then that site, whose scripts may read everything. An address cannot be rebound, and neither can `localhost`.
    pub(super) fn check_host(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if host_of(host).is_some_and(|host| self.is_own_host(&host)) {
            return Ok(());
        }
        if let Some(suppressed) = self.warning.is_due() {
            tracing::warn!(host, suppressed, "refused a host name that is not in allowed_hosts");
        }
        Err(Refused(format!(
            "HOST_REJECTED: this server is not configured for the host name {host:?}. Use its address, or add the name \
             to allowed_hosts (NOOM_ALLOWED_HOSTS), or set public_url (NOOM_PUBLIC_URL) if it is behind a proxy.\n"
        )))
    }

    fn is_own_host(&self, host: &str) -> bool {
        let is_listed = |name: &String| match name.strip_prefix('*') {
            Some(parent) => host.len() > parent.len() && host.ends_with(parent),
            None => name == host,
        };
        is_unbindable(host)
            || self.hosts.iter().any(is_listed)
            || self.tls.as_ref().is_some_and(|tls| tls.is_certificate_for(host))
            // Behind a proxy that does not pass the host on, a name without a dot is the proxy's name for this server.
            || self.public_url.as_ref().is_some_and(|url| url.host == host || !host.contains('.'))
    }

    /// Checks that `Origin` is `public_url`, or else the host that the request was sent to.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.origin(headers).map_err(|rejected| self.refuse(rejected, headers))
    }

    /// Checks that a form was posted by one of the server's own pages, by `Sec-Fetch-Site`, or by `Origin` if the
    /// browser does not send that.
    pub(super) fn check_form(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.form(headers).map_err(|rejected| self.refuse(rejected, headers))
    }

    /// Checks that an event stream was opened by one of the server's own pages. Browsers send no `Origin` with it, and
    /// over plain HTTP no `Sec-Fetch-Site` either; then `Referer` decides, which a page cannot forge.
    pub(super) fn check_stream(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.stream(headers).map_err(|rejected| self.refuse(rejected, headers))
    }

    fn origin(&self, headers: &HeaderMap) -> Result<(), Rejected> {
        let origin = headers.get(ORIGIN).ok_or(Rejected::Missing)?.to_str().map_err(|_| Rejected::Foreign)?;
        self.is_own(origin, headers)
    }

    fn form(&self, headers: &HeaderMap) -> Result<(), Rejected> {
        match headers.get(SEC_FETCH_SITE) {
            Some(site) if site == "same-origin" => Ok(()),
            Some(_) => Err(Rejected::Foreign),
            None => self.origin(headers),
        }
    }

    fn stream(&self, headers: &HeaderMap) -> Result<(), Rejected> {
        match headers.get(REFERER) {
            Some(page) if !headers.contains_key(SEC_FETCH_SITE) && !headers.contains_key(ORIGIN) => {
                self.is_own(page.to_str().map_err(|_| Rejected::Foreign)?, headers)
            }
            _ => self.form(headers),
        }
    }

    /// Checks the origin of a URL.
    fn is_own(&self, url: &str, headers: &HeaderMap) -> Result<(), Rejected> {
        let url =
            Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or(Rejected::Foreign)?;
        let is_own = match &self.public_url {
            Some(own) => url.origin().ascii_serialization() == own.origin,
            None => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                // The host has the port that the browser sees, which it leaves out if it is the scheme's default.
                let own = Url::parse(&format!("{}://{host}", url.scheme()));
                let is_secure_enough = self.tls.is_none() || url.scheme() == "https";
                is_secure_enough && own.is_ok_and(|own| own.origin() == url.origin())
            }
        };
        if is_own { Ok(()) } else { Err(Rejected::Foreign) }
    }

    fn refuse(&self, rejected: Rejected, headers: &HeaderMap) -> Refused {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let own = match (&self.public_url, &self.tls) {
            (Some(url), _) => url.origin.clone(),
            (None, Some(_)) => format!("https://{}", header(HOST)),
            (None, None) => format!("http://{}", header(HOST)),
        };
        if let Some(suppressed) = self.warning.is_due() {
            let origin = header(ORIGIN);
            tracing::warn!(origin, own, suppressed, "refused an origin; is public_url the address that browsers use?");
        }
        Refused(match rejected {
            Rejected::Missing => format!("ORIGIN_MISSING: send the Origin header of the page, here Origin: {own}\n"),
            Rejected::Foreign => {
                format!("ORIGIN_REJECTED: this server accepts connections from its own pages only, at {own}\n")
            }
        })
    }

    /// The header Strict-Transport-Security may be sent in response to this request: the name is neither an address, for
    /// which browsers ignore it, nor `localhost`, where it would affect every other server of the developer.
    pub(super) fn may_require_https(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(host_of);
        self.tls.is_some() && host.is_some_and(|host| !is_unbindable(&host))
    }
}

/// The host in a `Host` header, in lower case.
fn host_of(header: &str) -> Option<String> {
    let authority: Authority = header.parse().ok().filter(|_| !header.contains('@'))?;
    let host = authority.host().to_ascii_lowercase();
    Some(host.strip_suffix('.').map_or(host.clone(), str::to_owned)).filter(|host| !host.is_empty())
}

/// Returns whether no site can let this host point to another address.
fn is_unbindable(host: &str) -> bool {
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok() || ipv6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

/// The names of this machine: its host name, without the domain too, and its name in multicast DNS.
fn machine_names() -> Vec<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    if short.is_empty() {
        return Vec::new();
    }
    let local = format!("{short}.local");
    vec![name, short, local]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(public_url: Option<&str>, hosts: &[&str]) -> OwnAddress {
        let hosts = hosts.iter().map(ToString::to_string).collect();
        OwnAddress::new(public_url.map(|url| url.parse().unwrap()), Some(hosts), None)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn accepts_host(own: &OwnAddress, host: &str) -> bool {
        own.check_host(&headers(&[("host", host)])).is_ok()
    }

    #[test]
    fn addresses_localhost_and_allowed_hosts_are_own_hosts() {
        let own = own(None, &["noom.example", "*.chat.example"]);
        for host in [
            "127.0.0.1:3000",
            "192.168.1.7",
            "[::1]:3000",
            "[2001:db8::1]",
            "localhost:3000",
            "LOCALHOST",
            "noom.example",
            "Noom.Example.:3000",
            "a.chat.example",
        ] {
            assert!(accepts_host(&own, host), "{host}");
        }
        for host in [
            "evil.example:3000",
            "noom.example.evil.example",
            "evil-noom.example",
            "a.noom.example",
            "chat.example",
            "evilchat.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "[::1",
            "",
            "nas",
        ] {
            assert!(!accepts_host(&own, host), "{host}");
        }
        assert!(own.check_host(&HeaderMap::new()).is_err(), "a browser always sends Host");
    }

    #[test]
    fn names_of_this_machine_are_allowed_by_default() {
        let names = machine_names();
        assert_eq!(names.len(), 3);
        let own = OwnAddress::new(None, None, None);
        assert!(names.iter().all(|name| accepts_host(&own, name)), "{names:?}");
        assert!(!accepts_host(&own, "evil.example"));
    }

    #[test]
    fn host_behind_proxy_is_public_or_the_name_in_the_proxy() {
        let own = own(Some("https://noom.example"), &[]);
        for host in ["noom.example", "NOOM.example:443", "127.0.0.1:3000", "noom_upstream", "noom:3000"] {
            assert!(accepts_host(&own, host), "{host}");
        }
        assert!(!accepts_host(&own, "evil.example"));
    }

    #[test]
    fn refused_host_is_told_what_to_configure() {
        let refused = own(None, &[]).check_host(&headers(&[("host", "chat.lan")])).unwrap_err().0;
        assert!(refused.contains("allowed_hosts") && refused.contains("chat.lan"), "{refused}");
    }

    #[test]
    fn only_own_origin_is_accepted() {
        let own = own(None, &[]);
        let cases = [
            ("http://noom.example:3000", Ok(())),
            ("http://NOOM.example:3000", Ok(())),
            ("https://noom.example:3000", Ok(())),
            ("http://noom.example", Err(Rejected::Foreign)),
            ("http://noom.example:3000.evil.example", Err(Rejected::Foreign)),
            ("http://evil.noom.example:3000", Err(Rejected::Foreign)),
            ("http://evil.example", Err(Rejected::Foreign)),
            ("ftp://noom.example:3000", Err(Rejected::Foreign)),
            ("null", Err(Rejected::Foreign)),
            ("", Err(Rejected::Foreign)),
        ];
        for (origin, expected) in cases {
            let headers = headers(&[("host", "noom.example:3000"), ("origin", origin)]);
            assert_eq!(own.origin(&headers), expected, "{origin}");
        }
        assert_eq!(own.origin(&headers(&[("host", "noom.example")])), Err(Rejected::Missing));
        assert_eq!(own.origin(&headers(&[("origin", "http://noom.example")])), Err(Rejected::Foreign));
    }

    #[test]
    fn default_port_in_host_is_the_same_origin() {
        let own = own(None, &[]);
        let check = |host, origin| own.origin(&headers(&[("host", host), ("origin", origin)]));
        assert_eq!(check("noom.example:443", "https://noom.example"), Ok(()));
        assert_eq!(check("noom.example:80", "http://noom.example"), Ok(()));
        assert_eq!(check("noom.example:443", "http://noom.example"), Err(Rejected::Foreign));
    }

    #[test]
    fn public_url_replaces_host_behind_proxy() {
        let own = own(Some("https://noom.example:443"), &[]);
        let check = |origin| own.origin(&headers(&[("host", "127.0.0.1:3000"), ("origin", origin)]));
        assert_eq!(check("https://noom.example"), Ok(()));
        assert_eq!(check("https://NOOM.example:443"), Ok(()));
        assert_eq!(check("http://noom.example"), Err(Rejected::Foreign));
        assert_eq!(check("http://127.0.0.1:3000"), Err(Rejected::Foreign));
        let refused = own.check_origin(&headers(&[("origin", "http://127.0.0.1:3000")])).unwrap_err().0;
        assert!(refused.contains("https://noom.example\n"), "the answer names the address: {refused}");
    }

    #[test]
    fn cross_site_form_is_refused_even_with_own_origin() {
        let own = own(None, &[]);
        let form = |site| own.form(&headers(&[("host", "h"), ("origin", "http://h"), ("sec-fetch-site", site)]));
        assert_eq!(form("same-origin"), Ok(()));
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(form(site), Err(Rejected::Foreign), "{site}");
        }
        assert_eq!(own.form(&headers(&[("host", "h"), ("origin", "http://h")])), Ok(()));
        assert_eq!(own.form(&headers(&[("host", "h")])), Err(Rejected::Missing));
    }

    #[test]
    fn stream_is_accepted_from_own_pages_by_any_of_three_headers() {
        let own = own(None, &[]);
        let stream = |pairs: &[(&str, &str)]| own.stream(&headers(&[&[("host", "h:1")], pairs].concat()));
        assert_eq!(stream(&[("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(stream(&[("origin", "http://h:1")]), Ok(()));
        assert_eq!(stream(&[("referer", "http://h:1/r/%EB%B0%A9?a")]), Ok(()));
        for page in ["http://evil.example/h:1", "http://h:1.evil.example/", "http://h/", "h:1", "/r/x"] {
            assert_eq!(stream(&[("referer", page)]), Err(Rejected::Foreign), "{page}");
        }
        // Sec-Fetch-Site and Origin take precedence over Referer.
        assert_eq!(stream(&[("sec-fetch-site", "cross-site"), ("referer", "http://h:1/")]), Err(Rejected::Foreign));
        assert_eq!(stream(&[("origin", "null"), ("referer", "http://h:1/")]), Err(Rejected::Foreign));
        assert_eq!(stream(&[]), Err(Rejected::Missing));
    }
}
