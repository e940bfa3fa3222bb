use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tidegate_model::{Code, Fault, Result};

/// Algorithm, identifier, ed25519 point.
const BYTES: usize = 2 + 8 + 32;
const ALGORITHM: &[u8] = b"Ed";

/// A publisher's public key, in the format of minisign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// From what people have: a `.pub` file's text, or the line of it that matters.
    pub fn parse(text: &str) -> Result<Self> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let bytes = STANDARD.decode(line).unwrap_or_default();
        if bytes.len() != BYTES || !bytes.starts_with(ALGORITHM) {
            return Err(Fault::user(Code::BadUsage, "this is not a publisher's public key").help(
                "give a `.pub` file, as `tidegate plugin keygen` or `minisign -G` writes it, or its second line",
            ));
        }
        Ok(Self(bytes))
    }

    pub(crate) fn of_secret(secret: &minisign::SecretKey) -> Result<Self> {
        minisign::PublicKey::from_secret_key(secret)
            .map(|key| Self(key.to_bytes()))
            .map_err(|error| Fault::internal(Code::Bug, format!("a key without its public part: {error}")))
    }

    /// Sixteen hexadecimal digits, upper-case.
    pub fn id(&self) -> String {
        identifier(&self.0[2..10])
    }

    /// A file that minisign reads.
    pub fn to_file(&self) -> String {
        format!("untrusted comment: minisign public key {}\n{self}\n", self.id())
    }

    pub(crate) fn to_minisign(&self) -> Result<minisign::PublicKey> {
        minisign::PublicKey::from_bytes(&self.0)
            .map_err(|error| Fault::internal(Code::Bug, format!("a public key that is none: {error}")))
    }
}

/// A key's identifier is a number, least significant byte first.
pub(crate) fn identifier(bytes: &[u8]) -> String {
    bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|fault| fault.message)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}
