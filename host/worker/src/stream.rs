//! One stream of a run, from the last committed state to the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion_execution::TaskContext;
use datafusion_physical_plan::ExecutionPlan;
use futures::StreamExt;
use tidegate_extraction::{Reopened, Request, Session, StreamDescription};
use tidegate_ingestion::{Coordinator, Generation, Location, NewPlan, Reconciled, Split, reconcile};
use tidegate_model::{
    ApplicationId, Code, Fault, Mode, Result, RunTask, StreamName, StreamOrder, StreamSummary, WorkerEvent,
    WriteMode,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::committed::Committed;
use crate::epoch::Epoch;
use crate::identity;
use crate::operators::{self, CheckStep, ExtractStep, SplitRow, StageStep, UnaryExec, split_source};
use crate::progress::Progress;
use crate::run::millis;
use crate::work::Work;

/// How often the loop looks whether an epoch is over.
const TICK: Duration = Duration::from_millis(50);

pub struct StreamRun<'a> {
    pub work: &'a Work<'a>,
    pub task: &'a RunTask,
    pub name: &'a StreamName,
    pub order: &'a StreamOrder,
    pub description: &'a StreamDescription,
    pub location: Location,
    /// One permit a split that is being read.
    pub places: Arc<Semaphore>,
}

/// A generation that is ready to be read.
struct Ready {
    generation: Generation,
    request: Request,
    /// Lives until the generation is committed: it may hold what splits need.
    session: Session,
}

impl StreamRun<'_> {
    pub async fn bring_up_to_date(&self) -> Result<StreamSummary> {
        let began = Instant::now();
        self.description.info().admits(self.order.mode, self.order.cursor.as_deref(), &self.order.key)?;
        let application = ApplicationId::new(&self.work.order.pipeline, self.name);
        let table = self.location.table(self.name)?;
        let place = table.to_string();
        let mut coordinator =
            Coordinator::open(table, application, identity::of(self.work.order, self.name)).await?;

        let mut summary = StreamSummary { location: place, ..StreamSummary::default() };
        let progress = Arc::new(Progress::new(self.name.clone(), self.work.events.clone()));
        if let Some(ready) = self.prepare(&mut coordinator, &mut summary).await? {
            if let Err(fault) = self.load(&mut coordinator, &ready, &progress, &mut summary).await {
                return Err(coordinator.superseded_or(fault).await);
            }
            summary.columns = ready.generation.schema().fields().len() as u64;
            self.end(ready.session).await;
        }
        summary.rejected = progress.rejected_so_far();
        summary.skipped = progress.skipped_so_far();
        summary.recognised = progress.recognised_so_far();
        summary.table_version = coordinator.table_version();
        summary.milliseconds = millis(began.elapsed());
        info!(rows = summary.rows, commits = summary.commits, "done");
        self.work.events.send(WorkerEvent::Done { stream: self.name.clone(), summary: summary.clone() });
        Ok(summary)
    }

    /// The data is in the table whatever the source says to this, so a fault is no more than told.
    async fn end(&self, session: Session) {
        if let Err(fault) = session.end().await {
            warn!(stream = %self.name, %fault, "the source's session did not end well");
        }
    }

    fn write(&self) -> WriteMode {
        // Reading everything again into a table that has it already would double it.
        if self.task.full_refresh { WriteMode::Replace } else { self.task.sink.write }
    }

    fn request(&self, coordinator: &Coordinator) -> Result<Request> {
        let from_start = self.task.full_refresh || self.order.mode == Mode::Full;
        let goes_on = !from_start && self.order.cursor.is_some();
        Ok(Request {
            stream: self.name.to_string(),
            mode: self.order.mode,
            cursor: self.order.cursor.clone(),
            key: self.order.key.clone(),
            since: if goes_on { coordinator.since(self.order.lookback)? } else { None },
            bookmark: coordinator.state().bookmark.clone().filter(|_| !from_start),
        })
    }

    /// The schema that the table is to have.
    fn target(&self, coordinator: &Coordinator) -> Result<Reconciled> {
        let (change, write) = (self.task.sink.schema_change, self.write());
        let table = coordinator.table_schema()?;
        reconcile(table.as_deref(), &self.description.schema, change, write)
            .map_err(|fault| fault.context(format!("stream `{}`", self.name)))
    }

    /// Goes on with an interrupted generation, or plans a new one. None: the source has nothing new.
    async fn prepare(
        &self,
        coordinator: &mut Coordinator,
        summary: &mut StreamSummary,
    ) -> Result<Option<Ready>> {
        if let Some(ready) = self.resume(coordinator, summary).await? {
            return Ok(Some(ready));
        }
        if self.order.mode == Mode::Incremental && self.write() == WriteMode::Append {
            coordinator.check_cursor(self.order.cursor.as_deref())?;
        }
        let request = self.request(coordinator)?;
        let session = self.work.extractor.start(&request).await?;
        let plan = session.plan().await?;
        let reconciled = self.target(coordinator)?;
        if !plan.splits.is_empty() {
            summary.notes.extend(self.description.notes.iter().cloned());
            summary.notes.extend(reconciled.notes);
            if self.order.mode == Mode::Full && self.write() == WriteMode::Append {
                summary.notes.push(
                    "mode `full` adds every row again with each run; `write: replace` keeps one copy"
                        .to_owned(),
                );
            }
        }
        let splits: Vec<_> = plan
            .splits
            .into_iter()
            .map(|split| Split {
                data: split.data,
                label: split.label,
                estimated_rows: split.estimated_rows,
                estimated_bytes: split.estimated_bytes,
            })
            .collect();
        self.planned(&splits, false, summary);
        if splits.is_empty() && self.write() == WriteMode::Append {
            self.end(session).await;
            return Ok(None);
        }
        let generation = coordinator
            .begin(NewPlan {
                mode: self.order.mode,
                write: self.write(),
                cursor: self.order.cursor.clone(),
                lookback: self.order.lookback,
                splits,
                token: plan.token,
                bookmark: plan.bookmark,
                upper_bound: plan.upper_bound,
                repeatable: plan.repeatable,
                schema: reconciled.target,
            })
            .await?;
        Ok(Some(Ready { generation, request, session }))
    }

    async fn resume(
        &self,
        coordinator: &mut Coordinator,
        summary: &mut StreamSummary,
    ) -> Result<Option<Ready>> {
        let interrupted = if self.task.full_refresh {
            coordinator.resume_replacement().await?
        } else {
            coordinator.resume().await?
        };
        let Some(generation) = interrupted else { return Ok(None) };
        if !self.still_wanted(&generation) {
            coordinator.abandon().await?;
            summary
                .notes
                .push("an interrupted run was given up: the pipeline file now says otherwise".to_owned());
            return Ok(None);
        }
        // Whatever was refused when it was interrupted must not be run into again.
        let target = self.target(coordinator)?.target;
        let generation = if generation.schema().fields() == target.fields() {
            generation
        } else {
            summary.notes.push("the rest of an interrupted run is read again: the schema changed".to_owned());
            match coordinator.revise(&target).await? {
                Some(revised) => revised,
                None => return Ok(None),
            }
        };
        let planned = self.request(coordinator)?;
        let request = Request {
            since: generation.since().map(str::to_owned),
            bookmark: planned.bookmark.filter(|_| generation.write() == WriteMode::Append),
            ..planned
        };
        match self.work.extractor.reopen(&request, generation.token()).await? {
            Reopened::Same(session) => {
                summary.notes.push("went on with a run that was interrupted".to_owned());
                self.planned(generation.splits(), true, summary);
                Ok(Some(Ready { generation, request, session }))
            }
            Reopened::Gone(why) => {
                coordinator.abandon().await?;
                summary
                    .notes
                    .push(format!("an interrupted run could not be continued ({why}): started anew"));
                Ok(None)
            }
        }
    }

    /// Whether the pipeline file still asks for what an interrupted generation was doing. A replacement that
    /// was interrupted goes on whatever the file says: somebody asked for it with `--full-refresh`.
    fn still_wanted(&self, generation: &Generation) -> bool {
        generation.mode() == self.order.mode
            && generation.cursor() == self.order.cursor.as_deref()
            && (generation.write() == WriteMode::Replace || self.task.sink.write == WriteMode::Append)
    }

    fn planned(&self, splits: &[Split], resumed: bool, summary: &StreamSummary) {
        let sum = |part: fn(&Split) -> Option<u64>| splits.iter().map(part).sum::<Option<u64>>();
        self.work.events.send(WorkerEvent::Planned {
            stream: self.name.clone(),
            splits: splits.len() as u64,
            estimated_rows: sum(|split| split.estimated_rows),
            estimated_bytes: sum(|split| split.estimated_bytes),
            resumed,
            notes: summary.notes.clone(),
        });
    }

    /// Brings a generation to its end.
    async fn load(
        &self,
        coordinator: &mut Coordinator,
        ready: &Ready,
        progress: &Arc<Progress>,
        summary: &mut StreamSummary,
    ) -> Result<()> {
        self.read(coordinator, ready, progress, summary).await?;
        let committed = coordinator
            .commit(true)
            .instrument(info_span!("commit", stream = %self.name, last = true))
            .await?;
        self.count(summary, committed);
        Ok(())
    }

    /// Reads every split that has not ended, and commits while it does.
    async fn read(
        &self,
        coordinator: &mut Coordinator,
        ready: &Ready,
        progress: &Arc<Progress>,
        summary: &mut StreamSummary,
    ) -> Result<()> {
        let stop = CancellationToken::new();
        // Whatever ends this function ends the tasks: a reader that nobody waits for must not go on staging.
        let _guard = stop.clone().drop_guard();
        let epoch = Arc::new(Epoch::new(self.task.sink.commit_every));
        let committed = Arc::<Committed>::default();
        let plan = self.plan(coordinator, ready, progress, &epoch, &stop, &committed).await?;
        let context = Arc::new(TaskContext::default());
        let mut tasks = JoinSet::new();
        for partition in 0..plan.properties().output_partitioning().partition_count() {
            let (plan, context) = (Arc::clone(&plan), Arc::clone(&context));
            let (places, stop) = (Arc::clone(&self.places), stop.clone());
            let span = info_span!("split", stream = %self.name, split = partition);
            tasks.spawn(
                async move {
                    let _place = places.acquire_owned().await;
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    let mut staged = plan.execute(partition, context).map_err(operators::fault)?;
                    while let Some(batch) = staged.next().await {
                        batch.map_err(operators::fault)?;
                    }
                    Ok(())
                }
                .instrument(span),
            );
        }

        let mut pace = epoch.pace();
        let mut tick = tokio::time::interval(TICK);
        let mut failed = None;
        loop {
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(fault))) => {
                        failed.get_or_insert(fault);
                        stop.cancel();
                    }
                    Some(Err(error)) => {
                        failed.get_or_insert(Fault::internal(Code::Bug, format!("a reading task ended badly: {error}")));
                        stop.cancel();
                    }
                },
                _ = tick.tick(), if failed.is_none() => {
                    if epoch.due(&mut pace, progress.bytes()) {
                        let span = info_span!("epoch", stream = %self.name, number = epoch.number());
                        let commit = coordinator.commit(false).instrument(span).await?;
                        committed.tell(coordinator.committed_checkpoints());
                        self.count(summary, commit);
                    }
                }
            }
        }
        failed.map_or(Ok(()), |fault| Err(fault.context(format!("stream `{}`", self.name))))
    }

    /// The execution plan over what is left of the generation.
    async fn plan(
        &self,
        coordinator: &mut Coordinator,
        ready: &Ready,
        progress: &Arc<Progress>,
        epoch: &Arc<Epoch>,
        stop: &CancellationToken,
        committed: &Arc<Committed>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let splits: Vec<_> = coordinator
            .pending()
            .await?
            .into_iter()
            .map(|pending| {
                Ok(SplitRow {
                    index: u32::try_from(pending.index)
                        .map_err(|_| Fault::internal(Code::ConnectorFailed, "too many splits"))?,
                    data: pending.split.data,
                    from: pending.from,
                    follows: pending.follows,
                })
            })
            .collect::<Result<_>>()?;
        let source = split_source(&splits).map_err(operators::fault)?;
        let extract = UnaryExec::new(
            Arc::new(ExtractStep {
                extractor: self.work.extractor.clone(),
                request: ready.request.clone(),
                schema: Arc::clone(&self.description.schema),
                progress: Arc::clone(progress),
                stop: stop.clone(),
                committed: Arc::clone(committed),
            }),
            source,
        );
        let check = UnaryExec::new(
            Arc::new(CheckStep {
                target: Arc::clone(ready.generation.schema()),
                change: self.task.sink.schema_change,
            }),
            Arc::new(extract),
        );
        let stage = UnaryExec::new(
            Arc::new(StageStep {
                stage: coordinator.stage()?,
                epoch: Arc::clone(epoch),
                progress: Arc::clone(progress),
            }),
            Arc::new(check),
        );
        Ok(Arc::new(stage))
    }

    fn count(&self, summary: &mut StreamSummary, committed: Option<tidegate_ingestion::Committed>) {
        let Some(committed) = committed else { return };
        summary.rows += committed.rows;
        summary.bytes += committed.bytes;
        summary.files += committed.files;
        summary.commits += 1;
        self.work.events.send(WorkerEvent::Committed {
            stream: self.name.clone(),
            number: committed.number,
            table_version: committed.table_version,
            rows: committed.rows,
            files: committed.files,
            milliseconds: millis(self.work.events.elapsed()),
        });
    }
}
