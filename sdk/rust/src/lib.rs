//! Everything a connector needs to get data out of a source and into Tidegate, from Rust.
//!
//! A connector implements [`Extractor`] and names itself with [`export_extractor!`]. What it may reach is in
//! its [`Context`]; where its rows go is its [`Output`]. Rows are Arrow record batches: the versions of the
//! arrow crates that the SDK speaks are in [`arrow`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use tidegate_sdk::arrow::array::{ArrayRef, Int32Array, RecordBatch};
//! use tidegate_sdk::prelude::*;
//!
//! /// What a pipeline file says under `extract.config`.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     from: i32,
//! }
//!
//! #[derive(Default)]
//! struct Countdown;
//!
//! impl Countdown {
//!     fn batch(numbers: impl Iterator<Item = i32>) -> Result<RecordBatch> {
//!         let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(numbers));
//!         Ok(RecordBatch::try_from_iter([("number", numbers)])?)
//!     }
//! }
//!
//! impl Extractor for Countdown {
//!     type Config = Config;
//!
//!     fn discover(&self, _: &Context<Config>) -> Result<Vec<Stream>> {
//!         Ok(vec![Stream::new("countdown", Self::batch(std::iter::empty())?.schema())])
//!     }
//!
//!     fn read(&self, cx: &Context<Config>, split: Split, out: &mut Output) -> Result<()> {
//!         let from = split.from()?.unwrap_or(cx.config.from);
//!         for number in (0..=from).rev() {
//!             out.write(&Self::batch(std::iter::once(number))?)?;
//!             out.checkpoint(&(number - 1))?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! export_extractor!(Countdown, { title: "Counts down" });
//! ```
//!
//! Never: does anything that a connector could not do by the contract alone (`wit/`), holds a secret, or
//! depends on host code.

#[doc(hidden)]
pub mod bindings;

mod batch;
mod bytes;
mod config;
mod context;
mod credentials;
pub mod decode;
mod export;
mod extractor;
mod fault;
mod files;
mod http;
mod output;
mod request;
mod schema;
mod tcp;

pub use batch::{Layout, Node, lift, lower};
pub use bytes::ByteStream;
pub use context::{Context, Level};
pub use credentials::Credentials;
pub use extractor::Mode;
pub use extractor::{Extractor, Modes, Plan, PlannedSplit, Reopened, Split, Stream, StreamRequest};
pub use fault::{Fault, FaultDomain, Result};
pub use files::{Compression, Entry, Files, OpenOptions};
pub use http::{Http, Pending, RequestBuilder, Response};
pub use output::{Changes, Output, Reject};
pub use schema::{flatten, unflatten};
pub use tcp::{Connection, Tcp, TcpOptions, Tls};

/// What [`export_extractor!`] expands to.
#[doc(hidden)]
pub mod macros {
    pub use crate::export::{Described, is_extractor};
    pub use crate::request::{Capability, Manifest, first, kind, optional, required};
}

/// The arrow crates this SDK speaks.
pub mod arrow {
    pub use arrow_array as array;
    pub use arrow_buffer as buffer;
    pub use arrow_data as data;
    pub use arrow_schema as schema;
}
pub use {schemars, serde, serde_json};

/// What nearly every connector imports.
pub mod prelude {
    pub use crate::{
        Changes, Context, Extractor, Fault, Mode, Output, Plan, PlannedSplit, Reject, Reopened, Result,
        Split, Stream, StreamRequest, export_extractor,
    };
}
