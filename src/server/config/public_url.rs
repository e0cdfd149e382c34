//! The origin that browsers see when the server is behind a proxy.

use std::str::FromStr;

use url::Url;

use super::StartError;

/// The origin that browsers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// `https://host` or `http://host:port` as browsers write it: in ASCII, lower case and without the default port.
    pub origin: String,
    /// The host, as in the origin.
    pub host: String,
    /// The scheme is `https`.
    pub secure: bool,
}

impl FromStr for PublicUrl {
    type Err = StartError;

    fn from_str(text: &str) -> Result<Self, StartError> {
        let invalid = || StartError::InvalidPublicUrl(text.to_owned());
        let url = Url::parse(text).map_err(|_| invalid())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(invalid)?.to_owned();
        let is_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let is_anonymous = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !is_origin || !is_anonymous {
            return Err(invalid());
        }
        Ok(Self { origin: url.origin().ascii_serialization(), host, secure: url.scheme() == "https" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_url_is_the_origin_that_browsers_send() {
        let cases = [
            ("https://noom.example/", "https://noom.example", "noom.example"),
            ("https://noom.example:443", "https://noom.example", "noom.example"),
            ("http://noom.example:80", "http://noom.example", "noom.example"),
            ("HTTPS://Noom.Example:8443", "https://noom.example:8443", "noom.example"),
            ("http://10.0.0.2:3000", "http://10.0.0.2:3000", "10.0.0.2"),
            ("https://[2001:DB8::1]:443", "https://[2001:db8::1]", "[2001:db8::1]"),
            ("https://한국.example", "https://xn--3e0b707e.example", "xn--3e0b707e.example"),
        ];
        for (text, origin, host) in cases {
            let url: PublicUrl = text.parse().unwrap();
            assert_eq!((url.origin.as_str(), url.host.as_str()), (origin, host), "{text}");
            assert_eq!(url.secure, origin.starts_with("https"), "{text}");
        }
    }

    #[test]
    fn public_url_that_is_not_an_origin_is_refused() {
        for text in [
            "noom.example",
            "https://noom.example/sub",
            "https://noom.example/?x",
            "https://ann@noom.example",
            "ftp://noom.example",
            "https://",
            "https://no om.example",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
