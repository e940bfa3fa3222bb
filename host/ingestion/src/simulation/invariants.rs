//! What must hold, looked at after every change of the store.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;
use tidegate_model::Reject;

use super::log::{Entry, Files, version_of};
use super::operation::{Process, Purpose};
use super::source::{Row, Source, rows_of};
use super::store::Event;
use crate::document::{Intent, Progress, Recorded, SeenAt};

/// What was seen not to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

pub(super) fn violates(invariant: &'static str, what: impl Into<String>) -> Violation {
    Violation { invariant, what: what.into() }
}

/// What one stream has in the table at one version.
#[derive(Debug, Clone, Default)]
pub(super) struct Landed {
    /// Last committed; 0 before the first.
    pub number: u64,
    /// Rows of the chains that committed intents name, since it last began from nothing.
    pub rows: Vec<Row>,
    /// Those of before that.
    pub before: Vec<Row>,
    /// Of records that were set aside since then.
    pub aside: Vec<i64>,
    pub mark: Option<i64>,
    /// Somebody went back to a version in which the stream had less, and nobody said yet that this is right.
    pub restored: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Version {
    pub files: Files,
    pub landed: BTreeMap<String, Landed>,
    pub strangers: Vec<Row>,
}

#[derive(Default)]
pub(super) struct Invariants {
    pub objects: BTreeMap<String, Bytes>,
    /// By path, the rows of every data file that there ever was.
    rows: BTreeMap<String, Vec<Row>>,
    pub versions: Vec<Version>,
    /// By application, the contents that there may be, where all of a table changes at once.
    pub replacing: BTreeMap<String, Vec<Vec<Row>>>,
    /// Application and number of every commit.
    committed: BTreeSet<(String, u64)>,
    /// Files that a committed intent or state names.
    named: BTreeSet<String>,
    /// Generations that somebody began to clear away.
    pub cleared: BTreeSet<String>,
    /// Files that were written after that, by somebody who had slept or works beside.
    orphans: BTreeSet<String>,
}

type Held = Result<(), Violation>;

impl Invariants {
    pub(super) fn now(&self) -> Version {
        self.versions.last().cloned().unwrap_or_default()
    }

    pub(super) fn landed(&self, application: &str) -> Landed {
        self.now().landed.get(application).cloned().unwrap_or_default()
    }

    pub(super) fn rows(&self, path: &str) -> &[Row] {
        self.rows.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn see(&mut self, event: Event) -> Held {
        let Some(content) = event.content else {
            self.objects.remove(&event.path);
            if self.versions.last().is_some_and(|version| version.files.contains_key(&event.path)) {
                return Err(violates("every visible file exists", format!("{} was deleted", event.path)));
            }
            return Ok(());
        };
        if event.path.ends_with(".parquet") && !event.path.starts_with('_') {
            self.rows.insert(event.path.clone(), rows_of(&content));
        }
        if generation_of(&event.path).is_some_and(|generation| self.cleared.contains(generation)) {
            self.orphans.insert(event.path.clone());
        }
        let replaced = self.objects.insert(event.path.clone(), content.clone());
        let rewritten = replaced.is_some_and(|before| before != content);
        if rewritten && event.path.contains("/intents/") {
            return Err(violates("a number is one intent's", format!("{} was written over", event.path)));
        }
        match version_of(&event.path) {
            Some(version) if version < self.versions.len() => {
                Err(violates("a version is written once", format!("version {version} was written over")))
            }
            Some(_) => self.commit(event.process, &Entry::parse(&content)),
            None => Ok(()),
        }
    }

    fn commit(&mut self, process: Process, entry: &Entry) -> Held {
        let before = self.now();
        let mut now = before.clone();
        for path in &entry.removes {
            if now.files.remove(path).is_none() {
                return Err(violates("the log is sound", format!("{path} was removed and is not there")));
            }
        }
        for (path, add) in &entry.adds {
            if now.files.insert(path.clone(), add.clone()).is_some() {
                return Err(violates("the log is sound", format!("{path} was added twice")));
            }
            if !self.objects.contains_key(path) {
                return Err(violates("every visible file exists", format!("{path} is named and not there")));
            }
        }
        match entry.operation.as_str() {
            "APPEND" => now.strangers.extend(entry.adds.keys().flat_map(|path| self.rows(path).to_vec())),
            "RESTORE" => {
                let then = &self.versions[entry.restores.unwrap()];
                now.strangers.clone_from(&then.strangers);
                for (application, landed) in &mut now.landed {
                    let then = then.landed.get(application).cloned().unwrap_or_default();
                    // A transaction is not taken back by a restore.
                    let number = landed.number;
                    let restored = landed.restored || then.number != number;
                    *landed = Landed { number, restored, ..then };
                }
            }
            _ => {}
        }
        for (application, number) in &entry.transactions {
            let intent = self.intent(application, *number)?;
            let landed = now.landed.entry(application.to_owned()).or_default();
            self.builds_on(&intent, entry, *number, landed)?;
            self.names(&intent);
            self.committed.insert((application.clone(), *number));
            self.committed(process, entry, application, &intent, &mut now)?;
        }
        let mut expected = now.strangers.clone();
        for landed in now.landed.values() {
            expected.extend_from_slice(&landed.rows);
            expected.extend_from_slice(&landed.before);
        }
        let visible: Vec<Row> = now.files.keys().flat_map(|path| self.rows(path).to_vec()).collect();
        same(visible, expected).map_err(|what| {
            violates(
                "visible is what committed intents name",
                format!("version {}: {what}", self.versions.len()),
            )
        })?;
        self.versions.push(now);
        Ok(())
    }

    fn intent(&self, application: &str, number: u64) -> Result<Intent, Violation> {
        let path = format!("_tidegate/{}/intents/{number:020}.json", application.replace('%', "="));
        match self.objects.get(&path) {
            Some(content) => Ok(serde_json::from_slice(content).unwrap()),
            None => Err(violates("a commit is on record", format!("{path} is not there"))),
        }
    }

    fn builds_on(&self, intent: &Intent, entry: &Entry, number: u64, landed: &Landed) -> Held {
        if intent.number != number || intent.predecessor != landed.number || number <= landed.number {
            return Err(violates(
                "intents are a chain",
                format!("{number} builds on {}, after {}", intent.predecessor, landed.number),
            ));
        }
        let mut named = intent.files.clone();
        named.sort();
        if !named.iter().eq(entry.adds.keys()) {
            return Err(violates("an intent names what is added", format!("{number}: {named:?}")));
        }
        Ok(())
    }

    fn names(&mut self, intent: &Intent) {
        self.named.extend(intent.files.iter().chain(&intent.rejects).cloned());
        if let Recorded::Whole(Progress { seen: Some(SeenAt::File(path)), .. }) = &intent.state {
            self.named.insert(path.clone());
        }
    }

    /// A commit of ours.
    fn committed(
        &self,
        process: Process,
        entry: &Entry,
        application: &str,
        intent: &Intent,
        now: &mut Version,
    ) -> Held {
        let number = intent.number;
        let landed = now.landed.entry(application.to_owned()).or_default();
        let by_person = matches!(process.purpose, Purpose::TakeState | Purpose::Reset);
        if landed.restored && !by_person {
            return Err(violates("a restored table stops the run", format!("{number} was committed to it")));
        }
        landed.restored = false;
        let before = landed.mark;
        if entry.overwrites {
            *landed = Landed::default();
            now.strangers.clear();
        }
        if process.purpose == Purpose::Reset {
            landed.before.append(&mut landed.rows);
            landed.aside.clear();
        }
        landed.number = number;
        landed.rows.extend(intent.files.iter().flat_map(|path| self.rows(path).to_vec()));
        for path in &intent.rejects {
            landed.aside.extend(self.objects.get(path).map(ids_of).unwrap_or_default());
        }
        let (mark, unfinished) = match &intent.state {
            Recorded::Changed(_) => (before, true),
            Recorded::Whole(state) => {
                let mark = state.high_water.as_deref().map(|mark| mark.parse().unwrap());
                (mark, state.generation.is_some())
            }
        };
        let moves = mark != before && process.purpose == Purpose::Run;
        if moves && (unfinished || mark < before) && !entry.overwrites {
            return Err(violates(
                "the mark moves forward, at the end",
                format!("{number}: from {before:?} to {mark:?}"),
            ));
        }
        landed.mark = mark;
        match self.replacing.get(application) {
            Some(contents) if process.purpose == Purpose::Run && !landed.rows.is_empty() => {
                let mut rows = landed.rows.clone();
                rows.sort();
                if !contents.contains(&rows) {
                    return Err(violates("readers see a whole generation", format!("{number}: {rows:?}")));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A run was told that a number is committed.
    pub(super) fn told(&self, application: &str, number: u64) -> Held {
        if self.committed.contains(&(application.to_owned(), number)) {
            return Ok(());
        }
        Err(violates("what is said to be committed is", format!("{number} of {application}")))
    }

    /// Once nobody is at work any more: all that is left is what somebody names, or what was written while its
    /// generation was cleared away.
    pub(super) fn tidy(&self) -> Held {
        let garbage: Vec<&String> = self
            .objects
            .keys()
            .filter(|path| generation_of(path).is_some() || path.contains("/plans/"))
            .filter(|path| !self.named.contains(*path) && !self.orphans.contains(*path))
            .collect();
        if garbage.is_empty() {
            return Ok(());
        }
        Err(violates("garbage is finite", format!("{garbage:?}")))
    }

    /// Once the source is still and everything was loaded.
    pub(super) fn complete(&self, application: &str, source: &Source) -> Held {
        let landed = self.landed(application);
        if landed.mark.is_some_and(|mark| mark > source.greatest_bound) {
            return Err(violates(
                "the mark stays within a bound",
                format!("{:?} is beyond {}", landed.mark, source.greatest_bound),
            ));
        }
        let (rows, aside) = source.truth();
        let (without, with): (Vec<Row>, Vec<Row>) =
            landed.rows.into_iter().partition(|row| source.nature.incremental && row.at.is_none());
        same(with, rows).map_err(|what| violates("each of the source's rows once", what))?;
        let mut apart: Vec<i64> = landed.aside;
        apart.extend(without.iter().map(|row| row.id));
        same(apart, aside).map_err(|what| violates("each rejected record once", what))
    }
}

/// The generation that a staged file is of.
pub(super) fn generation_of(path: &str) -> Option<&str> {
    let mut parts = path.split('/');
    match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
        ("_tidegate", _, Some("plans" | "intents"), _) => None,
        ("_tidegate", _, _, generation) => generation,
        (folder, ..) => folder.strip_prefix("data-"),
    }
}

/// Whose records are in a file of rejects.
fn ids_of(content: &Bytes) -> Vec<i64> {
    let lines = std::str::from_utf8(content).unwrap().lines();
    let records = lines.map(|line| serde_json::from_str::<Reject>(line).unwrap());
    records
        .map(|record| {
            let row: Value = serde_json::from_str(record.raw.as_deref().unwrap()).unwrap();
            row["id"].as_i64().unwrap()
        })
        .collect()
}

/// Whether two lists hold the same, each as often.
fn same<T: Ord + Clone + std::fmt::Debug>(mut found: Vec<T>, mut expected: Vec<T>) -> Result<(), String> {
    found.sort();
    expected.sort();
    if found == expected {
        return Ok(());
    }
    let (mut too_many, mut missing) = (found.clone(), expected.clone());
    for item in &expected {
        if let Some(at) = too_many.iter().position(|other| other == item) {
            too_many.remove(at);
        }
    }
    for item in &found {
        if let Some(at) = missing.iter().position(|other| other == item) {
            missing.remove(at);
        }
    }
    Err(format!("too many: {too_many:?}, missing: {missing:?}"))
}
