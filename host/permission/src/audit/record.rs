use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tidegate_model::RunId;

use crate::principal::Principal;
use crate::vocabulary::{Action, Resource};

/// The version of lines that are written now.
pub(super) const VERSION: u32 = 1;

/// One decision, or several equal ones, before it is written down.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) principal: &'a Principal,
    /// Whoever the principal does it for.
    pub(crate) on_behalf_of: Option<&'a str>,
    pub(crate) action: Action,
    pub(crate) resource: &'a Resource,
    pub(crate) decision: Decision,
    /// The rule that decided, in words.
    pub(crate) why: &'a str,
    /// The policy that decided, by its identifier.
    pub(crate) policy: Option<&'a str>,
    /// How long it took to decide.
    pub(crate) took: Option<Duration>,
    /// The trace it belongs to: 32 hexadecimal digits, as in `traceparent`.
    pub(crate) trace: Option<&'a str>,
    /// How often, since the last record like this one.
    pub(crate) count: u64,
}

impl<'a> Entry<'a> {
    /// A decision of one moment; what else is known of it is set by name.
    pub(crate) fn new(
        principal: &'a Principal,
        action: Action,
        resource: &'a Resource,
        decision: Decision,
        why: &'a str,
    ) -> Self {
        Self {
            principal,
            on_behalf_of: None,
            action,
            resource,
            decision,
            why,
            policy: None,
            took: None,
            trace: None,
            count: 1,
        }
    }

    pub(super) fn at(&self, time: DateTime<Utc>, run: Option<&RunId>) -> AuditRecord {
        AuditRecord {
            v: VERSION,
            seq: 0,
            prev: String::new(),
            stray: None,
            time: time.to_rfc3339_opts(SecondsFormat::Millis, true),
            run: run.map(|run| run.as_str().to_owned()),
            trace: self.trace.map(str::to_owned),
            principal: self.principal.to_string(),
            on_behalf_of: self.on_behalf_of.map(str::to_owned),
            action: self.action.to_string(),
            resource: self.resource.to_string(),
            decision: self.decision,
            why: self.why.to_owned(),
            policy: self.policy.map(str::to_owned),
            duration_us: self.took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            count: self.count,
        }
    }
}

/// A line of the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The version of the line's format: 1. Lines without it (0) are from before there was a chain.
    #[serde(default)]
    pub v: u32,
    /// The record's number, from 1.
    #[serde(default)]
    pub seq: u64,
    /// SHA-256 of the record before, its line break left out; of the first record a random number, which is
    /// the name of the chain. 64 hexadecimal digits.
    #[serde(default)]
    pub prev: String,
    /// When lines stand between this record and the one before that are none, such as one that a full disk cut
    /// short: SHA-256 of their SHA-256s. They were never acknowledged, and are not taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stray: Option<String>,
    /// RFC 3339, UTC, to the millisecond.
    pub time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// `user:alice`, `plugin:files@0.1.0 (sha256:12ab34cd56ef)`.
    pub principal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// See [`Action`].
    pub action: String,
    /// Kind and name: `location:./data`. URLs without user, query and fragment: those may hold secrets.
    pub resource: String,
    pub decision: Decision,
    /// The rule that decided, in words.
    pub why: String,
    /// The policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// How long it took to decide, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// How often, since the last record like this one.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub count: u64,
}

impl AuditRecord {
    /// What a line says, if it is a record of this version or of the one without a chain.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().filter(|record: &Self| record.v <= VERSION)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    Allow,
    #[default]
    Deny,
}

fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_once(count: &u64) -> bool {
    *count == 1
}
