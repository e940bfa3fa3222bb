//! The key that seals the audit, in minisign's format, so that its own tool can verify a seal too.

use std::path::Path;

use minisign::{KeyPair, PublicKey, PublicKeyBox, SecretKey, SecretKeyBox};
use tidegate_infrastructure::{files, read_private};
use tidegate_model::{Code, Fault, Result};
use zeroize::Zeroizing;

/// Bytes of a key's file.
const LONGEST: usize = 4096;
const SECRET: &str = "audit.key";
const PUBLIC: &str = "audit.pub";

/// The key in that folder; made when there is none. It is not encrypted: it signs at the end of every run, when
/// nobody is there to type a password. Only its owner can read it (mode 0600).
pub(super) fn signing(folder: &Path) -> Result<SecretKey> {
    let path = folder.join(SECRET);
    let text = match read_private(&path, LONGEST)? {
        Some(text) => text,
        None => {
            let pair = KeyPair::generate_unencrypted_keypair().map_err(|error| bad(&path, &error))?;
            let secret =
                pair.sk.to_box(Some("tidegate: seals the audit")).map_err(|error| bad(&path, &error))?;
            // Of two that come at once, one makes the key, and both use it.
            files::create_new(&path, Zeroizing::new(secret.to_string()).as_bytes())?;
            read_private(&path, LONGEST)?.unwrap_or_default()
        }
    };
    let text = std::str::from_utf8(&text).unwrap_or_default();
    let key = SecretKeyBox::from_string(text)
        .and_then(SecretKeyBox::into_unencrypted_secret_key)
        .map_err(|error| bad(&path, &error))?;
    let public = folder.join(PUBLIC);
    if files::read_if_exists(&public)?.is_none() {
        let text = PublicKey::from_secret_key(&key)
            .and_then(|key| key.to_box())
            .map_err(|error| bad(&path, &error))?
            .into_string();
        files::write_atomic(&public, text.as_bytes(), files::Access::Usual)?;
    }
    Ok(key)
}

/// The public key in a file; the one in that folder, if there is one, without.
pub(super) fn verifying(file: Option<&Path>, folder: &Path) -> Result<Option<PublicKey>> {
    let beside = folder.join(PUBLIC);
    let (path, text) = match file {
        Some(file) => (file, Some(files::read_to_string(file)?)),
        None => (beside.as_path(), files::read_if_exists(&beside)?),
    };
    text.map(|text| {
        PublicKeyBox::from_string(&text)
            .and_then(PublicKeyBox::into_public_key)
            .map_err(|error| bad(path, &error))
    })
    .transpose()
}

fn bad(path: &Path, error: &minisign::PError) -> Fault {
    Fault::user(Code::Storage, format!("`{}` is no key in minisign's format: {error}", path.display())).help(
        "a new one is made when it is not there; what the old one sealed is verified with its audit.pub",
    )
}
