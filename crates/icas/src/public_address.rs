//! The addresses of the public Internet, told from all others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks of IPv4 that are not reachable from everywhere, or do not name one host there, with the lengths of their
/// prefixes: IANA's registry of special-purpose addresses (RFC 6890 and its updates), multicast (RFC 5771), and what is
/// reserved above it.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    // "This network", with the unspecified address.
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    // Shared by the customers of a provider.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local, with the metadata services of clouds.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    // Assignments of protocols.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    // Relays of 6to4, and AS112 services.
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Benchmarks.
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // Reserved, with the broadcast address.
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The networks within global unicast (`2000::/3`) of IPv6 that do not name one host of the public Internet.
const SPECIAL_V6: [(Ipv6Addr, u32); 5] = [
    // Assignments of protocols: Teredo, which wraps an address of IPv4, benchmarks, ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4, which wraps an address of IPv4.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // AS112 services.
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Returns whether `address` names one host of the public Internet.
///
/// An address of IPv4 that is mapped into IPv6, or translated by NAT64's well-known prefix, is judged by itself.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|(network, length)| is_within_v4(address, *network, *length)),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(embedded) => is_public(IpAddr::V4(embedded)),
            None => {
                is_within_v6(address, Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)
                    && !SPECIAL_V6.iter().any(|(network, length)| is_within_v6(address, *network, *length))
            }
        },
    }
}

/// Returns whether `address` names no host at all: an unspecified, multicast or broadcast address.
pub(crate) fn names_no_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            is_within_v4(address, Ipv4Addr::UNSPECIFIED, 8) || address.is_multicast() || address.is_broadcast()
        }
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(embedded) => names_no_host(IpAddr::V4(embedded)),
            None => address.is_unspecified() || address.is_multicast(),
        },
    }
}

/// Returns the address of IPv4 that a mapped address (`::ffff:0:0/96`) or one of NAT64 (`64:ff9b::/96`) stands for.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
    address.to_ipv4_mapped().or_else(|| {
        let [.., a, b, c, d] = address.octets();
        is_within_v6(address, nat64, 96).then_some(Ipv4Addr::new(a, b, c, d))
    })
}

fn is_within_v4(address: Ipv4Addr, network: Ipv4Addr, prefix_length: u32) -> bool {
    (address.to_bits() ^ network.to_bits()) >> (32 - prefix_length) == 0
}

fn is_within_v6(address: Ipv6Addr, network: Ipv6Addr, prefix_length: u32) -> bool {
    (address.to_bits() ^ network.to_bits()) >> (128 - prefix_length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_hosts_of_the_public_internet_are_public() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ];
        for text in public {
            assert!(is_public(address(text)), "{text}");
            assert!(!names_no_host(address(text)), "{text}");
        }
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for text in special {
            assert!(!is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn some_addresses_name_no_host() {
        for text in ["0.0.0.0", "0.0.0.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:0.0.0.0"] {
            assert!(names_no_host(address(text)), "{text}");
        }
        for text in ["127.0.0.1", "10.0.0.1", "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1"] {
            assert!(!names_no_host(address(text)), "{text}");
        }
    }
}
