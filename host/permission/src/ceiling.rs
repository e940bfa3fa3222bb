use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidegate_model::{CapabilityKind, Permission};

use crate::address::{Address, LOOPBACK, PRIVATE, classify};
use crate::endpoint::Endpoint;
use crate::location::Location;

/// What can be granted at all: the organisation's word, above everybody's grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceiling {
    pub kinds: BTreeSet<CapabilityKind>,
    /// Files of this machine, besides those of object stores and web addresses.
    pub local_files: bool,
    /// Addresses of this machine, written as an address or as `localhost`.
    pub loopback: bool,
    /// Addresses of private networks (RFC 1918, RFC 4193), written as an address.
    pub private_networks: bool,
}

impl Ceiling {
    /// What a developer's own machine needs: every kind, and services that run on this machine.
    pub fn developer() -> Self {
        Self { kinds: CapabilityKind::ALL.into(), local_files: true, loopback: true, private_networks: false }
    }

    /// Why this cannot be granted; `None` when it can. What is not understood cannot.
    pub(crate) fn refuses(&self, permission: &Permission) -> Option<String> {
        let kind = permission.kind;
        if !self.kinds.contains(&kind) {
            return Some(format!("`{kind}` is not allowed here"));
        }
        let target = permission.target.as_deref();
        let endpoint = match (kind, target) {
            (CapabilityKind::Decode, None) => return None,
            (CapabilityKind::Decode, Some(_)) => return Some("`decode` has no target".into()),
            (_, None) => return Some(format!("`{kind}` needs a target")),
            (CapabilityKind::Http, Some(url)) => Endpoint::parse(url),
            (CapabilityKind::Files, Some(text)) => match Location::parse(text) {
                Ok(Location::Web(endpoint)) => Ok(endpoint),
                Ok(Location::Local { .. }) if !self.local_files => {
                    return Some("files of this machine are not allowed here".into());
                }
                Ok(_) => return None,
                Err(why) => Err(why),
            },
        };
        let shown = target.unwrap_or_default();
        match endpoint {
            Err(why) => Some(format!("`{shown}` cannot be granted: {why}")),
            Ok(endpoint) if endpoint.is_localhost() => {
                (!self.loopback).then(|| "addresses of this machine (loopback) are not allowed here".into())
            }
            Ok(endpoint) => match endpoint.literal().map(classify) {
                None | Some(Address::Public) => None,
                Some(Address::Special(what)) => {
                    (!self.allows_special(what)).then(|| format!("{what} addresses are not allowed here"))
                }
            },
        }
    }

    fn allows_special(&self, what: &str) -> bool {
        (what == LOOPBACK && self.loopback) || (what == PRIVATE && self.private_networks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_granted() {
        let developer = Ceiling::developer();
        let strict = Ceiling { local_files: false, loopback: false, ..Ceiling::developer() };
        let private = Ceiling { private_networks: true, ..strict.clone() };
        let nothing = Ceiling { kinds: BTreeSet::new(), ..Ceiling::developer() };
        for (kind, target, ceiling, expected) in [
            ("files", "./data", &developer, ""),
            ("files", "./data", &strict, "files of this machine are not allowed here"),
            ("files", "./data", &nothing, "`files` is not allowed here"),
            ("files", "s3://bucket/x", &strict, ""),
            ("files", "https://x.org/a.csv", &strict, ""),
            (
                "files",
                "http://localhost/a.csv",
                &strict,
                "addresses of this machine (loopback) are not allowed here",
            ),
            (
                "files",
                "a/../b",
                &developer,
                "`a/../b` cannot be granted: it climbs (`..`) after it went down",
            ),
            ("http", "http://localhost:8080", &developer, ""),
            ("http", "http://127.1:8080", &developer, ""),
            ("http", "http://[::1]/", &strict, "loopback addresses are not allowed here"),
            ("http", "http://10.0.0.1/", &developer, "private network addresses are not allowed here"),
            ("http", "http://10.0.0.1/", &private, ""),
            ("http", "http://169.254.169.254/", &private, "cloud metadata addresses are not allowed here"),
            ("http", "http://[::ffff:127.0.0.1]/", &developer, "IPv4-mapped addresses are not allowed here"),
            (
                "http",
                "ftp://x.org",
                &developer,
                "`ftp://x.org` cannot be granted: its scheme is neither http nor https",
            ),
            ("decode", "", &strict, ""),
            ("decode", "x", &strict, "`decode` has no target"),
            ("files", "", &developer, "`files` needs a target"),
        ] {
            let kind = CapabilityKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap();
            let target = (!target.is_empty()).then(|| target.to_owned());
            let permission = Permission { kind, target };
            assert_eq!(ceiling.refuses(&permission).unwrap_or_default(), expected, "{permission}");
        }
    }
}
