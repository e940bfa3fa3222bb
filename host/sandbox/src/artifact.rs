//! Compiled components at rest: the code, then its SHA-256.
//!
//! The digest is against accidents (a torn file, a bad disk), not against somebody who can write to the
//! cache. That is why the cache lies in a folder of the user's own and never in a project's: see
//! `tidegate_infrastructure::compiled_dir`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

const DIGEST: usize = 32;
/// Hashed at a time: stays in the processor's cache.
const PIECE: usize = 256 << 10;

pub(crate) fn seal(mut code: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&code);
    code.extend(digest);
    code
}

/// The component, or nothing when there is no file, or it is not what was sealed for such an engine.
#[expect(unsafe_code, reason = "native code is loaded here and nowhere else")]
pub(crate) fn open(engine: &Engine, path: &Path) -> Option<Component> {
    if !is_whole(path).ok()? {
        return None;
    }
    // SAFETY: the file must come from `Engine::precompile_component`, and must not change while it is mapped.
    // Only `Sandbox::compiled` writes to the cache, what our own compiler just made, into a folder that only
    // its owner can write to, and the digest says that nothing changed since. It replaces whole files by
    // renaming and never writes into one, so a mapping keeps what it had. The engine checks version and
    // settings itself, and finds the code's parts by offsets from the start, so what follows the code does
    // not matter.
    unsafe { Component::deserialize_file(engine, path) }.ok()
}

/// Whether the last bytes are the digest of the others.
#[expect(
    clippy::disallowed_methods,
    reason = "hashed in passing: a copy of it all would cost more than the hash"
)]
fn is_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let Some(mut left) = file.metadata()?.len().checked_sub(DIGEST as u64) else { return Ok(false) };
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        file.read_exact(&mut piece[..length])?;
        hasher.update(&piece[..length]);
        left -= length as u64;
    }
    file.read_exact(&mut piece[..DIGEST])?;
    Ok(hasher.finalize().as_slice() == &piece[..DIGEST])
}

#[cfg(test)]
mod tests {
    use tidegate_infrastructure::files::{Access, write_atomic};

    use super::*;

    #[test]
    fn what_was_not_sealed_is_not_opened() {
        let engine = Engine::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cwasm");
        let mut sealed = seal(vec![7; PIECE + 1]);
        for (bytes, whole) in
            [(sealed.clone(), true), (b"short".to_vec(), false), (seal(Vec::new()), true), {
                sealed[PIECE] ^= 1;
                (sealed, false)
            }]
        {
            write_atomic(&path, &bytes, Access::Owner).unwrap();
            assert_eq!(is_whole(&path).unwrap(), whole);
            assert!(open(&engine, &path).is_none(), "sealed or not, it is no code");
        }
        assert!(open(&engine, &folder.path().join("missing")).is_none());
    }
}
