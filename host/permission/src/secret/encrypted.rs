//! `store:NAME`

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_infrastructure::{Store, Table, Write, clock};
use tidegate_model::{Code, Fault, Result, nearest};

use super::keys::Key;
use super::record::{Record, random};
use super::{Held, KeyFile, Listed, Revision, Secret, SecretKeeper, SecretSource};
use crate::principal::Principal;

/// A [`Record`] for each name.
const SECRETS: Table = Table::new("secrets");
/// What the key file calls this store, under [`STORE_ID`].
const ABOUT: Table = Table::new("secrets-about");
const STORE_ID: &[u8] = b"id";
/// Records that are looked at together.
const PAGE: usize = 256;

/// Opens the platform's own store, and says where the key to its secrets is.
pub type OpenStore = Box<dyn Fn() -> Result<(Arc<dyn Store>, KeyFile)> + Send + Sync>;

/// Secrets in the platform's own store, encrypted with a key that is not in it.
///
/// The store is opened for each piece of work and closed after it: it belongs to one process at a time, and
/// several runs may want a secret.
pub struct EncryptedStore {
    open: OpenStore,
    /// What `tidegate secret` needs beside its verb to mean this store, such as ` --data-dir /srv`.
    option: String,
}

/// One piece of work.
struct Opened<'a> {
    store: Arc<dyn Store>,
    keys: KeyFile,
    option: &'a str,
}

impl EncryptedStore {
    pub fn new(open: OpenStore, option: impl Into<String>) -> Self {
        Self { open, option: option.into() }
    }

    /// The newest value of a secret.
    pub fn get(&self, name: &str) -> Result<Held> {
        self.opened()?.get(name)
    }

    /// Keeps a secret, whether there is one of that name or not.
    pub fn set(&self, name: &str, value: &Secret, by: &Principal) -> Result<Revision> {
        self.opened()?.write(name, value, by, |_| Ok(()))
    }

    /// Keeps a new value of a secret, if it is still the one that was read.
    pub fn swap(&self, name: &str, value: &Secret, by: &Principal, read: &Revision) -> Result<Revision> {
        self.opened()?.write(name, value, by, |now| match now {
            Some(now) if now == read => Ok(()),
            _ => Err(Fault::external(
                Code::SecretChanged,
                format!("the secret store:{name} is not the one that was read any more"),
            )
            .help("somebody else gave it a new value, which stays; read that one and go on")
            .retry_after(0)),
        })
    }

    /// Which value of a secret there is, without reading it.
    pub fn revision(&self, name: &str) -> Result<Revision> {
        let opened = self.opened()?;
        match opened.record(name)? {
            Some(record) => Ok(record.revision()),
            None => Err(opened.unknown(name)),
        }
    }

    /// What is kept, by name.
    pub fn names(&self) -> Result<Vec<Listed>> {
        Ok(self.opened()?.records()?.iter().map(|(name, record)| record.listed(name)).collect())
    }

    /// Forgets a secret, readable or not.
    pub fn forget(&self, name: &str) -> Result<()> {
        let opened = self.opened()?;
        if opened.store.get(SECRETS, name.as_bytes())?.is_none() {
            return Err(opened.unknown(name));
        }
        opened.store.remove(SECRETS, name.as_bytes())
    }

    /// Seals every secret anew, with a new key, and forgets the old one. Gives their number, and where the key
    /// is.
    ///
    /// Interrupted at any moment, everything can still be read, and doing it again completes it: the new key is
    /// on the disk before anything is sealed with it, all records change at once, and the old key goes last.
    pub fn rekey(&self) -> Result<(usize, PathBuf)> {
        let opened = self.opened()?;
        Ok((opened.rekey()?, opened.keys.path().to_owned()))
    }

    fn opened(&self) -> Result<Opened<'_>> {
        let (store, keys) = (self.open)()?;
        Ok(Opened { store, keys, option: &self.option })
    }
}

impl Opened<'_> {
    fn get(&self, name: &str) -> Result<Held> {
        let find = || -> Result<_> {
            let record = self.record(name)?.ok_or_else(|| self.unknown(name))?;
            // After the record: a key is there before what it seals, and as long.
            let ring = self.keys.load()?;
            Ok((ring.find(&record.key).cloned(), record))
        };
        let (key, record) = match find()? {
            // Sealed anew, and its key retired, between the two looks.
            (None, _) => find()?,
            found => found,
        };
        let key = key.ok_or_else(|| self.no_key(&record.key))?;
        Ok(Held { secret: record.open(name, &key)?, revision: Some(record.revision()) })
    }

    fn write(
        &self,
        name: &str,
        value: &Secret,
        by: &Principal,
        fits: impl Fn(Option<&Revision>) -> Result<()>,
    ) -> Result<Revision> {
        value.check()?;
        let _turn = self.keys.lock()?;
        loop {
            let before = self.store.get(SECRETS, name.as_bytes())?;
            let record = before.as_deref().map(|bytes| Record::from_bytes(name, bytes)).transpose()?;
            let last = record.as_ref().map(Record::revision);
            fits(last.as_ref())?;
            let version = last.map_or(0, |revision| revision.version).saturating_add(1);
            let written = clock::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            let revision = Revision { version, written };
            let listed = Listed { name: name.to_owned(), revision, by: by.to_string() };
            let sealed = Record::seal(&listed, value, &self.key()?)?.to_bytes()?;
            if self.store.compare_and_swap(SECRETS, name.as_bytes(), before.as_deref(), Some(&sealed))? {
                return Ok(listed.revision);
            }
        }
    }

    fn rekey(&self) -> Result<usize> {
        let _turn = self.keys.lock()?;
        let id = store_id(&*self.store)?;
        let mut ring = self.keys.load()?;
        let new = Key::new()?;
        let mut writes = Vec::new();
        for (name, record) in self.records()? {
            let old = ring.find(&record.key).ok_or_else(|| self.no_key(&record.key))?;
            let value = record.open(&name, old)?;
            let sealed = Record::seal(&record.listed(&name), &value, &new)?.to_bytes()?;
            writes.push(Write { table: SECRETS, key: name.into_bytes(), value: Some(sealed) });
        }
        ring.put_in_use(&id, new);
        self.keys.save(&ring)?;
        self.store.batch(&writes)?;
        ring.retire_others(&id);
        self.keys.save(&ring)?;
        Ok(writes.len())
    }

    /// The key to seal with; made when the store has none yet.
    fn key(&self) -> Result<Key> {
        let id = store_id(&*self.store)?;
        let mut ring = self.keys.load()?;
        if let Some(key) = ring.in_use(&id) {
            return Ok(key.clone());
        }
        // A new key beside secrets whose own is missing would hide that until somebody needs them.
        for (_, record) in self.records()? {
            ring.find(&record.key).ok_or_else(|| self.no_key(&record.key))?;
        }
        let key = Key::new()?;
        ring.put_in_use(&id, key.clone());
        self.keys.save(&ring)?;
        Ok(key)
    }

    fn record(&self, name: &str) -> Result<Option<Record>> {
        let bytes = self.store.get(SECRETS, name.as_bytes())?;
        bytes.map(|bytes| Record::from_bytes(name, &bytes)).transpose()
    }

    fn records(&self) -> Result<Vec<(String, Record)>> {
        let read =
            |(name, bytes): (String, Vec<u8>)| Record::from_bytes(&name, &bytes).map(|record| (name, record));
        entries(&*self.store)?.into_iter().map(read).collect()
    }

    fn unknown(&self, name: &str) -> Fault {
        let names: Vec<String> = match entries(&*self.store) {
            Ok(entries) => entries.into_iter().map(|(name, _)| name).collect(),
            Err(fault) => return fault,
        };
        let fault = Fault::user(Code::NoSecret, format!("there is no secret `{name}` in the store"));
        let set = format!("`tidegate secret set {name}{}` keeps one", self.option);
        fault.help(match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? {set}"),
            None => set,
        })
    }

    fn no_key(&self, id: &str) -> Fault {
        let why = format!(
            "the key {id} of these secrets is not in {}; nothing was changed",
            self.keys.path().display()
        );
        Fault::user(Code::NoSecret, why).help(format!(
            "put the key file back from your copy, or name it with TIDEGATE_SECRETS_KEY_FILE; where the key is lost, so are the secrets: `tidegate secret remove NAME{}`",
            self.option
        ))
    }
}

/// What the key file calls this store.
fn store_id(store: &dyn Store) -> Result<String> {
    loop {
        if let Some(id) = store.get(ABOUT, STORE_ID)? {
            return String::from_utf8(id).map_err(|_| {
                Fault::external(
                    Code::StoreUnusable,
                    "the store of the secrets is damaged: its name is no text",
                )
                .help("restore it from a backup")
            });
        }
        let mut id = [0; 16];
        random(&mut id)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        store.compare_and_swap(ABOUT, STORE_ID, None, Some(id.as_bytes()))?;
    }
}

fn entries(store: &dyn Store) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    loop {
        let after = all.last().map(|(name, _)| name.clone().into_bytes());
        let page = store.scan(SECRETS, b"", after.as_deref(), PAGE)?;
        let last = page.len() < PAGE;
        for (name, bytes) in page {
            let name = String::from_utf8(name).map_err(|_| {
                Fault::external(Code::StoreUnusable, "the store of the secrets is damaged: a name is no text")
                    .help("restore it from a backup")
            })?;
            all.push((name, bytes));
        }
        if last {
            return Ok(all);
        }
    }
}

#[async_trait]
impl SecretSource for EncryptedStore {
    async fn read(&self, name: &str) -> Result<Held> {
        self.get(name)
    }
}

#[async_trait]
impl SecretKeeper for EncryptedStore {
    async fn replace(&self, name: &str, value: &Secret, by: &Principal, read: &Revision) -> Result<Revision> {
        self.swap(name, value, by, read)
    }

    async fn list(&self) -> Result<Vec<Listed>> {
        self.names()
    }

    async fn remove(&self, name: &str) -> Result<()> {
        self.forget(name)
    }
}

impl fmt::Debug for EncryptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedStore(..)")
    }
}
