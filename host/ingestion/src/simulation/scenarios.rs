//! The stories that the protocol was made for, each told step by step. Those that need no more than one
//! coordinator after the other are in `tests/landing.rs` and `tests/recognition.rs`.

use tidegate_model::{Code, Fault, Result};

use super::client::Deed;
use super::invariants::{Violation, violates};
use super::operation::{Operation, Outcome, Purpose, Thing, Verb};
use super::source::Nature;
use super::within_runtime;
use super::world::World;
use crate::rules::Rule;

pub(super) const INCREMENTAL: Nature =
    Nature { incremental: true, repeatable: true, lookback: 0, equal: 0, odd: false, forgetful: 0 };
pub(super) const UNREPEATABLE: Nature = Nature { repeatable: false, ..INCREMENTAL };
pub(super) const REPLACING: Nature = Nature { incremental: false, ..INCREMENTAL };

const LOOKBACK: Nature = Nature { lookback: 1000, ..INCREMENTAL };

/// Not about the table, but about a story.
pub(super) const AS_TOLD: &str = "the story goes as it is told";

type Told = Result<(), Violation>;

/// Writers of one stream.
fn story(nature: Nature, writers: usize, tell: impl Fn(&mut World) -> Told) {
    stories(8, nature, writers, tell);
}

/// As often as it takes for chance to come to the point.
fn stories(times: u64, nature: Nature, writers: usize, tell: impl Fn(&mut World) -> Told) {
    let _guard = within_runtime();
    for seed in 0..times {
        let mut world = quiet(seed, None, nature, writers);
        if let Err(violation) = tell(&mut world) {
            panic!("seed {seed}: {violation:?}\n{}", world.trace.join("\n"));
        }
    }
}

/// A world in which nothing happens that is not told.
fn quiet(seed: u64, broken: Option<Rule>, nature: Nature, writers: usize) -> World {
    let world = World::new(seed, broken, &[nature], &vec![0; writers]);
    world.pipelines[0].source.borrow_mut().calm = true;
    world
}

/// Two attempts at the same plan: one joins and stands still, the other stages all it can and is killed.
/// Chance comes to this point so seldom that the mutations tell it each time.
pub(super) fn beside_each_other(seed: u64, broken: Option<Rule>) -> Told {
    let world = &mut quiet(seed, broken, LOOKBACK, 3);
    world.run_for(0, Purpose::Run)?;
    world.pipelines[0].source.borrow_mut().double();
    for writer in [0, 1] {
        world.until(writer, Verb::Put, Thing::Receipt, 1)?;
    }
    let intent = world.until(1, Verb::Put, Thing::Intent, 1)?;
    world.decide(1, &intent, Outcome::CrashBefore)?;
    world.finish(0)?;
    world.run(2)?;
    world.is_complete()
}

/// Two attempts at the same plan that did not know of each other stage all of it, and are killed before they
/// commit. Somebody else goes on.
pub(super) fn told_apart_otherwise(seed: u64, broken: Option<Rule>) -> Told {
    let world = &mut quiet(seed, broken, Nature { repeatable: false, ..LOOKBACK }, 3);
    world.run_for(0, Purpose::Run)?;
    world.pipelines[0].source.borrow_mut().double();
    for writer in [0, 1] {
        world.until(writer, Verb::Put, Thing::Receipt, 1)?;
    }
    for writer in [0, 1] {
        let intent = world.until(writer, Verb::Put, Thing::Intent, 1)?;
        world.decide(writer, &intent, Outcome::CrashBefore)?;
    }
    world.run(2)?;
    world.is_complete()
}

impl World {
    /// A whole run.
    fn run(&mut self, writer: usize) -> Told {
        self.start(writer)?;
        self.finish(writer)
    }

    /// A run for some purpose, which must go well.
    fn run_for(&mut self, writer: usize, purpose: Purpose) -> Told {
        self.actors[writer].next = purpose;
        self.run(writer)?;
        match self.ended(writer) {
            Ok(_) => Ok(()),
            Err(fault) => Err(violates(AS_TOLD, fault.to_string())),
        }
    }

    fn ended(&self, writer: usize) -> &Result<bool> {
        self.actors[writer].ended.as_ref().expect("its run has ended")
    }

    fn fault(&self, writer: usize) -> &Fault {
        self.ended(writer).as_ref().expect_err("its run was to fail")
    }

    /// Lets a writer go on until it is about to do something for the n-th time, counted from 1.
    fn until(&mut self, writer: usize, verb: Verb, thing: Thing, nth: usize) -> Result<Operation, Violation> {
        if !self.actors[writer].is_alive() {
            self.start(writer)?;
        }
        let mut times = 0;
        loop {
            let Some(operation) = self.waiting(writer).into_iter().next() else {
                return Err(violates(AS_TOLD, format!("no {verb:?} {thing:?}")));
            };
            times += usize::from(operation.is(verb, thing));
            if times == nth {
                return Ok(operation);
            }
            self.decide(writer, &operation, Outcome::Done)?;
        }
    }

    /// The commit of rows; the first entry of the log creates the table.
    fn until_commit(&mut self, writer: usize) -> Result<Operation, Violation> {
        let creates = self.seen.versions.is_empty();
        self.until(writer, Verb::Put, Thing::Log, if creates { 2 } else { 1 })
    }

    /// Everything is loaded, each row once, and nothing is left over.
    pub(super) fn is_complete(&mut self) -> Told {
        // What was interrupted goes on, then what is new comes.
        for writer in 0..self.actors.len() {
            for _ in 0..2 {
                self.run_for(writer, Purpose::Run)?;
            }
        }
        let pipeline = &self.pipelines[0];
        self.seen.complete(pipeline.application().as_str(), &pipeline.source.borrow())?;
        self.seen.tidy()
    }

    fn commits(&self) -> usize {
        self.seen.versions.len()
    }
}

#[test]
fn a_paused_writer_that_wakes_up_is_fenced() {
    for nature in [INCREMENTAL, UNREPEATABLE, REPLACING] {
        story(nature, 2, |world| {
            world.until_commit(0)?;
            world.run(1)?;
            assert!(world.ended(1).is_ok());
            world.finish(0)?;
            assert_eq!(world.fault(0).code, Code::Superseded);
            world.is_complete()
        });
    }
}

#[test]
fn a_lost_commit_answer_is_settled_by_asking_the_table() {
    for nature in [INCREMENTAL, REPLACING] {
        story(nature, 1, |world| {
            let commit = world.until_commit(0)?;
            world.decide(0, &commit, Outcome::AnswerLost)?;
            world.finish(0)?;
            assert!(matches!(world.ended(0), Ok(true)));
            world.is_complete()
        });
    }
}

#[test]
fn a_commit_that_lands_after_its_writer_gave_it_up_counts_once() {
    story(UNREPEATABLE, 2, |world| {
        let commit = world.until_commit(0)?;
        world.decide(0, &commit, Outcome::Late)?;
        // It asks, and is about to try again.
        world.until(0, Verb::Put, Thing::Log, 1)?;
        world.until_commit(1)?;
        world.zombies_act(true)?;
        let versions = world.commits();
        world.finish(0)?;
        assert!(matches!(world.ended(0), Ok(true)), "{:?}", world.ended(0));
        assert_eq!(world.commits(), versions, "it is there already");
        world.finish(1)?;
        assert_eq!(world.fault(1).code, Code::Superseded);
        world.is_complete()
    });
}

#[test]
fn two_first_writers_create_one_table() {
    for nature in [INCREMENTAL, REPLACING] {
        story(nature, 2, |world| {
            for writer in [0, 1] {
                world.until(writer, Verb::Put, Thing::Log, 1)?;
            }
            for writer in [1, 0] {
                world.until(writer, Verb::Put, Thing::Plan, 1)?;
            }
            assert_eq!(world.commits(), 1);
            world.finish(1)?;
            world.finish(0)?;
            assert!(world.ended(1).is_ok());
            assert_eq!(world.fault(0).code, Code::Superseded);
            world.is_complete()
        });
    }
}

#[test]
fn a_file_that_vanishes_before_the_commit_is_not_named() {
    story(UNREPEATABLE, 1, |world| {
        // Staged, and not looked at by whoever commits.
        let mut last = world.until(0, Verb::Put, Thing::Receipt, 1)?;
        while !last.is(Verb::Head, Thing::Data) || !world.seen.objects.keys().any(|path| path == &last.path) {
            world.decide(0, &last, Outcome::Done)?;
            last = world.waiting(0).into_iter().next().expect("it commits");
        }
        world.actors[0].looked.clear();
        assert!(world.client(Deed::Vacuum)?);
        world.finish(0)?;
        assert_eq!(world.fault(0).code, Code::StagedFileLost);
        world.is_complete()
    });
}

#[test]
fn equal_checkpoints_of_two_attempts_prove_nothing() {
    story(INCREMENTAL, 2, |world| {
        // The first stages a part, and stands still before it says so. The second reads the same part to the
        // same checkpoint, stages it, and is killed. Then the first goes on.
        let receipt = world.until(0, Verb::Put, Thing::Receipt, 1)?;
        world.until(1, Verb::Put, Thing::Receipt, 2)?;
        world.decide(0, &receipt, Outcome::Done)?;
        let second = world.waiting(1).remove(0);
        world.decide(1, &second, Outcome::CrashAfter)?;
        world.finish(0)?;
        world.is_complete()
    });
}

#[test]
fn a_restored_table_stops_the_run_until_somebody_says_that_it_is_right() {
    story(INCREMENTAL, 2, |world| {
        world.run_for(0, Purpose::Run)?;
        let kept = world.commits();
        world.change_source(0);
        world.run_for(0, Purpose::Run)?;
        world.change_source(0);
        // One is about to commit when it happens, one begins after it.
        world.until_commit(0)?;
        let back = world.commits() - kept;
        assert!(world.client(Deed::Restore(back))?);
        world.finish(0)?;
        assert_eq!(world.fault(0).code, Code::WrongOwner);
        world.run(1)?;
        assert_eq!(world.fault(1).code, Code::WrongOwner);
        world.run_for(1, Purpose::TakeState)?;
        world.is_complete()
    });
}

#[test]
fn a_source_that_is_gone_after_a_part_was_committed_is_read_anew() {
    story(INCREMENTAL, 1, |world| {
        // A table of several commits, interrupted in the middle of a generation.
        let application = world.application(0);
        for _ in 0..20 {
            world.change_source(0);
            let before = world.seen.landed(&application).number;
            world.start(0)?;
            while let Some(operation) = world.waiting(0).into_iter().next() {
                let committed = world.seen.landed(&application).number > before;
                let outcome = if committed && operation.verb == Verb::Put {
                    Outcome::CrashBefore
                } else {
                    Outcome::Done
                };
                world.decide(0, &operation, outcome)?;
            }
            if !world.actors[0].is_alive() && world.actors[0].ended.is_none() {
                break;
            }
        }
        world.pipelines[0].source.borrow_mut().forget_all();
        world.run(0)?;
        assert_eq!(world.fault(0).code, Code::GenerationGone);
        world.run_for(0, Purpose::FullRefresh)?;
        world.is_complete()
    });
}

#[test]
fn an_overwrite_is_made_anew_when_somebody_optimizes_in_between() {
    story(REPLACING, 1, |world| {
        for _ in 0..2 {
            world.run_for(0, Purpose::Run)?;
            assert!(world.client(Deed::Append)?);
            world.change_source(0);
        }
        world.until_commit(0)?;
        assert!(world.client(Deed::Optimize)?);
        world.finish(0)?;
        assert!(matches!(world.ended(0), Ok(true)));
        world.is_complete()
    });
}

#[test]
fn an_append_goes_beside_what_others_append_optimize_and_vacuum() {
    story(INCREMENTAL, 1, |world| {
        world.run_for(0, Purpose::Run)?;
        for _ in 0..4 {
            world.change_source(0);
            world.until_commit(0)?;
            for deed in [Deed::Append, Deed::Optimize, Deed::Vacuum] {
                world.client(deed)?;
            }
            world.finish(0)?;
            assert!(matches!(world.ended(0), Ok(true)));
        }
        world.is_complete()
    });
}

#[test]
fn the_work_of_a_writer_that_may_be_alive_is_deleted_behind_a_fence() {
    for nature in [INCREMENTAL, REPLACING] {
        story(nature, 2, |world| {
            world.until_commit(0)?;
            world.pipelines[0].source.borrow_mut().forget_all();
            // It gives up the plan that the first one is about to commit.
            let operation = world.until(1, Verb::Delete, Thing::Receipt, 1)?;
            world.decide(1, &operation, Outcome::Done)?;
            world.finish(0)?;
            assert_eq!(world.fault(0).code, Code::Superseded);
            world.finish(1)?;
            world.is_complete()
        });
    }
}

#[test]
fn one_cursor_in_the_year_9999_does_not_end_all_loading() {
    story(Nature { odd: true, ..INCREMENTAL }, 1, |world| {
        for _ in 0..6 {
            world.change_source(0);
            world.run_for(0, Purpose::Run)?;
        }
        world.is_complete()
    });
}

#[test]
fn a_crash_in_the_middle_of_an_unsorted_split_loses_nothing() {
    story(INCREMENTAL, 1, |world| {
        for nth in 1..4 {
            world.change_source(0);
            world.start(0)?;
            let mut receipts = 0;
            while let Some(operation) = world.waiting(0).into_iter().next() {
                receipts += usize::from(operation.is(Verb::Put, Thing::Receipt));
                let outcome = if receipts == nth { Outcome::CrashAfter } else { Outcome::Done };
                world.decide(0, &operation, outcome)?;
            }
        }
        world.is_complete()
    });
}

#[test]
fn two_attempts_that_recognised_one_row_in_different_splits_stop_nobody() {
    stories(100, LOOKBACK, 3, |world| {
        world.run_for(0, Purpose::Run)?;
        // Rows that are there, and as many again that are new: nothing tells which is which.
        world.pipelines[0].source.borrow_mut().double();
        let first = world.until(0, Verb::Put, Thing::Receipt, 1)?;
        let second = world.until(1, Verb::Put, Thing::Receipt, 1)?;
        world.decide(0, &first, Outcome::CrashAfter)?;
        world.decide(1, &second, Outcome::CrashAfter)?;
        // Whoever comes next may have to let go of the work of one of them.
        for _ in 0..3 {
            world.run(2)?;
        }
        world.is_complete()
    });
}

#[test]
fn two_attempts_that_told_equal_rows_apart_otherwise_are_not_mixed() {
    let _guard = within_runtime();
    for seed in 0..60 {
        assert_eq!(told_apart_otherwise(seed, None), Ok(()), "seed {seed}");
    }
}

#[test]
fn what_another_attempt_stages_meanwhile_is_not_taken() {
    let _guard = within_runtime();
    for seed in 0..60 {
        assert_eq!(beside_each_other(seed, None), Ok(()), "seed {seed}");
    }
}
