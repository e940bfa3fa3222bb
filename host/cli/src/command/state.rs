//! `tidegate state`: what has been extracted so far. The sink holds it, in the same transactions as the rows.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_ingestion::{Coordinator, Description, Location};
use tidegate_model::{ApplicationId, Code, Fault, Result, StreamName, WorkOrder, list};
use tidegate_permission::{Action, Resource};

use super::Context;
use crate::consent;
use crate::operator::Operator;
use crate::project::{Project, as_typed_here};
use crate::render::{Paint, bytes};
use crate::terminal::Reply;

/// See, forget or take over what has been extracted so far
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate state show flights.yaml\n  \
    tidegate state reset flights.yaml --stream weather\n\n\
    A reset forgets how far a stream was read: the next run reads everything again. The table's rows stay, so a stream \
    with `write: append` will have them twice. `tidegate run --full-refresh` replaces the table in one go.\n\n\
    `adopt` goes on from a state that another source or pipeline left; `rewind` from a table that somebody restored to \
    an older version.")]
pub struct State {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// How far each stream was read
    Show(Which),
    /// Forget how far a stream was read; the table's rows stay
    Reset(Change),
    /// Go on from the state in the table, although it is of another source
    Adopt(Change),
    /// Go on from the table as it is, although it was restored to an older version
    Rewind(Change),
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    which: Which,

    /// Without a question
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
struct Which {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.yaml")]
    pipeline: PathBuf,

    /// Only this stream; can be given more than once
    #[arg(long = "stream", value_name = "STREAM")]
    streams: Vec<String>,
}

impl State {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        match &self.verb {
            Verb::Show(which) => show(cx, which),
            Verb::Reset(change) => change.make(
                cx,
                "Forget how far {} was read? The table's rows stay.",
                "Forgotten how far {} was read; the next run reads everything.",
                &async |coordinator: &mut Coordinator| coordinator.reset().await,
            ),
            Verb::Adopt(change) => change.make(
                cx,
                "Go on with {} from the state in the table, whose ever it was?",
                "The state of {} is this pipeline's from now on.",
                &async |coordinator: &mut Coordinator| coordinator.take_state().await,
            ),
            Verb::Rewind(change) => change.make(
                cx,
                "Go on with {} from the table as it is now, and read again what it lost?",
                "The state of {} is that of the table as it is now.",
                &async |coordinator: &mut Coordinator| coordinator.take_state().await,
            ),
        }
    }
}

fn show(cx: &Context, which: &Which) -> Result<Reply> {
    let states = States::of(which, cx.data_dir(), Action::StateRead)?;
    let descriptions = states.each(&async |_| Ok(()))?;
    let paint = cx.terminal.paint();
    let text: String = descriptions.iter().map(|(name, state)| words(name, state, paint)).collect();
    Ok(Reply::new(text, states.document(&descriptions)))
}

impl Change {
    /// Asks, acts on each stream's state, and says what was done. `{}` in the texts stands for the streams.
    fn make(
        &self,
        cx: &Context,
        question: &str,
        done: &str,
        act: &impl AsyncFn(&mut Coordinator) -> Result<()>,
    ) -> Result<Reply> {
        let states = States::of(&self.which, cx.data_dir(), Action::StateReset)?;
        let names: Vec<String> =
            states.project.pipeline.extract.streams.keys().map(StreamName::to_string).collect();
        if !self.yes {
            cx.terminal.confirm(&question.replace("{}", &list(&names)))?;
        }
        let descriptions = states.each(act)?;
        let text = format!("{}\n", done.replace("{}", &list(&names)));
        Ok(Reply::new(text, states.document(&descriptions)))
    }
}

/// The states of a pipeline's streams, which this person may do something with.
struct States {
    project: Project,
    /// Says whose state it is.
    order: WorkOrder,
}

impl States {
    fn of(which: &Which, data_dir: Option<&Path>, action: Action) -> Result<Self> {
        let mut project = Project::open(&which.pipeline, data_dir)?;
        project.keep_streams(&which.streams)?;
        let order = consent::identify(&project)?;
        let operator = Operator::new(&project.data_dir, None)?;
        for stream in project.pipeline.extract.streams.keys() {
            let pipeline = order.pipeline.clone();
            operator.may(action, &Resource::Stream { pipeline, stream: stream.clone() })?;
        }
        Ok(Self { project, order })
    }

    /// Opens each, does something with it, and describes it as it is then.
    fn each(
        &self,
        act: &impl AsyncFn(&mut Coordinator) -> Result<()>,
    ) -> Result<Vec<(StreamName, Description)>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::external(Code::SinkFailed, format!("nothing can be started: {error}")))?;
        let ingest = &self.project.pipeline.ingest;
        runtime.block_on(async {
            let location = Location::open(&ingest.location, &self.project.folder, &ingest.options).await?;
            let mut descriptions = Vec::new();
            for stream in self.project.pipeline.extract.streams.keys() {
                let application = ApplicationId::new(&self.order.pipeline, stream);
                let identity = tidegate_worker::identity_of(&self.order, stream);
                // Whose state it is does not matter to somebody who looks at it or takes it over.
                let mut coordinator =
                    Coordinator::adopt(location.table(stream)?, application, identity).await?;
                act(&mut coordinator).await?;
                let mut description = coordinator.describe();
                description.location = as_typed_here(&self.project.folder, &description.location);
                descriptions.push((stream.clone(), description));
            }
            Ok(descriptions)
        })
    }

    fn document(&self, descriptions: &[(StreamName, Description)]) -> serde_json::Value {
        let streams: serde_json::Map<_, _> =
            descriptions.iter().map(|(name, state)| (name.to_string(), json!(state))).collect();
        json!({ "pipeline": self.order.pipeline, "streams": streams })
    }
}

fn words(name: &StreamName, state: &Description, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(name.as_str()));
    let mut line = |label: &str, words: &str| {
        text.push_str(&format!("  {}  {words}\n", paint.dim(&format!("{label:<11}"))));
    };
    let Some(number) = state.number else {
        line("state", "nothing was extracted yet");
        return text;
    };
    let version = state.table_version.map(|version| format!(", version {version}")).unwrap_or_default();
    line("table", &format!("{}{version}", state.location));
    line("commit", &format!("number {number}"));
    if let Some(mark) = &state.high_water {
        line("read up to", mark);
    }
    if let Some(size) = state.bookmark_bytes {
        line("bookmark", &format!("{} of the connector's own", bytes(size)));
    }
    if let Some((committed, all)) = state.interrupted {
        line("interrupted", &format!("{committed} of {all} splits committed; the next run goes on there"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_in_words() {
        let name = StreamName::new("weather").unwrap();
        let mut state = Description {
            application: "tidegate~flights~weather".into(),
            location: "lake/weather".into(),
            table_version: None,
            number: None,
            identity: None,
            high_water: None,
            bookmark_bytes: None,
            interrupted: None,
        };
        assert_eq!(words(&name, &state, Paint::PLAIN), "weather\n  state        nothing was extracted yet\n");
        state.number = Some(3);
        state.table_version = Some(4);
        state.high_water = Some("2013-12-30T23:00:00Z".into());
        state.interrupted = Some((2, 5));
        assert_eq!(
            words(&name, &state, Paint::PLAIN),
            "\
weather
  table        lake/weather, version 4
  commit       number 3
  read up to   2013-12-30T23:00:00Z
  interrupted  2 of 5 splits committed; the next run goes on there
"
        );
    }
}
