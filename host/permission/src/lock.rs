use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tidegate_infrastructure::files::{self, Access};
use tidegate_model::{CONTRACT_VERSION, ComponentRef, Permission, PipelineName, Result, from_yaml};

use crate::grants::permission_line;
use crate::yaml::scalar;

const HEADER: &str = "\
# What each pipeline of this folder ran with last. Tidegate writes this file; keep it in version control.
";

/// `tidegate.lock` beside the pipeline file: the component each pipeline resolved to, and what it could do.
#[derive(Debug, Clone)]
pub struct Lock {
    path: PathBuf,
    pipelines: BTreeMap<PipelineName, Entry>,
}

/// How a component compares with the one that is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locked {
    /// The pipeline has not run yet.
    New,
    Same,
    /// It ran with this digest before.
    Changed {
        from: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    connector: String,
    version: String,
    digest: String,
    contract: String,
    permissions: Vec<Permission>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    pipelines: BTreeMap<PipelineName, Entry>,
}

impl Lock {
    /// Reads the file; where there is none, nothing is locked.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let pipelines = match files::read_if_exists(path)? {
            Some(text) => from_yaml::<File>(&path.display().to_string(), &text)?.pipelines,
            None => BTreeMap::new(),
        };
        Ok(Self { path: path.to_owned(), pipelines })
    }

    pub fn check(&self, pipeline: &PipelineName, component: &ComponentRef) -> Locked {
        match self.pipelines.get(pipeline) {
            None => Locked::New,
            Some(entry) if entry.digest == component.digest => Locked::Same,
            Some(entry) => Locked::Changed { from: entry.digest.clone() },
        }
    }

    /// The pipelines that ran with this component last.
    pub fn pipelines_of(&self, digest: &str) -> Vec<&PipelineName> {
        self.pipelines.iter().filter(|(_, entry)| entry.digest == digest).map(|(name, _)| name).collect()
    }

    /// Keeps what a pipeline runs with, and writes the file if that is news.
    pub fn set(
        &mut self,
        pipeline: &PipelineName,
        component: &ComponentRef,
        permissions: &[Permission],
    ) -> Result<()> {
        let entry = Entry {
            connector: component.name.clone(),
            version: component.version.to_string(),
            digest: component.digest.clone(),
            contract: CONTRACT_VERSION.to_owned(),
            permissions: permissions.to_vec(),
        };
        if self.pipelines.get(pipeline) == Some(&entry) {
            return Ok(());
        }
        self.pipelines.insert(pipeline.clone(), entry);
        files::write_atomic(&self.path, self.to_yaml().as_bytes(), Access::Usual)
    }

    fn to_yaml(&self) -> String {
        let entries = self.pipelines.iter().map(|(pipeline, entry)| {
            let permissions: String = entry.permissions.iter().map(permission_line).collect();
            let none = if permissions.is_empty() { " []" } else { "" };
            format!(
                "  {}:\n    connector: {}\n    version: {}\n    digest: {}\n    contract: {}\n    permissions:{none}\n{permissions}",
                scalar(pipeline.as_str()),
                scalar(&entry.connector),
                scalar(&entry.version),
                scalar(&entry.digest),
                scalar(&entry.contract),
            )
        });
        format!("{HEADER}pipelines:\n{}", entries.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_remembers_each_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidegate.lock");
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let component = |digit| ComponentRef {
            name: "files".into(),
            version: semver(),
            digest: digest(digit),
            path: PathBuf::new(),
            publisher: None,
        };
        let (flights, numbers) = (PipelineName::new("flights").unwrap(), PipelineName::new("123").unwrap());
        let files = Permission::new(tidegate_model::CapabilityKind::Files, Some("./d, a".into()));

        let mut lock = Lock::load(&path).unwrap();
        assert_eq!(lock.check(&flights, &component("a")), Locked::New);
        lock.set(&flights, &component("a"), &[files]).unwrap();
        lock.set(&numbers, &component("b"), &[]).unwrap();

        let lock = Lock::load(&path).unwrap();
        assert_eq!(lock.check(&flights, &component("a")), Locked::Same);
        assert_eq!(lock.check(&numbers, &component("a")), Locked::Changed { from: digest("b") });
        assert_eq!(lock.pipelines_of(&digest("b")), [&numbers]);
        assert_eq!(files::read_to_string(&path).unwrap(), lock.to_yaml());
    }

    fn semver() -> semver::Version {
        semver::Version::new(0, 1, 0)
    }
}
