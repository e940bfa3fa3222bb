//! What a worker is told to do. One JSON document on its standard input: it holds no secret.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    CommitEvery, Fault, Limits, Lookback, Mode, Permission, PipelineName, RunId, SchemaChange, SecretRef,
    SinkKind, StreamName, WriteMode, place_of_key,
};

/// One piece of work for one worker process, with all that it may need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkOrder {
    pub run: RunId,
    /// When somebody pressed Enter, by the clock that all processes of this machine share: the times that a
    /// run tells of itself count from here.
    pub began: Duration,
    pub pipeline: PipelineName,
    pub component: ComponentRef,
    pub config: Value,
    /// What the component's slots are bound to: names of secrets.
    pub secrets: BTreeMap<String, SecretRef>,
    /// Where somebody wrote the configuration.
    pub document: Option<Document>,
    /// Requested and granted and below the ceiling: what the component may do.
    pub permissions: Vec<Permission>,
    /// Where they were granted. What is taken back there ends the run.
    #[serde(default)]
    pub grants: Option<PathBuf>,
    /// The policies above all grants, as Cedar, and where they are from.
    #[serde(default)]
    pub ceiling: CeilingText,
    /// Of these streams only these columns: what a grant narrows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<StreamName, BTreeSet<String>>,
    /// Who started the run.
    #[serde(default)]
    pub on_behalf_of: Option<String>,
    /// The trace that the run belongs to, 32 hexadecimal digits.
    #[serde(default)]
    pub trace: Option<String>,
    /// Nothing that could be granted is denied; what is used is told at the end.
    #[serde(default)]
    pub rehearsal: bool,
    /// All that the request resolves to for this configuration, granted or not: it says which source is
    /// meant.
    pub source: Vec<Permission>,
    pub limits: Limits,
    /// Relative locations start here: the pipeline file's folder.
    pub base: PathBuf,
    /// Where the platform keeps its own files: `.tidegate`.
    pub data_dir: PathBuf,
    pub task: Task,
}

/// Policies that nobody's grant can beat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeilingText {
    /// `developer` or `strict`, as they come with the platform, or a file's path.
    pub name: String,
    /// `forbid` policies, each with an `@id`.
    pub text: String,
}

/// A text that people write, kept so that a mistake found in it later can be told with its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// As whoever typed the command named it.
    pub file: String,
    /// YAML.
    pub text: String,
    /// The keys that lead to the connector's configuration; none where that is all of the document.
    pub config: Vec<String>,
}

impl Document {
    /// The fault, with the place of a key of the configuration, or of the nearest key above it that there is.
    #[must_use]
    pub fn blame(&self, key: &[&str], fault: Fault) -> Fault {
        let path: Vec<&str> = self.config.iter().map(String::as_str).chain(key.iter().copied()).collect();
        let (line, column) = place_of_key(&self.text, &path).unzip();
        fault.at(&self.file, line, column)
    }
}

/// A component by content. Whoever opens the path checks the digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentRef {
    pub name: String,
    pub version: semver::Version,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    pub path: PathBuf,
    /// Who signed it, if somebody did who is trusted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<PublisherRef>,
}

/// Whoever signs components, known by a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherRef {
    /// As the administrator calls them.
    pub name: String,
    /// The key's identifier: 16 hexadecimal digits.
    pub key: String,
}

/// A digest as people compare it: `sha256:` and the first twelve digits.
pub fn short_digest(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// What the component says of its configuration and secrets. Needs no permission.
    Spec,
    /// Can the source be reached?
    Check,
    /// Which streams are there?
    Discover,
    Run(RunTask),
    /// The conformance suite, against the component's own configuration.
    Conform,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunTask {
    pub streams: BTreeMap<StreamName, StreamOrder>,
    pub sink: SinkOrder,
    /// Forget what was extracted before and read everything again.
    pub full_refresh: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOrder {
    pub mode: Mode,
    pub cursor: Option<String>,
    pub lookback: Option<Lookback>,
    pub key: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkOrder {
    pub kind: SinkKind,
    pub location: String,
    pub options: BTreeMap<String, String>,
    pub write: WriteMode,
    pub schema_change: SchemaChange,
    pub commit_every: CommitEvery,
}
