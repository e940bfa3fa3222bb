//! One thing goes wrong, at every operation there is, in every way; and a writer that stands still at every
//! operation while another goes through.

use super::operation::{Operation, Outcome, Verb};
use super::scenarios::{INCREMENTAL, REPLACING, UNREPEATABLE};
use super::within_runtime;
use super::world::World;

/// `trouble` is told the number of the operation and may do something about it.
fn at_every_operation(writers: usize, trouble: impl Fn(&mut World, &Operation) -> Option<Outcome>) {
    let _guard = within_runtime();
    for nature in [INCREMENTAL, UNREPEATABLE, REPLACING] {
        for at in 0.. {
            let mut world = World::new(3, None, &[nature], &vec![0; writers]);
            world.pipelines[0].source.borrow_mut().calm = true;
            let mut told = || {
                world.start(0)?;
                let mut nth = 0;
                while let Some(operation) = world.waiting(0).into_iter().next() {
                    let outcome = if nth == at { trouble(&mut world, &operation) } else { None };
                    world.decide(0, &operation, outcome.unwrap_or(Outcome::Done))?;
                    nth += 1;
                }
                world.zombies_act(true)?;
                world.is_complete().map(|()| nth)
            };
            match told() {
                Ok(operations) if operations <= at => {
                    assert!(at > 20, "only {at} operations");
                    break;
                }
                Ok(_) => {}
                Err(violation) => panic!("{nature:?}: {violation:?}\n{}", world.trace.join("\n")),
            }
        }
    }
}

fn changes(verb: Verb) -> bool {
    matches!(verb, Verb::Put | Verb::Delete)
}

#[test]
fn a_crash_before_any_operation() {
    at_every_operation(1, |_, _| Some(Outcome::CrashBefore));
}

#[test]
fn a_crash_after_any_change() {
    at_every_operation(1, |_, operation| changes(operation.verb).then_some(Outcome::CrashAfter));
}

#[test]
fn an_answer_lost_at_any_change() {
    at_every_operation(1, |_, operation| changes(operation.verb).then_some(Outcome::AnswerLost));
}

#[test]
fn any_operation_refused() {
    at_every_operation(1, |_, _| Some(Outcome::Refused));
}

#[test]
fn any_change_done_when_nobody_waits_for_it_any_more() {
    at_every_operation(1, |_, operation| changes(operation.verb).then_some(Outcome::Late));
}

#[test]
fn a_writer_that_stands_still_at_any_operation_while_another_goes_through() {
    at_every_operation(2, |world, _| {
        world.start(1).unwrap();
        world.finish(1).unwrap();
        None
    });
}
