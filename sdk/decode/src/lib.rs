//! CSV and JSON into Arrow: pure computation, the same natively and in a component.
//!
//! A [`Decoder`] is fed bytes as they come and gives batches. A record that cannot be decoded costs that
//! record alone: it comes back as a [`Reject`] with its line, the reason and its text. [`infer`] finds a
//! schema from a sample, [`merge`] joins those of several files, and [`Cuts`] finds where a stream can be cut
//! so that every piece starts with a record. [`type_name`] is what people are told of a type.
//!
//! What comes out depends on the bytes alone, never on how they were divided when they were fed: the same
//! batches, with the same positions. Reading again and skipping to a position is therefore sound.
//!
//! Never: input or output, compression, clocks, threads, or anything else that a component could not do.

mod bytes;
mod column;
mod csv;
mod cuts;
mod decoder;
mod error;
mod field;
mod format;
mod infer;
mod json;
mod kinds;
mod table;
mod type_name;
mod value;
mod width;

pub use csv::column_names;
pub use cuts::Cuts;
pub use decoder::{Decoded, Decoder, Reject};
pub use error::{Error, ErrorKind, Result};
pub use format::{CsvOptions, Format};
pub use infer::{Inferred, infer, merge};
pub use type_name::type_name;
pub use width::{row_width, width};
