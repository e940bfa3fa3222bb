use std::fmt;

use serde::Serialize;
use tidegate_model::{Capability, CapabilityKind, Manifest, tame};

/// How the request of a new version of a component differs from an old one's, in one respect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The capability's.
    pub id: String,
    pub kind: CapabilityKind,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum What {
    Added { target: Option<String>, required: bool },
    Removed,
    BecameRequired,
    BecameOptional,
    TargetChanged { from: Option<String>, to: Option<String> },
    PlaceChanged { from: Option<String>, to: Option<String> },
}

impl Change {
    /// Whether somebody has to think about it: the new version may reach something that the old one did not,
    /// or will not work without what it did without before.
    pub fn asks_more(&self) -> bool {
        !matches!(self.what, What::Removed | What::BecameOptional)
    }
}

/// What differs, by the order of the new request; what is gone comes last. Reasons are not compared: they are
/// words. A capability of the same id and another kind is another capability.
pub fn request_difference(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let twin = |of: &Capability, among: &Manifest| {
        among.capabilities.iter().find(|other| other.id == of.id && other.kind == of.kind).cloned()
    };
    let mut changes = Vec::new();
    for capability in &new.capabilities {
        let mut note = |what| changes.push(Change { id: capability.id.clone(), kind: capability.kind, what });
        let Some(before) = twin(capability, old) else {
            note(What::Added { target: capability.target.clone(), required: capability.required });
            continue;
        };
        match (before.required, capability.required) {
            (false, true) => note(What::BecameRequired),
            (true, false) => note(What::BecameOptional),
            _ => {}
        }
        if before.target != capability.target {
            note(What::TargetChanged { from: before.target, to: capability.target.clone() });
        }
        if before.place != capability.place {
            note(What::PlaceChanged { from: before.place, to: capability.place.clone() });
        }
    }
    for gone in old.capabilities.iter().filter(|capability| twin(capability, new).is_none()) {
        changes.push(Change { id: gone.id.clone(), kind: gone.kind, what: What::Removed });
    }
    changes
}

/// A line as in a listing of differences: `+ http https://api.example.org (required)`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.asks_more() { '+' } else { '-' };
        let (id, kind) = (tame(&self.id), self.kind);
        let said = |text: &Option<String>| text.as_deref().map_or_else(|| "nothing".to_owned(), tame);
        match &self.what {
            What::Added { target, required } => {
                let need = if *required { "required" } else { "optional" };
                let target = target.as_deref().map(|target| format!(" {}", tame(target))).unwrap_or_default();
                write!(f, "{sign} {kind}{target} (`{id}`, {need}) is new")
            }
            What::Removed => write!(f, "{sign} {kind} (`{id}`) is gone"),
            What::BecameRequired => write!(f, "{sign} {kind} (`{id}`) was optional, and is required now"),
            What::BecameOptional => write!(f, "{sign} {kind} (`{id}`) was required, and is optional now"),
            What::TargetChanged { from, to } => {
                write!(f, "{sign} {kind} (`{id}`) is for {} now, not {}", said(to), said(from))
            }
            What::PlaceChanged { from, to } => {
                write!(f, "{sign} {kind} (`{id}`) is used as {} now, not {}", said(to), said(from))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(capabilities: &[Value]) -> Manifest {
        serde_json::from_value(json!({
            "contract": "0.3", "name": "pages", "version": "1.0.0", "world": "extractor",
            "capabilities": capabilities,
        }))
        .unwrap()
    }

    fn line(id: &str, kind: &str, target: Option<&str>, place: Option<&str>, required: bool) -> Value {
        let mut line = json!({ "id": id, "kind": kind, "required": required, "reason": "reads" });
        for (key, value) in [("target", target), ("place", place)] {
            if let Some(value) = value {
                line[key] = json!(value);
            }
        }
        line
    }

    #[test]
    fn each_way_to_differ_is_told() {
        let api = |target, required| line("api", "http", Some(target), None, required);
        let token = |place| line("token", "credential", Some("https://a"), Some(place), true);
        let decode = line("kernels", "decode", None, None, false);
        for (old, new, expected, more) in [
            (vec![api("https://a", true)], vec![api("https://a", true)], &[][..], false),
            (
                vec![],
                vec![api("https://a", true), decode.clone()],
                &["+ http https://a (`api`, required) is new", "+ decode (`kernels`, optional) is new"],
                true,
            ),
            (vec![decode.clone()], vec![], &["- decode (`kernels`) is gone"], false),
            (
                vec![api("https://a", false)],
                vec![api("https://a", true)],
                &["+ http (`api`) was optional, and is required now"],
                true,
            ),
            (
                vec![api("https://a", true)],
                vec![api("https://a", false)],
                &["- http (`api`) was required, and is optional now"],
                false,
            ),
            (
                vec![api("https://a", true)],
                vec![api("{config.url}", true)],
                &["+ http (`api`) is for {config.url} now, not https://a"],
                true,
            ),
            (
                vec![token("bearer")],
                vec![token("query key")],
                &["+ credential (`token`) is used as query key now, not bearer"],
                true,
            ),
            (
                vec![line("x", "files", Some("./a"), None, true)],
                vec![line("x", "http", Some("https://a"), None, true)],
                &["+ http https://a (`x`, required) is new", "- files (`x`) is gone"],
                true,
            ),
        ] {
            let changes = request_difference(&manifest(&old), &manifest(&new));
            let told: Vec<String> = changes.iter().map(Change::to_string).collect();
            assert_eq!(told, expected);
            assert_eq!(changes.iter().any(Change::asks_more), more, "{told:?}");
        }
    }

    #[test]
    fn other_reasons_are_no_difference() {
        let mut other = line("api", "http", Some("https://a"), None, true);
        other["reason"] = json!("sends");
        let one = line("api", "http", Some("https://a"), None, true);
        assert_eq!(request_difference(&manifest(&[one]), &manifest(&[other])), []);
    }

    #[test]
    fn programs_get_the_same_as_people() {
        let new = manifest(&[line("api", "http", Some("https://a"), None, true)]);
        assert_eq!(
            serde_json::to_value(request_difference(&manifest(&[]), &new)).unwrap(),
            json!([{ "id": "api", "kind": "http", "change": "added", "target": "https://a", "required": true }])
        );
    }
}
