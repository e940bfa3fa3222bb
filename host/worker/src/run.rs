//! A run: every stream of a pipeline, brought up to date.

use std::sync::Arc;

use futures::StreamExt;
use tidegate_extraction::StreamDescription;
use tidegate_ingestion::Location;
use tidegate_model::{
    Code, Fault, Result, RunSummary, RunTask, StreamName, WorkOrder, WorkerEvent, suggestion,
};
use tidegate_permission::{Action, Module, Principal, Resource};
use tokio::sync::Semaphore;
use tracing::{Instrument, info_span};

use crate::stream::StreamRun;
use crate::usage;
use crate::work::Work;

/// Streams worked on at once. Their splits share the processors; more streams only hold more memory.
const STREAMS: usize = 2;

/// Splits read at once, at most: each instance reserves gigabytes of addresses, of which a process has 128
/// TiB.
const READERS: usize = 1024;

/// An instance gives its place back a moment after its split has ended.
const ENDING: usize = 60;

/// The last event. A fault instead of it: the streams were not even begun.
pub async fn run(work: &Work<'_>, task: &RunTask) -> Result<WorkerEvent> {
    let span = info_span!("run", run = %work.order.run, pipeline = %work.order.pipeline);
    async {
        work.authorizer.decide(
            &Principal::service(Module::Ingestion),
            Action::SinkWrite,
            &Resource::Sink(task.sink.location.clone()),
        )?;
        for stream in task.streams.keys() {
            may_keep_state(work, task, stream)?;
        }
        let known = granted(work.extractor.discover().await?, work)?;
        let location = Location::open(&task.sink.location, &work.order.base, &task.sink.options).await?;
        let places = Arc::new(Semaphore::new(parallelism(work.order)));

        let runs = task.streams.iter().map(|(name, order)| {
            let (location, places) = (location.clone(), Arc::clone(&places));
            let description = find(&known, name);
            async move {
                let run = async {
                    let description = description?;
                    let run = StreamRun { work, task, name, order, description, location, places };
                    run.bring_up_to_date().await
                };
                (name, run.instrument(info_span!("stream", %name)).await)
            }
        });
        let mut runs = futures::stream::iter(runs).buffer_unordered(STREAMS);
        let mut summary = RunSummary::default();
        let mut failed = None;
        // A stream that fails does not take the others with it; the first fault is the run's.
        while let Some((name, done)) = runs.next().await {
            match done {
                Ok(stream) => {
                    summary.rows += stream.rows;
                    summary.bytes += stream.bytes;
                }
                Err(fault) => {
                    let stream = name.clone();
                    work.events.send(WorkerEvent::StreamFailed { stream, fault: fault.clone() });
                    failed.get_or_insert(fault);
                }
            }
        }
        drop(runs);
        summary.milliseconds = millis(work.events.elapsed());
        summary.peak_memory = usage::peak_memory();
        summary.cpu_microseconds = usage::cpu_microseconds();
        summary.sandbox = work.extractor.counters();
        summary.first_row_milliseconds = work.events.time_to_first_row().map(millis);
        Ok(match failed {
            None => WorkerEvent::Finished { summary },
            Some(fault) => WorkerEvent::Failed { fault, summary: Some(summary) },
        })
    }
    .instrument(span)
    .await
}

/// The streams with the columns that were granted: others have no place in a table either.
fn granted(mut known: Vec<StreamDescription>, work: &Work<'_>) -> Result<Vec<StreamDescription>> {
    let connector = Principal::plugin(&work.order.component, &work.order.pipeline);
    for stream in &mut known {
        let named = StreamName::new(&stream.name).ok();
        let Some(name) = named.filter(|name| work.authorizer.limits_columns(name)) else { continue };
        let mut kept = Vec::new();
        for (at, field) in stream.schema.fields().iter().enumerate() {
            let column = Resource::Column { stream: name.clone(), column: field.name().clone() };
            match work.authorizer.decide(&connector, Action::ColumnRead, &column) {
                Ok(()) => kept.push(at),
                Err(fault) if matches!(fault.code, Code::NotGranted | Code::AboveCeiling) => {}
                Err(fault) => return Err(fault),
            }
        }
        let bug = |error| Fault::internal(Code::Bug, format!("columns cannot be left out: {error}"));
        stream.schema = Arc::new(stream.schema.project(&kept).map_err(bug)?);
    }
    Ok(known)
}

fn find<'a>(known: &'a [StreamDescription], name: &StreamName) -> Result<&'a StreamDescription> {
    known.iter().find(|stream| stream.name == name.as_str()).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|stream| stream.name.as_str()).collect();
        let help = match names.as_slice() {
            [] => "the source has no streams at all".to_owned(),
            names => suggestion(name.as_str(), names),
        };
        Fault::user(Code::NoStream, format!("the source has no stream `{name}`")).help(help)
    })
}

/// A full refresh replaces what is there, and the audit says so.
fn may_keep_state(work: &Work<'_>, task: &RunTask, stream: &StreamName) -> Result<()> {
    let who = Principal::service(Module::Ingestion);
    let state = Resource::Stream { pipeline: work.order.pipeline.clone(), stream: stream.clone() };
    work.authorizer.decide(&who, Action::StateWrite, &state)?;
    if task.full_refresh {
        work.authorizer.decide(&who, Action::StateReset, &state)?;
    }
    Ok(())
}

/// Splits read at once, over all streams: as many as the pipeline file says or there are processors, within
/// reason.
fn parallelism(order: &WorkOrder) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    order.limits.parallelism.map_or_else(processors, usize::from).clamp(1, READERS)
}

/// Instances that may live at once: one a split that is read, the streams' sessions, and those that are just
/// ending.
pub fn instances(order: &WorkOrder) -> u32 {
    u32::try_from(parallelism(order) + 2 * STREAMS + ENDING).unwrap_or(u32::MAX)
}

pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
