//! The pipeline file.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    Code, Fault, Lookback, PipelineName, Result, SecretRef, StreamName, check_connector_name, from_yaml,
    place_of_key,
};

/// What a pipeline file says, checked as far as that is possible without looking at anything else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    pub pipeline: PipelineName,
    pub extract: Extract,
    pub ingest: Ingest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extract {
    pub connector: ConnectorRequirement,
    /// Given to the connector as a JSON object; only the connector knows what it means.
    #[serde(default)]
    pub config: serde_json::Map<String, Value>,
    /// Where the secret is that each of the connector's slots is bound to. The connector never sees it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    pub streams: BTreeMap<StreamName, StreamSpec>,
    #[serde(default)]
    pub limits: Limits,
}

/// `files@0.1`, `files@*`, or a path to a component: `./target/pages.wasm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ConnectorRequirement {
    Installed {
        name: String,
        version: semver::VersionReq,
        /// Both, as they were written.
        text: String,
    },
    File(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    #[serde(default)]
    pub mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How far behind the mark rows are looked for that came late. Rows that the table has already are
    /// recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookback: Option<Lookback>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All of it, every time.
    #[default]
    Full,
    /// What is new since the last complete generation.
    Incremental,
}

impl Mode {
    /// As pipeline files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Ceilings for each sandboxed instance. They may only narrow what the platform allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory of one instance, its tables and the batches it holds in the host; default 256 MiB, from
    /// [`Limits::MIN_MEMORY`] to [`Limits::MAX_MEMORY`].
    #[serde(default, deserialize_with = "bytes", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Splits read at once, at least one; default one per processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u16>,
}

impl Limits {
    /// Below this no component does anything: 2 MiB, half of which a Rust component's stack takes.
    pub const MIN_MEMORY: u64 = 2 << 20;
    /// The most memory that an instance can be given: 512 MiB.
    pub const MAX_MEMORY: u64 = 512 << 20;
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub sink: SinkKind,
    /// A folder, relative to the pipeline file, or an object store's URL such as `s3://bucket/prefix`.
    pub location: String,
    #[serde(default)]
    pub write: WriteMode,
    #[serde(default)]
    pub schema_change: SchemaChange,
    /// For object stores, in object_store's words, such as `aws_endpoint`. Credentials come from the
    /// environment, never from here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// When rows become visible during a long run.
    #[serde(default)]
    pub commit_every: CommitEvery,
}

/// An epoch, the rows that one commit publishes, ends at whichever comes first; the end of the run ends the
/// last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommitEvery {
    /// Of Arrow memory.
    #[serde(deserialize_with = "size")]
    pub bytes: u64,
    pub seconds: u64,
}

impl Default for CommitEvery {
    fn default() -> Self {
        Self { bytes: 1 << 30, seconds: 30 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    Delta,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    #[default]
    Append,
    /// The table becomes what this generation read, in one commit.
    Replace,
}

/// What to do when a source's schema is not the table's any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaChange {
    /// New columns.
    pub columns: Change,
    /// Columns whose type changed.
    pub data_type: Change,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Follow it: add the column; widen the type where no value changes.
    #[default]
    Evolve,
    /// Stop the run.
    Freeze,
    /// Leave out the rows that have such a value.
    DiscardRow,
    /// Leave out the value: drop the column, or write null.
    DiscardValue,
}

impl Pipeline {
    /// Reads a pipeline file's text. `file` is only for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let pipeline: Self = from_yaml(file, text)?;
        match pipeline.mistake() {
            None => Ok(pipeline),
            Some((key, fault)) => {
                let (line, column) = place_of_key(text, &key).unzip();
                Err(fault.at(file, line, column))
            }
        }
    }

    /// What each key may say and all together may not: the fault, and the keys that lead to it.
    fn mistake(&self) -> Option<(Vec<&str>, Fault)> {
        let fault = |message: String| Fault::user(Code::BadPipeline, message);
        if self.extract.streams.is_empty() {
            let fault = fault("`extract.streams` names no stream".to_owned())
                .help("write `streams: { any: {} }`, and `tidegate discover` lists what the source has");
            return Some((vec!["extract", "streams"], fault));
        }
        if let Some((key, fault)) = self.extract.limits.mistake() {
            return Some((vec!["extract", "limits", key], fault));
        }
        for (name, stream) in &self.extract.streams {
            let at = |key| vec!["extract", "streams", name.as_str(), key];
            if stream.mode == Mode::Full && stream.cursor.is_some() {
                let fault = fault(format!(
                    "stream `{name}` has a cursor, but mode `full` reads everything every time"
                ))
                .help("write `mode: incremental`, or drop `cursor`");
                return Some((at("cursor"), fault));
            }
            if stream.lookback.is_some() && stream.cursor.is_none() {
                let fault =
                    fault(format!("stream `{name}` has a `lookback`, but no cursor that it is measured on"))
                        .help("write `cursor: COLUMN`, or drop `lookback`");
                return Some((at("lookback"), fault));
            }
            if stream.mode == Mode::Incremental && self.ingest.write == WriteMode::Replace {
                let fault = fault(format!(
                    "stream `{name}` is read incrementally, but `write: replace` would throw away what earlier runs read"
                ))
                .help("write `write: append`, or `mode: full`");
                return Some((at("mode"), fault));
            }
        }
        None
    }
}

impl Limits {
    /// The narrower of each.
    #[must_use]
    pub fn narrowed(&self, by: &Self) -> Self {
        Self {
            memory: [self.memory, by.memory].into_iter().flatten().min(),
            parallelism: [self.parallelism, by.parallelism].into_iter().flatten().min(),
        }
    }

    /// The key that says something impossible, and the fault.
    fn mistake(&self) -> Option<(&'static str, Fault)> {
        let (least, most) = (Self::MIN_MEMORY >> 20, Self::MAX_MEMORY >> 20);
        let memory = |message: String, mend: String| {
            Some(("memory", Fault::user(Code::BadPipeline, message).help(mend)))
        };
        match self.memory {
            Some(bytes) if bytes < Self::MIN_MEMORY => memory(
                format!("`memory` is too little for any connector: the least is {least}MiB"),
                "write `limits: { memory: 64MiB }`, or drop `memory`: then it is 256MiB".to_owned(),
            ),
            Some(bytes) if bytes > Self::MAX_MEMORY => memory(
                format!("`memory` is at most {most}MiB"),
                format!("write `limits: {{ memory: {most}MiB }}` or less"),
            ),
            _ if self.parallelism == Some(0) => Some((
                "parallelism",
                Fault::user(Code::BadPipeline, "`parallelism` is at least 1: with 0 nothing would be read")
                    .help("write `parallelism: 1` or more, or drop it: then it is one per processor"),
            )),
            _ => None,
        }
    }
}

impl TryFrom<String> for ConnectorRequirement {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.ends_with(".wasm") {
            return Ok(Self::File(text));
        }
        let (name, version) = text.split_once('@').unwrap_or((&text, "*"));
        if check_connector_name(name).is_err() {
            return Err(format!(
                "`{text}` is not a connector: write NAME@VERSION, such as `files@0.1`, or a path that ends in `.wasm`"
            ));
        }
        let version = version.parse().map_err(|error| {
            format!("`{version}` is not a version requirement ({error}): write `0.1`, `=0.1.3` or `*`")
        })?;
        Ok(Self::Installed { name: name.to_owned(), version, text })
    }
}

impl From<ConnectorRequirement> for String {
    fn from(requirement: ConnectorRequirement) -> String {
        requirement.to_string()
    }
}

impl fmt::Display for ConnectorRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed { text, .. } | Self::File(text) => f.write_str(text),
        }
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    size(deserializer).map(Some)
}

/// `256MiB`, `64KiB`, `1GiB`, or a number of bytes.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u64),
        Text(String),
    }
    let text = match Size::deserialize(deserializer)? {
        Size::Number(bytes) => return Ok(bytes),
        Size::Text(text) => text,
    };
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1_u64)];
    units
        .iter()
        .find_map(|(unit, scale)| {
            let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(*scale)
        })
        .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a size: write it like 256MiB")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
pipeline: flights
extract:
  connector: files@0.1
  config: { location: ./data, format: csv }
  streams:
    weather: { mode: incremental, cursor: time_hour }
  limits: { memory: 64MiB }
ingest:
  sink: delta
  location: ./lake
";

    fn complaint(from: &str, to: &str) -> String {
        match Pipeline::parse("p.yaml", &GOOD.replace(from, to)) {
            Ok(_) => "fine".into(),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn a_good_file_reads_back() {
        let pipeline = Pipeline::parse("p.yaml", GOOD).unwrap();
        assert_eq!(pipeline.extract.limits.memory, Some(64 << 20));
        assert_eq!(pipeline.ingest.write, WriteMode::Append);
        assert_eq!(pipeline.extract.connector.to_string(), "files@0.1");
    }

    #[test]
    fn complaints_name_the_key_the_line_and_what_was_meant() {
        for (from, to, expected) in [
            (
                "limits:",
                "limit:",
                "TG0102: unknown key `limit` (p.yaml:7:3); did you mean `limits`? known here: connector, config, secrets, streams, limits",
            ),
            (
                "sink: delta",
                "sink: dleta",
                "TG0101: unknown value `dleta` (p.yaml:9:9); did you mean `delta`? known here: delta",
            ),
            (
                "mode: incremental",
                "mode: full",
                "TG0106: stream `weather` has a cursor, but mode `full` reads everything every time (p.yaml:6:28); write `mode: incremental`, or drop `cursor`",
            ),
            (
                "sink: delta",
                "sink: delta\n  write: replace",
                "TG0106: stream `weather` is read incrementally, but `write: replace` would throw away what earlier runs read (p.yaml:6:16); write `write: append`, or `mode: full`",
            ),
            (
                "memory: 64MiB",
                "memory: 64MiB, parallelism: 0",
                "TG0106: `parallelism` is at least 1: with 0 nothing would be read (p.yaml:7:28); write `parallelism: 1` or more, or drop it: then it is one per processor",
            ),
            (
                "memory: 64MiB",
                "memory: 1MiB",
                "TG0106: `memory` is too little for any connector: the least is 2MiB (p.yaml:7:13); write `limits: { memory: 64MiB }`, or drop `memory`: then it is 256MiB",
            ),
            (
                "memory: 64MiB",
                "memory: 1GiB",
                "TG0106: `memory` is at most 512MiB (p.yaml:7:13); write `limits: { memory: 512MiB }` or less",
            ),
        ] {
            assert_eq!(complaint(from, to), expected);
        }
        assert!(complaint("64MiB", "much").contains("`much` is not a size"));
        assert!(complaint("files@0.1", "Files").contains("is not a connector"));
        assert!(complaint("pipeline: flights", "pipeline: [").contains("p.yaml:"));
    }
}
