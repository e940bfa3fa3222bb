//! What a component asks for, and what it is given.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Code, Fault, Result};

/// The version of the WIT package that this host speaks, major and minor.
pub const CONTRACT_VERSION: &str = "0.2";

/// Kinds of things a component can be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapabilityKind {
    /// Read files below a location: a folder, an object store, an HTTPS address.
    Files,
    /// Send HTTP requests to an endpoint.
    Http,
    /// Use the host's native decoders.
    Decode,
}

impl CapabilityKind {
    pub const ALL: [Self; 3] = [Self::Files, Self::Http, Self::Decode];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Http => "http",
            Self::Decode => "decode",
        }
    }

    /// Whether a permission of this kind names what it is for.
    pub fn has_target(self) -> bool {
        !matches!(self, Self::Decode)
    }
}

impl fmt::Display for CapabilityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    Extractor,
    QualityCheck,
}

/// The capability request: the custom section `tidegate:request`, written by the SDK's build, readable
/// without running anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Contract version, major and minor: `0.1`.
    pub contract: String,
    pub name: String,
    pub version: semver::Version,
    pub world: World,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub publisher: String,
    #[serde(default)]
    pub license: String,
    #[serde(default)]
    pub capabilities: Vec<Capability>,
}

/// One line of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    pub id: String,
    pub kind: CapabilityKind,
    /// A pattern over the configuration, such as `{config.location}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default)]
    pub required: bool,
    /// The author's words to whoever decides.
    pub reason: String,
}

/// What a request resolves to for a given pipeline; what a grant allows; what a worker may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    pub kind: CapabilityKind,
    /// `files`: a location as the pipeline writes it. `http`: an URL; what lies below its path is meant.
    /// `decode`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "{} {target}", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

impl Capability {
    /// Fills the target's `{config.KEY}` from a configuration. `None` when an optional capability's key is
    /// absent: nothing is asked for then.
    pub fn resolve(&self, config: &Value) -> Result<Option<Permission>> {
        let Some(pattern) = &self.target else {
            return Ok(Some(Permission { kind: self.kind, target: None }));
        };
        let mut target = String::new();
        let mut rest = pattern.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (path, after) = after.split_once('}').ok_or_else(|| self.bad_pattern(pattern))?;
            let path = path.strip_prefix("config.").ok_or_else(|| self.bad_pattern(pattern))?;
            target.push_str(before);
            match path.split('.').try_fold(config, |value, key| value.get(key)) {
                Some(Value::String(text)) => target.push_str(text),
                Some(Value::Number(number)) => target.push_str(&number.to_string()),
                None | Some(Value::Null) if !self.required => return Ok(None),
                _ => {
                    return Err(Fault::user(
                        Code::BadConfig,
                        format!("the connector needs `{path}` in its configuration, as text or a number, to say what it wants to reach"),
                    )
                    .help(format!("add `{path}:` to the configuration")));
                }
            }
            rest = after;
        }
        target.push_str(rest);
        Ok(Some(Permission { kind: self.kind, target: Some(target) }))
    }

    fn bad_pattern(&self, pattern: &str) -> Fault {
        Fault::internal(
            Code::BadRequest,
            format!(
                "capability `{}`: `{pattern}` is not a pattern; only {{config.KEY}} can stand in braces",
                self.id
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolve(pattern: &str, required: bool, config: &Value) -> String {
        let capability = Capability {
            id: "source".into(),
            kind: CapabilityKind::Http,
            target: Some(pattern.into()),
            required,
            reason: String::new(),
        };
        match capability.resolve(config) {
            Ok(Some(permission)) => permission.to_string(),
            Ok(None) => "nothing".into(),
            Err(fault) => fault.code.to_string(),
        }
    }

    #[test]
    fn targets_are_filled_from_the_configuration() {
        let config = json!({ "host": "db", "port": 5432, "nested": { "url": "https://x" }, "list": [] });
        for (pattern, required, expected) in [
            ("{config.host}:{config.port}", true, "http db:5432"),
            ("{config.nested.url}", true, "http https://x"),
            ("https://fixed", true, "http https://fixed"),
            ("{config.absent}", false, "nothing"),
            ("{config.absent}", true, "TG0105"),
            ("{config.list}", true, "TG0105"),
            ("{env.HOME}", true, "TG0204"),
            ("{config.host", true, "TG0204"),
        ] {
            assert_eq!(resolve(pattern, required, &config), expected, "{pattern}");
        }
    }
}
