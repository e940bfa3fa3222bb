//! One stream's way from state to state: what was committed, what goes on, what begins.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake_core::kernel::StructType;
use tidegate_model::{ApplicationId, Code, Fault, Mode, Result, WriteMode};
use uuid::Uuid;

use crate::chain::Receipts;
use crate::cursor;
use crate::delta::{self, Delta};
use crate::document::{FORMAT, Identity, Partial, Plan, Progress, Split};
use crate::journal::Journal;
use crate::stager::Stage;
use crate::state::{Description, State};
use crate::store::Table;

/// What a session planned, to be written down.
#[derive(Debug, Clone)]
pub struct NewPlan {
    pub mode: Mode,
    pub write: WriteMode,
    /// A column of `schema` whose values only rise.
    pub cursor: Option<String>,
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
    fn new(plan: Plan) -> Result<Self> {
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

    /// The mark that the plan's request carried; give the same to `reopen` and `read`.
    pub fn high_water(&self) -> Option<&str> {
        self.plan.high_water.as_deref()
    }

    /// One commit at the end, or as many as the caller likes. A table that is replaced is never seen half
    /// full; splits that are not stable in the source could not be gone on with after the first of several
    /// commits.
    pub fn is_single_commit(&self) -> bool {
        self.plan.write == WriteMode::Replace || !self.plan.repeatable
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

/// The one authority on what of a stream is in its table.
#[derive(Debug)]
pub struct Coordinator {
    pub(crate) journal: Journal,
    pub(crate) delta: Delta,
    pub(crate) identity: Identity,
    /// Tells this coordinator's receipts and intents from those of others.
    pub(crate) attempt: Uuid,
    /// Last committed; 0 before the first.
    pub(crate) number: u64,
    pub(crate) progress: Progress,
    owner: Option<Identity>,
    state: State,
    pub(crate) work: Option<Work>,
}

/// The generation at work, and its receipts.
#[derive(Debug)]
pub(crate) struct Work {
    pub generation: Generation,
    pub partial: Partial,
    /// Durable and not committed.
    pub receipts: Receipts,
    /// Names of those that need not be read again: committed, or void.
    pub settled: HashSet<String>,
}

impl Coordinator {
    /// Reads what was committed before. Refuses a table or a state that is somebody else's.
    pub async fn open(table: Table, application: ApplicationId, identity: Identity) -> Result<Self> {
        let mut coordinator = Self::adopt(table, application, identity).await?;
        coordinator.own().await?;
        Ok(coordinator)
    }

    /// Opens without asking whose state it is: to look at it, to reset it, to make it one's own.
    pub async fn adopt(table: Table, application: ApplicationId, identity: Identity) -> Result<Self> {
        let delta = Delta::open(&table).await?;
        let mut coordinator = Self {
            journal: Journal { table, application },
            delta,
            identity,
            attempt: Uuid::new_v4(),
            number: 0,
            progress: Progress::default(),
            owner: None,
            state: State::default(),
            work: None,
        };
        coordinator.load().await?;
        Ok(coordinator)
    }

    /// The table's own transaction holds the last committed number; nothing else decides.
    async fn load(&mut self) -> Result<()> {
        let number = self.delta.transaction(self.journal.application.as_str()).await?;
        if number == 0 {
            return Ok(());
        }
        let Some(intent) = self.journal.intent(number).await? else {
            return Err(Fault::external(
                Code::BadState,
                format!("the table `{}` names commit {number}, whose record is gone", self.journal.table),
            )
            .help("restore the table's `_tidegate` folder, or load into another location"));
        };
        self.owner = Some(intent.identity);
        self.settle(number, intent.state);
        Ok(())
    }

    pub(crate) fn settle(&mut self, number: u64, progress: Progress) {
        self.state = State::of(number, &progress);
        self.number = number;
        self.progress = progress;
    }

    /// Goes on only from a state of this very source, in a table that nobody else loads and nobody restored.
    async fn own(&mut self) -> Result<()> {
        let mut known = self.journal.committed_once(self.number).await?;
        if known > self.number {
            // Another run may have committed between our two looks; only what a second look still says is
            // true.
            self.delta.reload().await?;
            self.load().await?;
            known = self.journal.committed_once(self.number).await?;
        }
        let table = &self.journal.table;
        if known > self.number {
            return Err(Fault::user(
                Code::WrongOwner,
                format!(
                    "the table `{table}` is at commit {} of this stream, and {known} was committed once: it was restored to an older version",
                    self.number
                ),
            )
            .help("`tidegate state rewind PIPELINE.yaml` goes on from the table as it is now"));
        }
        match &self.owner {
            Some(owner) if *owner != self.identity => Err(Fault::user(
                Code::WrongOwner,
                format!(
                    "the state in `{table}` is of another source: `{}` of connector {} ({}), not `{}` of {} ({})",
                    owner.stream,
                    owner.connector,
                    owner.fingerprint,
                    self.identity.stream,
                    self.identity.connector,
                    self.identity.fingerprint
                ),
            )
            .help("`tidegate state adopt PIPELINE.yaml` goes on from that state, `tidegate state reset` starts over")),
            Some(_) => Ok(()),
            None => match self.other_owner().await? {
                Some(other) => Err(self.owned_by(&other)),
                None => Ok(()),
            },
        }
    }

    pub(crate) async fn other_owner(&self) -> Result<Option<String>> {
        for other in self.journal.others().await? {
            if self.delta.transaction(&other).await? > 0 {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    pub(crate) fn owned_by(&self, other: &str) -> Fault {
        Fault::user(Code::WrongOwner, format!("the table `{}` belongs to `{other}`", self.journal.table))
            .help("load into another location, or keep the name that the pipeline and its stream had there")
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was read so far is known by one column's values, and those of another say nothing of what is new.
    /// So a generation that adds to the table must follow the same cursor; ask before its source is asked
    /// what is new.
    pub fn check_cursor(&self, cursor: Option<&str>) -> Result<()> {
        let Progress { high_water: Some(mark), cursor: Some(followed), .. } = &self.progress else {
            return Ok(());
        };
        if cursor == Some(followed.as_str()) {
            return Ok(());
        }
        let now = cursor.map_or_else(|| "no cursor".to_owned(), |name| format!("`{name}`"));
        Err(Fault::user(
            Code::BadPipeline,
            format!(
                "stream `{}` was read by `{followed}` so far, up to {mark}; the pipeline file now says {now}, which does not tell what is new",
                self.identity.stream
            ),
        )
        .help(format!(
            "write `cursor: {followed}` again, or read everything anew: `tidegate run PIPELINE.yaml --full-refresh`"
        )))
    }

    /// None when there is no table yet.
    pub fn table_schema(&self) -> Result<Option<SchemaRef>> {
        self.delta.schema()
    }

    /// By split: the newest checkpoint that is committed, while a generation is partly committed.
    pub fn committed_checkpoints(&self) -> Vec<(u32, Vec<u8>)> {
        let heads = self.progress.generation.iter().flat_map(|partial| &partial.heads);
        heads
            .filter_map(|(split, head)| Some((u32::try_from(*split).ok()?, head.checkpoint.clone()?)))
            .collect()
    }

    pub fn table_version(&self) -> Option<u64> {
        self.delta.version()
    }

    /// The generation that was interrupted, if any: go on with it, or [`Coordinator::abandon`] it. One that
    /// is partly committed is named by the state; one of which nothing was committed is a plan that continues
    /// from the committed number.
    pub async fn resume(&mut self) -> Result<Option<Generation>> {
        if let Some(partial) = self.progress.generation.clone() {
            let plan = self.journal.plan(&partial.plan).await?.ok_or_else(|| {
                Fault::external(Code::BadState, format!("the plan `{}` is gone", partial.plan))
            })?;
            return self.work_on(plan, partial).map(Some);
        }
        for (predecessor, name) in self.journal.plans().await? {
            if predecessor != self.number {
                continue;
            }
            match self.journal.plan(&name).await? {
                Some(plan) if plan.identity == self.identity => {
                    let partial = Partial::of(name, &plan);
                    return self.work_on(plan, partial).map(Some);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Instead of [`Coordinator::resume`], when the whole table is to be replaced: an interrupted replacement
    /// goes on, any other generation has nothing left to add. A part of it that is committed stays its own to
    /// resume until the replacement is committed too, so that a crash in between doubles nothing.
    pub async fn resume_replacement(&mut self) -> Result<Option<Generation>> {
        let partial = self.progress.generation.as_ref().map(|partial| partial.plan.clone());
        let mut pointless = Vec::new();
        for (predecessor, name) in self.journal.plans().await? {
            if predecessor != self.number || Some(&name) == partial.as_ref() {
                continue;
            }
            match self.journal.plan(&name).await? {
                Some(plan) if plan.identity == self.identity && plan.write == WriteMode::Replace => {
                    let partial = Partial::of(name, &plan);
                    return self.work_on(plan, partial).map(Some);
                }
                Some(plan) => pointless.push((name, plan.generation)),
                None => {}
            }
        }
        if !pointless.is_empty() {
            self.fence().await?;
        }
        for (name, generation) in pointless {
            self.journal.drop_plan(&name, generation).await?;
        }
        Ok(None)
    }

    fn work_on(&mut self, plan: Plan, partial: Partial) -> Result<Generation> {
        let generation = Generation::new(plan)?;
        self.work = Some(Work {
            generation: generation.clone(),
            partial,
            receipts: Receipts::new(),
            settled: HashSet::new(),
        });
        Ok(generation)
    }

    /// The interrupted generation cannot go on (`reopen` said that its source is gone). Its staged files
    /// become garbage.
    pub async fn abandon(&mut self) -> Result<()> {
        let work = self.work.take().ok_or_else(no_generation)?;
        if !work.partial.heads.is_empty() {
            return Err(Fault::external(
                Code::GenerationGone,
                format!(
                    "a part of what was being read is already in `{}`, and the source no longer has the rest as it was",
                    self.journal.table
                ),
            )
            .help("`tidegate state reset PIPELINE.yaml` reads everything again; rows that are there stay, so use `write: replace`, or remove them first"));
        }
        self.fence().await?;
        self.journal.drop_plan(&work.partial.plan, work.generation.id()).await
    }

    /// Creates the table when there is none, and writes the plan down before anything of it is read.
    pub async fn begin(&mut self, plan: NewPlan) -> Result<Generation> {
        if self.progress.generation.is_some() && plan.write != WriteMode::Replace {
            return Err(Fault::internal(Code::Bug, "a generation is partly committed and must be resumed"));
        }
        if plan.mode == Mode::Incremental && plan.write == WriteMode::Append {
            self.check_cursor(plan.cursor.as_deref())?;
        }
        let cursor = plan.cursor.as_deref().map(|name| plan.schema.field_with_name(name)).transpose();
        let cursor = cursor.map_err(|error| Fault::user(Code::BadPipeline, format!("cursor: {error}")))?;
        if let Some(field) = cursor.filter(|field| !cursor::orderable(field.data_type())) {
            return Err(Fault::user(
                Code::BadPipeline,
                format!("the cursor `{}` is {}, which has no order", field.name(), field.data_type()),
            )
            .help("choose a column of numbers, dates, timestamps or text"));
        }
        if let (Some(field), Some(bound)) = (cursor, &plan.upper_bound) {
            cursor::check_bound(bound, field.data_type())?;
        }
        if plan.write == WriteMode::Replace {
            self.sole_owner().await?;
        }
        if self.delta.version().is_none() {
            self.delta.create(&plan.schema).await?;
        }
        let written = Plan {
            format: FORMAT,
            generation: Uuid::new_v4(),
            application: self.journal.application.clone(),
            identity: self.identity.clone(),
            predecessor: self.number,
            mode: plan.mode,
            write: plan.write,
            high_water: match plan.write {
                WriteMode::Append => plan.cursor.as_ref().and(self.progress.high_water.clone()),
                // The rows that the mark speaks of are about to be removed.
                WriteMode::Replace => None,
            },
            cursor: plan.cursor,
            upper_bound: plan.upper_bound,
            schema: serde_json::to_value(delta::schema_to(&plan.schema)?)
                .map_err(|error| Fault::internal(Code::Bug, error.to_string()))?,
            repeatable: plan.repeatable,
            token: plan.token,
            bookmark: plan.bookmark,
            splits: plan.splits,
        };
        // Invariant 8: the plan is durable before anything of it is read.
        let name = self.journal.write_plan(&written).await?;
        let partial = Partial::of(name, &written);
        self.work_on(written, partial)
    }

    /// `replace` removes what is in the table, so nobody else may have a share in it.
    pub(crate) async fn sole_owner(&self) -> Result<()> {
        if let Some(other) = self.other_owner().await? {
            return Err(self.owned_by(&other));
        }
        if self.number == 0 && !self.delta.is_empty() {
            return Err(Fault::user(
                Code::WrongOwner,
                format!(
                    "`write: replace` would remove rows from `{}` that Tidegate did not write",
                    self.journal.table
                ),
            )
            .help("load into another location, or remove the table"));
        }
        Ok(())
    }

    /// For the generation begun or resumed.
    pub fn stage(&self) -> Result<Stage> {
        let generation = &self.work.as_ref().ok_or_else(no_generation)?.generation;
        Ok(Stage::new(
            self.journal.clone(),
            Arc::clone(&generation.plan),
            Arc::clone(&generation.schema),
            self.attempt,
        ))
    }

    pub fn describe(&self) -> Description {
        let partial = self.progress.generation.as_ref();
        Description {
            application: self.journal.application.to_string(),
            location: self.journal.table.to_string(),
            table_version: self.delta.version(),
            number: self.state.number,
            identity: self.owner.clone(),
            high_water: self.state.high_water.clone(),
            bookmark_bytes: self.state.bookmark.as_ref().map(|bytes| bytes.len() as u64),
            interrupted: partial.map(|partial| {
                (partial.heads.values().filter(|head| head.end).count() as u64, partial.splits)
            }),
        }
    }
}

pub(crate) fn no_generation() -> Fault {
    Fault::internal(Code::Bug, "there is no generation at work")
}
