//! The commit: receipts and state become visible in one transaction of the table, or not at all.

use std::sync::Arc;

use arrow::datatypes::DataType;
use deltalake_core::kernel::{Action, Add};
use tidegate_model::{Code, Fault, Result, WriteMode};

use crate::coordinator::{Coordinator, no_generation};
use crate::cursor;
use crate::document::{DataFile, Head, Partial, Plan, Progress, Receipt, SeenAt};
use crate::generation::PendingSplit;
use crate::publish::Edit;
use crate::rules::{Rule, Rules};
use crate::seen::Seen;

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
    pub recognised: u64,
}

/// From one state to the next.
struct Step {
    partial: Partial,
    seen: Option<Seen>,
    after: Progress,
}

impl Coordinator {
    /// The splits that have not ended, each with where to go on. Ask again before a split is tried a second
    /// time.
    pub async fn pending(&mut self) -> Result<Vec<PendingSplit>> {
        let work = self.work.as_mut().ok_or_else(no_generation)?;
        work.pending(&self.journal, self.attempt).await
    }

    /// Publishes what is durable. `complete`: every split has ended, and the generation is over. None when
    /// there was nothing to say, or when this kind of generation is one commit and is not complete.
    pub async fn commit(&mut self, complete: bool) -> Result<Option<Committed>> {
        let work = self.work.as_mut().ok_or_else(no_generation)?;
        let waits = !complete && work.generation.is_single_commit();
        if waits && self.journal.table.rules.hold(Rule::SingleCommit) {
            return Ok(None);
        }
        let chains = work.current(&self.journal, self.attempt).await?;
        let named = chains.into_values().flatten();
        let taken: Vec<(String, Receipt)> =
            named.filter_map(|name| Some((name.clone(), work.receipts.get(&name)?.clone()))).collect();
        let Some(step) = self.step(&taken, complete).await? else {
            if complete {
                self.close().await?;
            }
            return Ok(None);
        };

        let work = self.work.as_ref().ok_or_else(no_generation)?;
        let replaces = complete && work.generation.write() == WriteMode::Replace;
        let files: Vec<&DataFile> = taken.iter().filter_map(|(_, receipt)| receipt.file.as_ref()).collect();
        let edit = Edit {
            schema: (replaces || !files.is_empty()).then(|| Arc::clone(work.generation.schema())),
            adds: files.iter().map(|file| Action::Add(add(file))).collect(),
            replaces,
            rewinds: false,
        };
        let mut intent = self.intent();
        intent.files = files.iter().map(|file| file.path.clone()).collect();
        intent.rejects =
            taken.iter().filter_map(|(_, receipt)| Some(receipt.rejects.as_ref()?.path.clone())).collect();
        let published: Vec<String> = intent.files.iter().chain(&intent.rejects).cloned().collect();
        let before = self.progress.seen.clone();
        self.publish(intent, step.after, &edit).await?;

        let version = self.delta.version().unwrap_or_default();
        let committed = Committed::of(self.number, version, taken.iter().map(|(_, receipt)| receipt));
        let work = self.work.as_mut().ok_or_else(no_generation)?;
        work.partial = step.partial;
        work.published.extend(published);
        work.seen = step.seen;
        if complete {
            self.close().await?;
        } else {
            self.forget(taken, before).await?;
        }
        Ok(Some(committed))
    }

    /// What is known after these receipts. None: nothing that is worth a commit.
    async fn step(&self, taken: &[(String, Receipt)], complete: bool) -> Result<Option<Step>> {
        let work = self.work.as_ref().ok_or_else(no_generation)?;
        let plan = &work.generation.plan;
        let cursor_type = work.generation.cursor_type().unwrap_or(DataType::Utf8);
        let mut partial = work.partial.clone();
        partial.take(taken, &cursor_type)?;
        let ended = partial.heads.values().filter(|head| head.end).count();
        if complete && ended < plan.splits.len() {
            return Err(unfinished(plan.splits.len() - ended));
        }

        let mark = mark(plan, &partial, &cursor_type, self.rules())?;
        let low = mark.as_deref().map(|mark| cursor::back(mark, plan.lookback, &cursor_type)).transpose()?;
        let met = work.met(&self.journal, taken.iter().map(|(name, _)| name)).await?;
        let mut seen = work.seen.clone();
        if let (Some(seen), false) = (&mut seen, met.is_empty()) {
            *seen = seen.take(&met)?;
            // The mark will be no less, so what lies further back is not met again.
            if let Some(low) = &low {
                seen.prune(low)?;
            }
        }
        let mut after = if complete {
            // No further back than rows were known before.
            let kept = self.progress.since.clone().filter(|_| plan.write == WriteMode::Append);
            let since = cursor::later(low, kept, &cursor_type)?;
            seen = seen.map(|seen| seen.turn(since.as_deref())).transpose()?;
            Progress {
                high_water: mark,
                cursor: plan.cursor.clone(),
                bookmark: plan.bookmark.clone(),
                since,
                seen: None,
                generation: None,
            }
        } else {
            let moves = !self.rules().hold(Rule::MarkAtTheEnd);
            Progress {
                high_water: if moves { mark } else { self.progress.high_water.clone() },
                generation: Some(partial.clone()),
                ..self.progress.clone()
            }
        };

        let nothing = taken.iter().all(|(_, receipt)| receipt.file.is_none() && receipt.rejects.is_none());
        let known = match (&seen, &work.seen) {
            (Some(now), Some(then)) => now.is_same(then),
            (None, None) => true,
            _ => false,
        };
        if nothing {
            // Progress without rows is durable in its receipts; only the end of a generation may be worth a
            // commit of its own.
            let same =
                known && Progress { seen: self.progress.seen.clone(), ..after.clone() } == self.progress;
            let empties = plan.write == WriteMode::Replace && !self.delta.is_empty();
            if !complete || (same && !empties) {
                return Ok(None);
            }
        }
        after.seen = match &seen {
            Some(_) if known => self.progress.seen.clone(),
            Some(seen) => {
                let name = format!("{}/{}", plan.generation, self.journal.table.ids.next());
                seen.write(&self.journal, &name).await?
            }
            None => None,
        };
        Ok(Some(Step { partial, seen, after }))
    }

    /// Receipts that are committed have no use: the state says where they ended, and what they met.
    async fn forget(&mut self, taken: Vec<(String, Receipt)>, before: Option<SeenAt>) -> Result<()> {
        let Some(work) = self.work.as_mut() else { return Ok(()) };
        let generation = work.generation.id();
        let mut useless = Vec::new();
        // The generation's own; the one it began with belongs to a state that the table may be rewound to.
        let ours = format!("seen/{generation}/");
        let mut seen: Vec<SeenAt> =
            before.into_iter().filter(|at| Some(at) != self.progress.seen.as_ref()).collect();
        for (name, receipt) in taken {
            useless.push(self.journal.path(&format!("receipts/{generation}/{name}.json"))?);
            seen.extend(receipt.seen);
            work.receipts.remove(&name);
            work.settled.insert(name);
        }
        for at in seen {
            if let SeenAt::File(path) = at
                && path.contains(&ours)
            {
                useless.push(path.into());
            }
        }
        self.journal.table.discard(useless).await;
        Ok(())
    }
}

impl Partial {
    /// Goes on to where receipts end.
    fn take(&mut self, receipts: &[(String, Receipt)], cursor_type: &DataType) -> Result<()> {
        for (name, receipt) in receipts {
            let head =
                Head { receipt: name.clone(), end: receipt.end, checkpoint: receipt.checkpoint.clone() };
            self.heads.insert(receipt.split, head);
            self.cursor = cursor::later(self.cursor.take(), receipt.cursor.clone(), cursor_type)?;
        }
        Ok(())
    }
}

/// The mark moves only when a generation is complete, and never beyond the bound that was fixed when it was
/// planned.
fn mark(plan: &Plan, partial: &Partial, cursor_type: &DataType, rules: Rules) -> Result<Option<String>> {
    let bound = plan.upper_bound.as_deref().filter(|_| rules.hold(Rule::MarkWithinBound));
    let reached = cursor::capped(partial.cursor.clone(), bound, cursor_type)?;
    cursor::later(plan.high_water.clone(), reached, cursor_type)
}

impl Committed {
    fn of<'a>(number: u64, table_version: u64, receipts: impl Iterator<Item = &'a Receipt>) -> Self {
        let mut all = Self { number, table_version, ..Self::default() };
        for receipt in receipts {
            let staged = receipt.staged();
            all.rows += staged.rows;
            all.bytes += staged.bytes;
            all.files += u64::from(receipt.file.is_some());
            all.rejected += staged.rejected;
            all.skipped += staged.skipped;
            all.recognised += staged.recognised;
        }
        all
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
