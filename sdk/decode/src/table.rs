//! The columns of a batch under construction.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;

use crate::bytes::is_ascii;
use crate::column::{Bad, Column, Values};
use crate::{Error, Result};

/// Records that were found in a text, and where each column's values are in them.
pub trait Block<'t> {
    fn rows(&self) -> usize;
    fn text(&self) -> &'t [u8];
    /// Where the record begins, and its text.
    fn record(&self, row: usize) -> (usize, &'t [u8]);
    /// Of column `index` of the schema.
    fn values(&self, index: usize) -> Values<'_>;
    /// Leaves out all other rows.
    fn keep(&mut self, rows: &[usize]);
}

/// A record set aside: where it begins in the block's text, why, and its text.
pub type Found<'t> = (usize, String, &'t [u8]);

#[derive(Debug)]
pub struct Table {
    columns: Vec<Box<dyn Column>>,
    rows: usize,
}

impl Table {
    pub fn new(columns: Vec<Box<dyn Column>>) -> Self {
        Self { columns, rows: 0 }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        self.columns.iter().map(|column| column.size()).sum()
    }

    /// Adds the block's records, but for those that a column cannot take: those are `found`.
    pub fn append<'t>(&mut self, mut block: impl Block<'t>, found: &mut Vec<Found<'t>>) {
        loop {
            let bad = self.fill(&block).0;
            if bad.is_empty() {
                break;
            }
            for column in &mut self.columns {
                column.truncate(self.rows);
            }
            let good: Vec<_> = (0..block.rows()).filter(|row| !bad.contains_key(row)).collect();
            found.extend(bad.into_iter().map(|(row, reason)| {
                let (start, record) = block.record(row);
                (start, reason, record)
            }));
            block.keep(&good);
        }
        self.rows += block.rows();
        found.sort_by_key(|(start, ..)| *start);
    }

    /// Every column takes its values. Records that are not UTF-8 are bad as a whole.
    fn fill<'t>(&mut self, block: &impl Block<'t>) -> Bad {
        let mut bad = Bad::default();
        let text = block.text();
        if !is_ascii(text) && std::str::from_utf8(text).is_err() {
            for row in 0..block.rows() {
                if let Err(error) = std::str::from_utf8(block.record(row).1) {
                    bad.add(row, || format!("byte {} of it is not UTF-8", error.valid_up_to() + 1));
                }
            }
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.append(&block.values(index), &mut bad);
        }
        bad
    }

    /// What was added since the last time.
    pub fn emit(&mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let arrays = self.columns.iter_mut().map(|column| column.finish()).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options).map_err(Error::internal)
    }
}
