//! `HOST:PORT`, understood once: what is decided is what is dialled, and what the certificate must be for.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::ServerName;
use tidegate_permission::{Resource as Asset, Socket};
use url::Host;

use crate::refusal::{Asked, Refusal};

/// Bytes of a name with its port; names of the DNS have at most 253.
const MAX_TEXT: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint(Socket);

impl Endpoint {
    pub(super) fn parse(text: &str) -> Asked<Self> {
        if text.len() > MAX_TEXT {
            return Err(Refusal::limit(format!("an endpoint of {} bytes is longer than 512", text.len())));
        }
        Socket::parse(text).map(Self).ok_or_else(|| {
            let text = text.escape_debug();
            Refusal::invalid(format!(
                "`{text}` is not an endpoint: write `HOST:PORT`, such as `db.example.org:5432`"
            ))
        })
    }

    /// What is asked for before anything is resolved.
    pub(super) fn socket(&self) -> Asset {
        Asset::Socket { host: self.0.host().to_string(), port: self.0.port() }
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port()
    }

    /// The address, or the name that has to be resolved.
    pub(super) fn address(&self) -> Result<IpAddr, &str> {
        match self.0.host() {
            Host::Ipv4(ip) => Ok((*ip).into()),
            Host::Ipv6(ip) => Ok((*ip).into()),
            Host::Domain(name) => Err(name),
        }
    }

    pub(super) fn server_name(&self) -> Asked<ServerName<'static>> {
        match self.address() {
            Ok(ip) => Ok(ServerName::IpAddress(ip.into())),
            Err(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| Refusal::invalid(format!("no certificate can be for `{name}`"))),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_read_in_one_way() {
        for (text, read) in [
            ("DB.Example.org:5432", "db.example.org:5432"),
            ("127.1:5432", "127.0.0.1:5432"),
            ("0x7f000001:1", "127.0.0.1:1"),
            ("[0:0::1]:65535", "[::1]:65535"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), read, "{text}");
        }
        let long = format!("{}:1", "x".repeat(MAX_TEXT));
        for bad in
            ["", "db", "db:", "db:0", "db:+1", "db:65536", "::1:5432", "a b:1", "a@b:1", "tcp://a:1", &long]
        {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
