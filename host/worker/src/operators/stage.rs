//! `StageExec`: writes data files that nobody can see yet, each with its receipt beside it.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_execution::SendableRecordBatchStream;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tidegate_ingestion::{Stage, Stager};
use tidegate_model::{Code, Fault};

use super::external;
use super::mark::Mark;
use super::unary::Step;
use crate::epoch::Epoch;
use crate::progress::Progress;

/// What the plan answers: the splits that are staged to their end. A hint only; receipts are read from the
/// store.
fn staged_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("split", DataType::UInt32, false)]))
}

#[derive(Debug)]
pub struct StageStep {
    pub stage: Stage,
    pub epoch: Arc<Epoch>,
    pub progress: Arc<Progress>,
}

/// A split on its way into files.
struct Open {
    split: u32,
    stager: Stager,
    /// The epoch in which its file was begun.
    epoch: u64,
}

impl Step for StageStep {
    const NAME: &'static str = "StageExec";

    fn schema(&self) -> SchemaRef {
        staged_schema()
    }

    fn run(self: Arc<Self>, mut input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = staged_schema();
        let answer = Arc::clone(&schema);
        let stream = async_stream::try_stream! {
            let mut open: Option<Open> = None;
            while let Some(batch) = input.next().await {
                let batch = batch?;
                match (Mark::of(&batch).map_err(external)?, open.as_mut()) {
                    (Some(Mark::Begin { split, follows }), _) => {
                        let stager = self.stage.open(split as usize, follows.as_deref());
                        open = Some(Open { split, stager, epoch: self.epoch.number() });
                    }
                    (_, None) => {
                        Err(external(Fault::internal(Code::Bug, "rows arrived before their split began")))?;
                    }
                    (None, Some(open)) => open.stager.write(&batch).await.map_err(external)?,
                    (Some(Mark::Rejects(rejects)), Some(open)) => {
                        let new = open.stager.reject(&rejects).await.map_err(external)?;
                        self.progress.rejected(new);
                    }
                    (Some(Mark::Checkpoint { state }), Some(open)) => {
                        let epoch = self.epoch.number();
                        let close = epoch != open.epoch;
                        if let Some(staged) = open.stager.checkpoint(&state, close).await.map_err(external)? {
                            open.epoch = epoch;
                            self.epoch.durable(staged.bytes);
                            self.progress.staged(&staged);
                        }
                    }
                    (Some(Mark::End), Some(_)) => {
                        let Some(Open { split, stager, .. }) = open.take() else { continue };
                        let staged = stager.finish().await.map_err(external)?;
                        self.epoch.durable(staged.bytes);
                        self.progress.staged(&staged);
                        self.progress.split_done();
                        let done = UInt32Array::from(vec![split]);
                        yield RecordBatch::try_new(Arc::clone(&answer), vec![Arc::new(done)])?;
                    }
                }
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, stream))
    }
}
