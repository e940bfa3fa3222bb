//! `tidegate discover`: which streams a source has, and their schemas.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tidegate_model::{Answer, Code, Fault, Result, StreamInfo, Task, suggestion};

use super::Context;
use crate::consent::{self, Consent};
use crate::progress::Progress;
use crate::project::Project;
use crate::render;
use crate::terminal::Reply;
use crate::work::{self, End};

/// Show the source's streams: columns, types, modes, cursors
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate discover flights.yaml\n  \
    tidegate discover flights.yaml --stream weather\n  \
    tidegate discover flights.yaml --json | jq '.streams[].name'")]
pub struct Discover {
    /// The pipeline file; streams that it does not name are shown, too
    #[arg(value_name = "PIPELINE.yaml")]
    pipeline: PathBuf,

    /// Only this stream; can be given more than once
    #[arg(long = "stream", value_name = "STREAM")]
    streams: Vec<String>,

    /// Grant what the connector asks for, as far as the ceiling allows, without a question
    #[arg(long)]
    yes_grant: bool,
}

impl Discover {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let project = Project::open(&self.pipeline, cx.data_dir())?;
        let order = consent::obtain(cx, &project, Consent::new(self.yes_grant), Task::Discover)?;
        let mut progress = Progress::new(cx.terminal);
        let End::Answered(Answer::Streams(streams)) = work::carry_out(&order, |event| progress.on(event))?
        else {
            return Err(work::out_of_place());
        };
        let streams = self.wanted(streams)?;
        let text = render::streams(&streams, cx.terminal.paint());
        Ok(Reply::new(text, json!({ "pipeline": project.pipeline.pipeline, "streams": streams })))
    }

    fn wanted(&self, streams: Vec<StreamInfo>) -> Result<Vec<StreamInfo>> {
        for wanted in &self.streams {
            if !streams.iter().any(|stream| &stream.name == wanted) {
                return Err(no_stream(wanted, &streams));
            }
        }
        let all = self.streams.is_empty();
        Ok(streams.into_iter().filter(|stream| all || self.streams.contains(&stream.name)).collect())
    }
}

/// The source does not have a stream of that name.
pub fn no_stream(wanted: &str, streams: &[StreamInfo]) -> Fault {
    Fault::user(Code::NoStream, format!("the source has no stream `{wanted}`"))
        .help(suggestion(wanted, streams.iter().map(|stream| &stream.name)))
}
