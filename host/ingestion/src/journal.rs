//! Plans, receipts and intents of one stream, as files under `_tidegate/<application id>/` of its table:
//!
//! ```text
//! plans/<number it continues from>-<generation>.json
//! receipts/<generation>/<split>-<stager>-<sequence>.json
//! rejects/<generation>/<the same>.jsonl
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

use crate::chain::Receipts;
use crate::document::{FORMAT, Intent, Plan, Receipt};
use crate::store::Table;

/// Requests in flight while many small files are read.
pub(crate) const PARALLEL: usize = 16;

/// Where Tidegate keeps its own files in a table.
const FOLDER: &str = "_tidegate";

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

    pub(crate) async fn write_plan(&self, plan: &Plan) -> Result<String> {
        let name = plan_name(plan.predecessor, plan.generation);
        self.write_once(&format!("plans/{name}.json"), plan).await?;
        Ok(name)
    }

    pub(crate) async fn plan(&self, name: &str) -> Result<Option<Plan>> {
        self.read(&format!("plans/{name}.json")).await
    }

    /// Names of the plans there are, each with the number it continues from; the newest first.
    pub(crate) async fn plans(&self) -> Result<Vec<(u64, String)>> {
        let mut found = self.table.list(&self.path("plans")?).await?;
        found.sort_by_key(|file| std::cmp::Reverse(file.last_modified));
        let named = found.iter().filter_map(|file| {
            let name = file.location.filename()?.strip_suffix(".json")?;
            let number = name.split('-').next()?.parse().ok()?;
            Some((number, name.to_owned()))
        });
        Ok(named.collect())
    }

    /// Removes a plan and its receipts, so that nobody goes on with it. Its rejects stay.
    pub(crate) async fn drop_plan(&self, name: &str, generation: Uuid) -> Result<()> {
        let mut gone = vec![self.path(&format!("plans/{name}.json"))?];
        let receipts = self.table.list(&self.path(&format!("receipts/{generation}"))?).await?;
        gone.extend(receipts.into_iter().map(|file| file.location));
        self.table.discard(gone).await;
        Ok(())
    }

    pub(crate) async fn write_receipt(&self, name: &str, receipt: &Receipt) -> Result<()> {
        self.write_once(&format!("receipts/{}/{name}.json", receipt.generation), receipt).await
    }

    /// Adds to `known` the receipts of a generation that are durable by now, except those that are settled.
    pub(crate) async fn receipts(
        &self,
        generation: Uuid,
        known: &mut Receipts,
        settled: &HashSet<String>,
    ) -> Result<()> {
        let found = self.table.list(&self.path(&format!("receipts/{generation}"))?).await?;
        let names: Vec<String> = found
            .iter()
            .filter_map(|file| file.location.filename()?.strip_suffix(".json").map(str::to_owned))
            .filter(|name| !known.contains_key(name) && !settled.contains(name))
            .collect();
        let new: Vec<(String, Option<Receipt>)> = stream::iter(names)
            .map(|name| async move {
                let receipt = self.read(&format!("receipts/{generation}/{name}.json")).await?;
                Ok::<_, Fault>((name, receipt))
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        known.extend(new.into_iter().filter_map(|(name, receipt)| Some((name, receipt?))));
        Ok(())
    }

    pub(crate) async fn intent(&self, number: u64) -> Result<Option<Intent>> {
        self.read(&intent_name(number)).await
    }

    /// Takes the lowest free number above the predecessor, so that no two intents ever share one. Gaps are
    /// fine.
    pub(crate) async fn claim(&self, intent: &mut Intent) -> Result<()> {
        intent.number = intent.predecessor + 1;
        while !self.put(&intent_name(intent.number), intent).await? {
            intent.number += 1;
        }
        Ok(())
    }

    /// The greatest number that some later plan or intent builds on, so that it must have been committed
    /// once.
    pub(crate) async fn committed_once(&self, committed: u64) -> Result<u64> {
        let plans = self.plans().await?;
        let mut known = plans.iter().map(|(number, _)| *number).max().unwrap_or(0);
        let intents = self.table.list(&self.path("intents")?).await?;
        let later = intents.iter().filter_map(|file| {
            let number: u64 = file.location.filename()?.strip_suffix(".json")?.parse().ok()?;
            (number > committed).then_some(number)
        });
        for number in later {
            let intent = self.intent(number).await?;
            known = known.max(intent.map_or(0, |intent| intent.predecessor));
        }
        Ok(known)
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

fn plan_name(predecessor: u64, generation: Uuid) -> String {
    format!("{predecessor:020}-{generation}")
}

fn intent_name(number: u64) -> String {
    format!("intents/{number:020}.json")
}
