use std::path::{Path, PathBuf};

use tidegate_model::Result;

use crate::files;

/// Where the platform keeps its own files: `.tidegate` beside the pipeline file, or what `--data-dir` names.
/// Only its owner can look inside (mode 0700); its folders come into being when they are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens the folder, and creates it when it is not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        files::create_private_dir(&root)?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Installed components, each `<sha256>.wasm`, with its record `<sha256>.json`.
    pub fn plugins_dir(&self) -> Result<PathBuf> {
        self.folder("plugins")
    }

    /// Components that must not run, each `<sha256>.json`. Not there before the first.
    pub fn revoked_path(&self) -> PathBuf {
        self.root.join("revoked")
    }

    /// What can be made again, such as compiled components.
    pub fn cache_dir(&self) -> Result<PathBuf> {
        self.folder("cache")
    }

    /// The audit: JSON by the line, only ever appended to.
    pub fn audit_path(&self) -> PathBuf {
        self.root.join("audit.jsonl")
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        files::create_private_dir(&path)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_its_owner_can_look_inside() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::open(parent.path().join("deep/.tidegate")).unwrap();
        for path in [data.root().to_owned(), data.plugins_dir().unwrap(), data.cache_dir().unwrap()] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{path:?}");
        }
        assert_eq!(data.audit_path(), data.root().join("audit.jsonl"));
    }
}
