//! `tidegate grant explain`: why something is allowed or refused.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use tidegate_model::{Result, tame};
use tidegate_permission::{Action, Authorizer, Module, Principal, Resource};

use super::Context;
use crate::consent::{self, Reviewed};
use crate::operator::Operator;
use crate::project::Project;
use crate::terminal::Reply;

/// Nothing is done, and nothing recorded: a question about questions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate grant explain flights.yaml files.read ./data/a.csv\n  \
    tidegate grant explain pages.yaml http.request 'POST https://example.org/x'\n  \
    tidegate grant explain pages.yaml http.connect '10.0.0.1 of https://x.org'\n  \
    tidegate grant explain flights.yaml sink.write ./lake --by ingestion\n  \
    tidegate grant explain flights.yaml run.start")]
pub struct Explain {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.yaml")]
    pipeline: PathBuf,

    /// What is done, as the audit writes it: `files.read`
    #[arg(value_name = "ACTION")]
    action: String,

    /// To what: a location, `GET URL`, `IP of ENDPOINT`, `HOST:PORT`, `SLOT at ENDPOINT`, a stream, a secret
    #[arg(value_name = "RESOURCE", default_value = "")]
    resource: String,

    /// By whom [default: whoever does such things]
    #[arg(long, value_enum)]
    by: Option<By>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The pipeline's connector
    Connector,
    Extraction,
    Ingestion,
    /// Whoever types this
    Me,
}

impl Explain {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let project = Project::open(&self.pipeline, cx.data_dir())?;
        Operator::may_look(&project.data_dir, Action::GrantList)?;
        let action = Action::named(&self.action)?;
        let Reviewed { mut order, review, .. } = consent::reviewed(&project, &consent::find(&project)?)?;
        // As in a run: what the pipeline writes is its own.
        order.task = super::run::task(&project, false);
        let mut resource =
            Resource::asked(action, &self.resource, &project.pipeline.pipeline, &review.requested())?;
        let is_signed = order.component.publisher.is_some();
        if let Resource::Grant { signed, .. } = &mut resource {
            *signed = is_signed;
        }
        let by = self.by.unwrap_or_else(|| usually(action));
        let operator = Operator::new(&project.data_dir, None)?;
        let who = match by {
            By::Connector => Principal::plugin(&order.component, &order.pipeline),
            By::Extraction => Principal::service(Module::Extraction),
            By::Ingestion => Principal::service(Module::Ingestion),
            By::Me => operator.principal().clone(),
        };
        let worker = Authorizer::for_worker(&order)?;
        let explained = match by {
            By::Me => operator.explain(action, &resource),
            By::Connector => match review.above_ceiling(action, &resource) {
                // What cannot be granted never gets to the question itself.
                Some(grant) => operator.explain(Action::GrantAdd, &grant),
                None => worker.explain(&who, action, &resource),
            },
            By::Extraction | By::Ingestion => worker.explain(&who, action, &resource),
        };
        let component = Resource::Plugin(order.component.digest.clone());
        let loaded = worker.explain(&Principal::service(Module::Extraction), Action::PluginLoad, &component);
        let paint = cx.terminal.paint();
        let verdict = if explained.allowed { paint.green("allowed") } else { paint.yellow("refused") };
        let mut text = format!("{verdict}  {}\n", tame(&format!("{who} {action} {resource}")));
        text.push_str(&format!("because  {}\n", tame(&explained.why)));
        match (&explained.policy, &explained.place) {
            (Some(policy), Some(place)) => text.push_str(&format!("by       {policy}, {}\n", tame(place))),
            _ => text.push_str("by       no policy: what none permits is refused\n"),
        }
        if let Some(policy) = &explained.text {
            text.push_str(&format!("\n{}\n", tame(policy)));
        }
        if !loaded.allowed {
            let note =
                format!("nothing of it is asked at all: the component is not loaded, as {}", loaded.why);
            text.push_str(&format!("{} {}\n", paint.yellow("note"), tame(&note)));
        }
        let document = json!({
            "principal": who,
            "action": action,
            "resource": resource.to_string(),
            "explanation": explained,
            "loads": loaded,
        });
        Ok(Reply::new(text, document))
    }
}

/// Whose action it is.
fn usually(action: Action) -> By {
    match action {
        Action::SinkWrite | Action::StateWrite => By::Ingestion,
        Action::SecretRead => By::Extraction,
        _ if action.is_of_components() => By::Connector,
        _ => By::Me,
    }
}
