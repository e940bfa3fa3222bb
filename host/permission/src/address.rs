//! Which addresses are the open internet, and which are not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is, by the special-purpose registries of IANA and RFC 6890.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// Of the open internet.
    Public,
    /// Anything else, and what: a connector that reaches it is inside our house, or is not where it says it
    /// is.
    Special(&'static str),
}

pub(crate) const LOOPBACK: &str = "loopback";
pub(crate) const PRIVATE: &str = "private network";

/// Looks at the address itself. An address that carries another one (IPv4-mapped, 6to4, NAT64 and such) is
/// special whatever it carries: no name of the open internet resolves to one.
pub(crate) fn classify(ip: IpAddr) -> Address {
    let special = match ip {
        IpAddr::V4(ip) => special_v4(ip),
        IpAddr::V6(ip) => special_v6(ip),
    };
    special.map_or(Address::Public, Address::Special)
}

/// First match wins: metadata services before the networks they are in.
fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    Some(match ip.octets() {
        [0, ..] => "unspecified",
        [127, ..] => LOOPBACK,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => PRIVATE,
        [169, 254, 169, 254] | [169, 254, 170, 2] | [100, 100, 100, 200] | [168, 63, 129, 16] => {
            "cloud metadata"
        }
        [169, 254, ..] => "link-local",
        [100, 64..=127, ..] => "carrier-grade NAT",
        [192, 0, 0, _] => "protocol assignments",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "documentation",
        [192, 88, 99, _] => "6to4 relay",
        [198, 18..=19, ..] => "benchmarking",
        [224..=239, ..] => "multicast",
        [255, 255, 255, 255] => "broadcast",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    Some(match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => LOOPBACK,
        [0, 0, 0, 0, 0, 0xffff, ..] => "IPv4-mapped",
        [0, 0, 0, 0, 0xffff, 0, ..] => "IPv4-translated",
        [0, 0, 0, 0, 0, 0, ..] => "IPv4-compatible",
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => "NAT64",
        [0x100, 0, 0, 0..=1, ..] => "discard-only",
        [0x2001, 0, ..] => "Teredo",
        [0x2001, 2, 0, ..] => "benchmarking",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "documentation",
        [0x2001, 0..=0x1ff, ..] => "protocol assignments",
        [0x2002, ..] => "6to4",
        [0x5f00, ..] => "segment routing",
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => "cloud metadata",
        [0xfc00..=0xfdff, ..] => PRIVATE,
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "site-local",
        [0xff00..=0xffff, ..] => "multicast",
        [0x2000..=0x3fff, ..] => return None,
        _ => "reserved",
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Special(what) => what,
        })
    }
}

#[cfg(test)]
mod tests {
    use url::{Host, Url};

    use super::*;

    fn class(host: &str) -> &'static str {
        // As a connector would write it: a URL's parser knows more notations than an address's.
        let url = Url::parse(&format!("http://{host}/")).unwrap();
        let ip = match url.host().unwrap() {
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
            Host::Domain(name) => panic!("{name} is not an address"),
        };
        match classify(ip) {
            Address::Public => "public",
            Address::Special(what) => what,
        }
    }

    #[test]
    fn every_notation_of_every_special_address_is_seen_through() {
        for (host, expected) in [
            ("8.8.8.8", "public"),
            ("1.1.1.1", "public"),
            ("172.15.255.255", "public"),
            ("172.32.0.0", "public"),
            ("192.167.1.1", "public"),
            ("100.63.255.255", "public"),
            ("100.128.0.0", "public"),
            ("223.255.255.255", "public"),
            ("[2606:4700:4700::1111]", "public"),
            ("[2a00:1450:4001:830::200e]", "public"),
            ("127.0.0.1", "loopback"),
            ("127.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("2130706433", "loopback"),
            ("0x7f000001", "loopback"),
            ("0x7f.1", "loopback"),
            ("0177.0.0.1", "loopback"),
            ("017700000001", "loopback"),
            ("127.0.0.1.", "loopback"),
            ("[::1]", "loopback"),
            ("[0:0:0:0:0:0:0:1]", "loopback"),
            ("0", "unspecified"),
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("[::]", "unspecified"),
            ("10.0.0.1", "private network"),
            ("10.255.255.255", "private network"),
            ("012.0.0.1", "private network"),
            ("172.16.0.1", "private network"),
            ("172.31.255.255", "private network"),
            ("192.168.0.1", "private network"),
            ("0xc0a80001", "private network"),
            ("[fc00::1]", "private network"),
            ("[fdff:ffff::1]", "private network"),
            ("169.254.169.254", "cloud metadata"),
            ("0xa9fea9fe", "cloud metadata"),
            ("2852039166", "cloud metadata"),
            ("169.254.170.2", "cloud metadata"),
            ("100.100.100.200", "cloud metadata"),
            ("168.63.129.16", "cloud metadata"),
            ("[fd00:ec2::254]", "cloud metadata"),
            ("169.254.0.1", "link-local"),
            ("[fe80::1]", "link-local"),
            ("[febf::1]", "link-local"),
            ("[fec0::1]", "site-local"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("100.127.255.255", "carrier-grade NAT"),
            ("[::ffff:127.0.0.1]", "IPv4-mapped"),
            ("[::ffff:8.8.8.8]", "IPv4-mapped"),
            ("[::ffff:a9fe:a9fe]", "IPv4-mapped"),
            ("[::ffff:0:127.0.0.1]", "IPv4-translated"),
            ("[::127.0.0.1]", "IPv4-compatible"),
            ("[::8.8.8.8]", "IPv4-compatible"),
            ("[2002:7f00:1::]", "6to4"),
            ("[2002:808:808::1]", "6to4"),
            ("192.88.99.1", "6to4 relay"),
            ("[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "Teredo"),
            ("[64:ff9b::127.0.0.1]", "NAT64"),
            ("[64:ff9b::8.8.8.8]", "NAT64"),
            ("[64:ff9b:1::1]", "NAT64"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("[ff02::1]", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("240.0.0.1", "reserved"),
            ("[4000::1]", "reserved"),
            ("192.0.2.1", "documentation"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("[2001:db8::1]", "documentation"),
            ("[3fff::1]", "documentation"),
            ("198.18.0.1", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("[2001:2::1]", "benchmarking"),
            ("192.0.0.8", "protocol assignments"),
            ("[2001:10::1]", "protocol assignments"),
            ("[100::1]", "discard-only"),
            ("[5f00::1]", "segment routing"),
        ] {
            assert_eq!(class(host), expected, "{host}");
        }
    }
}
