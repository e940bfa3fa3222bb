//! Files that only their owner may see: secrets, and the keys to them.
#![expect(clippy::disallowed_methods, reason = "the owner of the file system")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use tidegate_model::{Code, Fault, Result};
use zeroize::Zeroizing;

use crate::files::reason;
use crate::lock::lock;

/// How long somebody waits for a folder. Whoever has it reads some records and writes a file, which a busy disk makes long.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of a file that nobody but its owner may read or change, at most `most` bytes; `None` when there is none.
/// What was read is overwritten when it is dropped.
///
/// The faults, all [`Code::Storage`]: others may read or change it (the help is the command that ends that), it
/// is no file, it is too long, it cannot be read.
pub fn read_private(path: impl AsRef<Path>, most: usize) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let path = path.as_ref();
    // A pipe must not make us wait for somebody to write to it.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| unreadable(path, &error))?,
    };
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    let shown = path.display();
    if !metadata.is_file() {
        return Err(Fault::user(Code::Storage, format!("{shown} is not a file")));
    }
    if metadata.mode() & 0o077 != 0 {
        let message = format!("others than its owner may read or change {shown}");
        return Err(Fault::user(Code::Storage, message).help(format!("chmod 600 {shown}")));
    }
    // With room for all of it from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.saturating_add(1)));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() > most {
        return Err(Fault::user(Code::Storage, format!("{shown} is longer than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// The right to change what lies in a folder, among the processes that ask for it: nobody else has it, until
/// this is dropped. A process that dies gives it back.
#[derive(Debug)]
pub struct FolderLock(#[expect(dead_code, reason = "held for its drop, which closes it")] File);

impl FolderLock {
    /// Waits until nobody else has it, half a minute at most. The folder itself is locked, so nothing is written
    /// for that.
    pub fn take(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let shown = folder.display();
        let fault = |error: std::io::Error| {
            Fault::external(Code::Storage, format!("cannot lock {shown}: {}", reason(&error)))
        };
        let file = File::open(folder).map_err(fault)?;
        if lock(&file, PATIENCE).map_err(fault)? {
            return Ok(Self(file));
        }
        Err(Fault::external(Code::Storage, format!("another process does not let go of {shown}"))
            .help(format!("`fuser {shown}` shows which one it is")))
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::external(Code::Storage, format!("cannot read {}: {}", path.display(), reason(error)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_others_may_see_is_refused_with_the_command_that_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "hush").unwrap();
        let shown = path.display();
        let told = || match read_private(&path, 4) {
            Ok(bytes) => format!("{} bytes", bytes.unwrap().len()),
            Err(fault) => fault.to_string(),
        };
        for (mode, fine) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o644, false)]
        {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let expected = match fine {
                true => "4 bytes".to_owned(),
                false => {
                    format!("TG0901: others than its owner may read or change {shown}; chmod 600 {shown}")
                }
            };
            assert_eq!(told(), expected, "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hushed").unwrap();
        assert_eq!(told(), format!("TG0901: {shown} is longer than 4 bytes"));
    }

    #[test]
    fn what_is_no_file_is_neither_read_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        for path in [pipe.as_path(), folder.path()] {
            assert!(read_private(path, 4).unwrap_err().message.ends_with("is not a file"), "{path:?}");
        }
        assert_eq!(read_private(folder.path().join("absent"), 4).unwrap(), None);
    }

    #[test]
    fn a_folder_is_locked_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let got = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let _second = FolderLock::take(folder.path()).unwrap();
                got.store(true, Ordering::SeqCst);
            });
            thread::sleep(Duration::from_millis(50));
            assert!(!got.load(Ordering::SeqCst), "two have it");
            drop(first);
        });
        assert!(got.load(Ordering::SeqCst));
    }
}
