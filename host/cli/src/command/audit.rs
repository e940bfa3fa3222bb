//! `tidegate audit`: what was decided, for whom, and why.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_infrastructure::DataDir;
use tidegate_model::{Result, tame};
use tidegate_permission::{Action, Audit as Log, AuditRecord, Decision, Resource};

use super::Context;
use crate::operator::Operator;
use crate::project::{data_root, folder_or_beside};
use crate::render::{Paint, wrap};
use crate::terminal::Reply;

/// Read the record of every decision
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate audit tail flights.yaml\n  \
    tidegate audit tail flights.yaml --denied\n  \
    tidegate audit tail --data-dir /srv/tidegate --lines 100 --json")]
pub struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The latest decisions, the newest last
    Tail {
        /// The pipeline file beside which `.tidegate` lies, or its folder [default: the working directory's]
        #[arg(value_name = "PIPELINE.yaml")]
        pipeline: Option<PathBuf>,

        /// Only what was denied
        #[arg(long)]
        denied: bool,

        /// How many at most
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: usize,
    },
}

impl Audit {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let Verb::Tail { pipeline, denied, lines } = &self.verb;
        let folder = folder_or_beside(pipeline.as_deref().unwrap_or(Path::new(".")))?;
        let root = data_root(&folder, cx.data_dir());
        if !root.is_dir() {
            // To look does not bring a data folder into being.
            return Ok(reply(&[], &root, cx.terminal.paint()));
        }
        let data_dir = DataDir::open(root)?;
        let path = data_dir.audit_path();
        if path.exists() {
            Operator::new(&data_dir, None).may(Action::AuditRead, &Resource::Audit)?;
        }
        let records = Log::at(&path, None).tail(*lines, *denied)?;
        Ok(reply(&records, &path, cx.terminal.paint()))
    }
}

fn reply(records: &[AuditRecord], path: &Path, paint: Paint) -> Reply {
    Reply::new(words(records, path, paint), json!({ "audit": path, "records": records }))
}

fn words(records: &[AuditRecord], path: &Path, paint: Paint) -> String {
    if records.is_empty() {
        return format!("Nothing of that kind is recorded in {}.\n", path.display());
    }
    records.iter().map(|record| one(record, paint)).collect()
}

fn one(record: &AuditRecord, paint: Paint) -> String {
    let decision = match record.decision {
        Decision::Allow => paint.green("allow"),
        Decision::Deny => paint.red("DENY "),
    };
    let times = if record.count > 1 { format!(" ({} times)", record.count) } else { String::new() };
    let told = tame(&format!("{} {} {}{times}", record.principal, record.action, record.resource));
    format!("{} {decision}  {}\n  {}\n", paint.dim(&record.time), told, wrap(&tame(&record.why), 78, "  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_told_with_its_reason() {
        let record = AuditRecord {
            time: "2026-01-02T03:04:05.678Z".into(),
            run: None,
            principal: "plugin:files@0.1.0 (sha256:12ab34cd56ef)".into(),
            action: "files.read".into(),
            resource: "location:./data/a.csv".into(),
            decision: Decision::Deny,
            why: "no grant covers it".into(),
            count: 3,
        };
        assert_eq!(
            words(&[record], Path::new("audit.jsonl"), Paint::PLAIN),
            "\
2026-01-02T03:04:05.678Z DENY   plugin:files@0.1.0 (sha256:12ab34cd56ef) files.read location:./data/a.csv (3 times)
  no grant covers it
"
        );
    }
}
