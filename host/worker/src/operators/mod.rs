//! The data path as DataFusion physical operators: `StageExec <- CheckExec <- ExtractExec <- splits`.
//!
//! The plan keeps three conditions, so that the same plan can one day run on several machines: splits are
//! rows of an in-memory source and not a number of partitions; a receipt is durable beside the file it speaks
//! of, and what the plan itself returns is only a hint; stopping is an error of the stream and never its end.

mod check;
mod extract;
mod mark;
mod stage;
mod unary;

pub use check::CheckStep;
pub use extract::{ExtractStep, SplitRow, split_source};
pub use stage::StageStep;
pub use unary::UnaryExec;

use datafusion_common::DataFusionError;
use tidegate_model::{Code, Fault};

/// A fault on its way through the plan.
fn external(fault: Fault) -> DataFusionError {
    DataFusionError::External(Box::new(fault))
}

/// The fault that ended a plan; DataFusion's own errors are mistakes of ours.
pub fn fault(error: DataFusionError) -> Fault {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Fault>() {
            Ok(fault) => *fault,
            Err(other) => Fault::internal(Code::Bug, other.to_string()),
        },
        DataFusionError::Context(_, inner) => fault(*inner),
        DataFusionError::Shared(inner) => Fault::internal(Code::Bug, inner.to_string()),
        other => Fault::internal(Code::Bug, other.to_string()),
    }
}
