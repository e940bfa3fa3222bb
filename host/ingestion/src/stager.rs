//! Writes a split's rows to files that nobody can see yet, each with its receipt.

use std::sync::Arc;

use arrow::array::Array;
use arrow::compute::{filter_record_batch, is_null, or, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tidegate_model::{Code, Fault, Reject, Result};
use uuid::Uuid;

use crate::aside;
use crate::cursor;
use crate::document::{FORMAT, Plan, Receipt};
use crate::file::{DataWriter, RejectWriter};
use crate::journal::Journal;

/// Invariant 12: a file is closed at the first checkpoint after this many bytes of Arrow memory.
const FILE_BYTES: u64 = 128 << 20;

/// Opens stagers for one generation. Cheap to clone, and free to travel to wherever splits are read.
#[derive(Debug, Clone)]
pub struct Stage {
    pub(crate) journal: Journal,
    pub(crate) plan: Arc<Plan>,
    pub(crate) schema: SchemaRef,
    pub(crate) attempt: Uuid,
}

/// One split's way into the table.
///
/// What is written becomes durable at a checkpoint that closes the file, and at the end of the split. A
/// crash, or dropping the stager before, leaves nothing but garbage.
pub struct Stager {
    stage: Stage,
    split: usize,
    /// Unlike any other stager's, so that two that read the same split cannot take each other's receipts for
    /// their own.
    id: Uuid,
    sequence: u64,
    follows: Option<String>,
    data: Option<DataWriter>,
    rejects: Option<RejectWriter>,
    skipped: u64,
    set_aside: u64,
    cursor: Option<String>,
}

/// What has become durable with a receipt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Staged {
    pub rows: u64,
    /// Of Arrow memory, before encoding.
    pub bytes: u64,
    pub rejected: u64,
    /// Rows at or below the mark that counts as loaded, or above the bound: they belong to another
    /// generation.
    pub skipped: u64,
    /// Of the rejected, those that the stager itself set aside.
    pub set_aside: u64,
}

impl Stage {
    pub(crate) fn new(journal: Journal, plan: Arc<Plan>, schema: SchemaRef, attempt: Uuid) -> Self {
        Self { journal, plan, schema, attempt }
    }

    /// Begins where a [`crate::PendingSplit`] says: after the receipt that it `follows`.
    pub fn open(&self, split: usize, follows: Option<&str>) -> Stager {
        Stager {
            stage: self.clone(),
            split,
            id: Uuid::new_v4(),
            sequence: 0,
            follows: follows.map(str::to_owned),
            data: None,
            rejects: None,
            skipped: 0,
            set_aside: 0,
            cursor: None,
        }
    }
}

impl Stager {
    /// A batch of the generation's schema. Rows at or below the high-water mark are in the table already,
    /// those above the upper bound will come again with the next generation: both are left out and counted.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.schema_ref().fields() != self.stage.schema.fields() {
            return Err(Fault::internal(Code::Bug, "a batch does not have the generation's schema"));
        }
        let batch = self.within_window(batch).await?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.follow_cursor(&batch)?;
        if self.data.is_none() {
            self.data = Some(DataWriter::create(&self.stage.journal.table, &self.stage.schema)?);
        }
        match self.data.as_mut() {
            Some(data) => data.write(batch).await,
            None => Ok(()),
        }
    }

    /// Records to keep beside the table.
    pub async fn reject(&mut self, records: &[Reject]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if self.rejects.is_none() {
            let below = format!("rejects/{}/{}.jsonl", self.stage.plan.generation, self.name());
            let path = self.stage.journal.path(&below)?;
            self.rejects = Some(RejectWriter::create(&self.stage.journal.table, path));
        }
        match self.rejects.as_mut() {
            Some(rejects) => rejects.write(records).await,
            None => Ok(()),
        }
    }

    /// All rows so far are complete up to here. Closes the file when it has reached its size, or when the
    /// caller wants what was written to be committed soon; answers with what became durable.
    pub async fn checkpoint(&mut self, state: &[u8], close: bool) -> Result<Option<Staged>> {
        let full = self.data.as_ref().is_some_and(|data| data.bytes() >= FILE_BYTES);
        if !full && !close {
            return Ok(None);
        }
        self.settle(Some(state.to_vec())).await.map(Some)
    }

    /// The split has ended.
    pub async fn finish(mut self) -> Result<Staged> {
        self.settle(None).await
    }

    /// Invariant 8: closes the files, then writes the receipt. The other way round a crash in between would
    /// promise a file that is not there.
    async fn settle(&mut self, checkpoint: Option<Vec<u8>>) -> Result<Staged> {
        let file = match self.data.take() {
            Some(data) => Some(data.close().await?),
            None => None,
        };
        let rejects = match self.rejects.take() {
            Some(rejects) => Some(rejects.close().await?),
            None => None,
        };
        let receipt = Receipt {
            format: FORMAT,
            generation: self.stage.plan.generation,
            split: self.split,
            attempt: self.stage.attempt,
            follows: self.follows.clone(),
            end: checkpoint.is_none(),
            checkpoint,
            file,
            rejects,
            skipped: std::mem::take(&mut self.skipped),
            cursor: self.cursor.take(),
        };
        let name = self.name();
        self.stage.journal.write_receipt(&name, &receipt).await?;
        self.follows = Some(name);
        self.sequence += 1;
        Ok(Staged { set_aside: std::mem::take(&mut self.set_aside), ..receipt.staged() })
    }

    fn name(&self) -> String {
        format!("{:05}-{}-{:06}", self.split, self.id, self.sequence)
    }

    async fn within_window(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let plan = Arc::clone(&self.stage.plan);
        let Some(name) = &plan.cursor else { return Ok(batch.clone()) };
        let Some(column) = batch.column_by_name(name) else { return Ok(batch.clone()) };
        let column = &cursor::ordered(column)?;
        let window = cursor::window(column, plan.high_water.as_deref(), plan.upper_bound.as_deref())?;
        let Some(window) = window else { return Ok(batch.clone()) };
        let bug = |error: ArrowError| Fault::internal(Code::Bug, error.to_string());
        let mut keep = if window.null_count() > 0 { prep_null_mask_filter(&window) } else { window };
        let unknown = is_null(column).map_err(bug)?;
        self.skipped += (batch.num_rows() - keep.true_count() - unknown.true_count()) as u64;
        if unknown.true_count() > 0 {
            if plan.high_water.is_none() {
                keep = or(&keep, &unknown).map_err(bug)?;
            } else {
                // Kept where it can be seen, rather than doubled or lost.
                let why = |_| {
                    format!(
                        "`{name}` has no value that can be compared, so nothing tells whether this row is new"
                    )
                };
                let records = aside::rejects(batch, &unknown, "cursor", why).map_err(bug)?;
                self.set_aside += records.len() as u64;
                self.reject(&records).await?;
            }
        }
        if keep.true_count() == batch.num_rows() {
            return Ok(batch.clone());
        }
        filter_record_batch(batch, &keep).map_err(bug)
    }

    fn follow_cursor(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(name) = &self.stage.plan.cursor else { return Ok(()) };
        let Some(column) = batch.column_by_name(name) else { return Ok(()) };
        let found = cursor::greatest(column)?;
        self.cursor = cursor::later(self.cursor.take(), found, column.data_type())?;
        Ok(())
    }
}

impl std::fmt::Debug for Stager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stager")
            .field("split", &self.split)
            .field("follows", &self.follows)
            .finish_non_exhaustive()
    }
}

impl Receipt {
    pub(crate) fn staged(&self) -> Staged {
        Staged {
            rows: self.file.as_ref().map_or(0, |file| file.rows),
            bytes: self.file.as_ref().map_or(0, |file| file.bytes),
            rejected: self.rejects.as_ref().map_or(0, |file| file.rows),
            skipped: self.skipped,
            set_aside: 0,
        }
    }
}
