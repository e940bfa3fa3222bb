//! A generation: one pass that brings a stream from one state to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, SchemaRef};
use deltalake_core::kernel::StructType;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use tidegate_model::{Code, Fault, Lookback, Mode, Result, WriteMode};
use uuid::Uuid;

use crate::chain::{Receipts, chains};
use crate::delta;
use crate::document::{FORMAT, Joined, Partial, Plan, Receipt, Split};
use crate::journal::{Journal, PARALLEL};
use crate::rules::Rule;
use crate::seen::{Ledger, Seen};

/// What a session planned, to be written down.
#[derive(Debug, Clone)]
pub struct NewPlan {
    pub mode: Mode,
    pub write: WriteMode,
    /// A column of `schema` whose values only rise.
    pub cursor: Option<String>,
    /// How far behind the mark rows are looked for that came late.
    pub lookback: Option<Lookback>,
    pub splits: Vec<Split>,
    pub token: Vec<u8>,
    pub bookmark: Option<Vec<u8>>,
    pub upper_bound: Option<String>,
    pub repeatable: bool,
    /// [`crate::Reconciled::target`].
    pub schema: SchemaRef,
}

/// The generation a coordinator is working on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Generation {
    pub(crate) plan: Arc<Plan>,
    pub(crate) schema: SchemaRef,
}

impl Generation {
    pub(crate) fn new(plan: Plan) -> Result<Self> {
        let schema: StructType = serde_json::from_value(plan.schema.clone())
            .map_err(|error| Fault::external(Code::BadState, format!("the plan's schema: {error}")))?;
        Ok(Self { schema: delta::schema_from(&schema)?, plan: Arc::new(plan) })
    }

    pub fn id(&self) -> Uuid {
        self.plan.generation
    }

    /// What batches must look like: the target of [`crate::Conform`].
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn splits(&self) -> &[Split] {
        &self.plan.splits
    }

    pub fn mode(&self) -> Mode {
        self.plan.mode
    }

    pub fn write(&self) -> WriteMode {
        self.plan.write
    }

    pub fn cursor(&self) -> Option<&str> {
        self.plan.cursor.as_deref()
    }

    /// What `reopen` needs.
    pub fn token(&self) -> &[u8] {
        &self.plan.token
    }

    /// Where the plan's request said that reading begins; give the same to `reopen` and `read`.
    pub fn since(&self) -> Option<&str> {
        self.plan.since.as_deref()
    }

    /// One commit at the end, or as many as the caller likes. A table that is replaced is never seen half
    /// full; splits that are not stable in the source could not be gone on with after the first of several
    /// commits.
    pub fn is_single_commit(&self) -> bool {
        self.plan.write == WriteMode::Replace || !self.plan.repeatable
    }

    /// None: nothing is followed.
    pub(crate) fn cursor_type(&self) -> Option<DataType> {
        let field = self.schema.field_with_name(self.cursor()?).ok()?;
        Some(field.data_type().clone())
    }
}

/// A split that still has something to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSplit {
    pub index: usize,
    pub split: Split,
    /// The checkpoint to read from; none: from its beginning.
    pub from: Option<Vec<u8>>,
    /// The receipt that checkpoint is in.
    pub follows: Option<String>,
}

/// Receipts that stagers of this process wrote, so that they need not be read to be known. Whether they are
/// durable the store tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fresh(Arc<Mutex<HashMap<String, Receipt>>>);

impl Fresh {
    pub(crate) fn put(&self, name: &str, receipt: &Receipt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), receipt.clone());
    }

    pub(crate) fn take(&self, name: &str) -> Option<Receipt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }
}

/// The generation at work, and its receipts.
#[derive(Debug)]
pub(crate) struct Work {
    pub generation: Generation,
    pub partial: Partial,
    /// Durable and not committed.
    pub receipts: Receipts,
    /// Names of receipts that need not be read again: committed, void, or of others.
    pub settled: HashSet<String>,
    /// Paths of files that were committed while this was at work.
    pub published: HashSet<String>,
    /// The rows that may be met again, as of the last commit; none when no cursor is followed.
    pub seen: Option<Seen>,
    pub ledger: Ledger,
    pub fresh: Fresh,
    base: Base,
    /// The receipts of before this attempt are known.
    joined: bool,
}

/// What was committed when an attempt began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base {
    pub number: u64,
    pub by: Option<Uuid>,
}

impl Work {
    pub(crate) fn new(
        generation: Generation,
        partial: Partial,
        seen: Option<Seen>,
        base: Base,
    ) -> Result<Self> {
        let ledger = Ledger::default();
        if let Some(seen) = &seen {
            ledger.fill(seen, &[])?;
        }
        Ok(Self {
            generation,
            partial,
            receipts: Receipts::new(),
            settled: HashSet::new(),
            published: HashSet::new(),
            seen,
            ledger,
            fresh: Fresh::default(),
            base,
            joined: false,
        })
    }

    /// Takes over what earlier attempts left behind.
    async fn join(&mut self, journal: &Journal, attempt: Uuid) -> Result<()> {
        let generation = self.generation.id();
        self.receipts.extend(journal.receipts(generation, |_| false, &self.fresh).await?);
        self.joined = true;
        if self.seen.is_none() {
            return Ok(());
        }
        // Somebody may have recognised all that was to be recognised, so what is left alone does not tell.
        let attempts = journal.joined(generation).await?;
        if self.ledger.is_empty() && attempts.is_empty() {
            return Ok(());
        }
        if journal.table.rules.hold(Rule::OneLineage) {
            self.keep_one_lineage(attempts, attempt);
        }
        let chains = self.chains(journal, attempt).await?;
        let taken: BTreeSet<String> = chains.into_values().flatten().collect();
        // What they recognised is no longer there to be recognised.
        let met = self.met(journal, taken.iter()).await?;
        if let Some(seen) = &self.seen {
            self.ledger.fill(seen, &met)?;
        }
        let joined = Joined { format: FORMAT, attempt, number: self.base.number, receipts: taken };
        journal.write_joined(generation, &joined).await
    }

    /// Which of several equal rows is the known one is settled within an attempt, for all of its splits. So
    /// of all receipts those count that one attempt wrote or built on, the one that came furthest, and our own.
    fn keep_one_lineage(&mut self, attempts: Vec<Joined>, ours: Uuid) {
        // It began with the state that we begin with, or made it.
        let alike = |other: &Joined| other.number == self.base.number || Some(other.attempt) == self.base.by;
        let of = |other: &Joined, name: &String, receipt: &Receipt| {
            receipt.attempt == other.attempt || other.receipts.contains(name)
        };
        let reach =
            |other: &Joined| self.receipts.iter().filter(|(name, receipt)| of(other, name, receipt)).count();
        let best = attempts.into_iter().filter(alike).max_by_key(|other| (reach(other), other.attempt));
        let strange = |name: &String, receipt: &Receipt| {
            receipt.attempt != ours && !best.as_ref().is_some_and(|best| of(best, name, receipt))
        };
        let strangers: Vec<String> = self
            .receipts
            .iter()
            .filter(|(name, receipt)| strange(name, receipt))
            .map(|(name, _)| name.clone())
            .collect();
        for name in strangers {
            self.receipts.remove(&name);
            self.settled.insert(name);
        }
    }

    /// The splits that have not ended, each with where to go on.
    pub(crate) async fn pending(&mut self, journal: &Journal, attempt: Uuid) -> Result<Vec<PendingSplit>> {
        let chains = self.current(journal, attempt).await?;
        let mut pending = Vec::new();
        for (index, split) in self.generation.splits().iter().enumerate() {
            let head = self.partial.heads.get(&index);
            let last = chains.get(&index).and_then(|chain| chain.last());
            let receipt = last.and_then(|name| self.receipts.get(name));
            let ended = receipt.map_or(head.is_some_and(|head| head.end), |receipt| receipt.end);
            if ended {
                continue;
            }
            pending.push(PendingSplit {
                index,
                split: split.clone(),
                from: match receipt {
                    Some(receipt) => receipt.checkpoint.clone(),
                    None => head.and_then(|head| head.checkpoint.clone()),
                },
                follows: last.cloned().or_else(|| head.map(|head| head.receipt.clone())),
            });
        }
        Ok(pending)
    }

    /// The chains of what is durable by now.
    pub(crate) async fn current(
        &mut self,
        journal: &Journal,
        attempt: Uuid,
    ) -> Result<BTreeMap<usize, Vec<String>>> {
        if !self.joined {
            self.join(journal, attempt).await?;
        }
        let known = |name: &str| self.receipts.contains_key(name) || self.settled.contains(name);
        for (name, receipt) in journal.receipts(self.generation.id(), known, &self.fresh).await? {
            // A writer that slept and woke up, or one that works beside us: what it recognised, we may have
            // recognised too.
            if receipt.attempt != attempt && journal.table.rules.hold(Rule::ReceiptsFromBefore) {
                self.settled.insert(name);
            } else {
                self.receipts.insert(name, receipt);
            }
        }
        self.chains(journal, attempt).await
    }

    /// By split, the receipts that count after the committed head: one unbroken chain each, and every file
    /// looked at.
    async fn chains(&mut self, journal: &Journal, attempt: Uuid) -> Result<BTreeMap<usize, Vec<String>>> {
        let rules = journal.table.rules;
        if !rules.hold(Rule::OneChain) {
            return Ok(self.all());
        }
        loop {
            let chains = chains(&self.receipts, &self.partial.heads, attempt);
            if !rules.hold(Rule::FileIsThere) {
                return Ok(chains);
            }
            let void = self.void(journal, chains.values().flatten()).await?;
            if void.is_empty() {
                return Ok(chains);
            }
            // Invariant 9: a missing file voids its receipt and, as the chain is broken there, all that
            // follow it.
            for name in void {
                tracing::warn!(receipt = name, "a staged file is gone; its rows will be read again");
                self.receipts.remove(&name);
                self.settled.insert(name);
            }
        }
    }

    /// What a protocol without chains would take.
    fn all(&self) -> BTreeMap<usize, Vec<String>> {
        let mut all: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (name, receipt) in &self.receipts {
            all.entry(receipt.split).or_default().push(name.clone());
        }
        all
    }

    /// The receipts among `names` whose files are not there.
    async fn void(&self, journal: &Journal, names: impl Iterator<Item = &String>) -> Result<Vec<String>> {
        let promised = names.filter_map(|name| {
            let receipt = self.receipts.get(name)?;
            let data = receipt.file.as_ref().map(|file| (file.path.clone(), Some(file.size)));
            let rejects = receipt.rejects.as_ref().map(|file| (file.path.clone(), None));
            Some([data, rejects].into_iter().flatten().map(move |(path, size)| (name.clone(), path, size)))
        });
        let promised: Vec<(String, String, Option<u64>)> = promised.flatten().collect();
        stream::iter(promised)
            .map(|(name, path, size)| async move {
                let path =
                    Path::parse(&path).map_err(|error| Fault::external(Code::BadState, error.to_string()))?;
                let found = journal.table.head(&path).await?;
                let whole = found.is_some_and(|found| size.is_none_or(|size| size == found.size));
                Ok::<_, Fault>((!whole).then_some(name))
            })
            .buffered(PARALLEL)
            .try_filter_map(|void| async move { Ok(void) })
            .try_collect()
            .await
    }

    /// The rows that receipts recognised or left to be met again.
    pub(crate) async fn met(
        &self,
        journal: &Journal,
        names: impl Iterator<Item = &String>,
    ) -> Result<Vec<Seen>> {
        let mut met = Vec::new();
        for at in names.filter_map(|name| self.receipts.get(name)?.seen.as_ref()) {
            met.push(Seen::read(journal, at).await?);
        }
        Ok(met)
    }
}
