//! Composes extraction, checks and ingestion into one execution plan, and runs it in a process of its own.
//!
//! Goal: one order in, events out, and a process that may die at any moment. It is the only crate that knows
//! extraction and ingestion both: `StageExec <- CheckExec <- ExtractExec <- splits` is put together here, and
//! the loop that commits what became durable.
//!
//! Never: it decides when something runs or how often it is tried, and it keeps nothing that a crash would
//! lose: what a run knows is in the plan, the receipts and the table.

mod agreement;
mod committed;
mod configuration;
mod confinement;
mod conform;
mod epoch;
mod events;
mod identity;
mod operators;
mod progress;
mod revocation;
mod run;
mod stream;
mod usage;
mod vault;
mod work;

use std::io::{BufRead, Read};
use std::process::ExitCode;

use tidegate_infrastructure::clock;
use tidegate_model::{Code, Fault, Result, WorkOrder, WorkerEvent};

use crate::events::Events;
use crate::work::Prepared;

pub use crate::identity::of as identity_of;

/// Bytes of the longest order: a pipeline file is in it.
const LONGEST_ORDER: u64 = 64 << 20;

/// The worker process: reads one [`WorkOrder`] as a line of JSON from its standard input, writes
/// [`WorkerEvent`]s to its standard output, and ends with 0 when the last of them is not a failure. Dies with the
/// process that started it, which it asks on its standard input for secrets.
pub fn main() -> ExitCode {
    // Invariant 3: all guest code runs in here, and this process dies with the one that started it.
    tidegate_infrastructure::die_with_parent();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let order = order();
    let began = order.as_ref().map_or_else(|_| clock::steady(), |order| order.began);
    let (events, unspoken) = Events::since(began);
    // Nothing of the component runs before this process is confined, and no thread before that either.
    let prepared = order.and_then(|order| Prepared::of(order, &events));
    let speaker = unspoken.speak(std::io::stdout());
    let last = prepared
        .and_then(|prepared| obey(prepared, &events))
        .unwrap_or_else(|fault| WorkerEvent::Failed { fault, summary: None });
    let code = match last {
        WorkerEvent::Failed { .. } => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    };
    events.send(last);
    drop(events);
    speaker.finish();
    code
}

fn order() -> Result<WorkOrder> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Fault::external(Code::WorkerLost, format!("the work order cannot be read: {why}"))
    };
    let mut line = Vec::new();
    // Nothing follows the order before we ask for it, so nothing is left in the buffer.
    let mut stdin = std::io::stdin().lock().take(LONGEST_ORDER);
    stdin.read_until(b'\n', &mut line).map_err(|error| unreadable(&error))?;
    if line.last() != Some(&b'\n') {
        return Err(unreadable(&"it does not end"));
    }
    serde_json::from_slice(&line)
        .map_err(|error| Fault::internal(Code::Bug, format!("the work order cannot be understood: {error}")))
}

fn obey(prepared: Prepared, events: &Events) -> Result<WorkerEvent> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::external(Code::WorkerLost, format!("no threads can be started: {error}")))?;
    let done = runtime.block_on(work::obey(prepared, events));
    // What still runs belongs to instances that were dropped: nothing waits for it.
    runtime.shutdown_background();
    done
}
