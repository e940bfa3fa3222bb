//! What a component asks for, and what it is given.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Code, Fault, Placement, Result, SecretRef};

/// The version of the WIT package that this host speaks, major and minor.
pub const CONTRACT_VERSION: &str = "0.3";

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
    /// Open a connection to a named endpoint, `HOST:PORT`.
    Tcp,
    /// Have the host use a secret at an endpoint, in a way that the component cannot see.
    Credential,
}

impl CapabilityKind {
    pub const ALL: [Self; 5] = [Self::Files, Self::Http, Self::Decode, Self::Tcp, Self::Credential];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Http => "http",
            Self::Decode => "decode",
            Self::Tcp => "tcp",
            Self::Credential => "credential",
        }
    }

    /// The contract's interface that a component of this kind of request imports.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Credential => "credentials",
            other => other.as_str(),
        }
    }

    /// Whether a component that requests this must import its interface. What uses a credential is the
    /// host, so there need be nothing to import.
    pub fn must_be_imported(self) -> bool {
        self != Self::Credential
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
    /// Contract version, major and minor: `0.3`.
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
    /// Of a credential: the name of the slot that the pipeline file binds a secret to.
    pub id: String,
    pub kind: CapabilityKind,
    /// A pattern over the configuration, such as `{config.location}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of a credential: how the host is to use it, a [`Placement`] with the same patterns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
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
    /// `tcp`: `HOST:PORT`. `credential`: the endpoint that may get it, an URL or `HOST:PORT`. `decode`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `http`: the methods that may be used, upper-case; none named: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// `credential`: what is used where, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// A slot of a component, bound to a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The capability's `id`.
    pub slot: String,
    pub secret: SecretRef,
    pub place: Placement,
}

impl Permission {
    /// For what it names, and nothing narrower.
    pub fn new(kind: CapabilityKind, target: Option<String>) -> Self {
        Self { kind, target, methods: Vec::new(), binding: None }
    }
}

/// `http https://api.example.org (GET)`, `credential token (env:TOKEN) as bearer at https://api.example.org`.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(Binding { slot, secret, place }) = &self.binding {
            write!(f, " {slot} ({secret}) as {place} at")?;
        }
        if let Some(target) = &self.target {
            write!(f, " {target}")?;
        }
        match self.methods.as_slice() {
            [] => Ok(()),
            methods => write!(f, " ({})", methods.join(", ")),
        }
    }
}

impl Capability {
    /// Fills the `{config.KEY}` of target and placement from a configuration, and a credential's slot from
    /// the pipeline's `secrets`. `None` when an optional capability's key is absent, or its slot not bound:
    /// nothing is asked for then.
    pub fn resolve(
        &self,
        config: &Value,
        secrets: &BTreeMap<String, SecretRef>,
    ) -> Result<Option<Permission>> {
        let Some(pattern) = &self.target else {
            return Ok(Some(Permission::new(self.kind, None)));
        };
        let Some(target) = self.fill(pattern, config)? else { return Ok(None) };
        let binding = match self.kind {
            CapabilityKind::Credential => match self.bind(config, secrets)? {
                None => return Ok(None),
                bound => bound,
            },
            _ => None,
        };
        Ok(Some(Permission { binding, ..Permission::new(self.kind, Some(target)) }))
    }

    fn bind(&self, config: &Value, secrets: &BTreeMap<String, SecretRef>) -> Result<Option<Binding>> {
        let slot = self.id.clone();
        let Some(secret) = secrets.get(&slot).cloned() else {
            if !self.required {
                return Ok(None);
            }
            let fault = Fault::user(Code::BadPipeline, format!("the connector needs a secret for `{slot}`"));
            return Err(fault.help(format!(
                "add `secrets: {{ {slot}: env:NAME }}` to `extract`; `file:PATH` and `store:NAME` go too"
            )));
        };
        // Filled word by word, so that no value of the configuration can add one.
        let mut words = Vec::new();
        for pattern in self.place.as_deref().unwrap_or_default().split_whitespace() {
            match self.fill(pattern, config)? {
                None => return Ok(None),
                Some(word) if word.is_empty() || word.contains(char::is_whitespace) => {
                    let why = format!("`{word}` cannot be a part of how the secret for `{slot}` is used");
                    return Err(Fault::user(Code::BadConfig, why).help("it must be one word"));
                }
                Some(word) => words.push(word),
            }
        }
        let place = words
            .join(" ")
            .parse()
            .map_err(|why| Fault::internal(Code::BadRequest, format!("capability `{slot}`: {why}")))?;
        Ok(Some(Binding { slot, secret, place }))
    }

    /// A pattern's text with this configuration.
    fn fill(&self, pattern: &str, config: &Value) -> Result<Option<String>> {
        let mut target = String::new();
        let mut rest = pattern;
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
        Ok(Some(target))
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
            place: None,
            required,
            reason: String::new(),
        };
        match capability.resolve(config, &BTreeMap::new()) {
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

    #[test]
    fn a_slot_is_bound_word_by_word() {
        let told = |place: &str, required: bool, config: &Value, bound: bool| {
            let capability = Capability {
                id: "token".into(),
                kind: CapabilityKind::Credential,
                target: Some("{config.url}".into()),
                place: Some(place.into()),
                required,
                reason: String::new(),
            };
            let secret = ("token".to_owned(), "env:TOKEN".parse().unwrap());
            match capability.resolve(config, &bound.then_some(secret).into_iter().collect()) {
                Ok(Some(permission)) => permission.to_string(),
                Ok(None) => "nothing".into(),
                Err(fault) => fault.code.to_string(),
            }
        };
        let config = json!({ "url": "https://x", "user": "alice", "evil": "a https://evil" });
        for (place, required, bound, expected) in [
            ("bearer", true, true, "credential token (env:TOKEN) as bearer at https://x"),
            ("basic {config.user}", true, true, "credential token (env:TOKEN) as basic alice at https://x"),
            ("basic {config.evil}", true, true, "TG0105"),
            ("basic", true, true, "TG0204"),
            ("bearer", true, false, "TG0106"),
            ("bearer", false, false, "nothing"),
            ("basic {config.absent}", false, true, "nothing"),
        ] {
            assert_eq!(told(place, required, &config, bound), expected, "{place} {required} {bound}");
        }
    }
}
