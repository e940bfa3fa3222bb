//! `ExtractExec`: reads splits, each in a sandboxed instance of its own.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use datafusion_common::Result as PlanResult;
use datafusion_datasource::memory::MemorySourceConfig;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tidegate_extraction::{Extractor, Output, Reading, Request};
use tidegate_model::{Code, Fault, Reject, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::external;
use super::mark::Mark;
use super::unary::Step;
use crate::committed::Committed;
use crate::progress::Progress;

/// One split to read: which one of the plan, its bytes, and where an earlier attempt left off.
#[derive(Debug, Clone)]
pub struct SplitRow {
    pub index: u32,
    pub data: Vec<u8>,
    pub from: Option<Vec<u8>>,
    /// The receipt that has `from`.
    pub follows: Option<String>,
}

/// The rows that tell [`ExtractStep`] what to read.
pub fn split_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("split", DataType::UInt32, false),
        Field::new("data", DataType::Binary, false),
        Field::new("from", DataType::Binary, true),
        Field::new("follows", DataType::Utf8, true),
    ]))
}

/// Invariant 11: splits are data. The leaf of the plan: one partition a split, so that as many are read at
/// once as partitions are polled.
pub fn split_source(splits: &[SplitRow]) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let schema = split_schema();
    let partitions = splits
        .iter()
        .map(|split| {
            let batch = RecordBatch::try_new(
                Arc::clone(&schema),
                vec![
                    Arc::new(UInt32Array::from(vec![split.index])),
                    Arc::new(BinaryArray::from(vec![split.data.as_slice()])),
                    Arc::new(BinaryArray::from(vec![split.from.as_deref()])),
                    Arc::new(StringArray::from(vec![split.follows.as_deref()])),
                ],
            )?;
            Ok(vec![batch])
        })
        .collect::<PlanResult<Vec<_>>>()?;
    Ok(MemorySourceConfig::try_new_exec(&partitions, schema, None)?)
}

fn split_rows(batch: &RecordBatch) -> Result<Vec<SplitRow>> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| Fault::internal(Code::Bug, format!("splits have no `{name}`")))
    };
    let wrong = || Fault::internal(Code::Bug, "splits have columns of other types");
    let index = column("split")?.as_any().downcast_ref::<UInt32Array>().ok_or_else(wrong)?;
    let data = column("data")?.as_any().downcast_ref::<BinaryArray>().ok_or_else(wrong)?;
    let from = column("from")?.as_any().downcast_ref::<BinaryArray>().ok_or_else(wrong)?;
    let follows = column("follows")?.as_any().downcast_ref::<StringArray>().ok_or_else(wrong)?;
    Ok((0..batch.num_rows())
        .map(|row| SplitRow {
            index: index.value(row),
            data: data.value(row).to_vec(),
            from: from.is_valid(row).then(|| from.value(row).to_vec()),
            follows: follows.is_valid(row).then(|| follows.value(row).to_owned()),
        })
        .collect())
}

/// Reads each split that arrives and sends its rows on, with marks between them.
pub struct ExtractStep {
    pub extractor: Extractor,
    pub request: Request,
    /// As announced by the source; what arrives is checked against it downstream.
    pub schema: SchemaRef,
    pub progress: Arc<Progress>,
    /// Fired when the run is to stop: the stream then ends with an error, so that nothing half-read is staged
    /// as whole.
    pub stop: CancellationToken,
    /// What of each split is in the sink for good, by its place in the plan.
    pub committed: Arc<Committed>,
}

impl fmt::Debug for ExtractStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractStep").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Step for ExtractStep {
    const NAME: &'static str = "ExtractExec";

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn run(self: Arc<Self>, mut input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = self.schema();
        let stream = async_stream::try_stream! {
            while let Some(batch) = input.next().await {
                for split in split_rows(&batch?).map_err(external)? {
                    let begin = Mark::Begin { split: split.index, follows: split.follows };
                    yield begin.into_batch().map_err(external)?;
                    let mut committed = self.committed.watch(split.index);
                    let mut outputs = self.extractor.read(&self.request, &split.data, split.from.as_deref());
                    while let Some(output) = next(&mut outputs, &mut committed, &self.stop).await {
                        for batch in output.and_then(|output| self.batches(output)).map_err(external)? {
                            yield batch;
                        }
                    }
                    yield Mark::End.into_batch().map_err(external)?;
                }
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, stream))
    }
}

impl ExtractStep {
    /// One output as it goes on through the plan: rows as they are, all else as marks.
    fn batches(&self, output: Output) -> Result<Vec<RecordBatch>> {
        let rejected = |rejects: Vec<_>| {
            portions(rejects).into_iter().map(|rejects| Mark::Rejects(rejects).into_batch())
        };
        Ok(match output {
            Output::Open { .. } => Vec::new(),
            Output::Checkpoint(state) => vec![Mark::Checkpoint { state: state.to_vec() }.into_batch()?],
            Output::Rejects(rejects) => rejected(rejects).collect::<Result<_>>()?,
            Output::Batch { batch, rejects } => {
                self.progress.read(&batch);
                let mut batches = rejected(rejects).collect::<Result<Vec<_>>>()?;
                if batch.num_rows() > 0 {
                    batches.push(batch);
                }
                batches
            }
        })
    }
}

/// In pieces of about a megabyte: a mark is one text, and several may be on their way.
fn portions(rejects: Vec<Reject>) -> Vec<Vec<Reject>> {
    const PORTION: usize = 1 << 20;
    let mut portions: Vec<Vec<Reject>> = Vec::new();
    let mut room = 0_usize;
    for reject in rejects {
        let size = reject.size();
        match portions.last_mut() {
            Some(portion) if size <= room => {
                room -= size;
                portion.push(reject);
            }
            _ => {
                room = PORTION.saturating_sub(size);
                portions.push(vec![reject]);
            }
        }
    }
    portions
}

/// What the instance sends next; meanwhile it learns what was committed. Invariant 10: a run that is stopped
/// ends with a fault.
async fn next(
    outputs: &mut Reading,
    committed: &mut watch::Receiver<Option<Bytes>>,
    stop: &CancellationToken,
) -> Option<Result<Output>> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                return Some(Err(Fault::external(Code::Cancelled, "the run was stopped")));
            }
            Ok(()) = committed.changed() => {
                let newest = committed.borrow_and_update().clone();
                if let Some(checkpoint) = newest {
                    outputs.committed(checkpoint);
                }
            }
            next = outputs.next() => return next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_travel_in_portions_and_none_is_lost() {
        let reject = |at: u64| Reject {
            origin: String::new(),
            position: at,
            reason: "x".repeat(400 << 10),
            raw: None,
        };
        let portions = portions((0..5).map(reject).collect());
        assert_eq!(portions.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(portions.concat().iter().map(|reject| reject.position).eq(0..5));
        assert!(super::portions(Vec::new()).is_empty());
    }
}
