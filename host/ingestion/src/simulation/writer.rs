//! A run of a stream as the worker makes it: what was interrupted goes on, or something new begins; splits are
//! read at the same time, and what is durable is committed in between.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use object_store::ObjectStore;
use tidegate_model::{
    ApplicationId, Code, Fault, Lookback, Mode, PipelineName, Result, StreamName, WriteMode,
};
use url::Url;

use super::dice::Dice;
use super::operation::Purpose;
use super::source::{Source, schema};
use crate::rules::Rule;
use crate::{Coordinator, Generation, Identity, Location, NewPlan, Stager};

/// What all processes of one pipeline have in common.
#[derive(Clone)]
pub(super) struct Pipeline {
    /// Its name.
    pub name: &'static str,
    /// Which source it is set to now.
    pub fingerprint: String,
    pub source: Rc<RefCell<Source>>,
}

impl Pipeline {
    pub(super) fn application(&self) -> ApplicationId {
        ApplicationId::new(&PipelineName::new(self.name).unwrap(), &stream())
    }

    fn identity(&self) -> Identity {
        Identity {
            connector: "simulated".into(),
            fingerprint: self.fingerprint.clone(),
            stream: stream().to_string(),
        }
    }
}

fn stream() -> StreamName {
    StreamName::new("numbers").unwrap()
}

/// One run of one process.
pub(super) struct Run {
    pub pipeline: Pipeline,
    pub store: Arc<dyn ObjectStore>,
    pub purpose: Purpose,
    pub broken: Option<Rule>,
    pub dice: Dice,
    /// The first of the names that this process makes.
    pub first_name: u64,
    /// Application and number of what it was told is committed.
    pub told: Rc<RefCell<Vec<(String, u64)>>>,
}

/// A split that is being read.
struct Reading {
    stager: Stager,
    places: Vec<usize>,
    /// How many of them were read.
    at: usize,
}

impl Run {
    /// Whether something was committed.
    pub(super) async fn go(mut self) -> Result<bool> {
        let url = Url::parse("memory:///lake").unwrap();
        let location =
            Location::on_store(Arc::clone(&self.store), url).await?.with_counted_ids(self.first_name);
        let table = location.table(&stream())?.breaking(self.broken);
        let (application, identity) = (self.pipeline.application(), self.pipeline.identity());
        match self.purpose {
            Purpose::TakeState => {
                Coordinator::adopt(table, application, identity).await?.take_state().await?;
                return Ok(true);
            }
            Purpose::Reset => {
                Coordinator::adopt(table, application, identity).await?.reset().await?;
                return Ok(true);
            }
            Purpose::Run | Purpose::FullRefresh | Purpose::Stranger => {}
        }
        let mut coordinator = Coordinator::open(table, application, identity).await?;
        if self.prepare(&mut coordinator).await?.is_none() {
            return Ok(false);
        }
        let committed = self.read(&mut coordinator).await?;
        let last = self.commit(&mut coordinator, true).await?;
        Ok(committed || last)
    }

    async fn prepare(&self, coordinator: &mut Coordinator) -> Result<Option<Generation>> {
        let nature = self.pipeline.source.borrow().nature;
        let full_refresh = self.purpose == Purpose::FullRefresh;
        let interrupted =
            if full_refresh { coordinator.resume_replacement().await? } else { coordinator.resume().await? };
        if let Some(generation) = interrupted {
            if self.pipeline.source.borrow_mut().reopen(generation.token()) {
                return Ok(Some(generation));
            }
            coordinator.abandon().await?;
        }
        let state = coordinator.state().clone();
        let from_start = full_refresh || !nature.incremental;
        let mark = state.high_water.filter(|_| !from_start).map(|mark| mark.parse().unwrap());
        let bookmark = state.bookmark.filter(|_| !from_start);
        let bookmark = bookmark.map(|known| String::from_utf8(known).unwrap().parse().unwrap());
        let planned = self.pipeline.source.borrow_mut().plan(mark, bookmark);
        let Some(planned) = planned else { return Ok(None) };
        let plan = NewPlan {
            mode: if nature.incremental { Mode::Incremental } else { Mode::Full },
            write: if from_start { WriteMode::Replace } else { WriteMode::Append },
            cursor: nature.incremental.then(|| "at".into()),
            lookback: (nature.lookback > 0).then(|| Lookback::Number(nature.lookback.unsigned_abs())),
            splits: planned.splits,
            token: planned.token,
            bookmark: Some(planned.bookmark),
            upper_bound: planned.upper_bound.map(|bound| bound.to_string()),
            repeatable: nature.repeatable,
            schema: schema(),
        };
        coordinator.begin(plan).await.map(Some)
    }

    /// Reads every split that has not ended, a step of one at a time, and commits while it does.
    async fn read(&mut self, coordinator: &mut Coordinator) -> Result<bool> {
        let pending = coordinator.pending().await?;
        let stage = coordinator.stage()?;
        let mut readings: Vec<Reading> = pending
            .into_iter()
            .map(|pending| Reading {
                stager: stage.open(pending.index, pending.follows.as_deref()),
                places: serde_json::from_slice(&pending.split.data).unwrap(),
                at: pending.from.map_or(0, |from| String::from_utf8(from).unwrap().parse().unwrap()),
            })
            .collect();
        let mut committed = false;
        while !readings.is_empty() {
            let chosen = self.dice.below(readings.len());
            if self.dice.chance(8) && !self.pipeline.source.borrow().calm {
                return Err(Fault::external(Code::SourceFailed, "the source failed"));
            }
            let durable = if readings[chosen].at < readings[chosen].places.len() {
                self.advance(&mut readings[chosen]).await
            } else {
                readings.swap_remove(chosen).stager.finish().await.map(|_| true)
            };
            // The committing side may not know yet that a reader failed.
            let commits = self.dice.chance(match durable {
                Ok(true) => 400,
                Ok(false) => 0,
                Err(_) => 300,
            });
            if commits {
                committed |= self.commit(coordinator, false).await?;
            }
            durable?;
        }
        Ok(committed)
    }

    async fn commit(&self, coordinator: &mut Coordinator, complete: bool) -> Result<bool> {
        let committed = coordinator.commit(complete).await?;
        if let Some(committed) = committed {
            self.told.borrow_mut().push((self.pipeline.application().to_string(), committed.number));
        }
        Ok(committed.is_some())
    }

    /// Reads a batch, and perhaps closes the file after it.
    async fn advance(&mut self, reading: &mut Reading) -> Result<bool> {
        let end = (reading.at + 1 + self.dice.below(3)).min(reading.places.len());
        let (batch, rejects) = self.pipeline.source.borrow().read(&reading.places[reading.at..end]);
        reading.stager.reject(&rejects).await?;
        reading.stager.write(&batch).await?;
        reading.at = end;
        if !self.dice.chance(600) {
            return Ok(false);
        }
        let closes = self.dice.chance(700);
        let staged = reading.stager.checkpoint(end.to_string().as_bytes(), closes).await?;
        Ok(staged.is_some())
    }
}
