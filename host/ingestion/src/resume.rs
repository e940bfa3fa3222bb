//! Going on with a generation that was interrupted, or giving it up.

use tidegate_model::{Code, Fault, Result, WriteMode};

use crate::coordinator::{Coordinator, no_generation};
use crate::delta;
use crate::document::{Partial, Plan, Progress};
use crate::generation::Generation;
use crate::journal::PlanName;
use crate::publish::Edit;
use crate::rules::Rule;
use arrow::datatypes::SchemaRef;

impl Coordinator {
    /// The generation that was interrupted, if any: go on with it, or [`Coordinator::abandon`] it. One that
    /// is partly committed is named by the state; one of which nothing was committed is a plan that continues
    /// from the committed number.
    pub async fn resume(&mut self) -> Result<Option<Generation>> {
        let plans = self.living_plans().await?;
        if let Some(partial) = self.progress.generation.clone() {
            let plan = self.journal.plan(&partial.plan).await?.ok_or_else(|| {
                Fault::external(
                    Code::GenerationGone,
                    format!(
                        "the state of `{}` is of the middle of a load whose plan `{}` is gone",
                        self.journal.table, partial.plan
                    ),
                )
                .help("`tidegate run PIPELINE.yaml --full-refresh` reads everything anew")
            })?;
            return self.work_on(plan, partial).await.map(Some);
        }
        for PlanName { name, .. } in plans {
            match self.journal.plan(&name).await? {
                Some(plan) if plan.identity == self.identity => {
                    let partial = Partial::of(&plan);
                    return self.work_on(plan, partial).await.map(Some);
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
        let mut pointless = Vec::new();
        for found in self.living_plans().await? {
            match self.journal.plan(&found.name).await? {
                Some(plan) if plan.identity == self.identity && plan.write == WriteMode::Replace => {
                    let partial = Partial::of(&plan);
                    return self.work_on(plan, partial).await.map(Some);
                }
                Some(_) => pointless.push(found),
                None => {}
            }
        }
        if !pointless.is_empty() {
            self.fence().await?;
        }
        for plan in pointless {
            self.clear_away(&plan).await?;
        }
        Ok(None)
    }

    /// The plans that can still be committed, other than the one that is partly committed. Those that cannot
    /// are cleared away: what continues from a number that is no longer the last one is fenced off already.
    async fn living_plans(&mut self) -> Result<Vec<PlanName>> {
        let plans = self.journal.plans().await?;
        if self.delta.version().is_none() && !plans.is_empty() {
            // A plan is written after its table is there: somebody created it since we looked.
            self.delta.reload().await?;
            self.load().await?;
            self.own().await?;
        }
        let partial = self.progress.generation.as_ref().map(|partial| partial.plan.clone());
        let mut living = Vec::new();
        for plan in plans {
            if Some(&plan.name) == partial.as_ref() {
                continue;
            }
            if plan.predecessor < self.number {
                self.clear_away(&plan).await?;
            } else if plan.predecessor == self.number {
                living.push(plan);
            }
        }
        Ok(living)
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
        if self.rules().hold(Rule::FenceBeforeGarbage) {
            self.fence().await?;
        }
        self.clear_away(&PlanName::of(&work.generation.plan)).await
    }

    /// The interrupted generation was planned for another schema than its table is to have now: the pipeline
    /// file, the source or the table changed since, perhaps because the schema was refused. What is committed
    /// of it stays; what is not is read again, for the new schema. None: nothing was committed, so plan anew.
    pub async fn revise(&mut self, schema: &SchemaRef) -> Result<Option<Generation>> {
        let work = self.work.as_ref().ok_or_else(no_generation)?;
        if work.partial.heads.is_empty() {
            self.abandon().await?;
            return Ok(None);
        }
        let revised = Plan {
            generation: self.journal.table.ids.next(),
            predecessor: self.number,
            schema: serde_json::to_value(delta::schema_to(schema)?)
                .map_err(|error| Fault::internal(Code::Bug, error.to_string()))?,
            ..work.generation.plan.as_ref().clone()
        };
        let partial = Partial { plan: revised.name(), ..work.partial.clone() };
        self.work = None;
        self.journal.write_plan(&revised).await?;
        let progress = Progress { generation: Some(partial.clone()), ..self.progress.clone() };
        self.publish(self.intent(), progress, &Edit::default()).await?;
        self.work_on(revised, partial).await.map(Some)
    }
}
