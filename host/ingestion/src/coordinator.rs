//! One stream's way from state to state: what was committed, what goes on, what begins.

use arrow::datatypes::SchemaRef;
use tidegate_model::{ApplicationId, Code, Fault, Lookback, Mode, Result, WriteMode};
use uuid::Uuid;

use crate::cursor;
use crate::delta::{self, Delta};
use crate::document::{FORMAT, Identity, Partial, Plan, Progress};
use crate::generation::{Base, Generation, NewPlan, Work};
use crate::journal::Journal;
use crate::rules::{Rule, Rules};
use crate::seen::Seen;
use crate::stager::Stage;
use crate::state::{Description, State};
use crate::store::Table;

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
    /// Whose commit that is.
    pub(crate) committed_by: Option<Uuid>,
    /// Commits since the state was last written down as a whole.
    pub(crate) steps: u32,
    pub(crate) owner: Option<Identity>,
    state: State,
    pub(crate) work: Option<Work>,
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
            delta,
            identity,
            attempt: table.ids.next(),
            journal: Journal { table, application },
            number: 0,
            progress: Progress::default(),
            committed_by: None,
            steps: 0,
            owner: None,
            state: State::default(),
            work: None,
        };
        coordinator.load().await?;
        Ok(coordinator)
    }

    /// The table's own transaction holds the last committed number; nothing else decides.
    pub(crate) async fn load(&mut self) -> Result<()> {
        let number = self.delta.transaction(self.journal.application.as_str()).await?;
        if number == 0 {
            return Ok(());
        }
        let known = self.journal.progress(number).await?;
        self.owner = Some(known.owner);
        self.steps = known.steps;
        self.committed_by = Some(known.attempt);
        self.settle(number, known.progress);
        Ok(())
    }

    pub(crate) fn settle(&mut self, number: u64, progress: Progress) {
        self.state = State::of(number, &progress);
        self.number = number;
        self.progress = progress;
    }

    /// Goes on only from a state of this very source, in a table that nobody else loads and nobody restored.
    pub(crate) async fn own(&mut self) -> Result<()> {
        self.refuse_restored().await?;
        match &self.owner {
            Some(owner) if *owner != self.identity && self.rules().hold(Rule::SameSource) => Err(Fault::user(
                Code::WrongOwner,
                format!(
                    "the state in `{}` is of another source: `{}` of connector {} ({}), not `{}` of {} ({})",
                    self.journal.table,
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

    pub(crate) fn rules(&self) -> Rules {
        self.journal.table.rules
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
        if let Some(field) = cursor {
            cursor::check_lookback(plan.lookback, field.data_type())?;
            if let Some(bound) = &plan.upper_bound {
                cursor::check_bound(bound, field.data_type())?;
            }
        }
        if plan.write == WriteMode::Replace {
            self.sole_owner().await?;
        }
        if self.delta.version().is_none() {
            self.delta.create(&plan.schema).await?;
        }
        // The rows that the mark speaks of are about to be removed by a replacement.
        let goes_on = plan.write == WriteMode::Append && plan.cursor.is_some();
        let written = Plan {
            format: FORMAT,
            generation: self.journal.table.ids.next(),
            application: self.journal.application.clone(),
            identity: self.identity.clone(),
            predecessor: self.number,
            mode: plan.mode,
            write: plan.write,
            high_water: self.progress.high_water.clone().filter(|_| goes_on),
            since: if goes_on { self.since(plan.lookback)? } else { None },
            lookback: plan.lookback,
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
        self.journal.write_plan(&written).await?;
        let partial = Partial::of(&written);
        self.work_on(written, partial).await
    }

    pub(crate) async fn work_on(&mut self, plan: Plan, partial: Partial) -> Result<Generation> {
        let generation = Generation::new(plan)?;
        let seen = match (generation.cursor_type(), &self.progress.seen) {
            (None, _) => None,
            (Some(_), Some(at)) if generation.write() == WriteMode::Append => {
                Some(Seen::read(&self.journal, at).await?)
            }
            (Some(cursor), _) => Some(Seen::empty(&cursor)),
        };
        let base = Base { number: self.number, by: self.committed_by };
        self.work = Some(Work::new(generation.clone(), partial, seen, base)?);
        Ok(generation)
    }

    /// From which value of the cursor on the source is to be read: its mark less `lookback`, but no further
    /// back than rows can be recognised. None: from the beginning.
    pub fn since(&self, lookback: Option<Lookback>) -> Result<Option<String>> {
        let Progress { high_water: Some(mark), cursor: Some(name), since, .. } = &self.progress else {
            return Ok(None);
        };
        let Some(table) = self.delta.schema()? else { return Ok(None) };
        let Ok(column) = table.field_with_name(name) else { return Ok(Some(mark.clone())) };
        cursor::check_lookback(lookback, column.data_type())?;
        let low = cursor::back(mark, lookback, column.data_type())?;
        cursor::later(Some(low), since.clone(), column.data_type())
    }

    /// `replace` removes what is in the table, so nobody else may have a share in it.
    pub(crate) async fn sole_owner(&self) -> Result<()> {
        if !self.rules().hold(Rule::SoleOwner) {
            return Ok(());
        }
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
        let work = self.work.as_ref().ok_or_else(no_generation)?;
        Ok(Stage {
            journal: self.journal.clone(),
            generation: work.generation.clone(),
            attempt: self.attempt,
            ledger: work.ledger.clone(),
            fresh: work.fresh.clone(),
        })
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
