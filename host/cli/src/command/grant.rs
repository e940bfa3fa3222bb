//! `tidegate grant`: what connectors may do.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_model::{Code, ConnectorRequirement, Fault, Permission, Result, list, short_digest, tame};
use tidegate_permission::{Grant as Granted, Grants};

use super::Context;
use crate::consent::{self, Consent};
use crate::operator::Operator;
use crate::project::{Project, folder_or_beside};
use crate::render::Paint;
use crate::terminal::Reply;

/// See, give and take back what connectors may do
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate grant list\n  \
    tidegate grant add flights.yaml         show what is asked for, and ask\n  \
    tidegate grant add flights.yaml --yes   without a question\n  \
    tidegate grant revoke flights.yaml\n\n\
    Grants are kept in grants.yaml beside the pipeline file. You may edit it.")]
pub struct Grant {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What is granted
    List {
        /// The pipeline file beside which grants.yaml lies, or its folder [default: the working directory]
        #[arg(value_name = "PIPELINE.yaml")]
        pipeline: Option<PathBuf>,
    },
    /// Grant what a pipeline's connector asks for, without a run
    Add {
        /// The pipeline file
        #[arg(value_name = "PIPELINE.yaml")]
        pipeline: PathBuf,

        /// Without a question
        #[arg(long, short)]
        yes: bool,
    },
    /// Take back what was granted for a pipeline
    Revoke {
        /// The pipeline file
        #[arg(value_name = "PIPELINE.yaml")]
        pipeline: PathBuf,

        /// A connector, `files` or `files@0.1.0` [default: the pipeline's]
        #[arg(long, value_name = "NAME")]
        connector: Option<String>,
    },
}

impl Grant {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        match &self.verb {
            Verb::List { pipeline } => show(cx, pipeline.as_deref()),
            Verb::Add { pipeline, yes } => add(cx, pipeline, *yes),
            Verb::Revoke { pipeline, connector } => revoke(cx, pipeline, connector.as_deref()),
        }
    }
}

fn show(cx: &Context, pipeline: Option<&Path>) -> Result<Reply> {
    let path = folder_or_beside(pipeline.unwrap_or(Path::new(".")))?.join("grants.yaml");
    let grants = Grants::load(&path)?;
    let text = if grants.list().is_empty() {
        format!("Nothing is granted in {}.\n", path.display())
    } else {
        grants.list().iter().map(|grant| words(grant, cx.terminal.paint())).collect()
    };
    let documents: Vec<Value> = grants.list().iter().map(document).collect();
    Ok(Reply::new(text, json!({ "file": path, "grants": documents })))
}

fn add(cx: &Context, pipeline: &Path, yes: bool) -> Result<Reply> {
    let project = Project::open(pipeline, cx.data_dir())?;
    let added = consent::grant_only(cx.terminal, &project, Consent::new(yes))?;
    let text = match &added {
        Some(allowed) => format!("Granted to `{}`: {}\n", project.pipeline.pipeline, said(allowed)),
        None => "All that it asks for is granted already.\n".to_owned(),
    };
    Ok(Reply::new(text, json!({ "pipeline": project.pipeline.pipeline, "added": added.unwrap_or_default() })))
}

fn revoke(cx: &Context, pipeline: &Path, connector: Option<&str>) -> Result<Reply> {
    let project = Project::open(pipeline, cx.data_dir())?;
    let name = &project.pipeline.pipeline;
    let connector = match (connector, &project.pipeline.extract.connector) {
        (Some(connector), _) => connector.to_owned(),
        (None, ConnectorRequirement::Installed { name, .. }) => name.clone(),
        (None, ConnectorRequirement::File(_)) => consent::find(&project)?.component.name,
    };
    let mut grants = Grants::load(project.grants())?;
    let operator = Operator::new(&project.data_dir, None);
    for grant in grants.list().iter().filter(|grant| grant.pipeline == *name) {
        operator.may_revoke(grant)?;
    }
    let revoked = grants.revoke(name, &connector)?;
    if revoked.is_empty() {
        let message = format!("nothing is granted to `{connector}` for the pipeline `{name}`");
        return Err(Fault::user(Code::BadUsage, message).help("`tidegate grant list` shows what is"));
    }
    let text: String = revoked
        .iter()
        .map(|grant| format!("Revoked from {}: {}\n", tame(&grant.connector), said(&grant.allow)))
        .collect();
    let documents: Vec<Value> = revoked.iter().map(document).collect();
    Ok(Reply::new(text, json!({ "pipeline": name, "revoked": documents })))
}

fn said(allowed: &[Permission]) -> String {
    let words: Vec<String> = allowed.iter().map(Permission::to_string).collect();
    tame(&list(&words))
}

fn words(grant: &Granted, paint: Paint) -> String {
    let head = format!(
        "{}  {} ({})",
        paint.bold(grant.pipeline.as_str()),
        tame(&grant.connector),
        short_digest(&grant.digest)
    );
    let mut text = format!("{head}\n  may use {}\n", said(&grant.allow));
    let by = grant.granted_by.as_deref().map(|by| format!("by {by}"));
    let at = grant.granted_at.map(|at| format!("at {}", at.to_rfc3339()));
    let signed: Vec<String> = [by, at, grant.note.clone()].into_iter().flatten().collect();
    if !signed.is_empty() {
        text.push_str(&format!("  {}\n", paint.dim(&tame(&signed.join(", ")))));
    }
    text
}

fn document(grant: &Granted) -> Value {
    json!({
        "pipeline": grant.pipeline,
        "connector": grant.connector,
        "digest": grant.digest,
        "allow": grant.allow,
        "granted_by": grant.granted_by,
        "granted_at": grant.granted_at.map(|at| at.to_rfc3339()),
        "note": grant.note,
    })
}
