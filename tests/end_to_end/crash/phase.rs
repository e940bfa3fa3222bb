//! How far a run had come when it was killed, found from what it left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::lake::Table;

/// What a file in a table's location is, by its place. Nothing here knows how data files are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Of the Delta log.
    Version,
    Plan,
    Receipt,
    Intent,
    /// Rows: committed, staged or garbage.
    Data,
    /// A file that was being written under another name, or a trial that was not removed.
    Half,
    Other,
}

impl Kind {
    pub fn of(name: &str) -> Self {
        let file = name.rsplit('/').next().unwrap_or(name);
        // How object_store's folders and Delta's log name a file before it gets its own name.
        let half = file.contains('#') || file.ends_with(".tmp") || file.starts_with('.');
        let Some(below) = name.strip_prefix("flights/").filter(|_| !half) else { return Self::Half };
        let parts: Vec<&str> = below.split('/').collect();
        match parts[..] {
            ["_delta_log", file] if number(file).is_some() => Self::Version,
            ["_tidegate", _, "plans", ..] => Self::Plan,
            ["_tidegate", _, "receipts", ..] => Self::Receipt,
            ["_tidegate", _, "intents", ..] => Self::Intent,
            [first, ..] if first.starts_with('_') => Self::Other,
            _ => Self::Data,
        }
    }

    /// Where such files are.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Version => "flights/_delta_log/",
            Self::Plan | Self::Receipt | Self::Intent => "flights/_tidegate/",
            Self::Data | Self::Half | Self::Other => "",
        }
    }
}

/// Of `00000000000000000007.json`.
fn number(file: &str) -> Option<u64> {
    file.strip_suffix(".json").filter(|stem| stem.len() == 20)?.parse().ok()
}

/// What the Delta log says, as somebody reads it who knows nothing of Tidegate.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The next version to read.
    next: u64,
    /// Files of the table as it is now, with their rows.
    live: BTreeMap<String, u64>,
    /// All files that it ever named.
    named: BTreeSet<String>,
    /// The number of the last committed intent.
    number: u64,
}

impl Log {
    fn follow(&mut self, table: &Table, names: &BTreeSet<String>) {
        loop {
            let name = format!("flights/_delta_log/{:020}.json", self.next);
            let Some(text) = names.get(&name).and_then(|name| table.text(name)) else { return };
            for line in text.lines() {
                self.apply(&serde_json::from_str(line).unwrap());
            }
            self.next += 1;
        }
    }

    fn apply(&mut self, action: &Value) {
        if let Some(path) = action["add"]["path"].as_str() {
            let stats: Value = serde_json::from_str(action["add"]["stats"].as_str().unwrap()).unwrap();
            self.live.insert(path.to_owned(), stats["numRecords"].as_u64().unwrap());
            self.named.insert(path.to_owned());
        }
        if let Some(path) = action["remove"]["path"].as_str() {
            self.live.remove(path);
        }
        if let Some(number) = action["txn"]["version"].as_u64() {
            self.number = number;
        }
    }

    fn rows(&self) -> u64 {
        self.live.values().sum()
    }
}

/// One look at a table's location.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub names: BTreeSet<String>,
    pub log: Log,
}

impl Look {
    /// `before` saves reading again what never changes.
    pub fn at(table: &Table, before: &Self) -> Self {
        let names = table.names("");
        let mut log = before.log.clone();
        log.follow(table, &names);
        Self { names, log }
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &String> {
        self.names.iter().filter(move |name| Kind::of(name) == kind)
    }

    /// Whether all rows were committed since `before`.
    pub fn is_complete(&self, before: &Self, rows: u64) -> bool {
        self.log.live != before.log.live && self.log.rows() == rows
    }

    /// Files that lie where rows do, and that the log never named.
    fn unnamed(&self) -> impl Iterator<Item = &String> {
        self.of_kind(Kind::Data).filter(|name| !self.log.named.contains(&name["flights/".len()..]))
    }

    /// Files that nobody refers to any more, while no run is at work.
    pub fn garbage(&self) -> Garbage {
        Garbage {
            data: self.unnamed().count(),
            plans: self.of_kind(Kind::Plan).count(),
            receipts: self.of_kind(Kind::Receipt).count(),
            half: self.of_kind(Kind::Half).count(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    pub data: usize,
    pub plans: usize,
    pub receipts: usize,
    /// Files that were being written when their writer died.
    pub half: usize,
}

impl Garbage {
    /// Of each the greater count.
    pub fn most(self, other: Self) -> Self {
        Self {
            data: self.data.max(other.data),
            plans: self.plans.max(other.plans),
            receipts: self.receipts.max(other.receipts),
            half: self.half.max(other.half),
        }
    }
}

/// What a run had reached, in the order in which it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    NothingWritten,
    TableCreated,
    Planned,
    Staged,
    Receipts,
    Intent,
    BetweenEpochs,
    Committed,
    Done,
}

impl Phase {
    pub const ALL: [Self; 9] = [
        Self::NothingWritten,
        Self::TableCreated,
        Self::Planned,
        Self::Staged,
        Self::Receipts,
        Self::Intent,
        Self::BetweenEpochs,
        Self::Committed,
        Self::Done,
    ];

    /// Of a run that found `before`, left `after` behind, and had `rows` to load. What counts is what this
    /// run wrote: the work of those that were killed before it lies there too.
    pub fn of(table: &Table, before: &Look, after: &Look, rows: u64) -> Self {
        let new = |kind| after.of_kind(kind).filter(|name| !before.names.contains(*name));
        let pending = |receipt: &String| {
            let text = table.text(receipt).unwrap_or_default();
            let receipt: Value = serde_json::from_str(&text).unwrap_or_default();
            receipt["file"]["path"].as_str().is_some_and(|path| !after.log.named.contains(path))
        };
        let uncommitted = |intent: &String| {
            number(intent.rsplit('/').next().unwrap_or(intent))
                .is_some_and(|number| number > after.log.number)
        };
        if new(Kind::Intent).any(uncommitted) {
            Self::Intent
        } else if new(Kind::Receipt).any(pending) {
            Self::Receipts
        } else if after.unnamed().any(|name| !before.names.contains(name)) {
            Self::Staged
        } else if after.is_complete(before, rows) {
            let rest = after.of_kind(Kind::Plan).chain(after.of_kind(Kind::Receipt)).count();
            if rest > 0 { Self::Committed } else { Self::Done }
        } else if after.log.live != before.log.live {
            Self::BetweenEpochs
        } else if new(Kind::Plan).next().is_some() {
            Self::Planned
        } else if before.of_kind(Kind::Version).next().is_none()
            && after.of_kind(Kind::Version).next().is_some()
        {
            Self::TableCreated
        } else {
            Self::NothingWritten
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NothingWritten => "nothing written",
            Self::TableCreated => "table created, no plan",
            Self::Planned => "planned, nothing staged",
            Self::Staged => "staged without receipt",
            Self::Receipts => "receipts not yet committed",
            Self::Intent => "intent without commit",
            Self::BetweenEpochs => "between two epochs",
            Self::Committed => "committed, plan not cleaned up",
            Self::Done => "done",
        })
    }
}
