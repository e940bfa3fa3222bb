//! Runs components that nobody has to trust.
//!
//! Goal: a component computes, and reaches what it was granted, and nothing else; it cannot harm the host,
//! another instance or its own next call. [`inspect`] reads what a component asks for without running it,
//! [`Sandbox::load`] verifies and compiles it, and an [`Instance`] runs it with limits on memory, time, calls
//! and handles. What it sends is checked before it is copied, and validated in full after.
//!
//! Never: it grants nothing (every question goes to `tidegate-permission`), it hands out no file system,
//! environment, process or socket of the system, nor any secret, and it accepts compiled code from nobody.

mod artifact;
mod batch;
mod batches;
mod bindings;
mod bytes;
mod component;
mod credential;
mod engine;
mod files;
mod guest;
mod http;
mod inspect;
mod instance;
mod kernel;
mod log;
mod meter;
mod needles;
mod network;
mod output;
mod redaction;
mod refusal;
mod schema;
mod tcp;
mod trap;
mod wasi;
mod weight;

pub use bindings::extraction::{ConnectorSpec, Mode, Modes, Plan, Request, SecretSlot, Split, Stream};
pub use component::{Compiler, Component, Sandbox, Settings, compile_main, digest};
pub use guest::{DEFAULT_MEMORY, Setup, Surroundings};
pub use inspect::{Inspection, LARGEST_COMPONENT, Mismatch, examine, inspect};
pub use instance::{Instance, Reopening, SessionHandle, Usage};
pub use log::LogLine;
pub use output::{Output, OutputPort};
pub use schema::from_wit as schema_from_wit;
