//! The folder of a store: who has it, and which of its contents counts.
#![expect(clippy::disallowed_methods, reason = "the owner of the file system")]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidegate_model::{Code, Fault, Result};

use crate::files::{self, Access, reason};
use crate::lock::lock;

/// `<data dir>/store`, held by this process:
///
/// ```text
/// lock          who holds it, by process number
/// current       the format's version, and which of the numbered folders counts
/// acknowledged  how many writes of that folder were acknowledged
/// 1/            the database
/// ```
///
/// A folder is replaced as a whole by preparing another one and rewriting `current`.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    _lock: File,
    acknowledged: File,
}

/// What `current` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) format: u32,
    pub(super) folder: u64,
}

impl Place {
    /// Waits at most so long for another process that has it. A place that is new is begun in `format`.
    pub(super) fn take(data_dir: &Path, wait: Duration, format: u32) -> Result<(Self, Current)> {
        let root = data_dir.join("store");
        files::create_private_dir(&root)?;
        let held = hold(&root.join("lock"), wait)?;
        let acknowledged = open(&root.join("acknowledged"))?;
        let place = Self { root, _lock: held, acknowledged };
        let current = match place.current()? {
            Some(current) => current,
            None => place.begin(format)?,
        };
        place.sweep(current)?;
        Ok((place, current))
    }

    fn begin(&self, format: u32) -> Result<Current> {
        if let Some(found) = files::list(&self.root)?.iter().find(|path| number_of(path).is_some()) {
            let what = format!("`{}` is there, and nothing says whether it counts", found.display());
            return Err(damaged(&self.root, what));
        }
        let current = Current { format, folder: 1 };
        self.switch(current)?;
        Ok(current)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn folder(&self, number: u64) -> PathBuf {
        self.root.join(number.to_string())
    }

    /// An empty folder for contents that are to replace the current ones.
    pub(super) fn prepare(&self, current: Current) -> Result<u64> {
        let number = current.folder + 1;
        let folder = self.folder(number);
        remove_folder(&folder)?;
        files::create_private_dir(&folder)?;
        Ok(number)
    }

    /// Makes other contents count. After a crash at any moment it is the ones or the others.
    pub(super) fn switch(&self, to: Current) -> Result<()> {
        let text = format!("{}\n", json!({ "format": to.format, "folder": to.folder }));
        files::write_atomic(self.root.join("current"), text.as_bytes(), Access::Owner)
    }

    /// Removes what does not count: what was replaced, or was to replace something and did not.
    pub(super) fn sweep(&self, current: Current) -> Result<()> {
        for path in files::list(&self.root)? {
            if number_of(&path).is_some_and(|number| number != current.folder) {
                remove_folder(&path)?;
            }
        }
        Ok(())
    }

    fn current(&self) -> Result<Option<Current>> {
        let Some(text) = files::read_if_exists(self.root.join("current"))? else { return Ok(None) };
        let read = || {
            let value: Value = serde_json::from_str(&text).ok()?;
            let format = u32::try_from(value["format"].as_u64()?).ok()?;
            Some(Current { format, folder: value["folder"].as_u64()? })
        };
        match read() {
            Some(current) => Ok(Some(current)),
            None => Err(damaged(&self.root, "`current` cannot be understood")),
        }
    }

    /// Notes that so many writes were acknowledged. It is not brought to the disk: after a loss of power it
    /// may tell of fewer, never of more. What it is for is a database that lost writes and does not know.
    pub(super) fn acknowledge(&self, folder: u64, writes: u64) -> Result<()> {
        let mut note = [0; 24];
        note[..8].copy_from_slice(&folder.to_le_bytes());
        note[8..16].copy_from_slice(&writes.to_le_bytes());
        let check = Sha256::digest(&note[..16]);
        note[16..].copy_from_slice(&check[..8]);
        self.acknowledged
            .write_all_at(&note, 0)
            .map_err(|error| failed("cannot write", &self.root.join("acknowledged"), &error))
    }

    /// How many writes of that folder were acknowledged at least.
    pub(super) fn acknowledged(&self, folder: u64) -> u64 {
        let mut note = [0; 24];
        if self.acknowledged.read_exact_at(&mut note, 0).is_err() {
            return 0;
        }
        let part = |from: usize| u64::from_le_bytes(std::array::from_fn(|place| note[from + place]));
        let whole = Sha256::digest(&note[..16])[..8] == note[16..];
        if whole && part(0) == folder { part(8) } else { 0 }
    }
}

/// Of `1/` and its like.
fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.parse().ok()
}

fn hold(path: &Path, wait: Duration) -> Result<File> {
    let mut file = open(path)?;
    if lock(&file, wait).map_err(|error| failed("cannot lock", path, &error))? {
        // Who reads it is told whom to look for; that it cannot be written harms nobody.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        return Ok(file);
    }
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    let who = match holder.trim() {
        "" => "another process".to_owned(),
        holder => format!("process {holder}"),
    };
    let store = path.parent().unwrap_or(path).display();
    Err(Fault::external(Code::StoreUnusable, format!("{who} holds the store in `{store}`"))
        .help("wait until that command is done, or stop it, and type this one again")
        .retry_after(1000))
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed("cannot open", path, &error))
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| failed("cannot remove", path, &error)),
    }
}

pub(super) fn failed(what: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::external(Code::Storage, format!("{what} {}: {}", path.display(), reason(error)))
}

/// What is said of a store that cannot be trusted any more.
pub(super) fn damaged(root: &Path, what: impl std::fmt::Display) -> Fault {
    Fault::external(Code::StoreUnusable, format!("the store in `{}` is damaged: {what}", root.display()))
        .help("`tidegate store restore FILE` puts a backup in its place")
}
