//! The platform's own small data: users and encrypted secrets. What people edit stays in files.

mod backup;
mod conformance;
mod contained;
mod database;
mod embedded;
mod entry;
mod format;
mod limits;
mod place;
#[cfg(test)]
mod tests;

use std::fmt;

use tidegate_model::Result;

pub use conformance::store_conformance;
pub use embedded::{SledStore, StoreContents, TableContents};
pub use limits::check_writes;

/// A group of keys that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(&'static str);

impl Table {
    /// `name`: lower-case letters and `-`, 64 at most.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    pub fn name(self) -> &'static str {
        self.0
    }
}

/// One change of a batch: a value, or none to remove the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub table: Table,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// An ordered map per table. What is acknowledged is on the disk: it survives `kill -9` and a loss of power.
///
/// Values are at most 16 MiB, keys 1 to 1,024 bytes, a batch at most 64 MiB: see [`check_writes`]. Others see
/// whole batches only. They may see a write shortly before it is acknowledged.
pub trait Store: Send + Sync + fmt::Debug {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Sets a key, or removes it, if its value is what is expected (`None`: it has none). Says whether it did.
    fn compare_and_swap(
        &self,
        table: Table,
        key: &[u8],
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool>;

    /// Keys that begin with `prefix`, in order of their bytes, and their values: at most `most` of them, from
    /// the first that is greater than `after`.
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// All of it or nothing. Of several writes of one key the last one counts.
    fn batch(&self, writes: &[Write]) -> Result<()>;

    /// Sets a key.
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch(&[Write { table, key: key.to_owned(), value: Some(value.to_owned()) }])
    }

    /// Removes a key; that it is not there is no error.
    fn remove(&self, table: Table, key: &[u8]) -> Result<()> {
        self.batch(&[Write { table, key: key.to_owned(), value: None }])
    }
}
