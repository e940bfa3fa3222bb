//! Whether a file is the one that was read before.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tidegate_sdk::{Fault, Result};

use crate::listing::File;

/// Eight bytes for any value: the same for equal values, in every version of this connector.
pub fn digest(value: &impl Serialize) -> Result<u64> {
    let hash = Sha256::digest(serde_json::to_vec(value)?);
    let first = hash.first_chunk().ok_or_else(|| Fault::internal("invalid", "a digest has 32 bytes"))?;
    Ok(u64::from_be_bytes(*first))
}

/// A file's name and what tells its content apart: a file that changed in place is another file.
///
/// Where the store gives a version, it follows the content, and a file that was written again as it was is
/// still the same. Where there is only a time of modification, a file that was merely touched is another
/// one: to know better, every file would have to be read once more, in full, before it is planned.
pub fn of(file: &File) -> Result<u64> {
    match &file.version {
        Some(version) => digest(&(&file.path, file.size, version)),
        None => digest(&(&file.path, file.size, file.modified)),
    }
}

/// The files that earlier generations read: what incremental reading leaves out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeSet<u64>);

/// The first byte of the form that follows: eight bytes a file, rising.
const FORM: u8 = 1;

/// What fits a bookmark of 1 MiB.
const MOST: usize = 131_000;

impl Seen {
    pub fn from_bookmark(bytes: &[u8]) -> Result<Self> {
        let Some((&FORM, bytes)) = bytes.split_first() else {
            return Err(Fault::internal("invalid", "this bookmark was written by another version"));
        };
        Ok(Self(bytes.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect()))
    }

    pub fn bookmark(&self) -> Vec<u8> {
        std::iter::once(FORM).chain(self.0.iter().flat_map(|identity| identity.to_be_bytes())).collect()
    }

    pub fn contains(&self, identity: u64) -> bool {
        self.0.contains(&identity)
    }

    /// With the files there are now. Those that are gone are remembered too, as long as there is room: they
    /// may come back.
    pub fn with(mut self, present: impl Iterator<Item = u64> + Clone) -> Self {
        self.0.extend(present.clone());
        if self.0.len() > MOST {
            self.0 = present.collect();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CompressionName;
    use crate::listing::Kind;

    #[test]
    fn a_version_counts_more_than_a_time() {
        let file = |modified, version: Option<&str>| {
            let version = version.map(str::to_owned);
            let (kind, compression) = (Kind::Ndjson, CompressionName::None);
            of(&File { path: "a".into(), size: 1, modified: Some(modified), version, kind, compression })
                .unwrap()
        };
        assert_eq!(file(1, Some("x")), file(2, Some("x")), "written again as it was");
        assert_ne!(file(1, Some("x")), file(1, Some("y")));
        assert_ne!(file(1, None), file(2, None), "nothing but the time can tell");
    }

    #[test]
    fn a_bookmark_comes_back() {
        let seen = Seen::default().with([3, 1, u64::MAX].into_iter());
        assert_eq!(Seen::from_bookmark(&seen.bookmark()).unwrap(), seen);
        assert!(Seen::from_bookmark(b"").is_err());
        assert!(Seen::from_bookmark(b"\x07").is_err());
    }

    #[test]
    fn files_that_are_gone_make_room() {
        let seen = Seen::default().with(0..MOST as u64).with(500..1000);
        assert!(seen.contains(0), "there was room");
        let seen = seen.with(500_000..500_001);
        assert!(!seen.contains(0) && seen.contains(500_000));
    }
}
