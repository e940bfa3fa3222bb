//! The embedded store does what every store does, and what a plain map does, whenever it is closed in between.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use tidegate_infrastructure::{DataDir, SledStore, Store, Table, Write, check_writes, store_conformance};
use tidegate_model::Result;

/// A map in memory: what a store is, without a disk.
#[derive(Debug, Default)]
struct Memory(Mutex<Entries>);

/// By table and key.
type Entries = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

impl Store for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().get(&(table, key.to_owned())).cloned())
    }

    fn compare_and_swap(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        let place = (table, key.to_owned());
        let new = new.map(<[u8]>::to_vec);
        check_writes(&[Write { table, key: key.to_owned(), value: new.clone() }])?;
        let mut map = self.0.lock().unwrap();
        if map.get(&place).map(Vec::as_slice) != expected {
            return Ok(false);
        }
        match new {
            Some(value) => map.insert(place, value),
            None => map.remove(&place),
        };
        Ok(true)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let map = self.0.lock().unwrap();
        let here = map.iter().filter(|((place, key), _)| *place == table && key.starts_with(prefix));
        let behind = here.filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after));
        Ok(behind.take(most).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn batch(&self, writes: &[Write]) -> Result<()> {
        check_writes(writes)?;
        let mut map = self.0.lock().unwrap();
        for Write { table, key, value } in writes {
            let place = (*table, key.clone());
            match value {
                Some(value) => map.insert(place, value.clone()),
                None => map.remove(&place),
            };
        }
        Ok(())
    }
}

fn open(folder: &TempDir) -> SledStore {
    SledStore::open(&DataDir::open(folder.path()).unwrap()).unwrap()
}

#[test]
fn the_embedded_store_does_what_a_store_does() {
    let folders = RefCell::new(Vec::new());
    store_conformance(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        folders.borrow_mut().push(folder);
        store
    });
}

#[test]
fn so_does_a_map_in_memory() {
    store_conformance(Memory::default);
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<Write>),
    Swap { write: Write, right: bool },
    Scan { table: Table, prefix: Vec<u8>, after: Option<Vec<u8>>, most: usize },
    Reopen,
}

fn table() -> impl Strategy<Value = Table> {
    prop_oneof![Just(Table::new("user")), Just(Table::new("users"))]
}

/// Few different keys, so that they meet; of letters that order tests well, and some of them long.
fn key() -> impl Strategy<Value = Vec<u8>> {
    (
        vec(prop_oneof![Just(0_u8), Just(b'a'), Just(0xff)], 1..4),
        prop_oneof![4 => Just(0_usize), 1 => 300..900_usize],
    )
        .prop_map(|(mut letters, long)| {
            letters.splice(0..0, std::iter::repeat_n(b'k', long));
            letters
        })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop_oneof![6 => 0..40_usize, 1 => 4000..4200_usize, 1 => 0..50_000_usize])
        .prop_map(|(byte, length)| vec![byte; length])
}

fn write() -> impl Strategy<Value = Write> {
    (table(), key(), proptest::option::weighted(0.7, value())).prop_map(|(table, key, value)| Write {
        table,
        key,
        value,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(write(), 0..12).prop_map(Step::Batch),
        3 => (write(), any::<bool>()).prop_map(|(write, right)| Step::Swap { write, right }),
        2 => (table(), vec(prop_oneof![Just(b'a'), Just(b'k'), Just(0xff)], 0..2), proptest::option::of(key()), 0..20_usize)
            .prop_map(|(table, prefix, after, most)| Step::Scan { table, prefix, after, most }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map_that_stays(steps in vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, oracle) = (open(&folder), Memory::default());
        for step in steps {
            match step {
                Step::Batch(writes) => prop_assert_eq!(store.batch(&writes), oracle.batch(&writes)),
                Step::Swap { write: Write { table, key, value }, right } => {
                    let now = oracle.get(table, &key).unwrap();
                    let expected = if right { now } else { Some(b"another".to_vec()) };
                    let swap = |store: &dyn Store| {
                        store.compare_and_swap(table, &key, expected.as_deref(), value.as_deref())
                    };
                    prop_assert_eq!(swap(&store), swap(&oracle));
                }
                Step::Scan { table, prefix, after, most } => {
                    let scan = |store: &dyn Store| store.scan(table, &prefix, after.as_deref(), most);
                    prop_assert_eq!(scan(&store), scan(&oracle));
                }
                Step::Reopen => {
                    drop(store);
                    store = open(&folder);
                }
            }
        }
        store.check().unwrap();
        drop(store);
        let store = open(&folder);
        for table in [Table::new("user"), Table::new("users")] {
            let all = |store: &dyn Store| store.scan(table, b"", None, usize::MAX);
            prop_assert_eq!(all(&store), all(&oracle));
        }
    }
}
