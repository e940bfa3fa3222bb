//! Writes a split's rows to files that nobody can see yet, each with its receipt.

use arrow::record_batch::RecordBatch;
use object_store::path::Path;
use tidegate_model::{Code, Fault, Reject, Result};
use uuid::Uuid;

use crate::cursor;
use crate::document::{FORMAT, Plan, Receipt};
use crate::file::{DataWriter, RejectWriter};
use crate::generation::{Fresh, Generation};
use crate::journal::Journal;
use crate::recognition::Recognition;
use crate::seen::Ledger;

/// Invariant 12: a file is closed at the first checkpoint after this many bytes of Arrow memory.
const FILE_BYTES: u64 = 128 << 20;

/// Opens stagers for one generation. Cheap to clone, and free to travel to wherever splits are read.
#[derive(Debug, Clone)]
pub struct Stage {
    pub(crate) journal: Journal,
    pub(crate) generation: Generation,
    pub(crate) attempt: Uuid,
    pub(crate) ledger: Ledger,
    pub(crate) fresh: Fresh,
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
    /// Follows the cursor, where there is one.
    recognition: Option<Recognition>,
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
    /// Rows below the window, which count as loaded, or above the bound, which come again with the next
    /// generation.
    pub skipped: u64,
    /// Rows of the window that are in the table already.
    pub recognised: u64,
    /// Of the rejected, those that the stager itself set aside.
    pub set_aside: u64,
}

impl Stage {
    /// Begins where a [`crate::PendingSplit`] says: after the receipt that it `follows`.
    pub fn open(&self, split: usize, follows: Option<&str>) -> Stager {
        let recognition = self
            .generation
            .cursor_type()
            .map(|cursor| Recognition::new(&self.generation.plan, cursor, self.ledger.clone()));
        Stager {
            stage: self.clone(),
            split,
            id: self.journal.table.ids.next(),
            sequence: 0,
            follows: follows.map(str::to_owned),
            data: None,
            rejects: None,
            recognition,
            set_aside: 0,
            cursor: None,
        }
    }
}

impl Stager {
    /// A batch of the generation's schema. Rows that are in the table already and those that belong to
    /// another generation are left out and counted.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.schema_ref().fields() != self.stage.generation.schema.fields() {
            return Err(Fault::internal(Code::Bug, "a batch does not have the generation's schema"));
        }
        let mut batch = batch.clone();
        if let Some(recognition) = &mut self.recognition {
            let new = recognition.sift(&self.stage.generation.plan, &self.stage.journal.table, &batch)?;
            batch = new.rows;
            self.set_aside += self.reject(&new.aside).await?;
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.follow_cursor(&batch)?;
        if self.data.is_none() {
            let folder = Plan::data_folder(self.stage.generation.plan.generation);
            let path = Path::from(format!("{folder}/{}.parquet", self.name()));
            self.data =
                Some(DataWriter::create(&self.stage.journal.table, path, &self.stage.generation.schema)?);
        }
        match self.data.as_mut() {
            Some(data) => data.write(batch).await,
            None => Ok(()),
        }
    }

    /// Keeps records beside the table, those that were not kept before. Answers with how many those are.
    pub async fn reject(&mut self, records: &[Reject]) -> Result<u64> {
        let new = match &mut self.recognition {
            Some(recognition) if !records.is_empty() => recognition.sift_rejects(records)?,
            _ => records.to_vec(),
        };
        if new.is_empty() {
            return Ok(0);
        }
        if self.rejects.is_none() {
            let below = format!("rejects/{}/{}.jsonl", self.stage.generation.plan.generation, self.name());
            let path = self.stage.journal.path(&below)?;
            self.rejects = Some(RejectWriter::create(&self.stage.journal.table, path));
        }
        if let Some(rejects) = self.rejects.as_mut() {
            rejects.write(&new).await?;
        }
        Ok(new.len() as u64)
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
        let name = self.name();
        let mut seen = None;
        if let Some(recognition) = &mut self.recognition {
            let file = format!("{}/{name}", self.stage.generation.plan.generation);
            seen = recognition.seen(&self.stage.generation.plan)?.write(&self.stage.journal, &file).await?;
        }
        let met = self.recognition.as_ref().map(Recognition::counts).unwrap_or_default();
        let receipt = Receipt {
            format: FORMAT,
            generation: self.stage.generation.plan.generation,
            split: self.split,
            attempt: self.stage.attempt,
            follows: self.follows.clone(),
            end: checkpoint.is_none(),
            checkpoint,
            file,
            rejects,
            skipped: met.skipped,
            recognised: met.recognised,
            cursor: self.cursor.take(),
            seen,
        };
        self.stage.journal.write_receipt(&name, &receipt).await?;
        self.stage.fresh.put(&name, &receipt);
        if let Some(recognition) = &mut self.recognition {
            recognition.durable();
        }
        self.follows = Some(name);
        self.sequence += 1;
        Ok(Staged { set_aside: std::mem::take(&mut self.set_aside), ..receipt.staged() })
    }

    fn name(&self) -> String {
        format!("{:05}-{}-{:06}", self.split, self.id, self.sequence)
    }

    fn follow_cursor(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(name) = &self.stage.generation.plan.cursor else { return Ok(()) };
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
            recognised: self.recognised,
            set_aside: 0,
        }
    }
}
