use std::collections::VecDeque;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_infrastructure::{clock, files};
use tidegate_model::{Code, Fault, Result, RunId};

use crate::principal::Principal;
use crate::vocabulary::{Action, Resource};

/// The record of all decisions: JSON by the line, appended to by several processes at once, never rewritten.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
    run: Option<RunId>,
}

/// One decision, or several equal ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// RFC 3339, UTC, to the millisecond.
    pub time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// `user:alice`, `plugin:files@0.1.0 (sha256:12ab34cd56ef)`.
    pub principal: String,
    /// See [`Action`].
    pub action: String,
    /// Kind and name: `location:./data`. URLs without user, query and fragment: those may hold secrets.
    pub resource: String,
    pub decision: Decision,
    /// The rule that decided, in words.
    pub why: String,
    /// How often, since the last record like this one.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Allow,
    Deny,
}

impl Audit {
    /// The audit in that file, for the decisions of a run or of none.
    pub fn at(path: impl Into<PathBuf>, run: Option<RunId>) -> Self {
        Self { path: path.into(), run }
    }

    pub(crate) fn record(
        &self,
        principal: &Principal,
        action: Action,
        resource: &Resource,
        decision: Decision,
        why: &str,
        count: u64,
    ) -> Result<()> {
        let record = AuditRecord {
            time: clock::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            run: self.run.as_ref().map(|run| run.as_str().to_owned()),
            principal: principal.to_string(),
            action: action.to_string(),
            resource: resource.to_string(),
            decision,
            why: why.to_owned(),
            count,
        };
        let line = serde_json::to_string(&record).map_err(|error| {
            Fault::internal(Code::Bug, format!("an audit record that cannot be written: {error}"))
        })?;
        // Invariant 1: where the record cannot be written, the answer is no.
        files::append_line(&self.path, &line, false).map_err(|fault| Fault {
            code: Code::AuditUnavailable,
            help: Some(
                "nothing is allowed that cannot be recorded: make room for the audit, or let it be written"
                    .into(),
            ),
            ..fault
        })
    }

    /// The last `most` records, oldest first. Lines that are no records, such as one that a full disk cut
    /// short, are left out.
    pub fn tail(&self, most: usize, denied_only: bool) -> Result<Vec<AuditRecord>> {
        let text = files::read_if_exists(&self.path)?.unwrap_or_default();
        let mut last: VecDeque<AuditRecord> = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|record: &AuditRecord| !denied_only || record.decision == Decision::Deny)
            .take(most)
            .collect();
        last.make_contiguous().reverse();
        Ok(last.into())
    }
}

fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_once(count: &u64) -> bool {
    *count == 1
}
