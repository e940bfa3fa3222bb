//! What is both requested and granted. A grant can narrow a request, never widen it.

use tidegate_model::{CapabilityKind, Permission};

use crate::endpoint::Endpoint;
use crate::location::Location;
use crate::socket::Socket;

/// The part of a request that a grant allows: all of it, less of it, or nothing.
pub(crate) fn common(requested: &Permission, granted: &Permission) -> Option<Permission> {
    if requested.kind != granted.kind || requested.binding != granted.binding {
        return None;
    }
    let methods = match (requested.methods.as_slice(), granted.methods.as_slice()) {
        (all, []) | ([], all) => all.to_vec(),
        (asked, allowed) => {
            let both: Vec<_> = asked.iter().filter(|method| allowed.contains(method)).cloned().collect();
            if both.is_empty() {
                return None;
            }
            both
        }
    };
    let target = match (&requested.target, &granted.target) {
        (None, None) => None,
        (Some(asked), Some(allowed)) => Some(narrower(requested.kind, asked, allowed)?.to_owned()),
        _ => return None,
    };
    Some(Permission { target, methods, ..requested.clone() })
}

/// The one of the two targets that the other covers.
fn narrower<'a>(kind: CapabilityKind, asked: &'a str, allowed: &'a str) -> Option<&'a str> {
    fn of<'a, T>(
        (asked, allowed): (&'a str, &'a str),
        (left, right): (T, T),
        covers: impl Fn(&T, &T) -> bool,
    ) -> Option<&'a str> {
        if covers(&right, &left) {
            return Some(asked);
        }
        covers(&left, &right).then_some(allowed)
    }
    let texts = (asked, allowed);
    let urls = || {
        let both = (Endpoint::parse(asked).ok()?, Endpoint::parse(allowed).ok()?);
        of(texts, both, Endpoint::covers)
    };
    let sockets = || {
        let both = (Socket::parse(asked)?, Socket::parse(allowed)?);
        of(texts, both, Socket::eq)
    };
    match kind {
        CapabilityKind::Decode => None,
        CapabilityKind::Files => {
            let both = (Location::parse(asked).ok()?, Location::parse(allowed).ok()?);
            of(texts, both, Location::covers)
        }
        CapabilityKind::Http => urls(),
        CapabilityKind::Tcp => sockets(),
        CapabilityKind::Credential => urls().or_else(sockets),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Binding;

    use super::*;

    fn permission(text: &str) -> Permission {
        let mut words = text.split(' ');
        let kind = words.next().unwrap();
        let kind = CapabilityKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap();
        let target = words.next().map(str::to_owned);
        Permission { methods: words.map(str::to_owned).collect(), ..Permission::new(kind, target) }
    }

    #[test]
    fn a_grant_narrows_and_never_widens() {
        for (requested, granted, expected) in [
            ("files ./data", "files ./data", "files ./data"),
            ("files ./data", "files ./data/2013", "files ./data/2013"),
            ("files ./data", "files .", "files ./data"),
            ("files ./data", "files ./other", ""),
            ("files ./data", "http http://x", ""),
            ("http https://x.org", "http https://x.org/v1", "http https://x.org/v1"),
            ("http https://x.org/v1", "http https://x.org", "http https://x.org/v1"),
            ("http https://x.org", "http https://x.org GET", "http https://x.org (GET)"),
            ("http https://x.org GET POST", "http https://x.org GET PUT", "http https://x.org (GET)"),
            ("http https://x.org GET", "http https://x.org POST", ""),
            ("http https://x.org", "http http://x.org", ""),
            ("tcp db:5432", "tcp DB:5432", "tcp db:5432"),
            ("tcp db:5432", "tcp db:5433", ""),
            ("decode", "decode", "decode"),
        ] {
            let common = common(&permission(requested), &permission(granted));
            let told = common.map(|permission| permission.to_string()).unwrap_or_default();
            assert_eq!(told, expected, "{requested} and {granted}");
        }
    }

    #[test]
    fn another_secret_or_another_use_of_it_is_another_grant() {
        let bound = |secret: &str, place: &str| Permission {
            binding: Some(Binding {
                slot: "token".into(),
                secret: secret.parse().unwrap(),
                place: place.parse().unwrap(),
            }),
            ..permission("credential https://x.org")
        };
        assert_eq!(
            common(&bound("env:A", "bearer"), &bound("env:A", "bearer")),
            Some(bound("env:A", "bearer"))
        );
        assert_eq!(common(&bound("env:A", "bearer"), &bound("env:B", "bearer")), None);
        assert_eq!(common(&bound("env:A", "bearer"), &bound("env:A", "query key")), None);
    }
}
