//! The least that would have been enough.

use tidegate_model::{CapabilityKind, Permission};
use url::Url;

use crate::narrowing;
use crate::remedy::permission_for;
use crate::vocabulary::{Action, Resource};

/// What of a request was used, narrowed to it: capabilities that nobody used are left out, an `http` one has the
/// methods that were sent and the path that all requests lie below.
pub fn least(requested: &[Permission], used: &[(Action, Resource)]) -> Vec<Permission> {
    requested.iter().filter_map(|permission| used_part(permission, used)).collect()
}

fn used_part(requested: &Permission, used: &[(Action, Resource)]) -> Option<Permission> {
    let covered: Vec<&(Action, Resource)> = used
        .iter()
        .filter(|(action, resource)| {
            permission_for(*action, resource).is_some_and(|exact| covers(requested, *action, &exact))
        })
        .collect();
    if covered.is_empty() {
        return None;
    }
    if requested.kind != CapabilityKind::Http {
        return Some(requested.clone());
    }
    let sent = || {
        covered.iter().filter_map(|(_, resource)| match resource {
            Resource::Endpoint { method, url } => Some((method, url)),
            _ => None,
        })
    };
    let mut methods: Vec<String> = sent().map(|(method, _)| method.clone()).collect();
    methods.sort();
    methods.dedup();
    if methods.is_empty() {
        return None;
    }
    let target = common_path(sent().map(|(_, url)| url.as_str())).or_else(|| requested.target.clone());
    let narrowed = Permission { target, methods, ..requested.clone() };
    narrowing::common(requested, &narrowed).or_else(|| Some(requested.clone()))
}

fn covers(requested: &Permission, action: Action, exact: &Permission) -> bool {
    match action {
        // A file at a web address is read by a request too, and that is its `files` permission's.
        Action::HttpConnect => false,
        _ => narrowing::common(requested, exact).is_some_and(|common| common.target == exact.target),
    }
}

/// The address that all of these lie below, at a `/`.
fn common_path<'a>(urls: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut parsed = urls.filter_map(|url| Url::parse(url).ok());
    let mut first = parsed.next()?;
    first.set_query(None);
    let mut segments: Vec<String> = first.path_segments()?.map(str::to_owned).collect();
    for url in parsed {
        let other: Vec<&str> = url.path_segments()?.collect();
        let same = segments.iter().zip(&other).take_while(|(mine, theirs)| mine == *theirs).count();
        segments.truncate(same);
    }
    first.set_path(&segments.join("/"));
    Some(first.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_used_is_left_out_and_the_rest_is_narrowed() {
        let files = Permission::new(CapabilityKind::Files, Some("./data".into()));
        let http = Permission::new(CapabilityKind::Http, Some("https://api.example.org".into()));
        let decode = Permission::new(CapabilityKind::Decode, None);
        let requested = [files.clone(), http, decode];
        let get = |url: &str| {
            (Action::HttpRequest, Resource::Endpoint { method: "GET".into(), url: url.to_owned() })
        };
        let used = [
            (Action::FilesRead, Resource::Location("./data/a.csv".into())),
            get("https://api.example.org/v1/users/1"),
            get("https://api.example.org/v1/users?page=2"),
        ];
        let told: Vec<String> = least(&requested, &used).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["files ./data", "http https://api.example.org/v1/users (GET)"]);
        assert_eq!(least(&[files], &[]), []);
    }
}
