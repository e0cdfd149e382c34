//! The networks that limits per address apply to.

use std::net::{IpAddr, Ipv6Addr};

/// A network: one IPv4 address, or an IPv6 prefix.
///
/// RFC 6177: a home or an office gets a prefix from /64 to /48, and can use all of its addresses. A limit that applied
/// only to the /64 would admit 256 times as much from a home with a /56. A school, however, is often one IPv4 address
/// (NAT) or one /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

/// The smallest network of an address: an IPv4 address or an IPv6 /64.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    Network::at(address.to_canonical(), PREFIXES[0].0).address
}

/// The lengths of the IPv6 prefixes that have limits, and the multiple of a limit that each has.
const PREFIXES: [(u32, u32); 3] = [(64, 1), (56, 2), (48, 4)];

impl Network {
    /// The networks of an address, the smallest first.
    pub(super) fn all_of(address: IpAddr) -> impl Iterator<Item = Self> {
        let address = address.to_canonical();
        let count = if address.is_ipv4() { 1 } else { PREFIXES.len() };
        PREFIXES.into_iter().take(count).map(move |(prefix, _)| Self::at(address, prefix))
    }

    /// `prefix`: of an IPv6 address. An IPv4 address is a network of its own.
    fn at(address: IpAddr, prefix: u32) -> Self {
        match address {
            IpAddr::V4(_) => Self { address, prefix: 32 },
            IpAddr::V6(address) => {
                let mask = u128::MAX << (128 - prefix);
                Self { address: Ipv6Addr::from(u128::from(address) & mask).into(), prefix }
            }
        }
    }

    /// The multiple of a limit per address that applies to this network.
    pub(super) fn share(self) -> u32 {
        PREFIXES.into_iter().find(|(prefix, _)| *prefix == self.prefix).map_or(1, |(_, share)| share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Vec<(String, u32)> {
        let networks = Network::all_of(text.parse().unwrap());
        networks.map(|network| (format!("{}/{}", network.address, network.prefix), network.share())).collect()
    }

    #[test]
    fn ipv6_limits_apply_per_64_and_mapped_ipv4_is_ipv4() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!([network("::ffff:192.0.2.7"), network("192.0.2.7")], ["192.0.2.7", "192.0.2.7"]);
    }

    #[test]
    fn ipv6_address_belongs_to_three_prefixes_and_mapped_ipv4_is_ipv4() {
        let expected = [("2001:db8:1:2ff::/64", 1), ("2001:db8:1:200::/56", 2), ("2001:db8:1::/48", 4)];
        assert_eq!(networks("2001:db8:1:2ff:3:4:5:6"), expected.map(|(name, share)| (name.to_owned(), share)));
        for text in ["192.0.2.7", "::ffff:192.0.2.7"] {
            assert_eq!(networks(text), [("192.0.2.7/32".to_owned(), 1)]);
        }
    }
}
