use std::collections::BTreeSet;
use std::path::PathBuf;

use tidegate_model::{CapabilityKind, WorkOrder};

use crate::Socket;
use crate::endpoint::Endpoint;
use crate::location::Location;

/// What an order's permissions can be used for, seen from the operating system. It allows nothing: each use is a
/// question to the authorizer. But what is not in here nobody needs, and a worker can be kept from it from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files and folders of this machine, absolute, each with what is below it.
    pub files: BTreeSet<PathBuf>,
    /// Of other machines, over TCP.
    pub ports: BTreeSet<u16>,
    /// Whether something lies in an object store, which is reached as its own settings say.
    pub object_store: bool,
}

impl Reach {
    pub fn of(order: &WorkOrder) -> Self {
        let mut reach = Self::default();
        for permission in &order.permissions {
            let target = permission.target.as_deref().unwrap_or_default();
            match permission.kind {
                CapabilityKind::Files => reach.add_location(order, target),
                // What does not parse, nobody is allowed.
                CapabilityKind::Http => reach.ports.extend(web_port(target)),
                CapabilityKind::Tcp => reach.ports.extend(Socket::parse(target).map(|socket| socket.port())),
                CapabilityKind::Credential => {
                    let place = permission.binding.as_ref().map(|binding| &binding.place);
                    reach.ports.extend(place.and_then(|place| place.token_url()).and_then(web_port));
                }
                CapabilityKind::Decode => {}
            }
        }
        reach
    }

    fn add_location(&mut self, order: &WorkOrder, location: &str) {
        match Location::parse(location) {
            Ok(Location::Local { absolute, segments }) => {
                let start = if absolute { PathBuf::from("/") } else { order.base.clone() };
                self.files.insert(segments.iter().fold(start, |path, part| path.join(part)));
            }
            Ok(Location::Store { .. }) => self.object_store = true,
            Ok(Location::Web(endpoint)) => self.ports.extend(endpoint.port()),
            Err(_) => {}
        }
    }
}

fn web_port(url: &str) -> Option<u16> {
    Endpoint::parse(url).ok()?.port()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reach(permissions: &Value) -> Reach {
        let order = json!({
            "run": "r", "began": { "secs": 0, "nanos": 0 }, "pipeline": "p",
            "component": { "name": "c", "version": "0.1.0", "digest": "sha256:00", "path": "c.wasm" },
            "config": {}, "secrets": {}, "document": null, "permissions": permissions, "source": [],
            "limits": {}, "base": "/home/me/project", "data_dir": "/", "task": "check",
        });
        Reach::of(&serde_json::from_value(order).unwrap())
    }

    #[test]
    fn each_kind_of_permission_reaches_as_far_as_its_target() {
        let binding = |place: &str| json!({ "slot": "token", "secret": "env:TOKEN", "place": place });
        for (permission, files, ports, object_store) in [
            (json!({ "kind": "files", "target": "./data" }), &["/home/me/project/data"][..], &[][..], false),
            (json!({ "kind": "files", "target": "/srv/x.csv" }), &["/srv/x.csv"], &[], false),
            (json!({ "kind": "files", "target": "../data" }), &["/home/me/project/../data"], &[], false),
            (json!({ "kind": "files", "target": "a/../../b" }), &[], &[], false),
            (json!({ "kind": "files", "target": "s3://bucket/x" }), &[], &[], true),
            (json!({ "kind": "files", "target": "https://x.org:8443/a.csv" }), &[], &[8443], false),
            (json!({ "kind": "http", "target": "https://x.org" }), &[], &[443], false),
            (json!({ "kind": "http", "target": "http://x.org/a" }), &[], &[80], false),
            (json!({ "kind": "tcp", "target": "db.x.org:5432" }), &[], &[5432], false),
            (json!({ "kind": "decode" }), &[], &[], false),
            (
                json!({ "kind": "credential", "target": "https://x.org", "binding": binding("bearer") }),
                &[],
                &[],
                false,
            ),
            (
                json!({
                    "kind": "credential", "target": "https://x.org",
                    "binding": binding("oauth2-client https://login.x.org:444/token me"),
                }),
                &[],
                &[444],
                false,
            ),
        ] {
            let expected = Reach {
                files: files.iter().map(PathBuf::from).collect(),
                ports: ports.iter().copied().collect(),
                object_store,
            };
            assert_eq!(reach(&json!([permission])), expected, "{permission}");
        }
    }
}
