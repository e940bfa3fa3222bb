//! Taking over a state, and tables that were restored to an older version.

use tidegate_model::{Code, Fault, Result};

use crate::coordinator::Coordinator;
use crate::delta::Restored;
use crate::document::Progress;
use crate::publish::Edit;
use crate::rules::Rule;

impl Coordinator {
    /// Refuses a table whose rows are of another time than the state.
    pub(crate) async fn refuse_restored(&mut self) -> Result<()> {
        if !self.rules().hold(Rule::NotRestored) {
            return Ok(());
        }
        let mut known = self.committed_once().await?;
        if known > self.number {
            // Another run may have committed between our two looks; only what a second look still says is
            // true.
            self.delta.reload().await?;
            self.load().await?;
            known = self.committed_once().await?;
        }
        if known > self.number {
            return Err(self.restored(&format!(
                "it is at commit {} of this stream, and {known} was committed once",
                self.number
            )));
        }
        self.refuse_restored_log().await
    }

    /// The part that the log itself tells: somebody restored the table after our last commit.
    pub(crate) async fn refuse_restored_log(&mut self) -> Result<()> {
        if self.number == 0 || !self.rules().hold(Rule::NotRestored) {
            return Ok(());
        }
        match self.delta.restored(self.journal.application.as_str()).await? {
            None => Ok(()),
            Some(Restored { at, .. }) => {
                Err(self
                    .restored(&format!("version {at} did so, after commit {} of this stream", self.number)))
            }
        }
    }

    fn restored(&self, how: &str) -> Fault {
        Fault::user(
            Code::WrongOwner,
            format!("the table `{}` was restored to an older version: {how}", self.journal.table),
        )
        .help("`tidegate state rewind PIPELINE.yaml` goes on from the table as it is now")
    }

    async fn committed_once(&self) -> Result<u64> {
        self.journal.committed_once(self.number, &self.journal.plans().await?).await
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
        let mut state = self.progress.clone();
        if let Some(restored) = self.delta.restored(self.journal.application.as_str()).await? {
            let number = self.delta.restored_number(restored, self.journal.application.as_str()).await?;
            state = match number {
                0 => Progress::default(),
                number => self.journal.progress(number).await?.progress,
            };
        }
        self.take_over(state).await
    }

    async fn take_over(&mut self, state: Progress) -> Result<()> {
        self.work = None;
        if self.has_state().await? {
            let edit = Edit { rewinds: true, ..Edit::default() };
            self.publish(self.intent(), state, &edit).await
        } else {
            self.fence().await
        }
    }

    /// Whether something was committed, be it in a table that was since restored to a version before that.
    async fn has_state(&self) -> Result<bool> {
        let restored = self.delta.version().is_some()
            && self.journal.committed_once(0, &self.journal.plans().await?).await? > 0;
        Ok(self.number > 0 || restored)
    }
}
