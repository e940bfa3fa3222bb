use std::fmt;
use std::net::IpAddr;

use url::Host;

/// `HOST:PORT`: a name as the URL standard reads it, or an address in any of its notations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    host: Host<String>,
    port: u16,
}

impl Socket {
    /// `None` when it is not one, or the port is 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok()).flatten()?;
        Self::of(host, port)
    }

    fn of(host: &str, port: u16) -> Option<Self> {
        // An address of IPv6 stands in brackets, or nobody knows where it ends.
        Some(Self { host: Host::parse(host).ok()?, port }).filter(|socket| socket.port > 0)
    }

    pub(crate) fn is(&self, host: &str, port: u16) -> bool {
        Self::of(host, port).as_ref() == Some(self)
    }

    /// As the URL standard reads it: in lower case, and an address in any notation is an address.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, where the host is written as one.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        match self.host {
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
            Host::Domain(_) => None,
        }
    }

    pub(crate) fn is_localhost(&self) -> bool {
        self.host == Host::Domain("localhost".to_owned())
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn an_endpoint_is_read_as_the_dialler_reads_it() {
        for (text, host, port, same) in [
            ("db.example.org:5432", "DB.example.org", 5432, true),
            ("db.example.org:5432", "db.example.org", 5433, false),
            ("db.example.org:5432", "db.example.org.evil.net", 5432, false),
            ("127.0.0.1:5432", "127.1", 5432, true),
            ("127.0.0.1:5432", "0x7f000001", 5432, true),
            ("[::1]:5432", "[0:0::1]", 5432, true),
        ] {
            assert_eq!(Socket::parse(text).unwrap().is(host, port), same, "{text} {host}");
        }
        for bad in ["", "db", "db:", "db:0", "db:65536", "db:+1", "db: 1", ":1", "a b:1", "::1:5432", "a@b:1"]
        {
            assert!(Socket::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Socket::parse("127.1:1").unwrap().literal(), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(Socket::parse("[::1]:1").unwrap().literal(), Some(Ipv6Addr::LOCALHOST.into()));
    }
}
