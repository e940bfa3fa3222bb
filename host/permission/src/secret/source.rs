//! Places that secrets are kept in.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_model::{Code, Fault, Result, SecretRef};

use super::{Environment, Secret, SecretFiles};
use crate::principal::Principal;

/// Where secrets can be read. Narrow, so that a server which keeps secrets can be one, too: it may take its
/// time to answer.
#[async_trait]
pub trait SecretSource: Send + Sync + fmt::Debug {
    /// The secret of that name: what stands behind the colon of a reference.
    ///
    /// [`Code::NoSecret`] where there is none, or it cannot be read; the fault never says what its value is.
    async fn read(&self, name: &str) -> Result<Held>;
}

/// Where secrets can be kept, too.
#[async_trait]
pub trait SecretKeeper: SecretSource {
    /// Keeps a new value of a secret that is there, for good when this returns.
    /// [`Code::SecretChanged`] when it is not the one that was read any more.
    async fn replace(&self, name: &str, value: &Secret, by: &Principal, read: &Revision) -> Result<Revision>;

    /// What is kept there, by name.
    async fn list(&self) -> Result<Vec<Listed>>;

    /// Forgets a secret. [`Code::NoSecret`] where there is none.
    async fn remove(&self, name: &str) -> Result<()>;
}

/// A secret as it was found.
#[derive(Debug, Clone)]
pub struct Held {
    pub secret: Secret,
    /// Where its place can tell one value from the next.
    pub revision: Option<Revision>,
}

/// One value of a secret among those it had. Says nothing of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// 1 is the first.
    pub version: u64,
    /// RFC 3339, UTC: a secret that was removed and set again begins at 1 again.
    pub written: String,
}

/// What may be known of a secret by whoever may not know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub revision: Revision,
    /// Whoever wrote it: `user:alice`.
    pub by: String,
}

/// All places that a pipeline file can name.
#[derive(Debug, Clone)]
pub struct Sources {
    environment: Environment,
    files: SecretFiles,
    store: Arc<dyn SecretKeeper>,
}

impl Sources {
    /// `base`: where relative paths of `file:` start. `store`: what `store:` means.
    pub fn new(base: &Path, store: Arc<dyn SecretKeeper>) -> Self {
        Self { environment: Environment, files: SecretFiles::below(base), store }
    }

    pub async fn read(&self, secret: &SecretRef) -> Result<Held> {
        match secret {
            SecretRef::Env(name) => self.environment.read(name).await,
            SecretRef::File(path) => self.files.read(path).await,
            SecretRef::Store(name) => self.store.read(name).await,
        }
    }

    /// Keeps a new value of a secret that was read before, where that is possible.
    pub async fn replace(
        &self,
        secret: &SecretRef,
        value: &Secret,
        by: &Principal,
        read: Option<&Revision>,
    ) -> Result<Revision> {
        match (secret, read) {
            (SecretRef::Store(name), Some(read)) => self.store.replace(name, value, by, read).await,
            (SecretRef::Store(_), None) => {
                Err(Fault::internal(Code::Bug, format!("a new value for {secret}, which nobody read")))
            }
            (SecretRef::Env(_) | SecretRef::File(_), _) => {
                let why = format!("the server gave a new value for {secret}, which can only be read");
                Err(Fault::user(Code::NoSecret, why).help(
                    "keep it where it can be replaced: `tidegate secret set NAME`, and bind the slot to `store:NAME`",
                ))
            }
        }
    }
}
