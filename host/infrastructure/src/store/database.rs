//! A sled database: its faults and its panics as our faults, its flush made one that holds.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use sled::{Batch, Db};
use tidegate_model::{Code, Fault, Result};

use super::contained::contained;
use super::entry::{ENTRIES, Head, TALLY, Tally, piece_key, split};
use super::place::{damaged, failed};

/// Bytes of pages that sled keeps in memory.
const CACHE: u64 = 16 << 20;

/// How long sled's own lock is waited for. Ours is held by then, so whoever has it is about to let go: a child of
/// this process that did not get to its own program yet.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// One folder of a store. After a fault or a panic of sled nothing is read or written any more: what is in
/// memory may not be what is on the disk.
pub(super) struct Database {
    folder: PathBuf,
    /// `None` only while it is dropped.
    db: Option<Db>,
    /// The file that sled writes to.
    file: File,
    ended: OnceLock<String>,
}

impl Database {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let open = || contained(|| sled::Config::new().path(folder).cache_capacity(CACHE).open());
        let begun = Instant::now();
        let mut opened = open();
        while matches!(&opened, Ok(Err(error)) if is_locked(error)) && begun.elapsed() < LAST_MOMENTS {
            thread::sleep(Duration::from_millis(5));
            opened = open();
        }
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => return Err(told(folder, &error)),
            Err(panic) => return Err(damaged(folder, first_line(&panic))),
        };
        let path = folder.join("db");
        #[expect(clippy::disallowed_methods, reason = "the owner of the file system")]
        let file = File::open(&path).map_err(|error| failed("cannot open", &path, &error))?;
        Ok(Self { folder: folder.to_owned(), db: Some(db), file, ended: OnceLock::new() })
    }

    fn with<T>(&self, act: impl FnOnce(&Db) -> sled::Result<T>) -> Result<T> {
        let Some(db) = self.db.as_ref().filter(|_| self.ended.get().is_none()) else {
            let why = self.ended.get().map_or("it is closed", String::as_str);
            return Err(damaged(&self.folder, format!("it failed before: {why}")));
        };
        let fault = match contained(|| act(db)) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => told(&self.folder, &error),
            Err(panic) => damaged(&self.folder, first_line(&panic)),
        };
        let _ = self.ended.set(fault.message.clone());
        Err(fault)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with(|db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    pub(super) fn apply(&self, batch: Batch) -> Result<()> {
        self.with(|db| db.apply_batch(batch))
    }

    /// Brings all that was applied to the disk. sled's own flush asks the system to write, which is enough when
    /// this process is killed; for a loss of power the disk has to say that it has done so.
    pub(super) fn flush(&self) -> Result<()> {
        self.with(|db| db.flush().map(drop))?;
        self.file.sync_data().map_err(|error| {
            let fault = failed("cannot write", &self.folder, &error);
            let _ = self.ended.set(fault.message.clone());
            fault
        })
    }

    /// An entry's value.
    pub(super) fn value(&self, entry_key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.get(entry_key)? else { return Ok(None) };
        self.assemble(entry_key, &bytes).map(Some)
    }

    /// How many pieces an entry's value has.
    pub(super) fn pieces(&self, entry_key: &[u8]) -> Result<u32> {
        let Some(bytes) = self.get(entry_key)? else { return Ok(0) };
        Head::of(&bytes).map(|head| head.pieces()).ok_or_else(|| self.nonsense(entry_key))
    }

    fn assemble(&self, entry_key: &[u8], bytes: &[u8]) -> Result<Vec<u8>> {
        let nonsense = || self.nonsense(entry_key);
        let head = Head::of(bytes).ok_or_else(nonsense)?;
        let length = match head {
            Head::Inline(value) => return Ok(value.to_owned()),
            Head::Pieces(length) => length as usize,
        };
        let mut value = Vec::new();
        for number in 0..head.pieces() {
            value.extend_from_slice(&self.get(&piece_key(entry_key, number))?.ok_or_else(nonsense)?);
        }
        if value.len() == length { Ok(value) } else { Err(nonsense()) }
    }

    fn nonsense(&self, entry_key: &[u8]) -> Fault {
        let table = split(entry_key).map_or("?", |(table, _)| table);
        damaged(&self.folder, format!("an entry of `{table}` is not whole"))
    }

    /// Goes through entries in order: those that begin with `prefix` and come after `after`, until `each` says
    /// that it has enough.
    pub(super) fn walk(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8], Vec<u8>) -> Result<bool>,
    ) -> Result<()> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match after {
            Some(after) if after >= prefix => Excluded(after),
            _ => Included(prefix),
        };
        let mut entries = self.with(|db| Ok(db.range::<&[u8], _>((from, Unbounded))))?;
        while let Some((key, bytes)) = self.with(|_| entries.next().transpose())? {
            if !key.starts_with(prefix) {
                break;
            }
            let value = self.assemble(&key, &bytes)?;
            if !each(&key, value)? {
                break;
            }
        }
        Ok(())
    }

    /// What it says of itself.
    pub(super) fn tally(&self) -> Result<Tally> {
        let Some(bytes) = self.get(TALLY)? else { return Ok(Tally::default()) };
        Tally::of(&bytes).ok_or_else(|| damaged(&self.folder, "its tally cannot be understood"))
    }

    /// Goes through all entries, and compares what is there with what it says of itself.
    pub(super) fn examine(&self, mut each: impl FnMut(&str, &[u8], &[u8]) -> Result<()>) -> Result<Tally> {
        let told = self.tally()?;
        let mut found = Tally::default();
        self.walk(ENTRIES, None, |entry_key, value| {
            found.add(entry_key, &value);
            let (table, key) = split(entry_key).ok_or_else(|| self.nonsense(entry_key))?;
            each(table, key, &value)?;
            Ok(true)
        })?;
        if !found.agrees(&told) {
            let what = format!(
                "{} entries are there, and they are not the {} that were written",
                found.entries, told.entries
            );
            return Err(damaged(&self.folder, what));
        }
        Ok(told)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Closing writes too, and can panic on what opening did not see.
        let db = self.db.take();
        if let Err(panic) = contained(|| drop(db)) {
            tracing::error!(%panic, "the store did not close well");
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// sled says so in words only.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

fn told(folder: &Path, error: &sled::Error) -> Fault {
    match error {
        sled::Error::Io(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            let fault = failed("the store failed in", folder, error);
            Fault { code: Code::StoreUnusable, ..fault }
        }
        other => damaged(folder, first_line(&other.to_string())),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
