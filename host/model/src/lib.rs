//! The words that Tidegate's modules share: names, pipelines, capabilities, faults, work orders and
//! the events a worker answers with.
//!
//! Goal: one vocabulary, so that two modules that speak of a stream mean the same thing.
//!
//! Never: it does no I/O and decides nothing. Parsing a text that somebody else read is as far as it goes.

mod capability;
mod code;
mod event;
mod fault;
mod lookback;
mod name;
mod order;
mod pipeline;
mod reject;
mod secret;
mod text;
mod yaml;

pub use capability::{Binding, CONTRACT_VERSION, Capability, CapabilityKind, Manifest, Permission, World};
pub use code::{Code, Exit};
pub use event::{
    Answer, Column, ConfigKey, Conformance, Counters, RunSummary, StreamInfo, StreamSummary, WorkerEvent,
};
pub use fault::{Domain, Fault, Place, Result, Retry};
pub use lookback::Lookback;
pub use name::{ApplicationId, PipelineName, RunId, StreamName, check_connector_name};
pub use order::{
    CeilingText, ComponentRef, Document, PublisherRef, RunTask, SinkOrder, StreamOrder, Task, WorkOrder,
    short_digest,
};
pub use pipeline::{
    Change, CommitEvery, ConnectorRequirement, Extract, Ingest, Limits, Mode, Pipeline, SchemaChange,
    SinkKind, StreamSpec, WriteMode,
};
pub use reject::Reject;
pub use secret::{Placement, SecretRef};
pub use text::{list, nearest, percent_decoded, suggestion, tame};
pub use yaml::{Placed, from_yaml, place_of_key};
