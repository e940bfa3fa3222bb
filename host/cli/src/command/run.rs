//! `tidegate run`: one run, once, here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use tidegate_model::{
    Result, RunTask, SinkOrder, StreamName, StreamOrder, StreamSummary, Task, WorkerEvent, list,
};

use super::Context;
use crate::consent::{self, Consent};
use crate::progress::Progress;
use crate::project::{Project, as_typed_here};
use crate::render::{Story, plural};
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
        let order = consent::obtain(cx.terminal, &project, Consent::new(self.yes_grant), task)?;

        let mut progress = Progress::new(cx.terminal);
        let mut streams = BTreeMap::new();
        let end = work::carry_out(&order, |event| {
            progress.on(event);
            if let WorkerEvent::Done { stream, summary } = event {
                let location = as_typed_here(&project.folder, &summary.location);
                streams.insert(stream.clone(), StreamSummary { location, ..summary.clone() });
            }
        });
        progress.close();

        let total = match end {
            Ok(End::Ran(total)) => total,
            Ok(End::Answered(_)) => return Err(work::out_of_place()),
            Err(fault) => {
                cx.terminal.say(&landed(&streams));
                return Err(fault);
            }
        };
        let story = Story {
            run: &order.run,
            pipeline: &project.pipeline.pipeline,
            component: &order.component,
            permissions: &order.permissions,
            streams: &streams,
            total: &total,
        };
        Ok(Reply::new(story.text(cx.terminal.paint()), story.document()))
    }

    fn task(&self, project: &Project) -> RunTask {
        let ingest = &project.pipeline.ingest;
        let streams = &project.pipeline.extract.streams;
        RunTask {
            streams: streams
                .iter()
                .map(|(name, spec)| {
                    let order =
                        StreamOrder { mode: spec.mode, cursor: spec.cursor.clone(), key: spec.key.clone() };
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

/// What a run that failed leaves: streams that were done before are, and stay, in their tables.
fn landed(streams: &BTreeMap<StreamName, StreamSummary>) -> String {
    let done: Vec<String> =
        streams.iter().map(|(name, stream)| format!("{name} ({})", plural(stream.rows, "row"))).collect();
    if done.is_empty() { String::new() } else { format!("done before this failed: {}\n", list(&done)) }
}
