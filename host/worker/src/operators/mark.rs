//! What travels between batches: which split begins, where a checkpoint lies, that a split is done.
//!
//! A mark is a batch without rows whose schema carries it as metadata: punctuation in the stream, in order
//! with the rows it speaks of. Operators pass on what they do not know.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use tidegate_model::{Code, Fault, Reject, Result};

const KEY: &str = "tidegate.mark";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Mark {
    /// The rows from here on belong to this split of the generation's plan, after the receipt it follows.
    Begin { split: u32, follows: Option<String> },
    /// Everything up to here is complete; reading can go on from here.
    Checkpoint { state: Vec<u8> },
    /// Records that did not become rows.
    Rejects(Vec<Reject>),
    /// The split was read to its end.
    End,
}

impl Mark {
    pub fn into_batch(self) -> Result<RecordBatch> {
        let text = serde_json::to_string(&self)
            .map_err(|error| Fault::internal(Code::Bug, format!("a mark cannot be written: {error}")))?;
        let metadata = HashMap::from([(KEY.to_owned(), text)]);
        Ok(RecordBatch::new_empty(Arc::new(Schema::empty().with_metadata(metadata))))
    }

    /// The mark that a batch is, if it is one.
    pub fn of(batch: &RecordBatch) -> Result<Option<Self>> {
        if batch.num_rows() > 0 {
            return Ok(None);
        }
        let schema: SchemaRef = batch.schema();
        let Some(text) = schema.metadata().get(KEY) else { return Ok(None) };
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| Fault::internal(Code::Bug, format!("a mark cannot be read: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back_as_they_went() {
        let reject = Reject { origin: "a.csv".into(), position: 7, reason: "no".into(), raw: None };
        for mark in [
            Mark::Begin { split: 3, follows: Some("r1".into()) },
            Mark::Checkpoint { state: vec![0, 255] },
            Mark::Rejects(vec![reject]),
            Mark::End,
        ] {
            let batch = mark.clone().into_batch().unwrap();
            assert_eq!(Mark::of(&batch).unwrap(), Some(mark));
        }
    }

    #[test]
    fn an_empty_batch_of_data_is_not_a_mark() {
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        assert_eq!(Mark::of(&batch).unwrap(), None);
    }
}
