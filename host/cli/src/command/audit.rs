//! `tidegate audit`: what was decided, for whom, and why.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_infrastructure::{DataDir, config_dir};
use tidegate_model::{Result, tame};
use tidegate_permission::{Action, Audit as Log, AuditRecord, Decision, Resource, Verified};

use super::Context;
use crate::operator::Operator;
use crate::project::{data_root, folder_or_beside};
use crate::render::{Paint, plural, wrap};
use crate::terminal::Reply;

/// Read the record of every decision
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate audit tail flights.yaml\n  \
    tidegate audit tail flights.yaml --denied\n  \
    tidegate audit tail --data-dir /srv/tidegate --lines 100 --json\n  \
    tidegate audit verify flights.yaml\n\n\
    Every line of the audit holds the hash of the one before, and the end is signed after every command that decided \
    something, with a key that lies outside of the data folder: audit.key in $XDG_CONFIG_HOME/tidegate or \
    ~/.config/tidegate. `verify` fails when a line was changed, taken out, put in, moved or cut off since.")]
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
    /// Whether the record is what was written: no line changed, missing, put in, moved or cut off
    Verify {
        /// The pipeline file beside which `.tidegate` lies, or its folder [default: the working directory's]
        #[arg(value_name = "PIPELINE.yaml")]
        pipeline: Option<PathBuf>,

        /// The public key of whoever signed it [default: audit.pub in your own configuration folder]
        #[arg(long, value_name = "FILE.pub")]
        key: Option<PathBuf>,
    },
}

impl Audit {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let paint = cx.terminal.paint();
        match &self.verb {
            Verb::Tail { pipeline, denied, lines } => {
                let root = root(cx, pipeline.as_deref())?;
                let Some((data_dir, log)) = open(&root)? else { return Ok(reply(&[], &root, paint)) };
                may_read(&data_dir)?;
                Ok(reply(&log.tail(*lines, *denied)?, log.path(), paint))
            }
            Verb::Verify { pipeline, key } => {
                let root = root(cx, pipeline.as_deref())?;
                let Some((data_dir, log)) = open(&root)? else {
                    // All of it may have been taken away.
                    let log = Log::at(root.join("audit.jsonl"), None);
                    return Ok(verified(&log.verify(&config_dir()?, key.as_deref())?, &root));
                };
                // Looked at before this very question adds a line to it, and told after.
                let outcome = log.verify(&config_dir()?, key.as_deref());
                may_read(&data_dir)?;
                Ok(verified(&outcome?, log.path()))
            }
        }
    }
}

fn root(cx: &Context, pipeline: Option<&Path>) -> Result<PathBuf> {
    let folder = folder_or_beside(pipeline.unwrap_or(Path::new(".")))?;
    Ok(data_root(&folder, cx.data_dir()))
}

/// The audit of a data folder, if there is such a folder: to look does not bring one into being.
fn open(root: &Path) -> Result<Option<(DataDir, Log)>> {
    if !root.is_dir() {
        return Ok(None);
    }
    let data_dir = DataDir::open(root)?;
    let log = Log::at(data_dir.audit_path(), None);
    Ok(Some((data_dir, log)))
}

fn may_read(data_dir: &DataDir) -> Result<()> {
    if data_dir.audit_path().exists() {
        Operator::new(data_dir, None)?.may(Action::AuditRead, &Resource::Audit)?;
    }
    Ok(())
}

fn verified(verified: &Verified, path: &Path) -> Reply {
    Reply::new(verdict(verified, path), json!({ "audit": path, "verified": verified }))
}

fn verdict(verified: &Verified, path: &Path) -> String {
    let Verified { records, first, last, sealed, sealed_at, key, stray } = verified;
    let (Some(first), Some(last)) = (first, last) else {
        return format!("Nothing is recorded in {}.\n", path.display());
    };
    let mut text = format!("{} from {first} to {last}: nothing is amiss.\n", plural(*records, "record"));
    match (key, sealed_at) {
        (Some(key), Some(at)) => text.push_str(&format!("Sealed with the key {key} at {at}.\n")),
        _ => text.push_str("No seal was found: lines could have been cut off at the end.\n"),
    }
    match records - sealed {
        open if open > 0 && key.is_some() => {
            text.push_str(&format!("{} since then: not sealed yet.\n", plural(open, "record")));
        }
        _ => {}
    }
    if *stray > 0 {
        let lines = plural(*stray, "line");
        text.push_str(&format!(
            "{lines} between them: cut short and never acknowledged, or of an older version.\n"
        ));
    }
    text
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
            principal: "plugin:files@0.1.0 (sha256:12ab34cd56ef)".into(),
            action: "files.read".into(),
            resource: "location:./data/a.csv".into(),
            decision: Decision::Deny,
            why: "no grant covers it".into(),
            count: 3,
            ..AuditRecord::default()
        };
        assert_eq!(
            words(&[record], Path::new("audit.jsonl"), Paint::PLAIN),
            "\
2026-01-02T03:04:05.678Z DENY   plugin:files@0.1.0 (sha256:12ab34cd56ef) files.read location:./data/a.csv (3 times)
  no grant covers it
"
        );
    }

    #[test]
    fn a_verdict_says_what_is_sure() {
        let path = Path::new("audit.jsonl");
        assert_eq!(verdict(&Verified::default(), path), "Nothing is recorded in audit.jsonl.\n");
        let time = |second: u8| Some(format!("2026-01-02T03:04:{second:02}.678Z"));
        let open = Verified { records: 12, first: time(1), last: time(9), ..Verified::default() };
        assert_eq!(
            verdict(&open, path),
            "\
12 records from 2026-01-02T03:04:01.678Z to 2026-01-02T03:04:09.678Z: nothing is amiss.
No seal was found: lines could have been cut off at the end.
"
        );
        let key = Some("0123456789ABCDEF".into());
        let sealed = Verified { sealed: 11, sealed_at: time(8), key, stray: 1, ..open };
        assert_eq!(
            verdict(&sealed, path),
            "\
12 records from 2026-01-02T03:04:01.678Z to 2026-01-02T03:04:09.678Z: nothing is amiss.
Sealed with the key 0123456789ABCDEF at 2026-01-02T03:04:08.678Z.
1 record since then: not sealed yet.
1 line between them: cut short and never acknowledged, or of an older version.
"
        );
    }
}
