//! What is written beside the table, under `_tidegate/<application id>/`: plans, receipts, intents. All of it
//! is JSON that a person can read, is written once by put-if-absent, and never changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_model::{ApplicationId, Lookback, Mode, WriteMode};
use uuid::Uuid;

use crate::encoding;

/// The layout these documents have. A reader that meets another one stops.
pub(crate) const FORMAT: u32 = 2;

/// Whose state this is: which connector reads which source and stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the connector, without its version: an update goes on where the old one stopped.
    pub connector: String,
    /// Says which source the configuration points at; made by the caller.
    pub fingerprint: String,
    pub stream: String,
}

/// A part of a generation that one instance reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Opaque, at most 64 KiB.
    #[serde(with = "encoding::bytes")]
    pub data: Vec<u8>,
    /// For people.
    pub label: String,
    pub estimated_rows: Option<u64>,
    pub estimated_bytes: Option<u64>,
}

/// A generation, written down before anything of it is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub format: u32,
    pub generation: Uuid,
    pub application: ApplicationId,
    pub identity: Identity,
    /// The committed number that this generation continues from; 0 before the first.
    pub predecessor: u64,
    pub mode: Mode,
    pub write: WriteMode,
    pub cursor: Option<String>,
    /// The cursor's greatest value in generations before this one.
    pub high_water: Option<String>,
    /// Where reading begins: the mark less `lookback`. Rows with a lesser cursor count as loaded; those from
    /// here to the mark are loaded unless they are not recognised.
    pub since: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookback: Option<Lookback>,
    /// Rows with a cursor above this belong to the next generation.
    pub upper_bound: Option<String>,
    /// The table's schema while and after this generation is committed, in Delta's JSON.
    pub schema: serde_json::Value,
    pub repeatable: bool,
    #[serde(with = "encoding::bytes")]
    pub token: Vec<u8>,
    #[serde(with = "encoding::optional_bytes")]
    pub bookmark: Option<Vec<u8>>,
    pub splits: Vec<Split>,
}

impl Plan {
    /// Under which it is kept: the number it continues from, so that a listing tells which plans are dead.
    pub(crate) fn name(&self) -> String {
        format!("{:020}-{}", self.predecessor, self.generation)
    }

    pub(crate) fn read_name(name: &str) -> Option<(u64, Uuid)> {
        let (predecessor, generation) = name.split_once('-')?;
        Some((predecessor.parse().ok()?, generation.parse().ok()?))
    }

    /// Where its files lie, relative to the table: what nobody named can be found again.
    pub(crate) fn data_folder(generation: Uuid) -> String {
        format!("data-{generation}")
    }
}

/// What one staged file holds, or how far a split came without one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub format: u32,
    pub generation: Uuid,
    pub split: usize,
    /// The attempt at the generation that this belongs to; a receipt's name tells the stager.
    pub attempt: Uuid,
    /// The receipt it follows; none at the split's beginning.
    pub follows: Option<String>,
    /// Where reading goes on after it; none when the split has ended.
    #[serde(with = "encoding::optional_bytes")]
    pub checkpoint: Option<Vec<u8>>,
    pub end: bool,
    pub file: Option<DataFile>,
    pub rejects: Option<RejectFile>,
    /// Rows that are older than the window or belong to the next generation.
    pub skipped: u64,
    /// Rows of the window that are in the table already.
    pub recognised: u64,
    /// The cursor's greatest value in the file.
    pub cursor: Option<String>,
    /// Rows that were recognised, and those of the file that may be met again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenAt>,
}

/// Where a set of known rows is, see [`crate::seen::Seen`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SeenAt {
    /// A set that is smaller than the request for a file.
    Here(#[serde(with = "encoding::bytes")] Vec<u8>),
    /// Relative to the table.
    File(String),
}

/// What an attempt at a generation built on, written down before its first receipt where rows are to be
/// recognised: which of several equal rows is the known one is settled within an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub format: u32,
    pub attempt: Uuid,
    /// The number that was committed then.
    pub number: u64,
    /// Names of the receipts of others that it took.
    pub receipts: BTreeSet<String>,
}

/// A Parquet file of the table that nobody can see before it is committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    /// Relative to the table.
    pub path: String,
    /// Stored bytes.
    pub size: u64,
    /// Milliseconds since 1970, by the store's clock.
    pub modified: i64,
    pub rows: u64,
    /// Of Arrow memory, before encoding.
    pub bytes: u64,
    /// Statistics in Delta's JSON.
    pub stats: String,
}

/// Records that could not become rows, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RejectFile {
    /// Relative to the table.
    pub path: String,
    pub rows: u64,
}

/// A commit that somebody is about to make, and once the table's transaction names its number, the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub format: u32,
    pub number: u64,
    pub attempt: Uuid,
    /// The committed number it builds on; 0 before the first.
    pub predecessor: u64,
    pub identity: Identity,
    /// Files it adds to the table, relative to it.
    pub files: Vec<String>,
    /// Files of rejected records that count from now on.
    pub rejects: Vec<String>,
    pub state: Recorded,
}

/// How an intent says what is known after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Recorded {
    Whole(Progress),
    /// What changed since the predecessor: a generation of thousands of splits would otherwise be written
    /// down again with every commit.
    Changed(Changes),
}

/// A step within one generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changes {
    pub cursor: Option<String>,
    pub heads: BTreeMap<usize, Head>,
    pub seen: Option<SeenAt>,
}

/// What is known after a commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Of complete generations.
    pub high_water: Option<String>,
    /// The column that `high_water` is a value of.
    pub cursor: Option<String>,
    /// Of the last complete generation.
    #[serde(with = "encoding::optional_bytes")]
    pub bookmark: Option<Vec<u8>>,
    /// From which value of the cursor on rows can be recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The rows that the next generation, or the rest of this one, may meet again.
    pub seen: Option<SeenAt>,
    /// The generation that is partly committed.
    pub generation: Option<Partial>,
}

impl Progress {
    /// What changed since `before`, if that is a step within one generation.
    pub(crate) fn since(&self, before: &Self) -> Option<Changes> {
        let (now, then) = (self.generation.as_ref()?, before.generation.as_ref()?);
        if now.plan != then.plan {
            return None;
        }
        let moved = now.heads.iter().filter(|(split, head)| then.heads.get(split) != Some(head));
        Some(Changes {
            cursor: now.cursor.clone(),
            heads: moved.map(|(split, head)| (*split, head.clone())).collect(),
            seen: self.seen.clone(),
        })
    }

    /// Takes the step. `None`: there is no generation to take it in.
    pub(crate) fn step(&mut self, changes: Changes) -> Option<()> {
        let partial = self.generation.as_mut()?;
        partial.cursor = changes.cursor;
        partial.heads.extend(changes.heads);
        self.seen = changes.seen;
        Some(())
    }
}

/// How far a partly committed generation is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Partial {
    /// Name of its plan.
    pub plan: String,
    /// How many splits it has.
    pub splits: u64,
    /// The greatest cursor value among its committed rows.
    pub cursor: Option<String>,
    /// By split: the last receipt committed.
    pub heads: BTreeMap<usize, Head>,
}

impl Partial {
    /// Nothing of it is committed.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self { plan: plan.name(), splits: plan.splits.len() as u64, cursor: None, heads: BTreeMap::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub receipt: String,
    pub end: bool,
    /// The receipt's own, so that the state is whole without it.
    #[serde(with = "encoding::optional_bytes")]
    pub checkpoint: Option<Vec<u8>>,
}
