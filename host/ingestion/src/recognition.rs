//! Which of a split's rows are new: those of the generation's window that the table does not have yet.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::{filter_record_batch, is_null, or, prep_null_mask_filter, take, take_record_batch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tidegate_model::{Code, Fault, Reject, Result};

use crate::aside;
use crate::cursor;
use crate::document::Plan;
use crate::row_hash::{RowHash, RowHasher, hash};
use crate::rules::Rule;
use crate::seen::{Ledger, Seen};
use crate::store::Table;

/// Of rows that may be met again at most so many are held before those that fell out of the window are let
/// go.
const HELD: usize = 1 << 16;

/// What is left of a batch.
pub(crate) struct New {
    pub rows: RecordBatch,
    /// Rows that nothing tells apart from those that were loaded.
    pub aside: Vec<Reject>,
}

/// How many rows were left out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Met {
    pub skipped: u64,
    pub recognised: u64,
}

/// Follows the cursor of one split.
#[derive(Debug)]
pub(crate) struct Recognition {
    ledger: Ledger,
    /// Recognised since the last receipt; given back if none comes.
    recognised: Vec<RowHash>,
    /// Since the last receipt, piece by piece.
    seen: Vec<Seen>,
    /// Rows in those.
    held: usize,
    /// The least to hold before it is worth looking for what can go.
    prune_at: usize,
    /// The greatest value of the cursor so far, those of generations before included.
    greatest: Option<String>,
    data_type: DataType,
    skipped: u64,
}

impl Recognition {
    pub(crate) fn new(plan: &Plan, data_type: DataType, ledger: Ledger) -> Self {
        Self {
            ledger,
            recognised: Vec::new(),
            seen: Vec::new(),
            held: 0,
            prune_at: HELD,
            greatest: plan.high_water.clone(),
            data_type,
            skipped: 0,
        }
    }

    /// The rows of a batch that are to be loaded. Those below the window count as loaded, those above its
    /// bound come again with the next generation, those in it that are in the table already are recognised.
    pub(crate) fn sift(&mut self, plan: &Plan, table: &Table, batch: &RecordBatch) -> Result<New> {
        let mut new = New { rows: batch.clone(), aside: Vec::new() };
        let Some(name) = &plan.cursor else { return Ok(new) };
        let Some(column) = batch.column_by_name(name) else { return Ok(new) };
        let column = &cursor::ordered(column)?;
        let bound = plan.upper_bound.as_deref().filter(|_| table.rules.hold(Rule::MarkWithinBound));
        if let Some(window) = cursor::window(column, plan.since.as_deref(), bound)? {
            let mut keep = if window.null_count() > 0 { prep_null_mask_filter(&window) } else { window };
            let unknown = is_null(column).map_err(|error| bug(&error))?;
            self.skipped += (batch.num_rows() - keep.true_count() - unknown.true_count()) as u64;
            if unknown.true_count() > 0 && plan.high_water.is_none() {
                keep = or(&keep, &unknown).map_err(|error| bug(&error))?;
            } else if unknown.true_count() > 0 {
                // Kept where it can be seen, rather than doubled or lost.
                let why = |_| {
                    format!(
                        "`{name}` has no value that can be compared, so nothing tells whether this row is new"
                    )
                };
                new.aside = aside::rejects(batch, &unknown, "cursor", why).map_err(|error| bug(&error))?;
            }
            if keep.true_count() < batch.num_rows() {
                new.rows = filter_record_batch(batch, &keep).map_err(|error| bug(&error))?;
            }
        }
        if let (Some(mark), false) = (&plan.high_water, self.ledger.is_empty())
            && table.rules.hold(Rule::Recognition)
        {
            new.rows = self.recognise(name, mark, &new.rows)?;
        }
        self.remember(plan, name, &new.rows)?;
        Ok(new)
    }

    /// Without the rows up to the mark that the table has.
    fn recognise(&mut self, name: &str, mark: &str, batch: &RecordBatch) -> Result<RecordBatch> {
        let Some(column) = batch.column_by_name(name) else { return Ok(batch.clone()) };
        let Some(before) = cursor::window(&cursor::ordered(column)?, None, Some(mark))? else {
            return Ok(batch.clone());
        };
        if before.true_count() == 0 {
            return Ok(batch.clone());
        }
        let rows = rows_of(&before);
        let mut known = Vec::new();
        let mut keep = vec![true; batch.num_rows()];
        for (hash, row) in hashes(batch, &rows)?.into_iter().zip(rows) {
            if self.ledger.recognise(hash) {
                self.recognised.push(hash);
                known.push(row);
                keep[row as usize] = false;
            }
        }
        if known.is_empty() {
            return Ok(batch.clone());
        }
        let from = self.recognised.len() - known.len();
        let places = take(column, &UInt32Array::from(known), None).map_err(|error| bug(&error))?;
        self.meet(Seen::of(&self.recognised[from..], places, 1, 0)?);
        filter_record_batch(batch, &BooleanArray::from(keep)).map_err(|error| bug(&error))
    }

    /// Of what is loaded, the rows that the next generation may meet again.
    fn remember(&mut self, plan: &Plan, name: &str, batch: &RecordBatch) -> Result<()> {
        let Some(column) = batch.column_by_name(name) else { return Ok(()) };
        let found = cursor::greatest(column)?;
        self.greatest = cursor::later(self.greatest.take(), found, &self.data_type)?;
        let Some(low) = self.low(plan)? else { return Ok(()) };
        let Some(within) = cursor::window(column, Some(&low), None)? else { return Ok(()) };
        let rows = rows_of(&within);
        if rows.is_empty() {
            return Ok(());
        }
        let hashes = hashes(batch, &rows)?;
        let places = take(column, &UInt32Array::from(rows), None).map_err(|error| bug(&error))?;
        self.meet(Seen::of(&hashes, places, 0, 1)?);
        if self.held >= self.prune_at {
            let kept = self.seen(plan)?;
            self.prune_at = HELD.max(kept.len() * 2);
            self.held = kept.len();
            self.seen = vec![kept];
        }
        Ok(())
    }

    fn meet(&mut self, seen: Seen) {
        self.held += seen.len();
        self.seen.push(seen);
    }

    /// The mark will be no less than what was met, so what lies further back is not met again.
    fn low(&self, plan: &Plan) -> Result<Option<String>> {
        self.greatest.as_deref().map(|mark| cursor::back(mark, plan.lookback, &self.data_type)).transpose()
    }

    /// Of records that cannot become rows, those that were not set aside before.
    pub(crate) fn sift_rejects(&mut self, records: &[Reject]) -> Result<Vec<Reject>> {
        let mut new = Vec::new();
        let (mut recognised, mut landed) = (Vec::new(), Vec::new());
        for record in records {
            // Not the position: the same record may come in another place, and each is counted.
            let said = (&record.origin, &record.reason, &record.raw);
            let text =
                serde_json::to_vec(&said).map_err(|error| Fault::internal(Code::Bug, error.to_string()))?;
            let hash = hash(&text);
            if self.ledger.recognise(hash) {
                self.recognised.push(hash);
                recognised.push(hash);
            } else {
                landed.push(hash);
                new.push(record.clone());
            }
        }
        for (hashes, known, landed) in [(recognised, 1, 0), (landed, 0, 1)] {
            let nowhere: ArrayRef = arrow::array::new_null_array(&self.data_type, hashes.len());
            self.meet(Seen::of(&hashes, nowhere, known, landed)?);
        }
        Ok(new)
    }

    /// What a receipt is to name: what was met since the last one.
    pub(crate) fn seen(&self, plan: &Plan) -> Result<Seen> {
        let mut all = Seen::all(&self.data_type, &self.seen)?;
        if let Some(low) = self.low(plan)? {
            all.prune(&low)?;
        }
        Ok(all)
    }

    pub(crate) fn counts(&self) -> Met {
        Met { skipped: self.skipped, recognised: self.recognised.len() as u64 }
    }

    /// A receipt says it all. What is met from now on is for the next one.
    pub(crate) fn durable(&mut self) {
        self.recognised.clear();
        self.skipped = 0;
        self.seen.clear();
        self.held = 0;
        self.prune_at = HELD;
    }
}

impl Drop for Recognition {
    fn drop(&mut self) {
        for hash in self.recognised.drain(..) {
            self.ledger.give_back(hash);
        }
    }
}

/// The numbers of the rows that a mask says; a batch has fewer than 2^32.
fn rows_of(mask: &BooleanArray) -> Vec<u32> {
    let rows = mask.iter().zip(0_u32..).filter(|(said, _)| *said == Some(true));
    rows.map(|(_, row)| row).collect()
}

/// Of a few rows of a batch.
fn hashes(batch: &RecordBatch, rows: &[u32]) -> Result<Vec<RowHash>> {
    let few = take_record_batch(batch, &UInt32Array::from(rows.to_vec())).map_err(|error| bug(&error))?;
    let mut hasher = RowHasher::new(&few)?;
    Ok((0..few.num_rows()).map(|row| hasher.hash(row)).collect())
}

fn bug(error: &ArrowError) -> Fault {
    Fault::internal(Code::Bug, error.to_string())
}
