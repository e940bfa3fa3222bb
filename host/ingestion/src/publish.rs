//! One authority, a chain of intents: how a number is committed, with or without rows.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use deltalake_core::kernel::Action;
use futures::{StreamExt, stream};
use object_store::path::Path;
use tidegate_model::{Code, Fault, Result};

use crate::coordinator::Coordinator;
use crate::delta::Written;
use crate::document::{FORMAT, Intent, Progress, Recorded};
use crate::journal::PARALLEL;
use crate::rules::Rule;

/// How often an attempt that got no answer is made again.
const ANSWERS: u64 = 5;

/// A state with more splits than this is written down as what changed, and as a whole every so many commits.
const FEW_SPLITS: usize = 32;
const WHOLE_EVERY: u32 = 32;

/// What a commit does to the table's rows and columns.
#[derive(Default)]
pub(crate) struct Edit {
    /// None: neither rows nor columns change.
    pub schema: Option<SchemaRef>,
    pub adds: Vec<Action>,
    pub replaces: bool,
    /// Settles a table that was restored to an older version.
    pub rewinds: bool,
}

impl Coordinator {
    /// Commits an empty number, so that whoever works on a plan of before finds itself superseded. Only then
    /// may that plan and its files be deleted: deleted first, they could still be committed and then be
    /// missing.
    pub(crate) async fn fence(&mut self) -> Result<()> {
        if self.delta.version().is_none() {
            return Ok(());
        }
        self.publish(self.intent(), self.progress.clone(), &Edit::default()).await
    }

    /// What is to be said next, without files yet and without a number.
    pub(crate) fn intent(&self) -> Intent {
        Intent {
            format: FORMAT,
            number: 0,
            attempt: self.attempt,
            predecessor: self.number,
            identity: self.identity.clone(),
            files: Vec::new(),
            rejects: Vec::new(),
            state: Recorded::Whole(Progress::default()),
        }
    }

    pub(crate) async fn publish(&mut self, mut intent: Intent, after: Progress, edit: &Edit) -> Result<()> {
        let splits = after.generation.as_ref().map_or(0, |partial| partial.heads.len());
        let (state, steps) = match after.since(&self.progress) {
            Some(changes) if splits > FEW_SPLITS && self.steps < WHOLE_EVERY => {
                (Recorded::Changed(changes), self.steps + 1)
            }
            _ => (Recorded::Whole(after.clone()), 0),
        };
        intent.state = state;
        // A number of its own, taken before the table is touched: what the table then names is always on
        // record.
        self.journal.claim(&mut intent).await?;
        self.write(&intent, edit).await?;
        self.steps = steps;
        self.owner = Some(intent.identity);
        self.committed_by = Some(intent.attempt);
        self.settle(intent.number, after);
        self.delta.checkpoint().await;
        Ok(())
    }

    async fn write(&mut self, intent: &Intent, edit: &Edit) -> Result<()> {
        let application = self.journal.application.clone();
        let rules = self.rules();
        let mut unanswered = 0;
        let mut first = None;
        loop {
            // Invariant 7: `txn` alone says what is committed. The very snapshot we build on must name the
            // predecessor.
            let named = self.delta.transaction(application.as_str()).await?;
            if named == intent.number {
                return Ok(());
            }
            if named != intent.predecessor && rules.hold(Rule::BuiltOnPredecessor) {
                return Err(self.superseded(named));
            }
            // Asked of this very snapshot: since the generation began somebody else may have become an owner,
            // or restored the table to a version without the rows that this state speaks of.
            if !edit.rewinds {
                self.refuse_restored_log().await?;
            }
            if first.is_some() && rules.hold(Rule::FileIsThere) {
                // Whoever committed in between may have been somebody who deletes what no version names.
                self.look_at(intent).await?;
            }
            if edit.replaces {
                self.sole_owner().await?;
            } else if intent.predecessor == 0
                && let Some(other) = self.other_owner().await?
            {
                return Err(self.owned_by(&other));
            }
            // Built anew on every snapshot, never rebased: its columns and files are read from this one.
            let mut actions = self.actions(edit)?;
            let before = first.get_or_insert_with(|| actions.clone());
            if !rules.hold(Rule::RebuiltAfterConflict) {
                actions.clone_from(before);
            }
            match self.delta.write(actions, &application, intent.number, edit.replaces).await? {
                Written::Yes | Written::Taken => {}
                Written::Unknown(_) if !rules.hold(Rule::AskAfterSilence) => return Ok(()),
                Written::Unknown(fault) if unanswered == ANSWERS => return Err(fault),
                Written::Unknown(fault) => {
                    unanswered += 1;
                    tracing::warn!(%fault, "no answer to a commit; looking whether it is there");
                    tokio::time::sleep(Duration::from_millis(100 * unanswered)).await;
                }
            }
            self.delta.reload().await?;
        }
    }

    /// Whether all is there that an intent names.
    async fn look_at(&self, intent: &Intent) -> Result<()> {
        let table = &self.journal.table;
        let named = intent.files.iter().chain(&intent.rejects);
        let missing = stream::iter(named.map(|path| async move { (path, table.head(&Path::from(path.as_str())).await) }))
            .buffered(PARALLEL)
            .filter_map(|(path, found)| async move {
                match found {
                    Ok(Some(_)) => None,
                    Ok(None) => Some(Err(Fault::external(
                        Code::StagedFileLost,
                        format!("`{path}` was deleted while it was being committed"),
                    )
                    .help("nothing of this attempt became visible: run again; a VACUUM must retain what is younger than a run")
                    .retry_after(0))),
                    Err(fault) => Some(Err(fault)),
                }
            })
            .boxed()
            .next()
            .await;
        missing.unwrap_or(Ok(()))
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

    pub(crate) fn superseded(&self, named: u64) -> Fault {
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
