//! Folders and files of the host.
//!
//! What was granted may be or contain symbolic links: whoever granted it meant what it points at. A location
//! that a component names below it, and a path below that, lead out of neither: the kernel resolves them
//! beneath a folder's descriptor (`openat2`), so there is no moment between check and use.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use globset::GlobMatcher;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstatfs, openat2, readlink};
use rustix::io::Errno;
use tidegate_permission::Granted;

use super::Object;
use super::listing::Listing;
use crate::bindings::files::Entry;
use crate::bytes::Reader;
use crate::refusal::{Asked, Refusal};

const MAX_DEPTH: usize = 32;

/// Nothing that is opened makes its opener wait, whatever it turns out to be.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// What `statfs` says of file systems that show processes and devices, not data.
const NO_DATA: [i64; 3] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
];

pub(super) struct LocalPlace {
    granted: Granted,
    /// Folders whose files are not there, whatever was granted: the host's own.
    hidden: Vec<PathBuf>,
    /// As it was written, for messages.
    location: String,
}

impl LocalPlace {
    /// The location, which is below what was granted.
    pub(super) fn new(base: &Path, granted: Granted, location: &str, hidden: &[PathBuf]) -> Self {
        let granted = Granted { root: base.join(granted.root), ..granted };
        Self { granted, hidden: hidden.to_owned(), location: location.to_owned() }
    }

    /// Whether what was opened is data, and not the host's. Asked of what was opened, so no link leads around it.
    fn is_data(&self, opened: &OwnedFd) -> bool {
        let kind = fstatfs(opened).map(|system| system.f_type);
        let path = readlink(format!("/proc/self/fd/{}", opened.as_raw_fd()), Vec::new());
        let (Ok(kind), Ok(path)) = (kind, path) else { return false };
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        !NO_DATA.contains(&kind) && !self.hidden.iter().any(|hidden| path.starts_with(hidden))
    }

    pub(super) fn list(&self, glob: Option<&GlobMatcher>) -> Asked<Vec<Entry>> {
        let mut listing = Listing::new(glob);
        let root = self.descriptor()?;
        if !self.is_data(&root) {
            return Err(Refusal::not_found(format!("`{}` is no data", self.location)));
        }
        let root = File::from(root);
        let metadata = root.metadata().map_err(|error| self.refused("", &error))?;
        if metadata.is_file() {
            return Ok(vec![entry(String::new(), &metadata)]);
        }
        let root = root.into();
        self.walk(&root, &root, "", 0, &mut listing)?;
        Ok(listing.into_entries())
    }

    fn walk(
        &self,
        root: &OwnedFd,
        folder: &OwnedFd,
        prefix: &str,
        depth: usize,
        into: &mut Listing<'_>,
    ) -> Asked<()> {
        if depth > MAX_DEPTH {
            return Err(Refusal::limit(format!(
                "`{}` has folders more than {MAX_DEPTH} deep",
                self.location
            )));
        }
        let told = |error: Errno| self.refused(prefix, &error.into());
        for found in Dir::read_from(folder).map_err(told)? {
            let found = found.map_err(told)?;
            // A name that is not UTF-8 has no place in the contract.
            let Ok(name) = found.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            match found.file_type() {
                FileType::Directory => {
                    let below = beneath(root, &path, OFlags::DIRECTORY).map_err(told)?;
                    self.walk(root, &below, &path, depth + 1, into)?;
                }
                FileType::RegularFile | FileType::Symlink | FileType::Unknown => {
                    let file = match beneath(root, &path, OFlags::empty()) {
                        Ok(file) => file,
                        // Left out silently, its rows would be missed by nobody.
                        Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                            return Err(self.refused(&path, &error.into()));
                        }
                        // A link that leads out, or nowhere, is as if it were not there.
                        Err(_) => continue,
                    };
                    if !self.is_data(&file) {
                        continue;
                    }
                    let metadata =
                        File::from(file).metadata().map_err(|error| self.refused(&path, &error))?;
                    if metadata.is_file() {
                        into.add(entry(path, &metadata))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn open(&self, path: &str, range: Option<Range<u64>>) -> Asked<(Reader, Object)> {
        let refused = |error| self.refused(path, &error);
        let mut opened = self.descriptor()?;
        if !path.is_empty() {
            opened = beneath(&opened, path, OFlags::empty()).map_err(|error| refused(error.into()))?;
        }
        if !self.is_data(&opened) {
            return Err(Refusal::not_found(format!("`{}` is no data", self.name(path))));
        }
        let mut file = self.regular(path, opened.into())?;
        let object = Object::Local(file.try_clone().map_err(refused)?);
        let Some(range) = range else {
            return Ok((Box::new(file), object));
        };
        file.seek(SeekFrom::Start(range.start)).map_err(refused)?;
        Ok((Box::new(file.take(range.end - range.start)), object))
    }

    fn descriptor(&self) -> Asked<OwnedFd> {
        let Granted { root, below } = &self.granted;
        let granted = openat2(CWD, root, READ, Mode::empty(), ResolveFlags::empty());
        let found = match below.as_str() {
            "" => granted,
            below => granted.and_then(|granted| beneath(granted, below, OFlags::empty())),
        };
        found.map_err(|error| self.refused("", &error.into()))
    }

    /// Only plain files are read: a pipe would wait for ever, a device is not data.
    fn regular(&self, path: &str, file: File) -> Asked<File> {
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_) => Err(Refusal::not_found(format!("`{}` is not a file", self.name(path)))),
            Err(error) => Err(self.refused(path, &error)),
        }
    }

    fn name(&self, path: &str) -> String {
        if path.is_empty() {
            self.location.clone()
        } else {
            format!("{}/{path}", self.location.trim_end_matches('/'))
        }
    }

    fn refused(&self, path: &str, error: &std::io::Error) -> Refusal {
        let message = format!("`{}`: {}", self.name(path), tidegate_infrastructure::files::reason(error));
        let user = crate::bindings::types::FaultDomain::User;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Refusal::not_found(message),
            Some(Errno::XDEV | Errno::LOOP) => {
                Refusal::told(user, "denied", format!("`{}` leads out of its location", self.name(path)))
            }
            _ => Refusal::unavailable(message),
        }
    }
}

fn beneath(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | READ, Mode::empty(), resolve)
}

fn entry(path: String, metadata: &Metadata) -> Entry {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Entry {
        path,
        size: metadata.len(),
        modified: modified.and_then(|since| u64::try_from(since.as_millis()).ok()),
        version: None,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "for tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, LocalPlace) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("data/sub")).unwrap();
        fs::write(root.join("secret"), "no").unwrap();
        fs::write(root.join("data/a.csv"), "0123456789").unwrap();
        fs::write(root.join("data/sub/b.csv"), "b").unwrap();
        symlink("../secret", root.join("data/out")).unwrap();
        symlink("/etc/passwd", root.join("data/passwd")).unwrap();
        symlink("sub/b.csv", root.join("data/in.csv")).unwrap();
        symlink(root, root.join("data/up")).unwrap();
        let place = place(root, "data", "");
        (folder, place)
    }

    fn place(base: &Path, granted: &str, below: &str) -> LocalPlace {
        let location = format!("{granted}/{below}");
        LocalPlace::new(base, Granted { root: granted.into(), below: below.into() }, &location, &[])
    }

    fn code(refused: Refusal) -> String {
        match refused {
            Refusal::Told(fault) => fault.code,
            Refusal::Ended(fault) => fault.to_string(),
        }
    }

    #[test]
    fn a_listing_stays_below_its_location() {
        let (_folder, place) = tree();
        let paths = |glob: Option<&str>| {
            let glob = super::super::matcher(glob).unwrap();
            let mut paths: Vec<_> = place.list(glob.as_ref()).unwrap().into_iter().map(|e| e.path).collect();
            paths.sort();
            paths
        };
        assert_eq!(paths(None), ["a.csv", "in.csv", "sub/b.csv"]);
        assert_eq!(paths(Some("*.csv")), ["a.csv", "in.csv"]);
        assert_eq!(paths(Some("**/b.{csv,json}")), ["sub/b.csv"]);
    }

    #[test]
    fn nothing_leads_out_of_a_location() {
        let (_folder, place) = tree();
        for (path, expected) in [
            ("out", "denied"),
            ("passwd", "denied"),
            ("up/secret", "denied"),
            ("../secret", "denied"),
            ("sub/../../secret", "denied"),
            ("/etc/passwd", "denied"),
            ("none.csv", "not-found"),
            ("a.csv/b", "not-found"),
            ("sub", "not-found"),
        ] {
            assert_eq!(place.open(path, None).map(|_| ()).map_err(code), Err(expected.to_owned()), "{path}");
        }
    }

    #[test]
    fn nor_does_a_location_lead_out_of_what_was_granted() {
        let (folder, _) = tree();
        let open = |granted: &str, below: &str, path: &str| {
            let place = place(folder.path(), granted, below);
            let listed = place.list(None).map(|entries| entries.len()).map_err(code);
            (place.open(path, None).map(|_| ()).map_err(code), listed)
        };
        let denied = || Err("denied".to_owned());
        for below in ["out", "passwd", "up", "up/data"] {
            assert_eq!(open("data", below, ""), (denied(), Err("denied".to_owned())), "{below}");
        }
        assert_eq!(open("data", "up", "secret").0, denied());
        assert_eq!(open("data", "in.csv", ""), (Ok(()), Ok(1)));
        assert_eq!(open("data", "sub", "b.csv"), (Ok(()), Ok(1)));
        // What was granted is what it points at.
        assert_eq!(open("data/up", "data/sub", "b.csv"), (Ok(()), Ok(1)));
        assert_eq!(open("data/out", "", ""), (Ok(()), Ok(1)));
    }

    #[test]
    fn a_range_is_read_and_no_more() {
        let (_folder, place) = tree();
        let read = |path: &str, range| {
            let mut text = String::new();
            place.open(path, range).ok().unwrap().0.read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read("a.csv", None), "0123456789");
        assert_eq!(read("a.csv", Some(3..5)), "34");
        assert_eq!(read("a.csv", Some(8..100)), "89");
        assert_eq!(read("in.csv", None), "b");
    }

    #[test]
    fn a_location_can_be_a_file_but_not_a_pipe() {
        let (folder, _) = tree();
        let file = place(folder.path(), "data/a.csv", "");
        assert_eq!(file.list(None).unwrap()[0].path, "");
        assert!(file.open("", None).is_ok());
        let pipe = folder.path().join("data/pipe");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR).unwrap();
        let pipe = |granted, below, path| place(folder.path(), granted, below).open(path, None).map(|_| ());
        for refused in [
            place(Path::new("/"), "dev/null", "").open("", None).map(|_| ()),
            pipe("data", "", "pipe"),
            pipe("data", "pipe", ""),
            pipe("data/pipe", "", ""),
            place(folder.path(), "data/pipe", "").list(None).map(|_| ()),
        ] {
            assert_eq!(refused.map_err(code), Err("not-found".to_owned()));
        }
    }

    #[test]
    fn the_hosts_own_files_and_the_kernels_are_no_data() {
        let (folder, _) = tree();
        let hidden = [folder.path().join("data/sub").canonicalize().unwrap()];
        let all = Granted { root: ".".into(), below: String::new() };
        let place = LocalPlace::new(folder.path(), all, ".", &hidden);
        let names: Vec<String> = place.list(None).unwrap().into_iter().map(|entry| entry.path).collect();
        assert!(names.contains(&"data/a.csv".to_owned()), "{names:?}");
        // Not by its own name, nor by a link's.
        for name in ["data/sub/b.csv", "data/in.csv"] {
            assert!(!names.contains(&name.to_owned()), "{names:?}");
            assert_eq!(code(place.open(name, None).err().unwrap()), "not-found", "{name}");
        }
        std::os::unix::fs::symlink("/proc/self", folder.path().join("mine")).unwrap();
        for granted in ["/proc/self", "mine", "/sys", "/proc/self/environ"] {
            let place = LocalPlace::new(
                folder.path(),
                Granted { root: granted.into(), below: String::new() },
                granted,
                &[],
            );
            assert_eq!(code(place.list(None).err().unwrap()), "not-found", "{granted}");
            assert!(place.open("environ", None).is_err() && place.open("", None).is_err(), "{granted}");
        }
        // The whole disk has both in it.
        let disk =
            LocalPlace::new(Path::new("/"), Granted { root: "/".into(), below: String::new() }, "/", &[]);
        assert_eq!(code(disk.open("proc/self/environ", None).err().unwrap()), "not-found");
    }
}
