//! A secret at rest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::rand_core::RngCore;
use chacha20poly1305::aead::{Aead, OsRng, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use tidegate_model::{Code, Fault, Result};

use super::keys::Key;
use super::{Listed, Revision, Secret};

const FORMAT: u8 = 1;
/// Bytes of XChaCha20's nonce: so many that a random one is never there twice.
const NONCE: usize = 24;
const DAMAGED: &str = "its record is damaged";

/// What the store has under a secret's name. The value is sealed with XChaCha20-Poly1305; everything else that
/// stands here, and the name, is bound to it: a record that is moved to another name, or changed, does not open.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: u8,
    /// Of the key it was sealed with.
    pub(super) key: String,
    version: u64,
    written: String,
    by: String,
    /// Fresh for each sealing. Base64, as is what follows.
    nonce: String,
    sealed: String,
}

impl Record {
    pub(super) fn seal(listed: &Listed, value: &Secret, key: &Key) -> Result<Self> {
        let mut nonce = [0; NONCE];
        random(&mut nonce)?;
        let mut record = Self {
            format: FORMAT,
            key: key.id(),
            version: listed.revision.version,
            written: listed.revision.written.clone(),
            by: listed.by.clone(),
            nonce: STANDARD.encode(nonce),
            sealed: String::new(),
        };
        let bound = record.bound(&listed.name)?;
        let sealed = XChaCha20Poly1305::new(key.bytes())
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: value.expose(), aad: &bound })
            .map_err(|_| Fault::internal(Code::Bug, "a secret that cannot be encrypted"))?;
        record.sealed = STANDARD.encode(sealed);
        Ok(record)
    }

    pub(super) fn open(&self, name: &str, key: &Key) -> Result<Secret> {
        let nonce = STANDARD.decode(&self.nonce).map_err(|_| unreadable(name, DAMAGED))?;
        let sealed = STANDARD.decode(&self.sealed).map_err(|_| unreadable(name, DAMAGED))?;
        if nonce.len() != NONCE {
            return Err(unreadable(name, DAMAGED));
        }
        let bound = self.bound(name)?;
        let value = XChaCha20Poly1305::new(key.bytes())
            .decrypt(XNonce::from_slice(&nonce), Payload { msg: &sealed, aad: &bound })
            .map_err(|_| unreadable(name, "it does not open with its key: it was changed, or moved here"))?;
        Ok(Secret::new(value))
    }

    pub(super) fn revision(&self) -> Revision {
        Revision { version: self.version, written: self.written.clone() }
    }

    pub(super) fn listed(&self, name: &str) -> Listed {
        Listed { name: name.to_owned(), revision: self.revision(), by: self.by.clone() }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Fault::internal(Code::Bug, format!("a record that cannot be written: {error}")))
    }

    pub(super) fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u8,
        }
        match serde_json::from_slice(bytes) {
            Ok(Format { format: FORMAT }) => {
                serde_json::from_slice(bytes).map_err(|_| unreadable(name, DAMAGED))
            }
            Ok(Format { format }) => {
                let why = format!(
                    "the secret `{name}` is kept in format {format}, and this version knows {FORMAT}"
                );
                Err(Fault::user(Code::NoSecret, why).help("use the newer version of tidegate that wrote it"))
            }
            Err(_) => Err(unreadable(name, DAMAGED)),
        }
    }

    /// What the seal vouches for beside the value, so written that no two records have the same.
    fn bound(&self, name: &str) -> Result<Vec<u8>> {
        let Self { format, key, version, written, by, .. } = self;
        serde_json::to_vec(&("tidegate secret", format, name, key, version, written, by))
            .map_err(|error| Fault::internal(Code::Bug, format!("a record that cannot be bound: {error}")))
    }
}

fn unreadable(name: &str, why: &str) -> Fault {
    Fault::external(Code::NoSecret, format!("the secret `{name}` cannot be read: {why}")).help(format!(
        "restore the store from a backup, or set it anew: `tidegate secret remove {name}`, then `tidegate secret set {name}`"
    ))
}

pub(super) fn random(bytes: &mut [u8]) -> Result<()> {
    OsRng.try_fill_bytes(bytes).map_err(|error| {
        Fault::external(Code::Storage, format!("the operating system gives no random bytes: {error}"))
    })
}
