//! Values of one column into one Arrow array: the same for every format.
//!
//! A block of records is read column by column, so that each column's parser runs in a tight loop over text
//! that is still in the processor's cache.

mod leaf;
mod scalar;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use arrow_array::ArrayRef;
use arrow_buffer::{NullBuffer, NullBufferBuilder};

pub use leaf::leaf;
pub use scalar::Absent;

use crate::Result;
use crate::csv::Fields;
use crate::field::Field;
use crate::json::Spans;

/// Where a column's values are. Not an iterator, because those are not always made part of the loop that
/// runs them, and here that is most of the speed.
pub trait Source<'a> {
    fn rows(&self) -> usize;
    /// A row's value; `None` for null.
    fn get(&self, row: usize) -> Option<Field<'a>>;
}

/// What a block's records have for one column.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    Csv(Fields<'a>),
    Json(Spans<'a>),
}

impl Values<'_> {
    pub fn rows(&self) -> usize {
        match self {
            Self::Csv(fields) => fields.rows(),
            Self::Json(spans) => spans.rows(),
        }
    }
}

/// Rows of a block that a column could not take, and why. The first reason stands.
#[derive(Default)]
pub struct Bad(pub BTreeMap<usize, String>);

impl Bad {
    #[cold]
    pub fn add(&mut self, row: usize, reason: impl FnOnce() -> String) {
        self.0.entry(row).or_insert_with(reason);
    }
}

/// One column under construction.
pub trait Column: Send + fmt::Debug {
    /// Adds the block's rows. When some are `bad`, what was added is of no use: truncate.
    fn append(&mut self, values: &Values, bad: &mut Bad);
    fn truncate(&mut self, rows: usize);
    /// Bytes in memory.
    fn size(&self) -> usize;
    /// What was added since the last time.
    fn finish(&mut self) -> Result<ArrayRef>;
}

/// What is said when a value is wrong.
#[derive(Debug)]
pub struct Place {
    pub name: String,
    pub nullable: bool,
}

impl Place {
    /// Takes the place of the value and not the value: one that is handed on is kept in memory by its loop,
    /// which costs more than reading it does.
    #[cold]
    #[inline(never)]
    pub fn mismatched<'t>(&self, source: &impl Source<'t>, row: usize, expected: &str, bad: &mut Bad) {
        if let Some(field) = source.get(row) {
            bad.add(row, || self.mismatch(field, expected));
        }
    }

    pub fn mismatch(&self, field: Field, expected: &str) -> String {
        let shown: String = String::from_utf8_lossy(&field.plain()).chars().take(100).collect();
        format!("column `{}`: `{shown}` is not {expected}", self.name)
    }

    pub fn null(&self) -> String {
        format!("column `{}`: there is no value, and the schema demands one", self.name)
    }
}

/// Which rows have a value. Runs of values, which most columns are, cost next to nothing.
#[derive(Default)]
pub struct Validity {
    builder: Option<NullBufferBuilder>,
    /// Rows with a value that the builder does not know of yet.
    run: usize,
}

impl Validity {
    #[inline(always)]
    pub fn value(&mut self) {
        self.run += 1;
    }

    pub fn null(&mut self) {
        let builder = self.builder.get_or_insert_with(|| NullBufferBuilder::new(0));
        builder.append_n_non_nulls(std::mem::take(&mut self.run));
        builder.append_null();
    }

    pub fn len(&self) -> usize {
        self.builder.as_ref().map_or(0, NullBufferBuilder::len) + self.run
    }

    pub fn truncate(&mut self, rows: usize) {
        let known = self.builder.as_ref().map_or(0, NullBufferBuilder::len);
        if rows >= known {
            self.run = rows - known;
        } else if let Some(builder) = &mut self.builder {
            builder.truncate(rows);
            self.run = 0;
        }
    }

    pub fn finish(&mut self) -> Option<NullBuffer> {
        let run = std::mem::take(&mut self.run);
        let mut builder = self.builder.take()?;
        builder.append_n_non_nulls(run);
        builder.finish()
    }
}
