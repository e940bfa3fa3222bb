//! The installed components: a folder with a file and a record for each, known by digest.

use std::path::{Path, PathBuf};

use tidegate_infrastructure::files::{self, Access};
use tidegate_infrastructure::{DataDir, clock};
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{Installed, State};

/// `<sha256>.wasm` and beside it `<sha256>.json`.
///
/// A component is installed when both are there. The record is written first and the file last, and they go in
/// the other order, so that whatever interrupts either leaves all of a component or none of it.
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    pub fn of(data_dir: &DataDir) -> Result<Self> {
        Ok(Self { folder: data_dir.plugins_dir()? })
    }

    /// Every installed component by name, then the newest version first, then the latest.
    pub fn records(&self) -> Result<Vec<Installed>> {
        let mut records = Vec::new();
        for path in self.paths("json")? {
            let record = read(&path)?;
            if self.file(&record.digest).exists() {
                records.push(record);
            }
        }
        records.sort_by(|a, b| {
            a.name.cmp(&b.name).then(b.version.cmp(&a.version)).then(b.installed_at.cmp(&a.installed_at))
        });
        Ok(records)
    }

    pub fn record(&self, digest: &str) -> Result<Option<Installed>> {
        let path = self.path(digest, "json");
        if !path.exists() || !self.file(digest).exists() {
            return Ok(None);
        }
        read(&path).map(Some)
    }

    /// Where the component itself is.
    pub fn file(&self, digest: &str) -> PathBuf {
        self.path(digest, "wasm")
    }

    /// Components that somebody put there without installing them. They are never run.
    pub fn strays(&self) -> Result<Vec<PathBuf>> {
        let known = |path: &PathBuf| path.with_extension("json").exists();
        Ok(self.paths("wasm")?.into_iter().filter(|path| !known(path)).collect())
    }

    /// Whether a file lies in the folder itself.
    pub fn holds(&self, path: &Path) -> bool {
        path.parent() == Some(&self.folder)
    }

    /// Installs.
    pub fn keep(&self, record: &Installed, wasm: &[u8]) -> Result<()> {
        self.note(record)?;
        files::write_atomic(self.file(&record.digest), wasm, Access::Owner)
    }

    /// Replaces a record.
    pub fn note(&self, record: &Installed) -> Result<()> {
        let text = serde_json::to_string_pretty(record).map_err(|error| {
            Fault::internal(Code::Bug, format!("a record that cannot be written: {error}"))
        })?;
        let path = self.path(&record.digest, "json");
        files::write_atomic(path, format!("{text}\n").as_bytes(), Access::Owner)
    }

    /// No pipeline gets it by its name any more. `by`: what takes its place.
    pub fn supersede(&self, record: &Installed, by: Option<&str>) -> Result<Installed> {
        let state = State::Superseded { by: by.map(str::to_owned), at: clock::now() };
        let record = Installed { state, ..record.clone() };
        self.note(&record)?;
        Ok(record)
    }

    /// Pipelines get it by its name again.
    pub fn revive(&self, record: &Installed) -> Result<Installed> {
        let record = Installed { state: State::Current, ..record.clone() };
        self.note(&record)?;
        Ok(record)
    }

    pub fn remove(&self, digest: &str) -> Result<()> {
        files::remove(self.file(digest))?;
        files::remove(self.path(digest, "json"))
    }

    fn path(&self, digest: &str, end: &str) -> PathBuf {
        let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.folder.join(format!("{digits}.{end}"))
    }

    fn paths(&self, end: &str) -> Result<Vec<PathBuf>> {
        let all = files::list(&self.folder)?;
        Ok(all.into_iter().filter(|path| path.extension().is_some_and(|found| found == end)).collect())
    }
}

fn read(path: &Path) -> Result<Installed> {
    let bad = |why: String| {
        Fault::user(Code::BadFile, format!("the record of an installed component cannot be used: {why}"))
            .help("remove the record and the component beside it, and install the component again")
            .at(path.display().to_string(), None, None)
    };
    let record: Installed =
        serde_json::from_str(&files::read_to_string(path)?).map_err(|error| bad(error.to_string()))?;
    let named = path.file_stem().is_some_and(|stem| record.digest.strip_prefix("sha256:") == stem.to_str());
    if named { Ok(record) } else { Err(bad(format!("it is about {}", record.digest))) }
}
