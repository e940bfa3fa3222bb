//! `tidegate check`: would a run work? Moves nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tidegate_model::{Answer, Permission, Result, StreamInfo, StreamName, StreamSpec, Task, list};

use super::Context;
use super::discover::no_stream;
use crate::consent::{self, Consent};
use crate::progress::Progress;
use crate::project::Project;
use crate::terminal::Reply;
use crate::work::{self, End};

/// Check configuration, permissions and what the source has; move nothing
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate check flights.yaml\n  \
    tidegate check flights.yaml --json")]
pub struct Check {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.yaml")]
    pipeline: PathBuf,

    /// Grant what the connector asks for, as far as the ceiling allows, without a question
    #[arg(long)]
    yes_grant: bool,
}

impl Check {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let project = Project::open(&self.pipeline, cx.data_dir())?;
        let mut order = consent::obtain(cx, &project, Consent::new(self.yes_grant), Task::Check)?;
        let mut progress = Progress::new(cx.terminal);
        let End::Answered(Answer::Checked) = work::carry_out(&order, |event| progress.on(event))? else {
            return Err(work::out_of_place());
        };
        order.task = Task::Discover;
        let End::Answered(Answer::Streams(known)) = work::carry_out(&order, |event| progress.on(event))?
        else {
            return Err(work::out_of_place());
        };
        let wanted = &project.pipeline.extract.streams;
        fit(wanted, &known)?;

        let component = &order.component;
        let granted: Vec<String> = order.permissions.iter().map(Permission::to_string).collect();
        let text = format!(
            "{}  the pipeline file is valid\n{}  {} {} is there and granted: {}\n{}  the source answers, and has {}\n",
            ok(cx),
            ok(cx),
            component.name,
            component.version,
            if granted.is_empty() { "nothing".to_owned() } else { list(&granted) },
            ok(cx),
            list(&wanted.keys().map(StreamName::to_string).collect::<Vec<_>>()),
        );
        let document = json!({
            "pipeline": project.pipeline.pipeline,
            "ok": true,
            "connector": component,
            "permissions": order.permissions,
        });
        Ok(Reply::new(text, document))
    }
}

/// Whether the source has the streams, modes and columns that the pipeline file names.
fn fit(wanted: &BTreeMap<StreamName, StreamSpec>, known: &[StreamInfo]) -> Result<()> {
    for (name, spec) in wanted {
        let stream = known.iter().find(|stream| stream.name == name.as_str());
        let stream = stream.ok_or_else(|| no_stream(name.as_str(), known))?;
        stream.admits(spec.mode, spec.cursor.as_deref(), &spec.key)?;
    }
    Ok(())
}

fn ok(cx: &Context) -> String {
    cx.terminal.paint().green("ok")
}
