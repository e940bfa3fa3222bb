//! `CheckExec`: the schema and the data types, before anything is written.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use tidegate_ingestion::Conform;
use tidegate_model::SchemaChange;

use super::external;
use super::mark::Mark;
use super::unary::Step;

/// Turns whatever schema a split has into the table's, as far as the pipeline allows.
#[derive(Debug)]
pub struct CheckStep {
    pub target: SchemaRef,
    pub change: SchemaChange,
}

impl Step for CheckStep {
    const NAME: &'static str = "CheckExec";

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.target)
    }

    fn run(self: Arc<Self>, mut input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = self.schema();
        let stream = async_stream::try_stream! {
            // A split keeps its schema, so this is settled once for it.
            let mut settled: Option<(SchemaRef, Conform)> = None;
            while let Some(batch) = input.next().await {
                let batch = batch?;
                if Mark::of(&batch).map_err(external)?.is_some() {
                    yield batch;
                    continue;
                }
                let conform = match &settled {
                    Some((incoming, conform)) if *incoming == batch.schema() => conform.clone(),
                    _ => {
                        let incoming = batch.schema();
                        let conform =
                            Conform::new(&incoming, Arc::clone(&self.target), self.change).map_err(external)?;
                        settled = Some((incoming, conform.clone()));
                        conform
                    }
                };
                let conformed = conform.apply(&batch).map_err(external)?;
                if !conformed.rejects.is_empty() {
                    yield Mark::Rejects(conformed.rejects).into_batch().map_err(external)?;
                }
                if conformed.batch.num_rows() > 0 {
                    yield conformed.batch;
                }
            }
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, stream))
    }
}
