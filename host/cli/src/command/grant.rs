//! `tidegate grant`: what connectors may do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_infrastructure::{DataDir, clock};
use tidegate_model::{Code, ConnectorRequirement, Fault, Limits, Permission, Result, StreamName, list, tame};
use tidegate_permission::{
    Action, Ceiling, Choice, Grant as Granted, Grants, Requested, Risk, Standing, policies_in_force,
};

use super::Context;
use crate::consent::{self, Consent, Reviewed};
use crate::operator::Operator;
use crate::project::{Project, absolute, data_root, folder_or_beside};
use crate::render::Paint;
use crate::terminal::Reply;

/// See, give and take back what connectors may do
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate grant list\n  \
    tidegate grant add flights.yaml         show what is asked for, and ask\n  \
    tidegate grant add flights.yaml --yes   without a question\n  \
    tidegate grant add pages.yaml --only api --methods api=GET --expires 90d\n  \
    tidegate grant diff flights.yaml        what it asks for beside what it has\n  \
    tidegate grant explain flights.yaml files.read ./data/a.csv\n  \
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

        #[command(flatten)]
        part: Part,

        /// Without a question
        #[arg(long, short)]
        yes: bool,
    },
    /// What a pipeline's connector asks for beside what it is granted
    #[command(
        after_help = "A line begins with `+` where something is asked for and not granted, with `!` where nobody \
        can grant it, and with `-` where something is granted that is not asked for any more."
    )]
    Diff {
        /// The pipeline file
        #[arg(value_name = "PIPELINE.yaml")]
        pipeline: PathBuf,
    },
    /// Why something is allowed or refused: the policy, and its line
    Explain(super::explain::Explain),
    /// The policies that decide on this machine, as Cedar: what `explain` names stands in them
    Policies,
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
            Verb::Add { pipeline, part, yes } => add(cx, pipeline, part, *yes),
            Verb::Diff { pipeline } => diff(cx, pipeline),
            Verb::Explain(explain) => explain.execute(cx),
            Verb::Policies => policies(),
            Verb::Revoke { pipeline, connector } => revoke(cx, pipeline, connector.as_deref()),
        }
    }
}

fn show(cx: &Context, pipeline: Option<&Path>) -> Result<Reply> {
    let folder = folder_or_beside(pipeline.unwrap_or(Path::new(".")))?;
    let data_dir = DataDir::open(absolute(&data_root(&folder, cx.data_dir()))?)?;
    Operator::may_look(&data_dir, Action::GrantList)?;
    let path = folder.join("grants.yaml");
    let grants = Grants::load(&path)?;
    let text = if grants.list().is_empty() {
        format!("Nothing is granted in {}.\n", path.display())
    } else {
        grants.list().iter().map(|grant| words(grant, cx.terminal.paint())).collect()
    };
    let documents: Vec<Value> = grants.list().iter().map(document).collect();
    Ok(Reply::new(text, json!({ "file": path, "grants": documents })))
}

/// Which part of what is asked for.
#[derive(Debug, Args)]
struct Part {
    /// Only this capability, by its id; can be given more than once [default: all]
    #[arg(long, value_name = "ID")]
    only: Vec<String>,

    /// A narrower target for a capability: `api=https://api.example.org/v1`
    #[arg(long, value_name = "ID=TARGET", value_parser = pair)]
    narrow: Vec<(String, String)>,

    /// The methods that an `http` capability may use: `api=GET,HEAD`
    #[arg(long, value_name = "ID=METHODS", value_parser = pair)]
    methods: Vec<(String, String)>,

    /// Only these columns of a stream: `weather=time_hour,temp`; of others all
    #[arg(long, value_name = "STREAM=COLUMNS", value_parser = columns)]
    columns: Vec<(StreamName, BTreeSet<String>)>,

    /// When the grant ends: a number of days, `90d`, or a date, `2027-06-30`
    #[arg(long, value_name = "WHEN", value_parser = when)]
    expires: Option<DateTime<Utc>>,

    /// To all compatible versions that its publisher signs, not to this one by its digest
    #[arg(long)]
    publisher: bool,
}

impl Part {
    fn choice(&self) -> Choice {
        let methods = |text: &String| text.split(',').map(|method| method.trim().to_uppercase()).collect();
        Choice {
            only: self.only.clone(),
            targets: self.narrow.iter().cloned().collect(),
            methods: self.methods.iter().map(|(id, text)| (id.clone(), methods(text))).collect(),
            columns: self.columns.iter().cloned().collect(),
            expires: self.expires,
            publisher: self.publisher,
        }
    }
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((id, value)) if !id.is_empty() && !value.is_empty() => Ok((id.to_owned(), value.to_owned())),
        _ => Err("write the capability's id, `=` and the value".to_owned()),
    }
}

fn columns(text: &str) -> std::result::Result<(StreamName, BTreeSet<String>), String> {
    let (stream, columns) = pair(text).map_err(|_| "write `STREAM=COLUMN,COLUMN`".to_owned())?;
    Ok((StreamName::new(stream)?, columns.split(',').map(|column| column.trim().to_owned()).collect()))
}

fn when(text: &str) -> std::result::Result<DateTime<Utc>, String> {
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse().ok()) {
        let end = TimeDelta::try_days(days).and_then(|days| clock::now().checked_add_signed(days));
        return end.ok_or_else(|| "that is too far away".to_owned()).and_then(to_come);
    }
    let date: NaiveDate =
        text.parse().map_err(|_| "write a number of days, `90d`, or a date, `2027-06-30`")?;
    let end = date.and_hms_opt(23, 59, 59).map(|end| end.and_utc());
    end.ok_or_else(|| "there is no such moment".to_owned()).and_then(to_come)
}

/// A grant that is over before it begins would take the place of one that holds.
fn to_come(end: DateTime<Utc>) -> std::result::Result<DateTime<Utc>, String> {
    if end > clock::now() { Ok(end) } else { Err("that is over already".to_owned()) }
}

fn add(cx: &Context, pipeline: &Path, part: &Part, yes: bool) -> Result<Reply> {
    let project = Project::open(pipeline, cx.data_dir())?;
    let added = consent::grant_only(cx.terminal, &project, Consent::new(yes), &part.choice())?;
    let text = match &added {
        Some(allowed) => format!("Granted to `{}`: {}\n", project.pipeline.pipeline, said(allowed)),
        None => "All that it asks for is granted already.\n".to_owned(),
    };
    Ok(Reply::new(text, json!({ "pipeline": project.pipeline.pipeline, "added": added.unwrap_or_default() })))
}

fn policies() -> Result<Reply> {
    let all = policies_in_force(&Ceiling::of_this_machine()?);
    let text: String = all.iter().map(|(file, text)| format!("// ==== {file}\n{text}\n")).collect();
    let documents: Vec<Value> =
        all.iter().map(|(file, text)| json!({ "file": file, "text": text })).collect();
    Ok(Reply::new(text, json!({ "policies": documents })))
}

/// Lines that are asked for and not granted begin with `+`, those that are granted and no longer asked for with
/// `-`.
fn diff(cx: &Context, pipeline: &Path) -> Result<Reply> {
    let project = Project::open(pipeline, cx.data_dir())?;
    Operator::may_look(&project.data_dir, Action::GrantList)?;
    let Reviewed { order, review, grants } = consent::reviewed(&project, &consent::find(&project)?)?;
    let paint = cx.terminal.paint();
    let component = &order.component;
    let mut text = format!(
        "{} {} for `{}`\n",
        paint.bold(&tame(&component.name)),
        component.version,
        project.pipeline.pipeline
    );
    let asked = review.requested();
    let mut lines: Vec<Value> = Vec::new();
    for line in review.requests.iter().filter(|line| line.standing != Standing::NotAsked) {
        let (mark, state) = match &line.standing {
            Standing::Granted => (" ", "granted"),
            Standing::AboveCeiling(_) => ("!", "above the ceiling"),
            Standing::Missing | Standing::NotAsked => ("+", "asked for"),
        };
        let risk = line.risk.map_or("", Risk::as_str);
        let sentence = format!("{mark} {} (`{}`, {risk}, {state})", line.ask(), tame(&line.id));
        let sentence = if mark == " " { sentence } else { paint.yellow(&sentence) };
        text.push_str(&format!("{sentence}\n"));
        lines.push(json!({ "change": state, "id": line.id, "permission": line.permission(), "risk": risk }));
    }
    let ours = |grant: &&Granted| {
        grant.pipeline == project.pipeline.pipeline
            && grant.connector.split('@').next() == Some(component.name.as_str())
    };
    let granted = grants.list().iter().filter(ours).flat_map(|grant| &grant.allow);
    for permission in granted.filter(|permission| !asked.contains(permission)) {
        let narrower = review
            .requests
            .iter()
            .any(|line| line.allowed.iter().any(|allowed| allowed.permission == *permission));
        if !narrower {
            text.push_str(&format!("- {}\n", tame(&permission.to_string())));
            lines.push(json!({ "change": "not asked for", "permission": permission }));
        }
    }
    if let Some(change) = review.change() {
        text.push_str(&format!("{} {change}\n", paint.yellow("note")));
    }
    let waits = !review.missing_required().is_empty();
    let above = |line: &&Requested| matches!(line.standing, Standing::AboveCeiling(_));
    if waits && !review.missing_required().iter().any(above) {
        text.push_str(&format!("`tidegate grant add {}` approves it.\n", pipeline.display()));
    }
    Ok(Reply::new(
        text,
        json!({ "pipeline": project.pipeline.pipeline, "component": component, "lines": lines, "waits": waits }),
    ))
}

fn revoke(cx: &Context, pipeline: &Path, connector: Option<&str>) -> Result<Reply> {
    let project = Project::open(pipeline, cx.data_dir())?;
    let name = &project.pipeline.pipeline;
    let connector = match (connector, &project.pipeline.extract.connector) {
        (Some(connector), _) => connector.to_owned(),
        (None, ConnectorRequirement::Installed { name, .. }) => name.clone(),
        (None, ConnectorRequirement::File(_)) => consent::find(&project)
            .map_err(|fault| fault.help("to take back what it has all the same: --connector NAME, as `tidegate grant list` shows it"))?
            .component
            .name,
    };
    let mut grants = Grants::load(project.grants())?;
    let operator = Operator::new(&project.data_dir, None)?;
    for grant in grants.meant(name, &connector) {
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
    let head =
        format!("{}  {} ({})", paint.bold(grant.pipeline.as_str()), tame(&grant.connector), grant.holder());
    let mut text = format!("{head}\n  may use {}\n", said(&grant.allow));
    for (stream, columns) in &grant.columns {
        let columns: Vec<String> = columns.iter().cloned().collect();
        text.push_str(&format!("  of {stream} only {}\n", tame(&list(&columns))));
    }
    let limits = limits(&grant.limits);
    if !limits.is_empty() {
        text.push_str(&format!("  with at most {}\n", list(&limits)));
    }
    if let Some(at) = grant.expires {
        text.push_str(&format!("  until {}\n", at.to_rfc3339()));
    }
    let by = grant.granted_by.as_deref().map(|by| format!("by {by}"));
    let at = grant.granted_at.map(|at| format!("at {}", at.to_rfc3339()));
    let signed: Vec<String> = [by, at, grant.note.clone()].into_iter().flatten().collect();
    if !signed.is_empty() {
        text.push_str(&format!("  {}\n", paint.dim(&tame(&signed.join(", ")))));
    }
    text
}

/// `128MiB of memory`
fn limits(limits: &Limits) -> Vec<String> {
    let memory = limits.memory.map(|memory| format!("{memory} of memory"));
    let splits = limits.parallelism.map(|splits| format!("{splits} splits at once"));
    [memory, splits].into_iter().flatten().collect()
}

fn document(grant: &Granted) -> Value {
    json!({
        "pipeline": grant.pipeline,
        "connector": grant.connector,
        "digest": grant.digest,
        "publisher": grant.publisher,
        "versions": grant.versions.as_ref().map(ToString::to_string),
        "allow": grant.allow,
        "columns": grant.columns,
        "limits": grant.limits,
        "expires": grant.expires.map(|at| at.to_rfc3339()),
        "granted_by": grant.granted_by,
        "granted_at": grant.granted_at.map(|at| at.to_rfc3339()),
        "note": grant.note,
    })
}
