//! The signed end of the audit.

use std::path::{Path, PathBuf};

use chrono::SecondsFormat;
use minisign::{PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use tidegate_infrastructure::files::{self, Access};
use tidegate_infrastructure::{AppendedFile, clock};
use tidegate_model::{Code, Fault, Result};

use super::key;
use super::lines::{hash, hex};
use super::record::VERSION;
use super::verify::{Walk, first, is_another, not_that_one};
use crate::publisher::{identifier, signature_box};

/// What is signed: how far the audit went at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) v: u32,
    /// The name of the chain: what its first record has as `prev`.
    pub(super) chain: String,
    /// Records.
    pub(super) count: u64,
    /// SHA-256 of the last of them.
    pub(super) last: String,
    /// Where in the file that one begins.
    pub(super) at: u64,
    /// When it was signed, as records have it.
    pub(super) time: String,
}

/// A head as it was found.
#[derive(Debug)]
pub(super) enum Found {
    Good(Head),
    /// Signed by another key, by its identifier.
    Foreign(String),
    /// No signature of what it says.
    Bad,
}

/// Signs the end of the audit, if it continues what was signed before.
///
/// What is signed stands in the signature's trusted comment as well, so that one file holds all: a crash
/// between two files cannot leave one that does not fit the other. `audit.head` is there for minisign's own
/// tool. A copy lies with the keys, where whoever can change the audit may not be able to; it is known by the audit's
/// path, so that an audit that was replaced as a whole is noticed too.
pub(super) fn seal(path: &Path, keys: &Path) -> Result<()> {
    let Some(file) = AppendedFile::open_to_read(path)? else { return Ok(()) };
    let secret = key::signing(keys)?;
    let public = PublicKey::from_secret_key(&secret).map_err(|error| unsigned(&error))?;
    let mut turn = file.turn()?;
    let Some(length) = turn.length()? else { return Ok(()) };
    let Some(first) = first(&file, length)? else { return Ok(()) };
    let copy = copy_path(keys, path);
    let before = latest(&[beside(path), copy.clone()], &public)?;
    if before.as_ref().is_some_and(|before| is_another(&first, before)) {
        return Err(not_that_one(path, &copy));
    }
    let walk = Walk::from(&file, length, before.as_ref())
        .map_err(|fault| fault.help("`tidegate audit verify` says more"))?;
    let head = Head {
        v: VERSION,
        chain: before.as_ref().map_or(first.prev, |before| before.chain.clone()),
        count: walk.seq,
        last: walk.hash,
        at: walk.at,
        time: clock::now().to_rfc3339_opts(SecondsFormat::Millis, true),
    };
    if before.as_ref().is_some_and(|before| (before.count, &before.last) == (head.count, &head.last)) {
        return Ok(());
    }
    turn.sync()?;
    let (text, signature) = sign(&head, &secret)?;
    files::create_private_dir(keys.join(COPIES))?;
    files::write_atomic(copy, signature.as_bytes(), Access::Owner)?;
    // The disk need not have these: after a loss of power the copy counts.
    files::replace(beside(path), signature.as_bytes(), Access::Owner)?;
    files::replace(path.with_file_name("audit.head"), text.as_bytes(), Access::Owner)
}

/// The head with the most records that this key signed, of those that are there.
fn latest(places: &[PathBuf], key: &PublicKey) -> Result<Option<Head>> {
    let mut heads = Vec::new();
    for place in places {
        if let Some(Found::Good(head)) = find(place, key)? {
            heads.push(head);
        }
    }
    Ok(heads.into_iter().max_by_key(|head| head.count))
}

/// A folder beside the key, for the last head of every audit.
const COPIES: &str = "audit-heads";

pub(super) fn beside(path: &Path) -> PathBuf {
    path.with_file_name("audit.head.minisig")
}

/// Where the last head of the audit at a path is kept beside the key.
pub(super) fn copy_path(keys: &Path, audit: &Path) -> PathBuf {
    let name = hex(&hash(files::resolved(audit).as_os_str().as_encoded_bytes()));
    keys.join(COPIES).join(format!("{name}.minisig"))
}

fn sign(head: &Head, key: &SecretKey) -> Result<(String, String)> {
    let comment = serde_json::to_string(head)
        .map_err(|error| Fault::internal(Code::Bug, format!("a head that cannot be written: {error}")))?;
    let text = format!("{comment}\n");
    let signature =
        minisign::sign(None, key, text.as_bytes(), Some(&comment), Some("tidegate: seal of an audit"))
            .map_err(|error| unsigned(&error))?;
    Ok((text, signature.into_string()))
}

/// What a file says that [`seal`] wrote, if it is there.
pub(super) fn find(path: &Path, public: &PublicKey) -> Result<Option<Found>> {
    let Some(text) = files::read_if_exists(path)? else { return Ok(None) };
    // What a loss of power may leave of a file that was just replaced.
    if text.bytes().all(|byte| byte == 0) {
        return Ok(None);
    }
    let Some(signature) = signature_box(&text) else { return Ok(Some(Found::Bad)) };
    if signature.keynum() != public.keynum() {
        return Ok(Some(Found::Foreign(identifier(signature.keynum()))));
    }
    let head = || {
        let comment = signature.trusted_comment().ok()?;
        let signed = std::io::Cursor::new(format!("{comment}\n"));
        minisign::verify(public, &signature, signed, true, false, false).ok()?;
        serde_json::from_str(&comment).ok()
    };
    Ok(Some(head().map_or(Found::Bad, Found::Good)))
}

fn unsigned(error: &minisign::PError) -> Fault {
    Fault::external(Code::Storage, format!("the audit cannot be signed: {error}"))
}
