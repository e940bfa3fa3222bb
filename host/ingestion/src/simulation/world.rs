//! Writers, another client, a source and a store, and what happens to them from one step to the next.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use object_store::ObjectStore;
use serde_json::Value;
use tidegate_model::Result;

use super::actor::{Actor, Ending};
use super::client::{self, Deed};
use super::dice::Dice;
use super::invariants::{Invariants, Violation, violates};
use super::operation::{Desk, Later, Operation, Outcome, Process, Purpose, Thing, Verb};
use super::source::{Nature, Source};
use super::store::{Ground, SimStore};
use super::writer::{Pipeline, Run};
use crate::rules::Rule;

/// How long nothing may happen before the simulation itself is at fault.
const STANDSTILL: Duration = Duration::from_secs(60);

/// Something that happens although nobody waits for it any more.
struct Zombie {
    due: u64,
    what: String,
    later: Later,
    /// Data files that it names: younger than any client's retention.
    names: BTreeSet<String>,
}

pub(super) struct World {
    pub seed: u64,
    pub broken: Option<Rule>,
    pub step: u64,
    pub pipelines: Vec<Pipeline>,
    pub actors: Vec<Actor>,
    pub seen: Invariants,
    pub trace: Vec<String>,
    pub tally: BTreeMap<&'static str, u64>,
    ground: Arc<Ground>,
    desk: Arc<Desk>,
    zombies: Vec<Zombie>,
    made_by_client: u64,
    /// Application and number of what runs were told is committed, and nobody looked at yet.
    told: Rc<RefCell<Vec<(String, u64)>>>,
}

impl World {
    /// Writers by the pipeline that each runs.
    pub(super) fn new(seed: u64, broken: Option<Rule>, natures: &[Nature], writers: &[usize]) -> Self {
        let names = ["p", "q"];
        let pipelines: Vec<Pipeline> = natures
            .iter()
            .enumerate()
            .map(|(index, nature)| Pipeline {
                name: names[index],
                fingerprint: "source-1".into(),
                source: Rc::new(RefCell::new(Source::new(*nature, seed, 1000 * (index as i64 + 1)))),
            })
            .collect();
        let actors: Vec<Actor> =
            writers.iter().enumerate().map(|(writer, pipeline)| Actor::new(writer, *pipeline, 3)).collect();
        let mut world = Self {
            seed,
            broken,
            step: 0,
            pipelines,
            seen: Invariants::default(),
            trace: Vec::new(),
            tally: BTreeMap::new(),
            ground: Arc::default(),
            desk: Arc::new(Desk::new(actors.len())),
            actors,
            zombies: Vec::new(),
            made_by_client: 0,
            told: Rc::default(),
        };
        world.sources_changed();
        world
    }

    pub(super) fn application(&self, writer: usize) -> String {
        self.pipelines[self.actors[writer].pipeline].application().to_string()
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        self.trace.push(format!("{:>5} {what}", self.step));
    }

    /// Tells whoever checks what a whole generation may be.
    fn sources_changed(&mut self) {
        for pipeline in &self.pipelines {
            let source = pipeline.source.borrow();
            if !source.nature.incremental {
                self.seen.replacing.insert(pipeline.application().to_string(), source.contents());
            }
        }
    }

    pub(super) fn change_source(&mut self, pipeline: usize) {
        self.pipelines[pipeline].source.borrow_mut().change();
        self.sources_changed();
        self.note(format!("source of {} changes", self.pipelines[pipeline].name));
    }

    /// Somebody sets a pipeline to another source.
    pub(super) fn swap_source(&mut self, pipeline: usize) {
        let nature = self.pipelines[pipeline].source.borrow().nature;
        self.pipelines[pipeline].fingerprint = "source-2".into();
        self.pipelines[pipeline].source = Rc::new(RefCell::new(Source::new(nature, self.seed ^ 1, 5000)));
        self.note(format!("{} has another source", self.pipelines[pipeline].name));
    }

    /// Starts a writer's next process, for what it is to do next.
    pub(super) fn start(&mut self, writer: usize) -> Result<(), Violation> {
        let life = self.desk.begin(writer);
        let purpose = self.actors[writer].next;
        let process = Process { writer, life, purpose };
        let store: Arc<dyn ObjectStore> =
            Arc::new(SimStore { ground: Arc::clone(&self.ground), desk: Arc::clone(&self.desk), process });
        let run = Run {
            pipeline: self.pipelines[self.actors[writer].pipeline].clone(),
            store,
            purpose,
            broken: self.broken,
            dice: Dice::new(&[self.seed, 11, writer as u64, life]),
            told: Rc::clone(&self.told),
            first_name: ((writer as u64 + 1) << 48) | (life << 24),
        };
        self.note(format_args!("w{writer} begins life {life}: {purpose:?}"));
        self.count("runs");
        self.actors[writer].start(process, Box::pin(run.go()));
        self.settle()
    }

    /// Everybody goes as far as they come, until each living writer waits for the schedule.
    fn settle(&mut self) -> Result<(), Violation> {
        let mut since = Instant::now();
        loop {
            let mut moved = false;
            for writer in 0..self.actors.len() {
                while self.actors[writer].is_woken() {
                    moved = true;
                    if let Some(ending) = self.actors[writer].poll() {
                        self.desk.end(writer);
                        self.decide_next(writer, &ending)?;
                        self.actors[writer].ended = Some(ending);
                    }
                }
            }
            if moved {
                since = Instant::now();
                for (application, number) in self.told.take() {
                    self.seen.told(&application, number)?;
                }
                continue;
            }
            let waits = |actor: &Actor| !actor.is_alive() || self.desk.is_waiting(actor.process.writer);
            if self.actors.iter().all(waits) {
                return Ok(());
            }
            assert!(since.elapsed() < STANDSTILL, "nothing happens: {}", self.trace.join("\n"));
            thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// What is next, as whoever runs the pipeline would decide it.
    fn decide_next(&mut self, writer: usize, ending: &Ending) -> Result<(), Violation> {
        use tidegate_model::Code;
        let restored = self.seen.landed(&self.application(writer)).restored;
        let several = self.pipelines.len() > 1;
        let actor = &mut self.actors[writer];
        let ran = actor.process.purpose;
        actor.next = Purpose::Run;
        match ending {
            Ok(committed) => self.note(format_args!("w{writer} ends well, committed: {committed}")),
            Err(fault) => {
                match fault.code {
                    Code::Bug => {
                        return Err(violates("nothing is a bug", format!("w{writer}: {fault}")));
                    }
                    Code::SinkFailed | Code::Superseded | Code::StagedFileLost | Code::SourceFailed => {}
                    _ if restored => actor.next = Purpose::TakeState,
                    Code::WrongOwner if several => actor.refused = true,
                    Code::WrongOwner => actor.next = Purpose::Reset,
                    Code::GenerationGone => {
                        let anew = Dice::new(&[self.seed, 13, writer as u64, actor.process.life]).chance(500);
                        actor.next = if anew { Purpose::FullRefresh } else { Purpose::Reset };
                    }
                    _ => {}
                }
                let what = match fault.code {
                    Code::Superseded => "superseded",
                    Code::WrongOwner => "wrong owner",
                    Code::GenerationGone => "gone",
                    Code::StagedFileLost => "staged file lost",
                    Code::SinkFailed => "store failed",
                    Code::SourceFailed => "source failed",
                    _ => "other faults",
                };
                self.count(what);
                self.note(format_args!("w{writer} {ran:?} ends: {fault}"));
            }
        }
        Ok(())
    }

    /// What a writer waits for, in an order that is the same each time.
    pub(super) fn waiting(&self, writer: usize) -> Vec<Operation> {
        self.desk.of(writer)
    }

    /// Decides what becomes of an operation, and lets everybody go on.
    pub(super) fn decide(
        &mut self,
        writer: usize,
        operation: &Operation,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        self.step += 1;
        self.note(format_args!("w{writer} {operation}: {outcome:?}"));
        let what = match outcome {
            Outcome::Done => "operations",
            Outcome::AnswerLost => "answers lost",
            Outcome::Refused => "refused",
            Outcome::Late => "zombies",
            Outcome::CrashBefore | Outcome::CrashAfter => "crashes",
        };
        self.count(what);
        self.remember(writer, operation);
        let waiting = self.desk.take(writer, operation).expect("it is waiting");
        if matches!(outcome, Outcome::CrashBefore | Outcome::CrashAfter) {
            waiting.act(outcome);
            self.actors[writer].end();
            self.desk.end(writer);
        } else if let Some(later) = waiting.act(outcome) {
            let mut dice = Dice::new(&[self.seed, 17, self.step]);
            let within = if dice.chance(500) { 20 } else { 200 };
            let due = self.step + 1 + dice.below(within) as u64;
            let what = format!("w{writer} {operation}");
            self.zombies.push(Zombie { due, what, later, names: named_by(operation) });
        }
        self.observe()?;
        self.settle()
    }

    /// A client's retention spares what a writer looked at and may be about to commit. Who lists a
    /// generation's files is about to clear them away.
    fn remember(&mut self, writer: usize, operation: &Operation) {
        let looked = &mut self.actors[writer].looked;
        if operation.is(Verb::Head, Thing::Data) {
            looked.insert(operation.path.clone());
        } else if operation.is(Verb::Put, Thing::Data) {
            looked.clear();
        } else if operation.is(Verb::List, Thing::Data) {
            self.seen.cleared.extend(operation.path.strip_prefix("data-").map(str::to_owned));
        }
    }

    /// Whoever checks looks at what happened.
    pub(super) fn observe(&mut self) -> Result<(), Violation> {
        for event in self.ground.take_history() {
            let conflict = event.content.is_some() && super::log::version_of(&event.path).is_some();
            if conflict {
                self.count("commits");
            }
            self.seen.see(event)?;
        }
        Ok(())
    }

    /// What is due, or all that is left, happens.
    pub(super) fn zombies_act(&mut self, all: bool) -> Result<(), Violation> {
        let step = self.step;
        let due: Vec<Zombie> = self.zombies.extract_if(.., |zombie| all || zombie.due <= step).collect();
        for zombie in due {
            self.note(format_args!("late: {}", zombie.what));
            (zombie.later)();
            self.observe()?;
        }
        Ok(())
    }

    pub(super) fn client(&mut self, deed: Deed) -> Result<bool, Violation> {
        let mut spared: BTreeSet<String> =
            self.actors.iter().flat_map(|actor| actor.looked.iter().cloned()).collect();
        spared.extend(self.zombies.iter().flat_map(|zombie| zombie.names.iter().cloned()));
        let did = client::act(deed, &self.ground, &self.seen, &spared, &mut self.made_by_client);
        if did {
            self.step += 1;
            self.note(format_args!("client: {deed:?}"));
            self.count(match deed {
                Deed::Append => "client appends",
                Deed::Optimize => "optimized",
                Deed::Vacuum => "vacuumed",
                Deed::Restore(_) => "restored",
            });
        }
        self.observe()?;
        Ok(did)
    }

    /// Only this writer goes on, and nothing goes wrong, until its process ends.
    pub(super) fn finish(&mut self, writer: usize) -> Result<(), Violation> {
        let mut steps = 0;
        while let Some(operation) = self.waiting(writer).into_iter().next() {
            self.decide(writer, &operation, Outcome::Done)?;
            self.zombies_act(false)?;
            steps += 1;
            if steps > 5000 {
                return Err(violates("no run is stuck", format!("w{writer} goes on for ever")));
            }
        }
        Ok(())
    }
}

/// The data files that a commit adds.
fn named_by(operation: &Operation) -> BTreeSet<String> {
    let content = operation.content.as_ref().filter(|_| operation.thing == Thing::Log);
    let text = content.and_then(|content| std::str::from_utf8(content).ok()).unwrap_or_default();
    let actions = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    actions.filter_map(|action| action["add"]["path"].as_str().map(str::to_owned)).collect()
}
