//! Clearing away what nobody can commit any more.
//!
//! Every staged file lies in the folder of its generation, and a generation is over when the committed number
//! has moved past the one its plan continues from. Age decides nothing.

use std::collections::HashSet;

use object_store::path::Path;
use tidegate_model::{Fault, Result};

use crate::coordinator::{Coordinator, no_generation};
use crate::document::{Intent, Plan, Progress, Recorded, SeenAt};
use crate::journal::PlanName;
use crate::rules::Rule;

/// Every so many numbers it is worth looking for records that are of no use any more.
const PRUNE_EVERY: u64 = 128;

impl Coordinator {
    /// The generation is over. Nobody can commit it any more, so its plan and receipts have no use.
    pub(crate) async fn close(&mut self) -> Result<()> {
        let work = self.work.take().ok_or_else(no_generation)?;
        let plan = PlanName::of(&work.generation.plan);
        self.sweep(&plan, work.published).await?;
        if self.number / PRUNE_EVERY > plan.predecessor / PRUNE_EVERY {
            self.prune().await?;
        }
        Ok(())
    }

    /// What to say after a fault in the middle of a generation. If another run went on meanwhile, that is what
    /// happened, whatever it looked like from here; what this one staged is then cleared away, unless somebody
    /// still works on that generation. Ask when nothing stages any more.
    pub async fn superseded_or(&mut self, fault: Fault) -> Fault {
        let Some(work) = self.work.take() else { return fault };
        match self.give_way(&PlanName::of(&work.generation.plan)).await {
            Ok(superseded) => superseded.unwrap_or(fault),
            Err(error) => {
                tracing::warn!(%error, "could not see whether another run went on");
                fault
            }
        }
    }

    async fn give_way(&mut self, plan: &PlanName) -> Result<Option<Fault>> {
        self.delta.reload().await?;
        let named = self.delta.transaction(self.journal.application.as_str()).await?;
        if named == self.number {
            return Ok(None);
        }
        let superseded = self.superseded(named);
        self.load().await?;
        if self.progress.generation.as_ref().is_none_or(|partial| partial.plan != plan.name) {
            self.clear_away(plan).await?;
        }
        Ok(Some(superseded))
    }

    /// Deletes the records that are older than the table's log: no version that the table could be restored
    /// to names them.
    async fn prune(&self) -> Result<()> {
        let Some(oldest) = self.delta.oldest_number(self.journal.application.as_str()).await? else {
            return Ok(());
        };
        let Some(first) = self.journal.base(oldest).await? else { return Ok(()) };
        let table = &self.journal.table;
        let mut useless = Vec::new();
        for (number, path) in self.journal.intents().await? {
            if number >= first {
                continue;
            }
            if let Some(Intent {
                state: Recorded::Whole(Progress { seen: Some(SeenAt::File(seen)), .. }),
                ..
            }) = self.journal.intent(number).await?
            {
                useless.push(Path::from(seen));
            }
            useless.push(path);
        }
        table.discard(useless).await;
        Ok(())
    }

    /// Of a generation that a commit since has fenced off.
    pub(crate) async fn clear_away(&self, plan: &PlanName) -> Result<()> {
        self.sweep(plan, HashSet::new()).await
    }

    /// Deletes what no committed intent names: files first, the plan last, so that whoever is interrupted
    /// here is followed by somebody who finds the plan and goes on. `committed`: paths that are known to be
    /// named.
    async fn sweep(&self, plan: &PlanName, mut committed: HashSet<String>) -> Result<()> {
        let table = &self.journal.table;
        let generation = plan.generation;
        let mut staged = table.list(&Path::from(Plan::data_folder(generation))).await?;
        for folder in ["rejects", "seen"] {
            staged.extend(table.list(&self.journal.path(&format!("{folder}/{generation}"))?).await?);
        }
        let mut garbage: Vec<Path> = staged.into_iter().map(|file| file.location).collect();
        if let Some(SeenAt::File(path)) = &self.progress.seen {
            committed.insert(path.clone());
        }
        garbage.retain(|path| !committed.contains(path.as_ref()));
        if !garbage.is_empty() && self.rules().hold(Rule::CommittedIsKept) {
            match self.journal.committed_files(plan.predecessor, self.number).await? {
                Some(committed) => garbage.retain(|path| !committed.contains(path.as_ref())),
                // Records as old as that are gone, so nothing tells what was committed.
                None => garbage.clear(),
            }
        }
        for folder in ["receipts", "joined"] {
            let notes = table.list(&self.journal.path(&format!("{folder}/{generation}"))?).await?;
            garbage.extend(notes.into_iter().map(|file| file.location));
        }
        if garbage.is_empty() || table.discard(garbage).await {
            table.discard(vec![self.journal.path(&format!("plans/{}.json", plan.name))?]).await;
        }
        Ok(())
    }
}
