//! What a worker is told to do. One JSON document on its standard input: it holds no secret.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    CommitEvery, Limits, Mode, Permission, PipelineName, RunId, SchemaChange, SinkKind, StreamName, WriteMode,
};

/// One piece of work for one worker process, with all that it may need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkOrder {
    pub run: RunId,
    pub pipeline: PipelineName,
    pub component: ComponentRef,
    pub config: Value,
    /// Requested and granted and below the ceiling: what the component may do.
    pub permissions: Vec<Permission>,
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

/// A component by content. Whoever opens the path checks the digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentRef {
    pub name: String,
    pub version: semver::Version,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    pub path: PathBuf,
}

/// A digest as people compare it: `sha256:` and the first twelve digits.
pub fn short_digest(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// What the component says of its configuration and secrets.
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
