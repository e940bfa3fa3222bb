//! `tidegate run`: one run, once, here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use tidegate_model::{
    Fault, Result, RunSummary, RunTask, SinkOrder, StreamName, StreamOrder, StreamSummary, Task, WorkOrder,
    WorkerEvent,
};

use super::Context;
use crate::consent::{self, Consent};
use crate::progress::Progress;
use crate::project::{Project, as_typed_here};
use crate::render::{Failure, Landed, Part, Story};
use crate::terminal::Reply;
use crate::work::{self, End};

/// Extract what is new, once, here
#[derive(Debug, Args)]
#[command(
    long_about = "Extract what is new, once, here.\n\n\
        The connector runs in a sandbox and sees only what you grant it. The first run of a pipeline shows what it \
        asks for and why, and asks you; the answer is kept in `grants.yaml` beside the pipeline file. What is \
        extracted lands in Delta tables, each row once, however often a run is interrupted and started again.",
    after_help = "Examples:\n  \
        tidegate run flights.yaml\n  \
        tidegate run flights.yaml --stream weather --stream planes\n  \
        tidegate run flights.yaml --yes-grant --json | jq .summary"
)]
pub struct Run {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.yaml")]
    pipeline: PathBuf,

    /// Only this stream; can be given more than once
    #[arg(long = "stream", value_name = "STREAM")]
    streams: Vec<String>,

    /// Forget what was extracted before and read everything again
    #[arg(long)]
    full_refresh: bool,

    /// Grant what the connector asks for, as far as the ceiling allows, without a question
    #[arg(long)]
    yes_grant: bool,
}

impl Run {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let mut project = Project::open(&self.pipeline, cx.data_dir())?;
        project.keep_streams(&self.streams)?;
        let task = Task::Run(self.task(&project));
        let order = consent::obtain(cx, &project, Consent::new(self.yes_grant), task)?;

        let mut progress = Progress::new(cx.terminal);
        let mut heard = Heard::default();
        let end = work::carry_out(&order, |event| {
            progress.on(event);
            heard.event(event, &project);
        });
        progress.close();
        match end {
            Ok(End::Ran(total)) => Ok(heard.success(cx, &order, &total)),
            Ok(End::Answered(_)) => Err(work::out_of_place()),
            Err(fault) => Ok(heard.failure(cx, &order, &fault)),
        }
    }

    fn task(&self, project: &Project) -> RunTask {
        let ingest = &project.pipeline.ingest;
        let streams = &project.pipeline.extract.streams;
        RunTask {
            streams: streams
                .iter()
                .map(|(name, spec)| {
                    let order = StreamOrder {
                        mode: spec.mode,
                        cursor: spec.cursor.clone(),
                        lookback: spec.lookback,
                        key: spec.key.clone(),
                    };
                    (name.clone(), order)
                })
                .collect(),
            sink: SinkOrder {
                kind: ingest.sink,
                location: ingest.location.clone(),
                options: ingest.options.clone(),
                write: ingest.write,
                schema_change: ingest.schema_change,
                commit_every: ingest.commit_every,
            },
            full_refresh: self.full_refresh,
        }
    }
}

/// What the worker said that the end of the run is told with.
#[derive(Default)]
struct Heard {
    /// Streams that are done.
    done: BTreeMap<StreamName, StreamSummary>,
    /// What was committed of each stream, done or not.
    committed: BTreeMap<StreamName, Part>,
    faults: Vec<(StreamName, Fault)>,
    /// Of a run that failed.
    total: Option<RunSummary>,
}

impl Heard {
    fn event(&mut self, event: &WorkerEvent, project: &Project) {
        match event {
            WorkerEvent::Done { stream, summary } => {
                let location = as_typed_here(&project.folder, &summary.location);
                self.done.insert(stream.clone(), StreamSummary { location, ..summary.clone() });
            }
            WorkerEvent::Committed { stream, table_version, rows, files, .. } => {
                let part = self.committed.entry(stream.clone()).or_default();
                part.rows += rows;
                part.files += files;
                part.commits += 1;
                part.table_version = Some(*table_version);
                let location = project.pipeline.ingest.location.trim_end_matches('/');
                part.location = as_typed_here(&project.folder, &format!("{location}/{stream}"));
            }
            WorkerEvent::StreamFailed { stream, fault } => self.faults.push((stream.clone(), fault.clone())),
            WorkerEvent::Failed { summary, .. } => self.total.clone_from(summary),
            _ => {}
        }
    }

    fn success(self, cx: &Context, order: &WorkOrder, total: &RunSummary) -> Reply {
        let story = Story {
            run: &order.run,
            pipeline: &order.pipeline,
            component: &order.component,
            permissions: &order.permissions,
            streams: &self.done,
            total,
        };
        Reply::new(story.text(cx.terminal.paint()), story.document())
    }

    fn failure(self, cx: &Context, order: &WorkOrder, fault: &Fault) -> Reply {
        let parts = self.committed.into_iter().map(|(name, part)| (name, Landed::Part(part)));
        let done = self.done.into_iter().map(|(name, summary)| (name, Landed::Whole(summary)));
        let failure = Failure {
            run: &order.run,
            pipeline: &order.pipeline,
            component: &order.component,
            fault,
            faults: &self.faults,
            // A stream that is done says more of itself than its commits.
            streams: &parts.chain(done).collect(),
            total: self.total.as_ref(),
        };
        cx.terminal.say(&failure.text(cx.terminal.side_paint()));
        Reply { exit: fault.exit() as u8, ..Reply::new("", failure.document()) }
    }
}
