//! Files of the host: read whole and written whole. What is appended to is an [`AppendedFile`](crate::AppendedFile).
//!
//! Every error names the path and says the operating system's reason in words, with [`Code::Storage`]. A
//! caller for whom the file means more than that (a pipeline that is not there) replaces the code.
#![expect(clippy::disallowed_methods, reason = "the owner of the file system")]

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tidegate_model::{Code, Fault, Result};

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone: mode 0600.
    Owner,
    /// Whoever the user's umask allows; a file that exists keeps its mode.
    Usual,
}

pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    fs::read(path).map_err(|error| fault("cannot read", path, &error))
}

/// Like [`read`], for a file that anybody may have made: nothing of one that has more than `most` bytes is
/// kept, and the answer is `None` then.
pub fn read_at_most(path: impl AsRef<Path>, most: u64) -> Result<Option<Vec<u8>>> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| fault("cannot read", path, &error))?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|error| fault("cannot read", path, &error))
}

/// Like [`read_to_string`], where it is usual that the file does not exist yet: `None` then.
pub fn read_if_exists(path: impl AsRef<Path>) -> Result<Option<String>> {
    let path = path.as_ref();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("cannot read", path, &error)),
    }
}

/// Replaces a file's content, or creates the file. After a crash at any moment, of the machine too, it holds
/// what it held before or all of this, never a part. Its folder must exist.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8], access: Access) -> Result<()> {
    let path = path.as_ref();
    put(path, bytes, access, true).map_err(|error| fault("cannot write", path, &error))
}

/// Like [`write_atomic`], without waiting for the disk: after a loss of power the file may hold what it held
/// before, or nothing. Other processes see the one or the other, and so does whoever comes after a crash of
/// this one.
pub fn replace(path: impl AsRef<Path>, bytes: &[u8], access: Access) -> Result<()> {
    let path = path.as_ref();
    put(path, bytes, access, false).map_err(|error| fault("cannot write", path, &error))
}

fn put(path: &Path, bytes: &[u8], access: Access, durable: bool) -> io::Result<()> {
    let folder = folder_of(path);
    let mode = match access {
        Access::Owner => 0o600,
        Access::Usual => 0o666,
    };
    let mut file = tempfile::Builder::new()
        .prefix(".tidegate-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    if access == Access::Usual
        && let Ok(existing) = fs::metadata(path)
    {
        file.as_file().set_permissions(existing.permissions())?;
    }
    file.write_all(bytes)?;
    if durable {
        file.as_file().sync_all()?;
    }
    file.persist(path)?;
    if durable { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Creates a file that holds all of this, for its owner alone: mode 0600. Says whether it did: when there is one
/// of that name already, that one is left as it is.
pub fn create_new(path: impl AsRef<Path>, bytes: &[u8]) -> Result<bool> {
    let path = path.as_ref();
    let create = || {
        let folder = folder_of(path);
        let mut file = tempfile::Builder::new()
            .prefix(".tidegate-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => File::open(folder)?.sync_all().map(|()| true),
            Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(refused) => Err(refused.error),
        }
    };
    create().map_err(|error| fault("cannot create", path, &error))
}

/// Creates a folder and those above it, for whoever the user's umask allows.
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    fs::create_dir_all(path).map_err(|error| fault("cannot create", path, &error))
}

/// Creates a folder and those above it that are missing, for their owner alone: mode 0700.
pub fn create_private_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| fault("cannot create", path, &error))
}

/// Who owns a file or folder, by number, and its permission bits.
pub(crate) fn owner_and_mode(path: impl AsRef<Path>) -> Result<(u32, u32)> {
    let path = path.as_ref();
    let metadata = fs::metadata(path).map_err(|error| fault("cannot look at", path, &error))?;
    Ok((metadata.uid(), metadata.mode() & 0o7777))
}

/// What is in a folder, sorted; nothing when there is no such folder.
pub fn list(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let path = path.as_ref();
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| fault("cannot list", path, &error))?,
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| fault("cannot list", path, &error))?;
    paths.sort();
    Ok(paths)
}

/// Removes a file; that it is not there is no error.
pub fn remove(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| fault("cannot remove", path, &error)),
    }
}

/// Whether a file of this folder can get a second name there, as the commit of a local table needs it.
pub fn can_link(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let file = tempfile::Builder::new()
        .prefix(".tidegate-")
        .tempfile_in(folder)
        .map_err(|error| fault("cannot write to", folder, &error))?;
    let second = file.path().with_extension("link");
    fs::hard_link(file.path(), &second).map_err(|error| fault("cannot link files in", folder, &error))?;
    remove(&second)
}

/// A path as everybody would find it: absolute, without links and `..`, as far as it is there.
pub fn resolved(path: impl AsRef<Path>) -> PathBuf {
    let path = std::path::absolute(&path).unwrap_or_else(|_| path.as_ref().to_owned());
    let mut rest = PathBuf::new();
    for ancestor in path.ancestors() {
        if let Ok(found) = fs::canonicalize(ancestor) {
            return if rest.as_os_str().is_empty() { found } else { found.join(rest) };
        }
        let Some(name) = ancestor.file_name() else { break };
        rest = if rest.as_os_str().is_empty() { name.into() } else { Path::new(name).join(rest) };
    }
    path
}

/// The operating system's reason without its number: `No such file or directory`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

fn fault(what: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::external(Code::Storage, format!("{what} {}: {}", path.display(), reason(error)))
}

/// The folder that holds a path: `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grants.yaml");
        write_atomic(&path, b"one", Access::Usual).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write_atomic(&path, b"two", Access::Usual).unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "two");
        assert_eq!(mode(&path), 0o640, "a file keeps the mode its owner gave it");
        replace(&path, b"three", Access::Owner).unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "three");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(list(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn of_two_who_create_a_file_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.key");
        assert!(create_new(&path, b"one").unwrap());
        assert!(!create_new(&path, b"two").unwrap());
        assert_eq!((read_to_string(&path).unwrap().as_str(), mode(&path)), ("one", 0o600));
        assert_eq!(list(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_atomic(&path, b"four", Access::Usual).unwrap();
        assert_eq!(read_at_most(&path, 4).unwrap().as_deref(), Some(&b"four"[..]));
        assert_eq!(read_at_most(&path, 3).unwrap(), None);
        assert_eq!(read_at_most("/dev/zero", 1 << 20).unwrap(), None);
    }

    #[test]
    fn a_folder_is_asked_for_links_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        can_link(folder.path()).unwrap();
        assert_eq!(list(folder.path()).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(can_link(folder.path().join("absent")).unwrap_err().code, Code::Storage);
    }

    #[test]
    fn what_is_missing_is_said_with_its_path_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent/file");
        let shown = path.display();
        for (outcome, verb) in [
            (read(&path).map(drop), "cannot read"),
            (write_atomic(&path, b"", Access::Owner), "cannot write"),
            (create_new(&path, b"").map(drop), "cannot create"),
            (crate::AppendedFile::open(&path).map(drop), "cannot append to"),
        ] {
            let expected = format!("TG0901: {verb} {shown}: No such file or directory");
            assert_eq!(outcome.unwrap_err().to_string(), expected);
        }
        assert_eq!(read_if_exists(&path).unwrap(), None);
        assert_eq!(list(&path).unwrap(), Vec::<PathBuf>::new());
        remove(&path).unwrap();
    }
}
