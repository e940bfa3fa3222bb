//! Files of the host: read whole, written whole or appended to by the line.
//!
//! Every error names the path and says the operating system's reason in words, with [`Code::Storage`]. A
//! caller for whom the file means more than that (a pipeline that is not there) replaces the code.
#![expect(clippy::disallowed_methods, reason = "the owner of the file system")]

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
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
    replace(path, bytes, access).map_err(|error| fault("cannot write", path, &error))
}

fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
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
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

/// Adds a line to the end of a file, creating it for its owner alone. The line and its break reach the file
/// in one write at its end, so that several processes can append to one file and no line is torn by another.
/// With `durable` it also survives a loss of power; without, only the death of this process.
pub fn append_line(path: impl AsRef<Path>, line: &str, durable: bool) -> Result<()> {
    let path = path.as_ref();
    append(path, line, durable).map_err(|error| fault("cannot append to", path, &error))
}

fn append(path: &Path, line: &str, durable: bool) -> io::Result<()> {
    let mut text = String::with_capacity(line.len() + 1);
    text.push_str(line);
    text.push('\n');
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let written = loop {
        match file.write(text.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if written < text.len() {
        return Err(io::Error::new(ErrorKind::StorageFull, "only a part of the line was written"));
    }
    if durable { file.sync_data() } else { Ok(()) }
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
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

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
        write_atomic(&path, b"three", Access::Owner).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(list(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn lines_of_many_writers_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    let line = format!("{writer}").repeat(3000);
                    for _ in 0..50 {
                        append_line(path, &line, false).unwrap();
                    }
                });
            }
        });
        let text = read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 200);
        assert!(text.lines().all(|line| line.len() == 3000 && line.bytes().all(|b| b == line.as_bytes()[0])));
        assert_eq!(mode(&path), 0o600);
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
            (append_line(&path, "", true), "cannot append to"),
        ] {
            let expected = format!("TG0901: {verb} {shown}: No such file or directory");
            assert_eq!(outcome.unwrap_err().to_string(), expected);
        }
        assert_eq!(read_if_exists(&path).unwrap(), None);
        assert_eq!(list(&path).unwrap(), Vec::<PathBuf>::new());
        remove(&path).unwrap();
    }
}
