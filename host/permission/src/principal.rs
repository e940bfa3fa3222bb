use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tidegate_infrastructure::user_name;
use tidegate_model::{ComponentRef, PipelineName, short_digest};

/// Who asks. Only this crate makes one, so that nobody can claim to be somebody else by a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<Identity>);

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    User(String),
    /// A service account: a name that no person answers to.
    Account(String),
    Service(Module),
    /// A component at work for one pipeline.
    Plugin {
        name: String,
        version: String,
        digest: String,
        pipeline: PipelineName,
        /// The identifier of the key that signed it, of a publisher who is trusted here.
        publisher: Option<String>,
    },
}

/// A module of the platform, when it acts in its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Module {
    Extraction,
    Ingestion,
    Quality,
    Orchestration,
    Monitoring,
}

impl Principal {
    /// Whoever runs this command, by the operating system's word.
    pub fn operator() -> Self {
        Self(Arc::new(Identity::User(user_name())))
    }

    /// A service account, of those that somebody added.
    pub(crate) fn account(name: &str) -> Self {
        Self(Arc::new(Identity::Account(name.to_owned())))
    }

    pub fn service(module: Module) -> Self {
        Self(Arc::new(Identity::Service(module)))
    }

    pub fn plugin(component: &ComponentRef, pipeline: &PipelineName) -> Self {
        Self(Arc::new(Identity::Plugin {
            name: component.name.clone(),
            version: component.version.to_string(),
            digest: component.digest.clone(),
            pipeline: pipeline.clone(),
            publisher: component.publisher.as_ref().map(|publisher| publisher.key.clone()),
        }))
    }

    /// The name of a person, or of an account.
    pub fn user(&self) -> Option<&str> {
        match self.identity() {
            Identity::User(name) | Identity::Account(name) => Some(name),
            Identity::Service(_) | Identity::Plugin { .. } => None,
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.0
    }
}

impl Module {
    /// As in policies: `Module::"ingestion"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Extraction => "extraction",
            Self::Ingestion => "ingestion",
            Self::Quality => "quality",
            Self::Orchestration => "orchestration",
            Self::Monitoring => "monitoring",
        }
    }
}

/// `user:alice`, `account:nightly`, `service:ingestion`, `plugin:files@0.1.0 (sha256:12ab34cd56ef)`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.identity() {
            Identity::User(name) => write!(f, "user:{name}"),
            Identity::Account(name) => write!(f, "account:{name}"),
            Identity::Service(module) => write!(f, "service:{}", module.as_str()),
            Identity::Plugin { name, version, digest, .. } => {
                write!(f, "plugin:{name}@{version} ({})", short_digest(digest))
            }
        }
    }
}

impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
