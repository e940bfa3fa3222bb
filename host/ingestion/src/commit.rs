//! The commit: receipts and state become visible in one transaction of the table, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use deltalake_core::kernel::{Action, Add};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use tidegate_model::{Code, Fault, Result, WriteMode};

use crate::chain::chain;
use crate::coordinator::{Coordinator, PendingSplit, Work, no_generation};
use crate::cursor;
use crate::delta::Written;
use crate::document::{DataFile, FORMAT, Head, Intent, Progress, Receipt};
use crate::journal::{Journal, PARALLEL};

/// How often an attempt that got no answer is made again.
const ANSWERS: u64 = 5;

/// One transaction of the sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committed {
    pub number: u64,
    pub table_version: u64,
    pub rows: u64,
    /// Of Arrow memory, before encoding.
    pub bytes: u64,
    pub files: u64,
    pub rejected: u64,
    pub skipped: u64,
}

/// What a commit does to the table's rows and columns.
struct Edit {
    /// None: neither rows nor columns change.
    schema: Option<SchemaRef>,
    adds: Vec<Action>,
    replaces: bool,
}

impl Coordinator {
    /// The splits that have not ended, each with where to go on. Ask again before a split is tried a second
    /// time.
    pub async fn pending(&mut self) -> Result<Vec<PendingSplit>> {
        let work = self.work.as_mut().ok_or_else(no_generation)?;
        let chains = work.chains(&self.journal, self.attempt).await?;
        let mut pending = Vec::new();
        for (index, split) in work.generation.splits().iter().enumerate() {
            let head = work.partial.heads.get(&index);
            let last = chains.get(&index).and_then(|chain| chain.last());
            let ended = match last {
                Some(name) => work.receipts.get(name).is_some_and(|receipt| receipt.end),
                None => head.is_some_and(|head| head.end),
            };
            if ended {
                continue;
            }
            let follows = last.cloned().or_else(|| head.map(|head| head.receipt.clone()));
            let from = match (last, head) {
                (Some(name), _) => work.receipts.get(name).and_then(|receipt| receipt.checkpoint.clone()),
                (None, Some(head)) => head.checkpoint.clone(),
                (None, None) => None,
            };
            pending.push(PendingSplit { index, split: split.clone(), from, follows });
        }
        Ok(pending)
    }

    /// Publishes what is durable. `complete`: every split has ended, and the generation is over. None when
    /// there was nothing to say, or when this kind of generation is one commit and is not complete.
    pub async fn commit(&mut self, complete: bool) -> Result<Option<Committed>> {
        let work = self.work.as_mut().ok_or_else(no_generation)?;
        if !complete && work.generation.is_single_commit() {
            return Ok(None);
        }
        let chains = work.chains(&self.journal, self.attempt).await?;
        let taken: Vec<(String, Receipt)> = chains
            .values()
            .flatten()
            .filter_map(|name| Some((name.clone(), work.receipts.get(name)?.clone())))
            .collect();
        let mut partial = work.partial.clone();
        let cursor_type = work.cursor_type();
        for (name, receipt) in &taken {
            let head =
                Head { receipt: name.clone(), end: receipt.end, checkpoint: receipt.checkpoint.clone() };
            partial.heads.insert(receipt.split, head);
            partial.cursor = cursor::later(partial.cursor.take(), receipt.cursor.clone(), &cursor_type)?;
        }

        let plan = Arc::clone(&work.generation.plan);
        let replaces = complete && plan.write == WriteMode::Replace;
        let state = if complete {
            let ended = partial.heads.values().filter(|head| head.end).count();
            if ended < plan.splits.len() {
                return Err(unfinished(plan.splits.len() - ended));
            }
            // The mark moves only now, and never beyond the bound that was fixed when the generation was
            // planned.
            let reached = cursor::capped(partial.cursor.clone(), plan.upper_bound.as_deref(), &cursor_type)?;
            Progress {
                high_water: cursor::later(plan.high_water.clone(), reached, &cursor_type)?,
                cursor: plan.cursor.clone(),
                bookmark: plan.bookmark.clone(),
                generation: None,
            }
        } else {
            Progress { generation: Some(partial.clone()), ..self.progress.clone() }
        };
        let files: Vec<&DataFile> = taken.iter().filter_map(|(_, receipt)| receipt.file.as_ref()).collect();
        let nothing_new = files.is_empty() && taken.iter().all(|(_, receipt)| receipt.rejects.is_none());
        // Progress without rows is durable in its receipts; only the end of a generation may be worth a
        // commit of its own.
        let state_moves = complete && (state != self.progress || (replaces && !self.delta.is_empty()));
        if nothing_new && !state_moves {
            if complete {
                self.close().await?;
            }
            return Ok(None);
        }

        let mut committed = Committed { files: files.len() as u64, ..Committed::default() };
        for (_, receipt) in &taken {
            let staged = receipt.staged();
            committed.rows += staged.rows;
            committed.bytes += staged.bytes;
            committed.rejected += staged.rejected;
            committed.skipped += staged.skipped;
        }
        let edit = Edit {
            schema: (replaces || !files.is_empty()).then(|| Arc::clone(work.generation.schema())),
            adds: files.iter().map(|file| Action::Add(add(file))).collect(),
            replaces,
        };
        let intent = Intent {
            files: files.iter().map(|file| file.path.clone()).collect(),
            rejects: taken
                .iter()
                .filter_map(|(_, receipt)| Some(receipt.rejects.as_ref()?.path.clone()))
                .collect(),
            ..self.intent(state)
        };
        self.publish(intent, &edit).await?;
        if let Some(work) = self.work.as_mut() {
            work.partial = partial;
            for (name, _) in taken {
                work.receipts.remove(&name);
                work.settled.insert(name);
            }
        }
        if complete {
            self.close().await?;
        }
        committed.number = self.number;
        committed.table_version = self.delta.version().unwrap_or_default();
        Ok(Some(committed))
    }

    /// Forgets what was extracted, an interrupted generation too: the next one reads everything. The table's
    /// rows stay. The state becomes this coordinator's, whose ever it was.
    pub async fn reset(&mut self) -> Result<()> {
        self.take_over(Progress::default()).await
    }

    /// Commits the state as the table has it under a new number, as this coordinator's own. That adopts
    /// somebody else's state, and rewinds to the state of an older version that the table was restored to.
    /// Only state under this very application id can be taken.
    pub async fn take_state(&mut self) -> Result<()> {
        if !self.has_state().await? {
            return Err(match self.other_owner().await? {
                Some(other) => self.owned_by(&other),
                None => Fault::user(
                    Code::BadUsage,
                    format!(
                        "nothing was extracted to `{}` yet, so there is no state to take",
                        self.journal.table
                    ),
                )
                .help("`tidegate run PIPELINE.yaml` begins; `--stream` names the streams that have a state"),
            });
        }
        self.take_over(self.progress.clone()).await
    }

    /// Commits an empty number, so that whoever works on a plan of before finds itself superseded. Only then
    /// may that plan and its receipts be deleted: deleted first, they could still be committed and then be
    /// missing.
    pub(crate) async fn fence(&mut self) -> Result<()> {
        if self.delta.version().is_none() {
            return Ok(());
        }
        let intent = self.intent(self.progress.clone());
        self.publish(intent, &Edit { schema: None, adds: Vec::new(), replaces: false }).await
    }

    async fn take_over(&mut self, state: Progress) -> Result<()> {
        self.work = None;
        let before = self.number;
        if self.has_state().await? {
            let intent = self.intent(state);
            self.publish(intent, &Edit { schema: None, adds: Vec::new(), replaces: false }).await?;
        } else {
            self.fence().await?;
        }
        if self.progress.generation.is_some() {
            return Ok(());
        }
        for (predecessor, name) in self.journal.plans().await? {
            if predecessor == before
                && let Some(plan) = self.journal.plan(&name).await?
            {
                self.journal.drop_plan(&name, plan.generation).await?;
            }
        }
        Ok(())
    }

    /// Whether something was committed, be it in a table that was since restored to a version before that.
    async fn has_state(&self) -> Result<bool> {
        let restored = self.delta.version().is_some() && self.journal.committed_once(0).await? > 0;
        Ok(self.number > 0 || restored)
    }

    /// What is to be said next, without files yet and without a number.
    fn intent(&self, state: Progress) -> Intent {
        Intent {
            format: FORMAT,
            number: 0,
            attempt: self.attempt,
            predecessor: self.number,
            identity: self.identity.clone(),
            files: Vec::new(),
            rejects: Vec::new(),
            state,
        }
    }

    /// One authority, a chain of intents.
    async fn publish(&mut self, mut intent: Intent, edit: &Edit) -> Result<()> {
        // A number of its own, taken before the table is touched: what the table then names is always on
        // record.
        self.journal.claim(&mut intent).await?;
        let application = self.journal.application.clone();
        let mut unanswered = 0;
        loop {
            // Invariant 7: `txn` alone says what is committed. The very snapshot we build on must name the
            // predecessor.
            let named = self.delta.transaction(application.as_str()).await?;
            if named == intent.number {
                break;
            }
            if named != intent.predecessor {
                return Err(self.superseded(named));
            }
            // Asked of this very snapshot: somebody else may have become an owner since the generation began.
            if edit.replaces {
                self.sole_owner().await?;
            } else if intent.predecessor == 0
                && let Some(other) = self.other_owner().await?
            {
                return Err(self.owned_by(&other));
            }
            // Built anew on every snapshot, never rebased: its columns and files are read from this one.
            let actions = self.actions(edit)?;
            match self.delta.write(actions, &application, intent.number, edit.replaces).await? {
                Written::Yes | Written::Taken => {}
                Written::Unknown(fault) if unanswered == ANSWERS => return Err(fault),
                Written::Unknown(fault) => {
                    unanswered += 1;
                    tracing::warn!(%fault, "no answer to a commit; looking whether it is there");
                    tokio::time::sleep(Duration::from_millis(100 * unanswered)).await;
                }
            }
            self.delta.reload().await?;
        }
        self.settle(intent.number, intent.state);
        self.delta.checkpoint().await;
        Ok(())
    }

    fn actions(&self, edit: &Edit) -> Result<Vec<Action>> {
        let mut actions = Vec::new();
        if let Some(schema) = &edit.schema {
            let schema = match self.delta.schema()? {
                Some(table) if !edit.replaces => joined(&table, schema)?,
                _ => Arc::clone(schema),
            };
            actions.extend(self.delta.evolve(&schema)?);
        }
        if edit.replaces {
            actions.extend(self.delta.clear()?);
        }
        actions.extend(edit.adds.iter().cloned());
        Ok(actions)
    }

    /// The generation is over. Nobody can commit it any more, so its plan and receipts have no use.
    async fn close(&mut self) -> Result<()> {
        let work = self.work.take().ok_or_else(no_generation)?;
        self.journal.drop_plan(&work.partial.plan, work.generation.id()).await
    }

    fn superseded(&self, named: u64) -> Fault {
        Fault::external(
            Code::Superseded,
            format!(
                "another run committed to `{}` in the meantime (commit {named}, after {} that this one built on)",
                self.journal.table, self.number
            ),
        )
        .help("nothing of this attempt became visible: run again")
        .retry_after(0)
    }
}

impl Work {
    fn cursor_type(&self) -> DataType {
        let column =
            self.generation.cursor().and_then(|name| self.generation.schema.field_with_name(name).ok());
        column.map_or(DataType::Utf8, |field| field.data_type().clone())
    }

    /// By split, the receipts that count after the committed head: one unbroken chain each, and every file
    /// looked at.
    async fn chains(
        &mut self,
        journal: &Journal,
        attempt: uuid::Uuid,
    ) -> Result<BTreeMap<usize, Vec<String>>> {
        journal.receipts(self.generation.id(), &mut self.receipts, &self.settled).await?;
        loop {
            let chains: BTreeMap<usize, Vec<String>> = (0..self.generation.splits().len())
                .map(|split| {
                    let head = self.partial.heads.get(&split).map(|head| head.receipt.as_str());
                    (split, chain(&self.receipts, split, head, attempt))
                })
                .collect();
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
            .buffer_unordered(PARALLEL)
            .try_filter_map(|void| async move { Ok(void) })
            .try_collect()
            .await
    }
}

/// The table's columns and those of the generation. Somebody may have changed the table since it was planned.
fn joined(table: &Schema, generation: &Schema) -> Result<SchemaRef> {
    let mut fields: Vec<_> = table.fields().iter().cloned().collect();
    for column in generation.fields() {
        match fields.iter_mut().find(|field| field.name() == column.name()) {
            None => fields.push(Arc::clone(column)),
            Some(field) if field.data_type() != column.data_type() => {
                return Err(Fault::external(
                    Code::SchemaRefused,
                    format!(
                        "column `{}` became {} while {} was being written",
                        field.name(),
                        field.data_type(),
                        column.data_type()
                    ),
                )
                .help("run again"));
            }
            Some(field) if column.is_nullable() && !field.is_nullable() => {
                *field = Arc::new(field.as_ref().clone().with_nullable(true));
            }
            Some(_) => {}
        }
    }
    let missing =
        fields.iter().find(|field| !field.is_nullable() && generation.field_with_name(field.name()).is_err());
    match missing {
        Some(field) => Err(Fault::external(
            Code::SchemaRefused,
            format!("column `{}` must have values and has none in what was written", field.name()),
        )),
        None => Ok(Arc::new(Schema::new(fields))),
    }
}

fn add(file: &DataFile) -> Add {
    Add {
        path: file.path.clone(),
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        modification_time: file.modified,
        data_change: true,
        stats: Some(file.stats.clone()),
        ..Add::default()
    }
}

fn unfinished(splits: usize) -> Fault {
    Fault::external(
        Code::StagedFileLost,
        format!("{splits} of the generation's splits are not staged to their end: a staged file was lost, or reading stopped"),
    )
    .help("run again: what is missing will be read again")
    .retry_after(0)
}
