//! The address of the client behind reverse proxies, from `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::config::TrustedProxies;
use super::lock::lock;
use super::network::network_of;
use super::occasional::Occasional;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Finds the addresses that limits apply to.
#[derive(Debug)]
pub(super) struct ClientAddresses {
    proxies: TrustedProxies,
    /// The latest peer whose header was ignored.
    ignored: Mutex<Option<Ignored>>,
    warning: Occasional,
}

#[derive(Clone, Copy, Debug)]
struct Ignored {
    network: IpAddr,
    reason: &'static str,
}

impl ClientAddresses {
    pub(super) fn new(proxies: TrustedProxies) -> Self {
        Self { proxies, ignored: Mutex::new(None), warning: Occasional::once_per(Duration::from_secs(3_600)) }
    }

    /// Returns whether the peer is a trusted proxy.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        match &self.proxies {
            TrustedProxies::None => false,
            TrustedProxies::Count(_) => true,
            TrustedProxies::Networks(networks) => networks.iter().any(|network| network.contains(&peer.to_canonical())),
        }
    }

    /// The network of the client: of the peer, or of the client that trusted proxies report.
    pub(super) fn of(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        // From the nearest proxy to the farthest. Each proxy appends an entry, or a header of its own.
        let entries = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut entries = entries.flat_map(|value| value.to_str().unwrap_or("?").rsplit(',')).map(address).peekable();
        if entries.peek().is_none() {
            return network_of(peer);
        }
        let (client, reason) = if !self.is_proxy(peer) {
            (peer, Some("the peer is not a trusted proxy"))
        } else if let TrustedProxies::Count(count) = self.proxies {
            // A request that passed fewer proxies has fewer entries.
            match entries.take(count).last().flatten() {
                Some(client) => (client, None),
                None => (peer, Some("the entry of the client is not an address")),
            }
        } else {
            self.first_untrusted(peer, entries)
        };
        if let Some(reason) = reason {
            *lock(&self.ignored) = Some(Ignored { network: network_of(peer), reason });
        }
        network_of(client)
    }

    /// Follows the entries as long as a trusted proxy has added them.
    fn first_untrusted(
        &self,
        peer: IpAddr,
        entries: impl Iterator<Item = Option<IpAddr>>,
    ) -> (IpAddr, Option<&'static str>) {
        let mut client = peer;
        for entry in entries {
            let Some(address) = entry else { return (client, Some("the entry of the client is not an address")) };
            client = address;
            if !self.is_proxy(client) {
                break;
            }
        }
        (client, None)
    }

    /// Reports that a client has reached a limit per address. Logs a warning if the address seems to be that of a proxy
    /// that is not trusted: then all of its clients share the limit.
    pub(super) fn limit_reached(&self, network: IpAddr) {
        let ignored = *lock(&self.ignored);
        if let Some(Ignored { reason, .. }) = ignored.filter(|ignored| ignored.network == network)
            && self.warning.is_due().is_some()
        {
            tracing::warn!(
                %network,
                reason,
                "an address reached its limit, and its X-Forwarded-For was ignored; if this is a proxy, set \
                 trusted_proxies, otherwise all of its clients share the limits of one address"
            );
        }
    }
}

/// An entry of the header. Some proxies append the port: `192.0.2.7:51234`, `[2001:db8::1]:443`.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim().trim_matches('"');
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    // The zone of a link-local address, as in fe80::1%eth0, has a meaning only on the proxy.
    let bare = bare.split('%').next().unwrap_or(bare);
    let parsed = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(proxies: TrustedProxies, peer: &str, headers: &[&str]) -> String {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(X_FORWARDED_FOR, value.parse().unwrap());
        }
        ClientAddresses::new(proxies).of(SocketAddr::new(peer.parse().unwrap(), 9), &map).to_string()
    }

    fn networks() -> TrustedProxies {
        TrustedProxies::Networks(["10.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap()).to_vec())
    }

    #[test]
    fn forwarded_address_is_trusted_only_behind_declared_proxy() {
        let headers = ["1.1.1.1, 192.0.2.7"];
        assert_eq!(of(TrustedProxies::None, "10.0.0.1", &headers), "10.0.0.1");
        assert_eq!(of(TrustedProxies::Count(1), "10.0.0.1", &headers), "192.0.2.7");
        assert_eq!(of(TrustedProxies::Count(1), "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of(networks(), "10.0.0.1", &headers), "192.0.2.7");
        assert_eq!(of(networks(), "192.0.2.9", &headers), "192.0.2.9", "a client that goes around the proxy");
    }

    #[test]
    fn ports_brackets_and_zones_are_removed() {
        for (entry, client) in [
            ("203.0.113.9:51234", "203.0.113.9"),
            ("[2001:db8::1]:443", "2001:db8::"),
            ("[2001:db8::1]", "2001:db8::"),
            ("2001:db8::1", "2001:db8::"),
            ("\"[2001:db8::1]:443\"", "2001:db8::"),
            ("fe80::1%eth0", "fe80::"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("unknown", "10.0.0.1"),
            ("", "10.0.0.1"),
            ("203.0.113.9:", "10.0.0.1"),
        ] {
            for proxies in [TrustedProxies::Count(1), networks()] {
                assert_eq!(of(proxies, "10.0.0.1", &[entry]), client, "{entry}");
            }
        }
    }

    #[test]
    fn client_is_found_behind_several_proxies_and_cannot_forge_its_address() {
        // The client claims 6.6.6.6; the outer proxy saw 192.0.2.7, the inner one 10.0.0.2.
        for headers in [&["6.6.6.6, 192.0.2.7, 10.0.0.2"][..], &["6.6.6.6, 192.0.2.7", "10.0.0.2:80"][..]] {
            assert_eq!(of(TrustedProxies::Count(2), "10.0.0.1", headers), "192.0.2.7");
            assert_eq!(of(TrustedProxies::Count(1), "10.0.0.1", headers), "10.0.0.2");
            assert_eq!(of(networks(), "10.0.0.1", headers), "192.0.2.7");
        }
        assert_eq!(of(TrustedProxies::Count(3), "10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(of(networks(), "::1", &["10.0.0.9"]), "10.0.0.9", "a client in the network of the proxies");
    }

    #[test]
    fn only_address_whose_header_was_ignored_is_reported() {
        let addresses = ClientAddresses::new(TrustedProxies::None);
        let mut headers = HeaderMap::new();
        let peer: SocketAddr = "10.0.0.1:9".parse().unwrap();
        addresses.limit_reached(addresses.of(peer, &headers));
        assert_eq!(addresses.warning.is_due(), Some(0), "nothing was forwarded");

        let addresses = ClientAddresses::new(TrustedProxies::None);
        headers.insert(X_FORWARDED_FOR, "192.0.2.7".parse().unwrap());
        let network = addresses.of(peer, &headers);
        addresses.limit_reached([9, 9, 9, 9].into());
        addresses.limit_reached(network);
        assert_eq!(addresses.warning.is_due(), None, "the warning was logged");
    }
}
