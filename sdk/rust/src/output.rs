//! Where rows go.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, SchemaRef};
use serde::Serialize;

use crate::batch::lower;
use crate::bindings::tidegate::connector::output as wit;
use crate::decode::Decoded;
use crate::extractor::encode;
use crate::schema::{borrowed, flatten};
use crate::{Fault, Result};

/// What the contract lets cross at once.
const MOST_ROWS: usize = 1 << 20;
const MOST_BYTES: usize = 64 << 20;

/// What rows do to earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Every row is new.
    Append,
    /// Rows change earlier ones by this key; the columns `_tidegate_op` and `_tidegate_sequence` may steer
    /// it.
    Upsert(Vec<String>),
}

/// A record that could not become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Where it came from, such as a file's path.
    pub origin: String,
    /// Line, byte or record number there.
    pub position: u64,
    pub reason: String,
    /// The record's own text; the host keeps 4 KiB.
    pub raw: Option<String>,
}

/// One split's way into the sink.
///
/// Opens itself with the first batch's schema; [`open`](Self::open) says it before there is one. Rows become
/// durable at checkpoints and not before: after a crash reading goes on from the last one that was committed.
/// Returning from `read` is the last checkpoint.
#[derive(Debug)]
pub struct Output {
    stream: String,
    opened: Option<Opened>,
    /// A checkpoint taken before there was a writer: where an empty beginning ended.
    early: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Opened {
    writer: wit::Writer,
    schema: SchemaRef,
}

impl Output {
    pub(crate) fn new(stream: String) -> Self {
        Self { stream, opened: None, early: None }
    }

    /// Says what rows will look like. Once, before the first of them.
    pub fn open(&mut self, schema: &SchemaRef, changes: &Changes) -> Result<()> {
        if self.opened.is_some() {
            return Err(Fault::internal("invalid", "the output is open already"));
        }
        self.opened = Some(self.start(schema, changes)?);
        Ok(())
    }

    /// Blocks while the sink is slower than the source. A batch that is larger than what may cross at once
    /// goes in pieces.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        write(self.writer_for(batch.schema_ref())?, batch)
    }

    /// The same, for a batch that a kernel decoded and that is in the host already, with the
    /// records that were set aside meanwhile.
    pub fn write_decoded(&mut self, decoded: Decoded) -> Result<()> {
        Ok(self.writer_for(&decoded.schema)?.write_handle(decoded.handle)?)
    }

    /// Sets records aside.
    pub fn reject(&mut self, records: &[Reject]) -> Result<()> {
        let records: Vec<_> = records
            .iter()
            .map(|record| wit::Reject {
                origin: &record.origin,
                position: record.position,
                reason: &record.reason,
                raw: record.raw.as_deref(),
            })
            .collect();
        let opened = self.opened.as_ref().ok_or_else(|| {
            Fault::internal("invalid", "open the output before the first record is set aside")
        })?;
        Ok(opened.writer.reject(&records)?)
    }

    /// All rows so far are complete up to here; `state` is what [`Split::from`](crate::Split::from) will give
    /// to go on from here.
    pub fn checkpoint(&mut self, state: &impl Serialize) -> Result<()> {
        self.checkpoint_bytes(encode(state)?)
    }

    /// The same with a state of the connector's own form, at most 64 KiB.
    pub fn checkpoint_bytes(&mut self, state: Vec<u8>) -> Result<()> {
        match &self.opened {
            Some(opened) => Ok(opened.writer.checkpoint(&state)?),
            None => {
                self.early = Some(state);
                Ok(())
            }
        }
    }

    /// The newest checkpoint of this split that is committed in the sink. A source may be told to forget what
    /// lies before it.
    pub fn committed(&self) -> Option<Vec<u8>> {
        self.opened.as_ref()?.writer.committed()
    }

    /// The writer for batches of this schema, which the first of them settles.
    fn writer_for(&mut self, schema: &SchemaRef) -> Result<&wit::Writer> {
        if let Some(opened) = &self.opened {
            same_columns(&opened.schema, schema)?;
        }
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => self.start(schema, &Changes::Append)?,
        };
        Ok(&self.opened.insert(opened).writer)
    }

    fn start(&mut self, schema: &SchemaRef, changes: &Changes) -> Result<Opened> {
        let flat = flatten(schema)?;
        let key: Vec<&str> = match changes {
            Changes::Append => Vec::new(),
            Changes::Upsert(key) => key.iter().map(String::as_str).collect(),
        };
        let changes = match changes {
            Changes::Append => wit::Changes::Append,
            Changes::Upsert(_) => wit::Changes::Upsert(&key),
        };
        let writer = borrowed(&flat, |schema| wit::open(&self.stream, schema, changes))?;
        if let Some(state) = self.early.take() {
            writer.checkpoint(&state)?;
        }
        Ok(Opened { writer, schema: schema.clone() })
    }
}

/// The host sees buffers without names: a batch whose columns changed places would pass for a good one.
fn same_columns(opened: &SchemaRef, given: &SchemaRef) -> Result<()> {
    if Arc::ptr_eq(opened, given) {
        return Ok(());
    }
    let same =
        |(a, b): (&FieldRef, &FieldRef)| a.name() == b.name() && a.data_type().equals_datatype(b.data_type());
    if opened.fields().len() == given.fields().len() && opened.fields().iter().zip(given.fields()).all(same) {
        return Ok(());
    }
    Err(Fault::internal(
        "invalid",
        format!("a batch has the columns {given}, but the output was opened with {opened}"),
    ))
}

fn write(writer: &wit::Writer, batch: &RecordBatch) -> Result<()> {
    let rows = batch.num_rows();
    if rows <= MOST_ROWS {
        let layout = lower(batch)?;
        if layout.size() <= MOST_BYTES || rows <= 1 {
            return Ok(layout.borrowed(|batch| writer.write(batch))?);
        }
    }
    let half = rows / 2;
    write(writer, &batch.slice(0, half))?;
    write(writer, &batch.slice(half, rows - half))
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn schema(columns: &[(&str, DataType, bool)]) -> SchemaRef {
        let field = |(name, data_type, nullable): &(&str, DataType, bool)| {
            Field::new(*name, data_type.clone(), *nullable)
        };
        Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
    }

    #[test]
    fn batches_keep_the_columns_they_began_with() {
        let opened = schema(&[("a", DataType::Int32, false), ("b", DataType::Int32, true)]);
        let nullable = schema(&[("a", DataType::Int32, true), ("b", DataType::Int32, true)]);
        let swapped = schema(&[("b", DataType::Int32, true), ("a", DataType::Int32, false)]);
        let other = schema(&[("a", DataType::Int64, false), ("b", DataType::Int32, true)]);
        assert!(same_columns(&opened, &opened).is_ok());
        assert!(same_columns(&opened, &nullable).is_ok(), "whether a null is there is the host's to check");
        for given in [swapped, other, schema(&[])] {
            assert!(same_columns(&opened, &given).is_err(), "{given}");
        }
    }
}
