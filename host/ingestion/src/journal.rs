//! Plans, receipts and intents of one stream, as files under `_tidegate/<application id>/` of its table:
//!
//! ```text
//! plans/<number it continues from>-<generation>.json
//! receipts/<generation>/<split>-<stager>-<sequence>.json
//! rejects/<generation>/<the same>.jsonl
//! joined/<generation>/<attempt>.json
//! seen/<generation>/<the same, or a commit's id>.parquet
//! intents/<number>.json
//! ```

use std::collections::HashSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_model::{ApplicationId, Code, Fault, Result};
use uuid::Uuid;

use crate::document::{FORMAT, Identity, Intent, Joined, Plan, Progress, Receipt, Recorded, SeenAt};
use crate::generation::Fresh;
use crate::rules::Rule;
use crate::store::Table;

/// Requests in flight while many small files are read.
pub(crate) const PARALLEL: usize = 16;

/// Where Tidegate keeps its own files in a table.
const FOLDER: &str = "_tidegate";

/// What a plan's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanName {
    pub name: String,
    pub predecessor: u64,
    pub generation: Uuid,
}

impl PlanName {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self { name: plan.name(), predecessor: plan.predecessor, generation: plan.generation }
    }
}

/// A committed state.
#[derive(Debug)]
pub(crate) struct Known {
    pub owner: Identity,
    /// Who committed it.
    pub attempt: Uuid,
    pub progress: Progress,
    /// Commits since all of it was written down.
    pub steps: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Journal {
    pub table: Table,
    pub application: ApplicationId,
}

impl Journal {
    /// Application ids and the names made here are plain path segments, so parsing cannot fail on them.
    /// Stores differ in how they take a percent sign, so `=`, which no application id has, stands for it.
    pub(crate) fn path(&self, below: &str) -> Result<Path> {
        Path::parse(format!("{FOLDER}/{}/{below}", self.application.as_str().replace('%', "=")))
            .map_err(|error| Fault::internal(Code::Bug, error.to_string()))
    }

    pub(crate) async fn write_plan(&self, plan: &Plan) -> Result<()> {
        self.write_once(&format!("plans/{}.json", plan.name()), plan).await
    }

    pub(crate) async fn plan(&self, name: &str) -> Result<Option<Plan>> {
        self.read(&format!("plans/{name}.json")).await
    }

    /// Names of the plans there are, each with the number it continues from and its generation. The newest
    /// first, and of two that continue from the same number always the same one first.
    pub(crate) async fn plans(&self) -> Result<Vec<PlanName>> {
        let found = self.table.list(&self.path("plans")?).await?;
        let named = found.iter().filter_map(|file| {
            let name = file.location.filename()?.strip_suffix(".json")?;
            let (predecessor, generation) = Plan::read_name(name)?;
            Some(PlanName { predecessor, generation, name: name.to_owned() })
        });
        let mut plans: Vec<_> = named.collect();
        plans.sort_by(|a, b| b.predecessor.cmp(&a.predecessor).then_with(|| a.name.cmp(&b.name)));
        Ok(plans)
    }

    pub(crate) async fn write_receipt(&self, name: &str, receipt: &Receipt) -> Result<()> {
        self.write_once(&format!("receipts/{}/{name}.json", receipt.generation), receipt).await
    }

    /// The receipts of a generation that are durable by now, except those that are known.
    pub(crate) async fn receipts(
        &self,
        generation: Uuid,
        known: impl Fn(&str) -> bool,
        fresh: &Fresh,
    ) -> Result<Vec<(String, Receipt)>> {
        let found = self.table.list(&self.path(&format!("receipts/{generation}"))?).await?;
        let names: Vec<String> = found
            .iter()
            .filter_map(|file| file.location.filename()?.strip_suffix(".json").map(str::to_owned))
            .filter(|name| !known(name))
            .collect();
        let new = stream::iter(names).map(|name| async move {
            let receipt = match fresh.take(&name) {
                Some(receipt) => Some(receipt),
                None => self.read(&format!("receipts/{generation}/{name}.json")).await?,
            };
            Ok::<_, Fault>(receipt.map(|receipt| (name, receipt)))
        });
        new.buffered(PARALLEL).try_filter_map(|found| async move { Ok(found) }).try_collect().await
    }

    pub(crate) async fn write_joined(&self, generation: Uuid, joined: &Joined) -> Result<()> {
        self.write_once(&format!("joined/{generation}/{}.json", joined.attempt), joined).await
    }

    /// Of all attempts at a generation.
    pub(crate) async fn joined(&self, generation: Uuid) -> Result<Vec<Joined>> {
        let mut all = Vec::new();
        for file in self.table.list(&self.path(&format!("joined/{generation}"))?).await? {
            let Some(name) = file.location.filename() else { continue };
            all.extend(self.read(&format!("joined/{generation}/{name}")).await?);
        }
        Ok(all)
    }

    pub(crate) async fn intent(&self, number: u64) -> Result<Option<Intent>> {
        self.read(&intent_name(number)).await
    }

    /// Takes the lowest free number above the predecessor, so that no two intents ever share one. Gaps are
    /// fine.
    pub(crate) async fn claim(&self, intent: &mut Intent) -> Result<()> {
        intent.number = intent.predecessor + 1;
        while !self.put(&intent_name(intent.number), intent).await?
            && self.table.rules.hold(Rule::NumberOfItsOwn)
        {
            intent.number += 1;
        }
        Ok(())
    }

    /// What is known after a committed number.
    pub(crate) async fn progress(&self, number: u64) -> Result<Known> {
        let mut steps = Vec::new();
        let mut by = None;
        let mut next = number;
        let mut progress = loop {
            let intent = self.intent(next).await?.ok_or_else(|| self.lost(next))?;
            by.get_or_insert((intent.identity, intent.attempt));
            match intent.state {
                Recorded::Whole(progress) => break progress,
                // A number builds on lesser ones.
                Recorded::Changed(changes) if intent.predecessor < next => {
                    steps.push(changes);
                    next = intent.predecessor;
                }
                Recorded::Changed(_) => return Err(self.lost(next)),
            }
        };
        let taken = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        for changes in steps.into_iter().rev() {
            progress.step(changes).ok_or_else(|| self.lost(next))?;
        }
        let (owner, attempt) = by.ok_or_else(|| self.lost(number))?;
        Ok(Known { owner, attempt, progress, steps: taken })
    }

    fn lost(&self, number: u64) -> Fault {
        Fault::external(
            Code::BadState,
            format!("the state of `{}` rests on commit {number}, whose record is gone", self.table),
        )
        .help("restore the table's `_tidegate` folder, or load into another location")
    }

    /// The number before a committed one, or the one that its state rests on as a whole: what is older is of no
    /// use to it. None: its record is gone.
    pub(crate) async fn base(&self, committed: u64) -> Result<Option<u64>> {
        let Some(intent) = self.intent(committed).await? else { return Ok(None) };
        // A table that is restored to just before it shows the number before it.
        let mut next = intent.predecessor;
        while next > 0 {
            let Some(intent) = self.intent(next).await? else { return Ok(None) };
            match intent.state {
                Recorded::Whole(_) => break,
                Recorded::Changed(_) if intent.predecessor < next => next = intent.predecessor,
                Recorded::Changed(_) => return Ok(None),
            }
        }
        Ok(Some(next))
    }

    /// All there are, with their numbers.
    pub(crate) async fn intents(&self) -> Result<Vec<(u64, Path)>> {
        let found = self.table.list(&self.path("intents")?).await?;
        let numbered = found.into_iter().filter_map(|file| {
            let number = file.location.filename()?.strip_suffix(".json")?.parse().ok()?;
            Some((number, file.location))
        });
        Ok(numbered.collect())
    }

    /// Files that committed intents name, from `last` back to, and without, `first`. None: a record on the way
    /// is gone.
    pub(crate) async fn committed_files(&self, first: u64, last: u64) -> Result<Option<HashSet<String>>> {
        let mut files = HashSet::new();
        let mut next = last;
        while next > first {
            let Some(intent) = self.intent(next).await? else { return Ok(None) };
            files.extend(intent.files);
            files.extend(intent.rejects);
            // What was known within a generation is of no use after it.
            if let Recorded::Whole(Progress { seen: Some(SeenAt::File(path)), generation: None, .. }) =
                intent.state
            {
                files.insert(path);
            }
            if intent.predecessor >= next {
                return Ok(None);
            }
            next = intent.predecessor;
        }
        Ok(Some(files))
    }

    /// The greatest number that some later plan or intent builds on, so that it must have been committed
    /// once.
    pub(crate) async fn committed_once(&self, committed: u64, plans: &[PlanName]) -> Result<u64> {
        let mut known = plans.iter().map(|plan| plan.predecessor).max().unwrap_or(0);
        // Names of intents sort as their numbers.
        let last = self.path(&intent_name(committed))?;
        for file in self.table.list_after(&self.path("intents")?, &last).await? {
            let number = file.location.filename().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            let Some(number) = number else { continue };
            let intent = self.intent(number).await?;
            known = known.max(intent.map_or(0, |intent| intent.predecessor));
        }
        Ok(known)
    }

    /// A set of known rows, by its path in the table.
    pub(crate) async fn seen(&self, path: &str) -> Result<Bytes> {
        let place = Path::parse(path).map_err(|error| Fault::external(Code::BadState, error.to_string()))?;
        self.table.get(&place).await?.ok_or_else(|| {
            Fault::external(Code::BadState, format!("the set of known rows `{path}` is gone"))
                .help("`tidegate run PIPELINE.yaml --full-refresh` reads everything anew")
        })
    }

    /// Application ids that keep a journal in this table, other than this one.
    pub(crate) async fn others(&self) -> Result<Vec<String>> {
        let found = self.table.folders(&Path::from(FOLDER)).await?;
        let names = found.into_iter().map(|name| name.replace('=', "%"));
        Ok(names.filter(|name| name != self.application.as_str()).collect())
    }

    async fn write_once(&self, below: &str, document: &impl Serialize) -> Result<()> {
        if self.put(below, document).await? {
            return Ok(());
        }
        Err(Fault::internal(Code::Bug, format!("`{below}` was written twice with different content")))
    }

    async fn put(&self, below: &str, document: &impl Serialize) -> Result<bool> {
        let content =
            serde_json::to_vec(document).map_err(|error| Fault::internal(Code::Bug, error.to_string()))?;
        self.table.put_new(&self.path(below)?, Bytes::from(content)).await
    }

    async fn read<T: DeserializeOwned>(&self, below: &str) -> Result<Option<T>> {
        let Some(content) = self.table.get(&self.path(below)?).await? else {
            return Ok(None);
        };
        let bad = |reason: String| {
            Fault::external(Code::BadState, format!("{FOLDER}/{}/{below}: {reason}", self.application))
        };
        let value: serde_json::Value =
            serde_json::from_slice(&content).map_err(|error| bad(error.to_string()))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if format != Some(u64::from(FORMAT)) {
            return Err(bad(format!("its format is {format:?}, and this version knows {FORMAT}"))
                .help("it was written by a newer Tidegate: use that one"));
        }
        serde_json::from_value(value).map(Some).map_err(|error| bad(error.to_string()))
    }
}

fn intent_name(number: u64) -> String {
    format!("intents/{number:020}.json")
}
