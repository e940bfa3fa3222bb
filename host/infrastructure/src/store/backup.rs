//! A store in one file.
//!
//! ```text
//! "tidegate store\n"                   16 bytes with a zero behind it
//! format of the entries                4 bytes
//! for each entry: 1, length of the table's name, of the key, of the value (4 bytes each), and these
//! 0, number of entries                 1 + 8 bytes
//! SHA-256 of all before it             32 bytes
//! ```
//!
//! Numbers have their lowest byte first.
#![expect(clippy::disallowed_methods, reason = "the owner of the file system")]

use std::fs::{File, Permissions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tidegate_model::{Code, Fault, Result};

use super::limits::{MAX_KEY, MAX_VALUE};
use super::place::failed;
use crate::files::folder_of;

const MAGIC: &[u8; 16] = b"tidegate store\n\0";
const ENTRY: u8 = 1;
const END: u8 = 0;
/// Bytes of a table's name.
const MAX_TABLE: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) table: String,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

pub(super) struct Writer {
    path: PathBuf,
    /// Beside the path, until it is whole.
    file: BufWriter<NamedTempFile>,
    hasher: Sha256,
    entries: u64,
}

impl Writer {
    pub(super) fn create(path: &Path, format: u32) -> Result<Self> {
        let file = tempfile::Builder::new()
            .prefix(".tidegate-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder_of(path))
            .map_err(|error| failed("cannot write", path, &error))?;
        let file = BufWriter::new(file);
        let mut writer = Self { path: path.to_owned(), file, hasher: Sha256::new(), entries: 0 };
        writer.put(MAGIC)?;
        writer.put(&format.to_le_bytes())?;
        Ok(writer)
    }

    pub(super) fn entry(&mut self, table: &str, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(&[ENTRY])?;
        for part in [table.as_bytes(), key, value] {
            self.put(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        }
        for part in [table.as_bytes(), key, value] {
            self.put(part)?;
        }
        self.entries += 1;
        Ok(())
    }

    /// The file is there under its name when this comes back, on the disk.
    pub(super) fn finish(mut self) -> Result<()> {
        self.put(&[END])?;
        self.put(&self.entries.to_le_bytes())?;
        let hash = std::mem::take(&mut self.hasher).finalize();
        let Self { path, mut file, .. } = self;
        let close = || {
            file.write_all(&hash)?;
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(folder_of(&path))?.sync_all()
        };
        close().map_err(|error| failed("cannot write", &path, &error))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|error| failed("cannot write", &self.path, &error))
    }
}

/// Gives the entries of a file one by one. That the file was whole is known when there is none left: until
/// then, what it gave counts for nothing.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    hasher: Sha256,
    format: u32,
    entries: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| failed("cannot read", path, &error))?;
        let file = BufReader::new(file);
        let mut reader = Self { path: path.to_owned(), file, hasher: Sha256::new(), format: 0, entries: 0 };
        if reader.array().ok().as_ref() != Some(MAGIC) {
            return Err(refused(path, "it is none that `tidegate store backup` makes"));
        }
        reader.format = u32::from_le_bytes(reader.array()?);
        Ok(reader)
    }

    pub(super) fn format(&self) -> u32 {
        self.format
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let [kind] = self.array()?;
        match kind {
            ENTRY => {
                let table = self.length(MAX_TABLE)?;
                let (key, value) = (self.length(MAX_KEY)?, self.length(MAX_VALUE)?);
                let table = String::from_utf8(self.bytes(table)?).ok().filter(|name| is_table(name));
                let Some(table) = table else { return Err(self.not_whole()) };
                self.entries += 1;
                Ok(Some(Entry { table, key: self.bytes(key)?, value: self.bytes(value)? }))
            }
            END => {
                let entries = u64::from_le_bytes(self.array()?);
                let hash: [u8; 32] = std::mem::take(&mut self.hasher).finalize().into();
                let told: [u8; 32] = self.array()?;
                let behind =
                    self.file.read(&mut [0]).map_err(|error| failed("cannot read", &self.path, &error))?;
                if entries == self.entries && hash == told && behind == 0 {
                    Ok(None)
                } else {
                    Err(self.not_whole())
                }
            }
            _ => Err(self.not_whole()),
        }
    }

    fn length(&mut self, most: usize) -> Result<usize> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if length <= most { Ok(length) } else { Err(self.not_whole()) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.hasher.update(&*bytes);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.not_whole()),
            Err(error) => Err(failed("cannot read", &self.path, &error)),
        }
    }

    fn not_whole(&self) -> Fault {
        refused(&self.path, "it was changed, or cut short")
    }
}

/// As [`Table`](super::Table) has them.
fn is_table(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

pub(super) fn refused(path: &Path, why: &str) -> Fault {
    Fault::user(Code::StoreUnusable, format!("`{}` is no backup that can be restored: {why}", path.display()))
        .help("nothing was changed; take another backup")
}
