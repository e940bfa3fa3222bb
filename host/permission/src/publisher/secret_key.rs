use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign::{ErrorKind, KeyPair, SecretKeyBox};
use tidegate_model::{Code, Fault, Result};
use zeroize::Zeroizing;

use super::key::PublicKey;

/// Bytes of a password; minisign takes no more.
const LONGEST_PASSWORD: usize = 1024;
const COMMENT: &str = "minisign encrypted secret key";

/// What a publisher signs with. Never printed.
pub struct SecretKey(minisign::SecretKey);

impl SecretKey {
    /// A new key: its file's text, encrypted under the password if there is one (scrypt, 32 MiB), and its
    /// public part. minisign reads both.
    pub fn generate(password: Option<&str>) -> Result<(Zeroizing<String>, PublicKey)> {
        let pair = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(checked(password)?)),
            None => KeyPair::generate_unencrypted_keypair(),
        };
        let bug =
            |error: minisign::PError| Fault::internal(Code::Bug, format!("no key can be made: {error}"));
        let pair = pair.map_err(bug)?;
        let public = PublicKey::parse(&pair.pk.to_base64())?;
        Ok((Zeroizing::new(pair.sk.to_box(Some(COMMENT)).map_err(bug)?.into_string()), public))
    }

    /// Whether a key file's text needs a password.
    pub fn is_encrypted(text: &str) -> bool {
        let plain = SecretKeyBox::from_string(text).map(SecretKeyBox::into_unencrypted_secret_key);
        !matches!(plain, Ok(Ok(_))) && unchecked(text).is_none()
    }

    /// Reads a key file's text.
    pub fn open(text: &str, password: Option<&str>) -> Result<Self> {
        let unreadable = |error: minisign::PError| {
            let wrong_password = matches!(error.kind(), ErrorKind::Verify) && password.is_some();
            match wrong_password {
                true => Fault::user(Code::BadUsage, "the password does not open this key")
                    .help("type the password that the key was made with"),
                false => Fault::user(Code::BadUsage, "this is not a secret key that can be used")
                    .help("give the file that `tidegate plugin keygen` or `minisign -G` wrote"),
            }
        };
        let sealed = SecretKeyBox::from_string(text).map_err(unreadable)?;
        let key = match password {
            Some(password) => sealed.into_secret_key(Some(checked(password)?)),
            None => match unchecked(text) {
                Some(key) => Ok(key),
                None => sealed.into_unencrypted_secret_key(),
            },
        };
        key.map(Self).map_err(unreadable)
    }

    pub fn public(&self) -> Result<PublicKey> {
        PublicKey::of_secret(&self.0)
    }

    pub(crate) fn inner(&self) -> &minisign::SecretKey {
        &self.0
    }
}

/// A key that is not encrypted and carries no checksum, as `minisign -G -W` writes it and the library does not
/// read it.
fn unchecked(text: &str) -> Option<minisign::SecretKey> {
    // signature, KDF and checksum algorithms (2 bytes each), salt (32), limits (16), key number (8), key (64),
    // checksum (32)
    const SIZE: usize = 158;
    let bytes = Zeroizing::new(STANDARD.decode(text.lines().nth(1)?.trim()).ok()?);
    let plain =
        bytes.len() == SIZE && bytes[2..4] == [0, 0] && bytes[SIZE - 32..].iter().all(|byte| *byte == 0);
    plain.then(|| minisign::SecretKey::from_bytes(&bytes).ok()).flatten()
}

/// minisign's own type prints the key.
impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

fn checked(password: &str) -> Result<String> {
    match password.len() {
        0 => Err(Fault::user(Code::BadUsage, "the password is empty").help("type one")),
        1..=LONGEST_PASSWORD => Ok(password.to_owned()),
        _ => {
            Err(Fault::user(Code::BadUsage, "the password has more than 1024 bytes")
                .help("type a shorter one"))
        }
    }
}
