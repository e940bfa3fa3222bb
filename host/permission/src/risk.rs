use std::fmt;

use serde::Serialize;
use tidegate_model::CapabilityKind;

use crate::address::{Address, classify};
use crate::endpoint::Endpoint;
use crate::location::Location;
use crate::socket::Socket;

/// How much a line of a request deserves to be thought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// It stays on this machine and reads what it was pointed at.
    Ordinary,
    /// It reaches the network, or has a secret used: what it reads can leave by it.
    Sensitive,
    /// It reaches inside: this machine's own services, private networks, and addresses of special meaning.
    Privileged,
}

impl Risk {
    /// Of a kind and its target: a place, or a pattern such as `{config.host}:5432` that a configuration will
    /// fill. What a pattern hides counts as the open network, since no configuration is there to tell.
    pub fn of(kind: CapabilityKind, target: Option<&str>) -> Self {
        let target = target.unwrap_or_default();
        match kind {
            CapabilityKind::Decode => Self::Ordinary,
            CapabilityKind::Files => match Location::parse(target) {
                Ok(Location::Web(endpoint)) => of_endpoint(&endpoint),
                // All of the disk.
                Ok(Location::Local { absolute: true, segments }) if segments.is_empty() => Self::Privileged,
                // What lies in the pipeline's own folder. `{config.location}` reads as such a path: what people point
                // it at is known when a configuration fills it.
                Ok(Location::Local { absolute: false, segments })
                    if segments.first().is_none_or(|first| first != "..") =>
                {
                    Self::Ordinary
                }
                _ => Self::Sensitive,
            },
            CapabilityKind::Http => {
                Endpoint::parse(target).map_or(Self::Sensitive, |endpoint| of_endpoint(&endpoint))
            }
            CapabilityKind::Tcp => of_socket(target),
            CapabilityKind::Credential => match Endpoint::parse(target) {
                Ok(endpoint) => of_endpoint(&endpoint),
                Err(_) => of_socket(target),
            },
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Sensitive => "sensitive",
            Self::Privileged => "privileged",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn of_endpoint(endpoint: &Endpoint) -> Risk {
    of_place(endpoint.is_localhost(), endpoint.literal())
}

fn of_socket(target: &str) -> Risk {
    Socket::parse(target).map_or(Risk::Sensitive, |socket| of_place(socket.is_localhost(), socket.literal()))
}

fn of_place(localhost: bool, literal: Option<std::net::IpAddr>) -> Risk {
    match literal.map(classify) {
        _ if localhost => Risk::Privileged,
        Some(Address::Special(_)) => Risk::Privileged,
        None | Some(Address::Public) => Risk::Sensitive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_tier() {
        for (kind, target, expected) in [
            (CapabilityKind::Decode, "", "ordinary"),
            (CapabilityKind::Files, "./data", "ordinary"),
            (CapabilityKind::Files, "/srv/data", "sensitive"),
            (CapabilityKind::Files, "../data", "sensitive"),
            (CapabilityKind::Files, ".", "ordinary"),
            (CapabilityKind::Files, "/", "privileged"),
            (CapabilityKind::Files, "{config.location}", "ordinary"),
            (CapabilityKind::Files, "s3://bucket/x", "sensitive"),
            (CapabilityKind::Files, "https://example.org/a.csv", "sensitive"),
            (CapabilityKind::Files, "https://{config.host}/a.csv", "sensitive"),
            (CapabilityKind::Files, "http://10.0.0.1/a.csv", "privileged"),
            (CapabilityKind::Http, "https://api.example.org", "sensitive"),
            (CapabilityKind::Http, "{config.base_url}", "sensitive"),
            (CapabilityKind::Http, "http://localhost:8080", "privileged"),
            (CapabilityKind::Http, "http://169.254.169.254/", "privileged"),
            (CapabilityKind::Tcp, "{config.host}:{config.port}", "sensitive"),
            (CapabilityKind::Tcp, "db.example.org:5432", "sensitive"),
            (CapabilityKind::Tcp, "192.168.1.5:5432", "privileged"),
            (CapabilityKind::Tcp, "[fd00::1]:5432", "privileged"),
            (CapabilityKind::Credential, "https://api.example.org", "sensitive"),
            (CapabilityKind::Credential, "{config.host}:5432", "sensitive"),
            (CapabilityKind::Credential, "127.0.0.1:5432", "privileged"),
        ] {
            assert_eq!(Risk::of(kind, Some(target)).as_str(), expected, "{kind} {target}");
        }
        assert!(Risk::Ordinary < Risk::Sensitive && Risk::Sensitive < Risk::Privileged);
    }
}
