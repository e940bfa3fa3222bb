use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate_infrastructure::files::{self, Access};
use tidegate_model::{Code, Fault, Result, short_digest};
use tidegate_permission::{SecretKey, Signature};
use tidegate_sandbox::inspect;
use zeroize::Zeroizing;

use super::Context;
use crate::plugins;
use crate::terminal::{Reply, Terminal};

/// Bytes of a key's file.
const LONGEST_KEY: u64 = 4 << 10;

pub fn sign(cx: &Context, file: &Path, key: &Path) -> Result<Reply> {
    let wasm = plugins::read(file)?;
    // What nobody could install is not worth a signature.
    let inspection = inspect(&wasm).map_err(|fault| plugins::refused(fault, file))?;
    let key = open(cx.terminal, key)?;
    let signature = Signature::make(&key, &wasm, &inspection.manifest, &inspection.digest)?;
    let path = PathBuf::from(format!("{}.minisig", file.display()));
    files::write_atomic(&path, signature.text().as_bytes(), Access::Usual)?;
    let manifest = &inspection.manifest;
    Ok(Reply::new(
        format!(
            "Signed {} {} ({}) with the key {}, in {}.\n",
            manifest.name,
            manifest.version,
            short_digest(&inspection.digest),
            signature.key_id(),
            path.display()
        ),
        json!({
            "name": manifest.name,
            "version": manifest.version,
            "digest": inspection.digest,
            "key_id": signature.key_id(),
            "signature": path,
        }),
    ))
}

fn open(terminal: Terminal, path: &Path) -> Result<SecretKey> {
    let unreadable = |message: String| {
        Fault::user(Code::BadUsage, message)
            .help("give the file that `tidegate plugin keygen` or `minisign -G` wrote")
    };
    let at = |fault: Fault| fault.at(path.display().to_string(), None, None);
    let bytes = files::read_at_most(path, LONGEST_KEY).map_err(|fault| unreadable(fault.message))?;
    let bytes = Zeroizing::new(bytes.unwrap_or_default());
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| at(unreadable("this is not a secret key that can be used".to_owned())))?;
    if !SecretKey::is_encrypted(text) {
        return SecretKey::open(text, None).map_err(at);
    }
    let password = terminal.secret("Password of the key: ")?;
    SecretKey::open(text, Some(&password)).map_err(at)
}

pub fn keygen(cx: &Context, stem: &Path, no_password: bool) -> Result<Reply> {
    let [secret_path, public_path] =
        ["key", "pub"].map(|end| PathBuf::from(format!("{}.{end}", stem.display())));
    for path in [&secret_path, &public_path] {
        if path.exists() {
            let message = format!("{} is there already: a key is not written over", path.display());
            return Err(Fault::user(Code::BadUsage, message).help("give another name"));
        }
    }
    let password = if no_password { None } else { Some(new_password(cx.terminal)?) };
    let (secret, public) = SecretKey::generate(password.as_ref().map(|password| password.as_str()))?;
    files::write_atomic(&secret_path, secret.as_bytes(), Access::Owner)?;
    files::write_atomic(&public_path, public.to_file().as_bytes(), Access::Usual)?;
    Ok(Reply::new(
        format!(
            "Made the key {}.\n  {}  keep it to yourself\n  {}  give it to whoever installs what you sign\n",
            public.id(),
            secret_path.display(),
            public_path.display()
        ),
        json!({ "key_id": public.id(), "secret": secret_path, "public": public_path, "key": public }),
    ))
}

/// Twice from somebody who types, once from a program.
fn new_password(terminal: Terminal) -> Result<Zeroizing<String>> {
    let password = terminal.secret("Password for the key: ")?;
    if password.is_empty() {
        return Err(Fault::user(Code::BadUsage, "there is no password for the key")
            .help("type one, or give --no-password for a key that a machine uses"));
    }
    if terminal.asks() && terminal.secret("The same again: ")? != password {
        return Err(Fault::user(Code::BadUsage, "the passwords are not the same").help("try again"));
    }
    Ok(password)
}
