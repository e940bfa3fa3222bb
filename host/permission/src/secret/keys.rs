//! The keys that secrets at rest are sealed with.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tidegate_infrastructure::files::{self, Access};
use tidegate_infrastructure::{FolderLock, config_dir, read_private};
use tidegate_model::{Code, Fault, Result};
use zeroize::Zeroizing;

use super::record::random;

const HEADER: &str = "\
# Keys of Tidegate's secret stores. Whoever has this file can read what is in them; without it nobody can.
# Keep a copy, and keep it away from the copies of the stores. A line is: STORE KEY. A store's first one is in use.
";

/// Bytes of the longest key file: some thousand stores.
const LONGEST: usize = 1 << 20;

/// The file that holds the keys of all stores of one person, outside of every store: whoever gets hold of a
/// store, or of a copy of one, has nothing. Only its owner can read it (mode 0600).
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// What `TIDEGATE_SECRETS_KEY_FILE` names, else `secrets.key` in the folder for keys of whoever runs this.
    pub fn of_this_user() -> Result<Self> {
        match std::env::var_os("TIDEGATE_SECRETS_KEY_FILE").filter(|path| !path.is_empty()) {
            Some(path) => Ok(Self::at(path)),
            None => Ok(Self::at(config_dir()?.join("secrets.key"))),
        }
    }

    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The right to change it, and to seal with what it says is in use.
    pub(super) fn lock(&self) -> Result<FolderLock> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        files::create_private_dir(folder)?;
        FolderLock::take(folder)
    }

    /// All keys; none where there is no file yet.
    pub(super) fn load(&self) -> Result<Ring> {
        let text = read_private(&self.path, LONGEST)
            .map_err(|fault| Fault { code: Code::NoSecret, ..fault }.context("the key of the secrets"))?;
        Ring::parse(&text.unwrap_or_default()).map_err(|line| {
            let why = format!("{} is no key file: line {line} makes no sense", self.path.display());
            Fault::user(Code::NoSecret, why)
                .help("restore it from your copy, or name the right file with TIDEGATE_SECRETS_KEY_FILE")
        })
    }

    /// In place when this returns, whatever happens to the machine.
    pub(super) fn save(&self, ring: &Ring) -> Result<()> {
        files::write_atomic(&self.path, ring.text().as_bytes(), Access::Owner)
    }
}

/// 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub(super) fn new() -> Result<Self> {
        let mut key = Self(Zeroizing::new([0; 32]));
        random(&mut *key.0)?;
        Ok(key)
    }

    /// Names it, and says nothing of it: 64 bits of a hash.
    pub(super) fn id(&self) -> String {
        let hash =
            Sha256::new().chain_update("tidegate secret key").chain_update(self.0.as_slice()).finalize();
        hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn bytes(&self) -> &chacha20poly1305::Key {
        chacha20poly1305::Key::from_slice(&*self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

/// The keys of all stores, the one in use before others of the same store.
#[derive(Debug, Default)]
pub(super) struct Ring(Vec<(String, Key)>);

impl Ring {
    /// The key that a store seals with.
    pub(super) fn in_use(&self, store: &str) -> Option<&Key> {
        self.0.iter().find(|(of, _)| of == store).map(|(_, key)| key)
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.0.iter().map(|(_, key)| key).find(|key| key.id() == id)
    }

    /// From now on the store seals with this one.
    pub(super) fn put_in_use(&mut self, store: &str, key: Key) {
        self.0.insert(0, (store.to_owned(), key));
    }

    /// Forgets all keys of a store but the one in use.
    pub(super) fn retire_others(&mut self, store: &str) {
        let mut seen = false;
        self.0.retain(|(of, _)| of != store || !std::mem::replace(&mut seen, true));
    }

    /// The number of the line that is none, from 1.
    fn parse(text: &[u8]) -> Result<Self, usize> {
        let mut keys = Vec::new();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1_usize..) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            keys.push(entry(line).ok_or(number)?);
        }
        Ok(Self(keys))
    }

    fn text(&self) -> Zeroizing<String> {
        // A line is the store's 32 digits, a space, 44 of the key and a break: it must not grow.
        let mut text = Zeroizing::new(String::with_capacity(HEADER.len() + self.0.len() * 256));
        text.push_str(HEADER);
        for (store, key) in &self.0 {
            let encoded = Zeroizing::new(STANDARD.encode(*key.0));
            for part in [store.as_str(), " ", &encoded, "\n"] {
                text.push_str(part);
            }
        }
        text
    }
}

fn entry(line: &[u8]) -> Option<(String, Key)> {
    let (store, encoded) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let mut key = Key(Zeroizing::new([0; 32]));
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    if decoded.len() != key.0.len() {
        return None;
    }
    key.0.copy_from_slice(&decoded);
    Some((store.to_owned(), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_in_order_and_found_by_name() {
        let [one, two, other] = [(); 3].map(|()| Key::new().unwrap());
        let mut ring = Ring::default();
        ring.put_in_use("a", one.clone());
        ring.put_in_use("b", other.clone());
        ring.put_in_use("a", two.clone());
        let mut ring = Ring::parse(ring.text().as_bytes()).unwrap();
        assert_eq!(ring.in_use("a"), Some(&two));
        assert_eq!(ring.find(&one.id()), Some(&one), "what it sealed can still be read");
        ring.retire_others("a");
        assert_eq!((ring.in_use("a"), ring.in_use("b")), (Some(&two), Some(&other)));
        assert_eq!((ring.find(&one.id()), ring.0.len()), (None, 2));
    }

    #[test]
    fn a_key_shows_its_name_only() {
        let key = Key::new().unwrap();
        assert_eq!(format!("{key:?}"), format!("Key({})", key.id()));
        assert_eq!(key.id().len(), 16);
    }

    #[test]
    fn a_line_that_is_no_key_is_not_passed_over() {
        for (text, line) in
            [("#\n\na b\n", 3), ("a\n", 1), ("#\na AAAA\n", 2), ("a \u{e9}\n", 1), ("\n\na ====", 3)]
        {
            assert_eq!(Ring::parse(text.as_bytes()).unwrap_err(), line, "{text:?}");
        }
        assert_eq!(Ring::parse(b"# only words\n").unwrap().0.len(), 0);
    }
}
