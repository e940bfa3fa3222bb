//! A schedule from a seed: which world it is, who goes on when, what goes wrong; and when all that has ended,
//! whether everything is where it belongs.

use std::collections::BTreeMap;
use std::fmt;

use super::client::Deed;
use super::dice::{Dice, number_of};
use super::invariants::{Violation, violates};
use super::operation::{Operation, Outcome, Purpose, Verb};
use super::source::Nature;
use super::world::World;
use crate::rules::Rule;

/// How many runs in a row a writer may need while nothing goes wrong.
const PATIENCE: usize = 12;

/// Steps in which things go wrong, at most.
const STEPS: u64 = 900;

/// Lines of what happened that a failure shows.
const LAST: usize = 120;

/// What kind of load a world has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Append,
    /// Splits cannot be read again alike.
    Unrepeatable,
    /// Late rows, and some that are equal.
    Lookback,
    /// Most rows are equal to others, and all of them are sent every time.
    Equal,
    Replace,
    /// Incremental, and sometimes everything is read anew.
    Refresh,
    /// Two pipelines want the same table.
    Rivals,
    /// A pipeline is set to another source.
    Swap,
}

/// The parts of a world's chance.
#[derive(Debug, Clone)]
struct Weather {
    /// Of a thousand operations, so many go wrong.
    faults: u64,
    /// Of a thousand steps, in so many a writer falls asleep.
    naps: u64,
    /// Of a thousand steps, so many are the other client's.
    client: u64,
    deeds: Vec<Deed>,
}

#[derive(Debug)]
pub(super) struct Report {
    pub seed: u64,
    pub kind: Kind,
    pub tally: BTreeMap<&'static str, u64>,
    pub violation: Option<Violation>,
    /// Everything that happened, in order.
    pub trace: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(violation) = &self.violation {
            writeln!(
                f,
                "seed {} ({:?}) broke \"{}\": {}",
                self.seed, self.kind, violation.invariant, violation.what
            )?;
        }
        let from = self.trace.len().saturating_sub(LAST);
        writeln!(f, "the last of {} lines:\n{}", self.trace.len(), self.trace[from..].join("\n"))?;
        write!(
            f,
            "replay: TIDEGATE_SIMULATION_SEED={} cargo test --release -p tidegate-ingestion --lib \
             simulation::replay -- --nocapture",
            self.seed
        )
    }
}

/// Within a runtime of several threads.
pub(super) fn run(seed: u64, broken: Option<Rule>) -> Report {
    let mut schedule = Schedule::new(seed, broken);
    let violation = schedule.go().err();
    Report {
        seed,
        kind: schedule.kind,
        tally: std::mem::take(&mut schedule.world.tally),
        violation,
        trace: std::mem::take(&mut schedule.world.trace),
    }
}

struct Schedule {
    world: World,
    kind: Kind,
    weather: Weather,
    dice: Dice,
    /// How often each writer asked for each kind of operation.
    asked: BTreeMap<(usize, u64), u64>,
    restores: usize,
    swapped: bool,
}

impl Schedule {
    fn new(seed: u64, broken: Option<Rule>) -> Self {
        let mut dice = Dice::new(&[seed, 3]);
        let kind = match dice.below(26) {
            0..4 => Kind::Append,
            4..6 => Kind::Unrepeatable,
            6..11 => Kind::Lookback,
            11..16 => Kind::Equal,
            16..20 => Kind::Replace,
            20..22 => Kind::Refresh,
            22..24 => Kind::Rivals,
            _ => Kind::Swap,
        };
        let (lookback, equal) = match kind {
            Kind::Lookback => ([1, 4, 20][dice.below(3)], 200),
            Kind::Equal => (1000, 700),
            _ => (0, 0),
        };
        let nature = Nature {
            incremental: kind != Kind::Replace,
            repeatable: kind != Kind::Unrepeatable && (kind != Kind::Equal || dice.chance(500)),
            lookback,
            equal,
            odd: dice.chance(400),
            forgetful: [0, 100, 300][dice.below(3)],
        };
        let rival = Nature { incremental: dice.chance(500), ..nature };
        let (natures, writers) = match kind {
            Kind::Rivals => (vec![rival, nature], vec![0, 1, 0]),
            _ => (vec![nature], vec![0; 2 + dice.below(2)]),
        };
        let deeds = match kind {
            Kind::Rivals => vec![Deed::Optimize, Deed::Vacuum],
            Kind::Swap => vec![Deed::Append, Deed::Optimize, Deed::Vacuum],
            _ => vec![
                Deed::Append,
                Deed::Append,
                Deed::Optimize,
                Deed::Optimize,
                Deed::Vacuum,
                Deed::Restore(0),
            ],
        };
        let weather = Weather {
            faults: [0, 15, 40, 100][dice.below(4)],
            naps: [0, 10, 40][dice.below(3)],
            client: [0, 20, 60][dice.below(3)],
            deeds,
        };
        let world = World::new(seed, broken, &natures, &writers);
        Self { world, kind, weather, dice, asked: BTreeMap::new(), restores: 0, swapped: false }
    }

    fn go(&mut self) -> Result<(), Violation> {
        while self.world.step < STEPS && self.step()? {}
        self.calm()?;
        self.judge()
    }

    /// One thing happens. `false`: everybody has done what they had to.
    fn step(&mut self) -> Result<bool, Violation> {
        self.world.step += 1;
        self.world.zombies_act(false)?;
        if self.dice.chance(self.weather.client) {
            self.client()?;
        }
        if self.dice.chance(12) {
            let pipeline = self.dice.below(self.world.pipelines.len());
            self.world.change_source(pipeline);
        }
        if self.kind == Kind::Swap && !self.swapped && self.dice.chance(6) {
            self.swapped = true;
            self.world.swap_source(0);
        }
        let busy: Vec<usize> = (0..self.world.actors.len())
            .filter(|&writer| self.world.actors[writer].is_alive() || self.world.actors[writer].runs > 0)
            .collect();
        if busy.is_empty() {
            return Ok(false);
        }
        let step = self.world.step;
        let awake: Vec<usize> =
            busy.iter().copied().filter(|&writer| self.world.actors[writer].asleep_until <= step).collect();
        let among = if awake.is_empty() { &busy } else { &awake };
        let writer = among[self.dice.below(among.len())];
        if self.dice.chance(self.weather.naps) {
            self.world.actors[writer].asleep_until = step + 20 + self.dice.below(200) as u64;
            return Ok(true);
        }
        if !self.world.actors[writer].is_alive() {
            self.world.actors[writer].runs -= 1;
            if self.kind == Kind::Refresh && self.dice.chance(250) {
                self.refresh(writer);
            }
            self.world.start(writer)?;
            return Ok(true);
        }
        let waiting = self.world.waiting(writer);
        let operation = &waiting[self.dice.below(waiting.len())];
        let outcome = self.outcome(writer, operation);
        self.world.decide(writer, operation, outcome)?;
        Ok(true)
    }

    /// Somebody wants everything anew. A table that has rows of others only is nobody's to replace.
    fn refresh(&mut self, writer: usize) {
        let number = self.world.seen.landed(&self.world.application(writer)).number;
        if number > 0 && self.world.actors[writer].next == Purpose::Run {
            self.world.actors[writer].next = Purpose::FullRefresh;
        }
    }

    fn client(&mut self) -> Result<(), Violation> {
        let deed = self.weather.deeds[self.dice.below(self.weather.deeds.len())];
        let deed = match deed {
            Deed::Restore(_) if self.restores == 1 || self.kind == Kind::Replace => return Ok(()),
            Deed::Restore(_) => Deed::Restore(1 + self.dice.below(6)),
            deed => deed,
        };
        // Who replaces a table must own it, and an empty one with rows of others belongs to nobody.
        let owned = self.world.seen.landed(&self.world.application(0)).number > 0;
        let needs_owner = matches!(deed, Deed::Append | Deed::Restore(_));
        if self.world.seen.versions.is_empty() || needs_owner && !owned {
            return Ok(());
        }
        if self.world.client(deed)? && matches!(deed, Deed::Restore(_)) {
            self.restores += 1;
        }
        Ok(())
    }

    /// What becomes of a writer's n-th operation of a kind: told by the seed alone, whatever names it has and
    /// whatever happened before.
    fn outcome(&mut self, writer: usize, operation: &Operation) -> Outcome {
        let kind = number_of(&format!("{:?} {:?}", operation.verb, operation.thing));
        let nth = self.asked.entry((writer, kind)).or_default();
        *nth += 1;
        let mut dice = Dice::new(&[self.world.seed, 5, writer as u64, kind, *nth]);
        if !dice.chance(self.weather.faults) {
            return Outcome::Done;
        }
        let changes = matches!(operation.verb, Verb::Put | Verb::Delete);
        use Outcome::{AnswerLost, CrashAfter, CrashBefore, Late, Refused};
        if changes {
            [AnswerLost, AnswerLost, Late, Late, Refused, CrashBefore, CrashAfter][dice.below(7)]
        } else {
            [Refused, Refused, CrashBefore][dice.below(3)]
        }
    }

    /// Nothing goes wrong any more, and each writer runs alone until it has nothing left to do.
    fn calm(&mut self) -> Result<(), Violation> {
        for pipeline in &self.world.pipelines {
            pipeline.source.borrow_mut().calm = true;
        }
        if self.dice.chance(500) {
            self.world.zombies_act(true)?;
        }
        let mut order: Vec<usize> = (0..self.world.actors.len()).collect();
        self.dice.shuffle(&mut order);
        for &writer in &order {
            self.until_done(writer)?;
        }
        self.world.zombies_act(true)?;
        for &writer in &order {
            self.until_done(writer)?;
        }
        Ok(())
    }

    /// Runs until one has nothing to do any more, or, where every run does something, one that began now went
    /// through.
    fn until_done(&mut self, writer: usize) -> Result<(), Violation> {
        let mut well = 0;
        for _ in 0..PATIENCE {
            if self.world.actors[writer].refused {
                return Ok(());
            }
            let begins = !self.world.actors[writer].is_alive();
            if begins {
                self.world.start(writer)?;
            }
            self.world.finish(writer)?;
            let pipeline = &self.world.pipelines[self.world.actors[writer].pipeline];
            let incremental = pipeline.source.borrow().nature.incremental;
            match self.world.actors[writer].ended {
                Some(Ok(false)) if begins => return Ok(()),
                Some(Ok(true)) if begins && !incremental => well += 1,
                _ => {}
            }
            if well == 2 {
                return Ok(());
            }
        }
        let last = self.world.actors[writer].ended.as_ref();
        let last = last.map_or_else(String::new, |ending| match ending {
            Ok(committed) => format!("a run went through, committed: {committed}"),
            Err(fault) => fault.to_string(),
        });
        Err(violates("no run is stuck", format!("w{writer} after {PATIENCE} runs: {last}")))
    }

    fn judge(&mut self) -> Result<(), Violation> {
        let refused: Vec<bool> = (0..self.world.pipelines.len())
            .map(|pipeline| {
                let mut of_it = self.world.actors.iter().filter(|actor| actor.pipeline == pipeline);
                of_it.all(|actor| actor.refused)
            })
            .collect();
        if refused.iter().all(|refused| *refused) {
            return Err(violates("no run is stuck", "all pipelines were refused"));
        }
        for (pipeline, refused) in self.world.pipelines.iter().zip(refused) {
            let application = pipeline.application().to_string();
            if refused {
                let number = self.world.seen.landed(&application).number;
                if number > 0 {
                    return Err(violates(
                        "no run is stuck",
                        format!("{application} was refused its own table"),
                    ));
                }
                continue;
            }
            self.world.seen.complete(&application, &pipeline.source.borrow())?;
        }
        // What a pipeline began that lost its table to another is left where it is.
        if self.kind == Kind::Rivals { Ok(()) } else { self.world.seen.tidy() }
    }
}
