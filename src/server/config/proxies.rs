//! The reverse proxies in front of the server.

use ipnet::IpNet;
use serde::Deserialize;

use super::StartError;

/// The proxies whose `X-Forwarded-For` is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TrustedProxies {
    /// None: the header is ignored.
    #[default]
    None,
    /// Every request passes this many proxies.
    Count(usize),
    /// The proxies are in these networks.
    Networks(Vec<IpNet>),
}

/// `trusted_proxies` in the file: a number or a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ProxiesSetting {
    Count(usize),
    Networks(Vec<String>),
}

impl ProxiesSetting {
    /// Reads the value of a variable: a number, or networks separated by commas.
    pub(super) fn from_variable(text: &str) -> Self {
        match text.trim().parse() {
            Ok(count) => Self::Count(count),
            Err(_) => Self::Networks(text.split(',').map(|network| network.trim().to_owned()).collect()),
        }
    }

    pub(super) fn resolve(self) -> Result<TrustedProxies, StartError> {
        match self {
            Self::Count(0) => Ok(TrustedProxies::None),
            Self::Count(count) => Ok(TrustedProxies::Count(count)),
            Self::Networks(networks) if networks.is_empty() => Ok(TrustedProxies::None),
            Self::Networks(networks) => {
                networks.iter().map(|text| network(text)).collect::<Result<_, _>>().map(TrustedProxies::Networks)
            }
        }
    }
}

/// A network such as `10.0.0.0/8`, or a single address.
fn network(text: &str) -> Result<IpNet, StartError> {
    let parsed = text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
    parsed.map_err(|_| StartError::InvalidTrustedProxy(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_proxies_are_a_number_or_networks() {
        let read = |text: &str| ProxiesSetting::from_variable(text).resolve();
        assert_eq!(read("2").unwrap(), TrustedProxies::Count(2));
        assert_eq!(read("0").unwrap(), TrustedProxies::None);
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "2001:db8::/32"].map(|text| text.parse().unwrap());
        assert_eq!(read("10.0.0.0/8, 127.0.0.1,2001:db8::/32").unwrap(), TrustedProxies::Networks(networks.to_vec()));
        for text in ["-1", "10.0.0.0/33", "proxy.example", "10.0.0.1,"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
