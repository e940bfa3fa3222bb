//! A file that several processes append to, each seeing what is there before it adds to it.
#![expect(clippy::disallowed_methods, reason = "the owner of the file system")]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_model::{Code, Fault, Result};

use crate::files::reason;
use crate::lock::{lock, unlock};

/// How long an append waits for the others. Each holds the file for some microseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// No link, and nothing that makes its opener wait.
const ITSELF: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// A file that is only ever appended to, open. Faults are [`Code::Storage`] and name the path.
#[derive(Debug)]
pub struct AppendedFile {
    path: PathBuf,
    file: File,
}

impl AppendedFile {
    /// Opens it, and creates it for its owner alone (mode 0600) when it is not there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let mut options = OpenOptions::new();
        // Its folder may be somebody else's work: a link in the file's place would have us write anywhere.
        options.read(true).append(true).create(true).mode(0o600).custom_flags(ITSELF);
        match options.open(&path) {
            Ok(file) => Self::plain(path, file),
            Err(error) => Err(fault("cannot append to", &path, &error)),
        }
    }

    /// Opens it for reading; `None` when it is not there.
    pub fn open_to_read(path: impl Into<PathBuf>) -> Result<Option<Self>> {
        let path = path.into();
        match OpenOptions::new().read(true).custom_flags(ITSELF).open(&path) {
            Ok(file) => Self::plain(path, file).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("cannot read", &path, &error)),
        }
    }

    fn plain(path: PathBuf, file: File) -> Result<Self> {
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Self { path, file }),
            Ok(_) => Err(Fault::user(Code::Storage, format!("{} is not a file", path.display()))),
            Err(error) => Err(fault("cannot look at", &path, &error)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until no other process has its turn, ten seconds at most.
    pub fn turn(&self) -> Result<Turn<'_>> {
        match lock(&self.file, PATIENCE) {
            Ok(true) => Ok(Turn(self)),
            Ok(false) => Err(Fault::external(
                Code::Storage,
                format!("another process does not let go of {}", self.path.display()),
            )
            .help(format!("`fuser {}` shows which one it is", self.path.display()))),
            Err(error) => Err(fault("cannot lock", &self.path, &error)),
        }
    }

    /// Reads what is there from a place on, at most a buffer full; 0 at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other.map_err(|error| fault("cannot read", &self.path, &error)),
            }
        }
    }
}

/// The right to append to a file: nobody else does, until this is dropped.
#[derive(Debug)]
pub struct Turn<'a>(&'a AppendedFile);

impl Turn<'_> {
    /// Bytes in the file, or `None` when it was removed in the meantime.
    pub fn length(&self) -> Result<Option<u64>> {
        let metadata =
            self.0.file.metadata().map_err(|error| fault("cannot look at", &self.0.path, &error))?;
        Ok((metadata.nlink() > 0).then_some(metadata.len()))
    }

    /// Adds to the end, in one write. It survives the death of this process; a loss of power only after
    /// [`Turn::sync`]. After a fault a part of it may be there.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = loop {
            match (&self.0.file).write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let error = match written {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => io::Error::new(ErrorKind::StorageFull, "only a part of the line was written"),
            Err(error) => error,
        };
        Err(fault("cannot append to", &self.0.path, &error))
    }

    /// Brings what is there to the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.0.file.sync_data().map_err(|error| fault("cannot write", &self.0.path, &error))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        unlock(&self.0.file);
    }
}

fn fault(what: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::external(Code::Storage, format!("{what} {}: {}", path.display(), reason(error)))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn whoever_has_the_turn_sees_all_that_was_added_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        thread::scope(|scope| {
            for _ in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    // Each with a file of its own, as processes have it.
                    let file = AppendedFile::open(path).unwrap();
                    for _ in 0..200 {
                        let mut turn = file.turn().unwrap();
                        let length = turn.length().unwrap().unwrap();
                        turn.append(&(length / 8).to_le_bytes()).unwrap();
                        turn.sync().unwrap();
                    }
                });
            }
        });
        let bytes = crate::files::read(&path).unwrap();
        let numbers: Vec<u64> =
            bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap())).collect();
        assert_eq!(numbers, (0..800).collect::<Vec<u64>>(), "nobody came between a look and its append");
    }

    #[test]
    fn a_file_that_is_gone_is_known_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        assert!(AppendedFile::open_to_read(&path).unwrap().is_none());
        let file = AppendedFile::open(&path).unwrap();
        let turn = file.turn().unwrap();
        assert_eq!(turn.length().unwrap(), Some(0));
        crate::files::remove(&path).unwrap();
        assert_eq!(turn.length().unwrap(), None);
    }

    #[test]
    fn a_link_in_its_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("profile"), folder.path().join("audit.jsonl"));
        std::fs::write(&target, "mine").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(AppendedFile::open(&link).is_err() && AppendedFile::open_to_read(&link).is_err());
        assert!(
            AppendedFile::open(folder.path()).is_err() && AppendedFile::open_to_read(folder.path()).is_err()
        );
        assert_eq!(crate::files::read(&target).unwrap(), b"mine");
    }
}
