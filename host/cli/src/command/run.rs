//! `tidegate run`: one run, once, here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tidegate_model::{
    Code, Fault, Permission, Result, RunSummary, RunTask, SinkOrder, StreamName, StreamOrder, StreamSummary,
    Task, WorkOrder, WorkerEvent,
};

use tidegate_permission::{Ceiling, Grant, Grants};

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

    /// `audit`: deny nothing that could be granted, on a terminal, and print the least grant that is enough
    #[arg(long, value_enum, default_value_t = Permissions::Enforce, conflicts_with = "yes_grant")]
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Permissions {
    Enforce,
    Audit,
}

impl Run {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let mut project = Project::open(&self.pipeline, cx.data_dir())?;
        project.keep_streams(&self.streams)?;
        let task = task(&project, self.full_refresh);
        let order = consent::obtain(cx, &project, self.consent(cx)?, task)?;

        let mut progress = Progress::new(cx.terminal);
        let mut heard = Heard::default();
        let end = work::carry_out(&order, |event| {
            progress.on(event);
            heard.event(event, &project);
        });
        progress.close();
        if let Some(WorkerEvent::Used { permissions, complete, denials }) = heard.used.take() {
            let told = rehearsed(&project, &order, permissions, complete, denials)?;
            cx.terminal.say(&told);
        }
        match end {
            Ok(End::Ran(total)) => Ok(heard.success(cx, &order, &total)),
            Ok(End::Answered(_)) => Err(work::out_of_place()),
            Err(fault) => Ok(heard.failure(cx, &order, &fault)),
        }
    }

    fn consent(&self, cx: &Context) -> Result<Consent> {
        match self.permissions {
            Permissions::Enforce => Ok(Consent::new(self.yes_grant)),
            Permissions::Audit if cx.terminal.asks() => Ok(Consent::Rehearsal),
            Permissions::Audit => {
                let why =
                    "`--permissions=audit` lets a connector do all it asks for: somebody must be watching";
                Err(Fault::user(Code::BadUsage, why).help("run it on a terminal, and without `--json`"))
            }
        }
    }
}

/// What a rehearsal taught.
fn rehearsed(
    project: &Project,
    order: &WorkOrder,
    used: Vec<Permission>,
    complete: bool,
    denials: u64,
) -> Result<String> {
    let grant = Grant::new(&order.pipeline, &order.component, used);
    let grant = Ceiling::of_this_machine()?.on_its_terms(grant, order.component.publisher.is_some());
    let addition = Grants::load(project.grants())?.addition(&grant);
    let denied = match denials {
        0 => "Nothing was denied.".to_owned(),
        times => format!("What nobody can grant was denied ({times} times; `tidegate audit tail --denied`)."),
    };
    let least = match complete {
        true => "The least grant that is enough",
        false => "It used more than could be remembered; a grant for what could",
    };
    Ok(format!("{denied} {least}, for {}:\n{addition}\n", project.grants().display()))
}

/// What a run of a pipeline is to do.
pub fn task(project: &Project, full_refresh: bool) -> Task {
    let ingest = &project.pipeline.ingest;
    let streams = &project.pipeline.extract.streams;
    Task::Run(RunTask {
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
        full_refresh,
    })
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
    /// Of a rehearsal.
    used: Option<WorkerEvent>,
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
            used @ WorkerEvent::Used { .. } => self.used = Some(used.clone()),
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
