//! Moves extracted data into the analytical environment, exactly once.
//!
//! Goal: a row is visible in the sink if and only if the state that says it was extracted is. Rows are staged
//! in files that nobody can see yet, each with a durable receipt; a [`Coordinator`] publishes receipts and
//! state in one transaction of the sink; whoever comes after a crash goes on from what is durable.
//!
//! Never: it decides what analysts see. It checks schema and types before it writes, and judges no value
//! beyond that.
//!
//! How a stream lands:
//! 1. [`Location::open`] and [`Location::table`] say where; [`Coordinator::open`] reads what was committed
//!    before.
//! 2. [`Coordinator::resume`] finds an interrupted generation, or [`reconcile`] settles the schema and
//!    [`Coordinator::begin`] writes down a new plan before anything is read.
//! 3. For each of [`Coordinator::pending`]'s splits, [`Stage::open`] gives a [`Stager`]; batches pass through
//!    [`Conform`] into [`Stager::write`]. Stagers live wherever the split is read.
//! 4. [`Coordinator::commit`] takes what is durable, as often as the caller likes, and at the end completes
//!    the generation.

mod aside;
mod chain;
mod commit;
mod coordinator;
mod cursor;
mod delta;
mod document;
mod encoding;
mod file;
mod garbage;
mod generation;
mod journal;
mod publish;
mod recognition;
mod resume;
mod rewind;
mod row_hash;
mod rules;
mod schema;
mod seen;
#[cfg(test)]
mod simulation;
mod stager;
mod state;
mod stats;
mod store;
mod types;

pub use commit::Committed;
pub use coordinator::Coordinator;
pub use document::{Identity, Split};
pub use generation::{Generation, NewPlan, PendingSplit};
pub use schema::{Conform, Conformed, Reconciled, reconcile};
pub use stager::{Stage, Staged, Stager};
pub use state::{Description, State};
pub use store::{Location, Table};
pub use types::{TYPE_TABLE, TypeRow, Verdict, plan_column};
