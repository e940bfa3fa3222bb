//! A store in one file, which can be made to fail, and what lies around it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tidegate_infrastructure::files::{Access, write_atomic};
use tidegate_infrastructure::{Store, Table, Write};
use tidegate_model::{Code, Fault, Result};
use tidegate_permission::{EncryptedStore, KeyFile, Principal, Secret};

pub const SECRETS: Table = Table::new("secrets");

type Map = BTreeMap<String, Vec<u8>>;

/// Of text keys only.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    /// Held over a look and what follows from it.
    turn: Mutex<()>,
    pub cut: Mutex<Option<Cut>>,
}

/// Where a batch ends as if the process had been killed there.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    BeforeBatch,
    AfterBatch,
}

impl Disk {
    fn map(&self) -> Map {
        fs::read(&self.path).map_or_else(|_| Map::new(), |text| serde_json::from_slice(&text).unwrap())
    }

    fn save(&self, map: &Map) -> Result<()> {
        write_atomic(&self.path, &serde_json::to_vec(map).unwrap(), Access::Owner)
    }
}

fn place(table: Table, key: &[u8]) -> String {
    format!("{}\n{}", table.name(), std::str::from_utf8(key).unwrap())
}

impl Store for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let _turn = self.turn.lock().unwrap();
        Ok(self.map().remove(&place(table, key)))
    }

    fn compare_and_swap(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let _turn = self.turn.lock().unwrap();
        let mut map = self.map();
        let place = place(table, key);
        if map.get(&place).map(Vec::as_slice) != expected {
            return Ok(false);
        }
        match new {
            Some(new) => map.insert(place, new.to_owned()),
            None => map.remove(&place),
        };
        self.save(&map).map(|()| true)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let _turn = self.turn.lock().unwrap();
        let below = place(table, prefix);
        let start = table.name().len() + 1;
        let found = self.map().into_iter().filter(|(place, _)| place.starts_with(&below));
        let found = found.map(|(place, value)| (place.as_bytes()[start..].to_owned(), value));
        Ok(found.filter(|(key, _)| after.is_none_or(|after| key.as_slice() > after)).take(most).collect())
    }

    fn batch(&self, writes: &[Write]) -> Result<()> {
        let _turn = self.turn.lock().unwrap();
        let cut = self.cut.lock().unwrap().take();
        let killed = || Fault::external(Code::StoreUnusable, "killed");
        if matches!(cut, Some(Cut::BeforeBatch)) {
            return Err(killed());
        }
        let mut map = self.map();
        for Write { table, key, value } in writes {
            match value {
                Some(value) => map.insert(place(*table, key), value.clone()),
                None => map.remove(&place(*table, key)),
            };
        }
        self.save(&map)?;
        if cut.is_some() { Err(killed()) } else { Ok(()) }
    }
}

/// A folder with a store and its key, gone when dropped.
pub struct Home {
    folder: Option<TempDir>,
    path: PathBuf,
    pub disk: Arc<Disk>,
    pub secrets: EncryptedStore,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Self::at(folder.path(), "store", "keys/secrets.key");
        Self { folder: Some(folder), ..home }
    }

    /// Another store of that folder, or another key.
    pub fn beside(&self, store: &str, keys: &str) -> Self {
        Self::at(&self.path, store, keys)
    }

    pub fn at(folder: &Path, store: &str, keys: &str) -> Self {
        let disk = Arc::new(Disk { path: folder.join(store), turn: Mutex::default(), cut: Mutex::default() });
        let keys = folder.join(keys);
        let opened = Arc::clone(&disk);
        let open = move || Ok((Arc::clone(&opened) as Arc<dyn Store>, KeyFile::at(&keys)));
        let secrets = EncryptedStore::new(Box::new(open), " --data-dir HERE");
        Self { folder: None, path: folder.to_owned(), disk, secrets }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        assert!(self.folder.is_some() || self.path.is_dir());
        self.path.join(name)
    }

    #[track_caller]
    pub fn set(&self, name: &str, value: &str) {
        self.secrets.set(name, &Secret::new(value.into()), &Principal::operator()).unwrap();
    }

    /// A secret's value, or why there is none.
    pub fn told(&self, name: &str) -> String {
        match self.secrets.get(name) {
            Ok(held) => String::from_utf8_lossy(held.secret.expose()).into_owned(),
            Err(fault) => fault.to_string(),
        }
    }

    /// The lines of the key file that are keys.
    pub fn keys(&self) -> usize {
        let text = fs::read_to_string(self.path("keys/secrets.key")).unwrap_or_default();
        text.lines().filter(|line| !line.starts_with('#')).count()
    }
}
