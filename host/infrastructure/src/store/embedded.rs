use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use sled::Batch;
use tidegate_model::{Code, Fault, Result};

use super::backup::{self, Entry, Reader, Writer};
use super::database::Database;
use super::entry::{TALLY, Tally, cut, entry_key, piece_key, split};
use super::format::Formats;
use super::limits::check_writes;
use super::place::{Current, Place, damaged};
use super::{Store, Table, Write};
use crate::DataDir;

/// How long a command waits for another one that has the store.
const PATIENCE: Duration = Duration::from_secs(5);

/// The store of one machine: a database in `<data dir>/store`, which one process has at a time.
///
/// A write is acknowledged when the disk has it. Writes that come while another is on its way to the disk go
/// there together.
#[derive(Debug)]
pub struct SledStore {
    place: Place,
    current: Current,
    database: Database,
    /// What was applied so far. Held for reading by whoever wants to see whole batches only.
    applied: RwLock<Tally>,
    /// How many of the writes are on the disk.
    flushed: Mutex<u64>,
}

/// What is in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreContents {
    pub tables: BTreeMap<String, TableContents>,
    /// Batches that were ever written.
    pub writes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableContents {
    pub entries: u64,
    /// Of keys and values.
    pub bytes: u64,
}

impl SledStore {
    /// Opens the store, and begins one when there is none. Waits five seconds at most for another process that
    /// has it. [`Code::StoreUnusable`] when it is still held then, is damaged, or is of a newer version.
    pub fn open(data_dir: &DataDir) -> Result<Self> {
        Self::open_as(data_dir.root(), PATIENCE, Formats::OURS)
    }

    /// Whether there is one, so that to look does not bring one into being.
    pub fn is_there(data_dir: &DataDir) -> bool {
        data_dir.root().join("store/current").exists()
    }

    pub(super) fn open_as(data_dir: &Path, wait: Duration, formats: Formats) -> Result<Self> {
        let (place, current) = Place::take(data_dir, wait, formats.newest())?;
        if formats.is_newer(current.format) {
            return Err(Fault::user(
                Code::StoreUnusable,
                format!(
                    "the store in `{}` has format {}, and this version of Tidegate knows {} at most",
                    place.root().display(),
                    current.format,
                    formats.newest()
                ),
            )
            .help("use the version of Tidegate that wrote it, or a newer one"));
        }
        let store = Self::of(place, current)?;
        if current.format == formats.newest() { Ok(store) } else { store.migrate(formats) }
    }

    fn of(place: Place, current: Current) -> Result<Self> {
        let database = Database::open(&place.folder(current.folder))?;
        let tally = database.tally()?;
        let acknowledged = place.acknowledged(current.folder);
        if tally.writes < acknowledged {
            let lost = acknowledged - tally.writes;
            return Err(damaged(place.root(), format!("its last {lost} acknowledged writes are missing")));
        }
        // What a process that was killed wrote and did not acknowledge is as good as acknowledged from now on.
        database.flush()?;
        place.acknowledge(current.folder, tally.writes)?;
        Ok(Self { place, current, database, applied: RwLock::new(tally), flushed: Mutex::new(tally.writes) })
    }

    /// Goes through all that is there, and refuses a store in which something is not as it was written.
    pub fn check(&self) -> Result<StoreContents> {
        let _whole = self.seen();
        let mut contents = StoreContents::default();
        let tally = self.database.examine(|table, key, value| {
            let table = contents.tables.entry(table.to_owned()).or_default();
            table.entries += 1;
            table.bytes += (key.len() + value.len()) as u64;
            Ok(())
        })?;
        contents.writes = tally.writes;
        Ok(contents)
    }

    /// Writes all that is there to one file, readable for its owner alone, or leaves that file as it was. How
    /// many entries that were.
    ///
    /// A store that is damaged is refused, so that a backup is always whole. What is encrypted in the store is
    /// so in the backup.
    pub fn backup(&self, to: &Path) -> Result<u64> {
        let _whole = self.seen();
        let mut writer = Writer::create(to, self.current.format)?;
        let tally = self.database.examine(|table, key, value| writer.entry(table, key, value))?;
        writer.finish()?;
        Ok(tally.entries)
    }

    /// Puts what is in a backup in the place of all that is in the store; begins one when there is none. All of
    /// it or nothing: a file that is not whole changes nothing. How many entries that were.
    pub fn restore(data_dir: &DataDir, from: &Path) -> Result<u64> {
        Self::restore_as(data_dir.root(), from, Formats::OURS)
    }

    pub(super) fn restore_as(data_dir: &Path, from: &Path, formats: Formats) -> Result<u64> {
        let mut reader = Reader::open(from)?;
        if formats.is_newer(reader.format()) {
            return Err(backup::refused(from, "a newer version of Tidegate made it"));
        }
        // The contents that are there need not be readable: mending that is what a backup is for.
        let (place, current) = Place::take(data_dir, PATIENCE, formats.newest())?;
        let format = reader.format();
        let (current, tally) = Self::refill(&place, current, formats, |put| {
            while let Some(entry) = reader.next()? {
                if let Some(entry) = formats.migrate(format, entry)? {
                    put(&entry)?;
                }
            }
            Ok(())
        })?;
        place.sweep(current)?;
        Ok(tally.entries)
    }

    fn migrate(self, formats: Formats) -> Result<Self> {
        let Self { place, current, database, .. } = self;
        let (current, _) = Self::refill(&place, current, formats, |put| {
            database
                .examine(|table, key, value| {
                    let (key, value) = (key.to_owned(), value.to_owned());
                    let entry = Entry { table: table.to_owned(), key, value };
                    formats.migrate(current.format, entry)?.map_or(Ok(()), |entry| put(&entry))
                })
                .map(drop)
        })?;
        drop(database);
        place.sweep(current)?;
        Self::of(place, current)
    }

    /// Fills another folder, and makes it the current one when it is whole.
    fn refill(
        place: &Place,
        current: Current,
        formats: Formats,
        fill: impl FnOnce(&mut dyn FnMut(&Entry) -> Result<()>) -> Result<()>,
    ) -> Result<(Current, Tally)> {
        let to = Current { format: formats.newest(), folder: place.prepare(current)? };
        let mut tally = Tally::default();
        tally.writes = 1;
        let filled = Database::open(&place.folder(to.folder)).and_then(|database| {
            fill(&mut |entry| {
                let mut batch = Batch::default();
                insert(&mut batch, &mut tally, &entry_key(&entry.table, &entry.key), &entry.value);
                database.apply(batch)
            })?;
            let mut batch = Batch::default();
            batch.insert(TALLY, tally.to_bytes());
            database.apply(batch)?;
            database.flush()
        });
        match filled.and_then(|()| place.switch(to)) {
            Ok(()) => Ok((to, tally)),
            Err(fault) => {
                // What is left over the next one to come removes.
                let _ = place.sweep(current);
                Err(fault)
            }
        }
    }

    /// Applies writes if `condition` holds, and comes back when they are on the disk.
    fn write(&self, writes: &[Write], condition: impl FnOnce() -> Result<bool>) -> Result<bool> {
        check_writes(writes)?;
        let mut applied = self.applied.write().unwrap_or_else(PoisonError::into_inner);
        if !condition()? {
            return Ok(false);
        }
        let number = self.apply(&mut applied, writes)?;
        drop(applied);
        self.bring_to_disk(number)?;
        Ok(true)
    }

    fn apply(&self, applied: &mut RwLockWriteGuard<'_, Tally>, writes: &[Write]) -> Result<u64> {
        // Of several writes of one key the last one counts.
        let last: BTreeMap<Vec<u8>, &Write> =
            writes.iter().map(|write| (entry_key(write.table.name(), &write.key), write)).collect();
        let (mut batch, mut tally) = (Batch::default(), **applied);
        for (entry_key, write) in &last {
            if let Some(old) = self.database.value(entry_key)? {
                tally.take(entry_key, &old);
                batch.remove(entry_key.as_slice());
                for number in 0..self.database.pieces(entry_key)? {
                    batch.remove(piece_key(entry_key, number));
                }
            }
            if let Some(value) = &write.value {
                insert(&mut batch, &mut tally, entry_key, value);
            }
        }
        tally.writes += 1;
        batch.insert(TALLY, tally.to_bytes());
        self.database.apply(batch)?;
        **applied = tally;
        Ok(tally.writes)
    }

    fn bring_to_disk(&self, number: u64) -> Result<()> {
        let mut flushed = self.flushed();
        if *flushed >= number {
            // It went with another's.
            return Ok(());
        }
        let applied = self.seen().writes;
        self.database.flush()?;
        self.place.acknowledge(self.current.folder, applied)?;
        *flushed = applied;
        Ok(())
    }

    fn seen(&self) -> RwLockReadGuard<'_, Tally> {
        self.applied.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushed(&self) -> MutexGuard<'_, u64> {
        self.flushed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(batch: &mut Batch, tally: &mut Tally, entry_key: &[u8], value: &[u8]) {
    tally.add(entry_key, value);
    let (head, pieces) = cut(value);
    batch.insert(entry_key, head);
    for (number, piece) in (0..).zip(pieces) {
        batch.insert(piece_key(entry_key, number), piece);
    }
}

impl Store for SledStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let _whole = self.seen();
        self.database.value(&entry_key(table.name(), key))
    }

    fn compare_and_swap(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let write = Write { table, key: key.to_owned(), value: new.map(<[u8]>::to_vec) };
        self.write(
            &[write],
            || Ok(self.database.value(&entry_key(table.name(), key))?.as_deref() == expected),
        )
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut found = Vec::new();
        if most == 0 {
            return Ok(found);
        }
        let _whole = self.seen();
        let after = after.map(|after| entry_key(table.name(), after));
        self.database.walk(&entry_key(table.name(), prefix), after.as_deref(), |entry_key, value| {
            let key = split(entry_key).map(|(_, key)| key.to_owned()).unwrap_or_default();
            found.push((key, value));
            Ok(found.len() < most)
        })?;
        Ok(found)
    }

    fn batch(&self, writes: &[Write]) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        self.write(writes, || Ok(true)).map(drop)
    }
}
