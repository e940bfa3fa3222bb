//! Secrets as the host holds them for a moment, and where it gets them.

mod encrypted;
mod environment;
mod file;
mod keys;
mod line;
mod record;
mod source;

use std::fmt;

use async_trait::async_trait;
use tidegate_model::{Code, Fault, Result};
use zeroize::Zeroizing;

pub use encrypted::{EncryptedStore, OpenStore};
pub use environment::Environment;
pub use file::SecretFiles;
pub use keys::KeyFile;
pub use line::{Question, Reply};
pub use source::{Held, Listed, Revision, SecretKeeper, SecretSource, Sources};

/// A secret's value: never shown, and overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Bytes of the longest secret that is kept anywhere: 64 KiB.
    pub const LONGEST: usize = 64 << 10;

    pub fn new(value: Vec<u8>) -> Self {
        Self(Zeroizing::new(value))
    }

    /// What somebody typed, or an editor wrote: less one line break at its end. A secret has at least one byte
    /// and at most [`Secret::LONGEST`].
    pub fn from_text(mut text: Zeroizing<Vec<u8>>) -> Result<Self> {
        if text.last() == Some(&b'\n') {
            text.pop();
            if text.last() == Some(&b'\r') {
                text.pop();
            }
        }
        let secret = Self(text);
        secret.check().map(|()| secret)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let why = match self.0.len() {
            0 => "it is empty".to_owned(),
            length if length > Self::LONGEST => format!("it is longer than {} bytes", Self::LONGEST),
            _ => return Ok(()),
        };
        Err(Fault::user(Code::NoSecret, format!("this cannot be a secret: {why}")))
    }

    /// The value, for whoever uses it now. It must not be kept, logged or sent anywhere but where its binding
    /// says.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a worker gets the secrets that its component's slots are bound to. Whoever answers asks the
/// authorizer first.
#[async_trait]
pub trait Vault: Send + Sync + fmt::Debug {
    /// The secret that a slot is bound to.
    async fn secret(&self, slot: &str) -> Result<Secret>;

    /// Keeps a new value for a slot's secret, as a server gives one that rotates its tokens. It is kept for
    /// good when this returns.
    async fn rotate(&self, slot: &str, value: Secret) -> Result<()>;
}

/// For work that has no secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVault;

#[async_trait]
impl Vault for NoVault {
    async fn secret(&self, slot: &str) -> Result<Secret> {
        Err(Fault::user(Code::NoSecret, format!("there is no secret for `{slot}`")))
    }

    async fn rotate(&self, slot: &str, _: Secret) -> Result<()> {
        self.secret(slot).await.map(drop)
    }
}
