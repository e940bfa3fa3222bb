//! JSON, by the line or as one document.
//!
//! `split` finds where records begin and end; Arrow's JSON reader makes rows of them. A block that it refuses
//! is tried again in halves, and halves of these, until the record at fault is alone.

mod decode;
mod infer;
mod split;

pub(crate) use decode::JsonDecoder;
pub(crate) use infer::infer;
